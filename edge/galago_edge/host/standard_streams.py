"""Standard input, output and error that whoever started this process had closed (``<&-``, ``>&-``).

The system gives a new file the lowest free number, so that the next file that is opened would be standard
input: a bundle would be taken for sound, and what a library writes to standard error would go into an output.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

_STREAMS = (("stdin", "r"), ("stdout", "w"), ("stderr", "w"))
"""By their numbers, and how each is used."""


def fill_closed() -> None:
    """Put the null device in the place of each that is closed, for this process and those that it starts.

    Called once, before any other file is opened. Whether one was closed is still known afterwards.

    Raises:
        OSError: There is no null device.
    """
    for fd, (name, mode) in enumerate(_STREAMS):
        try:
            os.fstat(fd)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # the lowest free number is this one
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open(mode, encoding="utf-8"))  # noqa: SIM115  to the end


def stdin_closed() -> bool:
    """Tell whether standard input was closed when Python began."""
    return sys.__stdin__ is None


def stdout_closed() -> bool:
    """Tell whether standard output was closed when Python began, and nothing else takes its place."""
    return sys.stdout is None or (sys.__stdout__ is None and getattr(sys.stdout, "name", None) == os.devnull)
