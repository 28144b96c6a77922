"""Records one source beside the streams on it: takes everything, and never holds anybody up."""

from __future__ import annotations

import contextlib
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from galago_edge.contract.errors import GalagoError, Reason
from galago_edge.contract.records import Record, StateRecord
from galago_edge.contract.settings import RecordingSettings
from galago_edge.contract.streams import AudioBlock, Item
from galago_edge.recording.quiet_thread import STOPPED, QuietThread, fault_in_words
from galago_edge.recording.tap_files import UNDECODABLE, UNWRITTEN, TapFiles
from galago_edge.recording.tap_folder import TapFolder
from galago_edge.recording.tap_plan import AroundEvents, EveryThing, Late, TapPlan
from galago_edge.recording.tap_things import Shot, Thing, bytes_of, span_of, thing_of
from galago_edge.recording.tap_writer import Drop, OpenTap

_MOST_THINGS = 20_000
_MEGABYTE = 1_000_000
_TOLD_EVERY_S = 60.0
"""At most so often the records say that something was lost; status and metrics say it at once."""
BUSY = "busy"
DISK = "disk"
RECORDS = "records"
LOST = (BUSY, DISK, UNWRITTEN, RECORDS, STOPPED, UNDECODABLE)
"""Why something is not in the recording: keys of ``RecordingStatus.lost``."""


