"""A new bundle from another one: the same model and files, other policies, and a history that says so."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
from msgspec import UNSET

import galago_workstation
from galago_edge.bundle import Bundle
from galago_edge.bundle.bundle_place import check_bundle_place
from galago_edge.bundle.keys import key_id, read_private_key
from galago_edge.bundle.manifest_extras import extra_of_bundle
from galago_edge.bundle.policy_history import (
    HISTORY_KEY,
    Ancestor,
    PolicyChange,
    Repolicied,
    history_of_bundle,
)
from galago_edge.contract.errors import CallerError, Reason
from galago_edge.contract.manifest import BundleInfo
from galago_workstation.packing.policy_file import read_policies, with_policies
from galago_workstation.packing.sealing import Sealed, seal


@dataclass(frozen=True, slots=True)
class NewRelease:
    """What the new bundle is called; None: it follows from the old one."""

    version: str | None = None
    """None: the old one with its last number one higher."""
    release_counter: int | None = None
    """None: the old one plus 1."""
    description: str | None = None


@dataclass(frozen=True, slots=True)
class RepoliciedBundle(Sealed):
    """A finished bundle."""

    changes: tuple[PolicyChange, ...]
    lost_signers: tuple[str, ...]
    """Keys that signed the old bundle and not this one; a device that trusts only these refuses it."""


def repolicy(
    bundle: Bundle,
    policy: Path,
    keys: Sequence[Path],
    out: Path | None,
    release: NewRelease,
    *,
    replace: bool = False,
) -> RepoliciedBundle:
    """Write ``out`` (None: ``NAME-VERSION.galago``) with the policies of the file ``policy``.

    Model, tables, golden samples, figures and provenance stay as they are to the last byte: a golden
    sample's answer is tensor and logits, which no policy changes. The same bundle, file and keys give the
    same bytes.

    Raises:
        CallerError: CONFIG_BAD; a policy that cannot be, that is for another bundle, or that changes
            nothing; a version that is none, or a release counter that does not grow. EXISTS; ``out`` is the
            bundle itself, no bundle, or without ``replace`` another one. KEY_BAD; a key that is none.
        BundleError: A device would refuse the result, or the old bundle's history cannot be read.
        ModelError: TAMPER_MISSED.
        LinkError: The disk.
    """
    private = [read_private_key(path) for path in keys]
    given = read_policies(policy)
    if given.bundle is not UNSET and given.bundle != bundle.id:
        raise CallerError(
            Reason.CONFIG_BAD,
            f"{policy} is for the bundle {given.bundle[:16]}…, {bundle.path} is {bundle.id[:16]}…",
            hint="use the bundle that it was made for; without the line bundle = it is for any",
        )
    labels, changes = with_policies(bundle.manifest.labels, given, str(policy))
    info = _released(bundle, release)
    out = out or Path(f"{info.name}-{info.version}.galago")
    if os.path.realpath(out) == os.path.realpath(bundle.path):
        raise CallerError(
            Reason.EXISTS,
            f"{out} is the bundle that the new one is made from",
            hint="give another --out FILE",
        )
    check_bundle_place(out)
    step = Repolicied(
        source=Ancestor(
            id=bundle.id,
            name=bundle.name,
            version=bundle.version,
            release_counter=bundle.release_counter,
        ),
        producer=info.producer,
        policy_sha256=hashlib.sha256(policy.read_bytes()).hexdigest(),
        changes=changes,
    )
    manifest = msgspec.structs.replace(bundle.manifest, bundle=info, labels=labels)
    files = {entry.path: bundle.read(entry.path) for entry in manifest.files}
    extra = extra_of_bundle(bundle) | {HISTORY_KEY: (*history_of_bundle(bundle), step)}
    sealed = seal(out, manifest, files, private, extra=extra, replace=replace)
    lost = tuple(signer for signer in bundle.signers if signer not in set(map(key_id, private)))
    return RepoliciedBundle(sealed.path, sealed.bundle, sealed.attacks, changes=changes, lost_signers=lost)


def _released(bundle: Bundle, release: NewRelease) -> BundleInfo:
    """Return name and numbers of the new bundle, which is a later release of the same name."""
    old = bundle.manifest.bundle
    major, minor, patch = map(int, old.version.split("."))
    counter = old.release_counter + 1 if release.release_counter is None else release.release_counter
    if counter <= old.release_counter:
        raise CallerError(
            Reason.CONFIG_BAD,
            f"the release counter would be {counter}, that of {bundle.path} is {old.release_counter}: no "
            f"device would take it",
            hint="give a higher --release-counter",
        )
    values = {
        "version": release.version or f"{major}.{minor}.{patch + 1}",
        "release_counter": counter,
        "description": old.description if release.description is None else release.description,
        "producer": f"galago {galago_workstation.__version__}",
    }
    try:
        return msgspec.convert({**msgspec.to_builtins(old), **values}, BundleInfo)
    except msgspec.ValidationError as error:
        raise CallerError(
            Reason.CONFIG_BAD,
            f"the new bundle: {error}",
            hint="give --version as three numbers, such as 1.4.1",
        ) from None
