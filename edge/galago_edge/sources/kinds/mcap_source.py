"""The pictures of a recording file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from galago_edge.recorded.recording_library import RECORDING_EXTRA
from galago_edge.sources.address_options import source_name
from galago_edge.sources.opencv import CAMERA_EXTRA
from galago_edge.sources.source_kind import Address, Opening, SourceKind
from galago_edge.sources.view_options import VIEW_OPTIONS

if TYPE_CHECKING:
    from galago_edge.sources.source import Source


def _open(address: Address, opening: Opening) -> Source:
    from galago_edge.sources.recorded_camera import RecordedCamera

    return RecordedCamera(Path(address.target), address.options.get("source"), address.options.get("drops"))


SOURCE = SourceKind(
    modality="camera",
    what="a recording",
    form="a recording (.mcap)",
    options={"source": source_name, "drops": source_name, **VIEW_OPTIONS},
    suffixes=frozenset({".mcap"}),
    other="mcap_sound",
    open=_open,
    extras=(CAMERA_EXTRA, RECORDING_EXTRA),
)
