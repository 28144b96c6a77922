"""When a recorder ends chunks and files, and what became of all that was handed to it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from galago_edge.contract.errors import LinkError, Reason
from galago_edge.recorded.about import SourceMark


@dataclass(frozen=True, slots=True)
class WriterLimits:
    """When chunks and files end."""

    chunk_bytes: int = 256 << 10
    chunk_s: float = 1.0
    sync_s: float = 10.0
    """At most so long a chunk that is written waits for the disk."""
    file_bytes: int = 1 << 30
    file_s: float = 3600.0


@dataclass(slots=True)
class WriterAccount:
    """What became of the messages."""

    messages: int = 0
    """Written."""
    lost: Counter[str] = field(default_factory=Counter)
    """Not written, by topic."""
    files: list[Path] = field(default_factory=list)
    """Whole ones."""
    failures: int = 0
    """Times that the disk refused."""
    fault: str = ""
    """What the disk said last; empty since it took a chunk again."""
    fault_reason: Reason = Reason.IO
    """Of the last fault: NO_SPACE, READ_ONLY, IO."""

    def refused(self, error: LinkError) -> None:
        """Take down that the disk refused."""
        self.failures += 1
        self.fault, self.fault_reason = str(error), error.reason


@dataclass(slots=True)
class SourceTrack:
    """One source in the file that is being written."""

    mark: SourceMark
    number: int = 0
    """Of its next item."""
    end_ns: int = 0
    """Stream time at which what was handed over ends."""
    kept_ns: int = 0
    """The same of what was handed over before anything was lost."""
    lost_items: int = 0
    """Not told yet."""
    lost_to_ns: int = 0
    """Stream time up to which they reached."""
    told: int = 0
    """Lost items that the chunk which is being filled tells of."""
    own: int = 0
    """Gaps in it that are the recorder's own, and no items of the source."""
    leaning: bool = False
    """Its pictures lean on those before."""
    keyed: bool = False
    """A picture that leans on nothing is in this file, so those that lean on it can be decoded."""
    counted: Counter[str] = field(default_factory=Counter)
    """Items in the chunk that is being filled."""
