"""When each frame of a recording was taken, the only way from frame numbers to times; and where it ends."""

from __future__ import annotations

import bisect
import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from galago_edge.contract.errors import CallerError, Reason
from galago_edge.contract.streams import GAPS_OF_DAMAGE, AudioBlock, Frame, Gap, Item, samples_to_ns
from galago_edge.sources.address import parse_source
from galago_edge.sources.recording_damage import DamagedError
from galago_edge.sources.source_kind import Address, Opening
from galago_workstation.qa.replayed import Stretch

_RATE_HZ = 16_000
"""At which sound is read to know where it ends: to a sixteenth of a millisecond, as most bundles hear it."""


@dataclass(frozen=True, slots=True)
class FrameTimes:
    """The recording's own time table. Nothing is computed from frames per second."""

    starts_ns: Sequence[int]
    """Stream time of every frame, in order, from the first one that the recording holds; at least one."""
    end_ns: int
    """Where the recording ends: later than the last frame."""
    cut: bool = False
    """It is cut off there: there were more frames, of which nobody knows when they were taken."""

    def __post_init__(self) -> None:
        if not self.starts_ns or self.end_ns <= self.starts_ns[-1]:
            raise ValueError("a time table has frames and ends behind the last one")
        if any(after <= before for before, after in itertools.pairwise(self.starts_ns)):
            raise ValueError("the times of frames must grow")

    def __len__(self) -> int:
        return len(self.starts_ns)

    def stretch(self, first: int, last: int) -> Stretch:
        """Return the stream time of the frames ``first`` to ``last``, both included and counted from 0.

        Raises:
            IndexError: The recording has no such frame.
        """
        if not 0 <= first <= last < len(self.starts_ns):
            raise IndexError(f"frames {first} to {last}")
        after = self.starts_ns[last + 1] if last + 1 < len(self.starts_ns) else self.end_ns
        return self.starts_ns[first], after

    def behind(self, first: int, last: int) -> int:
        """Return how many of the frames ``first`` to ``last``, both included, are behind a cut."""
        return max(0, min(last - first, last - len(self.starts_ns)) + 1) if self.cut else 0

    def frames(self, start_ns: int, end_ns: int) -> tuple[int, int] | None:
        """Return the first and the last frame that is shown in a stretch; None when there is none.

        A frame is shown from its time to that of the next one. A moment counts as the frame shown then.
        """
        first = max(0, bisect.bisect_right(self.starts_ns, start_ns) - 1)
        last = bisect.bisect_left(self.starts_ns, max(end_ns, start_ns + 1)) - 1
        return (first, last) if first <= last and start_ns < self.end_ns else None


@dataclass(frozen=True, slots=True)
class RecordingExtent:
    """How far a recording could be read."""

    read_to_ns: int
    """Its end; of one that is cut off, where that is."""
    loss: DamagedError | None = None
    """What of it cannot be read; None when all of it can."""
    cut: bool = False
    """Its end is missing: labels behind ``read_to_ns`` may be right."""
    promised_ns: int | None = None
    """Of one that is cut off: its end as its header has it; None where nobody knows how long it was."""
    frames: FrameTimes | None = None

    @property
    def end_ns(self) -> int | None:
        """Behind which no label can be; None where nobody knows."""
        return self.promised_ns if self.cut else self.read_to_ns


@dataclass(slots=True)
class _Walked:
    """What was met on the way through one modality of a recording."""

    starts: list[int] = field(default_factory=list)
    end_ns: int = 0
    promised_ns: int | None = None
    gaps: set[str] = field(default_factory=set)
    loss: DamagedError | None = None

    def take(self, item: Item) -> None:
        if isinstance(item, Frame):
            self.starts.append(item.captured_ns)
        elif isinstance(item, AudioBlock):
            length_ns = samples_to_ns(len(item.samples), item.rate_hz)
            self.end_ns = max(self.end_ns, item.captured_ns + length_ns)
        elif isinstance(item, Gap):
            self.gaps.add(item.cause)
            # what a header promises behind the cut was never read
            self.end_ns = max(self.end_ns, item.from_ns if item.cause == "truncated" else item.to_ns)
            if item.cause == "truncated" and item.to_ns > item.from_ns:
                self.promised_ns = item.to_ns


def _walk(address: Address, rate_hz: int | None) -> _Walked:
    """Walk through it as a replay does: damage ends nothing as long as a gap says where it is.

    Raises:
        InputError: It is damaged, and nobody can say where.
        LinkError: It cannot be read.
    """
    walked = _Walked()
    assert address.described.open is not None
    try:
        for item in address.described.open(address, Opening(rate_hz)):
            walked.take(item)
    except DamagedError as error:
        if not walked.gaps & GAPS_OF_DAMAGE:
            raise
        walked.loss = error
    return walked


def frame_extent(recording: Path) -> RecordingExtent:
    """Walk through a camera's recording and note when each frame was taken. As slow as reading it.

    One that is cut off has the times of the frames before. Damage before would change the numbers of all
    frames behind it, and is refused.

    Raises:
        CallerError: SOURCE_MISMATCH; it is no recording of a camera, or holds no frame.
        InputError: It is damaged.
        LinkError: It cannot be read.
    """
    address = parse_source(str(recording))
    if address.modality != "camera" or address.described.open is None or address.reopens:
        raise CallerError(
            Reason.SOURCE_MISMATCH,
            f"{recording} has no frames, expected a camera's recording",
            hint="give the recording whose frames are numbered",
        )
    walked = _walk(address, None)
    if walked.loss is not None and "unreadable" in walked.gaps:
        raise walked.loss
    return _of_frames(recording, walked)


def _of_frames(recording: Path, walked: _Walked) -> RecordingExtent:
    starts = walked.starts
    if not starts:
        raise walked.loss or CallerError(
            Reason.SOURCE_MISMATCH, f"{recording} holds no frame", hint="give another recording"
        )
    last_ns = starts[-1] - starts[-2] if len(starts) > 1 else 1  # nothing says how long the last one is shown
    cut = "truncated" in walked.gaps
    end_ns = max(walked.end_ns, starts[-1] + last_ns)
    return RecordingExtent(end_ns, walked.loss, cut, walked.promised_ns, FrameTimes(starts, end_ns, cut))


def recording_extent(recording: Path) -> RecordingExtent:
    """Walk through a recording, sound and pictures, to know where it ends. As slow as reading it.

    Raises:
        CallerError: SOURCE_MISMATCH; it is no recording, or holds several of which one must be chosen.
        InputError: It is damaged, and nobody can say where, or nothing of it can be read.
        LinkError: It cannot be read.
    """
    address = parse_source(str(recording))
    if address.described.open is None or address.reopens:
        raise CallerError(
            Reason.SOURCE_MISMATCH, f"{recording} is no recording, expected one", hint="give a recording"
        )
    found: list[RecordingExtent] = []
    if (pictures := address.seen_as("camera")) is not None:
        found.append(_of_frames(recording, _walk(pictures, None)))
    sound = address.seen_as("microphone")
    if sound is not None and sound.described.open is not None:
        walked = _walk(sound, _RATE_HZ)
        if walked.loss is not None and not walked.end_ns:
            raise walked.loss
        cut = "truncated" in walked.gaps
        found.append(RecordingExtent(walked.end_ns, walked.loss, cut, walked.promised_ns))
    return RecordingExtent(
        max((one.read_to_ns for one in found), default=0),
        next((one.loss for one in found if one.loss is not None), None),
        any(one.cut for one in found),
        None
        if None in (ends := [one.end_ns for one in found])
        else max(one for one in ends if one is not None),
    )
