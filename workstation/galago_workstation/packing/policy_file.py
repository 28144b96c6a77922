"""POLICY.toml: policies of labels for ``galago bundle repolicy``, as ``galago qa tune`` writes them.

```toml
bundle = "5f1c…"             # optional: the id of the bundle that they are for; another one is refused
[label."smoke alarm"]
on = 0.62
off = 0.4
smoothing_windows = 5
min_count = 2
refractory_ms = 3000
```
What is left out stays as it is. Keys and bounds are those of the manifest's ``policy``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec
from msgspec import UNSET, UnsetType

from galago_edge.bundle.policy_history import PolicyChange
from galago_edge.contract.errors import CallerError, Reason
from galago_edge.contract.known_names import known_names
from galago_edge.contract.manifest import Label, LabelPolicy, Sha256
from galago_edge.host.toml_file import load_toml

DOCS = "docs/bundle-format.md"
_FIELDS = LabelPolicy.__struct_fields__


class PolicyFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What POLICY.toml says."""

    label: dict[str, dict[str, float]]
    """Keys of a :class:`LabelPolicy` by the label's name; what is not named stays as it is."""
    bundle: Sha256 | UnsetType = UNSET
    """The id of the only bundle that it is for."""


def read_policies(path: Path) -> PolicyFile:
    """Read POLICY.toml.

    Raises:
        CallerError: CONFIG_BAD; it is missing, no TOML, or has an unknown table.
        LinkError: It cannot be read.
    """
    return load_toml(path, PolicyFile, docs=DOCS)


def with_policies(
    labels: Sequence[Label], given: PolicyFile, where: str
) -> tuple[tuple[Label, ...], tuple[PolicyChange, ...]]:
    """Return the labels with their new policies, and every value that is another one now.

    Raises:
        CallerError: CONFIG_BAD; a label that there is not, or a background label; an unknown key or a value
            out of bounds; ``off`` above ``on``; or nothing would change.
    """
    by_name = {label.name: label for label in labels}
    for name in given.label:
        if name not in by_name:
            raise _bad(f"{where}: {name!r} is no label of the bundle", known_names(name, by_name))
        if by_name[name].background:
            raise _bad(
                f"{where}: {name!r} is a background label, which never becomes an event", "leave it out"
            )
    new = tuple(_changed(label, given, where) for label in labels)
    changes = tuple(
        PolicyChange(label=before.name, field=field, old=old, new=now)
        for before, after in zip(labels, new, strict=True)
        for field in _FIELDS
        if (old := getattr(before.policy, field)) != (now := getattr(after.policy, field))
    )
    if not changes:
        raise _bad(
            f"{where}: every policy is what the bundle says already", "change a value, or use it as it is"
        )
    return new, changes


def write_policies(
    policies: Mapping[str, LabelPolicy], *, bundle: str, comments: Sequence[str] = ()
) -> bytes:
    """Return the content of a POLICY.toml that names every field; ``comments`` stand on top."""
    lines = [f"# {line}" for line in comments]
    lines.append(f'bundle = "{bundle}"')
    for name, policy in policies.items():
        lines += ["", f"[label.{json.dumps(name, ensure_ascii=False)}]"]  # JSON's strings are TOML's
        lines += [f"{field} = {getattr(policy, field)}" for field in _FIELDS]
    return "\n".join(lines).encode() + b"\n"


def _changed(label: Label, given: PolicyFile, where: str) -> Label:
    table = given.label.get(label.name)
    if table is None:
        return label
    try:
        # strict=False: TOML's 3.0 is a count of three
        policy = msgspec.convert({**msgspec.to_builtins(label.policy), **table}, LabelPolicy, strict=False)
    except msgspec.ValidationError as error:
        raise _bad(f"{where}: [label.{label.name}]: {error}", f"see {DOCS}") from None
    if policy.off > policy.on:
        raise _bad(
            f"{where}: {label.name!r} would turn off at {policy.off}, above {policy.on} where it turns on",
            "give on and off, off at most as large as on",
        )
    return msgspec.structs.replace(label, policy=policy)


def _bad(message: str, hint: str) -> CallerError:
    return CallerError(Reason.CONFIG_BAD, message, hint=hint)
