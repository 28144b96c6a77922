"""JSON with a hash of itself comes back as it was, and whatever is changed in it is noticed."""

from __future__ import annotations

import hashlib
import json

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
