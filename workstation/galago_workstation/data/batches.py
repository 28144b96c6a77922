"""What training sees: every epoch all samples in a new order, each changed in a new way, under watch."""

from __future__ import annotations

import itertools
import zlib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from galago_edge.contract.errors import CallerError, Reason
from galago_workstation.data.feed import ChangedInputs, Feed, Indices
from galago_workstation.data.sample_order import sample_order
from galago_workstation.data.sample_preparation import SamplePreparation, WantedBatch
from galago_workstation.data.sample_reader import Inputs

WATCHED = 64
"""So many training samples are watched for what augmentation does to them."""
EVIDENCE = 256
"""After so many watched samples without any change, augmentation is declared dead."""


@dataclass(frozen=True, slots=True)
class SampleChange:
    """What augmentation did to the watched samples in one epoch."""

    size: float
    """Mean absolute difference to the unchanged input, in input codes."""
    fresh: float
    """Share of them that differ from what the previous epoch made of them; 1 in the first epoch."""


class Witness:
    """Watches some training samples on their way into the network.

    A no-op augmentation, or one whose random numbers repeat every epoch, trains without complaint and
    generalises worse; this is how it is noticed.
    """

    def __init__(self, feed: Feed) -> None:
        watched = np.unique(np.linspace(0, len(feed) - 1, min(WATCHED, len(feed))).astype(np.int64))
        self._plain = dict(zip(watched.tolist(), feed.plain(watched).astype(np.int16), strict=True))
        self._sizes: dict[int, list[float]] = defaultdict(list)
        self._hashes: dict[int, dict[int, int]] = defaultdict(dict)
        self._seen = 0
        self._unchanged = 0
        self._compared = 0
        self._repeated = 0

    def see(self, epoch: int, indices: Indices, inputs: npt.NDArray[Any]) -> None:
        """Note what of a batch is watched."""
        for row, index in enumerate(indices.tolist()):
            if index in self._plain:
                size = float(np.abs(inputs[row] - self._plain[index]).mean())
                self._sizes[epoch].append(size)
                self._hashes[epoch][index] = zlib.crc32(inputs[row].tobytes())

    def close(self, epoch: int) -> SampleChange:
        """Return what was seen in an epoch that is over (counted from 0)."""
        sizes, hashes = self._sizes.pop(epoch, []), self._hashes[epoch]
        before = self._hashes.pop(epoch - 1, {})
        common = hashes.keys() & before.keys()
        repeated = sum(hashes[index] == before[index] for index in common)
        self._seen += len(sizes)
        self._unchanged += sizes.count(0.0)
        self._compared += len(common)
        self._repeated += repeated
        return SampleChange(
            size=float(np.mean(sizes)) if sizes else 0.0,
            fresh=1.0 - repeated / len(common) if common else 1.0,
        )

    def check(self) -> None:
        """Complain when the evidence says that augmentation does nothing.

        Raises:
            CallerError: CONFIG_BAD.
        """
        for seen, bad, what in (
            (self._seen, self._unchanged, "leaves every input as it is"),
            (self._compared, self._repeated, "does the same in every epoch"),
        ):
            if seen >= EVIDENCE and bad == seen:
                raise CallerError(
                    Reason.CONFIG_BAD,
                    f"augmentation {what}: looked at {seen} inputs",
                    hint="choose stronger values in [augment], or leave the table out",
                )


