"""Why a bundle was built although something grave spoke against its model: in its ``x-allowed``."""

from __future__ import annotations

import msgspec

from galago_edge.bundle.manifest_extras import read_extra
from galago_edge.bundle.reader import Bundle

ALLOWED_KEY = "x-allowed"


class Allowed(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What was known, and why the bundle was built."""

    reason: str
    doubts: tuple[str, ...]


def allowed_of_bundle(bundle: Bundle) -> Allowed | None:
    """Return what was known against the model of a bundle, and allowed; None: nothing had to be.

    Raises:
        BundleError: MANIFEST_BAD; ``x-allowed`` is something else.
    """
    return read_extra(bundle, ALLOWED_KEY, Allowed, written_by="galago bundle build")
