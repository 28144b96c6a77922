"""A stream from the network, or a file that is played like one, in the child: its packets as they arrive."""

from __future__ import annotations

import errno
import ssl
import time
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from galago_edge.contract.errors import CallerError, LinkError, Reason
from galago_edge.sources.capture.capture_messages import Order
from galago_edge.sources.media.recording_container import OPTIONS
from galago_edge.sources.media.stream_faults import open_fault, read_fault
from galago_edge.sources.media.stream_url import stream_url
from galago_edge.sources.stream_target import file_path, is_test_file

_QUICK = {"probesize": "32", "fpsprobesize": "0"}
"""Most cameras say in their session description all that FFmpeg must know. Then it need not watch at all,
which is paid for at every reconnect."""
_PATIENT = {"fpsprobesize": "0"}
"""Watching twenty pictures for their rate would take seconds."""
_TLS = ("https", "rtsps", "rtmps")
_IN_BURSTS = ("hls",)
"""Formats that hand over seconds at once and then nothing: played at the pace of their stamps."""
_PATIENCE = 2
"""Whoever waits gives up after ``stall_s``; FFmpeg must not give up just before."""
_LONGEST_PAUSE_S = 10.0
"""Stamps that want a longer one jump: the pace begins anew."""
_NS_PER_S = 1_000_000_000


class NetworkStream:
    """An open stream: at most one track of pictures and one of sound, those that the order wants."""

    def __init__(self, av: Any, order: Order) -> None:
        """Open what ``order.target`` names.

        Raises:
            LinkError: SOURCE_MISSING; nobody answers, or refuses. SOURCE_MISMATCH; what answers is no stream,
                or holds nothing of what is wanted.
        """
        self._av, self._order = av, order
        self._shown = f"{'camera' if 'picture' in order.gives else 'microphone'} {order.shown}"
        self._container: Any = None
        self._only_wanted = True
        self.picture: Any = None
        """The track of pictures (``av.VideoStream``), None without one."""
        self.sound: Any = None
        """The track of sound (``av.AudioStream``)."""
        self._open(_QUICK)
        if not self._says_enough():
            self._close()
            self._open(_PATIENT)  # its description did not say what it gives: watch for it
        if self.picture is None and self.sound is None:
            self._close()
            raise self._nothing()

    @property
    def real_time(self) -> bool:
        """Whether packets arrive when they are made: not in bursts, and not from a file."""
        return not self._paced

    @property
    def format(self) -> str:
        """FFmpeg's name of it: ``rtsp``, ``mpegts``, ``hls`` ..."""
        return str(self._container.format.name)

    def packets(self) -> Iterator[Any]:
        """Yield the packets of both tracks as they arrive, ``av.Packet``; None where a file begins again.

        Packets without bytes end a decoder's input.

        Raises:
            LinkError: SOURCE_LOST; it gives no more.
        """
        pace = Pace()
        while True:
            yield from self._once(pace)
            if not self._order.loop:
                raise LinkError(
                    Reason.SOURCE_LOST, f"{self._shown} ended its stream", hint="check its power and network"
                )
            self._close()
            self._open(_PATIENT)
            pace = Pace()
            yield None

    def close(self) -> None:
        """Hang up."""
        self._close()

    def _once(self, pace: Pace) -> Iterator[Any]:
        tracks = [track for track in (self.picture, self.sound) if track is not None]
        packets = self._container.demux(*tracks)
        while True:
            try:
                packet = next(packets, None)
            except IndexError:  # PyAV does not know a track that appears late: it is not wanted either
                packets = self._container.demux(*tracks)
                continue
            except self._av.FFmpegError as error:
                if error.errno == errno.ENOMEM:
                    raise MemoryError from None
                raise read_fault(error, self._shown, self._order.stall_s) from None
            if packet is None:
                return
            if self._paced and packet.size:
                pace.wait(packet)
            if self.format == "avi":  # it states when a packet is decoded; when it is shown FFmpeg guesses
                packet.pts = None
            yield packet

    def _open(self, probing: dict[str, str]) -> None:
        """Connect and find the tracks.

        Raises:
            LinkError: As the constructor says.
            CallerError: CONFIG_BAD; how its certificate is to be checked is said in a way that is not there.
        """
        order = self._order
        if is_test_file(order.target):
            self._container = self._file(file_path(order.target))
        else:
            self._container = self._connected(self._url(), probing)
        self._paced = is_test_file(order.target) or self._container.format.name in _IN_BURSTS
        streams = self._container.streams
        self.picture = streams.best("video") if "picture" in order.gives else None
        self.sound = streams.best("audio") if "sound" in order.gives else None
        for stream in streams:
            if stream not in (self.picture, self.sound):
                stream.discard = self._av.stream.Discard.all

    def _url(self) -> str:
        try:
            return stream_url(self._order.target)
        except ValueError as error:
            raise LinkError(
                Reason.SOURCE_MISSING,
                f"{self._shown} is no usable address: {error}",
                hint="rtsp://HOST:PORT/PATH, with user and password beside it (docs/configuration.md)",
            ) from None

    def _connected(self, url: str, probing: dict[str, str]) -> Any:
        """Return the open ``av.InputContainer``."""
        order, began = self._order, time.monotonic()
        try:
            return self._av.open(
                url,
                container_options=_options(url, order, self._only_wanted) | probing,
                timeout=(order.open_s, _PATIENCE * max(order.open_s, order.stall_s)),
            )
        except self._av.FFmpegError as error:
            if error.errno == errno.ENOMEM:
                raise MemoryError from None
            waited_out = time.monotonic() - began >= order.open_s
            fault = open_fault(error, url, self._shown, waited_out, order.open_s)
            refused = (self._av.HTTPOtherClientError, self._av.error.HTTPServerError)
            if not (self._only_wanted and isinstance(error, refused)):
                raise fault from None
        self._only_wanted = False
        try:
            return self._connected(url, probing)
        except LinkError:
            # asked for its sound alone, a camera without any has nothing to play
            raise (self._nothing("may have") if order.gives == ("sound",) else fault) from None

    def _file(self, path: str) -> Any:
        try:
            with Path(path).open("rb") as file:
                # a row of JPEGs without a container is not told from one JPEG by FFmpeg
                kind = "mjpeg" if file.read(3) == b"\xff\xd8\xff" else None
            return self._av.open(f"file:{path}", format=kind, options=OPTIONS)
        except (self._av.FFmpegError, OSError, ValueError) as error:
            # of a list of other files it says EINVAL
            if type(error).__name__ == "InvalidDataError" or getattr(error, "errno", None) == errno.EINVAL:
                raise LinkError(
                    Reason.SOURCE_MISMATCH,
                    f"{self._shown} is no video or sound",
                    hint="ffprobe FILE shows what it is",
                ) from None
            raise LinkError(
                Reason.SOURCE_MISSING,
                f"{self._shown} cannot be opened ({getattr(error, 'strerror', error)})",
                hint="check the path",
            ) from None

    def _says_enough(self) -> bool:
        """Tell whether every track is there that is wanted, with what its decoder must know."""
        tracks = {"picture": self.picture, "sound": self.sound}
        found = [tracks[what] for what in self._order.gives if tracks[what] is not None]
        if len(found) < len(self._order.gives) and self._container.format.name != "rtsp":
            return False  # it may show later; RTSP describes all that there is
        if any(track.codec_context is None for track in found):
            return False
        return self.sound is None or bool(self.sound.codec_context.sample_rate)

    def _close(self) -> None:
        if self._container is not None:
            self._container.close()
            self._container = None

    def _nothing(self, has: str = "has") -> LinkError:
        wanted = " and no ".join("pictures" if what == "picture" else "sound" for what in self._order.gives)
        return LinkError(
            Reason.SOURCE_MISMATCH,
            f"{self._shown} {has} no {wanted}",
            hint="switch it on in the camera, or take the address of another stream",
        )


