"""Where a device keeps its bundles, and how one gets in without ever hurting the one that runs."""

from galago_edge.store.activating import activate, commit, mark_bad, rollback
from galago_edge.store.admission import TrialTerms
from galago_edge.store.booting import BootChoice, begin_boot
from galago_edge.store.changing import restore_record
from galago_edge.store.collecting import Removed, collect
from galago_edge.store.folder import Hold, Store
from galago_edge.store.installing import Accept, Installation, install_bundle
from galago_edge.store.scrubbing import Scrubbed, ScrubReport, scrub

__all__ = [
    "Accept",
    "BootChoice",
    "Hold",
    "Installation",
    "Removed",
    "ScrubReport",
    "Scrubbed",
    "Store",
    "TrialTerms",
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
