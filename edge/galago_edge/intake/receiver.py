"""Takes bundles in: the one way into a device's store, whatever brought the file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import galago_edge
from galago_edge.bundle import Bundle, open_bundle
from galago_edge.bundle.compatibility import check_compat, check_runtime
from galago_edge.contract.errors import CallerError, Reason
from galago_edge.contract.profile import DeviceProfile
from galago_edge.contract.wishes import NO_WISHES, Wishes
from galago_edge.engine import runtime
from galago_edge.host.machine import this_arch
from galago_edge.pipeline.golden_run import GoldenResult
from galago_edge.pipeline.isolated_load import judge, note
from galago_edge.store import Store, install_bundle
from galago_edge.store.filesystem import StoreFs
from galago_edge.store.installation import Phase
from galago_edge.store.state import Slot


@dataclass(frozen=True, slots=True)
class Receipt:
    """What became of a bundle that was taken."""

    outcome: Literal["installed", "already installed", "repaired"]
    bundle: Bundle
    folder: Path
    profile: str | None
    """The board it was checked against; None when this device has no profile."""
    golden: tuple[GoldenResult, ...]
    """Empty when the bundle was active already, or when the board is not this machine."""
    phase: Phase
    """What the bundle is in the store now."""
    slot: Slot
    """The bundles of its name, as the store has them now."""

    @property
    def active_version(self) -> str:
        """The version that is active now, whether or not it is the one that was taken."""
        return self.slot.active.version


def receive(
    path: Path,
    root: Path,
    fs: StoreFs | None = None,
    *,
    wishes: Wishes = NO_WISHES,
    mounted: bool = False,
) -> Receipt:
    """Install the bundle at ``path`` into the store at ``root`` and make it active, on trial where possible.

    Checked in this order, and nothing is written before the last line of it: signature by trusted keys,
    every byte, the manifest's own sense, board, machine, runtime, operators, release counter, space.
    Then it is copied, read back, and its golden samples are run in a process of their own. What of
    ``wishes`` was needed stands in the state. ``mounted``: the store is another machine's, on a disk that
    is mounted here, so its profile tells what the machine is and no sample can be run.

    Raises:
        BundleError: The bundle is wrong, or not from somebody this device trusts.
        DeviceError: This device cannot take it; BusyError while another command changes the store.
        LinkError: The disk is full or failing.
        CallerError: No such file, a key or profile of the device that cannot be read, or a mounted store
            without a profile.
    """
    store = Store(root, fs)
    trusted = store.trusted()
    bundle = open_bundle(path, trusted)
    profile = store.profile()
    overrides = _check_board(bundle, root, profile, mounted=mounted, wishes=wishes)
    results: list[GoldenResult] = []

    def accept(copy: Bundle) -> Mapping[str, Any]:
        if mounted:
            return {"galago_edge": galago_edge.__version__, "mounted": True}
        done = judge(copy, profile)
        results.extend(done.golden)
        return note(done, profile)

    done = install_bundle(store, bundle, trusted, accept, wishes, overrides=overrides)
    return Receipt(
        outcome=done.outcome,
        bundle=bundle,
        folder=done.folder,
        profile=profile.id if profile else None,
        golden=tuple(results),
        phase=done.phase,
        slot=store.state().slots[bundle.name],
    )


def _check_board(
    bundle: Bundle, root: Path, profile: DeviceProfile | None, *, mounted: bool, wishes: Wishes
) -> list[str]:
    """Refuse a bundle that this board cannot run, or was not built for; return what was overridden."""
    if mounted and profile is None:
        raise CallerError(
            Reason.TARGET_UNKNOWN,
            f"{root} has no profile.toml, so nobody knows which machine this disk is for",
            hint="galago provision TARGET --profile NAME --trust KEY.pub makes it a device's",
        )
    arch = profile.arch if mounted and profile is not None else this_arch()
    overrides = check_compat(
        bundle.manifest,
        arch=arch,
        edge_version=galago_edge.__version__,
        profile=profile,
        ignore_compatible=wishes.ignore_compatible,
    )
    if not mounted:
        here = runtime()
        if profile is not None:
            check_runtime(here.package, here.version, profile)
    return overrides
