"""A place in a stream, as people write it."""

from __future__ import annotations

import re
from decimal import Decimal

from galago_edge.contract.streams import LATEST_NS, NS_PER_S

_POSITION = re.compile(r"(?:(?:(\d{1,6}):)?(\d{1,6}):)?(\d{1,12}(?:\.\d{1,12})?)")


def read_position(text: str) -> int:
    """Return the stream time in nanoseconds of ``SECONDS``, ``MM:SS`` or ``HH:MM:SS``, with decimals or not.

    >>> read_position("1:02:03.5")
    3723500000000

    Raises:
        ValueError: It is none.
    """
    found = _POSITION.fullmatch(text)
    if found is None or not text.isascii():
        raise ValueError(f"{text[:40]!r} is no time in a recording; expected seconds, MM:SS or HH:MM:SS")
    hours, minutes, seconds = found[1] or "0", found[2] or "0", Decimal(found[3])
    for unit, count, larger in (("seconds", seconds, found[2]), ("minutes", int(minutes), found[1])):
        if larger is not None and count >= 60:
            raise ValueError(f"{text[:40]!r} has {count} {unit}, expected less than 60 behind a colon")
    position_ns = (int(hours) * 3600 + int(minutes) * 60) * NS_PER_S + int(seconds * NS_PER_S)
    if position_ns >= LATEST_NS:
        raise ValueError(f"{text!r} is later than any recording lasts")
    return position_ns
