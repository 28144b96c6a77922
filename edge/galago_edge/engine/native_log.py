"""Keeps the runtime's chatter off a command's stderr, where one line means one failure."""

from __future__ import annotations

import contextlib
import os
import tempfile
import threading
from collections.abc import Iterator
from typing import IO

_STDERR = 2
_CHATTER = b"INFO:"
"""``INFO: Created TensorFlow Lite XNNPACK delegate for CPU.`` comes straight from C++, without a switch."""

_lock = threading.Lock()


@contextlib.contextmanager
def without_chatter() -> Iterator[None]:
    """Hold back what is written to file descriptor 2 meanwhile, then pass on all but INFO lines.

    Whatever other threads write in these milliseconds is passed on too, only a little later.
    """
    with _lock, contextlib.ExitStack() as stack:
        try:
            real = os.dup(_STDERR)
            stack.callback(os.close, real)
            held = stack.enter_context(tempfile.TemporaryFile())
        except OSError:  # no stderr at all, or no room for a temporary file: then it stays as it is
            pass
        else:
            os.dup2(held.fileno(), _STDERR)
            stack.callback(_pass_on, held, real)
        yield


def _pass_on(held: IO[bytes], real: int) -> None:
    os.dup2(real, _STDERR)
    held.seek(0)
    for line in held:
        if not line.startswith(_CHATTER):
            os.write(real, line)
