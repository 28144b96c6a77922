"""The process that compares two models: ``python -m galago_workstation.looking.diff_child``.

Arguments: a file descriptor for the answer, the paths of two models, number of samples, bounds in bytes and
seconds. The answer is a line of structure (``content ``), then one of answers (``run ``), as
``look_messages`` has them; or one that begins ``failed ``.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from galago_converters.weight_changes import structure_diff
from galago_edge.children.confinement import Confinement, confine
from galago_edge.children.lifeline import die_with_parent
from galago_edge.contract.errors import GalagoError
from galago_edge.engine import interpreter_class
from galago_workstation.looking.look_messages import CONTENT, FAILED, RUN, LookFailure


class AnswerDiff(msgspec.Struct, frozen=True, kw_only=True):
    """What two models say to the same random inputs, in real values."""

    samples: int
    same_best: int
    """Samples for which the largest value of the first output is at the same place."""
    largest: float
    """Largest difference of two values of the first output."""
    why_not: str = ""
    """Why answers were not compared; then all figures are 0."""


def main(arguments: list[str]) -> None:
    """Compare two files; write the answer."""
    die_with_parent()
    answer, paths, samples = int(arguments[0]), arguments[1:3], int(arguments[3])
    memory_bytes, seconds = int(arguments[4]), float(arguments[5])
    interpreter_class()
    from ai_edge_litert import schema_py_generated  # noqa: F401

    confine(Confinement(memory_bytes, seconds, seconds))
    try:
        first, second = (Path(path).read_bytes() for path in paths)
        found = structure_diff(first, second)
    except GalagoError as error:
        told = LookFailure(reason=str(error.reason), message=str(error), hint=error.hint)
        os.write(answer, FAILED + msgspec.json.encode(told) + b"\n")
        return
    os.write(answer, CONTENT + msgspec.json.encode(found) + b"\n")
    os.write(answer, RUN + msgspec.json.encode(answer_diff(first, second, samples)) + b"\n")


def answer_diff(first: bytes, second: bytes, samples: int) -> AnswerDiff:
    """Ask two well-formed models the same, in the range that the first one's input holds."""
    try:
        models = [_Asked(model) for model in (first, second)]
        shapes = [one.shape for one in models]
        if shapes[0] != shapes[1]:
            return _none(f"their inputs differ: {shapes[0]} and {shapes[1]}")
        chance = np.random.default_rng(1)
        same, largest = 0, 0.0
        for _ in range(samples):
            values = models[0].random(chance)
            a, b = (one.answer(values) for one in models)
            if a.shape != b.shape:
                return _none(f"their outputs differ: {a.shape} and {b.shape}")
            same += int(a.argmax() == b.argmax())
            largest = max(largest, float(np.abs(a - b).max()))
    except (ValueError, RuntimeError, MemoryError) as error:
        return _none(" ".join(str(error).split())[:200] or type(error).__name__)
    return AnswerDiff(samples=samples, same_best=same, largest=largest)


def _none(why: str) -> AnswerDiff:
    return AnswerDiff(samples=0, same_best=0, largest=0.0, why_not=why)


class _Asked:
    """A model with one input, asked in real values.

    Raises:
        ValueError: It has several inputs, or does not load.
        RuntimeError: It does not load or run.
    """

    def __init__(self, model: bytes) -> None:
        self._interpreter: Any = interpreter_class()(model_content=model, num_threads=1)
        self._interpreter.allocate_tensors()
        inputs = self._interpreter.get_input_details()
        if len(inputs) != 1:
            raise ValueError(f"one has {len(inputs)} inputs, random samples are for one")
        self._input, self._output = inputs[0], self._interpreter.get_output_details()[0]
        self.shape = tuple(int(size) for size in self._input["shape"])

    def random(self, chance: np.random.Generator) -> npt.NDArray[np.float64]:
        """Return values that the input can hold: those of all codes, or from 0 to 1 for floats."""
        dtype = np.dtype(self._input["dtype"])
        if dtype.kind == "f":
            return chance.random(self.shape)
        bounds = np.iinfo(dtype)
        codes = chance.integers(bounds.min, bounds.max, self.shape, endpoint=True)
        return _real(codes.astype(np.float64), self._input)

    def answer(self, values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Return the real values of the first output, one dimension."""
        dtype = np.dtype(self._input["dtype"])
        if dtype.kind in "iu":
            scale, zero = self._input["quantization"]
            bounds = np.iinfo(dtype)
            codes = np.round(values / scale) + zero if scale else values
            values = np.clip(codes, bounds.min, bounds.max)
        self._interpreter.reset_all_variables()  # each sample for itself
        self._interpreter.set_tensor(self._input["index"], values.astype(dtype))
        self._interpreter.invoke()
        found = self._interpreter.get_tensor(self._output["index"])
        return _real(np.asarray(found, np.float64), self._output).ravel()


def _real(codes: npt.NDArray[np.float64], detail: dict[str, Any]) -> npt.NDArray[np.float64]:
    scale, zero = detail["quantization"]
    return codes if not scale else scale * (codes - zero)


if __name__ == "__main__":
    main(sys.argv[1:])
    os._exit(0)  # what a broken runtime does when it is taken down is of no use to anybody
