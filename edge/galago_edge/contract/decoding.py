"""JSON and TOML that a file or another program gave: what is nested without end is no more than damaged.

Decoders go one call deeper for every bracket, so text of some kilobytes exhausts the interpreter's stack:
RecursionError, which nobody expects who expects damage. Here it is the DecodeError that is expected anyway.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from typing import Any, TypeVar, overload

import msgspec

DEEPEST = 200
"""Levels. Nothing of ours has more than 20, and whatever handles the value later goes down as deep again."""

T = TypeVar("T")

_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?', re.DOTALL)
_BRACKET = re.compile(rb"[\[\]{}]")


@overload
def from_json(data: bytes | bytearray | str) -> Any: ...
@overload
def from_json(data: bytes | bytearray | str, type: type[T]) -> T: ...
@overload
def from_json(data: bytes | bytearray | str, type: Any) -> Any: ...
def from_json(data: bytes | bytearray | str, type: Any = Any) -> Any:
    """Return what JSON says, as ``type``.

    Raises:
        msgspec.DecodeError: It is no JSON, nested more than ``DEEPEST`` deep, or not of that type
            (``ValidationError``).

    >>> from_json(b'{"label": "smoke"}')
    {'label': 'smoke'}
    """
    raw = data.encode(errors="surrogatepass") if isinstance(data, str) else data
    if raw.count(b"[") + raw.count(b"{") > DEEPEST and _nested_below(raw, DEEPEST):
        raise _too_deep()
    try:
        return msgspec.json.decode(data, type=type)
    except RecursionError:  # the caller itself is far down
        raise _too_deep() from None
    except UnicodeDecodeError as error:
        raise msgspec.DecodeError(str(error)) from None


@overload
def from_toml(data: bytes | str) -> Any: ...
@overload
def from_toml(data: bytes | str, type: type[T]) -> T: ...
def from_toml(data: bytes | str, type: Any = Any) -> Any:
    """Return what TOML says, as ``type``; without one as plain tables.

    Raises:
        msgspec.DecodeError: It is no TOML, nested more than ``DEEPEST`` deep, or not of that type.
    """
    try:
        found = msgspec.toml.decode(data, type=type)
    except RecursionError:
        raise _too_deep() from None
    except UnicodeDecodeError as error:
        raise msgspec.DecodeError(str(error)) from None
    if type is Any and _reaches_below(found, DEEPEST):  # names with dots go deep without any bracket
        raise _too_deep()
    return found


def key_twice(data: bytes) -> str | None:
    """Return a key that stands twice in one table of JSON, the first by name; None when there is none.

    Decoders take the last one, people read the first. ``data``: what :func:`from_json` has decoded.

    >>> key_twice(b'{"tags": {"site": "barn", "site": "porch"}}')
    'site'
    """
    found: list[str] = []

    def table(pairs: list[tuple[str, Any]]) -> None:
        keys = Counter(key for key, _ in pairs)
        found.extend(key for key, count in keys.items() if count > 1)

    json.loads(data, object_pairs_hook=table, parse_int=str, parse_float=str)
    return min(found, default=None)


def _nested_below(raw: bytes | bytearray, levels: int) -> bool:
    """Tell whether more brackets than ``levels`` are open at once; those within strings are none."""
    depth = 0
    for bracket in _BRACKET.finditer(_STRING.sub(b"", raw)):
        depth += 1 if bracket[0] in b"[{" else -1
        if depth > levels:
            return True
    return False


def _reaches_below(value: Any, levels: int) -> bool:
    layer = [value]
    for _ in range(levels):
        layer = [
            inner
            for outer in layer
            if isinstance(outer, dict | list)
            for inner in (outer.values() if isinstance(outer, dict) else outer)
        ]
        if not layer:
            return False
    return any(isinstance(inner, dict | list) for inner in layer)


def _too_deep() -> msgspec.DecodeError:
    return msgspec.DecodeError(f"nested too deeply: at most {DEEPEST} levels are allowed")
