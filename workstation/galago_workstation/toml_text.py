"""Plain tables written as TOML: same tables, same text."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

_BARE = re.compile(r"[A-Za-z0-9_-]+")


def toml_text(tables: Mapping[str, Any]) -> str:
    """Return tables as a TOML document.

    Raises:
        TypeError: A value is of a kind that no configuration has, such as a date.

    >>> print(toml_text({"data": {"folder": "birds", "part": {"a b": [1, 2.0]}}}), end="")
    [data]
    folder = "birds"
    <BLANKLINE>
    [data.part]
    "a b" = [1, 2.0]
    """
    return "\n".join(_lines(tables, ())).lstrip("\n") + "\n"


def toml_key(name: str) -> str:
    """Return a key as TOML writes it: in quotes where it must be.

    >>> toml_key("width"), toml_key("front door")
    ('width', '"front door"')
    """
    return name if _BARE.fullmatch(name) else _string(name)


def toml_value(value: Any) -> str:
    """Return a value as TOML writes it within a line.

    >>> toml_value({"kind": "resnet", "dropout": 0.5, "on": True})
    '{kind = "resnet", dropout = 0.5, on = true}'

    Raises:
        TypeError: It is of a kind that no configuration has.
    """
    match value:
        case bool():
            return "true" if value else "false"
        case str():
            return _string(value)
        case int():
            return str(value)
        case float():
            return repr(value) if math.isfinite(value) else str(value)
        case list() | tuple():
            return f"[{', '.join(map(toml_value, value))}]"
        case dict():
            pairs = (f"{toml_key(name)} = {toml_value(inner)}" for name, inner in value.items())
            return f"{{{', '.join(pairs)}}}"
    raise TypeError(f"{type(value).__name__} has no place in a configuration")


def _lines(table: Mapping[str, Any], path: tuple[str, ...]) -> Iterator[str]:
    plain = {name: value for name, value in table.items() if not isinstance(value, dict)}
    inner = {name: value for name, value in table.items() if isinstance(value, dict)}
    if path and (plain or not inner):
        yield ""
        yield f"[{'.'.join(map(toml_key, path))}]"
    for name, value in plain.items():
        yield f"{toml_key(name)} = {toml_value(value)}"
    for name, value in inner.items():
        yield from _lines(value, (*path, name))


def _string(text: str) -> str:
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
