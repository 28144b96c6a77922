"""A stream whose events carry their picture or sound: what it is given is shown to the attacher first."""

from __future__ import annotations

from galago_edge.contract.errors import GalagoError
from galago_edge.contract.records import Record
from galago_edge.contract.streams import Item
from galago_edge.pipeline.driver import Decides
from galago_edge.pipeline.stream import TooShort
from galago_edge.recording import Attacher
from galago_edge.sources import Source


class AttachedStream:
    """What ``galago_edge.pipeline.drive`` walks a source through, instead of the stream alone."""

    def __init__(self, stream: Decides, attacher: Attacher) -> None:
        self._stream = stream
        self._attacher = attacher

    def start(self, source: Source) -> list[Record]:
        """Return the stream's first records."""
        return self._stream.start(source)

    def push(self, item: Item) -> list[Record]:
        """Return what the next item leads to, when the attacher has it."""
        self._attacher.item(item)
        return self._stream.push(item)

    def too_short(self) -> TooShort | None:
        """Return what the stream says."""
        return self._stream.too_short()

    def finish(self, source: Source, failure: GalagoError | None = None) -> list[Record]:
        """Return the stream's last records."""
        return self._stream.finish(source, failure)
