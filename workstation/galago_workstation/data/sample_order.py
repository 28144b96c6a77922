"""Which samples a turn through a data set shows, and in which order: stateless in seed and turn.

A turn is one way through the set; an epoch of a small set has several. ``use`` numbers the uses of a sample:
augmentation takes it for an epoch, so that a sample that is shown twice is never changed alike.
"""

from __future__ import annotations

from typing import Literal, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

Positions = npt.NDArray[np.int64]

_OF_LABEL = 1
"""Behind the numbers that decide a label's order; behind those that decide a turn's, NumPy thinks zeros."""


class TurnSamples(NamedTuple):
    """What a turn shows, in its order."""

    indices: Positions
    """Positions of samples, ``(n,)``."""
    uses: Positions
    """For each of them the how-manieth use of this sample it is, ``(n,)``; no pair comes twice."""


class SampleOrder(Protocol):
    """Decides what every turn shows."""

    def turn(self, number: int) -> TurnSamples:
        """Return what turn ``number``, counted from 0, shows: always as many samples."""
        ...


class NaturalOrder:
    """Every sample at most once a turn: labels occur as often as the data set has them.

    Args:
        samples: How many there are.
        shown: So many of them a turn shows; what is left waits for the next order.
        seed: Decides the orders.
    """

    def __init__(self, samples: int, shown: int, seed: int) -> None:
        self._samples, self._shown, self._seed = samples, shown, seed

    def turn(self, number: int) -> TurnSamples:
        """Return what a turn shows."""
        order = np.random.default_rng((self._seed, number)).permutation(self._samples)[: self._shown]
        return TurnSamples(order, np.full(len(order), number, np.int64))


class BalancedOrder:
    """Every label equally often, whatever there is of it.

    Class-balanced sampling: q = 0 in Kang et al., "Decoupling Representation and Classifier for Long-Tailed
    Recognition", ICLR 2020. Not by drawing, which leaves it to luck: over all turns the labels take their
    turns, and each shows its samples in one new order after the other. So at the end of any turn no label was
    shown more than once oftener than another, and no sample more than once oftener than another of its label.

    Args:
        labels: Of the samples, ``(samples,)``, each of ``0 ... classes - 1`` at least once or not at all.
        shown: So many a turn shows.
        seed: Decides the orders.
    """

    def __init__(self, labels: npt.NDArray[np.int32], shown: int, seed: int) -> None:
        self._of_label = [np.flatnonzero(labels == label) for label in np.unique(labels)]
        self._shown, self._seed = shown, seed

    def turn(self, number: int) -> TurnSamples:
        """Return what a turn shows."""
        places = np.arange(number * self._shown, (number + 1) * self._shown)  # among all that is ever shown
        which, at = places % len(self._of_label), places // len(self._of_label)
        indices, uses = np.empty_like(places), np.empty_like(places)
        for label in range(len(self._of_label)):
            mine = which == label
            if mine.any():
                indices[mine], uses[mine] = self._of_one(label, int(at[mine][0]), int(at[mine][-1]) + 1)
        order = np.random.default_rng((self._seed, number)).permutation(self._shown)
        return TurnSamples(indices[order], uses[order])

    def _of_one(self, label: int, start: int, stop: int) -> tuple[Positions, Positions]:
        """Return what a label shows from its place ``start`` to before ``stop``, and the uses."""
        samples = self._of_label[label]
        rounds = range(start // len(samples), -(-stop // len(samples)))
        orders = [
            np.random.default_rng((self._seed, label, one, _OF_LABEL)).permutation(samples) for one in rounds
        ]
        uses = np.repeat(np.array(rounds, np.int64), len(samples))
        part = slice(start - rounds.start * len(samples), stop - rounds.start * len(samples))
        return np.concatenate(orders)[part], uses[part]


def sample_order(
    sampling: Literal["natural", "balanced"], labels: npt.NDArray[np.int32], shown: int, seed: int
) -> SampleOrder:
    """Return the order that ``[train] sampling`` names."""
    if sampling == "balanced":
        return BalancedOrder(labels, shown, seed)
    return NaturalOrder(len(labels), shown, seed)
