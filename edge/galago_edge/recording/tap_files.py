"""One source's recordings, one after the other: when each begins and ends, and what of it can be decoded."""

from __future__ import annotations

import contextlib
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from galago_edge.contract.streams import NS_PER_S, AudioBlock, Gap, Notice
from galago_edge.recording.tap_folder import STEP_BYTES, TapFolder
from galago_edge.recording.tap_things import (
    Shot,
    Thing,
    begins_here,
    bytes_of,
    end_ns_of,
    from_key_frame,
    is_about,
    span_of,
)
from galago_edge.recording.tap_writer import Drop, OpenTap, TapWriter

_AGAIN_S = 10.0
"""Pause before a recording is begun again after one that failed."""
_NEWEST = 100
LATE_NS = 5 * NS_PER_S
"""So much later records may come than what they are about: a stream decides when it comes to it."""
UNDECODABLE = "undecodable"
"""What is counted of frames whose packets lean on others that are not there."""
UNWRITTEN = "failed"


@dataclass(frozen=True, slots=True)
class _Former:
    """A recording that has ended, but for records that are still to come about what is in it."""

    writer: TapWriter
    path: Path
    end_ns: int


class TapFiles:
    """Writes the things of one source. Used by one thread; what fails is raised, and closes the recording."""

    def __init__(
        self,
        source: str,
        folder: TapFolder,
        open_tap: OpenTap,
        about: Callable[[], Mapping[str, Any]],
        lost: Callable[[str, int], None],
        *,
        minutes: float,
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        """Write recordings of ``source`` into ``folder``; each is ``about`` what is known when it begins.

        ``lost`` is told why how many frames are not in them: they come too early behind a hole to be decoded,
        or the disk did not take what the writer had taken.
        """
        self._source, self._folder, self._open_tap = source, folder, open_tap
        self._about, self._lost = about, lost
        self._most_ns = round(minutes * 60 * NS_PER_S)
        self._clock_s = clock_s
        self._again_s = 0.0
        self._writer: TapWriter | None = None
        self._path = Path()
        self._began_ns: int | None = None
        self._end_ns = 0
        """Stream time up to which frames or samples are in the recording."""
        self._former: _Former | None = None
        self._bytes = self._step = 0
        self._row = _PacketRow()
        self.finished = 0
        """Recordings that are whole."""
        self.newest: deque[Path] = deque(maxlen=_NEWEST)
        """The last of them."""

    @property
    def folder(self) -> Path:
        """Where the recordings are."""
        return self._folder.path

    @property
    def writing(self) -> bool:
        """Tell whether a recording is open."""
        return self._writer is not None

    @property
    def waits(self) -> bool:
        """Tell whether it is too early to try again after a failure."""
        return self._clock_s() < self._again_s

    def write(self, thing: Thing) -> None:
        """Write a thing, into the next recording when this one has come to its end.

        Raises:
            Exception: It cannot be written, whatever the reason; nothing is open then.
        """
        try:
            self._write(thing)
        except BaseException:  # raised again, whatever it was
            self._give_up()
            raise

    def write_late(self, thing: Thing) -> None:
        """Write a record or drop about what is in the recording that has just ended, if that is still open.

        Raises:
            Exception: As :meth:`write`.
        """
        if self._former is not None:
            self.write(thing)

    def tick(self) -> float | None:
        """Let the disk have what has waited long enough; return in how many seconds again, None: never.

        Raises:
            Exception: As :meth:`write`.
        """
        open_ones = [self._writer, None if self._former is None else self._former.writer]
        try:
            due_s = [writer.tick() for writer in open_ones if writer is not None]
        except BaseException:  # raised again, as in write
            self._give_up()
            raise
        return min((due for due in due_s if due is not None), default=None)

    def end(self) -> None:
        """Let the recording end; it stays open for records about it, until the next one ends or is told to.

        Raises:
            Exception: The one before could not be made whole.
        """
        former, self._former = self._former, None
        if self._writer is not None:
            self._former = _Former(self._writer, self._path, self._end_ns)
            self._writer = None
        if former is not None:
            self._shut(former.writer, former.path)

    def close(self) -> None:
        """Make what is written whole, if anything is.

        Raises:
            Exception: That failed.
        """
        try:
            self.end()
        finally:
            self.end()

    def _give_up(self) -> None:
        """Close what cannot be written any more, and let some time pass before the next one."""
        self._again_s = self._clock_s() + _AGAIN_S
        with contextlib.suppress(Exception):  # the first fault is the one told
            self.close()

    def _write(self, thing: Thing) -> None:
        if isinstance(thing, Shot | AudioBlock):
            if self._is_long(thing) and begins_here(thing):
                self.end()
            if self._former is not None and end_ns_of(thing) > self._former.end_ns + LATE_NS:
                former, self._former = self._former, None
                self._shut(former.writer, former.path)
            placed = self._row.placed(thing) if self._writer is not None else _PacketRow().placed(thing)
            if placed is None or (isinstance(placed, Shot) and placed.index != getattr(thing, "index", None)):
                self._lose(thing)
            if placed is None:
                return
            writer = self._opened(end_ns_of(thing))
            placed = self._row.take(placed)
            _put_media(writer, placed)
            self._end_ns = end_ns_of(thing)
            if self._began_ns is None:
                self._began_ns = self._end_ns
        elif self._former is not None and is_about(thing) and end_ns_of(thing) <= self._former.end_ns:
            _put_other(self._former.writer, thing)
        else:
            writer = self._opened(end_ns_of(thing))
            _put_other(writer, thing)
        self._count(bytes_of(thing))

    def _lose(self, thing: Shot | AudioBlock) -> None:
        if isinstance(thing, Shot) and thing.index is not None:
            drop = Drop("", UNDECODABLE, *span_of(thing))
            if self._writer is not None:
                self._writer.drop(drop)
            self._lost(UNDECODABLE, 1)

    def _opened(self, ns: int) -> TapWriter:
        if self._writer is None:
            path = self._folder.begin(self._source)
            try:
                self._writer = self._open_tap(path, {**self._about(), "from_ns": ns})
            except BaseException:  # raised again; the folder must know that nobody writes it
                self._folder.end(path)
                raise
            self._path, self._began_ns = path, None
            self._bytes = self._step = 0
            self._row = _PacketRow()
        return self._writer

    def _is_long(self, thing: Shot | AudioBlock) -> bool:
        if self._writer is None:
            return False
        long_ns = 0 if self._began_ns is None else end_ns_of(thing) - self._began_ns
        return long_ns >= self._most_ns or self._bytes >= self._folder.most_of_one

    def _count(self, size: int) -> None:
        self._bytes += size
        self._step += size
        if self._step >= STEP_BYTES:
            self._step = 0
            self._folder.make_room()

    def _shut(self, writer: TapWriter, path: Path) -> None:
        try:
            writer.close()
        finally:
            self._folder.end(path)
            if writer.lost:
                self._lost(UNWRITTEN, writer.lost)
        self.finished += 1
        self.newest.append(path)


class _PacketRow:
    """Which packets of one recording can be decoded: those that follow on a key frame without a jump."""

    def __init__(self) -> None:
        self._next: int | None = None
        """Number of the packet that follows; None: only a key frame does."""
        self._first = 0
        """Number of the key frame on which all since then follow."""

    def placed(self, thing: Shot | AudioBlock) -> Shot | AudioBlock | None:
        """Return what of a thing can be decoded; None when nothing of it can."""
        if isinstance(thing, AudioBlock) or thing.coded is None:
            return thing
        coded = thing.coded
        follows = self._next is not None and not coded.begins
        if follows and (not coded.packets or coded.packets[0].number == self._next):
            return thing if coded.shown >= self._first else replace(thing, index=None)
        return from_key_frame(thing)

    def take(self, thing: Shot | AudioBlock) -> Shot | AudioBlock:
        """Note that a placed thing is written, and return it."""
        if isinstance(thing, Shot) and thing.coded is not None and thing.coded.packets:
            packets = thing.coded.packets
            if self._next is None or packets[0].number != self._next or thing.coded.begins:
                self._first = packets[0].number
            self._next = packets[-1].number + 1
        return thing


def _put_media(writer: TapWriter, thing: Shot | AudioBlock) -> None:
    if isinstance(thing, AudioBlock):
        writer.sound(thing)
    elif thing.coded is not None:
        writer.coded(thing.index, thing.ns, thing.coded)
    elif thing.index is not None:
        if thing.jpeg is not None:
            writer.picture(thing.index, thing.ns, "jpeg", thing.jpeg)
        else:
            writer.picture(thing.index, thing.ns, "png", thing.png())


def _put_other(writer: TapWriter, thing: Thing) -> None:
    if isinstance(thing, Gap):
        writer.gap(thing)
    elif isinstance(thing, Notice):
        writer.notice(thing)
    elif isinstance(thing, Drop):
        writer.drop(thing)
    elif not isinstance(thing, Shot | AudioBlock):
        writer.record(thing)
