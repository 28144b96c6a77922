"""JSON with a hash of itself comes back as it was, and whatever is changed in it is noticed."""

from __future__ import annotations

import hashlib
import json
from typing import Literal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from galago_workstation.qa.sealed_json import BrokenSealError, sealed_json, unsealed


class Said(msgspec.Struct, frozen=True, kw_only=True):
    name: str = ""
    counts: dict[str, float] = {}


def test_the_hash_is_that_of_the_other_fields_as_canonical_json() -> None:
    """Written by hand."""
    content = sealed_json(Said(name="ä", counts={"b": 1.5, "a": 2.0}))
    canonical = '{"counts":{"a":2.0,"b":1.5},"name":"ä"}'
    assert json.loads(content)["sha256"] == hashlib.sha256(canonical.encode()).hexdigest()


@given(st.text(st.characters(codec="utf-8")), st.dictionaries(st.text("abc"), st.floats(allow_nan=False)))
def test_a_value_comes_back_with_its_tables_in_their_order(name: str, counts: dict[str, float]) -> None:
    counts = {key: value for key, value in counts.items() if abs(value) != float("inf")}
    said = Said(name=name, counts=counts)
    found = unsealed(sealed_json(said), Said)
    assert found == said and list(found.counts) == list(counts)


@pytest.mark.parametrize("position", range(0, 160, 3))
def test_a_digit_or_letter_that_changed_anywhere_is_noticed(position: int) -> None:
    content = bytearray(sealed_json(Said(name="night", counts={"events": 12.5, "gaps": 3})))
    if position >= len(content) or not chr(content[position]).isalnum():
        return
    content[position] ^= 1
    with pytest.raises((BrokenSealError, msgspec.DecodeError)):
        unsealed(bytes(content), Said)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('"name": "night"', '"name": "day", "name": "night"'),
        ('"gaps": 3', '"gaps": 4, "gaps": 3'),
        ('"sha256"', '"sha256": "ab", "sha256"'),
    ],
)
def test_a_key_that_stands_there_twice_is_refused_though_the_last_one_fits(before: str, after: str) -> None:
    content = sealed_json(Said(name="night", counts={"gaps": 3})).decode()
    assert before in content
    with pytest.raises(BrokenSealError, match="twice in one place"):
        unsealed(content.replace(before, after, 1).encode(), Said)


class Dated(msgspec.Struct, frozen=True, kw_only=True):
    schema: Literal["galago.said/1"] = "galago.said/1"


def test_another_version_is_named_beside_the_one_that_is_read() -> None:
    content = sealed_json(Dated()).replace(b"said/1", b"said/2")
    with pytest.raises(msgspec.DecodeError, match=r"its schema is 'galago.said/2', this Galago reads galago"):
        unsealed(content, Dated)
