"""The packets of one sound, decoded one after the other: samples with their stamps, or damage."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from galago_edge.sources.media.frame_lengths import frame_bytes
from galago_edge.sources.media.sound_promise import is_mp3_heading, tag_bytes
from galago_edge.sources.sample_conversion import PcmFormat, Raw
from galago_edge.sources.sound_reader import unreadable_sound

_IN_INTEGERS = {
    "mp3float": "mp3",
    "mp2float": "mp2",
    "mp1float": "mp1",
    "aac": "aac_fixed",
    "ac3": "ac3_fixed",
}
"""FFmpeg's decoders that compute in integers, by the name of those that do not and come first."""
_CHECKED = frozenset({"flac", "wavpack", "tta", "alac", "ape", "tak", "ac3", "eac3"})
"""Their checksums are looked at; other decoders take the same option for pedantry."""
_FRAMED = frozenset({"mp1", "mp2", "mp3", "ac3", "eac3", "dts"})
"""Codecs whose frames say how long they are."""
_FRAME_HEAD_BYTES = 8
_LEAST_PACKET_BYTES = 7
"""The head of an ADTS frame."""
_COUNTED = frozenset(
    {"mp3", "aac", "ac3", "eac3", "dts", "truehd", "mlp", "loas", "adx", "gsm", "amr", "caf"}
)
"""Formats without time stamps: FFmpeg counts packets, so what is missing is seen only in the bytes."""
_EXACT = frozenset({"flac", "wv", "tta", "ape", "tak"})
"""Formats whose stamps are numbers of samples, and that never leave anything out."""
_DTYPES: dict[str, str] = {"u8": "u1", "s16": "i2", "s32": "i4", "flt": "f4", "dbl": "f8", "s64": "i8"}
_PCM_NAMES = {
    "pcm_u8": "u8",
    "pcm_s8": "s8",
    "pcm_alaw": "alaw",
    "pcm_mulaw": "ulaw",
    "pcm_s16le": "s16",
    "pcm_s16be": "s16",
    "pcm_s24le": "s24",
    "pcm_s24be": "s24",
    "pcm_s32le": "s32",
    "pcm_s32be": "s32",
    "pcm_f32le": "float",
    "pcm_f32be": "float",
    "pcm_f64le": "double",
    "pcm_f64be": "double",
}
_LOSSLESS = {"flac", "wavpack", "tta", "alac", "ape", "tak"}
_AES3_HEAD_BYTES = 4
_MOST_CHANNELS = 64
_MOST_ERRORS = 50
"""A demuxer that fails so often in a row will not go on."""


@dataclass(frozen=True, slots=True)
class DecodedSound:
    """The samples of one packet, or of a part of it."""

    samples: Raw
    format: PcmFormat
    stamp: Fraction | None
    """Seconds; None where the packet says nothing."""


@dataclass(frozen=True, slots=True)
class LostSound:
    """A packet, or bytes between two packets, of which nothing can be made."""

    seconds: Fraction
    """How long it would have been, as far as one can say."""


