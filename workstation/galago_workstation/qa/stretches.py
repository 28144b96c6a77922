"""Arithmetic of stretches of stream time: half-open, whole nanoseconds, sorted, none overlapping another."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from galago_workstation.qa.replayed import Stretch


def united(stretches: Iterable[Stretch]) -> list[Stretch]:
    """Return the stretches in order, those that overlap or touch as one; empty ones are left out.

    >>> united([(5, 7), (0, 2), (2, 3), (6, 9), (4, 4)])
    [(0, 3), (5, 9)]
    """
    found: list[Stretch] = []
    for start, end in sorted(stretches):
        if start >= end:
            continue
        if found and start <= found[-1][1]:
            found[-1] = (found[-1][0], max(found[-1][1], end))
        else:
            found.append((start, end))
    return found


def without(stretches: Sequence[Stretch], holes: Sequence[Stretch]) -> list[Stretch]:
    """Return what is left of united ``stretches`` outside of united ``holes``.

    >>> without([(0, 10), (20, 30)], [(2, 4), (8, 25)])
    [(0, 2), (4, 8), (25, 30)]
    """
    found: list[Stretch] = []
    first = 0
    for start, end in stretches:
        while first < len(holes) and holes[first][1] <= start:
            first += 1
        at, number = start, first
        while number < len(holes) and holes[number][0] < end:
            if holes[number][0] > at:
                found.append((at, holes[number][0]))
            at = max(at, holes[number][1])
            number += 1
        if at < end:
            found.append((at, end))
    return found


def common(stretches: Sequence[Stretch], others: Sequence[Stretch]) -> list[Stretch]:
    """Return where united ``stretches`` and united ``others`` are both.

    >>> common([(0, 10), (20, 30)], [(5, 22), (29, 40)])
    [(5, 10), (20, 22), (29, 30)]
    """
    return without(stretches, without(stretches, others))


def length_ns(stretches: Iterable[Stretch]) -> int:
    """Return how long they are together."""
    return sum(end - start for start, end in stretches)


def clipped(stretches: Iterable[Stretch], end_ns: int) -> list[Stretch]:
    """Return what lies between 0 and ``end_ns``, united."""
    return united((max(0, start), min(end, end_ns)) for start, end in stretches)
