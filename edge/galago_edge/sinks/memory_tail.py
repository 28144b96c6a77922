"""Records that wait in memory for the disk: normally for no longer than one write takes."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from galago_edge.sinks.stored_record import FRAME_BYTES, StoredRecord

MEMORY_RECORDS = 2_000
MEMORY_BYTES = 1 << 20
"""What waits in memory, at most, while the disk takes nothing."""


class Waiting:
    """A queue of frames with consecutive numbers."""

    def __init__(self) -> None:
        self._frames: deque[StoredRecord] = deque()
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._frames)

    def __iter__(self) -> Iterator[StoredRecord]:
        return iter(self._frames)

    @property
    def too_many(self) -> bool:
        """Tell whether this is more than memory should hold."""
        return len(self._frames) > MEMORY_RECORDS or self._bytes > MEMORY_BYTES

    @property
    def first_seq(self) -> int | None:
        """Return the number of the first frame, None when there is none."""
        return self._frames[0].seq if self._frames else None

    def append(self, frame: StoredRecord) -> None:
        """Put a frame at the end."""
        self._frames.append(frame)
        self._bytes += FRAME_BYTES + len(frame.line)

    def popleft(self) -> StoredRecord:
        """Take the first frame."""
        frame = self._frames.popleft()
        self._bytes -= FRAME_BYTES + len(frame.line)
        return frame

    def find(self, seq: int) -> StoredRecord | None:
        """Return the frame with this number, None when it is not here."""
        if not self._frames:
            return None
        at = seq - self._frames[0].seq
        return self._frames[at] if 0 <= at < len(self._frames) else None

    def chunk(self, limit_bytes: int) -> list[StoredRecord]:
        """Return the first frames that fit into so many bytes; one at least."""
        chunk: list[StoredRecord] = []
        size = 0
        for frame in self._frames:
            size += FRAME_BYTES + len(frame.line)
            if chunk and size > limit_bytes:
                break
            chunk.append(frame)
        return chunk
