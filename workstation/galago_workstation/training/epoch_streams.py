"""Which epochs are judged by recordings, and which of them is the best: the limit first, then recall."""

from __future__ import annotations

import time
from typing import Any

from galago_workstation.evaluation.validation_streams import StreamFigures, ValidationStreams
from galago_workstation.training.curves import Epoch


class EpochStreams:
    """The table ``[validation]`` at work.

    Args:
        recordings: What epochs are judged by.
        limit_per_hour: Most false alarms an hour.
        every: The first epoch and every so many behind it are judged.
    """

    def __init__(self, recordings: ValidationStreams, limit_per_hour: float, every: int) -> None:
        self._recordings = recordings
        self._limit = limit_per_hour
        self._every = every
        self.seconds = 0.0
        """That judging took up to now."""

    def judge(self, epoch: int, network: Any) -> StreamFigures | None:
        """Return the figures of an epoch, counted from 1; None for one that is not judged."""
        if (epoch - 1) % self._every:
            return None
        began = time.monotonic()
        figures = self._recordings.judge(network)
        self.seconds += time.monotonic() - began
        return figures

    def goodness(self, epoch: Epoch) -> tuple[float, ...]:
        """Return what the best epoch has most of.

        Of those that hold the limit the one with the most recall, then the fewest false alarms; where none
        does, the one with the fewest false alarms; then the loss decides.
        """
        recall, rate = epoch.stream_recall, epoch.stream_false_alarms_per_hour
        if recall is None or rate is None:
            return (-1.0,)
        if self.holds(epoch):
            return (1.0, recall, -rate, -epoch.validation_loss)
        return (0.0, -rate, recall, -epoch.validation_loss)

    def holds(self, epoch: Epoch) -> bool:
        """Tell whether an epoch that was judged gives no more false alarms than allowed."""
        rate = epoch.stream_false_alarms_per_hour
        return rate is not None and rate <= self._limit

    def verdict(self, best: Epoch) -> str:
        """Return what is to be said of the epoch that is kept."""
        assert best.stream_recall is not None and best.stream_false_alarms_per_hour is not None
        said = (
            f"epoch {best.epoch}: {100 * best.stream_recall:.2f} % found and "
            f"{best.stream_false_alarms_per_hour:.3g} false alarms an hour in the validation streams"
        )
        if self.holds(best):
            return said
        return (
            f"Warning: no epoch holds [validation] false_alarms_per_hour = {self._limit:g}; kept is the one "
            f"with the fewest: {said}"
        )
