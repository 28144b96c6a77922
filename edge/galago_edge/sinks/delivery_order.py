"""In which order one receiver gets its records: an attachment waits while anything else is to be delivered.

A picture on a slow link takes seconds, and one that the receiver does not like is tried several times. No
alarm stands behind it meanwhile.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

from galago_edge.sinks.delivery import Delivery
from galago_edge.sinks.spool import Spool

_AHEAD = 1_000
"""So many attachments are passed over; behind them the order is that of the spool."""


class DeliveryOrder:
    """Takes records from a spool for one receiver. Used by its thread."""

    def __init__(self, spool: Spool, name: str, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._spool = spool
        self._name = name
        self._monotonic = monotonic
        self._waiting: deque[Delivery] = deque()
        """Attachments, the oldest first."""
        self._sent = False
        """Whether the oldest is on its way."""
        self._done_ahead: dict[str, bool] = {}
        """By key, what was done with while an older attachment waits, and whether it was refused: it is not
        handed out again."""
        self._not_before = 0.0
        self._handed_out: set[int] = set()
        """Tokens."""

    @property
    def on_the_way(self) -> int:
        """Return how many records were handed out by :meth:`next` and are not done with."""
        return len(self._handed_out)

    def begin(self) -> None:
        """Start over after :meth:`Spool.rewind`: what is not delivered comes again."""
        self._waiting.clear()
        self._handed_out.clear()
        self._sent = False

    def next(self) -> Delivery | None:
        """Return what is to be delivered next; None when nothing is, or only what has to wait.

        Raises:
            OSError: The disk cannot read now.
        """
        while len(self._waiting) < _AHEAD:
            found = self._spool.read(self._name, 1)
            if not found:
                break
            delivery = found[0]
            if (refused := self._done_ahead.get(delivery.key)) is not None:
                self._spool.ack(self._name, delivery.token, refused=refused)
            elif delivery.kind == "attachment":
                self._waiting.append(delivery)
            else:
                self._handed_out.add(delivery.token)
                return delivery
        if not self._waiting or self._sent or self.pause_s:
            return None
        self._sent = True
        self._handed_out.add(self._waiting[0].token)
        return self._waiting[0]

    def done(self, delivery: Delivery, *, refused: bool = False) -> None:
        """Take note that a delivery has arrived, or that the receiver will never take it (``refused``)."""
        self._spool.ack(self._name, delivery.token, refused=refused)
        self._handed_out.discard(delivery.token)
        if self._waiting and self._waiting[0].token == delivery.token:
            self._waiting.popleft()
            self._sent = False
        elif self._waiting:
            self._done_ahead[delivery.key] = refused
        if not self._waiting:
            self._done_ahead.clear()

    def later(self, pause_s: float) -> None:
        """Hand the oldest attachment out again, after a pause in which everything else goes on."""
        self._sent = False
        self._handed_out.discard(self._waiting[0].token)
        self._not_before = self._monotonic() + pause_s

    @property
    def pause_s(self) -> float:
        """Return for how long attachments have to wait still; 0 when none has to."""
        return max(0.0, self._not_before - self._monotonic()) if self._waiting else 0.0
