"""Write a bundle: the same manifest, files and keys give the same bytes."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from galago_edge.bundle.archive import write_archive
from galago_edge.bundle.manifest_bytes import encode_manifest
from galago_edge.bundle.reader import MANIFEST_NAME, SIGNATURE_NAME, Bundle, open_bundle
from galago_edge.bundle.signature import add_signatures, sign
from galago_edge.contract.errors import BundleError, Reason, disk_error
from galago_edge.contract.manifest import FileEntry, Manifest
from galago_edge.host.file_replacement import Durable, replacement


def file_entry(
    path: str, role: Literal["model", "frontend", "golden", "card", "license"], data: bytes
) -> FileEntry:
    """Return the manifest's line for a file with this content."""
    return FileEntry(path=path, role=role, size=len(data), sha256=hashlib.sha256(data).hexdigest())


def write_bundle(
    path: Path,
    manifest: Manifest,
    files: Mapping[str, bytes],
    keys: Iterable[Ed25519PrivateKey],
    *,
    extra: Mapping[str, Any] | None = None,
) -> Bundle:
    """Write and sign a bundle, open it again and return it, every check passed.

    ``files``: content by the paths that the manifest lists. ``extra``: further top-level keys of the
    manifest, which begin with ``x-``. What lay at ``path`` stays as it was when anything fails.

    Raises:
        BundleError: The manifest contradicts itself or the files.
        LinkError: The folder cannot be written.
    """
    manifest_bytes = encode_manifest(manifest, extra)
    members = [(MANIFEST_NAME, manifest_bytes), (SIGNATURE_NAME, sign(manifest_bytes, keys))]
    for entry in manifest.files:
        data = files.get(entry.path, b"")
        if file_entry(entry.path, entry.role, data) != entry:
            raise BundleError(
                Reason.FILE_HASH,
                f"{path.name}: {entry.path} is not what the manifest says",
                hint="make the manifest from the files that are packed",
            )
        members.append((entry.path, data))
    return _put(path, members)


def sign_again(bundle: Bundle, keys: Iterable[Ed25519PrivateKey], out: Path) -> Bundle:
    """Write ``bundle`` to ``out`` with signatures of these keys added, open it again and return it.

    The manifest stays as it is to the last byte, and so does the bundle's id. ``out`` may be the file that
    the bundle was opened from; what lay there stays as it was when anything fails.

    Raises:
        BundleError: The bundle was changed meanwhile; TOO_BIG, too many signatures.
        LinkError: The folder cannot be written.
    """
    signatures = add_signatures(bundle.manifest_bytes, bundle.signature_bytes, keys)
    members = [(MANIFEST_NAME, bundle.manifest_bytes), (SIGNATURE_NAME, signatures)]
    members += [(entry.path, bundle.read(entry.path)) for entry in bundle.manifest.files]
    return _put(out, members)


def _put(path: Path, members: Iterable[tuple[str, bytes]]) -> Bundle:
    try:
        with replacement(path, durable=Durable.WHOLE) as temporary:
            with temporary.open("xb") as out:
                write_archive(out, members)
                out.flush()
                os.fsync(out.fileno())
            open_bundle(temporary)  # a reader's eyes, before the old file is gone
    except OSError as error:
        raise disk_error(error, f"write {path}") from error
    return open_bundle(path)
