"""Times a model on this machine: every backend and number of threads, in turns, each in a fresh process."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
import numpy as np

from galago_edge.children.child import Child
from galago_edge.children.child_environment import FEW_RESERVES
from galago_edge.children.ending import Ending
from galago_edge.children.output import Output
from galago_edge.contract.decoding import from_json
from galago_edge.contract.errors import BundleError, Reason, disk_error
from galago_workstation.looking.bench_child import BenchBackend, BenchRound
from galago_workstation.looking.look_messages import FAILED, RUN, LookFailure
from galago_workstation.looking.model_look import MEMORY_BYTES, check_size

ROUNDS = 3
"""Of every setting, in turns: what else the machine does meets all of them."""
_CHILD = "galago_workstation.looking.bench_child"
_THREAD_BYTES = 48_000_000
_START_S = 120.0


class BenchRow(msgspec.Struct, frozen=True, kw_only=True):
    """Figures of one backend with one number of threads; times in microseconds."""

    backend: BenchBackend
    threads: int
    why_not: str = ""
    """Why it does not run so; then all figures are 0."""
    runs: int = 0
    p50_us: float = 0.0
    p90_us: float = 0.0
    p99_us: float = 0.0
    first_us: float = 0.0
    """Median of the rounds' first runs."""
    init_us: float = 0.0
    """Median time to make the interpreter and plan its tensors."""
    memory_bytes: int = 0
    """Largest growth of a process at its peak, in memory that it really touched."""


class BenchReport(msgspec.Struct, frozen=True, kw_only=True):
    """All figures, and what they were taken under."""

    cpus: int
    load_before: float
    """Processes that waited or ran, mean of the last minute (``getloadavg``)."""
    load_after: float
    rounds: int
    rows: tuple[BenchRow, ...]


def bench_model(
    path: Path,
    backends: Sequence[BenchBackend],
    threads: Sequence[int],
    seconds: float,
    progress: Callable[[str], None] = lambda _: None,
) -> BenchReport:
    """Time a model.

    Args:
        path: A ``.tflite`` file.
        backends: In the order of the report.
        threads: As many interpreters' thread counts.
        seconds: Timed runs of one setting, all rounds together.
        progress: Told what comes next.

    Raises:
        BundleError: MODEL_BAD; it is no TFLite file, or too large.
        LinkError: It cannot be read, or no process is to be had.
    """
    size = check_size(path)
    settings = [(backend, count) for backend in backends for count in threads]
    rounds: dict[tuple[BenchBackend, int], list[BenchRound]] = {one: [] for one in settings}
    lost: dict[tuple[BenchBackend, int], str] = {}
    before = os.getloadavg()[0]
    for number in range(ROUNDS):
        # every other round backwards: a machine that warms up favours nobody
        for one in settings if number % 2 == 0 else settings[::-1]:
            if one not in lost:
                progress(f"round {number + 1} of {ROUNDS}: {one[0]}, {one[1]} threads")
                got = _round(path, size, *one, seconds / ROUNDS)
                if isinstance(got, str):
                    lost[one] = got
                else:
                    rounds[one].append(got)
    return BenchReport(
        cpus=os.cpu_count() or 1,
        load_before=round(before, 2),
        load_after=round(os.getloadavg()[0], 2),
        rounds=ROUNDS,
        rows=tuple(bench_row(*one, rounds[one], lost.get(one, "")) for one in settings),
    )


def bench_row(backend: BenchBackend, threads: int, rounds: Sequence[BenchRound], why_not: str) -> BenchRow:
    """Return the figures of all rounds of one setting."""
    if why_not or not rounds:
        return BenchRow(backend=backend, threads=threads, why_not=why_not or "it was not run")
    runs_us = np.concatenate([np.array(one.runs_ns) for one in rounds]) / 1000
    p50, p90, p99 = np.percentile(runs_us, [50, 90, 99]).round(1).tolist()
    return BenchRow(
        backend=backend,
        threads=threads,
        runs=len(runs_us),
        p50_us=p50,
        p90_us=p90,
        p99_us=p99,
        first_us=float(np.median([one.first_us for one in rounds])),
        init_us=float(np.median([one.init_us for one in rounds])),
        memory_bytes=max(one.memory_bytes for one in rounds),
    )


def _round(path: Path, size: int, backend: BenchBackend, threads: int, seconds: float) -> BenchRound | str:
    """Return one process' figures, or why there are none."""
    memory_bytes = MEMORY_BYTES + 4 * size + threads * _THREAD_BYTES
    try:
        with Output("galago-answer") as answer, Output("galago-stderr") as stderr:
            child = Child(
                ("-m", _CHILD),
                (str(path), backend, str(threads), str(seconds), str(memory_bytes)),
                shared=(answer.fileno(),),
                more_environment=FEW_RESERVES,
                stderr=stderr.fileno(),
            )
            try:
                ending = child.wait(_START_S + seconds)
            finally:
                child.close()
            return _figures(path, answer.read().rstrip(b"\n"), ending, stderr.last_line())
    except OSError as error:
        raise disk_error(error, f"start the process that times {path}") from error


def _figures(path: Path, line: bytes, ending: Ending | None, said: str) -> BenchRound | str:
    if line.startswith(RUN):
        return from_json(line.removeprefix(RUN), type=BenchRound)
    if line.startswith(FAILED):
        told = from_json(line.removeprefix(FAILED), type=LookFailure)
        if "does not run" in told.message:
            return told.message
        raise BundleError(Reason.MODEL_BAD, f"{path}: {told.message}", hint=told.hint)
    how = "took longer than it may" if ending is None else str(ending)
    return f"its process {how}" + (f" ({said})" if said else "")
