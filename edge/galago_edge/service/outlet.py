"""What a service says goes out here, from every stream and about the whole device."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence

from galago_edge.contract.errors import GalagoError
from galago_edge.contract.manifest import Manifest
from galago_edge.contract.records import Record
from galago_edge.sinks.outbox import Outbox


class Outlet:
    """Hands records to the outbox and notices when that does not take them. Used by any thread."""

    def __init__(self, outbox: Outbox, failed: Callable[[Exception], None]) -> None:
        """``failed`` is told what went wrong, in the thread in which it did."""
        self._outbox = outbox
        self._failed = failed

    def deliver(self, records: Sequence[Record]) -> None:
        """Hand on records.

        Raises:
            GalagoError, OSError: They cannot be written; ``failed`` was told.
        """
        try:
            self._outbox.emit(records)
        except (GalagoError, OSError) as error:
            self._failed(error)
            raise

    def tell(self, news: Sequence[Record]) -> None:
        """Hand on what is about the whole device; a failure is only noted, and raised at the end."""
        if news:
            with contextlib.suppress(GalagoError, OSError):
                self.deliver(news)

    def describe(self, stream: str, manifest: Manifest) -> None:
        """Let the sinks know what a stream decides on, before its first record with this bundle."""
        labels = [label.name for label in manifest.labels if not label.background]
        self._outbox.describe(stream, manifest.modality, labels)
