"""What differs between two bundles, told from their manifests: nothing of a manifest is left out.

A manifest is laid out flat, ``labels.smoke alarm.policy.on`` = 0.7, with lists that have names (labels,
operators, files, models) keyed by them, so that a label that moves to another output is one change and
not many. Every leaf belongs to exactly one section.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import msgspec

from galago_edge.bundle.reader import Bundle
from galago_edge.contract.errors import Reason
from galago_edge.contract.manifest import Manifest

Section = Literal[
    "release", "compat", "labels", "thresholds", "decision", "gate", "preprocess", "tensors", "ops",
    "resources", "metrics", "golden", "health", "rollback", "data", "files", "signatures", "other",
]  # fmt: skip
SECTIONS: tuple[Section, ...] = get_args(Section)
Succession = Literal["the same bundle", "newer", "older", "same counter", "another name"]


@dataclass(frozen=True, slots=True)
class MovedLabel:
    """A label that both bundles have, at another output of the model."""

    name: str
    old_index: int
    new_index: int


@dataclass(frozen=True, slots=True)
class ManifestDifference:
    """One value that differs. None: it is not there."""

    section: Section
    what: str
    """Where in the manifest: ``labels.smoke alarm.policy.on``."""
    old: Any
    new: Any


@dataclass(frozen=True, slots=True)
class Difference:
    """Everything that differs between two bundles."""

    succession: Succession
    """A device that has the old one takes ``newer`` without :func:`objections`; ``another name`` too."""
    old_bytes: int
    """Of all its files together."""
    new_bytes: int
    added: tuple[str, ...]
    """Labels that only the new one has, in output order."""
    removed: tuple[str, ...]
    moved: tuple[MovedLabel, ...]
    changes: tuple[ManifestDifference, ...]
    """In the order of ``SECTIONS``; added, removed and moved labels stand here too."""

    @property
    def is_empty(self) -> bool:
        """Whether the two are one bundle, signatures included."""
        return not self.changes

    def of(self, section: Section) -> tuple[ManifestDifference, ...]:
        """Return the changes of one section."""
        return tuple(change for change in self.changes if change.section == section)


@dataclass(frozen=True, slots=True)
class Objection:
    """Why a device that has the old bundle would refuse the new one."""

    reason: Reason
    text: str
    """Completes "refused: ..."."""


def compare_bundles(old: Bundle, new: Bundle) -> Difference:
    """Return what ``new`` says otherwise than ``old``."""
    before = [label.name for label in old.manifest.labels]
    after = [label.name for label in new.manifest.labels]
    moved = [
        MovedLabel(name, before.index(name), place)
        for place, name in enumerate(after)
        if name in before and before.index(name) != place
    ]
    changes = list(_changes(_flat(old), _flat(new)))
    changes.sort(key=lambda change: SECTIONS.index(change.section))
    return Difference(
        succession=_succession(old, new),
        old_bytes=sum(entry.size for entry in old.manifest.files),
        new_bytes=sum(entry.size for entry in new.manifest.files),
        added=tuple(name for name in after if name not in before),
        removed=tuple(name for name in before if name not in after),
        moved=tuple(moved),
        changes=tuple(changes),
    )


def objections(old: Bundle, new: Bundle, counter_jump: int) -> tuple[Objection, ...]:
    """Return why a device that has ``old`` would refuse ``new``, as far as the two tell.

    ``counter_jump``: how far above its active release a device takes one.
    """
    return tuple(Objection(reason, text) for reason, text in _objections(old, new, counter_jump))


def _objections(old: Bundle, new: Bundle, counter_jump: int) -> Iterator[tuple[Reason, str]]:
    before, after = old.manifest, new.manifest
    if old.id == new.id or before.bundle.name != after.bundle.name:
        return
    ahead = after.bundle.release_counter - before.bundle.release_counter
    if ahead < 0:
        yield Reason.DOWNGRADE, f"the release counter is {-ahead} lower"
    elif ahead == 0:
        yield Reason.REPLAY, "it has the same release counter and is another bundle"
    elif ahead > counter_jump:
        yield Reason.COUNTER_JUMP, f"the release counter is {ahead} higher, {counter_jump} are allowed"
    for reason, what, names, left in (
        (Reason.PROFILE_MISMATCH, "board", before.compat.device_profiles, after.compat.device_profiles),
        (Reason.ARCH, "machine", before.compat.arch, after.compat.arch),
    ):
        if gone := [name for name in names if name not in left]:
            yield reason, f"on the {what} {', '.join(gone)}, which it does not name"
    if before.bundle.channel != after.bundle.channel:
        yield Reason.CHANNEL_MISMATCH, f"where the device follows the channel {before.bundle.channel}"
    if not set(old.signers) & set(new.signers):
        yield Reason.KEY_UNKNOWN, "where the device trusts the keys that signed OLD and no other"


def _succession(old: Bundle, new: Bundle) -> Succession:
    before, after = old.manifest.bundle, new.manifest.bundle
    if old.id == new.id:
        return "the same bundle"
    if before.name != after.name:
        return "another name"
    if after.release_counter == before.release_counter:
        return "same counter"
    return "newer" if after.release_counter > before.release_counter else "older"


def _changes(
    old: Mapping[str, tuple[Section, Any]], new: Mapping[str, tuple[Section, Any]]
) -> Iterator[ManifestDifference]:
    for what in dict.fromkeys((*old, *new)):
        section = (old.get(what) or new[what])[0]
        before, after = (side[what][1] if what in side else None for side in (old, new))
        if before != after or type(before) is not type(after):
            yield ManifestDifference(section, what, before, after)


def _flat(bundle: Bundle) -> dict[str, tuple[Section, Any]]:
    """Return every leaf of the manifest by its place, and who signed it."""
    found: dict[str, tuple[Section, Any]] = {}
    for section, what, value in _leaves(bundle.manifest):
        found[what] = (section, value)
    extra = json.loads(bundle.manifest_bytes)
    for key in (key for key in extra if key.startswith("x-")):
        found.update({what: ("other", value) for what, value in _walk(key, extra[key])})
    for signer in bundle.signers:
        found[f"signature.{signer}"] = ("signatures", True)
    return found


def _leaves(manifest: Manifest) -> Iterator[tuple[Section, str, Any]]:
    parts = msgspec.to_builtins(manifest)
    labels, ops = parts.pop("labels"), parts["compat"].pop("ops")
    recall = parts["data"].pop("recall_int8")
    for index, label in enumerate(labels):
        policy, name = label.pop("policy"), label.pop("name")
        yield "labels", f"labels.{name}.index", index
        yield from (("labels", f"labels.{name}.{key}", value) for key, value in label.items())
        yield from (("thresholds", f"labels.{name}.policy.{key}", value) for key, value in policy.items())
    for op in ops:
        yield "ops", f"ops.{op['name']} v{op['version']}", op["count"]
    for name, value in recall.items():
        yield "metrics", f"recall_int8.{name}", value
    for number, model in enumerate(parts.pop("model")):
        what = f"model.{model.pop('backend')}"
        yield "tensors", f"{what}.place", number
        yield from (("tensors", key, value) for key, value in _walk(what, model))
    for key, by in (("golden", "file"), ("files", "path")):
        section: Section = "golden" if key == "golden" else "files"
        for number, entry in enumerate(parts.pop(key)):
            what = f"{key}.{entry.pop(by)}"
            yield section, f"{what}.place", number
            yield from ((section, inner, value) for inner, value in _walk(what, entry))
    for key, part in parts.items():
        for what, value in _walk(key, part):
            yield _SECTION_OF.get(what, _SECTION_OF.get(key, "other")), what, value


_SECTION_OF: dict[str, Section] = {
    "bundle": "release",
    "compat": "compat",
    "decision": "decision",
    "gate": "gate",
    "modality": "preprocess",
    "preprocess": "preprocess",
    "resources": "resources",
    "health": "health",
    "rollback": "rollback",
    "data": "data",
    "provenance": "data",
    "data.accuracy_float": "metrics",
    "data.accuracy_int8": "metrics",
    "data.test_samples": "metrics",
}


def _walk(what: str, node: Any) -> Iterator[tuple[str, Any]]:
    """Yield the leaves below ``node``. A list of plain values is one leaf: a shape, a set of boards."""
    if isinstance(node, Mapping):
        for key, value in node.items():
            yield from _walk(f"{what}.{key}", value)
    elif isinstance(node, Sequence) and any(isinstance(value, Mapping) for value in node):
        for number, value in enumerate(node):
            yield from _walk(f"{what}[{number}]", value)
    else:
        yield what, node