class SoundPackets:
    """Decodes the packets of one stream, in their order, on one thread."""

    def __init__(self, av: Any, container: Any, stream: Any, path: Path) -> None:
        """Prepare for ``stream``, of which nothing was read yet.

        Raises:
            InputError: AUDIO_UNREADABLE; a codec that cannot be decoded.
        """
        self._av, self._container, self._stream, self.path = av, container, stream, path
        self._errors: tuple[type[Exception], ...] = (av.error.FFmpegError, av.error.EOFError)
        name = container.format.name.partition(",")[0]
        self.counted = name in _COUNTED
        self.exact = self.whole = name in _EXACT
        if stream.codec_context is None:
            raise unreadable_sound(path, "FFmpeg here has no decoder for its codec")
        self._codec: str = stream.codec_context.codec.canonical_name
        self._decoder = self._choose(av, stream.codec_context)
        self._trimmed = self._decoder is stream.codec_context
        """Whether the decoder moves the stamp of a packet whose first samples are not to be heard."""
        self.bytes = 0
        """Of all packets up to here."""
        self._usual_bytes = 0.0
        self._usual_seconds = Fraction(0)
        self._most_samples = 0
        self.end_byte: int | None = None
        """Where the last packet ended, in a format that is counted."""
        self.last_byte = 0
        """Where the packet began that lies furthest behind."""

    def __iter__(self) -> Iterator[DecodedSound | LostSound]:
        """Yield everything up to the end."""
        for packet in self._packets():
            if packet is None:
                yield LostSound(self._usual_seconds)
                continue
            self.bytes += packet.size
            self.last_byte = max(self.last_byte, packet.pos or 0)
            if packet.size and (lost := self._skipped(packet)):
                yield LostSound(lost * self._usual_seconds)
            for part in self._parts(packet):
                yield from self.decode(part)

    def decode(self, packet: Any) -> Iterator[DecodedSound | LostSound]:
        """Yield what an ``av.Packet`` holds; one of no bytes gives what the decoder still has."""
        head = bytes(packet)[:_FRAME_HEAD_BYTES] if self._codec in _FRAMED else b""
        cut = 0 < len(head) < _FRAME_HEAD_BYTES or packet.size < frame_bytes(head)
        if packet.is_corrupt or cut:
            yield self._lost(packet)
            return
        try:
            frames = self._decoder.decode(packet if packet.size else None)
        except self._errors:
            if packet.size:
                yield self._lost(packet)
            return
        for index, frame in enumerate(frames):
            if frame.samples and _is_sound(frame):
                yield self._decoded(frame, packet if index == 0 and packet.size else None)
            elif frame.samples:  # a damaged header claims what no sound has
                yield LostSound(Fraction(frame.samples, max(1_000, int(frame.sample_rate))))

    def forget(self) -> None:
        """Begin anew: what the decoder keeps of the packets before does not fit what follows."""
        self._decoder.flush_buffers()

    def seconds_of(self, passed_over: int) -> Fraction:
        """Return how long bytes of no packet would have been; 0 when they are too few for the head of one."""
        if not self._usual_bytes or passed_over < _LEAST_PACKET_BYTES:
            return Fraction(0)
        return max(1, round(passed_over / self._usual_bytes)) * self._usual_seconds

    def _parts(self, packet: Any) -> Iterator[Any]:
        """Yield what is decoded one by one: of joined MP3 not the heads of the second file."""
        if self._codec == "s302m":
            yield from _aes3_frames(self._av, packet)
        elif self._codec != "mp3" or not packet.size:
            yield packet
        else:
            data = bytes(packet)
            frame = data[tag_bytes(data[:10]) :]
            if is_mp3_heading(frame):
                return
            yield packet if len(frame) in (0, len(data)) else _part(self._av, packet, frame)

    def _packets(self) -> Iterator[Any]:
        """Yield packets, and None where the demuxer stumbled."""
        errors = 0
        while True:
            try:
                for packet in self._container.demux(self._stream):
                    errors = 0
                    yield packet
            except IndexError:  # PyAV does not know a stream that appears late: its packet is not ours
                continue
            except self._errors:
                errors += 1
                if errors > _MOST_ERRORS:
                    return
                if errors == 1:
                    yield None
            else:
                return

    def _decoded(self, frame: Any, packet: Any | None) -> DecodedSound:
        channels, rate_hz = int(frame.layout.nb_channels), int(frame.sample_rate)
        samples = raw_samples(frame, channels)
        stamp: Fraction | None = None
        if frame.pts is not None and not self.counted:
            stamp = Fraction(frame.pts) * frame.time_base
        if packet is not None:
            self._note(packet, len(samples), rate_hz)
            if stamp is not None and not self._trimmed and packet.duration and self._first(packet):
                whole = packet.duration * packet.time_base
                stamp += max(Fraction(0), whole - Fraction(len(samples), rate_hz))
        return DecodedSound(samples, PcmFormat(self._encoding(frame), channels, rate_hz), stamp)

    def _first(self, packet: Any) -> bool:
        start = self._stream.start_time
        return start is None or packet.pts is None or bool(packet.pts <= start)

    def _note(self, packet: Any, samples: int, rate_hz: int) -> None:
        """Learn what is usual, for what is lost later."""
        if self._usual_bytes == 0.0:
            self._usual_bytes = float(packet.size)
        self._usual_bytes += (packet.size - self._usual_bytes) / 16
        if samples > self._most_samples:
            self._most_samples, self._usual_seconds = samples, Fraction(samples, rate_hz)

    def _lost(self, packet: Any) -> LostSound:
        self.forget()
        if self.counted and self._usual_bytes:
            return LostSound(max(1, round(packet.size / self._usual_bytes)) * self._usual_seconds)
        if packet.duration:
            return LostSound(packet.duration * packet.time_base)
        return LostSound(self._usual_seconds)

    def _skipped(self, packet: Any) -> int:
        """Return how many packets the bytes would make that the demuxer passed over."""
        if not self.counted or packet.pos is None:
            return 0
        before, self.end_byte = self.end_byte, packet.pos + packet.size
        if before is None or not self._usual_bytes:
            return 0
        return round(max(0, int(packet.pos) - before) / self._usual_bytes)

    def _encoding(self, frame: Any) -> str:
        if self._codec in _LOSSLESS:
            bits = getattr(self._decoder, "bits_per_coded_sample", 0) or 8 * frame.format.bytes
            return f"s{bits}"
        return _PCM_NAMES.get(self._codec, self._codec)

    def _choose(self, av: Any, context: Any) -> Any:
        """Return the decoder, set up and not open yet."""
        name = _IN_INTEGERS.get(context.name)
        if name is not None:
            try:
                chosen = av.CodecContext.create(name, "r")
                chosen.extradata = context.extradata
                chosen.sample_rate = context.sample_rate
                chosen.layout = context.layout
                context = chosen
            except (av.error.FFmpegError, ValueError):
                pass  # FFmpeg was built without it
        context.thread_count = 1
        context.options = {"err_detect": "crccheck+explode" if self._codec in _CHECKED else "crccheck"}
        return context


