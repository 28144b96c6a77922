"""What a program says beside its arrays, looked at as strictly as ``galago.toml`` is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np

from galago_edge.bundle import Bundle
from galago_edge.contract.settings import Name, Thresholds
from galago_edge.contract.streams import GAP_CAUSES


def checked_bundle(given: Any) -> Bundle:
    """Return the bundle.

    Raises:
        TypeError: It is something else, such as the path of one.
    """
    if not isinstance(given, Bundle):
        raise TypeError(f"bundle is {given!r}, expected a Bundle, see galago_edge.open_bundle")
    return given


def checked_name(given: Any) -> str:
    """Return the name of a stream, which follows the rule of ``galago.toml``.

    Raises:
        TypeError: Not a text.
        ValueError: Empty, too long, or with other characters.
    """
    if not isinstance(given, str):
        raise TypeError(f"name is {given!r}, expected a text")
    try:
        return msgspec.convert(given, Name)
    except msgspec.ValidationError:
        raise ValueError(
            f"name is {given!r}, expected 1 to 64 of the characters A-Z a-z 0-9 _ . -, "
            "the first of them a letter or digit"
        ) from None


def checked_thresholds(given: Any) -> dict[str, dict[str, float]]:
    """Return what is changed for which label; nothing for None.

    Raises:
        TypeError: It is no mapping of labels to mappings.
        ValueError: Something else than ``on`` and ``off`` is changed, or a value is not from 0 to 1.
    """
    if given is None:
        return {}
    wanted = 'expected {"on": ..., "off": ...}, either or both, each a number from 0 to 1'
    if not isinstance(given, Mapping):
        raise TypeError(f"thresholds are {given!r}, expected a mapping of labels; of each is {wanted}")
    return {label: _thresholds(label, changes, wanted) for label, changes in given.items()}


def _thresholds(label: Any, given: Any, wanted: str) -> dict[str, float]:
    met = f"thresholds of {label!r} are {given!r}"
    if not isinstance(given, Mapping):
        raise TypeError(f"{met}, {wanted}")
    plain = {key: value.item() if isinstance(value, np.generic) else value for key, value in given.items()}
    try:
        changes = msgspec.convert(plain, Thresholds)
    except msgspec.ValidationError:
        raise ValueError(f"{met}, {wanted}") from None
    result: dict[str, float] = msgspec.to_builtins(changes)
    return result


def checked_cause(given: Any) -> str:
    """Return why nobody watched.

    Raises:
        TypeError: Not a text.
        ValueError: None of the words of docs/events.md.
    """
    wanted = f"expected one of {', '.join(GAP_CAUSES)}"
    if not isinstance(given, str):
        raise TypeError(f"cause is {given!r}, {wanted}")
    if given not in GAP_CAUSES:
        raise ValueError(f"cause is {given!r}, {wanted}")
    return given


def check_emit(given: Any) -> None:
    """Look whether records can be handed on.

    Raises:
        TypeError: It cannot be called, and is not None.
    """
    if given is not None and not callable(given):
        raise TypeError(
            f"emit is {given!r}, expected something to call with the records, such as list.extend"
        )