class Pace:
    """Lets packets through when it is their time, by their stamps; the first one at once."""

    def __init__(
        self, clock: Callable[[], float] = time.monotonic, sleep: Callable[[float], None] = time.sleep
    ):
        """Begin; both count seconds."""
        self._clock, self._sleep = clock, sleep
        self._start_s: float | None = None

    def wait(self, packet: Any) -> None:
        """Wait until the time of ``packet`` has come; one without a stamp goes with the one before."""
        stamp = packet.dts if packet.dts is not None else packet.pts
        if stamp is None:
            return
        stamp_s = float(stamp * Fraction(packet.time_base))
        now_s = self._clock()
        if self._start_s is None:
            self._start_s = now_s - stamp_s
        early_s = self._start_s + stamp_s - now_s
        if 0 < early_s <= _LONGEST_PAUSE_S:
            self._sleep(early_s)
        else:  # late: nothing is made up for by playing faster
            self._start_s = now_s - stamp_s


def _options(url: str, order: Order, only_wanted: bool) -> dict[str, str]:
    scheme = urlsplit(url).scheme
    options: dict[str, str] = {}
    if scheme in ("rtsp", "rtsps"):
        wanted = {"picture": "video", "sound": "audio"}
        options["rtsp_transport"] = order.transport
        if only_wanted:
            options["allowed_media_types"] = "+".join(wanted[what] for what in order.gives)
    if scheme in ("http", "https"):
        options |= {"user_agent": "galago", "live_start_index": "-1"}
    if scheme in _TLS:
        if order.fingerprint:
            raise CallerError(
                Reason.CONFIG_BAD,
                f"{order.shown}: fingerprint is for pictures over HTTP; a stream of this kind has none",
                hint="save the camera's certificate as a file and name that with ca_file",
            )
        known = ssl.get_default_verify_paths()
        options |= {"tls_verify": "1", "ca_file": order.ca_file or known.cafile or known.openssl_cafile}
    return options
