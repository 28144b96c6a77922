"""Where the samples of an uncompressed sound file lie: WAV, RF64, W64, AIFF, CAF and AU, by their content.

Sizes are compared with the file's, so that one that is cut off is known as such. Specifications: Microsoft
and IBM, Multimedia Programming Interface and Data Specifications 1.0 (RIFF); Microsoft, Multiple Channel
Audio Data and WAVE Files (extensible); EBU Tech 3306 (RF64); Sony, Wave64 1.6; Apple, AIFF 1.3, AIFF-C and
Core Audio Format 1.0; Sun, audio.h (AU).
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import BinaryIO

from galago_edge.sources.data_tail import Chunks, tail_of
from galago_edge.sources.sample_conversion import PcmFormat

_UNKNOWN_BYTES = 0x7FFF_F000
"""Programs that write WAV to a pipe put this (sox) or more (ffmpeg, arecord) where the length belongs."""
_GSTREAMER_BYTES = 0x7FFF_0000
"""GStreamer writes this (in AIFF a whole number of frames of it) until it knows how long a recording is."""
_SURELY_UNKNOWN_BYTES = 0xFFFF_F000
"""... and a file that is larger than half of it says by this that it does not know."""
_UNKNOWN_LONG_BYTES = 1 << 62
"""The same of lengths of 64 bits."""

_PCM, _FLOAT, _ALAW, _ULAW, _EXTENSIBLE = 1, 3, 6, 7, 0xFFFE
_EXTENSIBLE_TAILS = (
    bytes.fromhex("000000001000800000aa00389b71"),
    bytes.fromhex("00002107d3118644c8c1ca000000"),  # Ambisonic B-format
)
"""What follows the two bytes of the tag in a sub-format that is one."""
_WAV_INTEGERS = {1: "u8", 2: "s16", 3: "s24", 4: "s32"}
_FLOATS = {4: "float", 8: "double"}

_W64_RIFF = bytes.fromhex("726966662e91cf11a5d628db04c10000")
_W64_TAIL = bytes.fromhex("f3acd3118cd100c04f8edb8a")
_W64_HEAD_BYTES = 24

_AIFC = {
    b"NONE": ("integer", ">"),
    b"twos": ("integer", ">"),
    b"in24": ("integer", ">"),
    b"in32": ("integer", ">"),
    b"sowt": ("integer", "<"),
    b"raw ": ("u8", ">"),
    b"fl32": ("float", ">"),
    b"FL32": ("float", ">"),
    b"fl64": ("double", ">"),
    b"FL64": ("double", ">"),
    b"alaw": ("alaw", ">"),
    b"ALAW": ("alaw", ">"),
    b"ulaw": ("ulaw", ">"),
    b"ULAW": ("ulaw", ">"),
}
_SIGNED = {1: "s8", 2: "s16", 3: "s24", 4: "s32"}
_AU = {1: "ulaw", 2: "s8", 3: "s16", 4: "s24", 5: "s32", 6: "float", 7: "double", 27: "alaw"}

SAMPLE_BYTES = {
    "u8": 1,
    "s8": 1,
    "alaw": 1,
    "ulaw": 1,
    "s16": 2,
    "s24": 3,
    "s32": 4,
    "float": 4,
    "double": 8,
}
"""Of every encoding that is known here."""


class PcmHeaderError(ValueError):
    """The header is damaged, or says what cannot be; its text completes "cannot be read as sound: "."""


@dataclass(frozen=True, slots=True)
class PcmLayout:
    """Samples as they are, channel by channel, from one place on."""

    format: PcmFormat
    little: bool
    """Byte order."""
    first_byte: int
    promised: int | None
    """Frames; None when the header does not know, for whoever wrote it did not."""
    stated: int | None = None
    """Frames that the header states where samples go on behind them: its recorder was ended by force, or the
    size was too large for its field."""
    unclaimed: int = 0
    """Bytes behind the samples that might be some, and are not read."""
    recording: bool = False
    """Whether these are known to be another recording."""

    @property
    def frame_bytes(self) -> int:
        """Bytes of one sample of every channel."""
        return SAMPLE_BYTES[self.format.encoding] * self.format.channels


@dataclass(frozen=True, slots=True)
class CompressedLayout:
    """A WAV whose samples are compressed (ADPCM, MP3, GSM ...): what its header says of them."""

    promised: int | None
    """Frames."""
    end_byte: int | None
    """Where its data should end."""
    unclaimed: int = 0
    """As in :class:`PcmLayout`."""
    recording: bool = False
    """As in :class:`PcmLayout`."""


def read_header(file: BinaryIO) -> PcmLayout | CompressedLayout | None:
    """Return where the samples lie; None when it is another kind of file.

    Raises:
        PcmHeaderError: It begins as one of these files, and is damaged.
        OSError: The disk fails.
    """
    size = os.fstat(file.fileno()).st_size
    file.seek(0)
    head = file.read(40)
    if head[:4] in (b"RIFF", b"RF64", b"BW64", b"RIFX") and head[8:12] in (b"WAVE", b""):
        return _wav(file, size, "big" if head[:4] == b"RIFX" else "little")
    if head[:4] == b"RIFF" and len(head) < 12:
        raise PcmHeaderError("it ends inside its header")
    if head[:16] == _W64_RIFF and head[24:28] == b"wave":
        return _w64(file, size)
    if head[:4] == b"FORM" and head[8:12] in (b"AIFF", b"AIFC"):
        return _aiff(file, size)
    if head[:8] == b"caff\0\1\0\0":
        return _caf(file, size)
    return _au(file, head, size) if head[:4] == b".snd" else None


def _wav(file: BinaryIO, size: int, order: str) -> PcmLayout | CompressedLayout:
    fmt = b""
    fact: int | None = None
    long_bytes: int | None = None
    mark = "<" if order == "little" else ">"
    for name, first, length in _riff_chunks(mark)(file, 12, size):
        if name == b"ds64":
            data = _take(file, first, 24, length)
            long_bytes = struct.unpack_from("<Q", data, 8)[0]
        elif name == b"fmt ":
            fmt = _take(file, first, min(length, 40), length)
        elif name == b"fact" and length >= 4:
            fact = struct.unpack(mark + "I", _take(file, first, 4, length))[0]
        elif name == b"data":
            if length == 0xFFFF_FFFF and long_bytes is not None:
                length = long_bytes
            wraps = long_bytes is None or length != long_bytes
            return _wav_samples(_WavFormat.read(fmt, mark), file, (first, length, size), fact, wraps)
    raise PcmHeaderError("it ends before its samples")


@dataclass(frozen=True, slots=True)
class _WavFormat:
    tag: int
    channels: int
    rate_hz: int
    block_bytes: int
    block_frames: int
    """Of a compressed block; 0 when it does not say."""
    bits: int
    little: bool

    @classmethod
    def read(cls, fmt: bytes, mark: str) -> _WavFormat:
        if len(fmt) < 16:
            raise PcmHeaderError("it does not say what its samples are like")
        tag, channels, rate_hz, _, block, bits = struct.unpack_from(mark + "HHIIHH", fmt)
        extensible = tag == _EXTENSIBLE
        if extensible and len(fmt) >= 40 and fmt[26:40] in _EXTENSIBLE_TAILS:
            tag = struct.unpack_from(mark + "H", fmt, 24)[0]
        # an extensible one has its valid bits there
        frames = struct.unpack_from(mark + "H", fmt, 18)[0] if len(fmt) >= 20 and not extensible else 0
        return cls(tag, channels, rate_hz, block, frames, bits, mark == "<")

    @property
    def second_bytes(self) -> int:
        return self.block_bytes * max(1, self.rate_hz // max(1, self.block_frames))

    def encoding(self) -> str | None:
        """Return the encoding of samples that are not compressed."""
        if self.tag not in (_PCM, _FLOAT, _ALAW, _ULAW):
            return None
        width = -(-self.bits // 8)
        known = {_PCM: _WAV_INTEGERS, _FLOAT: _FLOATS, _ALAW: {1: "alaw"}, _ULAW: {1: "ulaw"}}[self.tag]
        if width not in known:
            raise PcmHeaderError(f"its samples have {self.bits} bits")
        if self.block_bytes != width * self.channels:
            raise PcmHeaderError(
                f"{self.channels} samples of {self.bits} bits do not make {self.block_bytes} bytes"
            )
        return known[width]


def _wav_samples(
    found: _WavFormat, file: BinaryIO, place: tuple[int, int, int], fact: int | None, wraps: bool
) -> PcmLayout | CompressedLayout:
    """Return the layout of samples whose first byte, length and file's size are ``place``."""
    first, length, size = place
    behind = size - first
    unknown = length > behind and (length >= _UNKNOWN_BYTES > behind or length >= _SURELY_UNKNOWN_BYTES)
    if not wraps:
        unknown = length >= _UNKNOWN_LONG_BYTES
    encoding = found.encoding()
    chunks = _riff_chunks("<" if found.little else ">")
    if encoding is None:
        blocks = length // found.block_bytes if found.block_bytes else 0
        promised = fact or (blocks * found.block_frames or None)
        if unknown or not length or length == _GSTREAMER_BYTES > behind:
            return CompressedLayout(None, None)
        tail = tail_of(file, first, length, size, found.second_bytes, chunks, wraps=False)
        unclaimed = size - tail.end if tail.goes_on else tail.unclaimed
        return CompressedLayout(promised, first + length, unclaimed, tail.recording)
    layout = PcmLayout(PcmFormat(encoding, found.channels, found.rate_hz), found.little, first, None)
    return layout if unknown else _measured(layout, file, length, size, chunks, wraps=wraps)


