"""The process that times a model: ``python -m galago_workstation.looking.bench_child``.

Arguments: a file descriptor for the answer, the model's path, backend, threads, seconds of timed runs, and
the bound of memory in bytes. The answer is one line of JSON, a :class:`BenchRound`, behind ``run `` or a
failure behind ``failed ``, as ``look_messages`` has them.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Any, Literal, get_args

import msgspec
import numpy as np

from galago_converters.inspection import report
from galago_edge.children.confinement import Confinement, confine
from galago_edge.children.lifeline import die_with_parent
from galago_edge.contract.errors import BundleError, GalagoError, Reason
from galago_edge.engine import interpreter_class
from galago_workstation.evaluation.inference_cost import rss_peak_bytes
from galago_workstation.looking.look_messages import FAILED, RUN, LookFailure

BenchBackend = Literal["default", "builtin", "reference"]
"""``default``: as the runtime loads it, with XNNPACK; ``builtin``: its optimized kernels without a delegate;
``reference``: its plain kernels, which are slow."""
_RESOLVERS: dict[BenchBackend, str] = {
    "default": "AUTO",
    "builtin": "BUILTIN_WITHOUT_DEFAULT_DELEGATES",
    "reference": "BUILTIN_REF",
}
_WARM_UP = 3
_LEAST, _MOST = 10, 2_000
_MORE_S = 60.0
"""For loading and the runs that are not timed."""


class BenchRound(msgspec.Struct, frozen=True, kw_only=True):
    """One process' figures."""

    init_us: int
    """Making the interpreter and planning its tensors."""
    first_us: int
    """The first run."""
    runs_ns: tuple[int, ...]
    """Each run behind the warm-up."""
    memory_bytes: int
    """By how much the process grew at its peak, in memory that it really touched."""


def main(arguments: list[str]) -> None:
    """Time one model; write the answer."""
    die_with_parent()
    answer, path, backend = int(arguments[0]), Path(arguments[1]), arguments[2]
    threads, seconds, memory_bytes = int(arguments[3]), float(arguments[4]), int(arguments[5])
    interpreter_class()
    allowed_s = seconds + _MORE_S
    confine(Confinement(memory_bytes, allowed_s, allowed_s * (threads + 1)))
    try:
        (kind,) = (one for one in get_args(BenchBackend) if one == backend)
        line = RUN + msgspec.json.encode(_timed(path.read_bytes(), kind, threads, seconds))
    except GalagoError as error:
        told = LookFailure(reason=str(error.reason), message=str(error), hint=error.hint)
        line = FAILED + msgspec.json.encode(told)
    os.write(answer, line + b"\n")


def _timed(model: bytes, backend: BenchBackend, threads: int, seconds: float) -> BenchRound:
    report(model)  # refuses what would end the process
    before = rss_peak_bytes()
    kind = interpreter_class()
    resolver = getattr(sys.modules[kind.__module__].OpResolverType, _RESOLVERS[backend])
    try:
        begun = time.perf_counter_ns()
        interpreter = kind(model_content=model, num_threads=threads, experimental_op_resolver_type=resolver)
        interpreter.allocate_tensors()
        init_ns = time.perf_counter_ns() - begun
        _feed(interpreter)
        begun = time.perf_counter_ns()
        interpreter.invoke()
        first_ns = time.perf_counter_ns() - begun
        runs = _runs(interpreter, seconds)
    except (ValueError, RuntimeError, MemoryError) as error:
        said = " ".join(str(error).split())[:200] or type(error).__name__
        raise BundleError(
            Reason.MODEL_BAD, f"the model does not run: {said}", hint="galago model inspect tells more"
        ) from None
    return BenchRound(
        init_us=init_ns // 1000,
        first_us=first_ns // 1000,
        runs_ns=tuple(runs),
        memory_bytes=max(0, rss_peak_bytes() - before),
    )


def _feed(interpreter: Any) -> None:
    """Fill every input with values that stay the same from round to round."""
    chance = np.random.default_rng(1)
    for detail in interpreter.get_input_details():
        dtype = np.dtype(detail["dtype"])
        if dtype.kind == "f":
            values = chance.random(detail["shape"], np.float32)
        else:
            values = chance.integers(0, 2 if dtype.kind == "b" else 127, detail["shape"])
        interpreter.set_tensor(detail["index"], values.astype(dtype))


def _runs(interpreter: Any, seconds: float) -> list[int]:
    for _ in range(_WARM_UP):
        interpreter.invoke()
    taken: list[int] = []
    spent_ns = 0
    while len(taken) < _LEAST or (spent_ns < seconds * 1e9 and len(taken) < _MOST):
        begun = time.perf_counter_ns()
        interpreter.invoke()
        taken.append(time.perf_counter_ns() - begun)
        spent_ns += taken[-1]
    return taken


if __name__ == "__main__":
    main(sys.argv[1:])
    os._exit(0)  # what a broken runtime does when it is taken down is of no use to anybody
