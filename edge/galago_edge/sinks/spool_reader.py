"""The side of a spool where receivers take records, acknowledge them, or ask for them again."""

from __future__ import annotations

import threading

from galago_edge.sinks.clocks import Clocks
from galago_edge.sinks.consumer import Consumer
from galago_edge.sinks.delivery import Delivery, lost_line, record_key, record_line
from galago_edge.sinks.spool_records import SpoolRecords
from galago_edge.sinks.stored_record import DAMAGED, KIND_NAMES, StoredRecord

_PATIENCE_S = 0.1


class SpoolReader:
    """Hands out deliveries, to one thread for each receiver."""

    def __init__(
        self, records: SpoolRecords, lock: threading.RLock, device: str, boot: int, clocks: Clocks
    ) -> None:
        """Read ``records`` under ``lock``, in this ``boot``; ``device`` stands in every key."""
        self._records = records
        self._lock = lock
        self._device = device
        self._clocks = clocks
        self._boot = boot
        self._opened_ns = clocks.boot_ns()
        self._waited_s: dict[str, float] = {}

    def read(self, name: str, limit: int) -> list[Delivery]:
        """Do what :meth:`Spool.read` promises."""
        with self._lock:
            consumer = self._records.consumer(name)
            found: list[Delivery] = []
            if self._records.closed:
                return found
            if consumer.to_tell and limit > 0:
                found.append(self._tell(consumer, consumer.position, consumer.to_tell, given_up=True))
            damaged = 0
            while len(found) < limit and (seq := consumer.position + 1 + damaged) < self._records.next_seq:
                record, sort = self._records.find(seq, consumer)
                if sort == DAMAGED and not consumer.tells_damage:
                    consumer.skip_to(seq + self._records.missing_from(seq) - 1)
                    continue
                if sort == DAMAGED:
                    damaged += self._records.missing_from(seq)
                    continue
                if damaged:
                    found.append(self._tell(consumer, seq - 1, damaged, given_up=False))
                    damaged = 0
                elif record is None or sort not in consumer.wants:
                    consumer.skip_to(seq)
                else:
                    found.append(self._record(consumer, record))
            if damaged and len(found) < limit:
                found.append(self._tell(consumer, consumer.position + damaged, damaged, given_up=False))
            self._records.collect()  # what nobody wants is passed over, not acknowledged
            return found

    def ack(self, name: str, token: int, *, refused: bool = False) -> None:
        """Do what :meth:`Spool.ack` promises."""
        with self._lock:
            self._records.consumer(name).ack(token, refused=refused)
            self._records.collect()

    def rewind(self, name: str) -> None:
        """Do what :meth:`Spool.rewind` promises."""
        with self._lock:
            consumer = self._records.consumer(name)
            consumer.rewind()
            consumer.pending = self._records.wanted(consumer, consumer.acked + 1, self._records.next_seq)

    def oldest_pending_s(self, name: str) -> float:
        """Do what :meth:`Spool.oldest_pending_s` promises."""
        if self._lock.acquire(timeout=_PATIENCE_S):
            try:
                self._waited_s[name] = self._oldest_pending_s(self._records.consumer(name))
            finally:
                self._lock.release()
        return self._waited_s.get(name, 0.0)

    def _oldest_pending_s(self, consumer: Consumer) -> float:
        if not consumer.pending:
            return 0.0
        now_ns = self._clocks.boot_ns()
        since_ns = self._records.time_of(consumer.acked + 1)
        if not 0 < since_ns <= now_ns:
            since_ns = self._opened_ns
        return (now_ns - since_ns) / 1e9

    def _record(self, consumer: Consumer, record: StoredRecord) -> Delivery:
        key = record_key(self._device, record)
        line = record_line(key, record, self._boot, self._clocks)
        return consumer.hand_out(
            lambda token: Delivery(token, record.seq, key, KIND_NAMES[record.kind], line)
        )

    def _tell(self, consumer: Consumer, seq: int, lost: int, *, given_up: bool) -> Delivery:
        """Hand out the record that says how many are lost."""
        key = f"{self._device}-{consumer.identity:016x}:lost:{seq}:{lost}"
        line = lost_line(key, lost, "given_up" if given_up else "damaged", self._clocks)
        return consumer.hand_out(
            lambda token: Delivery(token, seq, key, "state", line, lost, lost if given_up else 0)
        )
