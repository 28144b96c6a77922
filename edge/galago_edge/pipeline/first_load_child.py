"""The process that loads a model for the first time: ``python -m galago_edge.pipeline.first_load_child``.

A well-formed model can still crash its runtime, hang, or take all memory of the board. Here it does so alone;
``galago_edge.pipeline.isolated_load`` starts this process, waits, and reads what became of it. Arguments: a
file descriptor for the answer, the bundle's path, and a :class:`FirstLoadRequest` as JSON. The answer grows
line by line: ``loading`` and ``running`` as it gets there, last a :class:`FirstLoadPassed` or a
:class:`FirstLoadFailed`.
"""

from __future__ import annotations

import os
import statistics
import sys
import time
from pathlib import Path

import msgspec

from galago_edge.bundle import Bundle, open_bundle
from galago_edge.children.confinement import Confinement, confine
from galago_edge.children.lifeline import die_with_parent
from galago_edge.contract.decoding import from_json
from galago_edge.contract.errors import BundleError, DeviceError, GalagoError, Reason
from galago_edge.contract.manifest import AudioPreprocess, Manifest
from galago_edge.engine import interpreter_class
from galago_edge.pipeline.golden_run import GoldenRunner, check_golden
from galago_edge.pipeline.loaded_bundle import LoadedBundle, load
from galago_edge.preprocess import ImagePreprocessor

LOADING, RUNNING = b"loading", b"running"
MIN_RUNS, MAX_RUNS = 3, 50
_TIMED_S = 1.0
_THREAD_BYTES = 48_000_000
"""Address space for the stack of each further thread, and what malloc reserves for it."""
_MS = 1e6


