"""One file of a spool: records with consecutive numbers, only ever appended to, removed as a whole."""

from __future__ import annotations

import contextlib
import errno
import os
import re
from array import array
from collections.abc import Callable, Sequence
from pathlib import Path

from galago_edge.sinks.disk import Disk
from galago_edge.sinks.stored_record import (
    DAMAGED,
    OVERHEAD_BYTES,
    StoredRecord,
    decode_record,
    encode_record,
    scan_records,
)

SUFFIX = ".spool"
_NAME = rf"[0-9]{{20}}\{SUFFIX}"
_BLOCK_BYTES = 4_096
_HOLE_LIMIT = 1 << 20
"""A number further ahead than this within one file is damage that its CRC did not show."""


class Segment:
    """Knows where each of its records lies, so that reading one needs one access.

    Its name is the number of its first record, so that what is missing at its beginning shows.
    """

    def __init__(self, disk: Disk, folder: Path, first_seq: int) -> None:
        """Name a segment; :meth:`create` or :meth:`load` gives it a file."""
        self._disk = disk
        self.path = folder / f"{first_seq:020d}{SUFFIX}"
        self.first_seq = first_seq
        self.size = 0
        """Bytes, damaged ones included."""
        self.sorts = array("I")
        """Sort of each record from ``first_seq`` on."""
        self.times_ns = array("Q")
        """When each was written, on the clock that counts from boot."""
        self._offsets = array("Q")
        self._fd = -1
        self.dirty = False
        """Holds what was not yet synced."""
        self.broken = False
        """Half a record stands at the end and the disk would not take it back: nothing may follow it."""

    @property
    def end_seq(self) -> int:
        """Return the number behind its last record."""
        return self.first_seq + len(self.sorts)

    def create(self) -> None:
        """Make the file.

        Raises:
            OSError: It cannot be made.
        """
        self._fd = self._disk.create(self.path)

    def load(self, sort_of: Callable[[StoredRecord], int]) -> None:
        """Read which records the file holds; damaged ones in the middle are noted, a torn end is not.

        ``sort_of`` says who wants a record.

        Raises:
            OSError: It cannot be read.
        """
        fd = self._disk.open_to_read(self.path)
        try:
            self.size = self._disk.size(fd)
            data = self._contents(fd)
        finally:
            os.close(fd)
        for offset, record in scan_records(data):
            hole = record.seq - self.end_seq
            if 0 <= hole <= _HOLE_LIMIT:
                for _ in range(hole):
                    self._note(DAMAGED, 0, 0)
                self._note(sort_of(record), record.boot_ns, offset)

    def forget_from(self, seq: int) -> None:
        """Leave the records from this number on to the next segment."""
        keep = max(seq - self.first_seq, 0)
        del self.sorts[keep:], self.times_ns[keep:], self._offsets[keep:]

    def append(self, records: Sequence[StoredRecord]) -> None:
        """Write all records or none.

        Raises:
            OSError: They could not be written; see :attr:`broken`.
        """
        data = memoryview(b"".join(map(encode_record, records)))
        done = 0
        try:
            while done < len(data):
                done += self._disk.write(self._fd, data[done:])
        except OSError:
            self._cut_back()
            raise
        for record in records:
            self._note(record.sort, record.boot_ns, self.size)
            self.size += OVERHEAD_BYTES + len(record.line)
        self.dirty = True

    def read(self, seq: int) -> StoredRecord | None:
        """Return the record with this number, None when it is damaged or the disk cannot read it any more.

        Raises:
            OSError: It cannot be read now, which says nothing about the record.
        """
        at = seq - self.first_seq
        if self.sorts[at] == DAMAGED:
            return None
        offset = self._offsets[at]
        end = self._end_of(at)
        try:
            if self._fd < 0:
                self._fd = self._disk.open_to_read(self.path)
        except FileNotFoundError:
            return None  # somebody has removed it
        try:
            record = decode_record(self._disk.read_at(self._fd, end - offset, offset))
        except OSError as error:
            if error.errno != errno.EIO:
                raise
            return None
        return record if record is not None and record.seq == seq else None

    def sync_fd(self) -> int:
        """Return a descriptor of its own for syncing, for the caller to close.

        Raises:
            OSError: Its file cannot be opened; nobody has written to it since it was read.
        """
        self.dirty = False
        if self._fd < 0:
            self._fd = self._disk.open_to_read(self.path)
        return os.dup(self._fd)

    def close(self) -> None:
        """Give the descriptor back."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def remove(self) -> None:
        """Remove the file; when the disk does not let us, a later start will."""
        self.close()
        with contextlib.suppress(OSError):
            self._disk.unlink(self.path)

    def _contents(self, fd: int) -> bytes:
        """Return the whole file; zeros where the disk cannot read it any more."""
        with contextlib.suppress(OSError):
            return self._disk.read_at(fd, self.size, 0)
        data = bytearray(self.size)
        for start in range(0, self.size, _BLOCK_BYTES):
            try:
                block = self._disk.read_at(fd, _BLOCK_BYTES, start)
            except OSError as error:
                if error.errno != errno.EIO:
                    raise
            else:
                data[start : start + len(block)] = block
        return bytes(data)

    def _end_of(self, at: int) -> int:
        """Return where the record at this place ends at the latest."""
        for following in range(at + 1, len(self.sorts)):
            if self.sorts[following] != DAMAGED:
                return self._offsets[following]
        return self.size

    def _note(self, sort: int, boot_ns: int, offset: int) -> None:
        self.sorts.append(sort)
        self.times_ns.append(boot_ns)
        self._offsets.append(offset)

    def _cut_back(self) -> None:
        try:
            self._disk.truncate(self._fd, self.size)
        except OSError:
            self.broken = True


def segments_in(disk: Disk, folder: Path) -> list[Segment]:
    """Return the segments of a folder by number, not loaded; other files are left alone.

    Raises:
        OSError: The folder cannot be read.
    """
    return [Segment(disk, folder, int(name[:20])) for name in disk.names(folder) if re.fullmatch(_NAME, name)]
