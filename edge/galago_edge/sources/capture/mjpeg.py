"""Cameras that send JPEG pictures over HTTP, in the child: a stream of them, or one for each request."""

from __future__ import annotations

import re
import time

from msgspec import UNSET

from galago_edge.contract.errors import LinkError, Reason
from galago_edge.sources.capture.camera_request import CameraRequest
from galago_edge.sources.capture.capture_messages import CameraDescription, Order
from galago_edge.sources.capture.frame_memory import SharedMemory
from galago_edge.sources.capture.frame_server import ParentLink, serve
from galago_edge.sources.capture.http_pictures import STREAM_TYPE, HttpPictures, is_short
from galago_edge.sources.capture.snapshot import SnapshotCamera

_SLOW = 3
"""A camera is not late before three of its usual intervals have passed; the parent counts so too."""
_SOONER = 0.9
"""Of the time that the parent waits: what is wrong must be told before it gives up without knowing."""

_SNIFFED_BYTES = 189
"""Two MPEG-TS packets begin within them."""
_CONTAINER = re.compile(
    rb"FLV\x01 | (?:\xef\xbb\xbf)?\s*\#EXTM3U | \x1aE\xdf\xa3 | \x00\x00\x00?\x01 | OggS"
    rb"| .{4}(?:ftyp|styp|moof|moov) | G.{187}G",
    re.VERBOSE | re.DOTALL,
)
"""FLV, an HLS playlist, Matroska, raw MPEG-PS, H.264 or HEVC, Ogg, MP4, MPEG-TS."""
_CONTAINER_TYPE = re.compile(r"video/(?!.*jpe?g)|audio/|application/(vnd\.apple\.|x-)?mpegurl")


class ContainerStreamError(Exception):
    """What answers is no JPEG pictures but a stream that a media library takes."""


def run(link: ParentLink, order: Order) -> None:
    """Open the camera that ``order`` names and serve its frames.

    Raises:
        ParentGoneError: The parent is gone; the connection is closed.
        LinkError: SOURCE_MISSING, SOURCE_MISMATCH, SOURCE_LOST.
        CallerError: CONFIG_BAD.
        ContainerStreamError: It is no camera of this kind. The parent knows of nothing yet.
    """
    camera = open_camera(link, order)
    try:
        link.opened(camera.description())
        # snapshots come at their rate anyway
        serve(link, camera, order.fps if isinstance(camera, MjpegCamera) else None)
    finally:
        camera.close()


def open_camera(link: ParentLink, order: Order) -> MjpegCamera | SnapshotCamera:
    """Ask for ``order.target`` and return what answers.

    Raises:
        As ``run``.
    """
    request = CameraRequest(order)
    try:
        pictures = HttpPictures(request.open(order.open_s), order)
        if pictures.type == STREAM_TYPE:
            request.wait_at_most(order.stall_s)
            return MjpegCamera(order, request, pictures)
        first = _first_picture(pictures, order)
        if not pictures.type.startswith("image/") and not is_short(pictures.stated):
            request.wait_at_most(order.stall_s)
            return MjpegCamera(order, request, pictures, first)
        if order.fps is None:
            raise LinkError(
                Reason.SOURCE_MISMATCH,
                f"camera {order.shown} sends a snapshot, not a stream: one JPEG of {len(first)} bytes",
                hint="fps = 1 in its [source.NAME] asks for it once a second",
            )
        request.close()
        return SnapshotCamera(link, order, order.fps, request, first)
    except BaseException:  # whatever it was, the connection must be closed
        request.close()
        raise


def _first_picture(pictures: HttpPictures, order: Order) -> bytes:
    """Return the first whole picture of an answer that does not say it is a stream of them."""
    pictures.wait_for_picture(_SOONER * order.open_s)
    while len(pictures.first) < _SNIFFED_BYTES and not pictures.ended:
        pictures.read_on()
    if _CONTAINER.match(pictures.first) or _CONTAINER_TYPE.match(pictures.type):
        raise ContainerStreamError
    while not (picture := pictures.next_picture()):
        if picture is None:
            said = f"it answers with {pictures.stated_type}, expected {STREAM_TYPE}"
            raise pictures.mismatch(f"{said}; {pictures.found}")
    return picture


class MjpegCamera:
    """An answer that goes on and on."""

    def __init__(
        self, order: Order, request: CameraRequest, pictures: HttpPictures, first: bytes = b""
    ) -> None:
        """Take the ``pictures`` that ``request`` is answered with; ``first`` is one that was read already."""
        self._shown, self._request = order.shown, request
        self._pictures = pictures
        self._first, self._picture = first, b""
        self._stall_s = max(order.stall_s, _SLOW / order.fps if order.fps else 0.0)
        self._before = 0.0
        pictures.wait_for_picture(_SOONER * max(order.stall_s, order.open_s))

    def description(self) -> CameraDescription:
        """Return what is known of the camera."""
        return CameraDescription(name=self._shown, encoding="jpeg", sent_to=self._request.sent_to or UNSET)

    def grab(self) -> None:
        """Wait for the next picture. One that is not whole counts: it is a frame that cannot be decoded.

        Raises:
            LinkError: SOURCE_LOST, or SOURCE_MISMATCH when bytes come and no pictures.
        """
        picture = self._first or self._pictures.next_picture()
        self._first = b""
        if picture is None:
            raise self._pictures.lost("ended its stream")
        self._picture = picture
        if picture:
            now = time.monotonic()
            usual_s = _SLOW * (now - self._before) if self._before else 0.0
            self._pictures.wait_for_picture(_SOONER * max(self._stall_s, usual_s))
            self._before = now

    def retrieve(self, memory: SharedMemory) -> tuple[None, int] | None:
        """Write the picture to ``memory`` as it came."""
        if not self._picture:
            return None
        memory.put(self._picture)
        return None, len(self._picture)

    def close(self) -> None:
        """Hang up."""
        self._request.close()
