"""How far one receiver of a spool has come: a small file that a power cut cannot leave unreadable.

The record is written in turn to two places, each with a checksum; the whole one with the higher count
is the one that counts.
"""

from __future__ import annotations

import os
import secrets
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path

from galago_edge.sinks.disk import Disk

CURSOR_SUFFIX = ".cursor"
_MAGIC = b"GSPCURS1"
_BODY = struct.Struct("<8sQQQQ")
_CRC = struct.Struct("<I")
_PLACES = (0, 4096)  # not in one sector, nor in one page
_FILE_BYTES = 8192


@dataclass(frozen=True, slots=True)
class CursorPosition:
    """What a receiver has, and what it must still be told."""

    identity: int
    """Random, made with the file: tells this receiver's spool from all others."""
    acked: int = 0
    """All records up to this number are delivered or given up."""
    untold: int = 0
    """Records given up of which the receiver was not told yet."""


class CursorFile:
    """The file of one receiver. Made once; then written in place, so that a full disk does not matter."""

    def __init__(self, disk: Disk, folder: Path, name: str) -> None:
        """Name the file; :meth:`load` or :meth:`create` opens it."""
        self._disk = disk
        self.path = folder / f"{name}{CURSOR_SUFFIX}"
        self._fd = -1
        self._count = 0
        self.dirty = False
        """Holds what was not yet synced."""

    @property
    def ready(self) -> bool:
        """Tell whether the file is there and open."""
        return self._fd >= 0

    def load(self) -> CursorPosition | None:
        """Open the file and return what it says; None when there is none.

        A file of which neither place is whole says that nothing was delivered: better twice than never.

        Raises:
            OSError: It is there and cannot be read.
        """
        try:
            self._fd = self._disk.open(self.path)
        except FileNotFoundError:
            return None
        newest = CursorPosition(new_identity())
        data = self._disk.read_at(self._fd, _FILE_BYTES, 0)
        for place in _PLACES:
            body = data[place : place + _BODY.size]
            crc = data[place + _BODY.size : place + _BODY.size + _CRC.size]
            if len(body) == _BODY.size and crc == _CRC.pack(zlib.crc32(body)) and body.startswith(_MAGIC):
                _, count, identity, acked, untold = _BODY.unpack(body)
                if count > self._count:
                    self._count, newest = count, CursorPosition(identity, acked, untold)
        return newest

    def create(self, progress: CursorPosition) -> None:
        """Make the file, with all the room it will ever need, and wait until it is on the disk.

        Raises:
            OSError: It cannot be made; there is none then.
        """
        fd = self._disk.create(self.path)
        try:
            self._disk.write_at(fd, bytes(_FILE_BYTES), 0)
            self._fd = fd
            self.save(progress)
            self.save(progress)
            self._disk.sync(fd)
            self.dirty = False
        except OSError:
            self._fd = -1
            os.close(fd)
            self._disk.unlink(self.path)
            raise

    def save(self, progress: CursorPosition) -> None:
        """Write the older place again.

        Raises:
            OSError: It could not be written; the newer place is as it was.
        """
        count = self._count + 1
        body = _BODY.pack(_MAGIC, count, progress.identity, progress.acked, progress.untold)
        self._disk.write_at(self._fd, body + _CRC.pack(zlib.crc32(body)), _PLACES[count % 2])
        self._count = count
        self.dirty = True

    def sync(self) -> None:
        """Wait until what was saved is on the disk.

        Raises:
            OSError: The disk says that it is not.
        """
        if self.dirty and self.ready:
            self._disk.sync(self._fd)
            self.dirty = False

    def sync_fd(self) -> int:
        """Return a descriptor of its own for syncing, for the caller to close."""
        self.dirty = False
        return os.dup(self._fd)

    def close(self) -> None:
        """Give the descriptor back."""
        if self.ready:
            os.close(self._fd)
            self._fd = -1


def new_identity() -> int:
    """Return a random number of 63 bits, never 0."""
    return secrets.randbits(63) | 1
