"""What a capture child and its parent say to each other: packets over a socket pair, pixels in shared memory.

A packet is the length of its head (4 bytes, little-endian), the head as JSON, and a payload. The child is
given its order in the first one; what follows is described where it is sent (``serving``, ``microphone``).
"""

from __future__ import annotations

import array
import contextlib
import fcntl
import json
import mmap
import os
import socket
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

_LENGTH = struct.Struct("<I")
_MAX_PACKET = 192 * 1024
"""What a socket takes at once without being asked to take more."""
MAX_PAYLOAD = 160 * 1024
_MAX_FDS = 1


@dataclass(frozen=True, slots=True)
class Message:
    """One packet."""

    head: dict[str, Any]
    payload: bytes = b""
    fds: tuple[int, ...] = ()
    """Open file descriptors; they belong to whoever received the message."""


def socket_pair() -> tuple[socket.socket, socket.socket]:
    """Return both ends of a connection that keeps packets apart."""
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)


def send(link: socket.socket, head: dict[str, Any], payload: bytes = b"", fds: Sequence[int] = ()) -> None:
    """Send one message.

    Raises:
        OSError: The other side is gone.
    """
    encoded = json.dumps(head).encode()
    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
    link.sendmsg([_LENGTH.pack(len(encoded)), encoded, payload], rights, socket.MSG_NOSIGNAL)


class Receiver:
    """The receiving half of one end. Used by one thread."""

    def __init__(self, link: socket.socket) -> None:
        """Receive from ``link``."""
        self._link = link
        self._room = bytearray(_MAX_PACKET)  # once, and only what arrives is ever touched
        self._rights = socket.CMSG_SPACE(_MAX_FDS * array.array("i").itemsize)

    def receive(self, *, wait: bool = True) -> Message | None:
        """Return the next message, or None when the other side is gone.

        Raises:
            BlockingIOError: There is none yet, and ``wait`` is false.
        """
        flags = socket.MSG_CMSG_CLOEXEC | (0 if wait else socket.MSG_DONTWAIT)
        try:
            size, rights, _, _ = self._link.recvmsg_into([self._room], self._rights, flags)
        except ConnectionResetError:  # it left without reading all of ours; what it said before still waits
            size, rights, _, _ = self._link.recvmsg_into([self._room], self._rights, flags)
        fds = array.array("i")
        for level, kind, content in rights:
            if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                fds.frombytes(content[: len(content) // fds.itemsize * fds.itemsize])
        if not size:
            return None
        (length,) = _LENGTH.unpack_from(self._room)
        body = _LENGTH.size + length
        head = json.loads(self._room[_LENGTH.size : body])
        return Message(head, bytes(memoryview(self._room)[body:size]), tuple(fds))


class SharedMemory:
    """The child's side of the memory that frames are handed over in. It only ever grows, in a new file."""

    def __init__(self) -> None:
        self._fd = -1
        self._new = False
        self._map: mmap.mmap | None = None

    def room(self, size: int) -> mmap.mmap:
        """Return at least ``size`` writable bytes; what was in them is still there if they were enough."""
        if self._map is None or len(self._map) < size:
            self.close()
            whole = -(-size // mmap.PAGESIZE) * mmap.PAGESIZE
            self._fd = os.memfd_create("galago-frame", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
            os.ftruncate(self._fd, whole)
            # a mapping whose file shrinks kills whoever reads it: nobody can shrink this one
            fcntl.fcntl(self._fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK)
            self._map = mmap.mmap(self._fd, whole)
            self._new = True
        return self._map

    def fds(self) -> tuple[int, ...]:
        """Return the file that the other side does not have yet, for the next message."""
        new, self._new = self._new, False
        return (self._fd,) if new else ()

    def close(self) -> None:
        """Give up the memory; what looks into it keeps it until it is gone itself."""
        if self._map is not None:
            with contextlib.suppress(BufferError):
                self._map.close()
            os.close(self._fd)
            self._map = None


class SharedView:
    """The parent's side of it, read-only."""

    def __init__(self) -> None:
        self._map: mmap.mmap | None = None

    def adopt(self, message: Message) -> None:
        """Take over the memory that came with ``message``, if any did.

        Raises:
            OSError: It cannot be mapped.
        """
        for fd in message.fds:
            try:
                mapped = mmap.mmap(fd, os.fstat(fd).st_size, prot=mmap.PROT_READ)
            finally:
                os.close(fd)
            self.close()
            self._map = mapped

    def read(self, start: int, size: int) -> memoryview | None:
        """Return what stands there, to be copied at once; None when there is less."""
        if self._map is None or start < 0 or size < 0 or start + size > len(self._map):
            return None
        return memoryview(self._map)[start : start + size]

    def close(self) -> None:
        """Give up the memory."""
        if self._map is not None:
            self._map.close()
            self._map = None
