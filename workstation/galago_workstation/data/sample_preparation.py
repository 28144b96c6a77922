"""Samples on their way from a feed into batches, prepared ahead of time by workers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from galago_workstation.data.feed import ChangedInputs, Feed, Indices
from galago_workstation.data.worker_crew import Begin, WorkerCrew

_PIECE = 64
"""So many samples are prepared by one worker at a time: a large batch is shared among them."""


@dataclass(frozen=True, slots=True)
class WantedBatch:
    """The samples of a batch, and how often each was used before."""

    epoch: int
    """From 0."""
    turn: int
    """Which time through the set, from 0."""
    indices: Indices
    """``(n,)``: positions of the samples."""
    uses: Indices
    """``(n,)``: which time each of them is used, which decides how it is changed."""


@dataclass(frozen=True, slots=True)
class _Piece:
    """Some samples of a batch: a worker's job."""

    indices: Indices
    uses: Indices
    last: bool
    """The batch ends with it."""


class SamplePreparation:
    """Prepares batches, in order; the same bytes with any number of workers.

    Args:
        feed: Whose samples these are.
        workers: Processes that prepare samples ahead of time; 0: they are prepared when they are asked for.

    Raises:
        LinkError: The system refuses a process.
    """

    def __init__(self, feed: Feed, workers: int = 0) -> None:
        self._feed = feed
        self._crew: WorkerCrew[_Piece, ChangedInputs] = WorkerCrew(self._changed, workers, feed.name)

    def close(self) -> None:
        """End the workers."""
        self._crew.close()

    def of(self, batches: Iterable[WantedBatch]) -> Iterator[tuple[WantedBatch, ChangedInputs]]:
        """Yield each batch with its inputs; ``batches`` are taken ahead of time.

        A newer call ends an older one.

        Raises:
            GalagoError: What the feed raises.
            DeviceError: TRAIN_CRASHED; a worker died, or could not go on, at a sample that is named.
        """
        if not len(self._crew):
            for batch in batches:
                yield batch, self._changed(_Piece(batch.indices, batch.uses, True), None)
            return
        taken: list[WantedBatch] = []

        def pieces() -> Iterator[_Piece]:
            for batch in batches:
                taken.append(batch)
                count = len(batch.indices)
                for start in range(0, count, _PIECE):
                    part = slice(start, start + _PIECE)
                    yield _Piece(batch.indices[part], batch.uses[part], start + _PIECE >= count)

        parts: list[ChangedInputs] = []
        for piece, changed in self._crew.results(pieces()):
            parts.append(changed)
            if piece.last:
                yield taken.pop(0), _together(parts)
                parts = []

    def _changed(self, piece: _Piece, begin: Begin | None) -> ChangedInputs:
        numbers = np.unique(piece.uses)
        if len(numbers) == 1:  # always, unless labels are balanced
            return self._feed.augmented(int(numbers[0]), piece.indices, begin)
        rows = [np.flatnonzero(piece.uses == number) for number in numbers]
        changed = _together(
            [
                self._feed.augmented(int(number), piece.indices[mine], begin)
                for number, mine in zip(numbers, rows, strict=True)
            ]
        )
        back = np.argsort(np.concatenate(rows))
        return ChangedInputs(changed.inputs[back], changed.partners[back], changed.shares[back])


def _together(parts: Sequence[ChangedInputs]) -> ChangedInputs:
    if len(parts) == 1:
        return parts[0]
    return ChangedInputs(
        np.concatenate([part.inputs for part in parts]),
        np.concatenate([part.partners for part in parts]),
        np.concatenate([part.shares for part in parts]),
    )
