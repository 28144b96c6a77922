"""How the messages of flashing, and the bundle's bytes between them, go over a pipe.

A packet is one letter (``J`` a message as JSON, ``D`` bytes of the bundle), the length of what follows as
four bytes, the most significant first, and that. Before the first packet the device writes ``GREETING``:
what a login shell printed before it is skipped.
"""

from __future__ import annotations

import os
import select
import struct
import time

import msgspec

from galago_edge.contract.decoding import from_json
from galago_edge.contract.errors import LinkError, Reason
from galago_edge.contract.flash_messages import FromDevice, FromWorkstation

GREETING = b"\ngalago-receive/1\n"
CHUNK_BYTES = 64 << 10
"""Bytes of the bundle in one packet."""
WRITE_S = 60.0
"""A link that does not take a packet within so long is broken. Holds for a descriptor that does not block."""
SLOWEST_BYTES_S = 1_000
"""A packet that is longer may take longer: as long as at this pace, and no longer."""
_PACKET_LIMIT_BYTES = 1 << 20  # a manifest of 256 KiB in base64, and what stands around it
_NOISE_LIMIT_BYTES = 64 << 10  # of a login shell
_GRACE_S = 1.0
"""What has come already is still read when this process itself was late."""
_HEADER = struct.Struct(">cI")
_HINT = "run the same command again: it goes on where it stopped"


class Pipe:
    """Packets over one descriptor to read and one to write. Neither is closed here."""

    def __init__(self, incoming: int, outgoing: int) -> None:
        self._in = incoming
        self._out = outgoing
        self._buffer = bytearray()
        self.noise = b""
        """What came before the greeting."""

    def greet(self) -> None:
        """Say that packets follow.

        Raises:
            LinkError: TRANSPORT; nobody reads any more.
        """
        self._write(GREETING)

    def await_greeting(self, timeout_s: float) -> None:
        """Skip everything up to the greeting and keep it as ``noise``.

        Raises:
            LinkError: TRANSPORT; it did not come.
        """
        until = time.monotonic() + timeout_s
        while (at := self._buffer.find(GREETING)) < 0:
            self.noise = bytes(self._buffer)
            if len(self._buffer) > _NOISE_LIMIT_BYTES:
                raise _broken("something else than galago answers there", "try ssh HOST galago status")
            self._fill(until, timeout_s)
        self.noise = bytes(self._buffer[:at])
        del self._buffer[: at + len(GREETING)]

    def send(self, message: FromDevice | FromWorkstation) -> None:
        """Send one message.

        Raises:
            LinkError: TRANSPORT; nobody reads any more.
        """
        body = msgspec.json.encode(message)
        self._write(_HEADER.pack(b"J", len(body)) + body)

    def send_data(self, data: bytes) -> None:
        """Send bytes of the bundle.

        Raises:
            LinkError: TRANSPORT; nobody reads any more.
        """
        self._write(_HEADER.pack(b"D", len(data)) + data)

    def from_workstation(self, timeout_s: float) -> FromWorkstation | bytes:
        """Return the next message, or bytes of the bundle.

        Raises:
            LinkError: TRANSPORT; the other side is gone, has not said it within ``timeout_s``, or talks
                nonsense.
        """
        kind, body = self._packet(timeout_s)
        if kind == b"D":
            return body
        try:
            asked: FromWorkstation = from_json(body, type=FromWorkstation)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise _nonsense(error) from None
        return asked

    def from_device(self, timeout_s: float) -> FromDevice:
        """Return the next message.

        Raises:
            LinkError: TRANSPORT; the other side is gone, has not said it within ``timeout_s``, or talks
                nonsense.
        """
        kind, body = self._packet(timeout_s)
        try:
            if kind != b"J":
                raise msgspec.DecodeError("it sends bytes that nobody asked for")
            said: FromDevice = from_json(body, type=FromDevice)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise _nonsense(error) from None
        return said

    def has_more(self) -> bool:
        """Whether something has come that was not returned yet: a message, a part of one, or the end."""
        return bool(self._buffer) or bool(select.select([self._in], [], [], 0.0)[0])

    def _packet(self, timeout_s: float) -> tuple[bytes, bytes]:
        until = time.monotonic() + timeout_s
        self._need(_HEADER.size, until, timeout_s)
        kind, length = _HEADER.unpack(self._buffer[: _HEADER.size])
        if kind not in (b"J", b"D") or length > _PACKET_LIMIT_BYTES:
            raise _nonsense("that is no packet")
        self._need(_HEADER.size + length, until + length / SLOWEST_BYTES_S, timeout_s)
        body = bytes(self._buffer[_HEADER.size : _HEADER.size + length])
        del self._buffer[: _HEADER.size + length]
        return kind, body

    def _need(self, size: int, until: float, timeout_s: float) -> None:
        """Read until ``size`` bytes are there: a byte now and then keeps nobody waiting for ever."""
        while len(self._buffer) < size:
            self._fill(until, timeout_s, "only a part of a message" if self._buffer else "nothing")

    def _fill(self, until: float, timeout_s: float, met: str = "nothing") -> None:
        left_s = until - time.monotonic()
        if left_s < -_GRACE_S or not select.select([self._in], [], [], max(left_s, 0.0))[0]:
            raise _broken(f"{met} came for {timeout_s:g} s", _HINT)
        try:
            piece = os.read(self._in, CHUNK_BYTES)
        except OSError as error:
            raise _broken(f"reading failed: {error.strerror}", _HINT) from None
        if not piece:
            raise _broken("the connection ended", _HINT)
        self._buffer += piece

    def _write(self, data: bytes) -> None:
        rest = memoryview(data)
        until = time.monotonic() + WRITE_S + len(data) / SLOWEST_BYTES_S
        while rest:
            left_s = until - time.monotonic()
            if left_s <= 0 or not select.select([], [self._out], [], left_s)[1]:
                part = "nothing" if len(rest) == len(data) else "only a part of a message"
                raise _broken(f"{part} could be sent for {WRITE_S:g} s", _HINT)
            try:
                rest = rest[os.write(self._out, rest) :]
            except BlockingIOError:
                continue  # less room than a whole packet needs; there will be some
            except OSError as error:
                raise _broken(f"the connection ended ({error.strerror})", _HINT) from None


def _broken(text: str, hint: str) -> LinkError:
    return LinkError(Reason.TRANSPORT, text, hint=hint)


def _nonsense(error: object) -> LinkError:
    return _broken(
        f"the other side does not speak this version's protocol: {error}",
        "galago --version, here and there: use the same version of Galago on workstation and device",
    )
