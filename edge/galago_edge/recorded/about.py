"""What a recording says of itself, beside its messages: by what, when and for whom it was made."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from typing import Any

import msgspec

from galago_edge.contract.decoding import from_json
from galago_edge.contract.modality import Modality

FORMAT = 1
"""Version of docs/recording-format.md. A reader refuses what is above."""
METADATA = "galago"
"""Name of the metadata record that holds it."""
CAM, MIC, OUT, GAPS, DROPS = "/cam/", "/mic/", "/out/", "/gaps/", "/drops/"
"""Topics begin so; behind stands the name of the source, or of the stream for ``/out/``."""
SUFFIX, PART_SUFFIX = ".mcap", ".mcap.part"


class RecordedStream(msgspec.Struct, frozen=True, kw_only=True):
    """One stream that decided while it was recorded."""

    name: str
    source: str
    bundle: str = ""
    """Id of its bundle: sha256 of the manifest."""
    overrides: dict[str, Any] = {}
    """Label to ``{"on": ..., "off": ...}``."""
    view: dict[str, Any] = {}
    """``rotate``, ``region``, ``mask``, as in ``galago.toml``."""


class AboutRecording(msgspec.Struct, frozen=True, kw_only=True):
    """The metadata of one file."""

    format: int = FORMAT
    origin: str = "device"
    """``device``: what a live source gave; ``import``: what a file gave."""
    device: str = ""
    series: str = ""
    """The same in all files of one recording that was rolled."""
    part: int = 0
    """Number of the file in its series, from 0."""
    clock: str = "monotonic"
    """What log times count: ``monotonic`` of the device since its start, or ``stream`` from 0."""
    wall_ns: int | None = None
    """Wall time (Unix) at log time ``wall_at_ns``; None where nobody knows."""
    wall_at_ns: int = 0
    clock_synced: bool | None = None
    streams: tuple[RecordedStream, ...] = ()
    environment: dict[str, str] = {}
    """Fingerprint of what decided: versions, machine."""


class SourceMark(msgspec.Struct, frozen=True, kw_only=True):
    """What the channels of one source say of it, in each chunk."""

    name: str
    modality: Modality
    start_ns: int = 0
    """Log time at stream time 0."""
    origin: str = "device"
    conceal: bool = False
    """Whether pictures were decided that are damaged, as the decoder patched them up."""
    described: dict[str, Any] = {}
    """What the source said of itself."""


def about_metadata(about: AboutRecording) -> dict[str, str]:
    """Return the metadata record: MCAP protects none by a checksum, so it brings its own."""
    text = msgspec.json.encode(about).decode()
    return {"about": text, "crc32": f"{zlib.crc32(text.encode()):08x}"}


def read_about(metadata: Mapping[str, str]) -> AboutRecording | None:
    """Return what ``about_metadata`` wrote; None where it is damaged, or not Galago's."""
    text = metadata.get("about", "")
    if metadata.get("crc32") != f"{zlib.crc32(text.encode()):08x}":
        return None
    try:
        return from_json(text, type=AboutRecording)
    except msgspec.DecodeError:
        return None


def channel_metadata(mark: SourceMark) -> dict[str, str]:
    """Return the metadata of a channel of this source."""
    return {METADATA: msgspec.json.encode(mark).decode()}


def read_mark(metadata: Mapping[str, str]) -> SourceMark | None:
    """Return what ``channel_metadata`` wrote; None for a channel of another program."""
    if METADATA not in metadata:
        return None
    try:
        return from_json(metadata[METADATA], type=SourceMark)
    except msgspec.DecodeError:
        return None


def described_json(described: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a source says of itself as JSON holds it.

    >>> described_json({"name": "door", "size": (640, 480)})
    {'name': 'door', 'size': [640, 480]}
    """
    plain: dict[str, Any] = from_json(msgspec.json.encode(dict(described), enc_hook=str))
    return plain
