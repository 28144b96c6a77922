"""A recording that another distribution's code reads: its mistakes are one line, as ours are."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from galago_edge.contract.modality import Modality
from galago_edge.contract.streams import Item
from galago_edge.host.plugins import plugin_code
from galago_edge.sources.source import Source


class ForeignSource:
    """Hands everything on."""

    def __init__(self, kind: str, source: Source) -> None:
        """Guard ``source``; ``kind`` names it in messages."""
        self._kind = kind
        self._source = source
        self.modality: Modality = source.modality
        self.live = source.live

    def description(self) -> dict[str, Any]:
        """Return what is known before the first item.

        Raises:
            DeviceError: PLUGIN_BAD, as everything here.
        """
        with plugin_code("source", self._kind):
            return self._source.description()

    def conversion(self) -> dict[str, Any] | None:
        """Return how the samples are converted; None when they are not."""
        with plugin_code("source", self._kind):
            return self._source.conversion()

    def __iter__(self) -> Generator[Item, None, None]:
        """Yield everything up to the end.

        Raises:
            GalagoError: As the source says.
            DeviceError: PLUGIN_BAD; it has made a mistake. What came before was yielded.
        """
        items = iter(self._source)
        while True:
            with plugin_code("source", self._kind):
                item = next(items, None)
            if item is None:
                return
            yield item

    def summary(self) -> dict[str, Any]:
        """Return the counts that are known afterwards."""
        with plugin_code("source", self._kind):
            return self._source.summary()

    def stop(self) -> None:
        """End the iteration soon, from any thread."""
        self._source.stop()
