"""Where a device keeps its bundles, and how one gets in without ever hurting the one that runs."""

from galago_edge.store.boot import BootChoice, begin_boot
from galago_edge.store.garbage import Removed, collect
from galago_edge.store.installation import Accept, Installation, install_bundle
from galago_edge.store.integrity import Scrubbed, ScrubReport, scrub
from galago_edge.store.store import Hold, Store
from galago_edge.store.store_change import restore_record
from galago_edge.store.transitions import Transition, activate, commit, mark_bad, rollback

__all__ = [
    "Accept",
    "BootChoice",
    "Hold",
    "Installation",
    "Removed",
    "ScrubReport",
    "Scrubbed",
    "Store",
    "Transition",
    "activate",
    "begin_boot",
    "collect",
    "commit",
    "install_bundle",
    "mark_bad",
    "restore_record",
    "rollback",
    "scrub",
]
