"""How a process ended."""

from __future__ import annotations

import signal
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Ending:
    """An exit code or a signal: one of both is None."""

    exit_code: int | None
    signal: str | None
    """Its name, such as ``SIGSEGV``; ``signal 40`` for one that has none."""

    @classmethod
    def of(cls, returncode: int) -> Ending:
        """Return what ``returncode`` of ``subprocess`` means: minus a signal's number, or an exit code."""
        if returncode < 0:
            return cls(None, signal_name(-returncode))
        return cls(returncode, None)

    def __str__(self) -> str:
        """Return it as the predicate of a sentence about the process."""
        if self.signal is not None:
            return f"was ended by {self.signal}"
        return f"ended with exit code {self.exit_code}"


def signal_name(number: int) -> str:
    """Return a signal's name."""
    try:
        return signal.Signals(number).name
    except ValueError:  # most of the real-time signals
        return f"signal {number}"
