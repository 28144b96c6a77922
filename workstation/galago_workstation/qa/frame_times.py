"""When each frame of a recording was taken: the only way from frame numbers to times."""

from __future__ import annotations

import bisect
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from galago_edge.contract.errors import CallerError, Reason
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

    def frames(self, start_ns: int, end_ns: int) -> tuple[int, int] | None:
        """Return the first and the last frame that is shown in a stretch; None when there is none.

        A frame is shown from its time to that of the next one. A moment counts as the frame shown then.
        """
        first = max(0, bisect.bisect_right(self.starts_ns, start_ns) - 1)
        last = bisect.bisect_left(self.starts_ns, max(end_ns, start_ns + 1)) - 1
        return (first, last) if first <= last and start_ns < self.end_ns else None


def read_frame_times(recording: Path) -> FrameTimes:
    """Walk through a camera's recording and note when each frame was taken. As slow as reading it.

    Raises:
        CallerError: SOURCE_MISMATCH; it is no recording of a camera, or holds no frame.
        InputError: It is damaged.
        LinkError: It cannot be read.
    """
    from galago_edge.contract.streams import Frame, Gap
    from galago_edge.sources import parse_source
    from galago_edge.sources.source_kind import Opening

    address = parse_source(str(recording))
    if address.modality != "camera" or address.described.open is None or address.reopens:
        raise CallerError(
            Reason.SOURCE_MISMATCH,
            f"{recording} has no frames, expected a camera's recording",
            hint="give the recording whose frames are numbered",
        )
    starts: list[int] = []
    end_ns = 0
    for item in address.described.open(address, Opening(None)):
        if isinstance(item, Frame):
            starts.append(item.captured_ns)
        elif isinstance(item, Gap):
            end_ns = max(end_ns, item.to_ns)
    if not starts:
        raise CallerError(
            Reason.SOURCE_MISMATCH, f"{recording} holds no frame", hint="give another recording"
        )
    last_ns = starts[-1] - starts[-2] if len(starts) > 1 else 1  # nothing says how long the last one is shown
    return FrameTimes(starts, max(end_ns, starts[-1] + last_ns))


def recording_end_ns(recording: Path) -> int:
    """Walk through a recording, sound and pictures, and return where it ends. As slow as reading it.

    Raises:
        CallerError: SOURCE_MISMATCH; it is no recording, or holds several of which one must be chosen.
        InputError: It is damaged.
        LinkError: It cannot be read.
    """
    from galago_edge.contract.streams import AudioBlock, Gap, samples_to_ns
    from galago_edge.sources import parse_source
    from galago_edge.sources.source_kind import Opening

    address = parse_source(str(recording))
    if address.described.open is None or address.reopens:
        raise CallerError(
            Reason.SOURCE_MISMATCH, f"{recording} is no recording, expected one", hint="give a recording"
        )
    end_ns = 0
    if address.seen_as("camera") is not None:
        end_ns = read_frame_times(recording).end_ns
    sound = address.seen_as("microphone")
    if sound is not None and sound.described.open is not None:
        for item in sound.described.open(sound, Opening(_RATE_HZ)):
            if isinstance(item, AudioBlock):
                length_ns = samples_to_ns(len(item.samples), item.rate_hz)
                end_ns = max(end_ns, item.captured_ns + length_ns)
            elif isinstance(item, Gap):
                end_ns = max(end_ns, item.to_ns)
    return end_ns
