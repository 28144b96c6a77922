"""Which keys a device believes: one file each in ROOT/trust."""

from __future__ import annotations

import contextlib
import secrets
from pathlib import Path

from galago_edge.bundle.keys import PUBLIC_SUFFIX, public_line
from galago_edge.contract.errors import disk_error
from galago_edge.store.folder import Store


def trust_key(root: Path, keyid: str, comment: str) -> Path:
    """Let the device at ``root`` take bundles by this key; return the file that says so.

    Raises:
        LinkError: The folder cannot be written.
    """
    folder = Store(root).trust
    path = folder / f"{keyid}{PUBLIC_SUFFIX}"
    temporary = folder / f".{secrets.token_hex(8)}.tmp"  # no *.pub, so never taken for a key
    try:
        folder.mkdir(parents=True, exist_ok=True)
        temporary.write_text(public_line(keyid, comment), encoding="utf-8")
        temporary.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise disk_error(error, f"write {path}") from error
    return path
