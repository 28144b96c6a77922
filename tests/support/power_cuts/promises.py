"""What must hold on whatever disk a power cut leaves, looked at with the device's own code.

====  =====================================================================================
V1    the record is one that the store had decided; every bundle in it is whole, and every
      folder of bundles; a start loads the active one; a record that was lost before the
      operation stays lost until a start makes a new one, which has every name
V2    once the operation has answered, its result is there, in both copies of the record
V3    no floor ever falls; after a lost record it is at least what the bundles prove
V4    a start, the operation again, then the next bundle: no cleaning by hand
V5    the previous bundle and the factory's are there and whole
V6    afterwards there is no file more than if the power had never been cut
V7    a cut while the store recovers from a cut keeps V1 to V6
====  =====================================================================================

V2 and V7 need to know what happened before: ``campaign`` sees to them.
"""

from __future__ import annotations

import itertools
import re
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec

from galago_edge.bundle.reader import ACCEPTED_NAME
from galago_edge.contract.errors import GalagoError
from galago_edge.store import Store
from galago_edge.store.boot import BootChoice
from galago_edge.store.state import State, decode_state
from galago_edge.store.store import COPY_NAMES
from power_cuts.model import Disk
from power_cuts.recorder import QuickFs
from power_cuts.scenarios import NAME, Scenario, World, recover, settle

ROOT = "var/galago"
"""The store's folder below the top of the disk."""
NEXT = 9
"""The number of the bundle that comes after all others."""
_RANDOM = re.compile(r"-[0-9a-f]{16}(?=/|$)")


def written(disk: Disk, top: Path) -> Path:
    """Write a disk into the empty folder ``top``; return the store's root."""
    top.mkdir(parents=True)
    for path, data in disk.items():  # a folder comes before what is in it
        if data is None:
            (top / path).mkdir()
        else:
            (top / path).write_bytes(data)
    return top / ROOT


def record_of(disk: Disk) -> State:
    """Return the newest whole copy of the record on a disk, an empty one when there is none."""
    copies = [decode_state(disk.get(f"{ROOT}/{name}") or b"") for name in COPY_NAMES]
    return max((copy for copy in copies if copy is not None), key=lambda state: state.seq, default=State())


@dataclass(frozen=True, slots=True)
class Sight:
    """What one disk shows."""

    record: State
    reached: bool
    """Whether the result of the operation is there."""
    problems: tuple[str, ...]
    """One for each promise that is broken, beginning with its name."""


