"""The signed list of bundles in a folder that a web server gives out: ``index.json`` and ``index.sig``.

The bundles are signed themselves; the list is signed so that nobody between server and device can offer an
older state of the folder as the present one: ``sequence`` only grows, and a device never goes back.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from galago_edge.bundle.reader import open_bundle
from galago_edge.bundle.signature import SIGNATURE_LIMIT_BYTES, sign, verify
from galago_edge.bundle.trust import TrustedKeys
from galago_edge.contract.decoding import from_json
from galago_edge.contract.errors import BundleError, CallerError, Reason, disk_error
from galago_edge.contract.manifest import BundleName, Natural, Sha256, Version
from galago_edge.host.file_replacement import Durable, replace_file
from galago_edge.host.former_output import OutputKind, refuse_other_kind

INDEX_NAME = "index.json"
INDEX_SIGNATURE_NAME = "index.sig"
INDEX_LIMIT_BYTES = 256 * 1024
_DOMAIN = b"galago.index/1\0"
"""Stands before the index in what is signed: no manifest begins so, and no index without it is taken."""


_INDEX = OutputKind("a list of bundles", re.compile(rb'\{\s*"schema":\s*"galago\.index/'))
_INDEX_SIGNATURE = OutputKind("its signature", re.compile(rb'\{"signatures":\['))


class IndexEntry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One bundle of the folder."""

    name: BundleName
    channel: BundleName
    version: Version
    release_counter: Natural
    id: Sha256
    file: Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,120}\.galago\Z")]
    """Beside the index."""
    size: Natural
    sha256: Sha256
    """Of the file."""


class Index(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The whole list: the highest release of each name and channel."""

    schema: Literal["galago.index/1"] = "galago.index/1"
    sequence: Natural
    """Grows with every new list."""
    created_utc: str
    """For people: how old the newest list is."""
    bundles: tuple[IndexEntry, ...]


def write_index(folder: Path, keys: Sequence[Ed25519PrivateKey], *, sequence: int | None = None) -> Index:
    """Write index and signature for the ``*.galago`` files of a folder; every byte of them is checked.

    ``sequence``: one more than that of the index that is there, unless given.

    Raises:
        BundleError: A bundle is not whole.
        CallerError: TARGET_UNKNOWN; there is no such folder, or it holds none. CONFIG_BAD; the index that is
            there is none, or two bundles could both be the highest release. EXISTS; what has the name of
            index or signature is something else.
        LinkError: The folder cannot be read or written.
    """
    found: dict[tuple[str, str], list[IndexEntry]] = {}
    try:
        for path in sorted(folder.glob("*.galago")):
            entry = _entry(path)
            found.setdefault((entry.name, entry.channel), []).append(entry)
        if not found:
            met = "holds no .galago file" if folder.is_dir() else "is no folder"
            raise CallerError(Reason.TARGET_UNKNOWN, f"{folder} {met}", hint="put the bundles there first")
        refuse_other_kind(folder / INDEX_NAME, _INDEX)
        refuse_other_kind(folder / INDEX_SIGNATURE_NAME, _INDEX_SIGNATURE)
        if sequence is None:
            sequence = _last_sequence(folder) + 1
        index = Index(
            sequence=sequence,
            created_utc=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            bundles=tuple(_newest(folder, found[key]) for key in sorted(found)),
        )
        data = msgspec.json.format(msgspec.json.encode(index), indent=1) + b"\n"
        # a device that meets the new list with the old signature asks again
        for name, content in ((INDEX_NAME, data), (INDEX_SIGNATURE_NAME, sign(_DOMAIN + data, keys))):
            replace_file(folder / name, content, durable=Durable.NO)
    except OSError as error:
        raise disk_error(error, f"write the index of {folder}") from error
    return index


def read_index(data: bytes, signature: bytes, trusted: TrustedKeys, where: str) -> Index:
    """Check the signatures of an index and return it.

    Raises:
        BundleError: SIG_MISSING, SIG_BAD, KEY_UNKNOWN, KEY_REVOKED, TOO_BIG; MANIFEST_BAD, it is no index.
    """
    if len(data) > INDEX_LIMIT_BYTES or len(signature) > SIGNATURE_LIMIT_BYTES:
        raise BundleError(Reason.TOO_BIG, f"{where} is too long for an index", hint="check the address")
    trusted.require(verify(_DOMAIN + data, signature, where), where)
    try:
        return from_json(data, type=Index)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BundleError(
            Reason.MANIFEST_BAD,
            f"{where}: {error}",
            hint="make it again: galago bundle index FOLDER --key KEY",
        ) from None


def _newest(folder: Path, entries: Sequence[IndexEntry]) -> IndexEntry:
    """Return the highest release; of two that could be it devices that have one refuse the other."""
    newest = max(entries, key=lambda entry: entry.release_counter)  # the first of equal ones
    for entry in entries:
        if entry.release_counter == newest.release_counter and entry.id != newest.id:
            raise CallerError(
                Reason.CONFIG_BAD,
                f"{folder}: {newest.file} and {entry.file} are different bundles of {entry.name} "
                f"({entry.channel}) with the same release counter {entry.release_counter}",
                hint="take one of them away, or build it again with a higher release counter",
            )
    return newest


def _entry(path: Path) -> IndexEntry:
    bundle = open_bundle(path)
    info = bundle.manifest.bundle
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    values = {
        "name": info.name,
        "channel": info.channel,
        "version": info.version,
        "release_counter": info.release_counter,
        "id": bundle.id,
        "file": path.name,
        "size": path.stat().st_size,
        "sha256": digest,
    }
    try:
        return msgspec.convert(values, IndexEntry)
    except msgspec.ValidationError:
        raise CallerError(
            Reason.CONFIG_BAD,
            f"{path.name!r} cannot stand in an index",
            hint="name the file with letters, digits and ._- only",
        ) from None


def _last_sequence(folder: Path) -> int:
    path = folder / INDEX_NAME
    if not path.exists():
        return 0
    try:
        return from_json(path.read_bytes(), type=Index).sequence
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise CallerError(
            Reason.CONFIG_BAD, f"{path}: {error}", hint="move it away, or give --sequence"
        ) from None
