"""Compares two model files in a process of its own."""

from __future__ import annotations

from pathlib import Path

import msgspec

from galago_converters.weight_changes import StructureDiff
from galago_edge.children.child import Child
from galago_edge.children.child_environment import FEW_RESERVES
from galago_edge.children.ending import Ending
from galago_edge.children.output import Output
from galago_edge.contract.decoding import from_json
from galago_edge.contract.errors import BundleError, Reason, disk_error
from galago_workstation.looking.diff_child import AnswerDiff
from galago_workstation.looking.look_messages import CONTENT, FAILED, RUN, LookFailure
from galago_workstation.looking.model_look import MEMORY_BYTES, SECONDS, check_size

_CHILD = "galago_workstation.looking.diff_child"
_START_S = 60.0
_COPIES = 30
"""Of both files: their constants are compared as float64."""


class ModelDiff(msgspec.Struct, frozen=True, kw_only=True):
    """In what two models differ."""

    structure: StructureDiff
    answers: AnswerDiff


def compare_models(first: Path, second: Path, samples: int) -> ModelDiff:
    """Compare two ``.tflite`` files.

    Raises:
        BundleError: MODEL_BAD; one is no TFLite file, damaged, too large, or reading took too much.
        LinkError: One cannot be read, or no process is to be had.
    """
    size = check_size(first) + check_size(second)
    bounds = (str(MEMORY_BYTES + _COPIES * size), str(SECONDS))
    try:
        with Output("galago-answer") as answer, Output("galago-stderr") as stderr:
            child = Child(
                ("-m", _CHILD),
                (str(first), str(second), str(samples), *bounds),
                shared=(answer.fileno(),),
                more_environment=FEW_RESERVES,
                stderr=stderr.fileno(),
            )
            try:
                ending = child.wait(_START_S + SECONDS)
            finally:
                child.close()
            return _told(answer.read().splitlines(), ending, stderr.last_line())
    except OSError as error:
        raise disk_error(error, f"start the process that compares {first} and {second}") from error


def _told(lines: list[bytes], ending: Ending | None, said: str) -> ModelDiff:
    told = {
        mark: line[len(mark) :] for line in lines for mark in (CONTENT, RUN, FAILED) if line.startswith(mark)
    }
    how = "took longer than it may" if ending is None else str(ending)
    how = f"the process that compared them {how}" + (f" ({said})" if said else "")
    if FAILED in told:
        failure = from_json(told[FAILED], type=LookFailure)
        raise BundleError(Reason(failure.reason), failure.message, hint=failure.hint)
    if CONTENT not in told:
        raise BundleError(Reason.MODEL_BAD, f"the models cannot be read: {how}", hint="take other files")
    structure = from_json(told[CONTENT], type=StructureDiff)
    if RUN not in told:
        return ModelDiff(
            structure=structure, answers=AnswerDiff(samples=0, same_best=0, largest=0.0, why_not=how)
        )
    return ModelDiff(structure=structure, answers=from_json(told[RUN], type=AnswerDiff))
