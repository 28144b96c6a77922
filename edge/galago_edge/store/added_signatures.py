"""Signatures that come after the bundle: one that is installed already is given again, signed by more keys.

The id of a bundle does not change when a key is added, so this is how a device learns of the new signature
before the old key is revoked. Only ``manifest.sig`` is replaced, in one step: before it and after it the
folder is a whole bundle.
"""

from __future__ import annotations

from galago_edge.bundle import Bundle
from galago_edge.bundle.reader import SIGNATURE_NAME
from galago_edge.bundle.signature import merged
from galago_edge.host.file_replacement import Durable, replacement
from galago_edge.store.store_change import StoreChange


def adopt_signatures(change: StoreChange, installed: Bundle, given: Bundle) -> bool:
    """Add the signatures of ``given`` to the same bundle in the store; tell whether there was one to add.

    Raises:
        OSError: The disk refused; the signatures are the old or the new ones.
    """
    folder, fs = installed.path, change.fs
    if installed.id != given.id:
        return False
    if set(given.signers) <= set(installed.signers):
        fs.fsync_dir(folder)  # who added them may have been killed before this
        return False
    temporary = change.new_name("sig")
    signatures = merged(installed.signature_bytes, given.signature_bytes)
    with replacement(folder / SIGNATURE_NAME, durable=Durable.LASTING, temporary=temporary, effects=fs):
        change.write_file(temporary, signatures)
    return True
