"""The keys of a manifest that begin with ``x-``: signed with it, and read by no runtime.

Nothing there decides an answer, so devices of every version take bundles that have them.
"""

from __future__ import annotations

from typing import TypeVar

import msgspec

from galago_edge.bundle.reader import Bundle
from galago_edge.contract.decoding import from_json
from galago_edge.contract.errors import BundleError, Reason

T = TypeVar("T")


def extra_of_bundle(bundle: Bundle) -> dict[str, object]:
    """Return the top-level keys of a manifest that no runtime reads."""
    tree = from_json(bundle.manifest_bytes)
    return {key: value for key, value in tree.items() if key.startswith("x-")}


def read_extra(bundle: Bundle, key: str, kind: type[T], *, written_by: str) -> T | None:
    """Return what a manifest has under ``key``; None: it does not have it.

    ``written_by``: the command that writes it, for who must make the bundle again.

    Raises:
        BundleError: MANIFEST_BAD; it is something else than ``kind``.
    """
    told = extra_of_bundle(bundle).get(key)
    try:
        return None if told is None else msgspec.convert(told, kind)
    except msgspec.ValidationError as error:
        raise BundleError(
            Reason.MANIFEST_BAD,
            f"{bundle.path}: manifest.json: {key}: {error}",
            hint=f"it was not written by {written_by}: build the bundle again",
        ) from None
