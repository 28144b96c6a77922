"""What every source is: something that gives frames or audio blocks in stream order."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, Protocol

from galago_edge.contract.streams import Item
from galago_edge.sources.address import Modality


class Source(Protocol):
    """A camera, a microphone or a recording, already opened, to be walked through once."""

    modality: Modality
    live: bool
    """Live sources keep the newest and lose the oldest when nobody keeps up; the others lose nothing."""

    def description(self) -> dict[str, Any]:
        """Return what is known before the first item, for the stream's first record.

        Holds no folder, no credentials and no time, so that it is the same in every replay.
        """
        ...

    def conversion(self) -> dict[str, Any] | None:
        """Return how the samples are converted to what the bundle needs; None when they are not."""
        ...

    def __iter__(self) -> Generator[Item, None, None]:
        """Yield everything up to the end, then say what was wrong with it, if anything was.

        Raises:
            InputError: The recording is damaged; what could be read was yielded before.
            LinkError: SOURCE_LOST; a live source went away.
        """
        ...

    def summary(self) -> dict[str, Any]:
        """Return the counts that are known afterwards, for the stream's last record."""
        ...

    def stop(self) -> None:
        """End the iteration soon, from any thread; what is captured already is still yielded."""
        ...
