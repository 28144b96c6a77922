"""Where a bundle may be written: a new file, or over the same bundle; over another one only when told to."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from galago_edge.bundle.archive import header
from galago_edge.bundle.reader import MANIFEST_NAME, open_bundle
from galago_edge.contract.errors import BundleError, CallerError, Reason
from galago_edge.host.former_output import OutputKind, refuse_other_kind

_NAME_FIELD = slice(0, 108)
"""Name and mode of the first member: what no size changes."""

BUNDLE = OutputKind("a bundle", re.compile(re.escape(header(MANIFEST_NAME, 0)[_NAME_FIELD])))


def check_bundle_place(path: Path | None) -> None:
    """Refuse a file that is no bundle: a key, a policy, a picture. Asked before any work.

    Raises:
        CallerError: EXISTS.
        LinkError: It is there and cannot be read.
    """
    refuse_other_kind(path, BUNDLE)


def refuse_other_bundle(path: Path, new_id: str, new_signers: Iterable[str], *, replace: bool) -> None:
    """Refuse to write a bundle over another one, or over signatures that the new file would lack.

    Args:
        path: Where it shall be.
        new_id: Id of the bundle that is written.
        new_signers: Ids of the keys that signed it.
        replace: Whether somebody said that what lies there shall go; what is no bundle stays all the same.

    Raises:
        CallerError: EXISTS.
        LinkError: It is there and cannot be read.
    """
    check_bundle_place(path)
    if replace or not path.is_file() or not path.stat().st_size:
        return
    try:
        with open_bundle(path) as there:
            if there.id == new_id and set(there.signers) <= set(new_signers):
                return
            met = f"bundle {there} ({there.id[:16]}…)"
            if there.id == new_id:
                met += ", with signatures that would be lost"
    except BundleError as error:
        met = f"a damaged bundle ({error.reason})"
    raise CallerError(
        Reason.EXISTS,
        f"{path} exists and is {met}, expected a new file or the same bundle; nothing was written",
        hint="give a higher --version or another --out, or add --replace",
    )
