"""What is asked of a bundle by those who need none of its files."""

from __future__ import annotations

from typing import Protocol

from galago_edge.contract.manifest import Manifest


class BundleIdentity(Protocol):
    """Which bundle it is and what it says of itself: one that is open, loaded, or only offered."""

    @property
    def id(self) -> str:
        """Sha256 of the manifest's bytes, 64 hexadecimal digits."""
        ...

    @property
    def manifest(self) -> Manifest:
        """What the bundle says of itself."""
        ...
