"""A video file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from galago_edge.sources.address import VIDEO_SUFFIXES
from galago_edge.sources.address_options import frame_rate, one_of
from galago_edge.sources.media.library import MEDIA_EXTRA
from galago_edge.sources.opencv import CAMERA_EXTRA
from galago_edge.sources.source_kind import Address, Opening, SourceKind
from galago_edge.sources.view_options import VIEW_OPTIONS

if TYPE_CHECKING:
    from galago_edge.sources.source import Source


def _open(address: Address, opening: Opening) -> Source:
    from galago_edge.sources.video_file import VideoFile

    conceal = address.options.get("damaged") == "conceal"
    rate = address.options.get("fps")
    return VideoFile(Path(address.target), rate, conceal=conceal, packets=opening.packets)


SOURCE = SourceKind(
    modality="camera",
    what="a video",
    form="a video (.avi .mp4 ...)",
    options={"fps": frame_rate, "damaged": one_of("skip", "conceal"), **VIEW_OPTIONS},
    suffixes=VIDEO_SUFFIXES,
    other="audio",
    open=_open,
    extras=(CAMERA_EXTRA, MEDIA_EXTRA),
)
