"""How much of a recording was really watched: the denominator of every rate.

For a label, the time of a recording is divided, each nanosecond once, in this order:

1. ``truncated``: the gap of that cause; what the recording promised and does not hold.
2. ``gap``: nobody watched, for another reason.
3. ``warm_up``: from the start of the first window after the start or a gap to the end of the window with
   which the label's smoothing is complete. Before it nothing can be decided.
4. ``undecided``: behind the last window, of the recording or before a gap; less than a hop when all is well.
5. ``ignored``: a person said not to judge. A decision looks back, so each such stretch goes on until what it
   held is out of a decision's sight: for ``post`` of the matching rule.
6. ``valid``: the rest.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import msgspec
import numpy as np

from galago_edge.contract.errors import CallerError, Reason
from galago_workstation.qa.replayed import Replayed, Stretch
from galago_workstation.qa.stretches import clipped, common, length_ns, united, without

NS_PER_HOUR = 3_600_000_000_000


class WatchedTime(msgspec.Struct, frozen=True, kw_only=True):
    """The time of one recording, or of many, in nanoseconds; the parts sum up to ``duration_ns``."""

    duration_ns: int = 0
    truncated_ns: int = 0
    gap_ns: int = 0
    warm_up_ns: int = 0
    undecided_ns: int = 0
    ignored_ns: int = 0
    valid_ns: int = 0

    @property
    def valid_hours(self) -> float:
        """The denominator of rates."""
        return self.valid_ns / NS_PER_HOUR

    @property
    def not_watched_ns(self) -> int:
        """What nobody decided on: all but what is valid or ignored."""
        return self.duration_ns - self.valid_ns - self.ignored_ns

    def __add__(self, other: WatchedTime) -> WatchedTime:
        names = WatchedTime.__struct_fields__
        return WatchedTime(**{name: getattr(self, name) + getattr(other, name) for name in names})


@dataclass(frozen=True, slots=True)
class Decidable:
    """When a label with so many windows of smoothing could be decided at all."""

    decided: tuple[Stretch, ...]
    """From the first decision to the last of each run of windows. A decision may lie at either end."""
    warm_up: tuple[Stretch, ...]

    def reaches(self, first_ns: int, last_ns: int) -> bool:
        """Tell whether there was a decision between two moments, both included."""
        return any(start <= last_ns and end >= first_ns for start, end in self.decided)


def hop_ns(replayed: Replayed) -> int:
    """Return the stream time from one window to the next: the median, for a camera's frames vary.

    0 where no window follows another.

    Raises:
        CallerError: USAGE; nobody knows it, for the scores were not stored.
    """
    scores = replayed.scores
    if scores is None:
        raise CallerError(
            Reason.USAGE,
            f"{replayed.recording}: no stored scores tell the hop, which the matching rule needs",
            hint="replay with scores, or say how late an event may come: --post",
        )
    hops = np.diff(scores.span[:, 3])[~scores.restart[1:]]
    return int(np.median(hops)) if len(hops) else 0


def decidable(replayed: Replayed, smoothing_windows: int) -> Decidable:
    """Return when a label with this smoothing could be decided.

    Without stored scores only the first window of each run is known to be warm-up.
    """
    decided, warm_up = [], []
    for start, first, last in _runs(replayed, smoothing_windows):
        end = last if first is None else first
        warm_up.append((start, end))
        if first is not None:
            decided.append((first, last))
    return Decidable(tuple(decided), tuple(united(warm_up)))


def watched_time(replayed: Replayed, smoothing_windows: int, ignored: Sequence[Stretch]) -> WatchedTime:
    """Divide the time of a recording. ``ignored``: as far as decisions see it, united."""
    whole = [(0, replayed.duration_ns)] if replayed.duration_ns > 0 else []
    end = replayed.duration_ns
    truncated = clipped(((gap.from_ns, gap.to_ns) for gap in replayed.gaps if gap.cause == "truncated"), end)
    gaps = without(clipped(((gap.from_ns, gap.to_ns) for gap in replayed.gaps), end), truncated)
    rest = without(without(whole, truncated), gaps)
    found = decidable(replayed, smoothing_windows)
    warm_up = common(rest, clipped(found.warm_up, end))
    decided = common(without(rest, warm_up), clipped(found.decided, end))
    unjudged = common(decided, clipped(ignored, end))
    known = length_ns(truncated) + length_ns(gaps) + length_ns(warm_up) + length_ns(decided)
    return WatchedTime(
        duration_ns=end,
        truncated_ns=length_ns(truncated),
        gap_ns=length_ns(gaps),
        warm_up_ns=length_ns(warm_up),
        undecided_ns=end - known,
        ignored_ns=length_ns(unjudged),
        valid_ns=length_ns(decided) - length_ns(unjudged),
    )


def _runs(replayed: Replayed, smoothing_windows: int) -> Iterator[tuple[int, int | None, int]]:
    """Yield start, first decision (None: none at all) and last decision of each run of windows."""
    scores = replayed.scores
    if scores is None:
        gaps = united((gap.from_ns, gap.to_ns) for gap in replayed.gaps)
        for start, end in without([(0, replayed.duration_ns)], gaps):
            first = start + replayed.receptive_ns
            yield start, first if first <= end else None, end
        return
    edges = [*np.flatnonzero(scores.restart).tolist(), len(scores.span)]
    starts, ends = scores.span[:, 2], scores.span[:, 3]
    for begin, behind in itertools.pairwise(edges):
        ready = begin + smoothing_windows - 1
        yield int(starts[begin]), int(ends[ready]) if ready < behind else None, int(ends[behind - 1])
