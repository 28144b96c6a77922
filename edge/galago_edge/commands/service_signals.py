"""Signals while something runs for long: SIGINT and SIGTERM end it in order, SIGHUP reloads."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable, Iterator

from galago_edge.host.early_end import EarlyEnd


@contextlib.contextmanager
def signals_to(stop: Callable[[], None], reload: Callable[[], None], early_end: EarlyEnd) -> Iterator[None]:
    """Call ``stop`` at the first SIGINT or SIGTERM, as usual at a second; ``reload`` at each SIGHUP."""
    ends = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.getsignal(number) for number in (*ends, signal.SIGHUP)}
    if early_end.taken:
        before[signal.SIGTERM] = early_end.before

    def restore(numbers: tuple[signal.Signals, ...]) -> None:
        for number in numbers:
            signal.signal(number, before[number])

    def first(number: int, frame: object) -> None:
        restore(ends)
        stop()

    for number in ends:
        signal.signal(number, first)
    signal.signal(signal.SIGHUP, lambda number, frame: reload())
    if early_end.asked:  # and somebody's code has swallowed it
        stop()
    try:
        yield
    finally:
        restore((*ends, signal.SIGHUP))