class Batches:
    """The batches of every epoch, in order.

    Args:
        feed: Training samples.
        labels: Theirs, by position.
        classes: Number of labels.
        batch_size: Samples of a batch; at most all of them, and an even number: see :func:`trained_batch`.
        least_steps: An epoch has at least so many batches: it goes through a small set several times.
        seed: Decides the order.
        sampling: Whether samples are shown as often as they are there, or labels equally often.
        witness: Is shown the last time that an epoch goes through the set.
        preparation: Prepares the feed's samples; None: they are prepared where they are asked for.
        replicas: A batch is divided among so many devices, in equal and even shares.
        own: Which of these shares are made here; None: all of them.
    """

    def __init__(
        self,
        feed: Feed,
        labels: Sequence[int],
        *,
        classes: int,
        batch_size: int,
        least_steps: int = 1,
        seed: int,
        sampling: Literal["natural", "balanced"] = "natural",
        witness: Witness,
        preparation: SamplePreparation | None = None,
        replicas: int = 1,
        own: range | None = None,
    ) -> None:
        self._feed = feed
        self._preparation = SamplePreparation(feed) if preparation is None else preparation
        self._labels = np.asarray(labels, np.int32)
        self._classes = classes
        self.batch_size = trained_batch(batch_size, len(feed), replicas)
        """Samples of every batch, the shares of all devices together."""
        self._share = self.batch_size // replicas
        self._own = range(replicas) if own is None else own
        self._once = len(feed) // self.batch_size
        self.rounds = -(-max(least_steps, 1) // self._once)
        """How often an epoch goes through the set, each time in a new order and changed in a new way."""
        self._order = sample_order(sampling, self._labels, self._once * self.batch_size, seed)
        self._witness = witness

    @property
    def steps(self) -> int:
        """Batches per epoch. What does not fill a batch waits for the next order."""
        return self.rounds * self._once

    def of(self, epochs: range) -> Iterator[tuple[Inputs, npt.NDArray[np.float32]]]:
        """Yield inputs and targets of one share after the other; may be read ahead across epochs.

        All shares of a batch together are the same samples, changed in the same way, however many there are.
        Targets ``(n, classes)`` float32: the share of each label, 1 for the sample's own unless it is mixed.
        """
        for batch, changed in self._preparation.of(self._wanted(epochs)):
            if batch.turn % self.rounds == self.rounds - 1:
                self._witness.see(batch.epoch, batch.indices, changed.inputs)
            yield changed.inputs, self._targets(batch.indices, changed)

    def _wanted(self, epochs: range) -> Iterator[WantedBatch]:
        for epoch in epochs:
            for turn in range(epoch * self.rounds, (epoch + 1) * self.rounds):
                shown = self._order.turn(turn)
                for step, share in itertools.product(range(self._once), self._own):
                    first = step * self.batch_size + share * self._share
                    part = slice(first, first + self._share)
                    yield WantedBatch(epoch, turn, shown.indices[part], shown.uses[part])

    def _targets(self, indices: Indices, changed: ChangedInputs) -> npt.NDArray[np.float32]:
        targets = np.zeros((len(indices), self._classes), np.float32)
        rows = np.arange(len(indices))
        targets[rows, self._labels[indices]] = changed.shares
        targets[rows, self._labels[changed.partners]] += 1.0 - changed.shares  # may be the same label
        return targets


def trained_batch(wanted: int, samples: int, replicas: int = 1) -> int:
    """Return how many samples a batch has: ``wanted``, at most all, made even for each of the devices.

    oneDNN in TensorFlow 2.21 writes behind its memory where a convolution of few filters learns from an odd
    batch, one of a single sample too (docs/adr/0019-even-batches.md); even ones are as fast as any.

    Raises:
        CallerError: CONFIG_BAD; there are too few samples for so many devices.

    >>> trained_batch(64, 7), trained_batch(64, 100), trained_batch(1, 100), trained_batch(64, 100, 3)
    (6, 64, 2, 60)
    """
    least = 2 * replicas
    if replicas > 1 and samples < least:
        raise CallerError(
            Reason.CONFIG_BAD,
            f"{samples} samples to learn from are too few for {replicas} devices: each one needs two",
            hint="train on fewer devices (CUDA_VISIBLE_DEVICES=0, no TF_CONFIG)",
        )
    return min(max(least, min(wanted, samples) // least * least), samples)
