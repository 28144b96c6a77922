"""Which event found which truth: one declared rule, one to one, as many as can be.

An event is admissible for a truth when it has its label and its decision time lies in ``[onset - pre,
offset + post]``, both ends included. The decision time is the event's ``end_ns``, when its last input had
arrived, never the start of a clip. ``post`` is applied once; by default it is the receptive field and one
hop, which is how late the first window can come that has seen the end. With a bound on the delay only events
up to ``onset + most_delay`` find; those behind it, in the time of a truth that nothing found, are late.

Among all matchings the largest counts, and among these the one with the least sum of delays. That sum is
the decision times of the events that are matched less the onsets of the truths that are: so only the order
of times matters for which are matched, and the costs are small exact integers. Pairs never cross
needlessly: each event in turn takes the truth whose time ends first, which is always possible (Glover
1967, Maximum matching in a convex bipartite graph).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np

from galago_workstation.qa.replayed import Replayed, Truth
from galago_workstation.qa.valid_time import hop_ns


class MatchingRule(msgspec.Struct, frozen=True, kw_only=True):
    """When an event counts for a truth."""

    pre_ns: int = 0
    """How early its decision may be."""
    post_ns: int | None = None
    """How long behind the end; None: each recording's receptive field and hop."""
    most_delay_ns: int | None = None
    """How long behind the onset an event may find at all; None: there is no bound but ``post_ns``."""

    def applied(self, replayed: Replayed) -> AppliedRule:
        """Return the rule with the numbers of a recording.

        Raises:
            CallerError: USAGE; ``post_ns`` is None and nobody knows the hop.
        """
        post_ns = replayed.receptive_ns + hop_ns(replayed) if self.post_ns is None else self.post_ns
        return AppliedRule(pre_ns=self.pre_ns, post_ns=post_ns, most_delay_ns=self.most_delay_ns)


class AppliedRule(msgspec.Struct, frozen=True, kw_only=True):
    """The rule as it holds for one recording."""

    pre_ns: int
    post_ns: int
    most_delay_ns: int | None = None

    def window(self, truth: Truth) -> tuple[int, int]:
        """Return the first and the last decision time at which a truth is found."""
        first, last = self.reach(truth)
        return first, last if self.most_delay_ns is None else min(last, truth.start_ns + self.most_delay_ns)

    def reach(self, truth: Truth) -> tuple[int, int]:
        """Return the first and the last decision time that belongs to a truth, found or late."""
        return truth.start_ns - self.pre_ns, truth.end_ns + self.post_ns


def matched(
    windows: Sequence[tuple[int, int]], onsets: Sequence[int], times: Sequence[int]
) -> dict[int, int]:
    """Return which event is matched to which truth, all of one label.

    Args:
        windows: First and last admissible decision time of each truth.
        onsets: When each truth began.
        times: Decision time of each event.

    Returns:
        The number of the event by the number of the truth. Where truths begin, or events are decided, at the
        same time, the first counts.
    """
    found: dict[int, int] = {}
    for truths, events in _groups(windows, times):
        chosen = _chosen(truths, events, windows, onsets, times)
        found |= _paired(*chosen, windows, times)
    return found


def _groups(windows: Sequence[tuple[int, int]], times: Sequence[int]) -> list[tuple[list[int], list[int]]]:
    """Return truths whose windows hang together, with the events in them; the rest cannot be matched."""
    groups: list[tuple[list[int], list[int]]] = []
    until = None
    for truth in sorted(range(len(windows)), key=lambda number: (windows[number], number)):
        first, last = windows[truth]
        if until is None or first > until:
            groups.append(([], []))
            until = last
        until = max(until, last)
        groups[-1][0].append(truth)
    bounds = [(windows[truths[0]][0], max(windows[truth][1] for truth in truths)) for truths, _ in groups]
    at = 0
    for event in sorted(range(len(times)), key=lambda number: (times[number], number)):
        while at < len(bounds) and bounds[at][1] < times[event]:
            at += 1
        if at < len(bounds) and bounds[at][0] <= times[event]:
            groups[at][1].append(event)
    return [(truths, events) for truths, events in groups if events]


def _chosen(
    truths: Sequence[int],
    events: Sequence[int],
    windows: Sequence[tuple[int, int]],
    onsets: Sequence[int],
    times: Sequence[int],
) -> tuple[list[int], list[int]]:
    """Return the truths and the events that are matched. ``events`` are in order of time."""
    from scipy.optimize import linear_sum_assignment

    at = np.array([times[event] for event in events], np.int64)
    edges = np.array([windows[truth] for truth in truths], np.int64)
    admissible = (edges[:, :1] <= at) & (at <= edges[:, 1:])
    late = np.argsort(np.argsort([-onsets[truth] for truth in truths], kind="stable"), kind="stable")
    cost = late[:, None] + np.arange(len(events))  # the later the onset and the earlier the event, the better
    never = (len(truths) + len(events)) * (min(cost.shape) + 1)
    rows, columns = linear_sum_assignment(np.where(admissible, cost, never).astype(np.float64))
    pairs = [(row, column) for row, column in zip(rows, columns, strict=True) if admissible[row, column]]
    return [truths[row] for row, _ in pairs], [events[column] for column in sorted(c for _, c in pairs)]


def _paired(
    truths: Sequence[int],
    events: Sequence[int],
    windows: Sequence[tuple[int, int]],
    times: Sequence[int],
) -> dict[int, int]:
    """Pair truths and events that can all be matched: each event takes the truth that ends first."""
    waiting = sorted(truths, key=lambda truth: (windows[truth][1], windows[truth][0], truth))
    found: dict[int, Any] = {}
    for event in events:
        taken = next(truth for truth in waiting if windows[truth][0] <= times[event])
        waiting.remove(taken)
        found[taken] = event
    return found
