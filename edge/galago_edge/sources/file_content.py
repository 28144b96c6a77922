"""What a file holds, by its first bytes: its name is only a help."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Literal

from galago_edge.contract.errors import DeviceError, GalagoError, InputError, Reason
from galago_edge.contract.modality import Modality

Content = Literal["sound", "container", "picture", "recording"]
"""Sound alone; what may hold pictures, sound or both; a single picture; a recording file (MCAP)."""

_HEAD_BYTES = 4_096
_BEGINNINGS: tuple[tuple[int, tuple[bytes, ...], Content], ...] = (
    (0, (b"\x89MCAP0\r\n",), "recording"),
    (8, (b"WAVE",), "sound"),  # of RIFF, RIFX and RF64
    (0, (b"riff\x2e\x91\xcf\x11", b"fLaC", b".snd", b"caff", b"wvpk", b"#!AMR", b"ID3"), "sound"),
    (8, (b"AIFF", b"AIFC"), "sound"),
    (0, (b"\xff\xfb", b"\xff\xf3", b"\xff\xf2", b"\xff\xfa", b"\xff\xf1", b"\xff\xf9"), "sound"),  # MP3, AAC
    (0, (b"\xff\xe3", b"\xff\xe2", b"\xff\xfd", b"\xff\xfc", b"\xff\xf5", b"\xff\xf4"), "sound"),  # MP3, MP2
    (0, (b"\x0bw", b"\x7f\xfe\x80\x01", b"\xfe\x7f\x01\x80", b"\x1f\xff\xe8\0", b"\xff\x1f\0\xe8"), "sound"),
    (4, (b"\xf8ro\xba", b"\xf8ro\xbb"), "sound"),  # TrueHD, MLP; above: AC-3, DTS
    (0, (b"TTA1", b"TTA2", b"MAC ", b"tBaK", b"MP+", b"MPCK", b"DSD "), "sound"),
    (0, (b"NIST_1A", b"Creative Voice File"), "sound"),
    (0, tuple(b"d\xa3" + bytes((machine, 0)) for machine in (1, 2, 3, 4)), "sound"),  # IRCAM
    (0, tuple(bytes((0, machine)) + b"\xa3d" for machine in (1, 2, 3, 4)), "sound"),
    (0, tuple(bytes((0x56, 0xE0 | high)) for high in range(32)), "sound"),  # AAC in LOAS
    (8, (b"AVI ",), "container"),
    (0, (b"\x1aE\xdf\xa3", b"FLV\x01", b"0&\xb2u\x8ef\xcf\x11", b"GIF87a", b"GIF89a", b"OggS"), "container"),
    (4, (b"ftyp", b"moov", b"mdat", b"wide", b"skip"), "container"),
    (0, (b"\0\0\x01\xba", b"\0\0\x01\xb3", b"\0\0\0\x01", b"\0\0\x01\xb0", b"\0\0\x01\x00"), "container"),
    (0, (b"\x1f\x07\x00", b"\x12\x00\x0a", b"\xb7\xd8\x00 7I\xda\x11"), "container"),  # DV, AV1, WTV
    (0, (b"DKIF", b"nut/multimedia container", b"YUV4MPEG2 ", b".RMF", b"\x06\x0e+4\x02\x05"), "container"),
    (0, (b"\x89PNG", b"\xff\xd8\xff", b"BM", b"II*\0", b"MM\0*", b"P2", b"P3", b"P5", b"P6"), "picture"),
    (8, (b"WEBP",), "picture"),
)  # fmt: skip
TS_SYNC = 0x47
"""The first byte of a packet of an MPEG transport stream."""
_TS_PACKETS = 5


def check_plain(path: Path) -> None:
    """Refuse what is neither file nor folder: whoever reads a pipe or a device may wait for ever.

    Raises:
        InputError: SOURCE_MISMATCH.
    """
    try:
        mode = path.stat().st_mode
    except OSError:  # whoever opens it will say so
        return
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
        raise InputError(
            Reason.SOURCE_MISMATCH,
            f"{path} is a pipe or a device, expected a file",
            hint="pipe:PATH reads raw samples from a pipe; cat PATH > FILE makes a file of what comes",
        )


def content_of(path: Path) -> Content | None:
    """Return what the first bytes of a file say; None when nothing is known of them, or it is no file."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # a pipe is not to be read here
            return None
        with path.open("rb") as file:
            head = file.read(_HEAD_BYTES)
    except OSError:  # whoever opens it will say so
        return None
    for at, beginnings, content in _BEGINNINGS:
        if head[at:].startswith(beginnings):
            return content
    is_mpjpeg = head.startswith(b"--") and b"content-type: image/jpeg" in head[:512].lower()
    return "container" if is_mpjpeg or transport_packet_bytes(head) else None


def modalities_of(path: Path) -> frozenset[Modality]:
    """Return what a container has: pictures for a camera's bundle, sound for a microphone's.

    Empty when it cannot be opened, or a library is missing: whoever opens the file says so. FFmpeg looks into
    what is no recording of ours.
    """
    if content_of(path) == "recording" or path.suffix.lower() == ".mcap":
        return _recorded_modalities(path)
    from galago_edge.sources.media.recording_container import RecordingContainer

    try:
        with RecordingContainer(path, f"reading {path.name}") as container:
            found: set[Modality] = set()
            if container.pictures is not None:
                found.add("camera")
            if container.av.streams.audio:
                found.add("microphone")
            return frozenset(found)
    except (InputError, DeviceError):
        return frozenset()


def _recorded_modalities(path: Path) -> frozenset[Modality]:
    from galago_edge.recorded.record_walk import RecordWalk
    from galago_edge.recorded.recorded_items import recorded_sources

    try:
        with RecordWalk(path) as walk:
            return frozenset(source.modality for source in recorded_sources(walk).values())
    except GalagoError:
        return frozenset()


def transport_packet_bytes(head: bytes) -> int:
    """Return the bytes of a packet of an MPEG transport stream; 0 when it is none.

    >>> transport_packet_bytes((b"G" + bytes(187)) * 8)
    188
    """
    for length, first in ((188, 0), (192, 4), (204, 0)):
        syncs = head[first : first + _TS_PACKETS * length : length]
        if len(syncs) == _TS_PACKETS and set(syncs) == {TS_SYNC}:
            return length
    return 0
