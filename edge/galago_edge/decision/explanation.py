"""Why a label gave an event at some time, or gave none: what decided, with its numbers.

The way from scores to events has few stages (:mod:`galago_edge.decision.decider`), so the answer is found by
going through them: was anything seen at all, was the model run, had smoothing seen enough, how far did the
smoothed score come, for how many windows, what of the refractory time. One code for a device's log and for
stored replays.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from galago_edge.contract.manifest import Label, LabelPolicy
from galago_edge.contract.streams import Gap
from galago_edge.decision.activation import ONE, to_q16
from galago_edge.decision.label_track import NOT_FIRED, LabelTrack, OnPeriods

_NS_PER_MS = 1_000_000
_SCORE_DIGITS = 6

Number = int | float | str


class DecidedBy(enum.StrEnum):
    """What decided; stable words."""

    GIVEN = "given"
    """There was an event."""
    LATE = "late"
    """The label turned on in time, and became an event only later."""
    BACKGROUND = "background"
    """A background label never becomes an event."""
    OUTSIDE = "outside"
    """The stream has no window there, and no gap."""
    GAP = "gap"
    """Nobody watched."""
    GATE = "gate"
    """The activity gate was closed: the model was not run."""
    WARM_UP = "warm_up"
    """Smoothing had not seen enough windows since the start or a gap."""
    THRESHOLD = "threshold"
    """The smoothed score did not reach ``on``."""
    COUNT = "count"
    """It was on, for fewer windows than ``min_count``."""
    REFRACTORY = "refractory"
    """It was on for long enough, within the refractory time of an earlier event."""
    STILL_ON = "still_on"
    """It was on since an earlier event, and fires once per on-period."""


@dataclass(frozen=True, slots=True)
class LabelHeard:
    """What one label's policy had before it, over one stream from its start."""

    label: Label
    """With the policy that decided, overrides included."""
    track: LabelTrack
    skipped: npt.NDArray[np.bool_]
    """Shape ``(windows,)``: the activity gate was closed."""
    gaps: Sequence[Gap] = ()
    by_manifest: LabelPolicy | None = None
    """The policy of the manifest, where the device has overridden it."""


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why there was an event, or none, in a stretch of stream time."""

    label: str
    from_ns: int
    """Windows that end from here on ..."""
    to_ns: int
    """... to here, both included, were looked at."""
    cause: DecidedBy
    policy: LabelPolicy
    """That decided."""
    facts: Mapping[str, Number] = field(default_factory=dict)
    """The numbers; which ones a cause has: docs/qa-why.md. Times are stream time in ns, scores 0 to 1."""
    override_decided: bool = False
    """The manifest's own policy would have given an event, or this device's override alone gave it."""


def explain(heard: LabelHeard, from_ns: int, to_ns: int) -> Explanation:
    """Return what decided on a label in the windows that end from ``from_ns`` to ``to_ns``.

    Raises:
        ValueError: ``to_ns`` lies before ``from_ns``.
    """
    if to_ns < from_ns:
        raise ValueError(f"the stretch ends at {to_ns}, before it begins at {from_ns}")
    cause, facts = _cause(heard, from_ns, to_ns)
    override = False
    if heard.by_manifest is not None and not heard.label.background:
        first, stop = _reach(heard.track, from_ns, to_ns)
        by_device = fires_within(heard.track, heard.label.policy, first, stop)
        by_manifest = fires_within(heard.track, heard.by_manifest, first, stop)
        override = (by_device is None) != (by_manifest is None)
    return Explanation(heard.label.name, from_ns, to_ns, cause, heard.label.policy, facts, override)


def fires_within(track: LabelTrack, policy: LabelPolicy, first: int, stop: int) -> int | None:
    """Return the first window from ``first`` to before ``stop`` at which a policy gives an event."""
    events = track.on_periods(policy).events()
    place = int(np.searchsorted(events, first))
    return int(events[place]) if place < len(events) and events[place] < stop else None


def _reach(track: LabelTrack, from_ns: int, to_ns: int) -> tuple[int, int]:
    """Return the first window that is looked at, and the one behind the last."""
    ends = track.end_ns
    return int(np.searchsorted(ends, from_ns)), int(np.searchsorted(ends, to_ns, "right"))


def reach_of(heard: LabelHeard, found: Explanation) -> tuple[int, int]:
    """Return the first window that an explanation is about, and the one behind the last."""
    return _reach(heard.track, found.from_ns, found.to_ns)


def _cause(heard: LabelHeard, from_ns: int, to_ns: int) -> tuple[DecidedBy, dict[str, Number]]:
    track, policy = heard.track, heard.label.policy
    first, stop = _reach(track, from_ns, to_ns)
    if first == stop:
        return _unseen(heard.gaps, from_ns, to_ns)
    if heard.label.background:
        return DecidedBy.BACKGROUND, {"windows": stop - first}
    periods = track.on_periods(policy)
    touching = np.flatnonzero((periods.start < stop) & (periods.stop > first)).tolist()
    if touching:
        return _of_on_periods(heard, periods, touching, first, stop)
    return _never_on(heard, first, stop)


def _unseen(gaps: Sequence[Gap], from_ns: int, to_ns: int) -> tuple[DecidedBy, dict[str, Number]]:
    touching = [gap for gap in gaps if gap.from_ns <= to_ns and gap.to_ns > from_ns]
    if not touching:
        return DecidedBy.OUTSIDE, {}
    gap = max(touching, key=lambda one: min(one.to_ns, to_ns) - max(one.from_ns, from_ns))
    return DecidedBy.GAP, {"gap_from_ns": gap.from_ns, "gap_to_ns": gap.to_ns, "gap_cause": gap.cause}


def _of_on_periods(
    heard: LabelHeard, periods: OnPeriods, touching: Sequence[int], first: int, stop: int
) -> tuple[DecidedBy, dict[str, Number]]:
    """Explain what became of the on-periods that touch the stretch; the best of them speaks."""
    track, policy = heard.track, heard.label.policy
    ranked: list[tuple[int, DecidedBy, dict[str, Number]]] = []
    for period in touching:
        start, end, fired = (int(part[period]) for part in (periods.start, periods.stop, periods.fired))
        facts: dict[str, Number] = {
            "on_ns": int(track.end_ns[start]),
            "on_windows": end - start,
            "score": _smoothed(track, policy, start, end),
            "peak_ns": int(track.end_ns[_peak(track, policy, start, end)]),
        }
        if end < len(track):
            facts["off_ns"] = int(track.end_ns[end])
        if first <= fired < stop:
            ranked.append((0, DecidedBy.GIVEN, facts | {"event_ns": int(track.end_ns[fired])}))
        elif fired >= stop:
            late: dict[str, Number] = {"event_ns": int(track.end_ns[fired])}
            late["needed_windows"] = policy.min_count
            ranked.append((1, DecidedBy.LATE, facts | late | _due(track, periods, period, policy)))
        elif fired != NOT_FIRED:
            seen = slice(fired, min(end, stop))
            lowest = int(track.sums(policy.smoothing_windows)[seen].min())
            earlier: dict[str, Number] = {
                "event_ns": int(track.end_ns[fired]),
                "lowest": round(lowest / policy.smoothing_windows / ONE, _SCORE_DIGITS),
                "off": policy.off,
            }
            ranked.append((2, DecidedBy.STILL_ON, facts | earlier))
        elif end - start < policy.min_count:
            ranked.append((4, DecidedBy.COUNT, facts | {"needed_windows": policy.min_count}))
        else:
            ranked.append((3, DecidedBy.REFRACTORY, facts | _due(track, periods, period, policy)))
    _, cause, facts = min(ranked, key=lambda one: one[0])
    return cause, facts


def _due(track: LabelTrack, periods: OnPeriods, period: int, policy: LabelPolicy) -> dict[str, Number]:
    """Return the event before an on-period, and when its refractory time ended."""
    before = periods.fired[:period]
    before = before[before >= 0]
    if not len(before):
        return {}
    event_ns = int(track.end_ns[before[-1]])
    due_ns = event_ns + policy.refractory_ms * _NS_PER_MS
    return {"before_ns": event_ns, "due_ns": due_ns, "refractory_ms": policy.refractory_ms}


def _never_on(heard: LabelHeard, first: int, stop: int) -> tuple[DecidedBy, dict[str, Number]]:
    track, policy = heard.track, heard.label.policy
    length = policy.smoothing_windows
    skipped = heard.skipped[first:stop]
    if skipped.all():
        return DecidedBy.GATE, {"skipped": int(skipped.sum()), "windows": stop - first}
    sums = track.sums(length)
    warm = np.flatnonzero(sums[first:stop] < 0) + first
    would = _warm_mean(track, warm, policy)
    if len(warm) == stop - first or would >= policy.on > _level(sums[first:stop].max(), length):
        begin = int(track.begins[np.searchsorted(track.begins, warm[-1], "right") - 1])
        return DecidedBy.WARM_UP, {
            "windows_seen": int(warm[-1]) - begin + 1,
            "needed_windows": length,
            "mean_so_far": would,
            "since_ns": int(track.end_ns[begin]),
        }
    peak = first + int(np.argmax(sums[first:stop]))
    used = slice(peak - length + 1, peak + 1)
    score = _level(int(sums[peak]), length)
    return DecidedBy.THRESHOLD, {
        "score": score,
        "peak_ns": int(track.end_ns[peak]),
        "on": policy.on,
        "short": round(policy.on - score, _SCORE_DIGITS),
        "held_windows": _held_from(track, peak, policy),
        "needed_windows": policy.min_count,
        "best_window": round(int(track.q16[first:stop].max()) / ONE, _SCORE_DIGITS),
        "skipped_in_mean": int(heard.skipped[used].sum()),
    }


def _held_from(track: LabelTrack, peak: int, policy: LabelPolicy) -> int:
    """Return for how many windows it would have been on, had the peak turned it on."""
    sums = track.sums(policy.smoothing_windows)
    later = track.begins[np.searchsorted(track.begins, peak, "right") :]
    stop = int(later[0]) if len(later) else len(track)
    lowest = min(to_q16(policy.off) * policy.smoothing_windows, int(sums[peak]))
    fallen = np.flatnonzero(sums[peak:stop] < lowest)
    return int(fallen[0]) if len(fallen) else stop - peak


def _warm_mean(track: LabelTrack, warm: npt.NDArray[np.int64], policy: LabelPolicy) -> float:
    """Return the highest mean of what there was so far, of windows in warm-up; 0 without any."""
    best = 0.0
    for window in warm[-policy.smoothing_windows :].tolist():
        begin = int(track.begins[np.searchsorted(track.begins, window, "right") - 1])
        best = max(best, float(track.q16[begin : window + 1].mean()) / ONE)
    return round(best, _SCORE_DIGITS)


def _peak(track: LabelTrack, policy: LabelPolicy, start: int, stop: int) -> int:
    return start + int(np.argmax(track.sums(policy.smoothing_windows)[start:stop]))


def _smoothed(track: LabelTrack, policy: LabelPolicy, start: int, stop: int) -> float:
    peak = int(track.sums(policy.smoothing_windows)[_peak(track, policy, start, stop)])
    return _level(peak, policy.smoothing_windows)


def _level(total: int, length: int) -> float:
    return round(max(int(total), 0) / length / ONE, _SCORE_DIGITS)
