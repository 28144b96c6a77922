"""The manifest: one meaning or none, and its parts fit each other."""

from __future__ import annotations

import copy
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import msgspec.inspect
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from galago_edge.bundle.manifest_bytes import (
    MANIFEST_LIMIT_BYTES,
    encode_manifest,
    manifest_id,
    parse_manifest,
)
from galago_edge.bundle.manifest_rules import BUNDLE_LIMIT_BYTES, INPUT_QUANTIZATION
from galago_edge.contract.errors import BundleError, GalagoError, Reason
from galago_edge.contract.manifest import (
    AudioPreprocess,
    FileEntry,
    Gate,
    Label,
    LabelPolicy,
    LevelGate,
    Manifest,
    MotionGate,
)
from test_kit import TINY_AUDIO, changed, hollow_manifest

GOOD = hollow_manifest()[0]
GOOD_BYTES = encode_manifest(GOOD)
ENTRY = GOOD.files[0]


def refusal(data: bytes | Manifest) -> Reason:
    with pytest.raises(BundleError) as caught:
        encode_manifest(data) if isinstance(data, Manifest) else parse_manifest(data, "x.galago")
    assert "\n" not in str(caught.value) and caught.value.hint
    return caught.value.reason


def edited(change: Callable[[dict[str, Any]], Any]) -> bytes:
    tree = json.loads(GOOD_BYTES)
    change(tree)
    return json.dumps(tree).encode()


def test_a_manifest_is_read_as_it_was_written() -> None:
    assert parse_manifest(GOOD_BYTES, "x") == GOOD
    assert encode_manifest(parse_manifest(GOOD_BYTES, "x")) == GOOD_BYTES
    keys = set(Manifest.__struct_fields__) - {"gate", "provenance"}  # what is not there is not written
    assert len(GOOD_BYTES.splitlines()) == len(keys) + 2  # a key a line


def test_the_id_is_the_hash_of_the_exact_bytes() -> None:
    assert manifest_id(b"") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert manifest_id(GOOD_BYTES) != manifest_id(GOOD_BYTES + b" ")


def test_extensions_are_ignored_at_the_top_and_nowhere_else() -> None:
    assert parse_manifest(edited(lambda tree: tree.update({"x-site": {"a": [1, None]}})), "x") == GOOD
    assert refusal(edited(lambda tree: tree.update({"site": 1}))) == Reason.MANIFEST_BAD
    assert refusal(edited(lambda tree: tree["bundle"].update({"x-site": 1}))) == Reason.MANIFEST_BAD


