"""Records between decision and delivery, kept through crashes: the newest are never refused.

A folder of segments (``galago_edge.sinks.segment``), each a row of frames with consecutive numbers, and
one small cursor file for each receiver. Appending never waits for a receiver. When the spool has reached
its size, or the disk is full for longer than memory can bridge, the oldest records are given up, counted,
and every receiver that has not had them is told how many.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import threading
from collections import deque
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from galago_edge.contract.errors import BusyError, Reason, disk_error
from galago_edge.sinks.clocks import Clocks, boot_number
from galago_edge.sinks.consumer import Consumer, Delivery
from galago_edge.sinks.cursor import CURSOR_SUFFIX, CursorFile, CursorPosition, new_identity
from galago_edge.sinks.delivered_line import lost_line, record_key, record_line
from galago_edge.sinks.disk import Disk
from galago_edge.sinks.memory_tail import MEMORY_RECORDS, Waiting
from galago_edge.sinks.segment import Segment
from galago_edge.sinks.segments import Segments
from galago_edge.sinks.stored_record import DAMAGED, KIND_CODES, LINE_LIMIT_BYTES, StoredRecord

RETRY_S = 1.0
"""How long the disk is left alone after it has refused something."""
DISK_PATIENCE_S = 10.0
"""A disk that cannot be read for so long after the start is not used any more until the next one."""
_PATIENCE_S = 0.1
_WRITE_BYTES = 65_536
_KIND_NAMES = {code: kind for kind, code in KIND_CODES.items()}


@dataclass(frozen=True, slots=True)
class Entry:
    """One record to be spooled."""

    kind: str
    """``event``, ``state`` or ``gap``."""
    line: bytes
    """JSON object, newline included."""
    synced: bool
    """Whether the wall clock was known to be right."""


class Spool:
    """Appended to by one thread, read and acknowledged by one thread for each receiver."""

    def __init__(
        self,
        folder: Path,
        device: str,
        receivers: Mapping[str, Collection[str]],
        *,
        max_bytes: int,
        sync_s: float,
        disk: Disk | None = None,
        clocks: Clocks | None = None,
    ) -> None:
        """Name a spool for ``receivers``: by name, the kinds of records that each wants.

        ``sync_s``: longest time for which a power cut may lose what was appended. A crash of the process
        alone loses nothing that :meth:`append` has taken while the disk takes it.
        """
        self._folder = folder
        self._device = device
        self._sync_s = sync_s
        self._disk = disk or Disk()
        self._clocks = clocks or Clocks()
        self._lock = threading.RLock()
        self._run = new_identity()
        self._boot = boot_number()
        self._opened_ns = self._clocks.boot_ns()
        self._segments = Segments(self._disk, folder, max_bytes)
        self._tail = Waiting()
        self._next_seq = 1
        self._lock_fd = -1
        self._patient_until = self._clocks.monotonic() + DISK_PATIENCE_S
        self._without_disk = False
        self._early: deque[tuple[int, Entry]] = deque()
        self._loaded = False
        self._made = False
        self._closed = False
        self._retry_at = 0.0
        self._dirty_since: float | None = None
        self._waited_s: dict[str, float] = {}
        self.appended = 0
        """Records taken since this process started."""
        self.fault = ""
        """What the disk said last, in one line; empty while it takes everything."""
        self._consumers = {
            name: Consumer(name, kinds, CursorFile(self._disk, folder, name))
            for name, kinds in receivers.items()
        }

    # opening and closing

    def lock(self) -> None:
        """Make the folder and make it ours. When the disk refuses that, it is tried again later.

        Raises:
            BusyError: LOCKED; another process uses this spool.
        """
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
        """Read what earlier runs left, and where each receiver stands. What is damaged is passed over.

        While the disk refuses that, records wait in memory and nothing is handed out, but not for ever.
        """
        with self._lock:
            self._retry_at = 0.0
            self._load()

    def _own_folder(self) -> None:
        if self._lock_fd < 0:
            self._disk.make_folder(self._folder)
            self._lock_fd = self._disk.lock(self._folder)

    def _load(self) -> None:
        if self._loaded or self._closed or self._clocks.monotonic() < self._retry_at:
            return
        told: dict[str, CursorPosition | None] = dict.fromkeys(self._consumers)
        try:
            self._own_folder()
            self._remove_strangers()
            for name, consumer in self._consumers.items():
                told[name] = consumer.cursor.load()
            self._segments.load()
        except OSError as error:
            self._refused(error)
            for consumer in self._consumers.values():
                consumer.cursor.close()
            told = dict.fromkeys(self._consumers)
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
        newest = max(
            [
                self._segments.end_seq - 1,
                *(progress.acked for progress in told.values() if progress is not None),
            ]
        )
        self._next_seq = newest + 1
        oldest = self._segments.oldest.first_seq if self._segments else self._next_seq
        for name, consumer in self._consumers.items():
            progress = told[name]
            if progress is not None and progress.acked == 0:  # new, or unreadable: all that there is
                progress = dataclasses.replace(progress, acked=oldest - 1)
            consumer.begin(progress, newest)
            consumer.pending = self._wanted(consumer, consumer.acked + 1, self._next_seq)
        self._made = all(consumer.cursor.ready for consumer in self._consumers.values())
        self._collect()
        self._loaded = True
        early, self._early = self._early, deque()
        for boot_ns, entry in early:
            self._take(entry, boot_ns)

    def _remove_strangers(self) -> None:
        """Forget receivers that are no longer configured: they must not hold records back."""
        ours = {consumer.cursor.path.name for consumer in self._consumers.values()}
        for name in self._disk.names(self._folder):
            if name.endswith(CURSOR_SUFFIX) and name not in ours:
                with contextlib.suppress(OSError):
                    self._disk.unlink(self._folder / name)

    def close(self) -> None:
        """Write and sync what can be, and give everything back."""
        self.sync()
        with self._lock:
            if self._closed:
                return
            self._closed = True
            self._segments.retire()
            self._collect()
            self._segments.close()
            for consumer in self._consumers.values():
                consumer.save()
                consumer.cursor.close()
            if self._lock_fd >= 0:
                os.close(self._lock_fd)
                self._lock_fd = -1

    # writing

    def append(self, entries: Sequence[Entry]) -> None:
        """Take records, and write them unless the disk refuses; then they wait in memory."""
        with self._lock:
            boot_ns = self._clocks.boot_ns()
            self.appended += len(entries)
            self._load()
            if not self._loaded:
                self._early.extend((boot_ns, entry) for entry in entries)
                while len(self._early) > MEMORY_RECORDS:
                    self._miss(KIND_CODES[self._early.popleft()[1].kind])
                return
            for entry in entries:
                self._take(entry, boot_ns)
            self._flush()
            self._bound_memory()
            for consumer in self._consumers.values():
                consumer.wake()
        if self._sync_s == 0:
            self.sync()

    def _take(self, entry: Entry, boot_ns: int) -> None:
        kind = KIND_CODES[entry.kind]
        if not any(kind in consumer.wants for consumer in self._consumers.values()):
            return
        if len(entry.line) > LINE_LIMIT_BYTES:
            self._miss(kind)
            return
        frame = StoredRecord(self._next_seq, self._run, self._boot, boot_ns, kind, entry.synced, entry.line)
        self._next_seq += 1
        self._tail.append(frame)
        for consumer in self._consumers.values():
            consumer.pending += kind in consumer.wants

    def miss(self, kinds: Mapping[str, int]) -> None:
        """Count records, so many of each kind, that were lost before they came here."""
        with self._lock:
            for kind, count in kinds.items():
                self._miss(KIND_CODES.get(kind, DAMAGED), count)

    def tick(self) -> float | None:
        """Do what is due; return in how many seconds to call again, None when only for new records."""
        with self._lock:
            now = self._clocks.monotonic()
            if not self._loaded:
                self.append(())
            if self._tail:
                self._flush()
            due = [max(self._retry_at - now, 0.05)] if self._tail or not self._loaded else []
            sync_in = None if self._dirty_since is None else self._dirty_since + self._sync_s - now
        if sync_in is not None and sync_in <= 0:
            self.sync()
        elif sync_in is not None:
            due.append(sync_in)
        return min(due, default=None)

    def sync(self) -> None:
        """Wait until everything is on the disk. Nobody else waits meanwhile."""
        with self._lock:
            self._retry_at = 0.0 if self._tail or self._early else self._retry_at
            self._load()
            self._flush()
            self._dirty_since = None
            fds, new_names = self._segments.unsynced()
            fds += [consumer.cursor.sync_fd() for consumer in self._ready() if consumer.cursor.dirty]
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
        if self._closed or not self._loaded or self._clocks.monotonic() < self._retry_at:
            return
        self._drop_delivered_tail()
        if self._without_disk:
            return
        try:
            while self._tail:
                self._make()
                chunk = self._tail.chunk(min(_WRITE_BYTES, self._segments.segment_bytes))
                while not self._segments.has_room(chunk):
                    self._give_up(self._segments.oldest)
                self._segments.write(chunk)
                for _ in chunk:
                    self._tail.popleft()
                self.fault = ""
                if self._dirty_since is None:
                    self._dirty_since = self._clocks.monotonic()
        except FileNotFoundError as error:
            self._begin_anew()
            self._refused(error)
        except OSError as error:
            self._refused(error)

    def _begin_anew(self) -> None:
        """Make folder and cursors once more, as soon as possible: somebody has removed them."""
        self._segments.retire()
        self._made = False
        for consumer in self._consumers.values():
            consumer.cursor.close()
        if self._lock_fd >= 0:
            os.close(self._lock_fd)
            self._lock_fd = -1

    def _make(self) -> None:
        """Make the cursors, before the first record, so that a crash cannot make a receiver a new one."""
        if self._made:
            return
        self._own_folder()
        for consumer in self._consumers.values():
            if not consumer.cursor.ready:
                consumer.cursor.create(consumer.progress())
        self._disk.sync_folder(self._folder)
        self._made = True

    def _bound_memory(self) -> None:
        """Give up the oldest records, on the disk first, until the rest fits into memory."""
        while self._tail.too_many:
            if self._segments:
                self._give_up(self._segments.oldest)
                self._retry_at = 0.0  # there is room now, perhaps
                self._flush()
            else:
                oldest = self._tail.popleft()
                for consumer in self._consumers.values():
                    missed = oldest.seq > consumer.acked and oldest.kind in consumer.wants
                    consumer.give_up(oldest.seq + 1, int(missed))

    def _drop_delivered_tail(self) -> None:
        """What was delivered from memory while the disk was full need not be written any more."""
        acked = self._acked_by_all()
        while (first := self._tail.first_seq) is not None and first <= acked:
            self._tail.popleft()

    def _give_up(self, segment: Segment) -> None:
        for consumer in self._consumers.values():
            consumer.give_up(segment.end_seq, self._wanted(consumer, consumer.acked + 1, segment.end_seq))
        self._remove(segment)

    def _collect(self) -> None:
        """Remove the segments that every receiver has had."""
        acked = self._acked_by_all()
        while (done := self._segments.done_with(acked)) is not None:
            self._remove(done)

    def _remove(self, segment: Segment) -> None:
        """Remove a segment; first the cursors, or a power cut would make its records look lost."""
        for consumer in self._ready():
            consumer.save()
            with contextlib.suppress(OSError):
                consumer.cursor.sync()
        self._segments.remove(segment)

    def _refused(self, error: OSError) -> None:
        self.fault = str(disk_error(error, f"use the spool {self._folder}"))
        self._retry_at = self._clocks.monotonic() + RETRY_S

    # reading

    def consumer(self, name: str) -> Consumer:
        """Return the books of one receiver; their figures may be read by any thread."""
        return self._consumers[name]

    def read(self, name: str, limit: int) -> list[Delivery]:
        """Hand out up to ``limit`` further deliveries for a receiver, the oldest first.

        Raises:
            OSError: The disk cannot read now; after :meth:`rewind` it may be tried again.
        """
        with self._lock:
            consumer = self._consumers[name]
            found: list[Delivery] = []
            if self._closed:
                return found
            if consumer.to_tell and limit > 0:
                found.append(self._tell(consumer, consumer.position, consumer.to_tell, given_up=True))
            damaged = 0
            while len(found) < limit and (seq := consumer.position + 1 + damaged) < self._next_seq:
                frame, kind = self._find(seq, consumer)
                if kind == DAMAGED:
                    damaged += self._missing_from(seq)
                    continue
                if damaged:
                    found.append(self._tell(consumer, seq - 1, damaged, given_up=False))
                    damaged = 0
                elif frame is None or kind not in consumer.wants:
                    consumer.skip_to(seq)
                else:
                    found.append(self._record(consumer, frame))
            if damaged and len(found) < limit:
                found.append(self._tell(consumer, consumer.position + damaged, damaged, given_up=False))
            self._collect()  # what nobody wants is passed over, not acknowledged
            return found

    def ack(self, name: str, token: int, *, refused: bool = False) -> None:
        """Take note that a delivery has arrived, or that the receiver will never take it (``refused``)."""
        with self._lock:
            self._consumers[name].ack(token, refused=refused)
            self._collect()

    def rewind(self, name: str) -> None:
        """Hand out again, oldest first, whatever a receiver has not acknowledged."""
        with self._lock:
            consumer = self._consumers[name]
            consumer.rewind()
            consumer.pending = self._wanted(consumer, consumer.acked + 1, self._next_seq)

    def oldest_pending_s(self, name: str) -> float:
        """Return for how long the oldest record has been waiting for a receiver; 0 when none is.

        Of a record from before the last boot it is only known that it is older than this process. While
        the disk makes others wait, what was said last is said again.
        """
        if self._lock.acquire(timeout=_PATIENCE_S):
            try:
                self._waited_s[name] = self._oldest_pending_s(self._consumers[name])
            finally:
                self._lock.release()
        return self._waited_s.get(name, 0.0)

    def _oldest_pending_s(self, consumer: Consumer) -> float:
        if not consumer.pending:
            return 0.0
        now_ns = self._clocks.boot_ns()
        since_ns = self._time_of(consumer.acked + 1)
        if not 0 < since_ns <= now_ns:
            since_ns = self._opened_ns
        return (now_ns - since_ns) / 1e9

    @property
    def bytes(self) -> int:
        """Return the size of all segments."""
        return self._segments.bytes

    @property
    def records_in_memory(self) -> int:
        """Return how many records wait for the disk."""
        return len(self._tail)

    def _find(self, seq: int, consumer: Consumer) -> tuple[StoredRecord | None, int]:
        """Return a record and its kind; ``DAMAGED`` when it should be there and is not.

        One of a kind that this receiver does not want is not even read.
        """
        if (frame := self._tail.find(seq)) is not None:
            return frame, frame.kind
        segment = self._segments.find(seq)
        if segment is None:
            return None, DAMAGED
        kind = segment.kinds[seq - segment.first_seq]
        if kind not in consumer.wants:
            return None, kind
        frame = self._segments.read(segment, seq, consumer.name)
        if frame is None:
            for each in self._consumers.values():
                each.pending -= seq > each.position and kind in each.wants
            return None, DAMAGED
        return frame, kind

    def _missing_from(self, seq: int) -> int:
        """Return how many records in a row, this one first, no file holds; 1 within a segment."""
        if self._segments.find(seq) is not None:
            return 1
        return (self._segments.next_start(seq) or self._tail.first_seq or self._next_seq) - seq

    def _time_of(self, seq: int) -> int:
        """Return when a record was taken, on the clock that counts from boot; 0 when that is not known."""
        if (frame := self._tail.find(seq)) is not None:
            return frame.boot_ns
        segment = self._segments.find(seq)
        return segment.times_ns[seq - segment.first_seq] if segment is not None else 0

    def _wanted(self, consumer: Consumer, first_seq: int, end_seq: int) -> int:
        """Count the records from ``first_seq`` up to ``end_seq``, exclusive, that a receiver wants."""
        return self._segments.count(consumer.wants, first_seq, end_seq) + sum(
            first_seq <= frame.seq < end_seq and frame.kind in consumer.wants for frame in self._tail
        )

    def _record(self, consumer: Consumer, frame: StoredRecord) -> Delivery:
        key = record_key(self._device, frame)
        line = record_line(key, frame, self._boot, self._clocks)
        return consumer.hand_out(lambda token: Delivery(token, frame.seq, key, _KIND_NAMES[frame.kind], line))

    def _tell(self, consumer: Consumer, seq: int, lost: int, *, given_up: bool) -> Delivery:
        """Hand out the record that says how many are lost."""
        key = f"{self._device}-{consumer.identity:016x}:lost:{seq}:{lost}"
        line = lost_line(key, lost, "given_up" if given_up else "damaged", self._clocks)
        return consumer.hand_out(
            lambda token: Delivery(token, seq, key, "state", line, lost, lost if given_up else 0)
        )

    def _miss(self, kind: int, count: int = 1) -> None:
        for consumer in self._consumers.values():
            if kind in consumer.wants:
                consumer.miss(count)

    def _acked_by_all(self) -> int:
        return min((consumer.acked for consumer in self._consumers.values()), default=0)

    def _ready(self) -> list[Consumer]:
        return [consumer for consumer in self._consumers.values() if consumer.cursor.ready]
