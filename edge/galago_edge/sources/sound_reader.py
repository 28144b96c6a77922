"""What an opened sound file is: something that gives samples in order, and says what is missing between."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

from galago_edge.contract.errors import InputError, Reason
from galago_edge.sources.sample_conversion import PcmFormat, Raw


@dataclass(frozen=True, slots=True)
class Hole:
    """Samples that are not there."""

    frames: int
    """So many of every channel, at the rate of what comes before; 0 when nobody can say."""
    cause: Literal["unreadable", "missing", "truncated"]
    """Damaged; left out by whoever recorded it, by its own time stamps; or cut off, when nothing follows."""
    detail: dict[str, Any] = field(default_factory=dict)
    """What else is known, for the record."""


@dataclass(frozen=True, slots=True)
class Remark:
    """What a reader of the records must know, at this place."""

    state: str
    detail: dict[str, Any]


SoundPiece = Raw | Hole | Remark | PcmFormat
"""Samples, shape ``(n, channels)``; or a format, which holds for the samples that follow."""


class SoundReader(Protocol):
    """An opened sound file."""

    format: PcmFormat
    """Of the first samples."""
    promised: int | None
    """Frames (one sample of every channel) that the file says it holds; None when it does not say."""

    def description(self) -> dict[str, Any]:
        """Return what else is known of it, for the stream's first record."""
        ...

    def pieces(self) -> Iterator[SoundPiece]:
        """Yield everything up to the end. To be called once."""
        ...

    def close(self) -> None:
        """Close the file. May be called twice."""
        ...


def unclaimed(count: int, *, recording: bool = False) -> Remark:
    """Return what is said of bytes behind the samples that may be some, and are not stated.

    ``recording`` says that another recording is known to begin there.
    """
    return Remark("unclaimed", {"bytes": count, "recording": True} if recording else {"bytes": count})


def unreadable_sound(path: Path, why: str, hint: str = "") -> InputError:
    """Return the failure of a file that is no sound, or none that can be read; ``why`` completes it."""
    return InputError(
        Reason.AUDIO_UNREADABLE,
        f"{path} cannot be read as sound: {why.rstrip('.')}",
        hint=hint or "expected a whole WAV, FLAC or other sound file; raw samples are FILE.raw?rate=16000",
    )