NOT_ONE_MEANING = {
    "nothing": b"",
    "a byte order mark": b"\xef\xbb\xbf" + GOOD_BYTES,
    "another encoding": GOOD_BYTES.decode().encode("utf-16"),
    "bytes that are no UTF-8": GOOD_BYTES.replace(b'"no"', b'"n\xff"'),
    "a list": b"[]",
    "a number": b"1",
    "something behind it": GOOD_BYTES + b"{}",
    "a comma too many": GOOD_BYTES.replace(b"\n}", b",\n}"),
    "a key twice": GOOD_BYTES.replace(b'"modality"', b'"modality":"camera","modality"'),
    "a key twice, once escaped": GOOD_BYTES.replace(b'"modality"', b'"modalit\\u0079":"camera","modality"'),
    "NaN": GOOD_BYTES.replace(b'"temperature":1.0', b'"temperature":NaN'),
    "infinity": GOOD_BYTES.replace(b'"temperature":1.0', b'"temperature":Infinity'),
    "a number that overflows": GOOD_BYTES.replace(b'"temperature":1.0', b'"temperature":1e999'),
    "a scale that overflows": GOOD_BYTES.replace(b'"scale":0.125', b'"scale":1e999'),
    "2**53": GOOD_BYTES.replace(b'"release_counter":1', b'"release_counter":9007199254740992'),
    "a million digits": GOOD_BYTES.replace(b'"release_counter":1', b'"release_counter":' + b"1" * 100_000),
    "a truth for a number": GOOD_BYTES.replace(b'"release_counter":1', b'"release_counter":true'),
    "a fraction for a count": GOOD_BYTES.replace(b'"release_counter":1', b'"release_counter":1.0'),
    "a negative count": GOOD_BYTES.replace(b'"release_counter":1', b'"release_counter":-1'),
    "17 levels": GOOD_BYTES.replace(b"{\n", b'{"x-deep":' + b"[" * 16 + b"]" * 16 + b",\n", 1),
    "100,000 levels": b"[" * 100_000,
    "decomposed letters": GOOD_BYTES.replace(b'"no"', '"nu\u0308"'.encode()),
    "decomposed letters, escaped": GOOD_BYTES.replace(b'"no"', b'"nu\\u0308"'),
    "half a surrogate pair": GOOD_BYTES.replace(b'"no"', b'"n\\ud800"'),
    "a control character": GOOD_BYTES.replace(b'"no"', b'"n\\u0007o"'),
    "a line break": GOOD_BYTES.replace(b'"no"', b'"n\\u2028o"'),
    "text turned round": GOOD_BYTES.replace(b'"no"', b'"n\\u202eo"'),
    "another schema": GOOD_BYTES.replace(b"galago.bundle/1", b"galago.bundle/2"),
    "no schema": GOOD_BYTES.replace(b'"schema"', b'"x-schema"'),
    "an unknown modality": GOOD_BYTES.replace(b'"camera"', b'"nose"'),
    "a label with a blank of no width": GOOD_BYTES.replace(b'"name":"no"', b'"name":"n\\u200bo"'),
    "a label with letters joined unseen": GOOD_BYTES.replace(b'"name":"no"', b'"name":"n\\u200do"'),
    "a label with a tag": GOOD_BYTES.replace(b'"name":"no"', b'"name":"n\\udb40\\udc41o"'),
    "a label with a variation selector": GOOD_BYTES.replace(b'"name":"no"', b'"name":"n\\ufe0fo"'),
    "a label with blanks around": GOOD_BYTES.replace(b'"name":"no"', b'"name":" no"'),
}


@pytest.mark.parametrize("data", NOT_ONE_MEANING.values(), ids=NOT_ONE_MEANING)
def test_what_has_not_exactly_one_meaning_is_refused(data: bytes) -> None:
    assert data != GOOD_BYTES
    assert refusal(data) == Reason.MANIFEST_BAD


def test_sixteen_levels_and_other_alphabets_are_fine() -> None:
    deep = GOOD_BYTES.replace(b"{\n", b'{"x-deep":' + b"[" * 15 + b"]" * 15 + b",\n", 1)
    assert parse_manifest(deep, "x") == GOOD
    names = ("ümläut", "日本語", "می خواهم", "🚀")
    manifest = hollow_manifest(labels=names)[0]
    assert [label.name for label in parse_manifest(encode_manifest(manifest), "x").labels] == list(names)


def test_text_that_cannot_be_written_is_refused() -> None:
    assert refusal(changed(GOOD, bundle__description="\udcff")) == Reason.MANIFEST_BAD


def test_a_long_manifest_is_refused_unread() -> None:
    assert refusal(b"[" * (MANIFEST_LIMIT_BYTES + 1)) == Reason.TOO_BIG
    assert refusal(hollow_manifest(labels=[f"label {n}" for n in range(3000)])[0]) == Reason.TOO_BIG


def test_a_thousand_labels_fit() -> None:
    manifest = hollow_manifest(labels=[f"a label such as ImageNet has {n}" for n in range(1001)])[0]
    assert len(parse_manifest(encode_manifest(manifest), "x").labels) == 1001


