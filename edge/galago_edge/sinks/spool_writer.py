"""The side of a spool where records come in: into memory at once, then to the disk, and synced there."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import threading
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from galago_edge.contract.errors import BusyError, Reason, disk_error
from galago_edge.sinks.clocks import Clocks
from galago_edge.sinks.cursor import CURSOR_SUFFIX, CursorPosition, new_identity
from galago_edge.sinks.disk import Disk
from galago_edge.sinks.memory_tail import MEMORY_RECORDS
from galago_edge.sinks.record_filter import Subject
from galago_edge.sinks.spool_records import SpoolRecords
from galago_edge.sinks.stored_record import KIND_CODES, LINE_LIMIT_BYTES, StoredRecord

RETRY_S = 1.0
"""How long the disk is left alone after it has refused something."""
DISK_PATIENCE_S = 10.0
"""A disk that cannot be read for so long after the start is not used any more until the next one."""
_WRITE_BYTES = 65_536


@dataclass(frozen=True, slots=True)
class Entry:
    """One record to be spooled."""

    kind: str
    """``event``, ``state``, ``gap`` or ``attachment``."""
    line: bytes
    """JSON object, newline included."""
    synced: bool
    """Whether the wall clock was known to be right."""


class SpoolWriter:
    """Owns the folder: locks it, reads what is there, and appends. Used by one thread."""

    def __init__(
        self,
        records: SpoolRecords,
        lock: threading.RLock,
        folder: Path,
        *,
        boot: int,
        sync_s: float,
        disk: Disk,
        clocks: Clocks,
    ) -> None:
        """Write ``records`` under ``lock``, in this ``boot``; ``sync_s``: see :class:`Spool`."""
        self._records = records
        self._lock = lock
        self._folder = folder
        self._sync_s = sync_s
        self._disk = disk
        self._clocks = clocks
        self._run = new_identity()
        self._boot = boot
        self._lock_fd = -1
        self._patient_until = clocks.monotonic() + DISK_PATIENCE_S
        self._without_disk = False
        self._early: deque[tuple[int, Entry]] = deque()
        self._loaded = False
        self._made = False
        self._retry_at = 0.0
        self._dirty_since: float | None = None
        self.appended = 0
        """Records taken since this process started."""
        self.fault = ""
        """What the disk said last, in one line; empty while it takes everything."""

    # opening and closing

    def lock(self) -> None:
        """Do what :meth:`Spool.lock` promises."""
        try:
            self._own_folder()
        except BlockingIOError:
            raise BusyError(
                Reason.LOCKED,
                f"another process uses the spool {self._folder}",
                hint="stop the other galago run, or give this one another [spool] dir",
            ) from None
        except OSError as error:
            self._refused(error)

    def load(self) -> None:
        """Do what :meth:`Spool.load` promises."""
        with self._lock:
            self._retry_at = 0.0
            self._load()

    def close(self) -> None:
        """Write and sync what can be, and give everything back."""
        self.sync()
        with self._lock:
            if self._records.closed:
                return
            self._records.closed = True
            self._records.segments.retire()
            self._records.collect()
            self._records.segments.close()
            for consumer in self._records.consumers:
                consumer.save()
                consumer.cursor.close()
            self._let_go()

    def _own_folder(self) -> None:
        if self._lock_fd < 0:
            self._disk.make_folder(self._folder)
            self._lock_fd = self._disk.lock(self._folder)

    def _let_go(self) -> None:
        if self._lock_fd >= 0:
            os.close(self._lock_fd)
            self._lock_fd = -1

    def _load(self) -> None:
        if self._loaded or self._records.closed or self._clocks.monotonic() < self._retry_at:
            return
        consumers = self._records.consumers
        told: dict[str, CursorPosition | None] = {consumer.name: None for consumer in consumers}
        try:
            self._own_folder()
            self._remove_strangers()
            for consumer in consumers:
                told[consumer.name] = consumer.cursor.load()
            self._records.segments.load(self._records.sorts.of_record)
        except OSError as error:
            self._refused(error)
            for consumer in consumers:
                consumer.cursor.close()
            told = dict.fromkeys(told)
            if self._folder.exists():
                if self._clocks.monotonic() < self._patient_until:
                    return
                self._without_disk = True  # what is there is left for the next start
            # else a full disk has no room for the folder: there is nothing to read, and memory must do
        self._begin(told)
        if not self._without_disk:
            try:
                self._make()
            except OSError as error:
                self._refused(error)

    def _begin(self, told: Mapping[str, CursorPosition | None]) -> None:
        """Go on behind everything that any file or any receiver knows."""
        records = self._records
        known = [progress.acked for progress in told.values() if progress is not None]
        newest = max([records.segments.end_seq - 1, *known])
        records.next_seq = newest + 1
        oldest = records.segments.oldest.first_seq if records.segments else records.next_seq
        for consumer in records.consumers:
            progress = told[consumer.name]
            if progress is not None and progress.acked == 0:  # new, or unreadable: all that there is
                progress = dataclasses.replace(progress, acked=oldest - 1)
            consumer.begin(progress, newest)
            consumer.pending = records.wanted(consumer, consumer.acked + 1, records.next_seq)
        self._made = all(consumer.cursor.ready for consumer in records.consumers)
        records.collect()
        if records.segments:
            self._dirty_since = self._clocks.monotonic()
        self._loaded = True
        early, self._early = self._early, deque()
        for boot_ns, entry in early:
            self._take(entry, boot_ns)

    def _remove_strangers(self) -> None:
        """Forget receivers that are no longer configured: they must not hold records back."""
        ours = {consumer.cursor.path.name for consumer in self._records.consumers}
        for name in self._disk.names(self._folder):
            if name.endswith(CURSOR_SUFFIX) and name not in ours:
                with contextlib.suppress(OSError):
                    self._disk.unlink(self._folder / name)

    # taking records

    def append(self, entries: Sequence[Entry]) -> None:
        """Do what :meth:`Spool.append` promises."""
        with self._lock:
            boot_ns = self._clocks.boot_ns()
            self.appended += len(entries)
            self._load()
            if not self._loaded:
                self._early.extend((boot_ns, entry) for entry in entries)
                while len(self._early) > MEMORY_RECORDS:
                    self._records.miss(self._sort_of(self._early.popleft()[1]))
                return
            for entry in entries:
                self._take(entry, boot_ns)
            self._flush()
            self._bound_memory()
            for consumer in self._records.consumers:
                consumer.wake()
        if self._sync_s == 0:
            self.sync()

    def _take(self, entry: Entry, boot_ns: int) -> None:
        sort = self._sort_of(entry)
        if not self._records.is_wanted(sort):
            return
        if len(entry.line) > LINE_LIMIT_BYTES:
            self._records.miss(sort)
            return
        seq, kind = self._records.next_seq, KIND_CODES[entry.kind]
        self._records.add(
            StoredRecord(seq, self._run, self._boot, boot_ns, kind, entry.synced, entry.line, sort)
        )

    def _sort_of(self, entry: Entry) -> int:
        return self._records.sorts.of_line(entry.kind, entry.line)

    def miss(self, subjects: Mapping[Subject, int]) -> None:
        """Do what :meth:`Spool.miss` promises."""
        with self._lock:
            for subject, count in subjects.items():
                self._records.miss(self._records.sorts.of(subject), count)

    # moving them to the disk

    def tick(self) -> float | None:
        """Do what :meth:`Spool.tick` promises."""
        with self._lock:
            now = self._clocks.monotonic()
            if not self._loaded:
                self.append(())
            if self._records.tail:
                self._flush()
            waiting = self._records.tail or not self._loaded
            due = [max(self._retry_at - now, 0.05)] if waiting else []
            sync_in = None if self._dirty_since is None else self._dirty_since + self._sync_s - now
        if sync_in is not None and sync_in <= 0:
            self.sync()
        elif sync_in is not None:
            due.append(sync_in)
        return min(due, default=None)

    def sync(self) -> None:
        """Do what :meth:`Spool.sync` promises."""
        with self._lock:
            self._retry_at = 0.0 if self._records.tail or self._early else self._retry_at
            self._load()
            self._flush()
            self._dirty_since = None
            fds, new_names = self._records.segments.unsynced()
            ready = self._records.with_cursors()
            fds += [consumer.cursor.sync_fd() for consumer in ready if consumer.cursor.dirty]
        fault = None
        for fd in fds:
            try:
                self._disk.sync(fd)
            except OSError as error:
                fault = error
            finally:
                os.close(fd)
        try:
            if new_names:
                self._disk.sync_folder(self._folder)
        except OSError as error:
            fault = error
        if fault is not None:
            self._refused(fault)

    def _flush(self) -> None:
        """Move what waits in memory to the disk, as far as the disk takes it."""
        if self._records.closed or not self._loaded or self._clocks.monotonic() < self._retry_at:
            return
        self._records.drop_delivered_tail()
        if self._without_disk:
            return
        tail, segments = self._records.tail, self._records.segments
        try:
            while tail:
                self._make()
                chunk = tail.chunk(min(_WRITE_BYTES, segments.segment_bytes))
                while not segments.has_room(chunk):
                    self._records.give_up(segments.oldest)
                segments.write(chunk)
                for _ in chunk:
                    tail.popleft()
                self.fault = ""
                if self._dirty_since is None:
                    self._dirty_since = self._clocks.monotonic()
        except FileNotFoundError as error:
            self._start_over()
            self._refused(error)
        except OSError as error:
            self._refused(error)

    def _start_over(self) -> None:
        """Make folder and cursors once more, as soon as possible: somebody has removed them."""
        self._records.segments.retire()
        self._made = False
        for consumer in self._records.consumers:
            consumer.cursor.close()
        self._let_go()

    def _make(self) -> None:
        """Make the cursors, before the first record, so that a crash cannot make a receiver a new one."""
        if self._made:
            return
        self._own_folder()
        for consumer in self._records.consumers:
            if not consumer.cursor.ready:
                consumer.cursor.create(consumer.progress())
        self._disk.sync_folder(self._folder)
        self._made = True

    def _bound_memory(self) -> None:
        """Give up the oldest records, on the disk first, until the rest fits into memory."""
        while self._records.tail.too_many:
            if self._records.segments:
                self._records.give_up(self._records.segments.oldest)
                self._retry_at = 0.0  # there is room now, perhaps
                self._flush()
            else:
                self._records.give_up_first_in_memory()

    def _refused(self, error: OSError) -> None:
        self.fault = str(disk_error(error, f"use the spool {self._folder}"))
        self._retry_at = self._clocks.monotonic() + RETRY_S
