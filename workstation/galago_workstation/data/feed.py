"""What training sees: every epoch all samples in a new order, each changed in a new way."""

from __future__ import annotations

import zlib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from galago_edge.contract.errors import CallerError, Reason
from galago_workstation.data.augment import augment_clip, augment_pictures, sample_rng
from galago_workstation.data.sample import Sample
from galago_workstation.data.sample_reader import AudioReader, ImageReader, Inputs
from galago_workstation.training_config import AudioAugment, ImageAugment

Indices = npt.NDArray[np.int64]

WATCHED = 64
"""So many training samples are watched for what augmentation does to them."""
EVIDENCE = 256
"""After so many watched samples without any change, augmentation is declared dead."""


class Feed(Protocol):
    """Training samples by their position."""

    def __len__(self) -> int: ...

    def plain(self, indices: Indices) -> Inputs:
        """Return model inputs without any change."""
        ...

    def augmented(self, epoch: int, indices: Indices) -> Inputs:
        """Return model inputs as the given epoch changes them."""
        ...


class PictureFeed:
    """Pictures are preprocessed once and changed afterwards."""

    def __init__(
        self, reader: ImageReader, samples: Sequence[Sample], options: ImageAugment, seed: int, folder: Path
    ) -> None:
        self._inputs = reader.inputs(samples, folder)
        self._options = options
        self._seed = seed

    def __len__(self) -> int:
        return len(self._inputs)

    def plain(self, indices: Indices) -> npt.NDArray[np.uint8]:
        """Return ``(n, height, width, channels)`` uint8."""
        return self._inputs[indices]

    def augmented(self, epoch: int, indices: Indices) -> npt.NDArray[np.uint8]:
        """Return ``(n, height, width, channels)`` uint8."""
        rngs = [sample_rng(self._seed, epoch, int(index)) for index in indices]
        return augment_pictures(self._inputs[indices], rngs, self._options)


class ClipFeed:
    """Clips are changed as sound; the frontend comes afterwards, every time."""

    def __init__(
        self, reader: AudioReader, samples: Sequence[Sample], options: AudioAugment, seed: int
    ) -> None:
        self._reader = reader
        self._clips = [reader.clip(sample) for sample in samples]
        self._samples = samples
        self._options = options
        self._seed = seed

    def __len__(self) -> int:
        return len(self._clips)

    def plain(self, indices: Indices) -> npt.NDArray[np.int8]:
        """Return ``(n, window_frames, mel_bands)`` int8, from the middle of each clip."""
        return self._reader.inputs([self._samples[index] for index in indices])

    def augmented(self, epoch: int, indices: Indices) -> npt.NDArray[np.int8]:
        """Return ``(n, window_frames, mel_bands)`` int8."""
        spec = self._reader.spec
        inputs = np.empty((len(indices), *self._reader.input_shape), np.int8)
        for row, index in enumerate(indices):
            window = augment_clip(
                self._clips[index],
                sample_rng(self._seed, epoch, int(index)),
                self._options,
                rate_hz=spec.sample_rate_hz,
                window_samples=spec.window_samples,
            )
            inputs[row] = self._reader.features(window)
        return inputs


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
        batch_size: Samples of a batch; at most all of them.
        least_steps: An epoch has at least so many batches: it goes through a small set several times.
        seed: Decides the order.
        witness: Is shown the last time that an epoch goes through the set.
    """

    def __init__(
        self,
        feed: Feed,
        labels: Sequence[int],
        *,
        batch_size: int,
        least_steps: int = 1,
        seed: int,
        witness: Witness,
    ) -> None:
        self._feed = feed
        self._labels = np.asarray(labels, np.int32)
        self._batch_size = min(batch_size, len(feed))
        self._once = len(feed) // self._batch_size
        self.rounds = -(-max(least_steps, 1) // self._once)
        """How often an epoch goes through the set, each time in a new order and changed in a new way."""
        self._seed = seed
        self._witness = witness

    @property
    def steps(self) -> int:
        """Batches per epoch. What does not fill a batch waits for the next order."""
        return self.rounds * self._once

    def of(self, epochs: range) -> Iterator[tuple[Inputs, npt.NDArray[np.int32]]]:
        """Yield inputs and labels of one batch after the other; may be read ahead across epochs."""
        for epoch in epochs:
            for turn in range(epoch * self.rounds, (epoch + 1) * self.rounds):
                order = np.random.default_rng((self._seed, turn)).permutation(len(self._feed))
                for step in range(self._once):
                    indices = order[step * self._batch_size : (step + 1) * self._batch_size]
                    inputs = self._feed.augmented(turn, indices)
                    if turn % self.rounds == self.rounds - 1:
                        self._witness.see(epoch, indices, inputs)
                    yield inputs, self._labels[indices]
