"""What is known of the recording that a foreign file of labels is about."""

from __future__ import annotations

from dataclasses import dataclass, field

from galago_edge.contract.errors import InputError
from galago_workstation.qa.frame_times import FrameTimes
from galago_workstation.qa.label_formats.decimal_seconds import ns_of
from galago_workstation.qa.label_rows import LabelRow, refusal
from galago_workstation.qa.replayed import Stretch

BEHIND = "frame behind the end of what can be read"
NO_TABLE = "give the recording: only its own time table says when a frame was taken"


@dataclass(frozen=True, slots=True)
class LabelSubject:
    """The recording, as far as the caller knows it, and how its file of labels is to be read."""

    name: str
    """Of the file of labels, for messages."""
    recording: str | None = None
    """File name of the recording: chooses among those that one file of labels is about."""
    frames: FrameTimes | None = None
    """Its time table; without one, frame numbers are refused."""
    column: str | None = None
    """Of a table: the column with the labels."""

    def refused(self, where: str, what: str, **more: str) -> InputError:
        """Return the one line about this file."""
        return refusal(self.name, where, what, **more)

    def timed(self, where: str, start: str, end: str, label: str) -> LabelRow:
        """Return the row of two texts in seconds.

        Raises:
            InputError: DATA_BAD; one is no number.
        """
        try:
            (start_ns, _), (end_ns, slack) = ns_of(start.strip()), ns_of(end.strip())
        except ValueError as error:
            raise self.refused(where, str(error)) from None
        return LabelRow(where, start_ns, end_ns, label.strip(), slack)

    def framed(self, where: str, first: int, last: int, *, base: int) -> tuple[Stretch | None, int]:
        """Return the stream time of frames, both included, that are counted from ``base``.

        Of a recording that is cut off: that of those which could be read, None for none, and how many others
        there are: nobody knows when they were taken.

        Raises:
            InputError: DATA_BAD; nobody knows when a frame was taken, or there is no such frame.
        """
        numbers = f"frames {first} to {last}" if first != last else f"frame {first}"
        if self.frames is None:
            what = f"is about {numbers}, expected times or a recording with a time table"
            raise self.refused(where, what, hint=NO_TABLE)
        if last < first:
            raise self.refused(where, f"frame {last} ends what frame {first} begins")
        behind = self.frames.behind(first - base, last - base)
        if behind > last - first:
            return None, behind
        try:
            return self.frames.stretch(first - base, last - behind - base), behind
        except IndexError:
            there = f"the recording has frames {base} to {len(self.frames) - 1 + base}"
            hint = "is it of another recording?"
            raise self.refused(where, f"{numbers}, but {there}, counted from {base}", hint=hint) from None


@dataclass(slots=True)
class ForeignLabels:
    """What a file of another program says."""

    rows: list[LabelRow] = field(default_factory=list)
    left_out: dict[str, int] = field(default_factory=dict)
    """What was not taken over, and how often."""

    def leave_out(self, what: str, count: int = 1) -> None:
        """Count something that is not taken over."""
        self.left_out[what] = self.left_out.get(what, 0) + count

    def take_frames(
        self, subject: LabelSubject, where: str, frames: tuple[int, int], label: str, *, base: int,
        proposed: bool = False,
    ) -> None:  # fmt: skip
        """Take what is there in these frames, both included; see :meth:`LabelSubject.framed`.

        Raises:
            InputError: As that.
        """
        stretch, behind = subject.framed(where, *frames, base=base)
        if behind:
            self.leave_out(BEHIND, behind)
        if stretch is not None:
            self.rows.append(LabelRow(where, *stretch, label.strip(), proposed=proposed))
