"""Which windows a human should label: those that say where the model is weak."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from galago_edge.contract.manifest import Label
from galago_edge.contract.settings import SamplesSettings
from galago_edge.contract.streams import NS_PER_S, WindowSeen
from galago_edge.decision import ONE, to_q16

Trigger = Literal["first", "flip", "near", "uncertain"]
_SURE = ONE // 2
"""A winner with less than half of the score is no answer, so no flip."""


@dataclass(frozen=True, slots=True)
class Found:
    """A window that is worth keeping."""

    trigger: Trigger
    label: int
    """Position of the label it is about."""
    window: WindowSeen


class Triggers:
    """Looks at the windows of one stream, in order. Counts stream time only.

    The strongest reason counts: ``first``, ``flip``, ``near``, ``uncertain``. Apart from ``first`` at most
    one window in ``min_interval_s`` is found.
    """

    def __init__(
        self, settings: SamplesSettings, labels: Sequence[Label], activation: Literal["softmax", "sigmoid"]
    ) -> None:
        """Prepare for scores in the order of ``labels``, whose policies hold this device's thresholds."""
        self._settings = settings
        self._positions = {label.name: index for index, label in enumerate(labels)}
        self._sigmoid = activation == "sigmoid"
        self._margin = to_q16(settings.margin)
        self._near = to_q16(settings.near_threshold)
        on = [2 * ONE + ONE if label.background else to_q16(label.policy.on) for label in labels]
        self._on = np.array(on, np.int64)  # a background label's is out of reach
        self._interval_ns = round(settings.min_interval_s * NS_PER_S)
        self._quiet_until_ns: int | None = None
        self.reset()

    def reset(self) -> None:
        """Start over after a gap: what lies on its two sides is not compared."""
        self._winners: tuple[int | None, int | None] = (None, None)
        self._before: WindowSeen | None = None

    def see(self, seen: WindowSeen, is_first: Callable[[int], bool]) -> Found | None:
        """Take the next window; return it, or the one before it, when it should be kept.

        ``is_first`` tells, once, whether an event of the label at this position is the first of its day.
        """
        if seen.skipped:
            self.reset()
            return None
        found = self._find(seen, is_first)
        if found is None:
            return None
        if found.trigger != "first":
            if self._quiet_until_ns is not None and seen.span.end_ns < self._quiet_until_ns:
                return None
            self._quiet_until_ns = seen.span.end_ns + self._interval_ns
        return found

    def _find(self, seen: WindowSeen, is_first: Callable[[int], bool]) -> Found | None:
        flip = self._flip(seen)
        if self._settings.first_of_class:
            for label in seen.fired:
                if is_first(self._positions[label]):
                    return Found("first", self._positions[label], seen)
        if flip is not None:
            return flip
        if not seen.warm_up:
            distances = np.abs(seen.smoothed - self._on)
            nearest = int(distances.argmin())
            if distances[nearest] <= self._near:
                return Found("near", nearest, seen)
        return self._uncertain(seen)

    def _flip(self, seen: WindowSeen) -> Found | None:
        """Return the window before when its answer stands alone between two equal ones."""
        winner: int | None = int(seen.scores.argmax())
        if seen.scores[winner] < _SURE:
            winner = None
        (first, middle), before = self._winners, self._before
        self._winners, self._before = (middle, winner), seen
        if not self._settings.flips or before is None or None in (first, middle, winner):
            return None
        if first != winner or middle == winner:
            return None
        assert middle is not None
        return Found("flip", middle, before)

    def _uncertain(self, seen: WindowSeen) -> Found | None:
        if self._sigmoid:  # yes and no of one label are the two answers: p and 1 - p
            distances = np.abs(2 * seen.scores - ONE)
            label = int(distances.argmin())
            return Found("uncertain", label, seen) if distances[label] <= self._margin else None
        second, best = np.partition(seen.scores, -2)[-2:].tolist()
        return Found("uncertain", int(seen.scores.argmax()), seen) if best - second <= self._margin else None
