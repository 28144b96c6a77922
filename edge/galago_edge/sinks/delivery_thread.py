"""What sinks that deliver have in common: a thread that takes from the spool and never gives up for good."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from typing import Literal

from galago_edge.contract.errors import disk_error
from galago_edge.contract.modality import Modality
from galago_edge.contract.records import Record
from galago_edge.contract.status import SinkStatus
from galago_edge.host.backoff import Backoff
from galago_edge.host.plugins import fault_of
from galago_edge.sinks.bell import Bell
from galago_edge.sinks.spool import Spool

_STEADY_S = 30.0
"""A connection that lasts so long was a good one: the next pause is a short one again."""


class DeliveryThread:
    """Base of such sinks. A subclass gives :meth:`_connection`: one attempt that lasts while it works."""

    def __init__(self, name: str, spool: Spool, backoff: Backoff, beside: str = "") -> None:
        """Prepare to deliver the records of ``spool`` for the receiver ``name``.

        ``beside``: under which name its attachments wait, when they do so apart from everything else.
        """
        self.name = name
        self._spool = spool
        self._consumer = spool.consumer(name)
        self._rows = [self._consumer, *([spool.consumer(beside)] if beside else ())]
        self._backoff = backoff
        self._bell = Bell()
        self._state: Literal["ok", "retrying", "failed"] = "retrying"
        self._fault = ""
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name=f"sink-{name}", daemon=True)
        # daemon: a name server that hangs must not hold the process when it ends

    def describe(self, stream: str, modality: Modality, labels: tuple[str, ...]) -> None:
        """Learn which labels a stream can report. Most receivers need not know."""

    def note(self, records: Sequence[Record]) -> None:
        """Learn of records as soon as they are made, in the thread that made them; must be quick.

        For receivers that show what holds now. Most need not: they get every record from the spool.
        """

    def told(self, records: Sequence[Record]) -> None:
        """Hand records to :meth:`note`; a mistake in that is this sink's alone."""
        try:
            self.note(records)
        except Exception as error:  # noqa: BLE001 (a stream outlives any fault of one sink)
            self._troubled(fault_of(error), hopeless=True)

    def start(self) -> None:
        """Begin. The spool must be loaded."""
        for row in self._rows:
            row.wake = self._bell.ring
        self._thread.start()

    def stop(self, timeout_s: float) -> None:
        """End; what is not acknowledged stays in the spool."""
        self._stopping = True
        self._bell.ring()
        if self._thread.ident is not None:
            self._thread.join(timeout_s)
        for row in self._rows:
            row.wake = _nothing
        if not self._thread.is_alive():
            self._bell.close()

    @property
    def works(self) -> bool:
        """Tell whether nothing is known that keeps records from being delivered."""
        return not self._fault

    def status(self) -> SinkStatus:
        """Return where this sink stands."""
        return SinkStatus(
            name=self.name,
            state=self._state,
            fault=self._fault,
            delivered=sum(row.delivered for row in self._rows),
            pending=sum(row.pending for row in self._rows),
            lost=self._lost,
            oldest_pending_s=round(max(self._spool.oldest_pending_s(row.name) for row in self._rows), 3),
        )

    @property
    def _lost(self) -> int:
        return sum(row.lost for row in self._rows)

    def _run(self) -> None:
        while not self._stopping:
            began = time.monotonic()
            try:
                self._connection()
            except OSError as error:
                self._troubled(str(disk_error(error, "read the spool")))
            except Exception as error:  # noqa: BLE001 (a device outlives any fault of one sink)
                self._troubled(fault_of(error), hopeless=True)
            self._spool.rewind(self.name)
            if time.monotonic() - began >= _STEADY_S:
                self._backoff.reset()
            self._rest(self._backoff.pause_s())

    def _connection(self) -> None:
        """Deliver until something goes wrong, which is noted by :meth:`_troubled`, or until told to stop."""
        raise NotImplementedError

    def _working(self) -> None:
        self._state, self._fault = "ok", ""

    def _troubled(self, fault: str, *, hopeless: bool = False) -> None:
        """Note what is wrong; ``hopeless`` when only a person can help. It is tried again all the same."""
        self._state, self._fault = ("failed" if hopeless else "retrying"), " ".join(fault.split())

    def _rest(self, pause_s: float) -> None:
        """Wait, whatever new records come meanwhile."""
        until = time.monotonic() + pause_s
        while not self._stopping and (left := until - time.monotonic()) > 0:
            self._bell.wait(left)


def _nothing() -> None:
    pass
