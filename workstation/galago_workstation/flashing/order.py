"""What shall be brought to devices, and how they shall take it."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from galago_edge.bundle import open_bundle
from galago_edge.contract.errors import CallerError, Reason, disk_error
from galago_edge.contract.wishes import NO_WISHES, Wishes


@dataclass(frozen=True, slots=True)
class Package:
    """The bundle's file, checked on this side."""

    path: Path
    title: str
    name: str
    version: str
    id: str
    manifest: bytes
    signature: bytes
    size: int
    sha256: str

    @classmethod
    def of(cls, path: Path) -> Package:
        """Open and check a ``.galago`` file.

        Raises:
            BundleError: It is not whole, not signed, or contradicts itself.
            CallerError: TARGET_UNKNOWN; it is no file.
            LinkError: It cannot be read.
        """
        bundle = open_bundle(path)
        if not path.is_file():
            raise CallerError(
                Reason.TARGET_UNKNOWN,
                f"{path} is an installed folder, a .galago file is needed",
                hint="give the file that galago bundle build wrote: NAME-VERSION.galago",
            )
        try:
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
                size = os.fstat(file.fileno()).st_size
        except OSError as error:
            raise disk_error(error, f"read {path}") from error
        info = bundle.manifest.bundle
        return cls(
            path=path,
            title=str(bundle),
            name=info.name,
            version=info.version,
            id=bundle.id,
            manifest=bundle.manifest_bytes,
            signature=bundle.signature_bytes,
            size=size,
            sha256=digest,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class FlashOptions:
    """How devices shall be flashed."""

    dry_run: bool = False
    """Only ask whether they would take it."""
    wait_s: float = 0.0
    """Wait so many seconds for the end of each device's trial."""
    wishes: Wishes = NO_WISHES
    """How each shall take the bundle."""
