"""The last step of every new bundle: written, signed, run and attacked before it takes its place."""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from galago_edge.bundle import Bundle, TrustedKeys, open_bundle, write_bundle
from galago_edge.bundle.bundle_place import refuse_other_bundle
from galago_edge.bundle.keys import key_id
from galago_edge.contract.errors import disk_error
from galago_edge.contract.manifest import Manifest
from galago_edge.host.file_replacement import Durable, replacement
from galago_edge.pipeline.golden_run import run_golden
from galago_workstation.packing.self_attack import attack


@dataclass(frozen=True, slots=True)
class Sealed:
    """A bundle that lies where it should, every check passed."""

    path: Path
    bundle: Bundle
    attacks: int
    """Altered copies that this machine was given, all of which it refused."""


def seal(
    out: Path,
    manifest: Manifest,
    files: Mapping[str, bytes],
    keys: Sequence[Ed25519PrivateKey],
    *,
    extra: Mapping[str, Any] | None = None,
    replace: bool = False,
) -> Sealed:
    """Write and sign a bundle, run its golden samples, attack it; ``out`` is replaced only then.

    ``extra``: further top-level keys of the manifest, which begin with ``x-``. ``replace``: even if
    ``out`` is another bundle.

    Raises:
        CallerError: EXISTS; ``out`` is another bundle, or none.
        BundleError: A device would refuse the result.
        ModelError: TAMPER_MISSED, this machine would take altered copies of the bundle.
        LinkError: The disk.
    """
    trusted = TrustedKeys.exactly(map(key_id, keys))
    with _beside(out) as temporary:
        new = write_bundle(temporary, manifest, files, keys, extra=extra)
        refuse_other_bundle(out, new.id, new.signers, replace=replace)
        run_golden(new)
        attacks = attack(open_bundle(temporary, trusted), trusted)
    return Sealed(path=out, bundle=open_bundle(out, trusted), attacks=attacks)


@contextlib.contextmanager
def _beside(out: Path) -> Iterator[Path]:
    """Give a path in the same folder that takes the place of ``out`` when the block ends well."""
    if not out.parent.is_dir():
        raise disk_error(FileNotFoundError(errno.ENOENT, "there is no such folder"), f"write {out}")
    try:
        with replacement(out, durable=Durable.WHOLE) as temporary:
            yield temporary
    except OSError as error:
        raise disk_error(error, f"write {out}") from error
