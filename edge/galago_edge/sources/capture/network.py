"""A network camera by FFmpeg (RTSP, HLS, MPEG-TS, FLV, RTMP ...), or a file played like one, in the child.

Pictures are decoded as they arrive, on one thread, and converted only when they are asked for; JPEG pictures
stay what they are. Pictures that damage has touched, up to the next key frame, are not frames: they are told
as ``Damaged``. Sound is sent as it comes, as a microphone's is.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Any

from msgspec import UNSET, UnsetType

from galago_edge.contract.errors import DeviceError
from galago_edge.sources.capture.capture_messages import CameraDescription, Damaged, Order, PacketsReady
from galago_edge.sources.capture.frame_memory import SharedMemory
from galago_edge.sources.capture.frame_server import ParentLink, serve
from galago_edge.sources.capture.network_stream import NetworkStream
from galago_edge.sources.capture.packet_keeper import PacketKeeper
from galago_edge.sources.media.library import import_av
from galago_edge.sources.opencv import import_cv2
from galago_edge.sources.picture_header import LARGEST_CAMERA_PIXELS

if TYPE_CHECKING:
    from galago_edge.sources.capture.network_sound import SoundTrack
    from galago_edge.sources.media.picture_decoder import Picture

_JPEG_START = b"\xff\xd8"
_PADDING = b"\x00\r\n"
_FEWEST_BYTES = 16 * 1024
"""Room for a JPEG is asked for in such steps, so that it rarely has to grow."""


def run(link: ParentLink, order: Order) -> None:
    """Open the stream that ``order`` names and serve what is wanted of it.

    Raises:
        ParentGoneError: The parent is gone; the connection is closed.
        LinkError: SOURCE_MISSING, SOURCE_MISMATCH, SOURCE_LOST.
        InputError: VIDEO_UNREADABLE; pictures that are too large, or of a codec that cannot be decoded.
        DeviceError: EXTRA_MISSING.
    """
    av = import_av("a network camera")
    if "picture" in order.gives:
        threading.Thread(target=_load, daemon=True).start()
    stream = NetworkStream(av, order)
    try:
        sound = None
        if stream.sound is not None:
            from galago_edge.sources.capture.network_sound import SoundTrack

            sound = SoundTrack(av, link, stream.sound, order.shown, real_time=stream.real_time)
        if stream.picture is None:
            assert sound is not None
            described = sound.description()
            link.opened(described, described)
            _serve_sound(link, stream, sound)
        else:
            camera = NetworkCamera(link, stream, sound, order)
            link.opened(camera.description(), sound.description() if sound is not None else None)
            serve(link, camera, order.fps, camera.packets)
    finally:
        stream.close()


def _load() -> None:
    """Import what decodes, while the camera is being connected to: that is half of the time of a start."""
    from galago_edge.sources.media import picture_decoder

    assert picture_decoder
    with contextlib.suppress(DeviceError):  # whoever needs it says so
        import_cv2("a network camera")


def _serve_sound(link: ParentLink, stream: NetworkStream, sound: SoundTrack) -> None:
    for packet in stream.packets():
        link.asked()  # notices when nobody is there
        if packet is None:
            sound.begin_again(stream.sound)
        else:
            sound.take(packet)


class NetworkCamera:
    """The pictures of a stream; its sound passes by and is sent on the way."""

    def __init__(
        self, link: ParentLink, stream: NetworkStream, sound: SoundTrack | None, order: Order
    ) -> None:
        """Decode the pictures of ``stream``, from its first key frame on."""
        self._link, self._stream, self._sound, self._order = link, stream, sound, order
        self._packets = stream.packets()
        self._coming: deque[bytes | Picture | None] = deque()
        """Pictures in their order; None is a damaged one."""
        self._newest: bytes | Picture = b""
        import_cv2("a network camera").setNumThreads(1)  # a picture is too small for waking others
        self._marked = False
        """Whether the last packet was said to be damaged."""
        self._whole_ns = 0
        """When the last whole picture came; 0 before the first."""
        self._begin()

    def description(self) -> CameraDescription:
        """Return what the stream says of itself."""
        track = self._stream.picture
        context, rate = track.codec_context, track.average_rate
        return CameraDescription(
            name=self._order.shown,
            width=context.width or UNSET,
            height=context.height or UNSET,
            fps=round(float(rate), 3) if rate and 0 < rate <= 1_000 else None,
            encoding="jpeg" if self._jpeg else "raw",
            codec=context.codec.canonical_name,
        )

    def grab(self) -> None:
        """Wait for the next whole picture.

        Raises:
            ParentGoneError: Nobody is there any more.
            LinkError: SOURCE_LOST.
            InputError: VIDEO_UNREADABLE.
        """
        while True:
            while not self._coming:
                self._take(next(self._packets))
            picture = self._coming.popleft()
            now_ns = time.monotonic_ns()
            if picture is not None:
                break
            if self._whole_ns:  # before the first key frame nothing can be whole
                self._link.tell(Damaged(from_ns=self._whole_ns, to_ns=now_ns, pictures=1))
        self._newest, self._whole_ns = picture, now_ns

    def retrieve(self, memory: SharedMemory) -> tuple[list[int] | None, int] | None:
        """Write the picture to ``memory``: its pixels, or the JPEG that came."""
        newest = self._newest
        if isinstance(newest, bytes):
            size = len(newest)
            memory.room(-(-size // _FEWEST_BYTES) * _FEWEST_BYTES)[:size] = newest
            return None, size
        import numpy as np

        pixels = newest.pixels
        # at once: memory that grows is new memory
        room = memory.room(pixels.nbytes + (self._keeper.room if self._keeper is not None else 0))
        view = np.frombuffer(room, np.uint8, pixels.nbytes).reshape(pixels.shape)
        np.copyto(view, pixels)
        if self._keeper is not None:
            self._keeper.write(room, pixels.nbytes)
        return list(pixels.shape), 0

    def packets(self, captured_ns: int) -> PacketsReady | UnsetType:
        """Return what was written of the packets since the picture before, when that is wanted."""
        if self._keeper is None or isinstance(self._newest, bytes):
            return UNSET
        return self._keeper.hand_over(self._newest.packet, captured_ns)

    def _begin(self) -> None:
        from galago_edge.sources.media.access_units import KEPT_CODECS
        from galago_edge.sources.media.picture_decoder import Picture, PictureDecoder

        order = self._order
        self._decoder = PictureDecoder(
            self._stream.picture,
            order.shown,
            largest_pixels=LARGEST_CAMERA_PIXELS,
            conceal=order.conceal,
            prompt=True,
        )
        self._whole = Picture
        self._jpeg = self._decoder.codec == "mjpeg"
        kept = order.packets and self._decoder.codec in KEPT_CODECS
        self._keeper = PacketKeeper(self._stream.picture) if kept else None

    def _take(self, packet: Any) -> None:
        sound = self._sound
        if packet is None:  # a file begins again
            self._begin()
            if sound is not None:
                sound.begin_again(self._stream.sound)
        elif sound is not None and packet.stream_index == self._stream.sound.index:
            sound.take(packet)
        elif self._jpeg:
            if packet.size:
                self._coming.append(self._whole_jpeg(packet))
        else:
            damaged = self._is_damaged(packet)
            if self._keeper is not None and packet.size:
                self._keeper.take(packet, damaged=damaged, now_ns=time.monotonic_ns())
            found = self._decoder.decode(packet, damaged=damaged) if packet.size else self._decoder.flush()
            self._coming.extend(one if isinstance(one, self._whole) else None for one in found)

    def _is_damaged(self, packet: Any) -> bool:
        """Tell what the container says; of a transport stream FFmpeg marks the picture before."""
        before, self._marked = self._marked, bool(packet.is_corrupt)
        return self._marked or (before and self._stream.format == "mpegts")

    def _whole_jpeg(self, packet: Any) -> bytes | None:
        """Return what a packet holds if that is a JPEG; where it is decoded it shows whether it is whole."""
        data = bytes(packet).rstrip(_PADDING)
        return (
            data if data.startswith(_JPEG_START) and (self._order.conceal or not packet.is_corrupt) else None
        )
