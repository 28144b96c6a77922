"""How a long training shows where it is: a live bar on a terminal, a line per epoch elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, Self

from galago_edge.contract.printable import on_one_line
from galago_workstation.training.curves import Epoch

if TYPE_CHECKING:
    from rich.progress import TaskID


class TrainingProgress(Protocol):
    """What training tells about itself."""

    def say(self, text: str) -> None:
        """Show one line."""
        ...

    def begin(self, epochs: int, steps: int, done: int = 0) -> None:
        """Training starts: so many epochs at most, of so many batches; ``done`` of them are done."""
        ...

    def step(self) -> None:
        """One more batch is done."""
        ...

    def epoch(self, epoch: Epoch, best: bool) -> None:
        """An epoch is done; ``best`` says that its weights are kept for now."""
        ...


class PlainProgress:
    """Lines only, for logs and pipes."""

    def __init__(self, echo: Callable[[str], object], clock: Callable[[], float] = time.monotonic) -> None:
        self._echo = echo
        self._clock = clock
        self._epochs = 0
        self._done = 0
        self._begun = 0.0

    def say(self, text: str) -> None:
        """Show one line."""
        self._echo(text)

    def begin(self, epochs: int, steps: int, done: int = 0) -> None:
        """Remember when it started."""
        self._epochs = epochs
        self._done = done
        self._begun = self._clock()

    def step(self) -> None:
        """Show nothing: a log wants no line for every batch."""

    def epoch(self, epoch: Epoch, best: bool) -> None:
        """Show the epoch's result and how long the rest takes if no epoch is spared."""
        since = epoch.epoch - self._done
        left_s = (self._clock() - self._begun) / since * (self._epochs - epoch.epoch)
        rest = f", {duration(left_s)} left at most" if epoch.epoch < self._epochs else ""
        self._echo(epoch_line(epoch, self._epochs, best) + rest)


class LiveProgress:
    """A bar with the time left, and a line per epoch above it."""

    def __init__(self) -> None:
        from rich import progress as rich

        self._bar = rich.Progress(
            rich.TextColumn("{task.description}"),
            rich.BarColumn(bar_width=None),
            rich.TextColumn("{task.percentage:3.0f} %"),
            rich.TimeElapsedColumn(),
            rich.TextColumn("left:"),
            rich.TimeRemainingColumn(),
            transient=True,
        )
        self._task: TaskID | None = None
        self._epochs = 0

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def say(self, text: str) -> None:
        """Show one line above the bar."""
        self._bar.console.print(on_one_line(text), markup=False, highlight=False)

    def begin(self, epochs: int, steps: int, done: int = 0) -> None:
        """Show the bar."""
        self._epochs = epochs
        self._task = self._bar.add_task(
            f"epoch {done + 1}/{epochs}", total=epochs * steps, completed=done * steps
        )

    def step(self) -> None:
        """Move the bar."""
        if self._task is not None:
            self._bar.advance(self._task)

    def epoch(self, epoch: Epoch, best: bool) -> None:
        """Show the epoch's result above the bar."""
        self.say(epoch_line(epoch, self._epochs, best))
        if self._task is not None and epoch.epoch < self._epochs:
            self._bar.update(self._task, description=f"epoch {epoch.epoch + 1}/{self._epochs}")


def epoch_line(epoch: Epoch, epochs: int, best: bool) -> str:
    """Return an epoch's result as one line.

    >>> epoch_line(Epoch(3, 0.5, 0.81, 0.4, 0.8346, 0.8346, 1e-3, 21.4, 8.0, 1.0), 20, best=True)
    'epoch  3/20: loss 0.5000, accuracy 81.00 %, validation 0.4000 and 83.46 % (best), 21 s'
    """
    mark = " (best)" if best else ""
    accuracy, balanced = f"{epoch.validation_accuracy:.2%}", f"{epoch.validation_balanced:.2%}"
    if balanced != accuracy:  # labels of unequal size
        accuracy += f" (balanced {balanced})"
    streams = ""
    if epoch.stream_recall is not None and epoch.stream_false_alarms_per_hour is not None:
        streams = (
            f", streams {epoch.stream_recall:.2%} found and "
            f"{epoch.stream_false_alarms_per_hour:.3g} false alarms an hour"
        )
    return (
        f"epoch {epoch.epoch:{len(str(epochs))}}/{epochs}: "
        f"loss {epoch.loss:.4f}, accuracy {epoch.accuracy:.2%}, "
        f"validation {epoch.validation_loss:.4f} and {accuracy}{streams}{mark}, "
        f"{duration(epoch.seconds)}"
    ).replace("%", " %")


def duration(seconds: float) -> str:
    """Return a length of time for people.

    >>> duration(21.4), duration(125), duration(7300)
    ('21 s', '2 min 5 s', '2 h 1 min')
    """
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
