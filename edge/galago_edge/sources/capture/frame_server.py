"""The child's side of a camera: takes every frame, hands over the newest one when the parent asks.

The order asks for the first frame, ``Ask`` for one more; ``FrameReady`` answers. One request is out at a
time, so the memory that frames lie in is never written while it is read.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from typing import Protocol

import msgspec
from msgspec import UNSET, UnsetType

from galago_edge.children.channel import Channel
from galago_edge.contract.errors import GalagoError
from galago_edge.sources.capture.capture_messages import (
    CameraDescription,
    CaptureFailed,
    Damaged,
    FrameReady,
    FromParent,
    MicrophoneDescription,
    Opened,
    Order,
    PacketsReady,
)
from galago_edge.sources.capture.frame_memory import SharedMemory

_NS_PER_S = 1_000_000_000
_EARLY = 8
"""A frame counts for the next turn when it comes at most an eighth of a period too early."""


class ParentGoneError(Exception):
    """Nobody is there any more: end."""


class ParentLink:
    """The child's connection to its parent."""

    def __init__(self, link: socket.socket) -> None:
        self._channel: Channel[FromParent] = Channel(link, FromParent)
        self._asked = True
        self.device = "the device"
        """What to call it in messages."""

    def order(self) -> Order:
        """Return what the parent wants to be captured.

        Raises:
            ParentGoneError: It is gone.
        """
        message = self._received(None)
        if not isinstance(message, Order):
            raise ParentGoneError
        kind = "microphone" if message.kind == "microphone" or "picture" not in message.gives else "camera"
        self.device = f"{kind} {message.shown}"
        return message

    def opened(
        self,
        description: CameraDescription | MicrophoneDescription,
        sound: MicrophoneDescription | None = None,
    ) -> None:
        """Say that the device is open; ``sound`` comes beside its pictures."""
        self.tell(Opened(description, sound))

    def failed(self, error: GalagoError) -> None:
        """Say why there is nothing, or nothing more."""
        self.tell(msgspec.convert(error.as_data(), CaptureFailed))

    def tell(self, message: msgspec.Struct, payload: bytes = b"", fds: tuple[int, ...] = ()) -> None:
        """Send one message.

        Raises:
            ParentGoneError: Nobody takes it.
        """
        try:
            self._channel.send(message, payload, fds)
        except OSError:
            raise ParentGoneError from None

    def asked(self) -> bool:
        """Return whether the parent waits for a frame. Never waits itself.

        Raises:
            ParentGoneError: It is gone.
        """
        while True:
            try:
                self._received(0)
            except TimeoutError:
                return self._asked
            self._asked = True

    def pause(self, seconds: float) -> None:
        """Let so much time pass.

        Raises:
            ParentGoneError: It is gone.
        """
        until = time.monotonic() + seconds
        while (left_s := until - time.monotonic()) > 0:
            try:
                self._received(left_s)
            except TimeoutError:
                return
            self._asked = True

    def answer(self, message: msgspec.Struct, fds: tuple[int, ...] = ()) -> None:
        """Give the parent what it asked for."""
        self._asked = False
        self.tell(message, fds=fds)

    def _received(self, timeout_s: float | None) -> FromParent:
        try:
            return self._channel.receive(timeout_s).message
        except EOFError:
            raise ParentGoneError from None


class FrameDevice(Protocol):
    """An open camera."""

    def grab(self) -> None:
        """Wait for the next frame and keep it as cheaply as can be.

        Raises:
            LinkError: SOURCE_LOST.
        """
        ...

    def retrieve(self, memory: SharedMemory) -> tuple[list[int] | None, int] | None:
        """Write the frame to ``memory`` and return shape of the pixels and length of the encoded bytes.

        None when this one cannot be decoded.
        """
        ...


class Turns:
    """Which frames count when fewer are wanted than come.

    >>> turns = Turns(10.0)
    >>> [turns.due(ms * 1_000_000) for ms in (0, 33, 66, 99, 133, 166, 200)]
    [True, False, False, True, False, False, True]
    """

    def __init__(self, fps: float | None) -> None:
        """Let at most ``fps`` frames a second count; all of them when None."""
        self._period_ns = round(_NS_PER_S / fps) if fps else 0
        self._next_ns: int | None = None

    def due(self, now_ns: int) -> bool:
        """Return whether a frame of this moment counts."""
        if not self._period_ns or self._next_ns is None:
            self._next_ns = now_ns + self._period_ns
            return True
        if now_ns < self._next_ns - self._period_ns // _EARLY:
            return False
        # keep the beat, but never catch up for a time without frames
        self._next_ns = max(self._next_ns, now_ns - self._period_ns // 2) + self._period_ns
        return True


def _no_packets(captured_ns: int) -> PacketsReady | UnsetType:
    return UNSET


def serve(
    link: ParentLink,
    device: FrameDevice,
    fps: float | None,
    packets: Callable[[int], PacketsReady | UnsetType] = _no_packets,
) -> None:
    """Hand over frames until the parent is gone.

    ``packets`` is told when a frame had arrived, and says what the device wrote of its packets behind it.

    The index counts the frames that were to be had (at most ``fps`` a second); it jumps over those that
    nobody asked for in time, and over those that cannot be decoded, which are told as ``Damaged``.

    Raises:
        ParentGoneError: Nobody asks any more.
        LinkError: SOURCE_LOST; the camera gives no more.
    """
    turns, memory = Turns(fps), SharedMemory()
    index, waiting = -1, False
    while True:
        device.grab()
        captured_ns = time.monotonic_ns()
        if turns.due(captured_ns):
            index, waiting = index + 1, True
        if not link.asked() or not waiting:
            continue
        taken = device.retrieve(memory)
        if taken is None:
            link.tell(Damaged(from_ns=captured_ns, to_ns=captured_ns, pictures=0))
        else:
            shape, encoded = taken
            ready = FrameReady(
                index=index,
                captured_ns=captured_ns,
                shape=shape,
                encoded=encoded,
                packets=packets(captured_ns),
            )
            link.answer(ready, memory.fds())
            waiting = False