def _measured(
    layout: PcmLayout, file: BinaryIO, length: int, size: int, chunks: Chunks | None, *, wraps: bool
) -> PcmLayout:
    """Return the layout with the length that its header promises, and what lies behind that."""
    if not layout.frame_bytes:
        return replace(layout, promised=0)
    stated = length // layout.frame_bytes
    if stated == _GSTREAMER_BYTES // layout.frame_bytes and length > size - layout.first_byte:
        return replace(layout, stated=stated)
    second_bytes = layout.frame_bytes * layout.format.rate_hz
    tail = tail_of(file, layout.first_byte, length, size, second_bytes, chunks, wraps=wraps)
    if tail.goes_on:
        return replace(layout, stated=stated)
    promised = (tail.end - layout.first_byte) // layout.frame_bytes
    return replace(
        layout,
        promised=promised,
        stated=stated if promised > stated else None,
        unclaimed=tail.unclaimed,
        recording=tail.recording,
    )


def _riff_chunks(mark: str) -> Chunks:
    """Return what walks through chunks whose sizes are in that byte order."""

    def walk(file: BinaryIO, at: int, size: int) -> Iterator[tuple[bytes, int, int]]:
        while at + 8 <= size:
            file.seek(at)
            head = file.read(8)
            if len(head) < 8:
                return
            length = struct.unpack_from(mark + "I", head, 4)[0]
            yield head[:4], at + 8, length
            at += 8 + length + length % 2

    return walk


