"""Between a capture thread and a stream thread: bounded, and when full the oldest goes."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

from galago_edge.contract.errors import GalagoError
from galago_edge.contract.streams import AudioBlock, Frame, Gap, Item, Notice, samples_to_ns

T = TypeVar("T")


class NewestBuffer(Generic[T]):
    """A queue that keeps the newest items.

    Items carry their own position in the stream, so that whoever takes them sees what is missing.
    """

    def __init__(self, capacity: int) -> None:
        self._items: deque[T] = deque()
        self._capacity = capacity
        self._changed = threading.Condition()
        self._closed = False
        self._error: GalagoError | None = None
        self.dropped = 0
        """Items that nobody took."""

    def put(self, item: T, may_wait: Callable[[], bool] = lambda: False) -> None:
        """Append ``item``. When there is no room, wait for it while ``may_wait()``, else drop the oldest."""
        with self._changed:
            while len(self._items) >= self._capacity and not self._closed and may_wait():
                self._changed.wait()
            if len(self._items) >= self._capacity:
                self._items.popleft()
                self.dropped += 1
            self._items.append(item)
            self._changed.notify_all()

    def close(self, error: GalagoError | None = None) -> None:
        """Say that nothing more comes, and why if that is a failure. The first call counts."""
        with self._changed:
            if not self._closed:
                self._closed, self._error = True, error
            self._changed.notify_all()

    def __iter__(self) -> Iterator[T]:
        """Yield items as they come, to the last one after ``close``.

        Raises:
            GalagoError: What ``close`` was given.
        """
        while True:
            with self._changed:
                while not self._items and not self._closed:
                    self._changed.wait()
                if not self._items:
                    break
                item = self._items.popleft()
                self._changed.notify_all()
            yield item
        if self._error is not None:
            raise self._error


class ItemBuffer:
    """What one stream has not taken yet: the newest frames or samples, and every Gap and Notice.

    Used by two threads, one on each side.
    """

    def __init__(self, frames: int, sound_ns: int) -> None:
        """Keep so many frames, or so much sound; the newest block is kept however long it is."""
        self._media: deque[tuple[int, Frame | AudioBlock]] = deque()
        # apart from the media, so that dropping the oldest of them is one step and leaves nothing behind
        self._told: deque[tuple[int, Gap | Notice]] = deque()
        self._frames, self._sound_ns = frames, sound_ns
        self._held_ns = 0
        self._position = 0
        self._changed = threading.Condition()
        self._closed = False
        self._error: BaseException | None = None
        self.dropped = 0
        """Frames or samples that nobody took."""
        self.dropped_before = 0
        """Those of them that stood directly before the item taken last. For the thread that takes."""
        self._dropped_taken = 0

    def put(self, item: Item) -> None:
        """Append ``item``; when there is no room for it, the oldest frames or samples go. Never waits."""
        with self._changed:
            if self._closed:
                return
            self._position += 1
            if isinstance(item, Gap | Notice):
                self._told.append((self._position, item))
            else:
                self._media.append((self._position, item))
                self._held_ns += _duration_ns(item)
                while len(self._media) > 1 and self._is_full(item):
                    oldest = self._pop()
                    self.dropped += len(oldest.samples) if isinstance(oldest, AudioBlock) else 1
            self._changed.notify()

    def close(self, error: BaseException | None = None) -> None:
        """Say that nothing more comes, and why if that is a failure. The first call counts."""
        with self._changed:
            if not self._closed:
                self._closed, self._error = True, error
            self._changed.notify()

    def abandon(self) -> None:
        """Say that nobody takes anything more, and forget what is here."""
        with self._changed:
            self._closed = True
            self._media.clear()
            self._told.clear()
            self._held_ns = 0
            self._changed.notify()

    def __iter__(self) -> Iterator[Item]:
        """Yield items in the order they came, to the last one after ``close``; then raise its error."""
        while (item := self._take()) is not None:
            yield item
        if self._error is not None:
            raise self._error

    def _take(self) -> Item | None:
        with self._changed:
            while not (self._media or self._told or self._closed):
                self._changed.wait()
            if self._told and (not self._media or self._told[0][0] < self._media[0][0]):
                return self._told.popleft()[1]
            if not self._media:
                return None
            # what was dropped is always older than what is left
            self.dropped_before = self.dropped - self._dropped_taken
            self._dropped_taken = self.dropped
            return self._pop()

    def _is_full(self, newest: Frame | AudioBlock) -> bool:
        if isinstance(newest, Frame):
            return len(self._media) > self._frames
        return self._held_ns > self._sound_ns

    def _pop(self) -> Frame | AudioBlock:
        item = self._media.popleft()[1]
        self._held_ns -= _duration_ns(item)
        return item


def _duration_ns(item: Frame | AudioBlock) -> int:
    return samples_to_ns(len(item.samples), item.rate_hz) if isinstance(item, AudioBlock) else 0
