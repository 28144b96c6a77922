"""Where a device keeps its bundles, and how one gets in without ever hurting the one that runs."""

from galago_edge.store.folder import Store
from galago_edge.store.installing import Accept, Installation, install_bundle

__all__ = ["Accept", "Installation", "Store", "install_bundle"]
