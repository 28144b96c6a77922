"""Where in a stream two replays part: what the hash of a stage was, second by second.

A mark is the beginning of the running hash of everything up to there. From the first difference on all marks
differ, so the first that does says between which two moments it lies, without anything of the stage itself.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Self

from galago_edge.contract.streams import NS_PER_S

MARK_NS = NS_PER_S
"""Stream time of one cell."""
_HEX_DIGITS = 8
"""Of each mark: another content has the same with a probability of 2 to the power of -32, and then the next
one tells."""
_MOST = 2_048
"""Marks that are kept of one stage while it goes on; more are thinned."""
_TEXT = re.compile(rf"[1-9]\d{{0,18}}( \d{{1,19}}:[0-9a-f]{{{_HEX_DIGITS}}})*")


@dataclass(frozen=True, slots=True)
class StageMarks:
    """The marks of one stage, one for each group of cells in which it had anything."""

    every: int
    """Cells of a group; a power of two."""
    marks: tuple[tuple[int, str], ...]
    """The last cell of each group that had anything, ascending, and the hash of all up to its end."""

    def thinned(self, most: int, *, every: int = 1) -> Self:
        """Return at most ``most`` marks (1 or more), of groups of at least ``every`` cells, a power of two.

        Groups lie on a grid from time 0 and keep their last mark, so it does not matter how often, and when,
        marks were thinned before.
        """
        wanted, marks = max(self.every, every), self.marks
        while True:
            marks = tuple({cell // wanted: (cell, mark) for cell, mark in marks}.values())
            if len(marks) <= most:
                return type(self)(wanted, marks)
            wanted *= 2

    def __str__(self) -> str:
        """Return what a file holds: ``EVERY CELL:MARK CELL:MARK ...``."""
        return " ".join([str(self.every), *(f"{cell}:{mark}" for cell, mark in self.marks)])

    @classmethod
    def parsed(cls, text: str) -> Self:
        """Return what ``str`` has written.

        Raises:
            ValueError: It is something else.
        """
        if not _TEXT.fullmatch(text):
            raise ValueError(f"expected marks as EVERY CELL:MARK ..., found {text[:60]!r}")
        every, *rest = text.split(" ")
        pairs = [one.split(":") for one in rest]
        marks = tuple((int(cell), mark) for cell, mark in pairs)
        cells = [cell for cell, _ in marks]
        if int(every) & (int(every) - 1) or cells != sorted(set(cells)):
            raise ValueError("marks ascend, and lie apart by a power of two")
        return cls(int(every), marks)


def first_difference_ns(expected: StageMarks, found: StageMarks) -> tuple[int, int | None]:
    """Return between which two moments of stream time two different stages part, in nanoseconds, half-open.

    None: behind the last mark that both have, so at an end, or in what has no time.
    """
    every = max(expected.every, found.every)
    one, other = (side.thinned(max(len(side.marks), 1), every=every) for side in (expected, found))
    before = 0
    for group, mine, theirs in _groups(one, other):
        if mine != theirs:
            return before, (group + 1) * every * MARK_NS
        before = (group + 1) * every * MARK_NS
    return before, None


def _groups(one: StageMarks, other: StageMarks) -> Iterator[tuple[int, str | None, str | None]]:
    sides = [{cell // one.every: mark for cell, mark in side.marks} for side in (one, other)]
    for group in sorted({*sides[0], *sides[1]}):
        yield group, sides[0].get(group), sides[1].get(group)


class MarkedHash:
    """SHA-256 of one stage, with its marks; memory does not grow with the stream."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()
        self._cell = 0
        self._every = 1
        self._marks: list[tuple[int, str]] = []
        self._open = False

    def update(self, data: Any, at_ns: int) -> None:
        """Take what comes next, anything of bytes. What is older than the last counts as of its time."""
        cell = at_ns // MARK_NS
        if cell > self._cell:
            self._close()
            self._cell = cell
        self._hash.update(data)
        self._open = True

    def copy_hash(self) -> hashlib._Hash:
        """Return the hash of everything up to now, to go on with."""
        return self._hash.copy()

    def marks(self) -> StageMarks:
        """Return the marks up to now."""
        last = [(self._cell, self._mark())] if self._open else []
        return StageMarks(self._every, (*self._marks, *last)).thinned(_MOST)

    def _close(self) -> None:
        if not self._open:
            return
        self._marks.append((self._cell, self._mark()))
        self._open = False
        if len(self._marks) > _MOST:
            thinned = StageMarks(self._every, tuple(self._marks)).thinned(_MOST // 2)
            self._every, self._marks = thinned.every, list(thinned.marks)

    def _mark(self) -> str:
        return self._hash.hexdigest()[:_HEX_DIGITS]
