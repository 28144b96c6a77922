"""Keeps what native libraries print off the terminal, and gives it back as text."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
import warnings
from collections.abc import Iterator
from typing import BinaryIO


class Chatter:
    """What was printed while :func:`captured` was active."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def text(self) -> str:
        """Return everything printed so far, on either stream."""
        self._file.flush()
        position = self._file.tell()
        self._file.seek(0)
        text = self._file.read().decode("utf-8", "replace")
        self._file.seek(position)
        return text


@contextlib.contextmanager
def captured() -> Iterator[Chatter]:
    """Send the process's stdout and stderr into a temporary file until the block ends.

    The TFLite converter writes to file descriptors 1 and 2 from C++, where ``contextlib.redirect_stdout``
    does not reach. Python's own streams are redirected too, because they need not lie on those descriptors
    (a test runner, a notebook). Python warnings of the block are dropped: they are about TensorFlow's code.
    """
    with tempfile.TemporaryFile() as file, contextlib.ExitStack() as undo:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError, AttributeError):  # closed, or there is none
                stream.flush()
        for descriptor in (1, 2):
            undo.callback(_divert(descriptor, file.fileno()))
        text = os.fdopen(os.dup(file.fileno()), "w", encoding="utf-8", errors="replace", buffering=1)
        undo.enter_context(text)
        undo.enter_context(contextlib.redirect_stdout(text))
        undo.enter_context(contextlib.redirect_stderr(text))
        undo.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore")
        yield Chatter(file)


class _divert:  # noqa: N801 - called like a function; an object because it must remember
    """Point a descriptor elsewhere; calling the object points it back."""

    def __init__(self, descriptor: int, target: int) -> None:
        self._descriptor = descriptor
        try:
            self._saved: int | None = os.dup(descriptor)
        except OSError:  # a daemon may run with the descriptor closed
            self._saved = None
        os.dup2(target, descriptor)

    def __call__(self) -> None:
        if self._saved is None:
            os.close(self._descriptor)
        else:
            os.dup2(self._saved, self._descriptor)
            os.close(self._saved)
