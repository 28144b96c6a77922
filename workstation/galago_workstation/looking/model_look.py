"""Looks at one model file in a process of its own, and judges it against the boards of the catalogue."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec

from galago_converters.model_content import ModelContent
from galago_devices import names, profile
from galago_edge.bundle.compatibility import unsupported_ops
from galago_edge.children.child import Child
from galago_edge.children.child_environment import FEW_RESERVES
from galago_edge.children.ending import Ending
from galago_edge.children.output import Output
from galago_edge.contract.decoding import from_json
from galago_edge.contract.errors import BundleError, CallerError, GalagoError, Reason, disk_error
from galago_edge.contract.manifest import Operator
from galago_edge.pipeline.isolated_load import board_memory_bytes
from galago_workstation.looking.look_messages import (
    CONTENT,
    FAILED,
    RUN,
    LookFailure,
    ModelLook,
    RuntimeLook,
)

MAX_BYTES = 1 << 30
"""Of a file that is looked at."""
MEMORY_BYTES = 1_500_000_000
"""That the child may take beyond its libraries and some copies of the file."""
SECONDS = 60.0
_START_S = 60.0
_COPIES = 6
_CHILD = "galago_workstation.looking.look_child"


class BoardVerdict(msgspec.Struct, frozen=True, kw_only=True):
    """Whether a board of the catalogue can run a model."""

    board: str
    why_not: tuple[str, ...]
    """Empty: nothing speaks against it. Of the operators, the arena and the weights; not of its speed."""


def look_at(path: Path) -> ModelLook:
    """Look at a ``.tflite`` file.

    A file that is well-formed and still ends its runtime is told as one that does not load, and how.

    Raises:
        BundleError: MODEL_BAD; it is no TFLite file, damaged, too large, or reading it took too much.
        LinkError: It cannot be read, or no process is to be had.
    """
    size = check_size(path)
    bounds = (str(MEMORY_BYTES + _COPIES * size), str(SECONDS))
    try:
        with Output("galago-answer") as answer, Output("galago-stderr") as stderr:
            child = Child(
                ("-m", _CHILD),
                (str(path), *bounds),
                shared=(answer.fileno(),),
                more_environment=FEW_RESERVES,  # address space is bounded there
                stderr=stderr.fileno(),
            )
            try:
                ending = child.wait(_START_S + SECONDS)
            finally:
                child.close()
            return _told(path, answer.read().splitlines(), ending, stderr.last_line())
    except OSError as error:
        raise disk_error(error, f"start the process that looks at {path}") from error


def check_size(path: Path) -> int:
    """Return a file's size.

    Raises:
        BundleError: MODEL_BAD; it is larger than :data:`MAX_BYTES`, or no file.
        LinkError: It cannot be read.
    """
    try:
        with path.open("rb"):
            size = path.stat().st_size
    except OSError as error:
        raise disk_error(error, f"read {path}") from error
    if size > MAX_BYTES:
        raise BundleError(
            Reason.MODEL_BAD,
            f"{path} has {size} bytes, expected at most {MAX_BYTES}",
            hint="a model for a small device is much smaller",
        )
    return size


def board_verdicts(content: ModelContent, arena_bytes: int) -> Iterator[BoardVerdict]:
    """Judge a model by every board of the catalogue.

    Raises:
        DeviceError: PLUGIN_BAD; another distribution's board cannot be read.
    """
    operators = [
        Operator(name=one.name, version=one.version, count=one.nodes)
        for one in content.operators
        if not one.custom
    ]
    custom = [f"the model uses the custom operator {one.name}" for one in content.operators if one.custom]
    needed = content.bytes + max(arena_bytes, content.arena_estimate_bytes)
    for name in names():
        board = profile(name)
        why = [*custom, *unsupported_ops(operators, board.runtime)]
        if needed > board_memory_bytes(board):
            why.append(f"file and arena take {needed} bytes, it has {board_memory_bytes(board)} for a model")
        yield BoardVerdict(board=name, why_not=tuple(why))


def _told(path: Path, lines: list[bytes], ending: Ending | None, said: str) -> ModelLook:
    content = next((line.removeprefix(CONTENT) for line in lines if line.startswith(CONTENT)), None)
    run = next((line.removeprefix(RUN) for line in lines if line.startswith(RUN)), None)
    failed = next((line.removeprefix(FAILED) for line in lines if line.startswith(FAILED)), None)
    how = "took longer than it may" if ending is None else str(ending)
    how += f" ({said})" if said else ""
    try:
        if failed is not None:
            raise _as_error(path, from_json(failed, type=LookFailure))
        if content is None:
            raise BundleError(
                Reason.MODEL_BAD,
                f"{path} cannot be read: the process that read it {how}",
                hint="it may be made to do that; take another file",
            )
        found = from_json(content, type=ModelContent)
        if run is not None:
            return ModelLook(content=found, run=from_json(run, type=RuntimeLook))
    except msgspec.DecodeError:
        raise BundleError(
            Reason.MODEL_BAD, f"{path} cannot be read: the process that read it {how}", hint="try again"
        ) from None
    crashed = f"the process that loaded it {how}"
    return ModelLook(
        content=found, run=RuntimeLook(runtime="", loads=False, why_not=crashed, classifier=crashed)
    )


def _as_error(path: Path, told: LookFailure) -> GalagoError:
    reason = Reason(told.reason)
    if reason == Reason.MODEL_BAD:
        return BundleError(reason, f"{path}: {told.message}", hint=told.hint)
    return CallerError(reason, told.message, hint=told.hint)
