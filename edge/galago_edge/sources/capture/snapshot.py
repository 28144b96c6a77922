"""A camera that gives one JPEG for each request, asked at a steady rate."""

from __future__ import annotations

import math
import time

from msgspec import UNSET

from galago_edge.sources.capture.camera_request import CameraRequest
from galago_edge.sources.capture.capture_messages import CameraDescription, Order
from galago_edge.sources.capture.frame_memory import SharedMemory
from galago_edge.sources.capture.frame_server import ParentLink
from galago_edge.sources.capture.http_pictures import HttpPictures


class SnapshotCamera:
    """Asks at the beats of a steady rate, one request at a time; an answer that is late costs beats."""

    def __init__(
        self, link: ParentLink, order: Order, fps: float, request: CameraRequest, first: bytes
    ) -> None:
        """Go on with ``request``, which has just given the picture ``first``."""
        self._link = link
        self._order = order
        self._period_s = 1 / fps
        self._request = request
        self._first, self._picture = first, first
        self._beat = time.monotonic()

    def description(self) -> CameraDescription:
        """Return what is known of the camera."""
        order = self._order
        sent_to = self._request.sent_to or UNSET
        return CameraDescription(name=order.shown, fps=order.fps, encoding="jpeg", sent_to=sent_to)

    def grab(self) -> None:
        """Ask for the next picture when it is time. One that is not whole counts, two in a row do not.

        Raises:
            ParentGoneError: It is gone.
            LinkError: SOURCE_MISSING, SOURCE_LOST, SOURCE_MISMATCH; no picture is answered.
        """
        if self._first:
            self._first = b""
            return
        self._beat = beat_after(self._beat, self._period_s, time.monotonic())
        self._link.pause(self._beat - time.monotonic())
        pictures = HttpPictures(self._request.open(self._order.stall_s, keep=True), self._order)
        picture = pictures.next_picture()
        while pictures.next_picture() is not None:  # to the end, so that the connection can be used again
            pass
        pictures.close()
        if not picture and not self._picture:
            raise pictures.mismatch(f"it gave snapshots, now {pictures.found}")
        self._picture = picture or b""

    def retrieve(self, memory: SharedMemory) -> tuple[None, int] | None:
        """Write the picture to ``memory`` as it came."""
        if not self._picture:
            return None
        memory.put(self._picture)
        return None, len(self._picture)

    def close(self) -> None:
        """Hang up."""
        self._request.close()


def beat_after(beat: float, period_s: float, now: float) -> float:
    """Return the next moment of a steady rate that is not over yet.

    >>> beat_after(10.0, 1.0, 10.3), beat_after(10.0, 1.0, 12.5)
    (11.0, 13.0)
    """
    return beat + max(1, math.ceil((now - beat) / period_s)) * period_s
