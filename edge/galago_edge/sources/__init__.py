"""Sources: what gives frames or samples, opened from one line of text.

The names below are imported when they are first used: a capture child imports this package too, and has
no use for what reads recordings.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from galago_edge.sources.address import Address, parse_source
    from galago_edge.sources.audio import AudioFile, read_audio
    from galago_edge.sources.base import Capture, Source
    from galago_edge.sources.capture import open_capture
    from galago_edge.sources.images import ImageFolder, decode_image, read_image
    from galago_edge.sources.opening import open_source
    from galago_edge.sources.pipe import PcmPipe
    from galago_edge.sources.video import VideoFile

__all__ = [
    "Address",
    "AudioFile",
    "Capture",
    "ImageFolder",
    "PcmPipe",
    "Source",
    "VideoFile",
    "decode_image",
    "open_capture",
    "open_source",
    "parse_source",
    "read_audio",
    "read_image",
]

_HOMES = {
    "Address": "address",
    "AudioFile": "audio",
    "Capture": "base",
    "ImageFolder": "images",
    "PcmPipe": "pipe",
    "Source": "base",
    "VideoFile": "video",
    "decode_image": "images",
    "open_capture": "capture",
    "open_source": "opening",
    "parse_source": "address",
    "read_audio": "audio",
    "read_image": "images",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value
