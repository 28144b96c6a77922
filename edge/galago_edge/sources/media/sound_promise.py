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
_HEAD_BYTES = 1 << 16
_XING_AT = {(1, False): 36, (1, True): 21, (2, False): 21, (2, True): 13}
"""Where the Xing header stands in a frame, by MPEG version (1; 2 and 2.5) and whether it is mono."""
_VBRI_AT = 36


def promised_frames(
    path: Path, container: Any, stream: Any, rate_hz: int, *, cut: bool, header: CompressedLayout | None
) -> int | None:
    """Return how many samples of each channel the file promises; None when it does not say.

    ``rate_hz`` is that of the decoded samples, ``cut`` whether the container shows that bytes are missing,
    ``header`` what a WAV or AIFF says of its samples.

    Raises:
        OSError: The disk fails.
    """
    if header is not None:
        return header.promised
    name = container.format.name
    with path.open("rb") as file:
        if name == "flac":
            return _flac(file)
        if name == "mp3":
            return _mp3(file)
        if cut and name == "asf":
            return _asf(file, rate_hz)
    whole_packets = name == "caf" or name.startswith("mov,")  # they count what the last one is filled up with
    if name in ("wv", "tta", "ape", "tak", "mpc", "mpc8") or (cut and whole_packets):
        return _by_stream(stream, rate_hz)
    if cut and name.startswith("matroska"):
        return _by_tag(stream, rate_hz) or _by_container(container, rate_hz)
    return _by_container(container, rate_hz) if cut and name == "flv" else None


def stated_frames(path: Path, container: Any, stream: Any, rate_hz: int) -> int | None:
    """Return how long a whole Matroska, ASF or FLV says that its sound is; None when it does not say.

    A tag may be another file's and a container's length another stream's, so only much less is a loss.

    Raises:
        OSError: The disk fails.
    """
    name, alone = container.format.name, len(container.streams) == 1
    if name.startswith("matroska"):
        tagged = _by_tag(stream, rate_hz)
        if tagged is not None and stream.start_time is not None:
            return max(0, tagged - round(stream.start_time * stream.time_base * rate_hz)) or None
        return _by_container(container, rate_hz) if alone else None
    if name == "asf" and alone:
        with path.open("rb") as file:
            return _asf(file, rate_hz)
    return _by_container(container, rate_hz) if name == "flv" and alone else None


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
    samples = 1152 if _mpeg_version(frame) == 1 else 576
    if frame[_VBRI_AT : _VBRI_AT + 4] == b"VBRI":
        return int.from_bytes(frame[_VBRI_AT + 14 : _VBRI_AT + 18], "big") * samples or None
    tag = _xing(frame)
    if tag[:4] not in (b"Xing", b"Info") or not tag[7] & 1:
        return None
    flags, frames = tag[7], int.from_bytes(tag[8:12], "big")
    lame = 8 + 4 * (flags & 1) + 4 * (flags >> 1 & 1) + 100 * (flags >> 2 & 1) + 4 * (flags >> 3 & 1)
    trimmed = 0
    if tag[lame : lame + 4] in (b"LAME", b"Lavc", b"Lavf"):
        delays = int.from_bytes(tag[lame + 21 : lame + 24], "big")
        trimmed = (delays >> 12) + (delays & 0xFFF)
    return max(0, frames * samples - trimmed) or None


def is_mp3_heading(frame: bytes) -> bool:
    """Tell whether a frame of MP3 says what follows it, and is no sound: Xing's and Fraunhofer's."""
    if len(frame) < 4 or frame[0] != 0xFF or frame[1] & 0xE6 != 0xE2:
        return False
    return _xing(frame)[:4] in (b"Xing", b"Info") or frame[_VBRI_AT : _VBRI_AT + 4] == b"VBRI"


def _xing(frame: bytes) -> bytes:
    return frame[_XING_AT[_mpeg_version(frame), frame[3] & 0xC0 == 0xC0] :]


def _mpeg_version(frame: bytes) -> int:
    return 1 if frame[1] & 0x18 == 0x18 else 2


def sound_bytes(file: BinaryIO) -> int:
    """Return how many bytes of a file are not tags in front (ID3v2) or behind (ID3v1).

    Raises:
        OSError: The disk fails.
    """
    return sound_end(file) - id3_bytes(file)


def sound_end(file: BinaryIO) -> int:
    """Return where a file ends, less a tag behind its sound (ID3v1).

    Raises:
        OSError: The disk fails.
    """
    size = os.fstat(file.fileno()).st_size
    file.seek(max(0, size - 128))
    return size - (128 if file.read(3) == b"TAG" else 0)


def _behind_id3(file: BinaryIO) -> bytes:
    file.seek(id3_bytes(file))
    return file.read(_HEAD_BYTES)


def id3_bytes(file: BinaryIO) -> int:
    """Return how many bytes a tag takes in front of the sound (ID3v2); 0 when there is none.

    Raises:
        OSError: The disk fails.
    """
    file.seek(0)
    return tag_bytes(file.read(10))


def tag_bytes(head: bytes) -> int:
    """Return how many bytes an ID3v2 tag takes that begins with these ten; 0 when none does."""
    start = 0
    if head[:3] == b"ID3" and len(head) == 10:
        size = 0
        for byte in head[6:10]:
            size = size << 7 | byte & 0x7F
        start = 10 + size + (10 if head[5] & 0x10 else 0)
    return start


def _asf(file: BinaryIO, rate_hz: int) -> int | None:
    """ASF (WMA): the play time of the file properties, less the pre-roll."""
    file.seek(0)
    head = file.read(_HEAD_BYTES)
    at = head.find(_ASF_PROPERTIES)
    if at < 0 or len(head) < at + 92:
        return None
    play, _, preroll = struct.unpack_from("<QQQ", head, at + 64)
    return max(0, play // 10 - preroll * 1000) * rate_hz // 1_000_000 or None
