"""A few steps that belong together and are quickly done: what would end the process comes behind them."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from typing import Any

_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextlib.contextmanager
def held_signals() -> Iterator[None]:
    """Hold back Ctrl+C and its kind during the ``with`` block; behind it they have their effect.

    Blocking them would not do: the system gives a signal to any thread, and Python answers it in the main
    one. In other threads there is nothing to hold back.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    met: list[int] = []
    before: dict[int, Any] = {}
    try:
        for number in _ENDING:
            if signal.getsignal(number) not in (signal.SIG_IGN, None):
                before[number] = signal.signal(number, lambda met_now, _: met.append(met_now))
        yield
    finally:
        for ending, handler in before.items():
            signal.signal(ending, handler)
        for came in dict.fromkeys(met):
            signal.raise_signal(came)
