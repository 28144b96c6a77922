"""Seconds as text, and the exact integer nanoseconds that they stand for."""

from __future__ import annotations

import decimal
import re

_SECONDS = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]{1,3})?\Z")
_LONGEST = 60
_EXACT = decimal.Context(prec=400, rounding=decimal.ROUND_HALF_EVEN, traps=[])
_BEYOND = decimal.Decimal(1 << 62)


def ns_of(text: str) -> tuple[int, int]:
    """Return the nanoseconds of a decimal number of seconds, and by how much its own rounding may be off.

    What is finer than a nanosecond is rounded to even.

    >>> ns_of("1.5"), ns_of("0.123456"), ns_of("2")
    ((1500000000, 100000000), (123456000, 1000), (2000000000, 1000000000))

    Raises:
        ValueError: It is no decimal number, or none of the times that a recording can have.
    """
    if len(text) > _LONGEST or not _SECONDS.match(text):
        raise ValueError(f"{text[:_LONGEST]!r} is no number of seconds such as 1.25")
    value = decimal.Decimal(text)
    ns = _EXACT.multiply(value, 1_000_000_000)
    if not ns.is_finite() or abs(ns) > _BEYOND:
        raise ValueError(f"{text!r} s is no time of a recording")
    exponent = value.as_tuple().exponent
    slack = 10 ** min(9, max(0, 9 + exponent)) if isinstance(exponent, int) else 0
    return int(_EXACT.to_integral_value(ns)), slack


def seconds_of(ns: int, *, decimals: int = 6) -> str:
    """Return nanoseconds as seconds with at least ``decimals`` decimals, and more where they are needed.

    >>> seconds_of(1_500_000_000), seconds_of(1_000_000_001)
    ('1.500000', '1.000000001')
    """
    whole, rest = divmod(ns, 1_000_000_000)
    digits = f"{rest:09d}"
    return f"{whole}.{digits[:decimals]}{digits[decimals:].rstrip('0')}"