@pytest.mark.parametrize(
    "path",
    ["../x", "/abs", "a//b", "a/../b", "./a", ".", "..", "a/", "", "A", "C:\\x", "a\\b", "a b", "a\0", "ä",
     "a.", "a./b", "a..", "...", "a/b/c/d", "x" * 65, f"{'x' * 60}/{'y' * 60}", "a\n"],
    ids=repr,
)  # fmt: skip
def test_a_path_that_could_lead_astray_is_refused(path: str) -> None:
    def change(tree: dict[str, Any]) -> None:
        tree["files"][0]["path"] = tree["model"][0]["file"] = path

    assert refusal(edited(change)) == Reason.MANIFEST_BAD


def test_dots_within_a_path_are_fine() -> None:
    manifest = with_files(card(".hidden/a..b/-c.d_e"))
    assert parse_manifest(encode_manifest(manifest), "x") == manifest


def with_files(*entries: FileEntry) -> Manifest:
    return changed(GOOD, files=(*GOOD.files, *entries))


def card(path: str) -> FileEntry:
    return changed(ENTRY, path=path, role="card")


CONTRADICTIONS: dict[str, tuple[Manifest, Reason]] = {
    "a file listed twice": (with_files(ENTRY), Reason.MANIFEST_BAD),
    "a file that nothing uses": (with_files(changed(ENTRY, path="b.tflite")), Reason.MANIFEST_BAD),
    "a file with a reserved name": (with_files(card("manifest.sig")), Reason.MANIFEST_BAD),
    "a file with the device's name": (with_files(card("accepted.json")), Reason.MANIFEST_BAD),
    "a file that is a folder too": (with_files(card("golden")), Reason.MANIFEST_BAD),
    "a model that is not listed": (changed(GOOD, files=GOOD.files[1:]), Reason.MANIFEST_BAD),
    "a golden sample that is not listed": (changed(GOOD, files=GOOD.files[:1]), Reason.MANIFEST_BAD),
    "a table that is not listed": (changed(GOOD, preprocess__tables=("t.npy",)), Reason.MANIFEST_BAD),
    "a model listed as a card": (
        changed(GOOD, files=(changed(ENTRY, role="card"), GOOD.files[1])), Reason.MANIFEST_BAD),
    "a golden sample used twice": (changed(GOOD, golden=GOOD.golden * 2), Reason.MANIFEST_BAD),
    "two gigabytes": (with_files(changed(card("big"), size=BUNDLE_LIMIT_BYTES)), Reason.TOO_BIG),
    "a label twice": (changed(GOOD, labels=(GOOD.labels[1],) * 2), Reason.LABELS_MISMATCH),
    "a label more than logits": (
        changed(GOOD, labels=(*GOOD.labels, Label(name="perhaps"))), Reason.LABELS_MISMATCH),
    "off above on": (
        changed(GOOD, labels=(GOOD.labels[0], Label(name="yes", policy=LabelPolicy(on=0.4, off=0.5)))),
        Reason.MANIFEST_BAD),
    "a recall of no label": (changed(GOOD, data__recall_int8={"perhaps": 1.0}), Reason.LABELS_MISMATCH),
    "a golden sample of no label": (
        changed(GOOD, golden=(changed(GOOD.golden[0], label="perhaps"),)), Reason.LABELS_MISMATCH),
    "microphone with images": (changed(GOOD, modality="microphone"), Reason.PREPROCESS_MISMATCH),
    "a preprocessing it does not ask for": (changed(GOOD, compat__features=()), Reason.MANIFEST_BAD),
    "a gate it does not ask for": (changed(GOOD, gate=MotionGate()), Reason.MANIFEST_BAD),
    "a microphone's gate for a camera": (
        changed(GOOD, gate=LevelGate(), compat__features=("image/1", "level/1")), Reason.MANIFEST_BAD),
    "an operator twice": (changed(GOOD, compat__ops=GOOD.compat.ops * 2), Reason.MANIFEST_BAD),
    "golden samples that nobody need answer": (
        changed(GOOD, health__golden_required=False), Reason.MANIFEST_BAD),
    "no machine": (changed(GOOD, compat__arch=()), Reason.MANIFEST_BAD),
    "a floor above itself": (
        changed(GOOD, rollback__min_release_counter_after_commit=2), Reason.MANIFEST_BAD),
    "a model size that is another": (changed(GOOD, resources__model_bytes=7), Reason.MANIFEST_BAD),
    "images of another size": (changed(GOOD, preprocess__spec__width=17), Reason.TENSOR_MISMATCH),
    "gray images for a colour model": (changed(GOOD, preprocess__spec__color="gray"), Reason.TENSOR_MISMATCH),
}  # fmt: skip


