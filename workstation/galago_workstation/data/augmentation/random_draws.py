"""The random numbers of augmentation: each operation on each sample of each epoch has its own.

So a sample is changed in the same way whatever the batch, the order and the number of workers, and
switching one operation on or off leaves what the others do as it was.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class SampleDraws:
    """What decides all changes of one sample in one epoch."""

    seed: int
    epoch: int
    index: int
    """Position of the sample among the training samples."""

    def of(self, operation: str) -> np.random.Generator:
        """Return the generator of one operation, by its name."""
        # of an array numpy makes the same generator as of a tuple, in two thirds of the time
        entropy = (self.seed, self.epoch, self.index, zlib.crc32(operation.encode()))
        return np.random.Generator(np.random.PCG64(np.array(entropy, np.uint32)))


def spread(draw: float) -> float:
    """Return a draw from [0, 1) as one from [-1, 1).

    >>> spread(0.25)
    -0.5
    """
    return 2.0 * draw - 1.0


def between(draw: float, bounds: tuple[float, float]) -> float:
    """Return a draw from [0, 1) as one between two bounds.

    >>> between(0.25, (10.0, 30.0))
    15.0
    """
    return bounds[0] + draw * (bounds[1] - bounds[0])
