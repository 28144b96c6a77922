"""The plain way to make a sink: something that takes one record after the other, and says when it cannot."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from galago_edge.contract.errors import GalagoError, LinkError, system_words
from galago_edge.host.backoff import Backoff
from galago_edge.sinks.delivery import Delivery
from galago_edge.sinks.delivery_thread import DeliveryThread
from galago_edge.sinks.sink_kind import ReceiverParts
from galago_edge.sinks.spool import Spool

_FIRST_PAUSE_S = 1.0
_IDLE_S = 60.0


class RecordRefusedError(Exception):
    """The receiver will never take this record, which is given up and counted as lost; the next follows."""


class RecordReceiver(Protocol):
    """One connection to a receiver. Used by one thread."""

    def deliver(self, delivery: Delivery) -> None:
        """Return when the receiver has the record: ``delivery.line``, JSON without a newline.

        The same record comes again, with the same ``delivery.key``, when the process ended meanwhile.

        Raises:
            RecordRefusedError: It will never take this one.
            OSError, LinkError: Not now; it is tried again after a pause, with a new connection.
            GalagoError: Not until a person has mended something; it is tried again all the same.
        """
        ...

    def close(self) -> None:
        """End the connection."""
        ...


def each_record(
    connect: Callable[[Any, ReceiverParts], RecordReceiver], *, backoff_max_s: float = 60.0
) -> Callable[[Any, ReceiverParts], DeliveryThread]:
    """Return what builds a sink that hands records to what ``connect`` returns, one by one.

    ``connect`` is called with the sink's settings in the sink's own thread, again after every failure; what
    it raises counts as in :meth:`RecordReceiver.deliver`. Pauses between attempts double up to
    ``backoff_max_s``.
    """

    def build(settings: Any, parts: ReceiverParts) -> DeliveryThread:
        return _EachRecord(parts.name, parts.spool, lambda: connect(settings, parts), backoff_max_s)

    return build


class _EachRecord(DeliveryThread):
    def __init__(
        self, name: str, spool: Spool, connect: Callable[[], RecordReceiver], backoff_max_s: float
    ) -> None:
        super().__init__(name, spool, Backoff(_FIRST_PAUSE_S, backoff_max_s))
        self._connect = connect

    def _connection(self) -> None:
        try:
            receiver = self._connect()
        except (OSError, GalagoError) as error:
            self._failed(error)
            return
        try:
            self._serve(receiver)
        finally:
            receiver.close()

    def _serve(self, receiver: RecordReceiver) -> None:
        self._working()
        while not self._stopping:
            deliveries = self._spool.read(self.name, 1)
            if not deliveries:
                self._bell.wait(_IDLE_S)
                continue
            try:
                receiver.deliver(deliveries[0])
            except RecordRefusedError as refused:
                self._spool.ack(self.name, deliveries[0].token, refused=True)
                self._troubled(f"record {deliveries[0].key} is given up: {refused}")
                continue
            except (OSError, GalagoError) as error:
                self._failed(error)
                return
            self._spool.ack(self.name, deliveries[0].token)
            self._backoff.reset()
            self._working()

    def _failed(self, error: OSError | GalagoError) -> None:
        text = error.line if isinstance(error, GalagoError) else system_words(error)
        self._troubled(text, hopeless=isinstance(error, GalagoError) and not isinstance(error, LinkError))
