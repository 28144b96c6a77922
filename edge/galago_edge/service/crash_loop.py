"""A breaker for bundles that take the service down at every start, whatever restarts it.

A bundle on trial runs out of loads. A committed one has no such count: when several processes in a row end
soon after they loaded it, and not because somebody stopped them, the device runs what comes next in the order
of a start for a while. The state stays, so nothing is rolled back. Where nothing else is whole, or all of it
ends the same way, the bundle is tried for ever: a device that watches a little is better than a dark one.
"""

from __future__ import annotations

import atexit
import contextlib
import secrets
import threading

import msgspec

from galago_edge.bundle import Bundle
from galago_edge.contract.decoding import from_json
from galago_edge.contract.errors import DeviceError, GalagoError, Reason
from galago_edge.contract.streams import NS_PER_S
from galago_edge.host.file_replacement import Durable, replace_file
from galago_edge.service.handover import Alive, between, now
from galago_edge.store import Store
from galago_edge.store.admission import factory_bundle, opened

FILE = "loads.json"
"""Bundles whose last process ended soon, in the store's folder; removed when all is well."""
SOON_S = 60.0
"""A process that lives longer than this after a load is in no crash loop: the device mostly watches."""
ENDS = 5
"""So many processes in a row have to end soon."""
HOLD_S = 3600.0
"""The first start after this tries the bundle once more: what crashed it may have been the light."""

_LIMIT_BYTES = 1 << 16
_PROCESS = secrets.token_hex(8)
_TURN = threading.Lock()


class _Load(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is known of one bundle."""

    ends: int = 0
    """Processes in a row that ended soon."""
    process: str = ""
    """The process that has loaded it and has not lived long enough; empty when none has."""
    held: Alive | None = None
    """Since when something else is loaded instead."""


_Loads = dict[str, _Load]


def count_load(store: Store, bundle: Bundle, *, process: str = _PROCESS) -> None:
    """Count that ``process`` is about to load ``bundle``; a second load in the same process is not counted.

    A store that cannot be written has no breaker.

    Raises:
        DeviceError: LOAD_CRASH; the bundle has ended too many processes, and another one is whole.
    """
    with _TURN:
        loads = _settled(_read(store), process)
        load = loads.get(bundle.id, _Load())
        if load.process == process:
            return
        if load.ends >= ENDS and (other := _other(store, bundle, loads)) is not None:
            held = load.held or now()
            passed_ns = between(held, now())
            if passed_ns is None or passed_ns < HOLD_S * NS_PER_S:
                _write(store, loads | {bundle.id: _Load(load.ends, held=held)})
                raise DeviceError(
                    Reason.LOAD_CRASH,
                    f"{bundle} ended the service {load.ends} times within {SOON_S:.0f} s of its start",
                    hint=f"{other} runs for an hour; install a better one, or remove {store.root / FILE}",
                )
        _write(store, loads | {bundle.id: _Load(min(load.ends, ENDS), process=process)})
    lived = threading.Timer(SOON_S, forget_loads, (store, process))
    lived.daemon = True
    lived.start()
    atexit.register(forget_loads, store, process)


def forget_loads(store: Store, process: str = _PROCESS) -> None:
    """Take that ``process`` has lived long enough, or ends in order: what it has loaded crashed nothing."""
    with _TURN:
        loads = _read(store)
        left = {bundle_id: load for bundle_id, load in loads.items() if load.process != process}
        if left != loads:
            _write(store, left)


def _settled(loads: _Loads, process: str) -> _Loads:
    """Return the loads with those of earlier processes counted, which neither lived nor ended in order."""
    return {
        bundle_id: load if load.process in ("", process) else _Load(load.ends + 1)
        for bundle_id, load in loads.items()
    }


def _other(store: Store, bundle: Bundle, loads: _Loads) -> Bundle | None:
    """Return what a start would load instead; None while the bundle is on trial, which counts for itself."""
    name = bundle.name
    found: list[Bundle] = []
    with contextlib.suppress(GalagoError):
        trusted = store.trusted()
        slot = store.state().slots.get(name)
        if slot is not None and slot.trial is not None and slot.active.id == bundle.id:
            return None
        for part, release in (slot.releases() if slot is not None else {}).items():
            if part in ("previous", "before"):
                with contextlib.suppress(GalagoError):
                    found.append(opened(store, release.id, trusted))
        with contextlib.suppress(GalagoError):
            if (factory := factory_bundle(store, name, trusted)) is not None:
                found.append(factory)
    good = (other for other in found if other.id != bundle.id and loads.get(other.id, _Load()).ends < ENDS)
    return next(good, None)


def _read(store: Store) -> _Loads:
    try:
        return from_json(store.fs.read(store.root / FILE, _LIMIT_BYTES) or b"{}", type=_Loads)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError):
        return {}


def _write(store: Store, loads: _Loads) -> None:
    """Write it through: a model may take down the board with it."""
    path, temporary = store.root / FILE, store.root / f".{FILE}.part"
    with contextlib.suppress(OSError):
        if not loads:
            store.fs.unlink(path)
            return
        replace_file(
            path,
            msgspec.json.encode(loads),
            durable=Durable.LASTING,
            temporary=temporary,
            effects=store.fs,
        )
