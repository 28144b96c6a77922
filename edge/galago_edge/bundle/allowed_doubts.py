"""Why a bundle was built although something grave spoke against its model: in the manifest's ``x-allowed``.

No runtime reads it and nothing there decides an answer, so devices of every version take such bundles.
"""

from __future__ import annotations

import msgspec

from galago_edge.bundle.reader import Bundle
from galago_edge.contract.decoding import from_json
from galago_edge.contract.errors import BundleError, Reason

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
    told = from_json(bundle.manifest_bytes).get(ALLOWED_KEY)
    try:
        return None if told is None else msgspec.convert(told, Allowed)
    except msgspec.ValidationError as error:
        raise BundleError(
            Reason.MANIFEST_BAD,
            f"{bundle.path}: manifest.json: {ALLOWED_KEY}: {error}",
            hint="it was not written by galago bundle build: build the bundle again",
        ) from None
