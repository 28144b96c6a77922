"""The parent's side of a camera's child."""

from __future__ import annotations

import math
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
from msgspec import UNSET

from galago_edge.children.channel import Packet
from galago_edge.contract.errors import LinkError, Reason
from galago_edge.contract.streams import Coded, CodedFormat, CodedPacket, Frame, Gap
from galago_edge.sources.capture.capture_messages import (
    CameraDescription,
    Captured,
    Damaged,
    FrameReady,
    Opened,
    PacketsReady,
)
from galago_edge.sources.capture.capture_process import CaptureLink
from galago_edge.sources.capture.frame_memory import SharedView
from galago_edge.sources.capture.jpeg_decoding import JpegDecoding


class FrameCapture:
    """An open camera. Each ``read`` asks for the newest frame; what nobody asked for is never copied.

    ``Frame.captured_ns`` is the system's monotonic clock (``time.monotonic_ns``) when the frame had arrived.
    """

    def __init__(
        self, process: CaptureLink, description: CameraDescription, *, conceal: bool = False
    ) -> None:
        """Take over a process whose camera is open; for ``conceal`` see ``SourceSettings.damaged``."""
        self._process = process
        self._description = description
        self._memory = SharedView()
        self._asked = True  # by the order: the first frame must not wait for the second
        self._damaged = 0
        self._decoding = JpegDecoding(description.name, conceal=conceal)
        self._format: CodedFormat | None = None

    @property
    def pid(self) -> int:
        """Process id of the child."""
        return self._process.pid

    def description(self) -> dict[str, Any]:
        """Return name, size and rate as the camera promises them; no credentials."""
        described: dict[str, Any] = msgspec.to_builtins(self._description)
        return described

    def read(self, timeout_s: float) -> Frame | Gap | None:
        """Return the newest frame, or None when none came in time.

        A Gap ``unreadable`` says that pictures before the next frame arrived damaged; its index counts them.

        Raises:
            LinkError: SOURCE_LOST; SOURCE_MISMATCH, when no picture is whole.
            InputError: IMAGE_TOO_BIG; the camera's picture claims more than any camera gives.
            DeviceError: EXTRA_MISSING; pictures cannot be decoded here.
        """
        self._decoding.check()
        if not self._asked:
            self._process.ask()
            self._asked = True
        packet = self._process.receive(timeout_s)
        if packet is None:
            return None
        if isinstance(packet.message, Damaged):
            self._damaged += packet.message.pictures
            return Gap(packet.message.from_ns, packet.message.to_ns, "unreadable")
        self._asked = False
        return self._frame(packet)

    def close(self) -> None:
        """End the child, by force if it hangs."""
        self._process.close()
        self._memory.close()

    def _frame(self, packet: Packet[Opened | Captured]) -> Frame | Gap:
        self._memory.adopt(packet.fds)
        ready = packet.message
        if not isinstance(ready, FrameReady):
            raise self._process.confused()
        size = math.prod(ready.shape) if ready.shape else 0
        encoded = self._read(size, ready.encoded).tobytes() if ready.encoded else None
        if ready.shape:
            pixels = self._read(0, size).reshape(ready.shape)
        else:
            decoded = self._decoding.pixels(encoded or b"")
            if decoded is None:
                return Gap(ready.captured_ns, ready.captured_ns, "unreadable")
            pixels = decoded
        coded = None if ready.packets is UNSET else self._coded(ready.packets, size + ready.encoded)
        return Frame(pixels, ready.index + self._damaged, ready.captured_ns, encoded, coded)

    def _coded(self, ready: PacketsReady, start: int) -> Coded:
        if ready.begins is not None:
            begins = ready.begins
            self._format = CodedFormat(begins.codec, begins.extradata, begins.time_base)
        if self._format is None:
            raise self._process.confused()
        packets = []
        for place in ready.places:
            data = self._read(start, place.size).tobytes()
            packets.append(
                CodedPacket(data, place.number, place.key, place.before_ns, place.pts, place.damaged)
            )
            start += place.size
        return Coded(self._format, tuple(packets), ready.shown, ready.begins is not None, ready.left_out)

    def _read(self, start: int, size: int) -> npt.NDArray[np.uint8]:
        """Return a copy of what the child wrote there."""
        view = self._memory.read(start, size)
        if view is None:
            raise LinkError(
                Reason.SOURCE_LOST,
                f"the capture process of {self._description.name} promised a frame that it did not write",
                hint="it is restarted",
            )
        with view:
            return np.frombuffer(view, np.uint8).copy()
