"""The way out of a running service: every record is taken at once, and a thread does the rest."""

from __future__ import annotations

import functools
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from pathlib import Path

from galago_edge.contract.modality import Modality
from galago_edge.contract.records import Record, ScoresRecord, encode_record, stamped
from galago_edge.contract.settings import Settings
from galago_edge.contract.status import SinkStatus
from galago_edge.sinks.clocks import Clocks
from galago_edge.sinks.disk import Disk
from galago_edge.sinks.jsonl import JsonlSink
from galago_edge.sinks.record_filter import Subject, subject_of
from galago_edge.sinks.rotating_log import RETRY_S
from galago_edge.sinks.sink_set import build_sinks
from galago_edge.sinks.spool_writer import Entry

QUEUE_RECORDS = 10_000
"""What may wait for the writing thread; only a disk that hangs lets it come to that."""

Listener = Callable[[Record], None]
_Queued = tuple[float, Record, bytes]
"""When it was emitted, on the monotonic clock in seconds; the record; its line."""


class Outbox:
    """Spool, log and every other sink behind one ``emit`` that neither waits for them nor fails with them.

    Order of writing: the spool first, then the log, so that what stands in the log will be delivered.
    """

    def __init__(
        self,
        settings: Settings,
        root: Path,
        device: str,
        *,
        out: JsonlSink | None = None,
        version: str = "",
        disk: Disk | None = None,
        clocks: Clocks | None = None,
    ) -> None:
        """Prepare what ``settings`` ask for; ``root`` is the store's folder, ``device`` stands in every key.

        ``out`` is written by the thread that emits, and its failures are that thread's: standard output
        or a file that a person asked for. ``version`` of galago-edge is shown by the receivers.
        """
        self._clocks = clocks or Clocks()
        self._out = out
        self._listeners: list[Listener] = []
        self._lock = threading.Lock()
        self._news = threading.Condition()
        self._queue: deque[_Queued] = deque()
        self._overflow: Counter[Subject] = Counter()
        self._stopping = False
        self._busy_since: float | None = None
        self._sinks = build_sinks(
            settings, root, device, version, disk=disk or Disk(root), clocks=self._clocks
        )
        self._spool = self._sinks.spool
        self._fault = ""
        self._writer = threading.Thread(target=self._write, name="outbox", daemon=True)

    def describe(self, stream: str, modality: Modality, labels: Sequence[str]) -> None:
        """Say which labels a stream can report, for receivers that show things before they happen.

        May be called again when a bundle was replaced.
        """
        self._sinks.describe(stream, modality, tuple(labels))

    def add_listener(self, listener: Listener) -> None:
        """Call ``listener`` with every record, stamped, in the emitting thread. It must be quick."""
        self._listeners.append(listener)

    def start(self) -> None:
        """Begin to write and to deliver.

        Raises:
            BusyError: LOCKED; another process uses this spool.
        """
        if self._spool is not None:
            self._spool.lock()
        if not self._sinks.empty:
            self._writer.start()

    def emit(self, records: Sequence[Record]) -> None:
        """Take the records of one stream. May be called by several threads.

        Raises:
            LinkError, BrokenPipeError: ``out`` failed, nothing else.
        """
        if not records:
            return
        with self._lock:
            taken = stamped(records, self._clocks.wall_ns(), self._clocks.synced())
            lines = [encode_record(record) for record in taken]
            if not self._sinks.empty:
                self._put(taken, lines)
                self._sinks.note(taken)
            if self._out is not None:
                self._out.write(b"".join(lines))
        for listener in self._listeners:
            for record in taken:
                listener(record)

    def status(self) -> tuple[SinkStatus, ...]:
        """Return where every sink stands. Never waits for a disk or a network."""
        found = [writer.status() for writer in self._sinks.writers]
        if self._spool is not None:
            senders = [sender.status() for sender in self._sinks.senders]
            fault = self._fault or self._spool.fault
            found.append(
                SinkStatus(
                    name="spool",
                    state="retrying" if fault else "ok",
                    fault=fault,
                    delivered=self._spool.appended,
                    pending=max(status.pending for status in senders),
                    lost=max(status.lost for status in senders),
                    oldest_pending_s=max(status.oldest_pending_s for status in senders),
                )
            )
            found += senders
        return tuple(found)

    def stalled_s(self) -> float:
        """Return for how long the writing thread has not come forward although records wait for it.

        A receiver that cannot be reached is no stall: its records wait in the spool.
        """
        now = self._clocks.monotonic()
        waiting = [moment for moment in (self._oldest(), self._busy_since) if moment is not None]
        return max((now - moment for moment in waiting), default=0.0)

    def stop(self, drain_s: float) -> None:
        """Write what was emitted, deliver for at most ``drain_s`` while receivers answer, and end.

        What is not delivered then waits in the spool for the next start. May be called again.
        """
        deadline = time.monotonic() + drain_s
        with self._news:
            self._stopping = True
            self._news.notify()
        if self._writer.ident is not None:
            self._writer.join(max(drain_s, 1.0))
        for sender in self._sinks.senders:
            while sender.works and sender.status().pending and time.monotonic() < deadline:
                time.sleep(0.02)
        for sender in self._sinks.senders:
            sender.stop(max(deadline - time.monotonic(), 1.0))
        if self._writer.is_alive():
            return  # a disk that hangs: the process is about to end, which closes everything
        if self._spool is not None:
            self._spool.close()
        for writer in self._sinks.writers:
            writer.close()

    def _put(self, records: Sequence[Record], lines: Sequence[bytes]) -> None:
        now = self._clocks.monotonic()
        with self._news:
            for record, line in zip(records, lines, strict=True):
                if len(self._queue) >= QUEUE_RECORDS:
                    _, oldest, its_line = self._queue.popleft()
                    self._overflow[subject_of(oldest.kind, its_line)] += 1
                self._queue.append((now, record, line))
            self._news.notify()

    def _oldest(self) -> float | None:
        try:
            return self._queue[0][0]
        except IndexError:
            return None

    def _write(self) -> None:
        """Move records from the queue to spool and log until told to stop and nothing is left."""
        if self._spool is not None:
            self._guarded(self._load)
        wait_s: float | None = None
        while (batch := self._take(wait_s)) is not None:
            wait_s = self._guarded(functools.partial(self._keep, batch))
            self._busy_since = None

    def _load(self) -> None:
        assert self._spool is not None
        self._spool.load()
        for sender in self._sinks.senders:
            sender.start()

    def _take(self, wait_s: float | None) -> list[_Queued] | None:
        """Return what is in the queue, after at most ``wait_s``; None at the end."""
        with self._news:
            if not self._queue and not self._stopping:
                self._news.wait(wait_s)
            if not self._queue and self._stopping:
                return None
            self._busy_since = (
                self._clocks.monotonic()
            )  # first: at no moment may it look as if nothing waited
            batch = list(self._queue)
            self._queue.clear()
            return batch

    def _keep(self, batch: Sequence[_Queued]) -> float | None:
        """Write a batch; return in how many seconds something is due without a new one."""
        with self._news:
            overflow, self._overflow = self._overflow, Counter()
        if self._spool is not None:
            self._spool.miss(overflow)
            spooled = [
                Entry(record.kind, line, record.clock_synced is True)
                for _, record, line in batch
                if not isinstance(record, ScoresRecord)
            ]
            if spooled:
                self._spool.append(spooled)
        for writer in self._sinks.writers:
            writer.miss(overflow.total())
        if batch and self._sinks.writers:
            lines = b"".join(line for _, _, line in batch)
            for writer in self._sinks.writers:
                writer.write(lines)
        due_s = self._spool.tick() if self._spool is not None else None
        if sum(writer.retry() for writer in self._sinks.writers):  # any() would ask only up to the first
            due_s = RETRY_S if due_s is None else min(due_s, RETRY_S)
        return due_s

    def _guarded(self, work: Callable[[], float | None]) -> float | None:
        """Do the work; a fault of our own becomes a visible state and does not end the thread."""
        try:
            due_s = work()
        except Exception as error:  # noqa: BLE001 (a device outlives a bug of its sinks)
            self._fault = f"a fault of galago itself: {error!r}"
            return 1.0
        return due_s
