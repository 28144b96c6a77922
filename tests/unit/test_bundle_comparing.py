"""The difference of two bundles: labels by name, operators by version, and no field that nobody compares."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import msgspec
import pytest

from galago_edge.bundle.comparison import Difference, MovedLabel, compare_bundles, objections
from galago_edge.bundle.manifest_bytes import manifest_id
from galago_edge.contract.errors import Reason
from galago_edge.contract.manifest import (
    Label,
    LabelPolicy,
    LevelGate,
    Manifest,
    MotionGate,
    Operator,
    Provenance,
)
from test_kit import TINY_AUDIO, changed, hollow_manifest


@dataclass
class Opened:
    """What comparing asks of a bundle."""

    manifest: Manifest
    signers: tuple[str, ...] = ("0a" * 32,)
    extra: bytes = b"{"

    @property
    def manifest_bytes(self) -> bytes:
        return self.extra + msgspec.json.encode(self.manifest)[1:]

    @property
    def id(self) -> str:
        return manifest_id(self.manifest_bytes)


def manifest(*labels: str | Label, **fields: Any) -> Manifest:
    return changed(hollow_manifest(labels=labels or ("no", "yes"))[0], **fields)


def compare(old: Manifest | Opened, new: Manifest | Opened) -> Difference:
    sides = [side if isinstance(side, Opened) else Opened(side) for side in (old, new)]
    return compare_bundles(*sides)  # type: ignore[arg-type]


def told(difference: Difference) -> dict[str, tuple[Any, Any]]:
    return {change.what: (change.old, change.new) for change in difference.changes}


def test_the_same_bundle_differs_in_nothing() -> None:
    difference = compare(manifest(), manifest())
    assert difference.is_empty and difference.succession == "the same bundle"


def test_labels_are_added_removed_and_moved() -> None:
    difference = compare(manifest("a", "b", "c", "d"), manifest("b", "a", "e", "d"))
    assert (difference.added, difference.removed) == (("e",), ("c",))
    assert difference.moved == (MovedLabel("b", 1, 0), MovedLabel("a", 0, 1))
    assert told(difference)["labels.b.index"] == (1, 0)


def test_a_label_in_front_moves_all_behind_it() -> None:
    difference = compare(manifest("a", "b"), manifest("new", "a", "b"))
    assert [moved.name for moved in difference.moved] == ["a", "b"]


def test_a_threshold_is_told_by_label_even_where_the_label_moved() -> None:
    loud = Label(name="loud", policy=LabelPolicy(on=0.8))
    difference = compare(manifest("quiet", loud), manifest(changed(loud, policy__on=0.9), "quiet"))
    assert [(change.what, change.old, change.new) for change in difference.of("thresholds")] == [
        ("labels.loud.policy.on", 0.8, 0.9)
    ]


def test_an_operator_of_a_newer_version_is_another_operator() -> None:
    old = manifest(compat__ops=(Operator(name="CONV_2D", version=3, count=4),))
    new = manifest(compat__ops=(Operator(name="CONV_2D", version=5, count=4),))
    assert told(compare(old, new)) == {"ops.CONV_2D v3": (4, None), "ops.CONV_2D v5": (None, 4)}


@pytest.mark.parametrize(
    ("fields", "succession"),
    [
        ({"release_counter": 3}, "newer"),
        ({"release_counter": 1}, "older"),
        ({"description": "other"}, "same counter"),
        ({"release_counter": 3, "name": "other"}, "another name"),
    ],
)
def test_it_says_whether_a_device_would_take_it(fields: dict[str, Any], succession: str) -> None:
    base = manifest(bundle__release_counter=2)
    new = changed(base, **{f"bundle__{name}": value for name, value in fields.items()})
    assert compare(base, new).succession == succession


def test_another_signer_is_a_difference_of_the_same_bundle() -> None:
    difference = compare(Opened(manifest()), Opened(manifest(), signers=("0a" * 32, "0b" * 32)))
    assert difference.succession == "the same bundle" and not difference.is_empty
    assert told(difference) == {f"signature.{'0b' * 32}": (None, True)}


def test_what_the_types_do_not_know_is_compared_too() -> None:
    old = Opened(manifest(), extra=b'{"x-team":{"owner":"birds","level":1},')
    new = Opened(manifest(), extra=b'{"x-team":{"owner":"bats","level":1.0},')
    assert told(compare(old, new)) == {"x-team.owner": ("birds", "bats"), "x-team.level": (1, 1.0)}


def test_one_gate_instead_of_another_is_told() -> None:
    assert told(compare(manifest(), manifest(gate=MotionGate())))["gate.kind"] == (None, "motion")
    difference = compare(manifest(gate=MotionGate()), manifest(gate=LevelGate()))
    assert told(difference)["gate.kind"] == ("motion", "level")


def variants(node: Any, where: str = "") -> Iterator[tuple[str, Any]]:
    """Yield a copy of ``node`` for every leaf in it, with that leaf changed."""
    if isinstance(node, msgspec.Struct):
        for name in node.__struct_fields__:
            for what, value in variants(getattr(node, name), f"{where}.{name}"):
                yield what, msgspec.structs.replace(node, **{name: value})
    elif isinstance(node, tuple):
        for place, inner in enumerate(node):
            for what, value in variants(inner, f"{where}[{place}]"):
                yield what, (*node[:place], value, *node[place + 1 :])
        if node:
            yield f"{where} shorter", node[:-1]
    elif isinstance(node, dict):
        for key, inner in node.items():
            for what, value in variants(inner, f"{where}.{key}"):
                yield what, node | {key: value}
    elif isinstance(node, bool):
        yield where, not node
    elif isinstance(node, int | float):
        yield where, node + 1
    elif isinstance(node, str):
        yield where, "x" + node


ORIGIN = Provenance(
    trained_utc="2026-01-01T00:00:00Z",
    trained_by="x",
    seed=1,
    config_sha256="0" * 64,
    model_sha256="0" * 64,
    float_sha256="0" * 64,
    float_delta=0.0,
    versions={"tensorflow": "2.19"},
    measured_with="x",
)


@pytest.mark.parametrize(
    "other", [{}, {"gate": LevelGate(), "preprocess__spec": TINY_AUDIO, "provenance": ORIGIN}]
)
def test_no_value_of_a_manifest_can_change_unseen(other: dict[str, Any]) -> None:
    base = manifest(**other)

    seen = 0
    for what, variant in variants(base):
        difference = compare(base, variant)
        assert not difference.is_empty, what
        assert all(change.section != "other" or what == ".schema" for change in difference.changes), what
        seen += 1
    assert seen > 100


def test_every_change_is_data() -> None:
    difference = compare(manifest("a", "b"), manifest("b", "c", gate=MotionGate()))
    assert json.loads(json.dumps([[change.old, change.new] for change in difference.changes]))


# ---- what a device would object to


def objected(
    old: Manifest | Opened, new: Manifest | Opened, counter_jump: int = 10
) -> list[tuple[Reason, str]]:
    sides: list[Any] = [side if isinstance(side, Opened) else Opened(side) for side in (old, new)]
    return [(each.reason, each.text) for each in objections(*sides, counter_jump)]


def test_a_device_objects_neither_to_what_it_has_nor_to_another_name() -> None:
    base = manifest(bundle__release_counter=5)
    assert objected(base, base) == []
    other = changed(base, bundle__name="other", bundle__release_counter=1, bundle__channel="beta")
    assert objected(base, Opened(other, ("0b" * 32,))) == []


@pytest.mark.parametrize(
    ("counter", "objection"),
    [
        (2, (Reason.DOWNGRADE, "the release counter is 3 lower")),
        (4, (Reason.DOWNGRADE, "the release counter is 1 lower")),
        (5, (Reason.REPLAY, "it has the same release counter and is another bundle")),
        (6, None),
        (15, None),
        (16, (Reason.COUNTER_JUMP, "the release counter is 11 higher, 10 are allowed")),
    ],
)
def test_a_device_takes_what_is_ahead_but_not_too_far(
    counter: int, objection: tuple[Reason, str] | None
) -> None:
    new = manifest(bundle__release_counter=counter, bundle__version="9.9.9")
    assert objected(manifest(bundle__release_counter=5), new) == ([] if objection is None else [objection])


def test_a_device_objects_to_boards_machines_and_channels_that_are_gone() -> None:
    base = manifest(bundle__release_counter=5, compat__arch=("aarch64", "x86_64"))
    new = changed(
        base,
        bundle__release_counter=6,
        bundle__channel="beta",
        compat__device_profiles=("generic-x86-64", "another"),
        compat__arch=("armv7l",),
    )
    assert objected(base, new) == [
        (Reason.PROFILE_MISMATCH, "on the board generic-arm64, which it does not name"),
        (Reason.ARCH, "on the machine aarch64, x86_64, which it does not name"),
        (Reason.CHANNEL_MISMATCH, "where the device follows the channel stable"),
    ]


@pytest.mark.parametrize(
    ("signers", "objects"),
    [(("0a" * 32,), False), (("0a" * 32, "0b" * 32), False), (("0b" * 32,), True), ((), True)],
)
def test_one_signer_of_the_old_bundle_must_have_signed_the_new_one(
    signers: tuple[str, ...], objects: bool
) -> None:
    new = Opened(manifest(bundle__release_counter=6), signers)
    text = "where the device trusts the keys that signed OLD and no other"
    assert objected(manifest(bundle__release_counter=5), new) == [(Reason.KEY_UNKNOWN, text)] * objects


def test_changes_stand_in_the_order_of_the_sections() -> None:
    base = manifest("no", Label(name="yes", policy=LabelPolicy(on=0.8)), bundle__release_counter=1)
    entry = base.files[0]
    new = changed(
        base,
        files=(changed(entry, size=entry.size + 1), *base.files[1:]),
        labels=(base.labels[0], changed(base.labels[1], policy__on=0.9)),
        golden=(changed(base.golden[0], label="no"), *base.golden[1:]),
        bundle__release_counter=2,
        data__accuracy_int8=0.5,
    )
    found = [(change.section, change.what) for change in compare(base, new).changes]
    assert found == [
        ("release", "bundle.release_counter"),
        ("thresholds", "labels.yes.policy.on"),
        ("metrics", "data.accuracy_int8"),
        ("golden", f"golden.{base.golden[0].file}.label"),
        ("files", f"files.{entry.path}.size"),
    ]
