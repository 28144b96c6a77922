"""How converting and evaluating show where they are: lines, and on a terminal a bar with the time left."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from typing import Protocol

Advance = Callable[[int], None]
"""Is told how many of the total are done."""


class Report(Protocol):
    """What a long step tells about itself."""

    def say(self, text: str) -> None:
        """Show one line."""
        ...

    def track(self, title: str, total: int) -> contextlib.AbstractContextManager[Advance]:
        """Show a bar for as long as the block lasts."""
        ...


class PlainReport:
    """Lines only, for logs and pipes; none at all without ``echo``."""

    def __init__(self, echo: Callable[[str], object] = lambda _: None) -> None:
        self._echo = echo

    def say(self, text: str) -> None:
        """Show one line."""
        self._echo(text)

    @contextlib.contextmanager
    def track(self, title: str, total: int) -> Iterator[Advance]:
        """Show nothing: a log wants no bar."""
        yield lambda _: None


class LiveReport(PlainReport):
    """Lines, and a bar below them that goes when it is full."""

    @contextlib.contextmanager
    def track(self, title: str, total: int) -> Iterator[Advance]:
        """Show a bar."""
        from rich import progress as rich

        columns = (
            rich.TextColumn("{task.description}"),
            rich.BarColumn(bar_width=None),
            rich.MofNCompleteColumn(),
            rich.TextColumn("left:"),
            rich.TimeRemainingColumn(),
        )
        with rich.Progress(*columns, transient=True) as bar:
            task = bar.add_task(title, total=total)
            yield lambda done: bar.update(task, completed=done)


def on_terminal() -> bool:
    """Return whether somebody watches standard output."""
    return sys.stdout is not None and sys.stdout.isatty()  # a program may have none


def command_report(echo: Callable[[str], object], *, as_json: bool) -> Report:
    """Return what a command should use: nothing beside JSON, a bar only where somebody watches."""
    if as_json:
        return PlainReport()
    return LiveReport(echo) if on_terminal() else PlainReport(echo)
