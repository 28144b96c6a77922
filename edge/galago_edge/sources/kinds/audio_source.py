"""A sound file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from galago_edge.host.extras import Extra, Library
from galago_edge.sources.address import AUDIO_SUFFIXES
from galago_edge.sources.source_kind import Address, Opening, SourceKind

if TYPE_CHECKING:
    from galago_edge.sources.source import Source


def _open(address: Address, opening: Opening) -> Source:
    from galago_edge.sources.audio_file import DEFAULT_BLOCK_SAMPLES, AudioFile

    assert opening.rate_hz is not None
    return AudioFile(Path(address.target), opening.rate_hz, opening.block_samples or DEFAULT_BLOCK_SAMPLES)


SOURCE = SourceKind(
    modality="microphone",
    what="a sound file",
    form="sound (.wav .flac ...)",
    suffixes=AUDIO_SUFFIXES,
    open=_open,
    extras=(Extra("recording", (Library("soundfile", "soundfile"), Library("soxr", "soxr"))),),
)
