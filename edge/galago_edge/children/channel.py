"""Typed messages between a child and its parent, each with bytes and open files if it has any.

A pair of sockets that keeps packets apart. A packet is one message as JSON, a line feed (which JSON never
holds unescaped) and a payload.
"""

from __future__ import annotations

import array
import os
import select
import socket
from collections.abc import Sequence
from typing import Any, Generic, NamedTuple, TypeVar

import msgspec

MAX_PAYLOAD = 160 * 1024
"""Bytes; with its message they are no more than a socket takes at once without being asked to take more."""
_MAX_PACKET = 192 * 1024
_END = b"\n"
# plain numbers: an operation on socket's flags, which are enums, takes longer than a system call
_SENT = int(socket.MSG_NOSIGNAL)
_WHOLE_LENGTH = int(socket.MSG_TRUNC)
_TAKEN = int(socket.MSG_TRUNC | socket.MSG_CMSG_CLOEXEC)

T = TypeVar("T")


class Packet(NamedTuple, Generic[T]):
    """What arrived at once."""

    message: T
    payload: bytes = b""
    fds: tuple[int, ...] = ()
    """Open file descriptors; they belong to whoever received the packet."""


def channel_ends() -> tuple[socket.socket, socket.socket]:
    """Return both ends of a connection, one to keep and one to hand on.

    Raises:
        OSError: There is no descriptor to be had.
    """
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)


class Channel(Generic[T]):
    """One end, which receives messages of the types ``T``. Used by one thread."""

    def __init__(self, link: socket.socket, takes: Any, *, fds: int = 0) -> None:
        """Take over ``link``; ``takes`` is ``T``: a Struct, or a union of Structs with tags.

        A packet may bring at most ``fds`` open files along; the kernel closes others.
        """
        self._link = link
        self._encoder = msgspec.json.Encoder()
        self._decoder: msgspec.json.Decoder[T] = msgspec.json.Decoder(takes)
        self._room = bytearray(_MAX_PACKET)  # once, and only what arrives is ever touched
        self._rights_bytes = socket.CMSG_SPACE(fds * array.array("i").itemsize) if fds else 0
        self._poll = select.poll()
        self._poll.register(link, select.POLLIN)

    def send(self, message: msgspec.Struct, payload: bytes = b"", fds: Sequence[int] = ()) -> None:
        """Send one packet; the other side gets copies of the open files ``fds``.

        Raises:
            OSError: The other side is gone.
        """
        head = self._encoder.encode(message) + _END
        if not payload and not fds:  # one of these for every window of an accelerated model
            self._link.send(head, _SENT)
            return
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
        self._link.sendmsg([head, payload], rights, _SENT)

    def receive(self, timeout_s: float | None = None) -> Packet[T]:
        """Return the next packet; wait for it at most ``timeout_s``, or as long as it takes.

        Raises:
            TimeoutError: None came in time.
            EOFError: The other side is gone, and everything that it said was received.
            ValueError: It said what is no message of ``T``.
        """
        if timeout_s is not None and not self._poll.poll(max(0.0, timeout_s) * 1_000):
            raise TimeoutError
        try:
            size, fds = self._taken()
        except OSError:
            raise EOFError from None
        if not size:
            raise EOFError
        try:
            end = self._room.index(_END, 0, min(size, _MAX_PACKET))
            message = self._decoder.decode(self._room[:end])
            if size > _MAX_PACKET:
                raise ValueError(f"{size} bytes, at most {_MAX_PACKET} may come at once")
        except (ValueError, RecursionError) as error:  # msgspec's errors are ValueErrors
            for fd in fds:
                os.close(fd)
            raise ValueError(f"no message of this channel: {error}") from None
        return Packet(message, bytes(self._room[end + 1 : size]), fds)

    def close(self) -> None:
        """Hang up. May be called twice."""
        self._link.close()

    def _taken(self) -> tuple[int, tuple[int, ...]]:
        """Take the next packet; return its length, for which there may be no room, and its files."""
        try:
            if not self._rights_bytes:  # the quicker way
                return self._link.recv_into(self._room, 0, _WHOLE_LENGTH), ()
            size, rights, _, _ = self._link.recvmsg_into([self._room], self._rights_bytes, _TAKEN)
        except ConnectionResetError:  # it left without reading all of ours; what it said before still waits
            size, rights, _, _ = self._link.recvmsg_into([self._room], self._rights_bytes, _TAKEN)
        return size, _descriptors(rights)


def _descriptors(rights: list[tuple[int, int, bytes]]) -> tuple[int, ...]:
    fds = array.array("i")
    for level, kind, content in rights:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            fds.frombytes(content[: len(content) // fds.itemsize * fds.itemsize])
    return tuple(fds)
