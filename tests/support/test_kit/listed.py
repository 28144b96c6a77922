"""A source that gives what a test says."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from typing import Any

from galago_edge.contract.errors import GalagoError
from galago_edge.contract.streams import Item


class ListSource:
    """A source that gives what the test says, then perhaps fails."""

    modality: Any = "camera"
    live = False

    def __init__(self, items: Iterable[Item], error: GalagoError | None = None) -> None:
        self.items, self.error, self.closed = items, error, False

    def description(self) -> dict[str, Any]:
        return {"kind": "list"}

    def conversion(self) -> dict[str, Any] | None:
        return None

    def __iter__(self) -> Generator[Item, None, None]:
        try:
            yield from self.items
            if self.error is not None:
                raise self.error
        finally:
            self.closed = True

    def summary(self) -> dict[str, Any]:
        return {"given": "all"}

    def stop(self) -> None:
        raise NotImplementedError
