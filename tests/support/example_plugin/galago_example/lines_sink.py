"""``[lines]``: records as lines of a file, each followed by its key."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from galago_edge.contract.findings import Finding, ok
from galago_edge.contract.settings import Table
from galago_edge.sinks.delivery import Delivery
from galago_edge.sinks.each_record import each_record
from galago_edge.sinks.sink_kind import ReceiverKind, ReceiverParts


class LinesSettings(Table, frozen=True, kw_only=True):
    """``[lines]``."""

    path: str
    """Relative to the folder of ``galago.toml``."""


class Lines:
    """One open file."""

    def __init__(self, settings: LinesSettings, parts: ReceiverParts) -> None:
        """Open the file, which may not be there yet.

        Raises:
            OSError: It cannot be opened now.
        """
        self._file = Path(settings.path).open("ab")  # noqa: SIM115 (until close)

    def deliver(self, delivery: Delivery) -> None:
        """Append one record and hand it to the system.

        Raises:
            OSError: The disk does not take it now.
        """
        self._file.write(delivery.line + b"\n")
        self._file.flush()

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _check(settings: LinesSettings) -> Iterator[Finding]:
    yield ok("lines", f"{settings.path} is written")


SINK = ReceiverKind(settings=LinesSettings, build=each_record(Lines), check=_check, paths=("path",))
