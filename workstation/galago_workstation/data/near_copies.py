"""Samples that are almost the same: every one compared with every other one by its thumbprint."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

PICTURE_ALIKE = 0.995
"""Correlation of 16 x 16 grey means: what was saved again or scaled has more."""
SOUND_ALIKE = 0.98
"""Correlation of the levels of 8 bands at 16 times. Of 15 sounds of the demo, as Ogg Vorbis, 14 have 0.98 and
more, the least 0.96: tones in silence change most."""
_ROWS = 256
"""Compared with all others at a time: 400 MB in all for 100,000 samples."""


@dataclass(frozen=True, slots=True)
class NearCopy:
    """A sample, and the one that is most like it, by their positions."""

    sample: int
    like: int
    alike: float
    """Correlation of their thumbprints."""


@dataclass(slots=True)
class NearCopies:
    """Samples that are almost the same as others: each once, under the first of these that is true."""

    other_label: list[NearCopy] = field(default_factory=list)
    """As one that has another label."""
    other_part: list[NearCopy] = field(default_factory=list)
    """As one on another side of the split."""
    same: list[NearCopy] = field(default_factory=list)
    """As one of the same label and part, which comes before it."""


def near_copies(
    prints: Sequence[npt.NDArray[np.float32]],
    labels: Sequence[int],
    parts: Sequence[int],
    alike: float,
    advance: Callable[[int], None] = lambda _: None,
) -> NearCopies:
    """Compare all samples with all others.

    Args:
        prints: One for each sample, of one length each, and of unit length; all zeros are like none.
        labels: One for each sample.
        parts: One for each sample, as a number.
        alike: Smallest correlation that counts.
        advance: Is told how many samples were compared.
    """
    found = NearCopies()
    if not prints:
        return found
    matrix = np.stack(prints)
    label_of, part_of, places = np.asarray(labels), np.asarray(parts), np.arange(len(matrix))
    for start in range(0, len(matrix), _ROWS):
        rows = slice(start, start + _ROWS)
        products = matrix[rows] @ matrix.T
        other_label = label_of[rows, None] != label_of
        other_part = ~other_label & (part_of[rows, None] != part_of)
        same = ~other_label & ~other_part & (places[rows, None] > places)
        told: set[int] = set()
        for kind, where in (
            (found.other_label, other_label),
            (found.other_part, other_part),
            (found.same, same),
        ):
            masked = np.where(where, products, -1.0)
            best = masked.argmax(axis=1)
            for row, column in enumerate(best.tolist()):
                correlation = float(masked[row, column])
                if correlation >= alike and row not in told:
                    told.add(row)
                    kind.append(NearCopy(start + row, column, min(correlation, 1.0)))
        advance(min(start + _ROWS, len(matrix)))
    return found
