"""What one inference costs: time and memory of a process that does nothing else.

TensorFlow's memory and threads would spoil both figures, so they are taken in a child process that loads the
edge engine alone: ``python -m galago_workstation.evaluation.inference_cost float|int8 FILE``.
"""

from __future__ import annotations

import ctypes
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import msgspec
import numpy as np

from galago_edge.contract.decoding import from_json
from galago_edge.contract.errors import BundleError, Reason

_WARM_UP = 5
_LEAST, _MOST = 50, 5_000  # invocations
_ENOUGH_S = 1.0


class Latency(msgspec.Struct, frozen=True):
    """Percentiles over many single inferences, in microseconds."""

    p50_us: int
    p99_us: int


class Cost(msgspec.Struct, frozen=True):
    """What the child process reports."""

    latency: Latency
    rss_peak_bytes: int
    engine_heap_bytes: int | None = None
    """What one more engine for the int8 model takes; None where the C library does not tell."""


def measure(form: Literal["float", "int8"], model: Path) -> Cost:
    """Run a model file in a fresh process, one thread, without preprocessing.

    Raises:
        BundleError: MODEL_BAD; the child could not run the model.
    """
    done = subprocess.run(
        [sys.executable, "-m", "galago_workstation.evaluation.inference_cost", form, str(model)],
        capture_output=True,
        check=False,
    )
    if done.returncode != 0:
        said = done.stderr.decode("utf-8", "replace").strip().rpartition("\n")[2]
        raise BundleError(
            Reason.MODEL_BAD,
            f"{model} could not be run for measuring: exit status {done.returncode}, {said!r}",
            hint="convert the model again",
        )
    return from_json(done.stdout, type=Cost)


def time_calls(call: Callable[[], object], clock: Callable[[], int] = time.perf_counter_ns) -> Latency:
    """Time single calls for about a second, after a warm-up."""
    for _ in range(_WARM_UP):
        call()
    taken_ns: list[int] = []
    while len(taken_ns) < _LEAST or (sum(taken_ns) < _ENOUGH_S * 1e9 and len(taken_ns) < _MOST):
        begun = clock()
        call()
        taken_ns.append(clock() - begun)
    p50, p99 = np.percentile(taken_ns, [50, 99])
    return Latency(round(p50 / 1000), round(p99 / 1000))


def rss_peak_bytes() -> int:
    """Return the largest resident set that this process ever had.

    On Linux from VmHWM: ``ru_maxrss`` survives fork and exec, so a child would report its parent's memory.
    """
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
    except OSError:
        unit = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    line = next(line for line in status.splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024


class _Mallinfo2(ctypes.Structure):
    """struct mallinfo2 of malloc.h."""

    _fields_ = tuple(
        (name, ctypes.c_size_t)
        for name in (
            "arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks", "fordblks",
            "keepcost",
        )
    )  # fmt: skip


def heap_bytes() -> int | None:
    """Return what this process holds of the C heap; None where no mallinfo2 tells (glibc before 2.33)."""
    try:
        ask = ctypes.CDLL(None).mallinfo2
    except AttributeError:
        return None
    ask.restype = _Mallinfo2
    told = ask()
    return int(told.uordblks) + int(told.hblkhd)


def _engine_heap_bytes(model: bytes) -> int | None:
    """Load the model a second time: what a runtime sets up only once is there by then."""
    from galago_edge.engine import Engine

    before = heap_bytes()
    engine = Engine(model)
    after = heap_bytes()
    engine.close()
    return None if before is None or after is None else max(0, after - before)


def main(arguments: list[str]) -> None:
    """Measure as the child process and write the result to stdout as JSON."""
    form, path = arguments
    model = Path(path).read_bytes()
    latency = time_calls(_int8_call(model) if form == "int8" else _float_call(model))
    peak = rss_peak_bytes()  # of one engine
    heap = _engine_heap_bytes(model) if form == "int8" else None
    sys.stdout.buffer.write(msgspec.json.encode(Cost(latency, peak, heap)))


def _int8_call(model: bytes) -> Callable[[], object]:
    from galago_edge.engine import Engine

    engine = Engine(model)
    view = engine.input_view()
    view[...] = np.random.default_rng(1).integers(0, 127, view.shape).astype(view.dtype)
    return engine.invoke


def _float_call(model: bytes) -> Callable[[], object]:
    from galago_converters.model_runs import load_float

    interpreter = load_float(model)
    feed = interpreter.get_input_details()[0]
    interpreter.set_tensor(
        feed["index"], np.random.default_rng(1).random(feed["shape"], np.float32) * np.float32(2.0)
    )
    invoke: Callable[[], object] = interpreter.invoke
    return invoke


if __name__ == "__main__":
    main(sys.argv[1:])
