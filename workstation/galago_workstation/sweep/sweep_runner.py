"""Trainings of a sweep on this computer: each a process, a few at a time."""

from __future__ import annotations

import collections
import os
import selectors
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import ExitStack

from galago_edge.contract.errors import GalagoError
from galago_workstation.sweep.sweep_work import SweepOrder, SweepOutcome, sole_training, whole_run
from galago_workstation.training.curves import Epoch
from galago_workstation.training.logged_progress import WARNING
from galago_workstation.training.training_logs import TrainingLogs
from galago_workstation.training.training_process import TrainingProcess

_THREADS = "TF_NUM_INTRAOP_THREADS"


class OnceTold:
    """Passes on each line once: all trainings have the same data, and the same to tell of it."""

    def __init__(self, echo: Callable[[str], object]) -> None:
        self._echo = echo
        self._told: set[str] = set()

    def say(self, text: str) -> None:
        """Show one line, once."""
        if text not in self._told:
            self._told.add(text)
            self._echo(text)


class PreparationProgress:
    """Passes on what a training tells before it begins, and warnings; the rest the sweep tells itself."""

    def __init__(self, name: str, lines: OnceTold) -> None:
        self._name = name
        self._lines = lines
        self._begun = False

    def say(self, text: str) -> None:
        """Show one line."""
        if not self._begun:
            self._lines.say(text)
        elif text.startswith(WARNING):
            self._lines.say(f"{self._name}: {text}")

    def begin(self, epochs: int, steps: int, done: int = 0) -> None:
        """Be quiet from now on."""
        self._begun = True

    def step(self) -> None:
        """Show nothing."""

    def epoch(self, epoch: Epoch, best: bool) -> None:
        """Show nothing."""


def train_here(
    orders: Sequence[SweepOrder],
    jobs: int,
    *,
    say: Callable[[str], object],
    complain: Callable[[str], object],
) -> Generator[SweepOutcome, None, None]:
    """Yield how each order ended, in the order in which they end; at most ``jobs`` at a time.

    Several trainings at a time share the cores. When the iteration is left early, every process is ended; its
    next training goes on behind the last epoch that it kept.

    Args:
        orders: What to train.
        jobs: Trainings at a time.
        say: Is given what trainings tell, each line once.
        complain: Is given what libraries wrote to standard error, each line once.

    Raises:
        KeyboardInterrupt: A training was ended from outside.
    """
    waiting = collections.deque(orders)
    threads = _threads(min(jobs, len(orders)))
    lines, complaints = OnceTold(say), OnceTold(complain)
    with ExitStack() as stack:
        selector = stack.enter_context(selectors.DefaultSelector())
        while waiting or selector.get_map():
            while waiting and len(selector.get_map()) < jobs:
                order = waiting.popleft()
                try:
                    place = _Place(order, lines, threads)
                except GalagoError as error:
                    yield SweepOutcome.failed(order.name, error)
                    continue
                if place.process is None:
                    place.close()
                    yield SweepOutcome(name=order.name)
                    continue
                stack.callback(place.close)
                selector.register(place.process.link, selectors.EVENT_READ, place)
            for key, _ in selector.select() if selector.get_map() else ():
                place = key.data
                if place.process.take(place.progress):
                    continue
                selector.unregister(place.process.link)
                outcome = place.outcome(complaints.say)
                place.close()
                yield outcome


class _Place:
    """Where one training runs, locked against other sweeps."""

    def __init__(self, order: SweepOrder, lines: OnceTold, more_environment: Mapping[str, str]) -> None:
        self.order = order
        self.progress = PreparationProgress(order.name, lines)
        self.process: TrainingProcess | None = None
        """None: the run is there by now."""
        order.check_software()
        with ExitStack() as stack:
            stack.enter_context(sole_training(order))
            if order.fresh or whole_run(order.out, order.config_sha256) is None:
                self.process = stack.enter_context(
                    TrainingProcess(
                        order.config,
                        order.out,
                        fresh=order.fresh,
                        root=order.root,
                        logs=TrainingLogs(order.tensorboard),
                        more_environment=more_environment,
                    )
                )
            self._stack = stack.pop_all()

    def outcome(self, complain: Callable[[str], object]) -> SweepOutcome:
        """Return how it ended."""
        assert self.process is not None
        try:
            self.process.finish(complain)
        except GalagoError as error:
            return SweepOutcome.failed(self.order.name, error)
        return SweepOutcome(name=self.order.name)

    def close(self) -> None:
        """End it; twice does no harm."""
        self._stack.close()


def _threads(jobs: int) -> dict[str, str]:
    """Return what makes trainings share the cores; nothing where one has them all or somebody has said."""
    if jobs <= 1 or _THREADS in os.environ:
        return {}
    return {_THREADS: str(max(1, len(os.sched_getaffinity(0)) // jobs))}
