"""What stands behind the question mark of a source: ``?rate=16000&live=no``."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Any
from urllib.parse import parse_qsl

from galago_edge.contract.errors import CallerError, Reason

LOWEST_RATE = Fraction(1, 1000)
"""A picture in a quarter of an hour: times in nanoseconds must fit 64 bits for any number of pictures."""
_RATE = re.compile(r"[0-9]{1,20}(?:\.[0-9]{1,20}|/[0-9]{1,20})?")
"""No exponent: 1e1000000000 has a billion digits."""
OptionReader = Callable[[str], Any]
"""Returns an option's value. Raises ValueError, which says what was expected."""


def frame_rate(text: str) -> Fraction:
    """Read frames per second, also as a fraction: ``30000/1001``.

    Raises:
        ValueError: It is none.
    """
    rate = Fraction(0)
    if _RATE.fullmatch(text):
        with contextlib.suppress(ZeroDivisionError):
            rate = Fraction(text)
    if not LOWEST_RATE <= rate <= 1000:
        raise ValueError("expected from 1/1000 to 1000, such as 10, 29.97 or 30000/1001")
    return rate


def integer(lowest: int, highest: int) -> Callable[[str], int]:
    """Return what reads an integer within these bounds."""

    def read(text: str) -> int:
        if not text.isascii() or not text.isdigit() or not lowest <= int(text) <= highest:
            raise ValueError(f"expected an integer from {lowest} to {highest}")
        return int(text)

    return read


def yes_no(text: str) -> bool:
    """Read ``yes`` or ``no``.

    Raises:
        ValueError: It is neither.
    """
    if text not in ("yes", "no"):
        raise ValueError("expected yes or no")
    return text == "yes"


def one_of(*words: str) -> Callable[[str], str]:
    """Return what reads one of these words."""

    def read(text: str) -> str:
        if text not in words:
            raise ValueError(f"expected {' or '.join(words)}")
        return text

    return read


def source_name(text: str) -> str:
    """Read the name of a source or stream: any text that is not empty.

    Raises:
        ValueError: It is empty.
    """
    if not text:
        raise ValueError("expected a name")
    return text


def read_options(query: str, readers: Mapping[str, OptionReader], text: str) -> dict[str, Any]:
    """Return the options of a source; ``text`` is the whole address for messages, without credentials.

    Raises:
        CallerError: CONFIG_BAD; an option that nobody knows, that is there twice, or whose value is none.
    """
    known = f"it knows {', '.join(readers)}" if readers else "it has none"
    options: dict[str, Any] = {}
    try:
        pairs = parse_qsl(query, keep_blank_values=True, strict_parsing=True) if query else []
    except ValueError as error:
        raise CallerError(
            Reason.CONFIG_BAD, f"source {text}: {error}", hint="options: ?name=value&..."
        ) from None
    for name, value in pairs:
        if name not in readers or name in options:
            what = "option twice" if name in options else "unknown option"
            raise CallerError(Reason.CONFIG_BAD, f"source {text}: {what}: {name}", hint=known)
        try:
            options[name] = readers[name](value)
        except ValueError as error:
            raise CallerError(
                Reason.CONFIG_BAD, f"source {text}: {name}={value}: {error}", hint=known
            ) from None
    return options
