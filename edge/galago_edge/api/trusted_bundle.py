"""Opening a bundle, with an explicit answer to the question whose signature counts."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from galago_edge.bundle import Bundle, TrustedKeys
from galago_edge.bundle import open_bundle as open_checked

FilePath = str | os.PathLike[str]


def open_bundle(
    path: FilePath,
    *,
    trusted: FilePath | Sequence[FilePath] = (),
    threshold: int = 1,
    root: FilePath | None = None,
    unverified: bool = False,
) -> Bundle:
    """Open a ``.galago`` file, or the folder of an installed bundle, and check every byte of it.

    Say whose bundles you take, in one of three ways:

    Args:
        path: The file or folder.
        trusted: Public key files (``release.pub``), one or several; at least ``threshold`` of their keys
            must have signed the bundle.
        threshold: From 1 to 16; only with ``trusted``.
        root: Folder of a device's store; its trusted and revoked keys, its threshold and its channel count.
        unverified: True takes the bundle whoever signed it. That it is whole and that its signatures fit is
            checked all the same, but anybody can sign a bundle with a key of their own.

    Raises:
        BundleError: It is not whole, not signed, contradicts itself, or not enough trusted keys signed it.
        CallerError: TARGET_UNKNOWN, there is no such file, or no folder ``root``; KEY_BAD, a key file
            holds no public key; CONFIG_BAD, the policy of ``root`` cannot be understood.
        LinkError: A file cannot be read.
        ValueError: None of the three ways is given, or more than one; a ``threshold`` out of range.
    """
    if not isinstance(unverified, bool):  # 'no' must not mean yes
        raise TypeError(f"unverified is a {type(unverified).__name__}, expected True or False")
    files = [trusted] if isinstance(trusted, str | os.PathLike) else list(trusted)
    ways = [name for name, given in (("trusted", files), ("root", root), ("unverified", unverified)) if given]
    if len(ways) != 1:
        raise ValueError(
            f"open_bundle was given {' and '.join(ways) or 'nothing'} to trust; expected exactly one of "
            "trusted=KEY_FILES, root=STORE_FOLDER, unverified=True"
        )
    if not 1 <= threshold <= 16 or (threshold > 1 and not files):
        raise ValueError(f"threshold is {threshold}; expected 1 to 16, and more than 1 only with trusted=...")
    keys = None
    if files:
        keys = TrustedKeys.of(map(Path, files), threshold)
    elif root is not None:
        from galago_edge.store.inventory import existing_store  # here: a replay has no store

        keys = existing_store(Path(root)).trusted()
    return open_checked(Path(path), keys)
