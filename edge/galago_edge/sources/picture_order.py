"""In which order the pictures of a folder come, and which numbers are missing between them."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

_DIGITS = re.compile(r"([0-9]+)")


@dataclass(frozen=True, slots=True)
class PictureOrder:
    """The names of a folder's pictures, and where each stands in the stream."""

    names: tuple[str, ...]
    """In the order of the stream."""
    indexes: tuple[int, ...]
    """Of each its frame index; a jump says that numbers are missing."""
    strays: tuple[str, ...] = ()
    """What does not fit the numbering of the others, and is left out."""
    doubt: dict[str, int] | None = None
    """Why numbers do not count: few ``numbers`` of a ``range``, or several ``numberings``."""

    @property
    def missing(self) -> int:
        """How many numbers are missing between the first and the last."""
        return self.indexes[-1] + 1 - len(self.indexes) if self.indexes else 0


def natural_key(name: str) -> tuple[list[str | int], str]:
    """Return what sorts names as people count: 1, 2, 10.

    >>> sorted(["img10.jpg", "img9.jpg", "img1.jpg"], key=natural_key)
    ['img1.jpg', 'img9.jpg', 'img10.jpg']
    """
    parts = _DIGITS.split(name)
    return [int(part) if place % 2 else part for place, part in enumerate(parts)], name


def order_pictures(names: Iterable[str]) -> PictureOrder:
    """Return the order of pictures with these file names.

    Names are *numbered* when more than half of them, and at least two, differ in one number only, whatever
    they end with. The index is the number then, counted from the first in steps of the numbers' greatest
    common divisor, and the other names are strays. Where more than half of these numbers are missing they
    are no numbering but dates, say; where several numberings share the names (of two cameras), none leads.
    Then, as for names without numbers, pictures follow one another.

    >>> order_pictures(["img1.jpg", "img2.jpg", "img4.jpg", "Thumbs.jpg"]).indexes
    (0, 1, 3)
    """
    ordered = sorted(names, key=natural_key)
    patterns = Counter(pattern for name in ordered for pattern, _ in _patterns(name))
    numbers = _numbering(ordered, patterns)
    if not numbers:
        several = sum(count > 1 for count in patterns.values())
        return _unnumbered(ordered, {"numberings": several} if several > 1 else None)
    kept: dict[int, str] = {}
    for name in ordered:
        if (number := numbers.get(name)) is not None:
            kept.setdefault(number, name)
    found = sorted(kept)
    step = math.gcd(*(number - found[0] for number in found)) or 1
    span = (found[-1] - found[0]) // step + 1
    if 2 * len(found) < span:
        return _unnumbered(ordered, {"numbers": len(found), "range": span})
    in_order = tuple(kept[number] for number in found)
    indexes = tuple((number - found[0]) // step for number in found)
    taken = set(in_order)
    return PictureOrder(in_order, indexes, tuple(name for name in ordered if name not in taken))


def _unnumbered(ordered: list[str], doubt: dict[str, int] | None) -> PictureOrder:
    return PictureOrder(tuple(ordered), tuple(range(len(ordered))), doubt=doubt)


def _numbering(names: list[str], patterns: Counter[tuple[str, str]]) -> dict[str, int]:
    """Return the number of each name that fits the numbering; nothing where there is none."""
    most = max(patterns.values(), default=0)
    if most < 2 or 2 * most <= len(names):
        return {}
    pattern = min(found for found, count in patterns.items() if count == most)
    return {name: number for name in names for found, number in _patterns(name) if found == pattern}


def _patterns(name: str) -> Iterator[tuple[tuple[str, str], int]]:
    """Yield each number of a name, with what stands before and behind it, the file's kind left out."""
    stem = name.rpartition(".")[0]
    for match in _DIGITS.finditer(stem):
        yield (stem[: match.start()], stem[match.end() :]), int(match[1])