class Examiner:
    """Looks at the disks of one scenario; each different one only once."""

    def __init__(self, world: World, scenario: Scenario, work: Path) -> None:
        self.world = world
        self.scenario = scenario
        self._work = work
        self._numbers = itertools.count()
        self._sights: dict[frozenset[tuple[str, bytes | None]], Sight] = {}
        self._usual: set[str] | None = None

    @property
    def looked_at(self) -> int:
        """How many different disks were looked at."""
        return len(self._sights)

    def look(self, disk: Disk) -> Sight:
        """Return what this disk shows, before recovery, after it, and after the next installs."""
        key = frozenset(disk.items())
        if key not in self._sights:
            self._sights[key] = self._look(disk)
        return self._sights[key]

    def _look(self, disk: Disk) -> Sight:
        top = self._work / f"disk-{next(self._numbers)}"
        try:
            store = Store(written(disk, top), QuickFs())
            record = record_of(disk)
            reached = self._reached(store)
            problems = [text.replace(str(store.root), "ROOT") for text in self._broken(store, record)]
            return Sight(record, reached, tuple(problems))
        finally:
            shutil.rmtree(top)

    def _reached(self, store: Store) -> bool:
        try:
            return self.scenario.reached(self.world, store)
        except (GalagoError, OSError, KeyError):
            return False  # why, is what the promises say

    def _broken(self, store: Store, record: State) -> Iterator[str]:
        """Yield what is wrong, in the order in which a device would meet it; end when it cannot go on."""
        step = "V1 the record cannot be read"
        try:
            if self.scenario.lost and not record.seq:
                if not store.lost():
                    yield "V1 a store whose record was lost looks like one that never had one"
                record = self.scenario.lost(self.world)
            elif store.state() != record:
                yield "V1 the store does not take the newest whole copy of the record"
            yield from _damaged(store, record, "")
            step = "V7 recovery failed"
            yield from _not_loaded(store, recover(self.world, store))
            after = store.state()
            yield from _damaged(store, after, " after recovery")
            yield from _fallen(record, after, "recovery")
            step = "V4 the operation cannot be done again"
            self.scenario.run(self.world, store)
            again = store.state()
            if not self.scenario.reached(self.world, store):
                yield "V4 the operation, done again, has no effect"
            yield from _damaged(store, again, " after the operation was done again")
            yield from _fallen(record, again, "doing it again")
            step = "V4 the next bundle cannot be installed"
            settle(self.world, store, NEXT)
            last = store.state()
            if last.slots[NAME].active.id != self.world.bundle(NEXT).id:
                yield "V4 the next bundle is not active"
            yield from _damaged(store, last, " after the next install")
            yield from _fallen(record, last, "the next install")
            yield from self._grown(store)
        except Exception as error:  # noqa: BLE001  whatever stops the store here is a finding
            yield f"{step}: {type(error).__name__}: {error}"

    def _grown(self, store: Store) -> Iterator[str]:
        """Compare the names in the store with those when nothing was ever cut."""
        names = {path.relative_to(store.root).as_posix() for path in store.root.rglob("*")}
        if self._usual is None:
            self._usual = names
        for name in sorted(names - self._usual):
            yield f"V6 {_RANDOM.sub('-*', name)} is left over"
        for name in sorted(self._usual - names):
            yield f"V5 {name} is gone"


def _damaged(store: Store, record: State, when: str) -> Iterator[str]:
    """Yield which bundle is not whole: those that the record needs, the factory's, any other folder."""
    faults = {folder.name: _fault(store, folder.name) for folder in sorted(store.bundles.glob("*"))}
    for name, slot in record.slots.items():
        for part, release in slot.releases().items():
            promise = "V5" if part in ("previous", "before") else "V1"
            fault = faults[release.id] if release.id in faults else _fault(store, release.id)
            if fault:
                yield f"{promise} {name}'s {part} bundle{when}: {fault}"
    for name in store.factory_names():
        try:
            store.factory_bundle(name)
        except GalagoError as error:
            yield f"V5 {name}'s factory bundle{when}: {error}"
    try:
        store.trusted()
    except GalagoError as error:
        yield f"V1 whom the device trusts{when}: {error}"
    for name, fault in faults.items():
        if fault:
            yield f"V1 the folder {name[:8]} of bundles{when}: {fault}"


def _fault(store: Store, bundle_id: str) -> str:
    """Return what is wrong with a bundle; nothing when it is whole."""
    try:
        found = store.open(bundle_id)
        if found.path == store.folder(bundle_id):  # else it is the factory's
            note = msgspec.json.decode((found.path / ACCEPTED_NAME).read_bytes())
            if note["id"] != bundle_id:
                return "has the note of another bundle"
    except (GalagoError, OSError, msgspec.DecodeError) as error:
        return str(error)
    return ""


def _not_loaded(store: Store, choices: Mapping[str, BootChoice]) -> Iterator[str]:
    """Yield which name's start gets another bundle than the one that is active once it has decided."""
    for name, slot in store.state().slots.items():
        bundle = choices[name].bundle
        if bundle is None or bundle.id != slot.active.id:
            yield f"V1 a start does not get the active bundle of {name}: {choices[name].part} instead"


def _fallen(before: State, after: State, when: str) -> Iterator[str]:
    for name, slot in before.slots.items():
        if name not in after.slots or after.slots[name].floor < slot.floor:
            yield f"V3 the floor of {name} has fallen from {slot.floor} by {when}"
