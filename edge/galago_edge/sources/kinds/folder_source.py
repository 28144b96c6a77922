"""A folder of images, as a camera would have given them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from galago_edge.sources.address_options import frame_rate
from galago_edge.sources.opencv import CAMERA_EXTRA
from galago_edge.sources.source_kind import Address, Opening, SourceKind
from galago_edge.sources.view_options import VIEW_OPTIONS

if TYPE_CHECKING:
    from galago_edge.sources.source import Source


def _open(address: Address, opening: Opening) -> Source:
    from galago_edge.sources.image_folder import ImageFolder

    return ImageFolder(Path(address.target), address.options.get("fps"))


SOURCE = SourceKind(
    modality="camera",
    what="a folder of images",
    form="a folder of images",
    options={"fps": frame_rate, **VIEW_OPTIONS},
    folders=True,
    open=_open,
    extras=(CAMERA_EXTRA,),
)