def _is_sound(frame: Any) -> bool:
    """Tell whether the samples are as many as they should be, at a rate that there is."""
    channels = int(frame.layout.nb_channels)
    planes = channels if frame.format.is_planar else 1
    fits = len(frame.planes) >= planes and frame.format.name.removesuffix("p") in _DTYPES
    return fits and 1 <= channels <= _MOST_CHANNELS and 1_000 <= frame.sample_rate <= 1_000_000


def _part(av: Any, packet: Any, data: bytes) -> Any:
    part = av.Packet(data)
    part.pts, part.time_base = packet.pts, packet.time_base
    return part


def _aes3_frames(av: Any, packet: Any) -> Iterator[Any]:
    """Yield the frames that a packet of SMPTE 302M holds: short ones share one, and FFmpeg takes one only.

    Each begins with its length, less its own header.
    """
    data, at, ends = bytes(packet), 0, [0]
    while at + _AES3_HEAD_BYTES <= len(data):
        at += _AES3_HEAD_BYTES + int.from_bytes(data[at : at + 2], "big")
        ends.append(at)
    if len(ends) <= 2 or at != len(data) or packet.is_corrupt:
        yield packet
        return
    for begin, end in pairwise(ends):
        yield _part(av, packet, data[begin:end]) if begin == 0 else av.Packet(data[begin:end])


def raw_samples(frame: Any, channels: int) -> Raw:
    """Return the samples of an ``av.AudioFrame``, shape ``(n, channels)``, as they are."""
    name = frame.format.name.removesuffix("p")
    dtype = np.dtype(_DTYPES[name])
    count = frame.samples
    if frame.format.is_planar:
        data: npt.NDArray[Any] = np.empty((count, channels), dtype)
        for index, plane in enumerate(frame.planes[:channels]):  # of eight planes PyAV shows a ninth
            data[:, index] = np.frombuffer(plane, dtype, count)
    else:
        data = np.frombuffer(frame.planes[0], dtype, count * channels).reshape(count, channels).copy()
    if name in ("flt", "dbl"):
        data = data.astype(np.float64)
    elif name == "s64":
        data = (data >> 32).astype(np.int32)
    raw: Raw = data
    return raw
