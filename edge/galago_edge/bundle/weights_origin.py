"""What weights a bundle's training began with: kept, and signed, in the manifest's ``x-weights``."""

from __future__ import annotations

import msgspec

from galago_edge.bundle.manifest_extras import read_extra
from galago_edge.bundle.reader import Bundle
from galago_edge.contract.manifest import Sha256

WEIGHTS_KEY = "x-weights"


class WeightsOrigin(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where the weights came from that a training began with."""

    name: str
    """What ``[model] weights`` said."""
    source: str
    """Whose weights they are."""
    sha256: Sha256
    """Of the file that held them."""
    licence: str = ""
    """SPDX identifier; empty where nobody has said one, as of weights of one's own."""


def weights_origin_of_bundle(bundle: Bundle) -> WeightsOrigin | None:
    """Return what the training of a bundle's model began with; None: with chance.

    Raises:
        BundleError: MANIFEST_BAD; ``x-weights`` is something else.
    """
    return read_extra(bundle, WEIGHTS_KEY, WeightsOrigin, written_by="galago bundle build")
