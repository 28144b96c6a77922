"""Label Studio's JSON: sound and time series in seconds, frames of video counted from 1.

Taken over are the types ``labels`` and ``timeserieslabels`` (``start``, ``end`` in seconds),
``timelinelabels`` (``ranges`` of frames, both ends included) and ``videorectangle`` (key frames; the thing is
seen from an enabled one to the next that is not, which is included). Source: Label Studio's documentation of
its export formats and tags.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from galago_edge.contract.count_words import count_of
from galago_edge.contract.decoding import from_json
from galago_workstation.qa.label_formats.cvat import framed
from galago_workstation.qa.label_formats.decimal_seconds import seconds_of
from galago_workstation.qa.label_formats.sed import same_file
from galago_workstation.qa.label_formats.subject import ForeignLabels, LabelSubject
from galago_workstation.qa.label_rows import LabelRow

_TIMED = ("labels", "timeserieslabels")


class _Range(msgspec.Struct):
    start: int
    end: int


class _KeyFrame(msgspec.Struct):
    frame: int
    enabled: bool = True


class _Value(msgspec.Struct):
    start: float | None = None
    end: float | None = None
    labels: list[str] = []
    timeserieslabels: list[str] = []
    timelinelabels: list[str] = []
    ranges: list[_Range] = []
    sequence: list[_KeyFrame] = []
    framesCount: int | None = None  # noqa: N815 - their name


class _Region(msgspec.Struct):
    type: str = ""
    value: _Value = msgspec.field(default_factory=_Value)


class _Annotation(msgspec.Struct):
    result: list[_Region] = []
    was_cancelled: bool = False


class _Task(msgspec.Struct):
    id: int | str | None = None
    data: dict[str, Any] = {}
    annotations: list[_Annotation] = []
    predictions: list[Any] = []


def read(data: bytes, subject: LabelSubject) -> ForeignLabels:
    """Return the regions of the recording's task.

    Raises:
        InputError: DATA_BAD; it is no such JSON, it has no task or several of the recording, a task has
            several annotations, or frames have no time table.
    """
    try:
        tasks: list[_Task] = from_json(data, type=list[_Task])
    except msgspec.DecodeError as error:
        what = f"is no JSON export of Label Studio: {error}"
        raise subject.refused("", what, hint="export the project as JSON, not as JSON-MIN or CSV") from None
    found = ForeignLabels()
    where, task = _chosen(tasks, subject, found)
    annotations = [each for each in task.annotations if not each.was_cancelled]
    if len(annotations) > 1:
        what = f"has {len(annotations)} annotations, expected one"
        raise subject.refused(where, what, hint="keep the one that counts and skip the others")
    for _ in task.predictions:
        found.leave_out("prediction")
    for number, region in enumerate(annotations[0].result if annotations else [], 1):
        _take(found, f"{where}, region {number}", region, subject)
    return found


def write(rows: Sequence[LabelRow], subject: LabelSubject) -> bytes:
    """Return one task: in frames when there is a time table, else in seconds.

    What is there is an annotation; what is proposed is a prediction, which becomes one when a person
    submits it.
    """
    video = subject.frames is not None
    task: dict[str, Any] = {"data": {"video" if video else "audio": subject.recording or ""}}
    there, proposed = ([row for row in rows if row.proposed is which] for which in (False, True))
    regions = _framed_regions if video else _timed_regions
    if there or not proposed:
        task["annotations"] = [{"result": regions(there, subject)}]
    if proposed:
        scored = [
            region | {"id": f"proposal-{number}", "score": round(row.score, 6)}
            for number, (region, row) in enumerate(zip(regions(proposed, subject), proposed, strict=True), 1)
        ]
        score = min(row.score for row in proposed)
        task["predictions"] = [{"model_version": "galago qa label", "score": score, "result": scored}]
    return (json.dumps([task], indent=1, ensure_ascii=False) + "\n").encode()


def _timed_regions(rows: Sequence[LabelRow], _: LabelSubject) -> list[dict[str, Any]]:
    return [
        {
            "type": "labels",
            "from_name": "label",
            "to_name": "audio",
            "value": {
                "start": float(seconds_of(row.start_ns)),
                "end": float(seconds_of(row.end_ns)),
                "labels": [row.label],
            },
        }
        for row in rows
    ]


def _framed_regions(rows: Sequence[LabelRow], subject: LabelSubject) -> list[dict[str, Any]]:
    return [
        {
            "type": "timelinelabels",
            "from_name": "videoLabels",
            "to_name": "video",
            "value": {"ranges": [{"start": first + 1, "end": last + 1}], "timelinelabels": [row.label]},
        }
        for first, last, row in framed(rows, subject)
    ]


def _chosen(tasks: list[_Task], subject: LabelSubject, found: ForeignLabels) -> tuple[str, _Task]:
    """Return the task of the recording: the one that names it, or the only one there is."""
    named = [(f"task {task.id or number}", task) for number, task in enumerate(tasks, 1)]
    about = [each for each in named if _names(each[1], subject.recording)] if subject.recording else []
    chosen = about or (named if len(named) == 1 else [])
    if len(chosen) != 1:
        wanted = repr(subject.recording) if subject.recording else "the recording"
        what = f"has {count_of(len(named), 'task')}, {len(about)} of them about {wanted}; expected one"
        raise subject.refused("", what, hint="give the recording, and export only its task")
    for _ in range(len(named) - 1):
        found.leave_out("task of another recording")
    return chosen[0]


def _names(task: _Task, recording: str) -> bool:
    """Tell whether a task is about the recording; uploads have eight characters and a hyphen before it."""
    told = [value.partition("?")[0] for value in task.data.values() if isinstance(value, str)]
    return any(
        same_file(text, recording) or (text.endswith(f"-{recording}") and len(text) > len(recording) + 8)
        for text in told
    )


def _take(found: ForeignLabels, where: str, region: _Region, subject: LabelSubject) -> None:
    value = region.value
    if region.type in _TIMED:
        if value.start is None or value.end is None:
            raise subject.refused(where, "has no start or no end")
        labels = value.labels or value.timeserieslabels
        rows = [subject.timed(where, repr(value.start), repr(value.end), label) for label in labels]
    elif region.type in ("timelinelabels", "videorectangle"):
        labels, rows = value.timelinelabels or value.labels, []
        for frames, label in itertools.product(_ranges(value), labels):
            found.take_frames(subject, where, frames, label, base=1)
    else:
        found.leave_out(f"region of the type {region.type[:40]!r}")
        return
    if not labels:
        found.leave_out("region without a label")
    found.rows += rows


def _ranges(value: _Value) -> Iterator[tuple[int, int]]:
    for one in value.ranges:
        yield one.start, one.end
    first: int | None = None
    last = 0
    for key in sorted(value.sequence, key=lambda key: key.frame):
        last = key.frame
        if key.enabled and first is None:
            first = key.frame
        elif not key.enabled and first is not None:
            yield first, key.frame  # it is drawn on the frame in which it is switched off
            first = None
    if first is not None:
        yield first, value.framesCount or last
