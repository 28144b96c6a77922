"""Keeps the runtime's chatter off a command's stderr, where one line means one failure."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from galago_edge.host.native_stderr import hold_stderr

_CHATTER = b"INFO:"
"""``INFO: Created TensorFlow Lite XNNPACK delegate for CPU.`` comes straight from C++, without a switch."""


@contextlib.contextmanager
def without_chatter() -> Iterator[None]:
    """Hold back what is written to file descriptor 2 meanwhile, then pass on all but INFO lines."""
    with hold_stderr(lambda line: line.startswith(_CHATTER)):
        yield
