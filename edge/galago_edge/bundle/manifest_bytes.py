"""Manifest bytes to :class:`~galago_edge.contract.manifest.Manifest` and back.

Strict on purpose: signed bytes must mean one thing to every reader, so nothing is guessed, dropped
or repaired. What a manifest must say beyond its types is checked in ``meaning``.
"""

from __future__ import annotations

import hashlib
import json
import math
import unicodedata
from collections.abc import Mapping
from typing import Any, NoReturn

import msgspec
from msgspec import UNSET

from galago_edge.bundle.manifest_rules import check_meaning
from galago_edge.contract.errors import BundleError, Reason
from galago_edge.contract.manifest import SCHEMA, Manifest

MANIFEST_LIMIT_BYTES = 256 * 1024
_DEPTH_LIMIT = 16
_INTEGER_DIGITS = 16  # 2**53 has 16
_EXACT_INTEGERS = 2**53
_FORBIDDEN_CATEGORIES = {"Cc", "Cs", "Zl", "Zp"}  # control, lone surrogate, line and paragraph separator
_FORBIDDEN_CHARACTERS = set("\ufeff\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
"""Byte order mark, and the marks that make a line read otherwise than it is."""


def manifest_id(data: bytes) -> str:
    """Return the id of the bundle that these manifest bytes describe."""
    return hashlib.sha256(data).hexdigest()


def encode_manifest(manifest: Manifest, extra: Mapping[str, Any] | None = None) -> bytes:
    """Return the manifest as JSON, one line for each top-level key. Same manifest, same bytes.

    ``extra``: top-level keys that no runtime reads, by names that begin with ``x-``; they come last.

    Raises:
        BundleError: The manifest would be refused by :func:`parse_manifest`.
    """
    try:
        values = {name: getattr(manifest, name) for name in Manifest.__struct_fields__} | dict(extra or {})
        lines = [
            msgspec.json.encode(name) + b":" + msgspec.json.encode(value)
            for name, value in values.items()
            if value is not UNSET
        ]
    except UnicodeEncodeError as error:  # a command line in another encoding gives such text
        raise BundleError(
            Reason.MANIFEST_BAD, f"a text is no Unicode: {error}", hint="write it in UTF-8"
        ) from None
    data = b"{\n" + b",\n".join(lines) + b"\n}\n"
    parse_manifest(data, "this manifest")
    return data


def parse_manifest(data: bytes, where: str) -> Manifest:
    """Return the manifest that these bytes mean.

    At most 256 KiB of UTF-8 in NFC; no key twice, no NaN or infinity, integers below 2**53, 16 levels
    at most; unknown keys are refused, top-level keys that begin with ``x-`` are ignored.

    Raises:
        BundleError: TOO_BIG, MANIFEST_BAD, or what :func:`check_meaning` raises.
    """
    if len(data) > MANIFEST_LIMIT_BYTES:
        raise BundleError(
            Reason.TOO_BIG,
            f"{where}: the manifest has {len(data)} bytes, at most {MANIFEST_LIMIT_BYTES} are allowed",
            hint="fewer labels or fewer golden samples make it shorter",
        )
    try:
        tree = _decode(data)
        _check_schema(tree)
        manifest = msgspec.convert(
            {key: value for key, value in tree.items() if not key.startswith("x-")}, Manifest
        )
    except (ValueError, RecursionError) as error:  # msgspec's and json's errors are ValueErrors
        text = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise BundleError(
            Reason.MANIFEST_BAD, f"{where}: manifest.json: {text}", hint="see docs/bundle-format.md"
        ) from None
    check_meaning(manifest, where)
    return manifest


def _decode(data: bytes) -> dict[str, Any]:
    text = data.decode("utf-8")
    tree = json.loads(
        text,
        object_pairs_hook=_object,
        parse_int=_integer,
        parse_float=_number,
        parse_constant=_refuse_constant,
    )
    if not isinstance(tree, dict):
        raise ValueError("the top level is not an object")
    _check_tree(tree, 1)
    return tree


def _check_schema(tree: dict[str, Any]) -> None:
    if tree.get("schema") != SCHEMA:
        raise ValueError(f"schema is {tree.get('schema')!r}, this version reads {SCHEMA!r}")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for key, value in pairs:
        if key in result:
            raise ValueError(f"the key {key!a} appears twice")
        result[key] = value
    return result


def _integer(digits: str) -> int:
    if len(digits.lstrip("-")) > _INTEGER_DIGITS or abs(int(digits)) >= _EXACT_INTEGERS:
        raise ValueError("an integer is 2**53 or more")
    return int(digits)


def _number(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        raise ValueError("a number is too large")
    return value


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a number")


def _check_tree(node: Any, depth: int) -> None:
    """Refuse depth, and text that is not in NFC or could not be shown on one line as it is."""
    if isinstance(node, str):
        _check_text(node)
    elif isinstance(node, dict | list):
        if depth > _DEPTH_LIMIT:
            raise ValueError(f"it is nested more than {_DEPTH_LIMIT} levels deep")
        for child in node:
            _check_tree(child, depth + 1)
        if isinstance(node, dict):
            for child in node.values():
                _check_tree(child, depth + 1)


def _check_text(text: str) -> None:
    if text.isascii() and text.isprintable():
        return  # nearly every string; the rest of this takes 40 times as long
    if not unicodedata.is_normalized("NFC", text):
        raise ValueError(f"the text {text!a} is not in Unicode normal form C")
    for character in text:
        if character in _FORBIDDEN_CHARACTERS or unicodedata.category(character) in _FORBIDDEN_CATEGORIES:
            raise ValueError(f"the text {text!a} holds the character U+{ord(character):04X}")
