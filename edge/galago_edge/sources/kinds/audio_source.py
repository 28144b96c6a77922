"""A sound file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from galago_edge.contract.errors import CallerError, Reason
from galago_edge.recorded.recording_library import RECORDING_EXTRA
from galago_edge.sources.address import AUDIO_SUFFIXES, RAW_SUFFIXES
from galago_edge.sources.address_options import integer
from galago_edge.sources.media.library import MEDIA_EXTRA
from galago_edge.sources.source_kind import Address, Opening, SourceKind

if TYPE_CHECKING:
    from galago_edge.sources.sample_conversion import PcmFormat
    from galago_edge.sources.source import Source


def _open(address: Address, opening: Opening) -> Source:
    from galago_edge.sources.audio_file import DEFAULT_BLOCK_SAMPLES, AudioFile

    assert opening.rate_hz is not None
    return AudioFile(
        Path(address.target),
        opening.rate_hz,
        opening.block_samples or DEFAULT_BLOCK_SAMPLES,
        channel=opening.channel or address.options.get("channel"),
        raw=_raw(address),
    )


def _raw(address: Address) -> PcmFormat | None:
    """Return what the samples of a file without a header are; None when its header says it."""
    from galago_edge.sources.audio_file import has_header
    from galago_edge.sources.sample_conversion import PcmFormat

    path = Path(address.target)
    declared = [name for name in ("rate", "channels") if name in address.options]
    if path.suffix.lower() not in RAW_SUFFIXES or has_header(path):
        if declared:
            raise CallerError(
                Reason.CONFIG_BAD,
                f"{path} says itself what its samples are, but {declared[0]}= is given",
                hint="leave it out; raw samples are .raw or .pcm",
            )
        return None
    if "rate" not in address.options:
        raise CallerError(
            Reason.CONFIG_BAD,
            f"the rate of {path} is not known: it holds raw samples",
            hint=f"{path}?rate=16000, with &channels=2 for more than one channel",
        )
    return PcmFormat("s16", address.options.get("channels", 1), address.options["rate"])


SOURCE = SourceKind(
    modality="microphone",
    what="a sound file",
    form="sound (.wav .flac ...)",
    options={"rate": integer(1_000, 1_000_000), "channels": integer(1, 64), "channel": integer(1, 64)},
    suffixes=AUDIO_SUFFIXES | RAW_SUFFIXES,
    other="video",
    open=_open,
    extras=(MEDIA_EXTRA, RECORDING_EXTRA),
)
