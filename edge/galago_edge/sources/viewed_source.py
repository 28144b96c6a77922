"""A camera or its recording, as one stream sees it."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import closing
from typing import Any

from galago_edge.contract.errors import CallerError, Reason
from galago_edge.contract.modality import Modality
from galago_edge.contract.streams import Frame, Item
from galago_edge.sources.picture_view import PictureViewer
from galago_edge.sources.source import Source
from galago_edge.sources.view_options import PictureView


def viewed(source: Source, view: PictureView) -> Source:
    """Return the source as a stream with this view sees it.

    Raises:
        CallerError: CONFIG_BAD; it is a microphone's.
    """
    check_view(view, source.modality)
    return ViewedSource(source, view) if view else source


def check_view(view: PictureView, modality: Modality) -> None:
    """Refuse a view of what cannot be seen.

    Raises:
        CallerError: CONFIG_BAD.
    """
    if view and modality != "camera":
        raise CallerError(
            Reason.CONFIG_BAD,
            "rotate, region and mask are for a camera, the source is a microphone",
            hint="take them away",
        )


class ViewedSource:
    """Hands everything on, and frames through a view: for the bundle, its judge, and what keeps samples."""

    def __init__(self, source: Source, view: PictureView) -> None:
        self._source = source
        self._view = view
        self.modality: Modality = source.modality
        self.live = source.live

    @property
    def dropped(self) -> int:
        """Frames that this stream did not take in time."""
        return int(getattr(self._source, "dropped", 0))

    def description(self) -> dict[str, Any]:
        """Return what is known of the source, and what is done to its pictures."""
        return self._source.description() | {"view": self._view.description()}

    def conversion(self) -> dict[str, Any] | None:
        """Return what the source says."""
        return self._source.conversion()

    def __iter__(self) -> Generator[Item, None, None]:
        """Yield everything.

        Raises:
            InputError: SOURCE_MISMATCH; nothing of so small a picture is in the region, or in a mask.
            GalagoError: As the source says.
        """
        viewer = PictureViewer(self._view)
        with closing(iter(self._source)) as items:
            for item in items:
                yield viewer.frame(item) if isinstance(item, Frame) else item

    def summary(self) -> dict[str, Any]:
        """Return what the source says."""
        return self._source.summary()

    def stop(self) -> None:
        """End soon."""
        self._source.stop()
