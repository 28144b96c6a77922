"""Videos made for a test, and what a source gives of them."""

from __future__ import annotations

import hashlib
import random
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import av

from galago_edge.contract.errors import GalagoError
from galago_edge.contract.streams import Frame, Gap, Notice
from galago_edge.sources import VideoFile
from real_parts.media import ffmpeg

MOVING = "testsrc2=size=160x120:rate=10:duration=12"
"""Ten pictures a second for twelve seconds, no two alike."""
H264 = ("-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p", "-g", "20")
REORDERED = ("-c:v", "libx264", "-preset", "veryfast", "-bf", "3", "-pix_fmt", "yuv420p", "-g", "30")
"""H.264 whose pictures are decoded in another order than they are shown."""
HEVC = (
    "-c:v",
    "libx265",
    "-preset",
    "ultrafast",
    "-pix_fmt",
    "yuv420p",
    "-x265-params",
    "log-level=none:keyint=30",
)
MJPEG = ("-c:v", "mjpeg", "-q:v", "3")
VARIABLE = ("-fps_mode", "vfr")


@dataclass(slots=True)
class Walked:
    """Everything that a video gave, pixels as one hash for each picture."""

    indexes: list[int] = field(default_factory=list)
    times_ns: list[int] = field(default_factory=list)
    hashes: list[str] = field(default_factory=list)
    encoded: list[bytes | None] = field(default_factory=list)
    notices: list[Notice] = field(default_factory=list)
    gaps: list[Gap] = field(default_factory=list)
    summary: dict[str, Any] = field(default_factory=dict)
    failure: GalagoError | None = None

    def notice(self, state: str) -> dict[str, Any] | None:
        """The detail of the only notice of this kind, or None."""
        found = [notice.detail for notice in self.notices if notice.state == state]
        assert len(found) <= 1
        return found[0] if found else None

    def gap_spans(self, cause: str) -> list[tuple[float, float]]:
        """From and to of each gap of this cause, in seconds."""
        return [(gap.from_ns / 1e9, gap.to_ns / 1e9) for gap in self.gaps if gap.cause == cause]


def walk(path: Path, **options: Any) -> Walked:
    """Return everything that ``path`` gives."""
    walked = Walked()
    source = VideoFile(path, **options)
    try:
        for item in source:
            if isinstance(item, Frame):
                walked.indexes.append(item.index)
                walked.times_ns.append(item.captured_ns)
                walked.hashes.append(hashlib.sha256(item.pixels).hexdigest())
                walked.encoded.append(item.encoded)
            elif isinstance(item, Gap):
                walked.gaps.append(item)
            else:
                assert isinstance(item, Notice)
                walked.notices.append(item)
    except GalagoError as failure:
        walked.failure = failure
    walked.summary = source.summary()
    assert walked.times_ns == sorted(set(walked.times_ns)), "times stand still or go back"
    assert walked.indexes == sorted(set(walked.indexes))
    return walked


def make_video(path: Path, *arguments: object, source: str = MOVING) -> Path:
    """Write a video of ``source``, a pattern of ffmpeg's, with these arguments."""
    ffmpeg("-f", "lavfi", "-i", source, *arguments, path)
    return path


def damage(path: Path, spots: int, *, behind: int = 4_000, before: int = 0, seed: int = 0) -> Path:
    """Overwrite 200 bytes at each of so many places, none of them near the ends; return the damaged copy."""
    data = bytearray(path.read_bytes())
    chance = random.Random(seed)
    for _ in range(spots):
        at = chance.randrange(behind, (before or len(data) - 4_000) - 200)
        data[at : at + 200] = chance.randbytes(200)
    damaged = path.with_name(f"damaged_{seed}_{path.name}")
    damaged.write_bytes(data)
    return damaged


def without_packet(path: Path, picture: int, which: int) -> Path:
    """Return a copy of an MPEG transport stream that lacks one packet of one picture, both counted from 0."""
    data = path.read_bytes()
    with av.open(str(path)) as container:
        places = [packet.pos for packet in container.demux(video=0) if packet.size]
    at = places[picture]
    assert at is not None
    number = data[at + 1] & 31, data[at + 2]
    ours = [place for place in range(at, len(data), 188) if (data[place + 1] & 31, data[place + 2]) == number]
    shorter = path.with_name(f"lost_{picture}_{path.name}")
    shorter.write_bytes(data[: ours[which]] + data[ours[which] + 188 :])
    return shorter


def cut(path: Path, share: float = 0.6) -> Path:
    """Return a copy that ends early."""
    data = path.read_bytes()
    shorter = path.with_name(f"cut_{path.name}")
    shorter.write_bytes(data[: int(len(data) * share)])
    return shorter
