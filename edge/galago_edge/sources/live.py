"""Between a capture thread and a stream thread: bounded, and when full the oldest goes."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

from galago_edge.contract.errors import GalagoError

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
