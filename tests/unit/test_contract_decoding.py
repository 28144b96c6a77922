"""JSON and TOML from outside: whatever they hold, they are values or damaged, and nothing else."""

from __future__ import annotations

import contextlib
import json
import random
import sys
from typing import Any

import msgspec
import pytest

from galago_edge.contract.decoding import DEEPEST, from_json, from_toml
from galago_edge.contract.records import decode_record

DEPTHS = [DEEPEST + 1, 900, 1_000, 5_000, 100_000]


class _Named(msgspec.Struct):
    name: str = ""


def arrays(depth: int) -> bytes:
    return b"[" * depth + b"]" * depth


def objects(depth: int) -> bytes:
    return b'{"a":' * depth + b"1" + b"}" * depth


@pytest.mark.parametrize("depth", DEPTHS)
@pytest.mark.parametrize("nested", [arrays, objects], ids=["arrays", "objects"])
def test_json_that_is_nested_too_deeply_is_damaged(nested: Any, depth: int) -> None:
    with pytest.raises(msgspec.DecodeError, match="nested too deeply"):
        from_json(nested(depth))
    with pytest.raises(msgspec.DecodeError, match="nested too deeply"):
        from_json(nested(depth).decode())
    with pytest.raises(msgspec.DecodeError, match="nested too deeply"):
        from_json(b'{"more":' + nested(depth) + b"}", type=_Named)  # also where nobody wants to know


@pytest.mark.parametrize("nested", [arrays, objects], ids=["arrays", "objects"])
def test_what_is_allowed_can_be_written_again_from_anywhere(nested: Any) -> None:
    assert json.dumps(from_json(nested(DEEPEST))).replace(" ", "").encode() == nested(DEEPEST)


def test_brackets_within_text_are_no_nesting() -> None:
    text = '\\"[{' * 1_000 + "\\" + '"[' * 1_000
    assert from_json(json.dumps({"name": text, "more": ["[[" * 500] * 500}), type=_Named).name == text


def test_many_values_side_by_side_are_no_nesting() -> None:
    assert len(from_json(b"[" + b",".join([b"[{}]"] * 10_000) + b"]")) == 10_000


def test_a_caller_that_is_far_down_itself_gets_the_same_error() -> None:
    def below(levels: int) -> Any:
        return below(levels - 1) if levels else from_json(arrays(DEEPEST))

    with pytest.raises(msgspec.DecodeError, match="nested too deeply"):
        below(sys.getrecursionlimit() - DEEPEST - len_of_stack() + 60)


def len_of_stack() -> int:
    depth, frame = 0, sys._getframe()
    while frame.f_back is not None:
        depth, frame = depth + 1, frame.f_back
    return depth


@pytest.mark.parametrize("data", [b'"\xff\xfe"', b'{"name":"\xc3("}', b"\xff"])
def test_what_is_no_utf8_is_damaged(data: bytes) -> None:
    for type_ in (Any, _Named):
        with pytest.raises(msgspec.DecodeError):
            from_json(data, type=type_)
    with pytest.raises(msgspec.DecodeError):
        from_toml(b"a = " + data)


def test_damaged_text_is_a_value_or_a_decode_error() -> None:
    whole = bytearray(json.dumps({"name": "smoke", "more": [[1, {"a": "\\[\u202e"}], None, 1.5]}).encode())
    drawn = random.Random(7)
    for _ in range(5_000):
        damaged = bytearray(whole)
        for _ in range(drawn.randint(1, 4)):
            at = drawn.randrange(len(damaged))
            new = drawn.choices(b'[]{}",:\\u\xff\x00x1', k=drawn.randint(0, 300))
            damaged[at : at + drawn.randint(0, 3)] = new
        with contextlib.suppress(msgspec.DecodeError):
            from_json(bytes(damaged))


@pytest.mark.parametrize("depth", [DEEPEST + 1, 900, 2_000])
@pytest.mark.parametrize(
    "nested",
    [
        lambda depth: b"a = " + arrays(depth),
        lambda depth: b"a = " + b"{a=" * depth + b"1" + b"}" * depth,
        lambda depth: b".".join([b"a"] * (depth + 1)) + b" = 1",
        lambda depth: b"[" + b".".join([b"a"] * (depth + 1)) + b"]",
    ],
    ids=["arrays", "inline tables", "names", "tables"],
)
def test_toml_that_is_nested_too_deeply_is_damaged(nested: Any, depth: int) -> None:
    with pytest.raises(msgspec.DecodeError, match="nested too deeply"):
        from_toml(nested(depth))


def test_a_record_that_is_nested_too_deeply_is_damaged() -> None:
    state = b'{"v":1,"kind":"state","stream":"","subject":"x","state":"y","index":0,"ns":0,"detail":{"a":%s}}'
    for depth in DEPTHS:
        with pytest.raises(msgspec.DecodeError, match="nested too deeply"):
            decode_record(state % arrays(depth))
    assert decode_record(state % arrays(100))
