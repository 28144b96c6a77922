"""Before the service itself loads a model: has this device ever run it, with the runtime that it has now?

Installing a bundle answers that (``accepted.json`` says with which runtime). It does not for a disk that was
written on another machine, for the factory's bundle, and after an update of the runtime. Then the model is
loaded in a process of its own first, and ``ROOT/loaded/<id>`` remembers it; without that it is done again.
"""

from __future__ import annotations

import contextlib
import secrets

import msgspec

from galago_edge.bundle import Bundle
from galago_edge.bundle.reader import ACCEPTED_NAME
from galago_edge.contract.decoding import from_json
from galago_edge.contract.profile import DeviceProfile, RuntimeInfo
from galago_edge.engine import runtime
from galago_edge.host.file_replacement import Durable, replace_file
from galago_edge.pipeline.isolated_load import first_load, limits_for, runtime_name
from galago_edge.service.crash_loop import count_load
from galago_edge.store import Store

FOLDER = "loaded"
_LIMIT_BYTES = 1 << 20


class _Accepted(msgspec.Struct, frozen=True):
    """What counts here of ``accepted.json``."""

    id: str
    runtime: str
    golden: list[dict[str, object]]


def ensure_first_load(store: Store, bundle: Bundle, profile: DeviceProfile | None) -> bool:
    """Load ``bundle`` in a process of its own unless this device has done so; return whether it had to.

    Raises:
        BundleError, DeviceError, LinkError: As :func:`galago_edge.pipeline.isolated_load.first_load`.
        DeviceError: LOAD_CRASH; a bundle that takes the service down at every start.
    """
    count_load(store, bundle)
    here = runtime()
    if _known(store, bundle, here):
        return False
    first_load(bundle, limits_for(bundle.manifest, profile))
    with contextlib.suppress(OSError):  # on a full or failing disk it is loaded so again the next time
        _remember(store, bundle, here)
    return True


def _known(store: Store, bundle: Bundle, here: RuntimeInfo) -> bool:
    wanted = runtime_name(here)
    try:
        noted = store.fs.read(store.folder(bundle.id) / ACCEPTED_NAME, _LIMIT_BYTES)
        remembered = store.fs.read(store.root / FOLDER / bundle.id, _LIMIT_BYTES)
    except OSError:
        return False
    if remembered == wanted.encode():
        return True
    try:
        accepted = from_json(noted or b"", type=_Accepted)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return False
    return accepted.id == bundle.id and accepted.runtime == wanted and bool(accepted.golden)


def _remember(store: Store, bundle: Bundle, here: RuntimeInfo) -> None:
    """Note it, not waiting for the disk, and forget bundles that are gone."""
    folder = store.root / FOLDER
    if not store.fs.is_folder(folder):
        store.fs.mkdir(folder)
    for entry in store.fs.entries(folder):
        if entry.name == bundle.id or store.fs.status(store.folder(entry.name)) is None:
            store.fs.unlink(folder / entry.name)
    temporary = folder / f"new-{secrets.token_hex(8)}"
    note = runtime_name(here).encode()
    replace_file(folder / bundle.id, note, durable=Durable.NO, temporary=temporary, effects=store.fs)
