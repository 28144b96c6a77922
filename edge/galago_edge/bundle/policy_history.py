"""How a bundle came from another one: kept, and signed, in the manifest's ``x-history``."""

from __future__ import annotations

from typing import Annotated

import msgspec

from galago_edge.bundle.manifest_extras import read_extra
from galago_edge.bundle.reader import Bundle
from galago_edge.contract.manifest import BundleName, Natural, Sha256, Version

HISTORY_KEY = "x-history"


class Ancestor(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The bundle that another one was made from."""

    id: Sha256
    name: BundleName
    version: Version
    release_counter: Natural


class PolicyChange(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One value of one label's policy."""

    label: str
    field: str
    """As in the manifest: ``on``, ``off``, ``smoothing_windows``, ``min_count``, ``refractory_ms``."""
    old: float
    new: float


class Repolicied(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="repolicy"):
    """A bundle was made from another one with the same files; only policies differ."""

    source: Ancestor
    producer: str
    """Tool and version."""
    policy_sha256: Sha256
    """Of the file that named the policies."""
    changes: Annotated[tuple[PolicyChange, ...], msgspec.Meta(min_length=1)]
    """In label order."""


def history_of_bundle(bundle: Bundle) -> tuple[Repolicied, ...]:
    """Return how a bundle came to be from others, the oldest step first; empty for one that was built.

    Raises:
        BundleError: MANIFEST_BAD; ``x-history`` is something else.
    """
    steps = read_extra(bundle, HISTORY_KEY, tuple[Repolicied, ...], written_by="galago bundle repolicy")
    return steps or ()
