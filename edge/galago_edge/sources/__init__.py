"""Sources: what gives frames or samples, opened from one line of text.

The names below are imported when they are first used: a capture child imports this package too, and has
no use for what reads recordings.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from galago_edge.sources.address import parse_source
    from galago_edge.sources.audio_file import AudioFile, read_audio
    from galago_edge.sources.capture import open_capture
    from galago_edge.sources.image_folder import ImageFolder
    from galago_edge.sources.recordings import open_source
    from galago_edge.sources.source import Capture, Source
    from galago_edge.sources.source_kind import Address
    from galago_edge.sources.standard_input import PcmPipe
    from galago_edge.sources.still_image import decode_image, read_image
    from galago_edge.sources.video_file import VideoFile

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
    "Address": "source_kind",
    "AudioFile": "audio_file",
    "Capture": "source",
    "ImageFolder": "image_folder",
    "PcmPipe": "standard_input",
    "Source": "source",
    "VideoFile": "video_file",
    "decode_image": "still_image",
    "open_capture": "capture",
    "open_source": "recordings",
    "parse_source": "address",
    "read_audio": "audio_file",
    "read_image": "still_image",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value