def _take(file: BinaryIO, first: int, count: int, length: int) -> bytes:
    file.seek(first)
    data = file.read(max(0, count))
    if length < count or not 0 <= count <= len(data):
        raise PcmHeaderError("it ends inside its header")
    return data


def _w64(file: BinaryIO, size: int) -> PcmLayout | CompressedLayout:
    fmt = b""
    fact: int | None = None
    for name, first, length in _w64_chunks(file, 40, size):
        if length < 0 and name != b"data":
            break
        if name == b"fmt ":
            fmt = _take(file, first, min(length, 40), length)
        elif name == b"fact" and length >= 4:
            fact = struct.unpack("<I", _take(file, first, 4, length))[0]
        elif name == b"data":
            place = first, max(0, length), size
            return _wav_samples(_WavFormat.read(fmt, "<"), file, place, fact, False)
    raise PcmHeaderError("it ends before its samples")


def _w64_chunks(file: BinaryIO, at: int, size: int) -> Iterator[tuple[bytes, int, int]]:
    """Walk through the chunks of a Wave64; those whose name is no text are called ``guid``."""
    while at + _W64_HEAD_BYTES <= size:
        head = _take(file, at, _W64_HEAD_BYTES, _W64_HEAD_BYTES)
        length = struct.unpack_from("<q", head, 16)[0] - _W64_HEAD_BYTES
        yield head[:4] if head[4:16] == _W64_TAIL else b"guid", at + _W64_HEAD_BYTES, length
        if length < 0:
            return
        at += _W64_HEAD_BYTES + -(-length // 8) * 8


def _aiff(file: BinaryIO, size: int) -> PcmLayout | CompressedLayout:
    common: tuple[PcmFormat, bool, int] | None = None
    compressed: int | None = None
    begin: int | None = None
    for name, first, length in _riff_chunks(">")(file, 12, size):
        if name == b"COMM":
            data = _take(file, first, min(length, 22), length)
            if len(data) < 18:
                raise PcmHeaderError("it does not say what its samples are like")
            channels, frames, bits = struct.unpack_from(">HIH", data)
            kind, mark = _AIFC.get(data[18:22] or b"NONE", ("", ">"))
            if kind == "integer":
                kind = _SIGNED.get(-(-bits // 8), "")
                if not kind:
                    raise PcmHeaderError(f"its samples have {bits} bits")
            compressed = frames
            if kind:
                common = PcmFormat(kind, channels, _extended(data[8:18])), mark == "<", frames
        elif name == b"SSND":
            offset = struct.unpack_from(">I", _take(file, first, 8, max(length, 8)))[0]
            begin = first + 8 + offset
        if begin is not None and compressed is not None:
            break
    if begin is None or compressed is None:
        raise PcmHeaderError("it ends before its samples")
    if common is None:
        return CompressedLayout(compressed or None, None)
    sound, little, frames = common
    layout = PcmLayout(sound, little, begin, None)
    return _measured(layout, file, frames * layout.frame_bytes, size, _riff_chunks(">"), wraps=False)


def _caf(file: BinaryIO, size: int) -> PcmLayout | None:
    layout: PcmLayout | None = None
    for name, first, length in _caf_chunks(file, 8, size):
        if name == b"desc":
            rate_hz, kind, flags, _, _, channels, bits = struct.unpack(
                ">d4sIIIII", _take(file, first, 32, length)
            )
            width = -(-bits // 8)
            encoding = {
                b"lpcm": (_FLOATS if flags & 1 else _SIGNED).get(width),
                b"alaw": "alaw",
                b"ulaw": "ulaw",
            }.get(kind)
            if encoding is None:
                return None
            if not 0 < rate_hz < 1e9:
                raise PcmHeaderError("its rate is no number of samples per second")
            layout = PcmLayout(PcmFormat(encoding, channels, int(rate_hz)), bool(flags & 2), first, None)
        elif name == b"data" and layout is not None:
            layout = replace(layout, first_byte=first + 4)  # behind a count of edits
            if length < 0:
                return layout
            return _measured(layout, file, max(0, length - 4), size, _caf_chunks, wraps=False)
    raise PcmHeaderError("it ends before its samples")


def _caf_chunks(file: BinaryIO, at: int, size: int) -> Iterator[tuple[bytes, int, int]]:
    while at + 12 <= size:
        name, length = struct.unpack(">4sq", _take(file, at, 12, 12))
        yield name, at + 12, length
        if length < 0:
            return
        at += 12 + length


def _extended(data: bytes) -> int:
    """Return the rate from an 80-bit float: sign and exponent, then the mantissa with its leading one."""
    exponent, mantissa = struct.unpack(">HQ", data)
    shift = 16383 + 63 - exponent
    if not 0 < shift < 64 or not mantissa:
        raise PcmHeaderError("its rate is no number of samples per second")
    return int(mantissa >> shift)


def _au(file: BinaryIO, head: bytes, size: int) -> PcmLayout | None:
    if len(head) < 24:
        raise PcmHeaderError("it ends inside its header")
    first, length, code, rate_hz, channels = struct.unpack_from(">IIIII", head, 4)
    if code not in _AU:
        return None
    layout = PcmLayout(PcmFormat(_AU[code], channels, rate_hz), False, first, None)
    if length == 0xFFFF_FFFF:
        return layout
    return _measured(layout, file, length, size, None, wraps=True)
