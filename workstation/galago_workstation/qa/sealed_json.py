"""JSON that says of itself whether it is as it was written: its last field is the hash of the others.

A plain hash, without a key: it finds what a disk, a cut copy or a careless editor has changed. Whoever
changes the content on purpose can hash it again.
"""

from __future__ import annotations

import hashlib
from typing import Any, TypeVar, get_args, get_type_hints

import msgspec

from galago_edge.contract.decoding import from_json, key_twice

T = TypeVar("T")

_SEAL = "sha256"


class BrokenSealError(ValueError):
    """The content is not what was written; the text says how, and ends a sentence."""


def sealed_json(value: msgspec.Struct) -> bytes:
    """Return a struct as indented JSON with one field more, ``sha256``; same value, same bytes.

    It is the SHA-256 of the other fields as canonical JSON (keys in order, nothing between).

    Raises:
        ValueError: The struct has such a field of its own.
    """
    plain: dict[str, Any] = from_json(msgspec.json.encode(value), type=dict[str, Any])
    whole = plain | {_SEAL: seal_of(value)}
    return msgspec.json.format(msgspec.json.encode(whole), indent=2) + b"\n"


def seal_of(value: msgspec.Struct) -> str:
    """Return the hash alone, in hexadecimal, for a file that is laid out in its own way.

    Raises:
        ValueError: The struct has such a field of its own.
    """
    plain: dict[str, Any] = from_json(msgspec.json.encode(value), type=dict[str, Any])
    if _SEAL in plain:
        raise ValueError(f"{type(value).__name__} has a field {_SEAL} of its own")
    return _digest(_canonical(plain))


def unsealed(content: bytes, type_: type[T]) -> T:
    """Return the value of what :func:`sealed_json` wrote.

    Raises:
        BrokenSealError: It has no hash of itself, or another one, or a key twice.
        msgspec.DecodeError: It is no JSON, or not of this type.
    """
    value, fault = unchecked(content, type_)
    if fault:
        raise BrokenSealError(fault)
    return value


def unchecked(content: bytes, type_: type[T]) -> tuple[T, str]:
    """Return the value and what is wrong with its hash, ending a sentence; nothing when it is right.

    For those who only ask what a file is about, before they write it anew.

    Raises:
        msgspec.DecodeError: It is no JSON, or not of this type; of another version, it says which.
    """
    plain: dict[str, Any] = from_json(content, type=dict[str, Any])
    said = plain.pop(_SEAL, None)
    # in the order of the file, which tables keep; of another version: that is said rather than its hash
    try:
        value = from_json(msgspec.json.encode(plain), type=type_)
    except msgspec.ValidationError:
        _refuse_other_schema(plain, type_)
        raise
    if (twice := key_twice(content)) is not None:  # the hash is of one of the two, people may read the other
        return value, f"it has the key {twice!r} twice in one place"
    if said is None:
        return value, "it has no hash of itself"
    found = _digest(_canonical(plain))
    return value, "" if said == found else f"its SHA-256 is {found[:16]}…, expected {str(said)[:16]}…"


def _refuse_other_schema(plain: dict[str, Any], type_: type) -> None:
    known = get_args(get_type_hints(type_).get("schema"))
    if known and "schema" in plain and plain["schema"] not in known:
        raise msgspec.ValidationError(
            f"its schema is {str(plain['schema'])[:40]!r}, this Galago reads {' or '.join(known)}"
        ) from None


def _canonical(plain: dict[str, Any]) -> bytes:
    return msgspec.json.encode(plain, order="sorted")


def _digest(canonical: bytes) -> str:
    return hashlib.sha256(canonical).hexdigest()
