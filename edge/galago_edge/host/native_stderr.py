"""What C libraries write to standard error, held back for a moment and sorted."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Iterator
from functools import cache

_STDERR = 2
_lock = threading.Lock()


@contextlib.contextmanager
def hold_stderr(wanted: Callable[[bytes], bool]) -> Iterator[list[bytes]]:
    """Hold back what is written to file descriptor 2 meanwhile.

    Gives a list which, behind the ``with``, has the lines that are ``wanted``; all others are passed on.
    Whatever other threads write in these milliseconds is passed on too, only a little later.
    """
    lines: list[bytes] = []
    with _lock:
        real: int | None = None
        with contextlib.suppress(OSError):  # there may be no stderr at all
            real = os.dup(_STDERR)
        try:
            held = _memory() if real is not None else _new_memory()
        except OSError:  # no room: then it stays as it is
            if real is not None:
                os.close(real)
            yield lines
            return
        os.dup2(held, _STDERR)
        try:
            yield lines
        finally:
            if real is not None:
                os.dup2(real, _STDERR)
            _sort(held, real, wanted, lines)
            if real is not None:
                os.close(real)
            else:
                for descriptor in {held, _STDERR}:
                    os.close(descriptor)


def _new_memory() -> int:
    return os.memfd_create("stderr", os.MFD_CLOEXEC)


@cache  # making and freeing one takes longer than all the rest, and it is needed for every picture
def _memory() -> int:
    return _new_memory()


os.register_at_fork(after_in_child=_memory.cache_clear)  # else both would write to one


def _sort(held: int, real: int | None, wanted: Callable[[bytes], bool], lines: list[bytes]) -> None:
    size = os.lseek(held, 0, os.SEEK_END)
    if not size:
        return
    for line in os.pread(held, size, 0).splitlines(keepends=True):
        if wanted(line):
            lines.append(line)
        elif real is not None:
            with contextlib.suppress(OSError):  # nobody reads it
                os.write(real, line)
    os.ftruncate(held, 0)
    os.lseek(held, 0, os.SEEK_SET)
