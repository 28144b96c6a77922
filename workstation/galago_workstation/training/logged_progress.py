"""A training's progress, also written down elsewhere: what fails there is said, counted, and ends nothing."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Protocol

from galago_edge.contract.count_words import count_of
from galago_edge.contract.errors import system_words
from galago_workstation.run_folder import Run
from galago_workstation.training.curves import Epoch
from galago_workstation.training.progress import TrainingProgress

AGAIN_S = 60.0
"""After a failure, so long nothing is tried: a dead server must not slow a training down."""


WARNING = "Warning: "
"""How a line begins that nobody should miss."""


class RunLog(Protocol):
    """A place where a training is written down. Any method may raise whatever its library likes."""

    title: str
    """What it is called, with its place, and without what is secret."""

    def write(self, epochs: Sequence[Epoch]) -> None:
        """Write all epochs down, or raise; those of a call that raised come again."""
        ...

    def finish(self, run: Run | None) -> None:
        """Write down what is left: of the run, None when there is none, because the training failed."""
        ...


class LogAttempts:
    """One log, whose failures are told once, counted, and made up for when it works again.

    Args:
        log: The log.
        say: Is told.
        clock: Seconds.
    """

    def __init__(
        self, log: RunLog, say: Callable[[str], object], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._log, self._say, self._clock = log, say, clock
        self._pending: list[Epoch] = []
        self._failures = 0
        self._not_before = float("-inf")
        self._written: set[int] = set()

    def epoch(self, epoch: Epoch) -> None:
        """Write an epoch, and those that could not be written before."""
        self._pending.append(epoch)
        if self._clock() >= self._not_before:
            self._write()

    def finish(self, run: Run | None, epochs: Sequence[Epoch]) -> None:
        """Write the rest and close; say what is lost. ``epochs``: all of the training, also of before."""
        self._pending = [epoch for epoch in epochs if epoch.epoch not in self._written]
        whole = (not self._pending or self._write()) and self._attempt(lambda: self._log.finish(run))
        if whole and self._failures:
            self._say(f"{self._log.title}: failed {count_of(self._failures, 'time')}, and has everything now")
        elif not whole:
            lost = (
                f"{len(self._pending)} of {count_of(len(epochs), 'epoch')}"
                if self._pending
                else "the end of the run"
            )
            self._say(
                f"{WARNING}{self._log.title}: {lost} not written down, after "
                f"{count_of(self._failures, 'failure')}; the run folder has everything"
            )

    def _write(self) -> bool:
        if not self._attempt(lambda: self._log.write(self._pending)):
            return False
        self._written |= {epoch.epoch for epoch in self._pending}
        self._pending = []
        return True

    def _attempt(self, action: Callable[[], None]) -> bool:
        try:
            action()
        except Exception as error:  # noqa: BLE001 (libraries raise what they like, and a log ends nothing)
            self._failures += 1
            self._not_before = self._clock() + AGAIN_S
            if self._failures == 1:
                self._say(
                    f"{WARNING}{self._log.title} fails, the training goes on: {system_words(error)[:300]}"
                )
            return False
        return True


class LoggedProgress:
    """Passes progress on, and lets logs write it down."""

    def __init__(self, progress: TrainingProgress, logs: Sequence[RunLog]) -> None:
        self._progress = progress
        self.epochs: list[Epoch] = []
        """Those that were told of."""
        self._logs = [LogAttempts(log, progress.say) for log in logs]

    def say(self, text: str) -> None:
        """Show one line."""
        self._progress.say(text)

    def begin(self, epochs: int, steps: int, done: int = 0) -> None:
        """Training starts."""
        self._progress.begin(epochs, steps, done)

    def step(self) -> None:
        """One more batch is done."""
        self._progress.step()

    def epoch(self, epoch: Epoch, best: bool) -> None:
        """An epoch is done."""
        self._progress.epoch(epoch, best)
        self.epochs.append(epoch)
        for log in self._logs:
            log.epoch(epoch)

    def finish(self, run: Run | None, epochs: Sequence[Epoch]) -> None:
        """The run is there with these epochs, or, without one, the training failed."""
        for log in self._logs:
            log.finish(run, epochs)
