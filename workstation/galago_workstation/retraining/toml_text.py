"""Plain tables as TOML: what a program changed in a configuration, written for people and programs."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

_BARE = re.compile(r"[A-Za-z0-9_-]+")


def toml_text(tables: Mapping[str, Any]) -> str:
    """Return TOML whose tables are ``tables``: of texts, numbers, truths, lists and tables.

    >>> print(toml_text({"a": 1, "t": {"b c": [True, {"d": "e"}], "u": {"f": 0.5}}}), end="")
    a = 1
    <BLANKLINE>
    [t]
    "b c" = [true, {d = "e"}]
    <BLANKLINE>
    [t.u]
    f = 0.5

    Raises:
        TypeError: A value is something else.
    """
    return "\n".join(_lines(tables, ())).lstrip("\n") + "\n"


def _lines(table: Mapping[str, Any], name: Sequence[str]) -> Iterator[str]:
    plain = {key: value for key, value in table.items() if not isinstance(value, dict)}
    if name and (plain or not table):
        yield ""
        yield f"[{'.'.join(map(_key, name))}]"
    for key, value in plain.items():
        yield f"{_key(key)} = {_value(value)}"
    for key, value in table.items():
        if isinstance(value, dict):
            yield from _lines(value, (*name, key))


def _key(key: str) -> str:
    return key if _BARE.fullmatch(key) else _string(key)


def _value(value: Any) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case int() | float():
            return repr(value)  # also inf and nan, which TOML writes alike
        case str():
            return _string(value)
        case list() | tuple():
            return f"[{', '.join(map(_value, value))}]"
        case dict():
            return f"{{{', '.join(f'{_key(key)} = {_value(one)}' for key, one in value.items())}}}"
        case _:
            raise TypeError(f"{type(value).__name__} cannot be written")


def _string(text: str) -> str:
    """Return a text in quotation marks: JSON's are TOML's, but for DEL, which TOML wants escaped."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
