"""The archive around a bundle: plain ustar, of which every byte is fixed by the member names and sizes.

Any ``tar`` lists and unpacks it. This reader accepts exactly what :func:`write_archive` writes: it
makes each header again from name and size and compares, it checks the padding, and nothing may
stand behind the two closing zero blocks.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from typing import BinaryIO

from galago_edge.contract.errors import BundleError, Reason, disk_error

BLOCK = 512
END = bytes(2 * BLOCK)
CHUNK_BYTES = 1 << 20
_NAME_BYTES = 100
_SIZE_FIELD = slice(124, 136)
_CHECKSUM_FIELD = slice(148, 156)


def header(name: str, size: int) -> bytes:
    """Return the one header block (512 bytes) that a member of this name and size has.

    POSIX.1-1988 ustar as GNU tar writes it: mode 0644, owner and time 0, regular file. Name: at most
    100 ASCII bytes; size: below 8 GiB.
    """
    fields = (
        name.encode("ascii").ljust(_NAME_BYTES, b"\0"),
        b"0000644\0" + 2 * b"0000000\0",  # mode, user, group
        b"%011o\0" % size,
        b"00000000000\0",  # time
        b" " * 8,  # the checksum counts itself as blanks
        b"0" + bytes(100),  # regular file, no link
        b"ustar\x0000" + bytes(64),  # no owner names
        2 * b"0000000\0" + bytes(155 + 12),  # device numbers, no prefix
    )
    block = bytearray(b"".join(fields))
    block[_CHECKSUM_FIELD] = b"%06o\0 " % sum(block)
    return bytes(block)


def padding(size: int) -> bytes:
    """Return the zeros that fill a member's last block."""
    return bytes(-size % BLOCK)


def write_archive(out: BinaryIO, members: Iterable[tuple[str, bytes]]) -> None:
    """Write the members in their order, and the end.

    Raises:
        OSError: The disk refused.
    """
    for name, data in members:
        out.write(header(name, len(data)))
        out.write(data)
        out.write(padding(len(data)))
    out.write(END)


class ArchiveReader:
    """Reads members in order through one file descriptor and refuses every unexpected byte.

    Every method raises BundleError (with ``where``, the file's name, in its message) or LinkError.
    """

    def __init__(self, fd: int, where: str) -> None:
        self._fd = fd
        self._where = where
        self._offset = 0
        try:
            self._length = os.fstat(fd).st_size
        except OSError as error:
            raise disk_error(error, f"read {where}") from error

    def small_member(self, name: str, limit: int, missing: Reason) -> bytes:
        """Return the next member, whose size only its header tells.

        Raises:
            BundleError: ``missing`` when another member or the end stands there, TOO_BIG above ``limit``.
        """
        block = self._peek_header(name)
        if block[:_NAME_BYTES] != name.encode().ljust(_NAME_BYTES, b"\0"):
            raise self._error(missing, f"has {_met(block)} where {name} must be")
        field = block[_SIZE_FIELD]
        if not (field[:11].isdigit() and field.translate(None, b"89") == field and field[11:] == b"\0"):
            raise self._error(Reason.ARCHIVE_BAD, f"the header of {name} gives no size")
        size = int(field[:11], 8)
        if size > limit:
            raise self._error(Reason.TOO_BIG, f"{name} has {size} bytes, at most {limit} are allowed")
        return b"".join(self.member(name, size))

    def member(self, name: str, size: int) -> Iterator[bytes]:
        """Yield the content of the next member in chunks; its header and padding are checked."""
        block = self._peek_header(name)
        if block != header(name, size):
            reason, met = Reason.ARCHIVE_BAD, "an altered header"
            if not any(block):
                reason, met = Reason.TRUNCATED, _met(block)
            elif _is_header(block) and block[:_NAME_BYTES] != header(name, size)[:_NAME_BYTES]:
                reason, met = Reason.FILE_EXTRA, _met(block)
            raise self._error(reason, f"has {met} where {name} ({size} bytes) must be")
        self._offset += BLOCK
        end = self._offset + size
        while self._offset < end:
            yield self._take(min(CHUNK_BYTES, end - self._offset), name)
        if any(self._take(-size % BLOCK, name)):
            raise self._error(Reason.ARCHIVE_BAD, f"the padding of {name} is not zero")

    @property
    def content_offset(self) -> int:
        """Where the content of the next member begins."""
        return self._offset + BLOCK

    def finish(self) -> None:
        """Check that the closing blocks come next and that the file ends there."""
        block = self._take(BLOCK, "the end")
        if any(block):
            raise self._error(Reason.FILE_EXTRA, f"has {_met(block)}, which the manifest does not list")
        if any(self._take(BLOCK, "the end")):
            raise self._error(Reason.ARCHIVE_BAD, "the closing block is not zero")
        if self._offset != self._length:
            extra = self._length - self._offset
            raise self._error(Reason.FILE_EXTRA, f"has {extra} bytes behind its end")

    def _peek_header(self, name: str) -> bytes:
        block = self._take(BLOCK, name)
        self._offset -= BLOCK
        return block

    def _take(self, size: int, what: str) -> bytes:
        try:
            data = read_at(self._fd, self._offset, size)
        except OSError as error:
            raise disk_error(error, f"read {self._where}") from error
        if len(data) != size:
            raise self._error(Reason.TRUNCATED, f"ends at byte {self._offset + len(data)}, within {what}")
        self._offset += size
        return data

    def _error(self, reason: Reason, text: str) -> BundleError:
        hint = "copy or download the bundle again"
        return BundleError(reason, f"{self._where}: {text}", hint=hint)


def read_at(fd: int, offset: int, size: int) -> bytes:
    """Return ``size`` bytes from ``offset``, fewer only at the end of the file.

    Raises:
        OSError: The disk refused.
    """
    parts = []
    while size > 0 and (data := os.pread(fd, size, offset)):
        parts.append(data)
        offset += len(data)
        size -= len(data)
    return b"".join(parts)


def _is_header(block: bytes) -> bool:
    """Tell a member of some other archive from damage: its checksum is right."""
    blank = block[:148] + b" " * 8 + block[156:]
    return block[_CHECKSUM_FIELD] == b"%06o\0 " % sum(blank)


def _met(block: bytes) -> str:
    if not any(block):
        return "the end of the archive"
    if _is_header(block):
        name = block[:_NAME_BYTES].rstrip(b"\0").decode("ascii", "replace")
        return f"the file {name!r}"
    return "something that is no file header"
