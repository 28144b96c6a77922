"""Lengths of time as people write them on a command line."""

from __future__ import annotations

import re

_NS = 1_000_000_000
_UNITS_S = {"s": 1, "m": 60, "min": 60, "h": 3_600, "d": 86_400, "w": 604_800}
_SPAN = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,9})?) ?(s|m|min|h|d|w)")


def read_span_ns(text: str) -> int | None:
    """Return nanoseconds; None when it is no length of time.

    >>> read_span_ns("90s"), read_span_ns("1.5 h"), read_span_ns("soon")
    (90000000000, 5400000000000, None)
    """
    found = _SPAN.fullmatch(text.strip())
    return None if found is None else round(float(found[1]) * _UNITS_S[found[2]] * _NS)
