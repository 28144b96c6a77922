"""The sound of a recording file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from galago_edge.recorded.recording_library import RECORDING_EXTRA
from galago_edge.sources.address_options import source_name
from galago_edge.sources.source_kind import Address, Opening, SourceKind

if TYPE_CHECKING:
    from galago_edge.sources.source import Source


def _open(address: Address, opening: Opening) -> Source:
    from galago_edge.sources.recorded_microphone import RecordedMicrophone

    assert opening.rate_hz is not None
    options = address.options
    return RecordedMicrophone(
        Path(address.target),
        opening.rate_hz,
        opening.block_samples,
        name=options.get("source"),
        stream=options.get("drops"),
    )


SOURCE = SourceKind(
    modality="microphone",
    what="a recording's sound",
    form="a recording (.mcap)",
    options={"source": source_name, "drops": source_name},
    suffixes=frozenset({".mcap"}),
    other="mcap",
    open=_open,
    extras=(RECORDING_EXTRA,),
)
