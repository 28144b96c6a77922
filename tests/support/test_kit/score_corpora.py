"""Random corpora of truths, events and scores that are the same on every machine: sha256 draws them.

On a grid of a quarter of a second, which floats hold exactly.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

NAMES = ("a", "b", "c")
LEVELS = 16
CORPORA = 200


class Drawn:
    """Numbers that follow from a seed."""

    def __init__(self, seed: str) -> None:
        self._seed, self._count = seed, 0

    def below(self, end: int, start: int = 0) -> int:
        """A whole number from ``start`` to below ``end``."""
        self._count += 1
        digest = hashlib.sha256(f"{self._seed} {self._count}".encode()).digest()
        return start + int.from_bytes(digest[:8], "big") % (end - start)

    def one_of(self, names: Sequence[str]) -> str:
        """One of these."""
        return names[self.below(len(names))]


def onsets(drawn: Drawn) -> list[tuple[float, str]]:
    """Up to 11 moments in 30 s, some of one label close by."""
    return sorted((drawn.below(120, 8) / 4, drawn.one_of(NAMES)) for _ in range(drawn.below(12)))


def onset_corpus(seed: int) -> list[tuple[list[tuple[float, str]], list[tuple[float, str]]]]:
    """What was there and what was told, in one to three recordings."""
    drawn = Drawn(f"onsets {seed}")
    return [(sorted({*onsets(drawn)}), onsets(drawn)) for _ in range(drawn.below(4, 1))]


def stretches(drawn: Drawn) -> list[tuple[int, int, str]]:
    """(start, end, label) in quarters of a second; some of one label overlap, which segments do not mind."""
    found = []
    for _ in range(drawn.below(10)):
        start = drawn.below(115)
        found.append((start, start + drawn.below(16, 1), drawn.one_of(NAMES)))
    return found


Stretches = list[tuple[int, int, str]]


def segment_corpus(seed: int) -> list[tuple[Stretches, Stretches]]:
    """What was there and what was told, in one to three recordings of 33 s."""
    drawn = Drawn(f"segments {seed}")
    return [(stretches(drawn), stretches(drawn)) for _ in range(drawn.below(4, 1))]


def score_rows(drawn: Drawn) -> list[int]:
    """Scores of 30 s, four a second, that rise and fall in steps of a sixteenth: 0 to 16."""
    value, rows = 0, []
    for _ in range(120):
        value = min(LEVELS, max(0, value + drawn.below(5, -4)))
        rows.append(value)
    return rows


def threshold_corpus(seed: int) -> tuple[list[int], list[int]]:
    """Scores, and the windows at which something began."""
    drawn = Drawn(f"thresholds {seed}")
    return score_rows(drawn), sorted({drawn.below(119) for _ in range(drawn.below(8, 1))})


def level_corpus(seed: int) -> tuple[dict[str, list[int]], Stretches]:
    """Scores of each label, and what was there: no label overlaps or touches itself, none is never there."""
    drawn = Drawn(f"levels {seed}")
    rows = {name: score_rows(drawn) for name in NAMES}
    there: Stretches = []
    for name in NAMES:
        at = drawn.below(40)
        while at < 115:
            end = at + drawn.below(6, 1)
            there.append((at, end, name))
            at = end + drawn.below(60, 1)
    return rows, there
