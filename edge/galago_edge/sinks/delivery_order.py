"""In which order one receiver gets its records: an attachment waits while anything else is to be delivered.

A picture on a slow link takes seconds, and one that the receiver does not like is tried several times. No
alarm stands behind it meanwhile: attachments wait in a row of their own, with a cursor of their own, so what
is delivered beside them is done with, also over a restart.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from galago_edge.sinks.attempts import Attempts
from galago_edge.sinks.delivery import Delivery
from galago_edge.sinks.spool import Spool

_PATIENCE_S = 3_600.0
"""An attachment with which nothing but that one was tried for so long may be at fault itself."""


class DeliveryOrder:
    """Takes records from a spool for one receiver. Used by its thread."""

    def __init__(
        self,
        spool: Spool,
        name: str,
        *,
        beside: str = "",
        tries: int = 5,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Deliver what waits under ``name``, and when nothing does, what waits under ``beside``.

        An attachment that fails ``tries`` times by its own fault is given up.
        """
        self._spool = spool
        self._name = name
        self._beside = beside
        self._monotonic = monotonic
        self._waiting: Delivery | None = None
        """The oldest of the row beside, once it was read."""
        self._sent = False
        """Whether it is on its way."""
        self._rows: dict[str, str] = {}
        """By key, of what is on its way: the name under which it waits."""
        self._not_before = 0.0
        self._attempts = Attempts(tries)
        self._first_try: tuple[str, float] = ("", 0.0)
        """Key, and when it was tried first."""
        self._others = True
        """Whether anything was delivered since a failure counted: the receiver works."""

    @property
    def on_the_way(self) -> int:
        """Return how many records were handed out by :meth:`next` and are not done with."""
        return len(self._rows)

    def begin(self) -> None:
        """Start over: what is not delivered comes again."""
        self._rows.clear()
        self._waiting, self._sent = None, False
        if self._beside:
            self._spool.rewind(self._beside)

    def next(self) -> Delivery | None:
        """Return what is to be delivered next; None when nothing is, or only what has to wait.

        Raises:
            OSError: The disk cannot read now.
        """
        if found := self._spool.read(self._name, 1):
            self._rows[found[0].key] = self._name
            return found[0]
        if not self._beside or self._sent or self.pause_s:
            return None
        if self._waiting is None:
            found = self._spool.read(self._beside, 1)
            if not found:
                return None
            self._waiting = found[0]
        self._sent = True
        self._rows[self._waiting.key] = self._beside
        return self._waiting

    def done(self, delivery: Delivery, *, refused: bool = False) -> None:
        """Take note that a delivery has arrived, or that the receiver will never take it (``refused``)."""
        self._spool.ack(self._rows.pop(delivery.key, self._name), delivery.token, refused=refused)
        if self._waiting is not None and self._waiting.key == delivery.key:
            self._waiting, self._sent = None, False
        self._others |= not refused

    def failed(self, delivery: Delivery, pause_s: float, *, refused: bool, reached: bool = True) -> bool:
        """Take note that what waits beside could not be delivered; return whether it is given up.

        If not it is handed out again, after a pause in which everything else goes on. ``refused``: the
        receiver has said that it does not like this one. Anything else counts against it when the receiver
        was ``reached`` and takes other things, or after an hour of trying nothing but this.
        """
        now_s = self._monotonic()
        if self._first_try[0] != delivery.key:
            self._first_try = (delivery.key, now_s)
        at_fault = refused or (reached and (self._others or now_s - self._first_try[1] > _PATIENCE_S))
        if at_fault:
            self._others = False
            if self._attempts.last(delivery.key):
                self.done(delivery, refused=True)
                return True
        self._sent = False
        self._rows.pop(delivery.key, None)
        self._not_before = now_s + pause_s
        return False

    @property
    def pause_s(self) -> float:
        """Return for how long an attachment has to wait still; 0 when none has to."""
        return max(0.0, self._not_before - self._monotonic()) if self._waiting is not None else 0.0
