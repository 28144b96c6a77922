"""One receiver of a spool: what it was handed, what it has acknowledged, what it must be told as lost."""

from __future__ import annotations

import contextlib
from collections import OrderedDict
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Literal

from galago_edge.sinks.cursor import CursorFile, CursorPosition, new_identity
from galago_edge.sinks.delivery import Delivery

BESIDE = "+"
"""In the name of a second row of one receiver. Of damaged records its first row tells, and counts them."""


@dataclass(slots=True)
class _Handed:
    delivery: Delivery
    state: Literal["on its way", "arrived", "refused"] = "on its way"


class Consumer:
    """The books of one receiver. The spool calls it, under its lock."""

    def __init__(self, name: str, wants: Collection[int], cursor: CursorFile) -> None:
        """Open an account for ``name``, which wants records of these sorts; there may be more later."""
        self.name = name
        self.tells_damage = BESIDE not in name
        self.wants = wants
        self.cursor = cursor
        self.identity = new_identity()
        self.acked = 0
        self.position = 0
        """Number of the last record that was handed out or skipped."""
        self.untold = 0
        self.pending = 0
        """Records that it wants and has not acknowledged."""
        self.delivered = 0
        """Since this process started, as is ``lost``."""
        self.lost = 0
        self.wake: Callable[[], None] = _nothing
        """Called, from any thread and under the spool's lock, when there is something to deliver."""
        self._in_flight: OrderedDict[int, _Handed] = OrderedDict()
        self._telling = 0
        self._next_token = 1
        self._unsaved = False

    def begin(self, progress: CursorPosition | None, newest: int) -> None:
        """Take up where the cursor stands; without one nothing before ``newest`` was for this receiver."""
        if progress is None:
            self.acked, self._unsaved = newest, True
        else:
            self.identity, self.acked = progress.identity, progress.acked
            self.untold += progress.untold
        self.position = self.acked

    @property
    def to_tell(self) -> int:
        """Return how many lost records no delivery in flight tells of."""
        return self.untold - self._telling

    @property
    def in_flight(self) -> int:
        """Return how many deliveries are handed out and not acknowledged."""
        return len(self._in_flight)

    def hand_out(self, make: Callable[[int], Delivery]) -> Delivery:
        """Note that what ``make`` gives for a token is on its way."""
        delivery = make(self._next_token)
        self._next_token += 1
        self._in_flight[delivery.token] = _Handed(delivery)
        self.position = max(self.position, delivery.seq)
        self._telling += delivery.told
        return delivery

    def skip_to(self, seq: int) -> None:
        """Pass over records that it does not want."""
        self.position = seq
        if not self._in_flight:
            self.acked = max(self.acked, seq)
            self._unsaved = True

    def ack(self, token: int, *, refused: bool = False) -> None:
        """Note that a delivery has arrived, or that the receiver will never take it.

        The cursor moves over what is acknowledged without a hole. An unknown token is of a record that was
        given up meanwhile.
        """
        if token not in self._in_flight:
            return
        self._in_flight[token].state = "refused" if refused else "arrived"
        while self._in_flight:
            token, handed = next(iter(self._in_flight.items()))
            if handed.state == "on its way":
                break
            del self._in_flight[token]
            self._close(handed)
        self._unsaved = True
        self.save()

    def rewind(self) -> None:
        """Forget what is on its way: it will be handed out again."""
        self._in_flight.clear()
        self._telling = 0
        self.position = self.acked

    def give_up(self, end_seq: int, wanted: int) -> None:
        """Lose all records before ``end_seq``, ``wanted`` of them behind the cursor.

        What is handed out and not yet acknowledged counts as lost too: nobody can send it again.
        """
        arrived = 0
        for token, handed in list(self._in_flight.items()):
            if handed.delivery.seq < end_seq and not handed.delivery.lost:
                del self._in_flight[token]
                arrived += handed.state == "arrived"
        self.acked = max(self.acked, end_seq - 1)
        self.position = max(self.position, self.acked)
        self.pending -= wanted
        self.delivered += arrived
        self.miss(wanted - arrived)

    def miss(self, count: int) -> None:
        """Note records that are lost without ever having been in the spool."""
        self.lost += count
        self.untold += count
        self._unsaved = True
        self.save()

    def save(self) -> None:
        """Write the cursor if it moved. When the disk refuses, a restart delivers some records twice."""
        if self._unsaved and self.cursor.ready:  # not before begin: it would forget where it stood
            with contextlib.suppress(OSError):
                self.cursor.save(self.progress())
                self._unsaved = False

    def _close(self, handed: _Handed) -> None:
        delivery = handed.delivery
        self.acked = max(self.acked, delivery.seq)
        if delivery.lost:
            self.untold -= delivery.told
            self._telling -= delivery.told
            self.lost += delivery.lost - delivery.told  # the others were counted when they were given up
            return
        self.pending -= 1
        if handed.state == "arrived":
            self.delivered += 1
        else:
            self.lost += 1

    def progress(self) -> CursorPosition:
        """Return what the cursor is to say."""
        return CursorPosition(self.identity, self.acked, self.untold)


def _nothing() -> None:
    pass
