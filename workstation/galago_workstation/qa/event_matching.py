"""Moments of two lists, matched one to one: as many pairs as can be, and among those the least total shift.

On a line the best matching of moments within a tolerance never crosses (two pairs that cross can be
exchanged without losing one and without a longer way), so one pass over both sorted lists finds it, in
integers, and the same lists always give the same pairs.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence

_Value = tuple[int, int]
_NEW, _OLD, _PAIR = 0, 1, 2
"""What the best matching of two beginnings does with their last moments: leave one out, or pair them."""


def match_moments(old: Sequence[int], new: Sequence[int], tolerance: int) -> list[tuple[int, int]]:
    """Return index pairs ``(in old, in new)``, in order: maximum bipartite, then of minimal total shift.

    Moments of both lists ascend, in nanoseconds; a pair is at most ``tolerance`` apart. Work and memory grow
    with the pairs within the tolerance, not with the product of the lengths. Of several best matchings the
    one is taken that leaves out later moments of ``new`` first.

    Raises:
        ValueError: A list does not ascend, or the tolerance is negative.

    >>> match_moments([0, 10], [9, 19], 10)
    [(0, 0), (1, 1)]
    """
    if tolerance < 0 or any(list(each) != sorted(each) for each in (old, new)):
        raise ValueError("moments ascend, and the tolerance is 0 or more")
    first = [bisect_left(new, moment - tolerance) for moment in old]
    last = [bisect_right(new, moment + tolerance) for moment in old]
    return _walked_back(_choices(old, new, first, last), first, last)


def _choices(
    old: Sequence[int], new: Sequence[int], first: Sequence[int], last: Sequence[int]
) -> list[bytearray]:
    """For each of ``old``: the best choice for each beginning of ``new`` that ends in its reach."""
    rows: list[bytearray] = []
    before: list[_Value] = [(0, 0)]  # of no moment of old; beginnings of new from ``begin`` on
    begin = 0
    for moment, low, high in zip(old, first, last, strict=True):
        values: list[_Value] = []
        choices = bytearray()
        for count in range(low, high + 1):
            best, choice = before[min(count - begin, len(before) - 1)], _OLD
            if count > low:
                pairs, way = before[min(count - 1 - begin, len(before) - 1)]
                paired = (pairs + 1, way - abs(moment - new[count - 1]))
                if paired > best:
                    best, choice = paired, _PAIR
                if values[-1] >= best:
                    best, choice = values[-1], _NEW
            values.append(best)
            choices.append(choice)
        rows.append(choices)
        before, begin = values, low
    return rows


def _walked_back(
    rows: Sequence[bytearray], first: Sequence[int], last: Sequence[int]
) -> list[tuple[int, int]]:
    pairs: list[tuple[int, int]] = []
    row = len(rows)
    count = last[-1] if rows else 0
    while row:
        count = min(count, last[row - 1])
        choice = rows[row - 1][count - first[row - 1]] if count > first[row - 1] else _OLD
        if choice == _NEW:
            count -= 1
            continue
        if choice == _PAIR:
            count -= 1
            pairs.append((row - 1, count))
        row -= 1
    return pairs[::-1]
