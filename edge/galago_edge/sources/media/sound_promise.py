"""How long a file says that its sound is, where it says so itself.

FFmpeg also gives a length where the file states none: guessed from its size and bit rate, so a file that is
cut off seems whole. And a container's length is that of its longest stream. So the promise is read here, and
for containers only when their own structure shows that bytes are missing.
"""

from __future__ import annotations

import os
import struct
from pathlib import Path
from typing import Any, BinaryIO

from galago_edge.sources.pcm_header import CompressedLayout

_ASF_PROPERTIES = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")
_ASF_LIVE = 1
_HEAD_BYTES = 1 << 16
_XING_AT = {(1, False): 36, (1, True): 21, (2, False): 21, (2, True): 13}
"""Where the Xing header stands in a frame, by MPEG version (1; 2 and 2.5) and whether it is mono."""
_VBRI_AT = 36


def promised_frames(
    path: Path, container: Any, stream: Any, rate_hz: int, header: CompressedLayout | None
) -> int | None:
    """Return how many samples of each channel the file promises; None when it does not say.

    ``rate_hz`` is that of the decoded samples, ``header`` what a WAV or AIFF says of them.

    Raises:
        OSError: The disk fails.
    """
    if header is not None:
        return header.promised
    name = container.format.name
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        if name == "flac":
            return _flac(file)
        if name == "mp3":
            return _mp3(file)
        if name in ("wv", "tta", "caf", "ape", "tak", "mpc", "mpc8"):
            return _by_stream(stream, rate_hz)
        if name == "asf":
            return _asf(file, rate_hz)
        if name.startswith("mov,") and _boxes_missing(file, size):
            return _by_stream(stream, rate_hz)
        if name.startswith("matroska") and _segment_missing(file, size):
            return _by_tag(stream, rate_hz) or _by_container(container, rate_hz)
    if name == "flv" and not container.streams.video:
        return _by_container(container, rate_hz)
    return None


def _by_stream(stream: Any, rate_hz: int) -> int | None:
    return None if stream.duration is None else round(stream.duration * stream.time_base * rate_hz) or None


def _by_container(container: Any, rate_hz: int) -> int | None:
    if container.duration is None:
        return None
    return (container.duration - max(0, container.start_time or 0)) * rate_hz // 1_000_000 or None


def _by_tag(stream: Any, rate_hz: int) -> int | None:
    """Matroska: the length of each track, as FFmpeg and mkvmerge write it: ``00:00:10.003000000``."""
    hours, _, rest = stream.metadata.get("DURATION", "").partition(":")
    minutes, _, seconds = rest.partition(":")
    try:
        return round((int(hours) * 3600 + int(minutes) * 60 + float(seconds)) * rate_hz) or None
    except ValueError:
        return None


def _flac(file: BinaryIO) -> int | None:
    """FLAC (RFC 9639): 36 bits of the STREAMINFO block; 0 when it was not known."""
    head = _behind_id3(file)
    if head[:4] != b"fLaC" or len(head) < 26:
        return None
    return (int.from_bytes(head[21:26], "big") & (1 << 36) - 1) or None


def _mp3(file: BinaryIO) -> int | None:
    """MP3: the count of frames that Xing's or Fraunhofer's header holds, less what LAME says is padding."""
    head = _behind_id3(file)
    at = next((i for i in range(len(head) - 200) if head[i] == 0xFF and head[i + 1] & 0xE0 == 0xE0), -1)
    if at < 0:
        return None
    frame = head[at:]
    version = 1 if frame[1] & 0x18 == 0x18 else 2
    mono = frame[3] & 0xC0 == 0xC0
    samples = 1152 if version == 1 else 576
    if frame[_VBRI_AT : _VBRI_AT + 4] == b"VBRI":
        return int.from_bytes(frame[_VBRI_AT + 14 : _VBRI_AT + 18], "big") * samples or None
    tag = frame[_XING_AT[version, mono] :]
    if tag[:4] not in (b"Xing", b"Info") or not tag[7] & 1:
        return None
    flags, frames = tag[7], int.from_bytes(tag[8:12], "big")
    lame = 8 + 4 * (flags & 1) + 4 * (flags >> 1 & 1) + 100 * (flags >> 2 & 1) + 4 * (flags >> 3 & 1)
    trimmed = 0
    if tag[lame : lame + 4] in (b"LAME", b"Lavc", b"Lavf"):
        delays = int.from_bytes(tag[lame + 21 : lame + 24], "big")
        trimmed = (delays >> 12) + (delays & 0xFFF)
    return max(0, frames * samples - trimmed) or None


def _behind_id3(file: BinaryIO) -> bytes:
    file.seek(0)
    head = file.read(10)
    start = 0
    if head[:3] == b"ID3" and len(head) == 10:
        size = 0
        for byte in head[6:10]:
            size = size << 7 | byte & 0x7F
        start = 10 + size + (10 if head[5] & 0x10 else 0)
    file.seek(start)
    return file.read(_HEAD_BYTES)


def _asf(file: BinaryIO, rate_hz: int) -> int | None:
    """ASF (WMA): the play time of the file properties, less the pre-roll."""
    file.seek(0)
    head = file.read(_HEAD_BYTES)
    at = head.find(_ASF_PROPERTIES)
    if at < 0 or len(head) < at + 92:
        return None
    play, _, preroll, flags = struct.unpack_from("<QQQI", head, at + 64)
    if flags & _ASF_LIVE:
        return None
    return max(0, play // 10 - preroll * 1000) * rate_hz // 1_000_000 or None


def _boxes_missing(file: BinaryIO, size: int) -> bool:
    """MP4: tell whether a box reaches behind the end of the file."""
    at = 0
    while at + 8 <= size:
        file.seek(at)
        head = file.read(16)
        length = int.from_bytes(head[:4], "big")
        if length == 1 and len(head) == 16:
            length = int.from_bytes(head[8:16], "big")
        if length == 0:
            return False
        if length < 8:
            return True
        at += length
    return at != size


def _segment_missing(file: BinaryIO, size: int) -> bool:
    """Matroska: tell whether the segment reaches behind the end of the file; one of unknown size does not."""
    file.seek(0)
    head = file.read(_HEAD_BYTES)
    at = head.find(b"\x18\x53\x80\x67")
    if at < 0 or len(head) < at + 12 or not head[at + 4]:
        return False
    width = 9 - head[at + 4].bit_length()
    value = int.from_bytes(head[at + 4 : at + 4 + width], "big") & (1 << 7 * width) - 1
    unknown = value == (1 << 7 * width) - 1
    return not unknown and at + 4 + width + value > size