def with_tensor(side: str, **fields: Any) -> Manifest:
    model = GOOD.model[0]
    return changed(GOOD, model=(changed(model, **{side: changed(getattr(model, side), **fields)}),))


CONTRADICTIONS |= {
    f"{side} with {fields}": (with_tensor(side, **fields), Reason.TENSOR_MISMATCH)
    for side, fields in [
        ("input", {"dtype": "int8"}),
        ("input", {"layout": "NTF"}),
        ("input", {"scale": 0.5}),
        ("input", {"zero_point": 1}),
        ("input", {"shape": (2, 16, 16, 3)}),
        ("input", {"shape": (16, 16, 3)}),
        ("output", {"dtype": "uint8"}),
        ("output", {"layout": "NHWC"}),
        ("output", {"zero_point": 128}),
    ]
}
CONTRADICTIONS["an output of rank 4"] = (with_tensor("output", shape=(1, 1, 1, 2)), Reason.LABELS_MISMATCH)


@pytest.mark.parametrize(("manifest", "reason"), CONTRADICTIONS.values(), ids=CONTRADICTIONS)
def test_a_manifest_that_contradicts_itself_is_refused(manifest: Manifest, reason: Reason) -> None:
    assert refusal(manifest) == reason


@pytest.mark.parametrize(
    "expected",
    [{"logits": (1,)}, {"logits": (1, 2, 3)}, {"logits": (1, 128)}, {"argmax": 0}, {"argmax": 2}],
    ids=str,
)
def test_a_golden_answer_that_cannot_be_one_is_refused(expected: dict[str, Any]) -> None:
    golden = changed(GOOD.golden[0], **{f"expected__{name}": value for name, value in expected.items()})
    assert refusal(changed(GOOD, golden=(golden,))) == Reason.MANIFEST_BAD


@pytest.mark.parametrize("band", [(100.0, 100.0), (0.0, 8000.5), (9000.0, 100.0)])
def test_a_mel_band_that_the_rate_does_not_hold_is_refused(band: tuple[float, float]) -> None:
    spec: AudioPreprocess = changed(TINY_AUDIO, fmin_hz=band[0], fmax_hz=band[1])
    sound = changed(GOOD, modality="microphone", compat__features=("logmel/1",), preprocess__spec=spec)
    assert refusal(sound) == Reason.PREPROCESS_MISMATCH


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"version": "logmel/2", "mel_scale": "slaney", "spectrum": "power"}, "logmel/2 needs floor_db"),
        ({"mel_scale": "slaney"}, "logmel/1 has no mel_scale"),
        ({"version": "logmel/3"}, "logmel/3"),
    ],
    ids=str,
)
def test_a_frontend_with_fields_of_another_version_is_refused(fields: dict[str, Any], told: str) -> None:
    tree = json.loads(encode_manifest(hollow_manifest(gate=MotionGate())[0]))
    tree["preprocess"]["spec"] = json.loads(msgspec.json.encode(TINY_AUDIO)) | fields
    with pytest.raises(BundleError, match=told) as caught:
        parse_manifest(json.dumps(tree).encode(), "x")
    assert caught.value.reason == Reason.MANIFEST_BAD


@pytest.mark.parametrize("gate", [MotionGate(), MotionGate(step=255, cells=768, hold_ms=0)])
def test_a_gate_is_read_as_it_was_written(gate: Gate) -> None:
    data = encode_manifest(hollow_manifest(gate=gate)[0])
    assert parse_manifest(data, "x").gate == gate
    assert b'\n"gate":{"kind":"motion","version":"motion/1","step":' in data


