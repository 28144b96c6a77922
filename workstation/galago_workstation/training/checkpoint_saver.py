"""When a training is kept, so that it can go on there: after epochs, but not after each short one."""

from __future__ import annotations

import time
from typing import Any

from galago_workstation.training.checkpoint import Checkpoint, TrainingState
from galago_workstation.training.epoch_keeper import EpochKeeper

SAVED_EVERY_S = 20.0
"""What a training that is killed has to do again at most, beside the epoch that it was in."""


class CheckpointSaver:
    """Writes the checkpoint of one phase.

    Args:
        checkpoint: The file; None: another machine has it.
        keeper: Knows what was best.
        phase: Which one it is, from 0.
        batch_size: Samples of a batch.
    """

    def __init__(
        self, checkpoint: Checkpoint | None, keeper: EpochKeeper, phase: int, batch_size: int
    ) -> None:
        self._checkpoint = checkpoint
        self._keeper = keeper
        self._phase = phase
        self._batch_size = batch_size
        self._saved = time.monotonic()

    def save(self, first: int, over: bool, network: Any, optimizer: Any) -> None:
        """Write where the training is, if that is worth it.

        Args:
            first: The epoch with which the phase began.
            over: The phase stops here.
            network: With its own weights, not their averages.
            optimizer: Of this phase.
        """
        if self._checkpoint is None or (not over and time.monotonic() - self._saved < SAVED_EVERY_S):
            return
        best = self._keeper.best
        assert best is not None
        self._checkpoint.save(
            TrainingState(
                phase=self._phase,
                phase_first=first,
                phase_over=over,
                batch_size=self._batch_size,
                epochs=tuple(self._keeper.epochs),
                best_epoch=best.epoch,
                variables=[variable.numpy() for variable in network.variables],
                optimizer=[variable.numpy() for variable in optimizer.variables],
                best_weights=self._keeper.best_weights,
            )
        )
        self._saved = time.monotonic()
