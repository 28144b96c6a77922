"""CVAT's XML 1.1, for video (tracks) and for images (an element for each picture). Frames count from 0.

In a track a frame with ``outside="1"`` is the first in which the thing is not seen any more; between two
frames that are listed it is where interpolation puts it. Source: CVAT's documentation, "XML annotation
format", version 1.1.

The file comes from outside: the parser knows no document types, so it expands no entities and opens no
other file.

A tag or track of the source ``auto`` is a proposal: a model has made it, and no person has changed it since.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any
from xml.sax.saxutils import escape, quoteattr

from galago_edge.contract.errors import CallerError, Reason
from galago_workstation.qa.label_formats.subject import NO_TABLE, ForeignLabels, LabelSubject
from galago_workstation.qa.label_rows import LabelRow

_DEEPEST = 64
_PROPOSED = "auto"
"""What CVAT calls the source of what a model has marked; what a person has changed is ``semi-auto``."""
_SHAPES = {"box", "polygon", "polyline", "points", "cuboid", "mask", "skeleton", "ellipse", "tag"}


@dataclass(slots=True)
class _Track:
    where: str
    label: str
    frames: dict[int, bool] = field(default_factory=dict)
    """Whether it is to be seen, for each frame that is listed."""
    proposed: bool = False


class _Reading:
    """What the parser has met so far."""

    def __init__(self, subject: LabelSubject) -> None:
        self.subject = subject
        self.tracks: list[_Track] = []
        self.images: dict[tuple[str, bool], dict[int, str]] = {}
        """By label, and whether it is proposed: the numbers of its pictures, and where they stand."""
        self.path: list[str] = []
        self.line = 1
        self._text: list[str] = []
        self._image = 0

    def where(self) -> str:
        return f"line {self.line}"

    def start(self, name: str, attributes: dict[str, str]) -> None:
        self.path.append(name)
        self._text.clear()
        if len(self.path) > _DEEPEST:
            raise self.subject.refused(self.where(), f"nested more than {_DEEPEST} deep")
        if len(self.path) == 1 and name != "annotations":
            raise self.subject.refused(self.where(), f"begins with <{name[:40]}>, expected <annotations>")
        if name == "track" and len(self.path) == 2:
            proposed = attributes.get("source") == _PROPOSED
            self.tracks.append(_Track(self.where(), self._given(attributes, "label"), proposed=proposed))
        elif name == "image" and len(self.path) == 2:
            self._image = self._number(attributes, "id")
        elif name in _SHAPES and len(self.path) == 3 and self.path[1] == "track":
            seen = attributes.get("outside", "0") == "0"
            self.tracks[-1].frames[self._number(attributes, "frame")] = seen
        elif name in _SHAPES and len(self.path) == 3 and self.path[1] == "image":
            key = self._given(attributes, "label"), attributes.get("source") == _PROPOSED
            self.images.setdefault(key, {}).setdefault(self._image, self.where())

    def text(self, text: str) -> None:
        self._text.append(text)

    def end(self, name: str) -> None:
        text = "".join(self._text).strip()
        self._text.clear()
        self.path.pop()
        if "meta" not in self.path:
            return
        left_out = (name == "start_frame" and text not in ("", "0")) or (
            name == "frame_filter" and text not in ("", "step=1")
        )
        if left_out:
            what = f"its task has {name} {text[:40]!r}, expected all frames of the recording from its first"
            raise self.subject.refused(self.where(), what, hint="make a task without it")

    def _given(self, attributes: dict[str, str], key: str) -> str:
        if key not in attributes:
            raise self.subject.refused(self.where(), f"<{self.path[-1]}> has no {key}")
        return attributes[key]

    def _number(self, attributes: dict[str, str], key: str) -> int:
        text = self._given(attributes, key)
        if not (text.isascii() and text.isdigit() and len(text) < 10):
            raise self.subject.refused(self.where(), f"{key} is {text[:40]!r}, expected a number from 0")
        return int(text)


def read(data: bytes, subject: LabelSubject) -> ForeignLabels:
    """Return tracks as stretches, and neighbouring pictures with one label as one stretch.

    Raises:
        InputError: DATA_BAD; it is no XML or has a document type, is another program's, frames have no time
            table, or there is no such frame.
    """
    reading = _parsed(data, subject)
    found = ForeignLabels()
    for track in reading.tracks:
        for first, last in _seen(track.frames):
            where, label, proposed = track.where, track.label, track.proposed
            found.take_frames(subject, where, (first, last), label, base=0, proposed=proposed)
    for (label, proposed), pictures in reading.images.items():
        for first, last in runs(pictures):
            where = pictures[first]
            found.take_frames(subject, where, (first, last), label, base=0, proposed=proposed)
    return found


def write(rows: Sequence[LabelRow], subject: LabelSubject) -> bytes:
    """Return the XML for images: a tag for each label of each frame that has any.

    Raises:
        CallerError: USAGE; there is no time table.
    """
    tagged: dict[int, dict[str, bool]] = {}
    for first, last, row in framed(rows, subject):
        for frame in range(first, last + 1):
            labels = tagged.setdefault(frame, {})
            labels[row.label] = labels.get(row.label, True) and row.proposed
    lines = ['<?xml version="1.0" encoding="utf-8"?>', "<annotations>", "  <version>1.1</version>"]
    lines += _meta(sorted({row.label for row in rows}))
    for frame in sorted(tagged):
        lines.append(f'  <image id="{frame}" name="frame_{frame:06d}">')
        lines += [
            f'    <tag label={quoteattr(label)} source="{_PROPOSED if proposed else "manual"}"></tag>'
            for label, proposed in tagged[frame].items()
        ]
        lines.append("  </image>")
    return ("\n".join([*lines, "</annotations>"]) + "\n").encode()


def _meta(labels: Sequence[str]) -> list[str]:
    """Return what readers of a whole data set want to be told: which labels there are."""
    named = (
        f"        <label><name>{escape(label)}</name><attributes></attributes></label>" for label in labels
    )
    return ["  <meta>", "    <task>", "      <labels>", *named, "      </labels>", "    </task>", "  </meta>"]


def framed(rows: Sequence[LabelRow], subject: LabelSubject) -> list[tuple[int, int, LabelRow]]:
    """Return first and last frame, from 0 and both included, of everything that is there.

    Raises:
        CallerError: USAGE; there is no time table.
    """
    if subject.frames is None:
        raise CallerError(
            Reason.USAGE,
            "this format has frame numbers, and no recording with frames is given",
            hint=NO_TABLE,
        )
    return [
        (*frames, row)
        for row in rows
        if (frames := subject.frames.frames(row.start_ns, row.end_ns)) is not None
    ]


def runs(numbers: Iterable[int]) -> list[tuple[int, int]]:
    """Return first and last of each run of neighbours.

    >>> runs([5, 1, 2, 7, 6])
    [(1, 2), (5, 7)]
    """
    found: list[tuple[int, int]] = []
    for number in sorted(numbers):
        if found and found[-1][1] == number - 1:
            found[-1] = (found[-1][0], number)
        else:
            found.append((number, number))
    return found


def _parsed(data: bytes, subject: LabelSubject) -> _Reading:
    from xml.parsers import expat

    reading = _Reading(subject)
    parser = expat.ParserCreate()

    def located() -> None:
        reading.line = parser.CurrentLineNumber

    def doctype(*_: Any) -> None:
        located()
        what = "has a document type or an entity, expected plain XML as CVAT writes it"
        raise subject.refused(reading.where(), what, hint="export it again from CVAT")

    def start(name: str, attributes: dict[str, str]) -> None:
        located()
        reading.start(name, attributes)

    def end(name: str) -> None:
        located()
        reading.end(name)

    parser.StartDoctypeDeclHandler = doctype
    parser.EntityDeclHandler = doctype
    parser.StartElementHandler, parser.EndElementHandler = start, end
    parser.CharacterDataHandler = reading.text
    try:
        parser.Parse(data, True)
    except expat.ExpatError as error:
        what = f"is no XML: {expat.ErrorString(error.code)}"
        raise subject.refused(f"line {error.lineno}", what) from None
    except (LookupError, ValueError) as error:  # an encoding that Python does not know, or cannot use here
        raise subject.refused("line 1", f"is no XML that can be read: {error}") from None
    return reading


def _seen(frames: dict[int, bool]) -> list[tuple[int, int]]:
    found: list[tuple[int, int]] = []
    first: int | None = None
    for frame in sorted(frames):
        if frames[frame] and first is None:
            first = frame
        elif not frames[frame] and first is not None:
            found.append((first, frame - 1))
            first = None
    if first is not None:
        found.append((first, max(frames)))
    return found