@pytest.mark.parametrize(
    "fields", [{"step": 0}, {"step": 256}, {"cells": 769}, {"hold_ms": -1}, {"open_dbfs": -50.0}], ids=str
)
def test_a_gate_with_a_value_that_cannot_be_is_refused(fields: dict[str, Any]) -> None:
    tree = json.loads(encode_manifest(hollow_manifest(gate=MotionGate())[0]))
    tree["gate"] |= fields
    assert refusal(json.dumps(tree).encode()) == Reason.MANIFEST_BAD


def test_the_quantization_at_the_input_is_what_the_frontend_gives() -> None:
    from galago_edge.preprocess import FEATURE_SCALE, FEATURE_ZERO_POINT

    assert INPUT_QUANTIZATION["logmel/1"][2:] == (FEATURE_SCALE, FEATURE_ZERO_POINT)


def structs(kind: Any) -> set[type[msgspec.Struct]]:
    """Every struct that a manifest can hold."""
    info = msgspec.inspect.multi_type_info([kind])
    found: set[type[msgspec.Struct]] = set()

    def walk(node: object) -> None:
        if isinstance(node, msgspec.inspect.StructType):
            found.add(node.cls)
            for field in node.fields:
                walk(field.type)
        for name in ("type", "item_type", "value_type"):
            if isinstance(below := getattr(node, name, None), msgspec.inspect.Type):
                walk(below)
        for below in getattr(node, "types", ()):
            walk(below)

    walk(info[0])
    return found


def test_the_document_names_every_field() -> None:
    text = (Path(__file__).parents[2] / "docs" / "bundle-format.md").read_text(encoding="utf-8")
    found = structs(Manifest)
    assert len(found) >= 20
    for struct in found:
        for name in struct.__struct_fields__:
            assert f"`{name}`" in text, f"{struct.__name__}.{name}"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


def places(tree: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every key or index below ``tree``, as a path."""
    steps = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    return [place for key, child in steps for place in [(*path, key), *places(child, (*path, key))]]


PLACES = places(json.loads(GOOD_BYTES))


@settings(max_examples=150, deadline=None)
@given(where=st.lists(st.sampled_from(PLACES), min_size=1, max_size=3), what=JSON, drop=st.booleans())
def test_whatever_stands_anywhere_in_a_manifest_gives_a_manifest_or_a_reason(
    where: list[tuple[Any, ...]], what: Any, drop: bool
) -> None:
    tree = json.loads(GOOD_BYTES)
    for *path, last in where:
        node = tree
        try:
            for key in path:
                node = node[key]
            if drop:
                del node[last]
            else:
                node[last] = copy.deepcopy(what)  # else it could end up inside itself
        except (KeyError, IndexError, TypeError):
            continue  # an earlier change took the place away
    data = json.dumps(tree).encode()
    try:
        manifest = parse_manifest(data, "x")
    except GalagoError as error:
        assert "\n" not in str(error)
    else:
        assert parse_manifest(encode_manifest(manifest), "x") == manifest


@settings(max_examples=150, deadline=None)
@given(
    data=st.binary(max_size=200)
    | st.text(max_size=200).map(str.encode)
    | JSON.map(json.dumps).map(str.encode)
)
def test_any_bytes_are_refused_with_a_reason(data: bytes) -> None:
    with pytest.raises(GalagoError):
        parse_manifest(data, "x")


@pytest.mark.parametrize(
    "data",
    [b'"' * MANIFEST_LIMIT_BYTES, b"\\" * MANIFEST_LIMIT_BYTES, b"[" * MANIFEST_LIMIT_BYTES,
     b'{"a":' * 40_000, b"{" + b",".join(b'"%d":0' % n for n in range(20_000)) + b',"0":0}'],
    ids=["quotes", "backslashes", "brackets", "objects", "keys"],
)  # fmt: skip
def test_hostile_bytes_take_no_time(data: bytes) -> None:
    begin = time.process_time()
    assert refusal(data) == Reason.MANIFEST_BAD
    assert time.process_time() - begin < 5  # seconds; what is quadratic takes minutes
