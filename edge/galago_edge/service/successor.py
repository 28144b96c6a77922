"""The bundle that is to take over a stream, from the offer to the moment when it can."""

from __future__ import annotations

import threading

from galago_edge.contract.streams import NS_PER_S
from galago_edge.pipeline import DecidingStream
from galago_edge.service.build import Build

_TAKE_OVER_LONGEST_NS = 30 * NS_PER_S
"""Stream time after which a new bundle takes over, whether a label is on or not."""


class Successor:
    """One candidate at a time, the newest. Offered and withdrawn by any thread, the rest by the stream's."""

    def __init__(self) -> None:
        self.build: Build | None = None
        """What is tried now on every item beside the one that decides."""
        self._since_ns = 0
        self._at_once = False
        self._lock = threading.Lock()
        self._offered: Build | None = None
        self._offered_at_once = False
        self._withdrawn: str | None = None

    def offer(self, build: Build, *, at_once: bool) -> None:
        """Make ``build`` the candidate at the next item; one that was offered before is let go of."""
        with self._lock:
            before, self._offered = self._offered, build
            self._offered_at_once = at_once
        if before is not None:
            before.close()

    def withdraw(self, bundle_id: str) -> None:
        """Let go, at the next item, of a bundle that has not taken over."""
        with self._lock:
            self._withdrawn = bundle_id

    def adopt(self, ns: int) -> None:
        """Make what was offered the candidate from the stream time ``ns`` on, unless it was withdrawn."""
        with self._lock:
            offered, self._offered = self._offered, None
            at_once, withdrawn = self._offered_at_once, self._withdrawn
            self._withdrawn = None
        if self.build is not None and (offered is not None or self.build.bundle_id == withdrawn):
            self.build.close()
            self.build = None
        if offered is not None and offered.bundle_id == withdrawn:
            offered.close()
        elif offered is not None:
            self.build, self._since_ns, self._at_once = offered, ns, at_once
            offered.observe()

    def may_take_over(self, deciding: DecidingStream, ns: int, *, failing: bool) -> bool:
        """Tell whether the candidate can decide from here on, at the stream time ``ns``.

        ``deciding`` is what decides now, ``failing`` that it does not.
        """
        if self.build is None:
            return False
        if failing or self._at_once or ns - self._since_ns >= _TAKE_OVER_LONGEST_NS:
            return True
        # what is on now was told by the old bundle and would be told again by the new one
        told = any(level.active for level in deciding.levels() if not level.background)
        return not told and not self.build.stream.warm_up

    def taken(self) -> None:
        """Take that the candidate decides now: it is no candidate any more."""
        self.build, self._at_once = None, False

    def drop(self) -> None:
        """Let go of the candidate."""
        if self.build is not None:
            self.build.close()
        self.taken()

    def close(self) -> None:
        """Let go of the candidate and of what was offered."""
        self.drop()
        with self._lock:
            offered, self._offered = self._offered, None
        if offered is not None:
            offered.close()
