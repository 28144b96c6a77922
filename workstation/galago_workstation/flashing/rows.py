"""How a run shows itself: one row for each device on a terminal, else one line for each step."""

from __future__ import annotations

import contextlib
import re
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from galago_edge.contract.errors import disk_error
from galago_edge.contract.printable import on_one_line
from galago_workstation.flashing.device_session import Rows
from galago_workstation.flashing.results import Result

if TYPE_CHECKING:
    from rich.table import Table


class NoRows:
    """Nothing at all: for JSON."""

    def step(self, target: str, text: str) -> None:
        """Show nothing."""

    def still(self, target: str, text: str) -> None:
        """Show nothing."""

    def sent(self, target: str, done: int, total: int) -> None:
        """Show nothing."""

    def said(self, target: str, text: str) -> None:
        """Show nothing."""

    def ended(self, result: Result) -> None:
        """Show nothing."""


class PlainRows(NoRows):
    """One line for each step: for logs and pipes."""

    def __init__(self, echo: Callable[[str], object], width: int) -> None:
        self._echo = echo
        self._width = width
        self._lock = threading.Lock()

    def step(self, target: str, text: str) -> None:
        """Show it."""
        self._say(target, text)

    def ended(self, result: Result) -> None:
        """Show it."""
        self._say(result.target, result_line(result))

    def _say(self, target: str, text: str) -> None:
        # whoever listens may be gone, the devices are not: the results file tells what became of them
        with self._lock, contextlib.suppress(OSError):
            self._echo(f"{target:<{self._width}}  {text}")


class LoggedRows:
    """Shows what others show, and writes a file for each device with every step and what ssh printed."""

    def __init__(self, shown: Rows, folder: Path) -> None:
        """Write into ``folder``, which is made if needed.

        Raises:
            LinkError: It cannot be written.
        """
        self._shown = shown
        self._folder = folder
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise disk_error(error, f"make {folder}") from error

    def step(self, target: str, text: str) -> None:
        """Show and write it."""
        self._write(target, text)
        self._shown.step(target, text)

    def still(self, target: str, text: str) -> None:
        """Show it."""
        self._shown.still(target, text)

    def sent(self, target: str, done: int, total: int) -> None:
        """Show it."""
        self._shown.sent(target, done, total)

    def said(self, target: str, text: str) -> None:
        """Write it."""
        for line in text.splitlines():
            self._write(target, f"| {line}")

    def ended(self, result: Result) -> None:
        """Show and write it."""
        self._write(result.target, result_line(result))
        self._shown.ended(result)

    def _write(self, target: str, text: str) -> None:
        name = re.sub(r"[^A-Za-z0-9._@-]+", "_", target).strip("_") or "device"
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        # a log that cannot be written is no reason to leave a device half done
        with contextlib.suppress(OSError), (self._folder / f"{name}.log").open("a", encoding="utf-8") as log:
            log.write(f"{now} {text}\n")


@dataclass(slots=True)
class _Row:
    step: str = "waiting for its turn"
    done: int = 0
    total: int = 0
    began: float = field(default_factory=time.monotonic)
    first: int = -1
    result: Result | None = None

    def rate(self) -> str:
        passed = time.monotonic() - self.began
        moved = self.done - max(self.first, 0)
        if self.result is not None or not moved or passed < 0.1:
            return ""
        return f"{moved / passed / 1e6:.1f} MB/s"


class LiveRows(NoRows):
    """A table on the terminal that is redrawn a few times a second."""

    def __init__(self, names: Sequence[str]) -> None:
        self._rows = {name: _Row() for name in names}

    def step(self, target: str, text: str) -> None:
        """Show it."""
        self._rows[target].step = text

    def still(self, target: str, text: str) -> None:
        """Show it."""
        self.step(target, text)

    def sent(self, target: str, done: int, total: int) -> None:
        """Show a percentage and how fast it goes."""
        row = self._rows[target]
        if row.first < 0:
            row.first, row.began = done, time.monotonic()
        row.done, row.total = done, total

    def ended(self, result: Result) -> None:
        """Show it."""
        self._rows[result.target].result = result

    def __rich__(self) -> Table:
        """Return the table as it is now."""
        from rich.table import Table
        from rich.text import Text

        table = Table(box=None, padding=(0, 2, 0, 0))
        for title in ("device", "state", "", "MB/s", "code"):
            table.add_column(title)
        for name, row in self._rows.items():
            share = f"{100 * row.done // row.total} %" if row.total and row.result is None else ""
            text, code, style = row.step, "", ""
            if row.result is not None:
                text, code = row.result.outcome, row.result.reason
                style = "green" if row.result.exit == 0 else "yellow" if row.result.exit == 4 else "red"
            table.add_row(
                Text(on_one_line(name)),
                Text(on_one_line(text), style=style),
                share,
                row.rate().split(" ")[0],
                Text(on_one_line(code)),
            )
        return table


def result_line(result: Result) -> str:
    """Return how one device ended, in one line."""
    now = "has none of it" if result.active is None else f"{result.active} is active"
    if not result.known:
        now = f"last known active: {result.before}" if result.before else "what is active there is unknown"
    why = f": {result.message}" if result.message else ""
    code = f" [{result.reason}]" if result.reason else ""
    return f"{result.outcome}, {now}{why}{code}"


@contextlib.contextmanager
def shown(names: Sequence[str], echo: Callable[[str], object], *, as_json: bool) -> Iterator[Rows]:
    """Give what a command should show: rows where somebody watches, nothing beside JSON, else lines."""
    if as_json:
        yield NoRows()
    elif sys.stderr.isatty():
        from rich.console import Console
        from rich.live import Live

        rows = LiveRows(names)
        with Live(rows, console=Console(stderr=True), refresh_per_second=5, transient=True):
            yield rows
    else:
        yield PlainRows(echo, max(map(len, names), default=0))