class SourceTap:
    """The recorder of one source.

    ``item`` belongs to the capturing thread, ``told`` and ``missed`` to those of the streams; none of them
    waits or raises. One thread of low priority writes. What it does not manage in time is lost, counted, and
    said in the recording, in the records and in the status.
    """

    def __init__(
        self,
        source: str,
        settings: RecordingSettings,
        folder: TapFolder,
        open_tap: OpenTap,
        tell: Callable[[Sequence[Record]], None] = lambda records: None,
        about: Callable[[], Mapping[str, Any]] = dict,
        *,
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        """Record ``source``.

        ``tell`` takes records about the recording itself, in our thread. ``about`` says what is known of
        source and device when a recording begins; to that is added: ``streams``, the ``bundle``,
        ``overrides`` and ``view`` of each stream by its name, and ``from_ns``, the stream time at which it
        begins.
        """
        self.source = source
        self._tell = tell
        self._clock_s = clock_s
        self._most_bytes = settings.memory_mb * _MEGABYTE
        self._plan: TapPlan = EveryThing()
        if settings.mode == "events":  # half of the memory for what waits, half for what came before
            self._most_bytes //= 2
            self._plan = AroundEvents(settings, self._most_bytes)
        self._files = TapFiles(
            source,
            folder,
            open_tap,
            lambda: {**about(), "streams": dict(self._streams)},
            self._unwritten,
            minutes=settings.minutes,
            clock_s=clock_s,
        )
        self._lock = threading.Lock()
        self._held_bytes = self._held_items = 0
        self._hole: Drop | None = None
        """What the queue had no room for since something was put into it."""
        self._lost: Counter[str] = Counter()
        self._unsaid: Counter[str] = Counter()
        self._said_s: float | None = None
        self._streams: dict[str, Any] = {}
        self._fault = ""
        self._broken = False
        self._thread = QuietThread(
            f"recording {source}", self._work, most=_MOST_THINGS, begin=lambda: None, rest=self._rest
        )

    # from other threads

    def item(self, item: Item) -> None:
        """Take the next item of the source."""
        self._offer(thing_of(item))

    def told(self, records: Sequence[Record]) -> None:
        """Take the records of a stream on this source, when they are on their way."""
        for record in records:
            if isinstance(record, StateRecord) and (record.subject, record.state) == ("stream", "started"):
                told = {key: record.detail[key] for key in ("bundle", "overrides") if key in record.detail}
                self._streams[record.stream] = {**self._streams.get(record.stream, {}), **told}
            self._offer(record)

    def missed(
        self, stream: str, from_index: int, to_index: int, from_ns: int, to_ns: int, cause: str
    ) -> None:
        """Take that a stream did not get these frames or samples of the source, half-open.

        ``cause``: of the Gap that it had instead; empty when it had none.
        """
        self._offer(Drop(stream, cause, from_index, to_index, from_ns, to_ns))

    def decides(self, stream: str, about: Mapping[str, Any]) -> None:
        """Note that a stream on this source is recorded: ``bundle``, ``overrides``, ``view``."""
        self._streams[stream] = dict(about)

    @property
    def lost(self) -> dict[str, int]:
        """Frames or samples that are in no recording, by why: :data:`LOST`."""
        with self._lock:
            return dict(self._lost)

    @property
    def writing(self) -> bool:
        """Whether a recording is open."""
        return self._files.writing

    @property
    def finished(self) -> int:
        """Recordings that are whole."""
        return self._files.finished

    @property
    def files(self) -> tuple[Path, ...]:
        """The last of them, a hundred at most."""
        return tuple(self._files.newest)

    @property
    def short(self) -> int:
        """Events of which not all came that was to come before them."""
        return self._plan.short

    @property
    def fault(self) -> str:
        """Why the last thing could not be written; empty when it could."""
        return self._fault

    def close(self, wait_s: float = 5.0) -> None:
        """Write what waits, for at most ``wait_s``, and make the recording whole. Twice does no harm.

        A disk that is slower keeps the thread; its recording then stays as far as it came.
        """
        self._thread.close(wait_s)
        with self._lock:
            if self._held_items:
                self._lost[STOPPED] += self._held_items
                self._held_items = 0
        if not self._thread.alive:
            try:
                self._files.close()
            except Exception as error:  # noqa: BLE001 - the end of a service never fails because of it
                self._fault = fault_in_words(error, "end a recording")

    # the way into the queue

    def _offer(self, thing: Thing) -> None:
        size, items = bytes_of(thing), _items(thing)
        with self._lock:
            if self._thread.closed:
                self._lost[STOPPED] += items
                return
            # what is small always has room: without it nobody would know what the rest means
            if items and self._held_bytes + size > self._most_bytes:
                self._lose_first(thing)
                return
            if self._hole is not None and self._thread.put(self._hole):
                self._held_bytes += bytes_of(self._hole)
                self._hole = None
            if not self._thread.put(thing):
                self._lose_first(thing)
                return
            self._held_bytes += size
            self._held_items += items

    def _lose_first(self, thing: Thing) -> None:
        if not isinstance(thing, Shot | AudioBlock):
            self._note(RECORDS, 1)
            return
        from_index, to_index, from_ns, to_ns = span_of(thing)
        if self._hole is not None:
            from_index, from_ns = self._hole.from_index, self._hole.from_ns
        self._hole = Drop("", BUSY, from_index, to_index, from_ns, to_ns)
        self._note(BUSY, _items(thing))

    def _note(self, why: str, items: int) -> None:
        """Count a loss; the lock is held."""
        self._lost[why] += items
        self._unsaid[why] += items

    # in our own thread

    def _work(self, thing: Thing) -> None:
        with self._lock:
            self._held_bytes -= bytes_of(thing)
            self._held_items -= min(_items(thing), self._held_items)
        for chosen in self._plan.chosen(thing):
            if isinstance(chosen, Late):
                self._try(chosen.thing, self._files.write_late)
            elif chosen is not None:
                self._write(chosen)
            else:
                self._end()
        self._say()

    def _rest(self) -> float | None:
        """Write what is due although nothing comes: the source may be away for long."""
        try:
            return self._files.tick()
        except Exception as error:  # noqa: BLE001 - a recording is never worth a stream
            self._failed(None, error)
            return None

    def _write(self, thing: Thing) -> None:
        if not self._files.writing and self._files.waits:
            self._skip(thing, UNWRITTEN)
            return
        self._try(thing, self._files.write)

    def _try(self, thing: Thing, write: Callable[[Thing], None]) -> None:
        try:
            write(thing)
        except Exception as error:  # noqa: BLE001 - a recording is never worth a stream
            self._failed(thing, error)
        else:
            if self._broken:
                self._broken, self._fault = False, ""

    def _end(self) -> None:
        try:
            self._files.end()
        except Exception as error:  # noqa: BLE001 - as above
            self._failed(None, error)

    def _failed(self, thing: Thing | None, error: Exception) -> None:
        full = isinstance(error, GalagoError) and error.reason is Reason.NO_SPACE
        self._fault = fault_in_words(error, f"record to {self._files.folder}")
        if thing is not None:
            self._skip(thing, DISK if full else UNWRITTEN)
        if not self._broken:
            self._broken = True
            self._state("failed", {"message": self._fault})

    def _skip(self, thing: Thing, why: str) -> None:
        with self._lock:
            self._note(why if _items(thing) else RECORDS, _items(thing) or 1)

    def _unwritten(self, why: str, items: int) -> None:
        with self._lock:
            self._note(why, items)

    def _say(self) -> None:
        """Tell what was lost, when it was not told a moment ago."""
        if not self._unsaid:
            return
        now_s = self._clock_s()
        if self._said_s is not None and now_s - self._said_s < _TOLD_EVERY_S:
            return
        self._said_s = now_s
        with self._lock:
            lost, self._unsaid = dict(sorted(self._unsaid.items())), Counter()
        self._state("incomplete", {"lost": lost})

    def _state(self, state: str, detail: dict[str, Any]) -> None:
        record = StateRecord(
            stream="",
            subject="recording",
            state=state,
            index=0,
            ns=0,
            detail={"source": self.source} | detail,
        )
        with contextlib.suppress(Exception):  # whoever takes records tells its own faults
            self._tell([record])


def _items(thing: Thing) -> int:
    """Return for how many frames or samples it stands."""
    if isinstance(thing, AudioBlock):
        return len(thing.samples)
    return int(isinstance(thing, Shot))
