"""Takes bundles in: the one way into a device's store, whatever brought the file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import galago_edge
from galago_edge.bundle import Bundle, open_bundle
from galago_edge.bundle.compat import check_compat, check_runtime
from galago_edge.contract.device import this_arch
from galago_edge.engine import runtime
from galago_edge.pipeline.golden import GoldenResult, run_golden
from galago_edge.store import Store, install_bundle
from galago_edge.store.fs import StoreFs


@dataclass(frozen=True, slots=True)
class Receipt:
    """What became of a bundle that was taken."""

    outcome: Literal["installed", "already installed", "repaired"]
    bundle: Bundle
    folder: Path
    profile: str | None
    """The board it was checked against; None when this device has no profile."""
    golden: tuple[GoldenResult, ...]
    """Empty when the bundle was active already."""


def receive(path: Path, root: Path, fs: StoreFs | None = None) -> Receipt:
    """Install the bundle at ``path`` into the store at ``root`` and make it active.

    Checked in this order, and nothing is written before the last line of it: signature by a trusted key,
    every byte, the manifest's own sense, board, machine, runtime, operators, release counter, space.
    Then it is copied, read back, and its golden samples are run.

    Raises:
        BundleError: The bundle is wrong, or not from somebody this device trusts.
        DeviceError: This device cannot take it; BusyError while another command changes the store.
        LinkError: The disk is full or failing.
        CallerError: No such file, or a key or profile of the device that cannot be read.
    """
    store = Store(root, fs)
    trusted = store.trusted()
    bundle = open_bundle(path, trusted)
    profile = store.profile()
    check_compat(bundle.manifest, arch=this_arch(), edge_version=galago_edge.__version__, profile=profile)
    here = runtime()
    if profile is not None:
        check_runtime(here.package, here.version, profile)
    results: list[GoldenResult] = []

    def accept(copy: Bundle) -> Mapping[str, Any]:
        results.extend(run_golden(copy))
        return {
            "galago_edge": galago_edge.__version__,
            "runtime": f"{here.package} {here.version}",
            "profile": profile.id if profile else None,
            "golden": [{"file": done.file, "difference": done.largest_difference} for done in results],
        }

    done = install_bundle(store, bundle, trusted, accept)
    return Receipt(
        outcome=done.outcome,
        bundle=bundle,
        folder=done.folder,
        profile=profile.id if profile else None,
        golden=tuple(results),
    )
