"""The smallest change of one label's policy that would have given an event in a stretch of a stream.

Every field is tried alone, from its value outwards, each time through the whole stream: what a policy
decides earlier changes what it can still decide later. A proposal is a policy that was tried and gave the
event, so it is right whatever it was derived from.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import msgspec
import numpy as np

from galago_edge.contract.manifest import LabelPolicy
from galago_edge.decision.activation import ONE, to_q16
from galago_edge.decision.explanation import Explanation, LabelHeard, fires_within, reach_of
from galago_edge.decision.label_track import LabelTrack

_STEP = 10_000
"""Thresholds are proposed in steps of 0.0001."""
_MOST_TRIED = 200
"""Values of one field; nearer ones come first."""
_MOST_SMOOTHING = 1_000
_NS_PER_MS = 1_000_000


@dataclass(frozen=True, slots=True)
class PolicyProposal:
    """A change that would have given the event."""

    field: str
    """``on``, ``off``, ``smoothing_windows``, ``min_count`` or ``refractory_ms``."""
    old: float
    new: float
    policy: LabelPolicy
    """The whole policy after it. Where ``on`` had to go below ``off``, ``off`` went with it."""
    event_ns: int
    """End of the window at which the event would have come."""

    @property
    def size(self) -> float:
        """How much the field changes, as a share of its value: by this proposals are ordered."""
        return abs(self.new - self.old) / (self.old or 1)


def proposals(heard: LabelHeard, found: Explanation) -> tuple[PolicyProposal, ...]:
    """Return for each field the nearest value that would have given the event, the smallest change first.

    Empty where there was an event, and where no policy would have given one. Scores that an activity gate
    has kept from the model count as 0 here too: nobody knows them.
    """
    first, stop = reach_of(heard, found)
    if first == stop or heard.label.background:
        return ()
    old = heard.label.policy
    track = _up_to(heard.track, stop)
    if fires_within(track, old, first, stop) is not None:
        return ()
    ways = (
        ("on", _lower_on(track, old, first, stop)),
        ("off", _other_off(track, old, first, stop)),
        ("smoothing_windows", _other_smoothing(old)),
        ("min_count", _with(old, "min_count", range(old.min_count - 1, 0, -1))),
        ("refractory_ms", _shorter_refractory(track, old, first, stop)),
    )
    given = []
    for name, tried in ways:
        for policy in _first_of(tried, _MOST_TRIED):
            window = fires_within(track, policy, first, stop)
            if window is not None:
                before, after = getattr(old, name), getattr(policy, name)
                given.append(PolicyProposal(name, before, after, policy, int(track.end_ns[window])))
                break
    return tuple(sorted(given, key=lambda one: one.size))


def _up_to(track: LabelTrack, stop: int) -> LabelTrack:
    """Return the track without what comes later, which decides nothing before it."""
    restart = np.zeros(stop, np.bool_)
    restart[track.begins[track.begins < stop]] = True
    return LabelTrack(track.q16[:stop], track.end_ns[:stop], restart)


def _lower_on(track: LabelTrack, old: LabelPolicy, first: int, stop: int) -> Iterator[LabelPolicy]:
    """Yield lower values of ``on``, each reached by one more window; below ``off`` it takes ``off`` along."""
    length = old.smoothing_windows
    sums = track.sums(length)[first:stop]
    levels = {_floor(total, length) for total in np.unique(sums[sums >= 0]).tolist()}
    for on in sorted((level for level in levels if level < old.on), reverse=True):
        yield msgspec.structs.replace(old, on=on, off=min(old.off, on))


def _other_off(track: LabelTrack, old: LabelPolicy, first: int, stop: int) -> Iterator[LabelPolicy]:
    """Yield higher and lower values of ``off``: it turns off before an event, or does not turn off within."""
    length = old.smoothing_windows
    sums = track.sums(length)
    begin = max(0, first - _MOST_TRIED)
    totals = np.unique(sums[begin:stop][sums[begin:stop] >= 0]).tolist()
    higher = {_above(total, length) for total in totals}
    lower = {_floor(total, length) for total in totals}
    values = {off for off in higher if old.off < off <= old.on} | {off for off in lower if off < old.off}
    yield from _with(old, "off", sorted(values, key=lambda off: abs(off - old.off)))


def _other_smoothing(old: LabelPolicy) -> Iterator[LabelPolicy]:
    now = old.smoothing_windows
    lengths = range(1, min(_MOST_SMOOTHING, 2 * now + 10) + 1)
    yield from _with(old, "smoothing_windows", sorted(set(lengths) - {now}, key=lambda n: (abs(n - now), n)))


def _shorter_refractory(track: LabelTrack, old: LabelPolicy, first: int, stop: int) -> Iterator[LabelPolicy]:
    """Yield shorter times: those that end with a window of the stretch, counted from an event before it."""
    free = track.on_periods(msgspec.structs.replace(old, refractory_ms=0)).events()
    earliest_ns = int(track.end_ns[first]) - old.refractory_ms * _NS_PER_MS
    before = track.end_ns[free[track.end_ns[free] >= earliest_ns]]
    waits = np.unique((track.end_ns[first:stop][None, :] - before[:, None]) // _NS_PER_MS)
    times = sorted({0, *waits[(waits >= 0) & (waits < old.refractory_ms)].tolist()}, reverse=True)
    if len(times) > _MOST_TRIED:  # as many as are tried, spread over all of them
        times = [times[at] for at in np.linspace(0, len(times) - 1, _MOST_TRIED).astype(int).tolist()]
    yield from _with(old, "refractory_ms", [ms for ms in times if ms < old.refractory_ms])


def _with(old: LabelPolicy, name: str, values: Iterable[float]) -> Iterator[LabelPolicy]:
    for value in values:
        yield msgspec.structs.replace(old, **{name: value})


def _first_of(policies: Iterable[LabelPolicy], count: int) -> Iterator[LabelPolicy]:
    for _, policy in zip(range(count), policies, strict=False):
        yield policy


def _floor(total: int, length: int) -> float:
    """Return the highest proposed threshold that so large a sum still reaches."""
    level = total * _STEP // (length * ONE)
    while level > 0 and to_q16(level / _STEP) * length > total:  # it is rounded to Q16 again
        level -= 1
    return level / _STEP


def _above(total: int, length: int) -> float:
    """Return the lowest proposed threshold that so large a sum does not reach."""
    level = total * _STEP // (length * ONE) + 1
    while to_q16(level / _STEP) * length <= total:
        level += 1
    return min(level / _STEP, 1.0)