class _Message(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Base of what the two processes tell each other."""


class FirstLoadRequest(_Message, frozen=True, kw_only=True):
    """What is to be loaded, and what it may take."""

    bundle_id: str
    threads: int
    memory_bytes: int
    seconds: float
    limit_ms: float
    """The model is too slow when even its fastest run takes longer."""


class GoldenPassed(_Message, frozen=True, kw_only=True):
    """One golden sample that was answered as it must be."""

    file: str
    label: str
    difference: int


class FirstLoadPassed(_Message, frozen=True, kw_only=True):
    """The model loaded, was fast enough and gave every golden answer."""

    golden: tuple[GoldenPassed, ...]
    load_ms: float
    invoke_p50_ms: float
    invoke_max_ms: float
    runs: int
    memory_bytes: int
    """By how much the process grew at its peak, in memory that it really touched."""


class FirstLoadFailed(_Message, frozen=True, kw_only=True):
    """It did not, and the process is still there to tell."""

    kind: str
    """Name of the error's class."""
    reason: str
    message: str
    hint: str


def main(arguments: list[str]) -> None:
    """Load, time and ask one bundle; write the answer."""
    die_with_parent()
    answer, path = int(arguments[0]), Path(arguments[1])
    request = from_json(arguments[2], type=FirstLoadRequest)
    try:
        said: _Message = _first_load(answer, path, request)
    except MemoryError:
        said = _failed(memory_error(request.memory_bytes, "Python has none left"))
    except GalagoError as error:
        said = _failed(_sharpened(error, request))
    _write(answer, msgspec.json.encode(said))


def memory_error(allowed_bytes: int, said: str) -> DeviceError:
    """Return the error of a model that wants more than ``allowed_bytes``."""
    return DeviceError(
        Reason.MEMORY,
        f"loading and running the model takes more than the {allowed_bytes // 1_000_000} MB that it may "
        f"have here ({said})",
        hint="use a smaller model, or a board with more memory",
    )


def _first_load(answer: int, path: Path, request: FirstLoadRequest) -> FirstLoadPassed:
    bundle = open_bundle(path)
    if bundle.id != request.bundle_id:
        raise BundleError(
            Reason.FILE_HASH,
            f"{path} holds the bundle {bundle.id[:16]}…, {request.bundle_id[:16]}… was to be loaded",
            hint="somebody else writes there; install the bundle again",
        )
    _warm_up(bundle.manifest)
    more = request.threads - 1
    memory_bytes = request.memory_bytes + more * _THREAD_BYTES
    confine(Confinement(memory_bytes, request.seconds, request.seconds * (request.threads + 1)))
    _write(answer, LOADING)
    before = _peak_bytes()
    start = time.perf_counter_ns()
    loaded = load(bundle, threads=request.threads)
    load_ms = (time.perf_counter_ns() - start) / _MS
    _write(answer, RUNNING)
    runs_ms = _timed(loaded, request.limit_ms)
    return FirstLoadPassed(
        golden=_answered(bundle, loaded),
        load_ms=round(load_ms, 3),
        invoke_p50_ms=round(statistics.median(runs_ms), 3),
        invoke_max_ms=round(max(runs_ms), 3),
        runs=len(runs_ms),
        memory_bytes=max(0, _peak_bytes() - before),
    )


def _warm_up(manifest: Manifest) -> None:
    """Import what the load will import: the bounds are for the model, not for libraries."""
    interpreter_class()
    if not isinstance(manifest.preprocess.spec, AudioPreprocess):
        ImagePreprocessor(manifest.preprocess.spec)


def _timed(loaded: LoadedBundle, limit_ms: float) -> list[float]:
    """Run the model for a second or fifty times, at least three, and return the times behind the first.

    Raises:
        DeviceError: TOO_SLOW; even the fastest took longer than ``limit_ms``. What a busy device makes of
            the others the trial will show.
    """
    engine = loaded.engine
    times_ms: list[float] = []
    spent_ms = 0.0
    while len(times_ms) < MAX_RUNS + 1 and (len(times_ms) < MIN_RUNS + 1 or spent_ms < _TIMED_S * 1000):
        engine.input_view()[...] = 0
        start = time.perf_counter_ns()
        engine.invoke()
        times_ms.append((time.perf_counter_ns() - start) / _MS)
        spent_ms += times_ms[-1]
    runs_ms = times_ms[1:]
    fastest_ms = min(runs_ms)
    if fastest_ms > limit_ms:
        raise DeviceError(
            Reason.TOO_SLOW,
            f"the model takes at least {fastest_ms:.3g} ms for one window on this device, "
            f"{limit_ms:g} ms are allowed",
            hint="use a smaller model or a faster board, or let it decide less often",
        )
    return runs_ms


def _answered(bundle: Bundle, loaded: LoadedBundle) -> tuple[GoldenPassed, ...]:
    runner = GoldenRunner(loaded.engine, loaded.preprocessor)
    results = (check_golden(runner, golden, bundle.read(golden.file)) for golden in bundle.manifest.golden)
    return tuple(
        GoldenPassed(file=done.file, label=done.label, difference=done.largest_difference) for done in results
    )


def _sharpened(error: GalagoError, request: FirstLoadRequest) -> GalagoError:
    """Tell a model that got no memory from one that is broken.

    Of an allocation that failed the runtimes say nothing at all, or name it; of everything else they say
    which operator it was.
    """
    text = str(error)
    silent = text.endswith((": RuntimeError", ": MemoryError"))
    if error.reason == Reason.MODEL_BAD and (silent or "alloc" in text.lower()):
        return memory_error(request.memory_bytes, "the runtime got no more")
    return error


def _failed(error: GalagoError) -> FirstLoadFailed:
    return msgspec.convert({"kind": type(error).__name__, **error.as_data()}, FirstLoadFailed)


def _peak_bytes() -> int:
    """Return the most memory that this process ever really had."""
    for line in Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return 0


def _write(answer: int, line: bytes) -> None:
    os.write(answer, line + b"\n")


if __name__ == "__main__":
    main(sys.argv[1:])
    os._exit(0)  # what a broken runtime does when it is taken down is of no use to anybody
