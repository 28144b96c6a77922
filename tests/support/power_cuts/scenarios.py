"""What is done to a store while the power is cut, each with what lies there before."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import TypeAlias
from unittest.mock import patch

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from galago_edge.bundle import Bundle, TrustedKeys, open_bundle, write_bundle
from galago_edge.bundle.keys import key_id
from galago_edge.bundle.trust import POLICY_FILE
from galago_edge.contract.wishes import Wishes
from galago_edge.store import Store, install_bundle, store_change
from galago_edge.store.boot import BootChoice, begin_boot, give_back
from galago_edge.store.garbage import collect
from galago_edge.store.integrity import scrub
from galago_edge.store.state import Release, Slot, State
from galago_edge.store.store import COPY_NAMES
from galago_edge.store.transitions import activate, commit, mark_bad, rollback
from galago_edge.store.trust_folder import revoke_key, set_channel, set_threshold, trust_key
from test_kit import OTHER_KEY, TEST_KEY, changed, hollow_manifest, trust

NAME = "tiny"
"""What the bundles are called."""
_LONG = 100
"""A trial that many starts do not use up: so many loads."""


class World:
    """The bundles, which lie outside the device, and who may sign them."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.trusted = TrustedKeys({key_id(TEST_KEY): "test"})
        self._folder = folder
        self._bundles: dict[tuple[int, int], Bundle] = {}

    def bundle(self, number: int, keys: Sequence[Ed25519PrivateKey] = (TEST_KEY,)) -> Bundle:
        """Return bundle number so and so; a higher one is newer, and its commit raises the floor to it."""
        if (number, len(keys)) not in self._bundles:
            manifest, files = hollow_manifest(
                b"model %d" % number, name=NAME, version=f"{number}.0.0", release_counter=number
            )
            manifest = changed(
                manifest, rollback__min_release_counter_after_commit=number, health__max_trials=20
            )
            path = self._folder / f"{number}-{len(keys)}.galago"
            write_bundle(path, manifest, files, keys)
            self._bundles[number, len(keys)] = open_bundle(path, self.trusted)
        return self._bundles[number, len(keys)]

    def install(
        self,
        store: Store,
        number: int,
        *,
        stage_only: bool = False,
        commit: bool = False,
        trial_loads: int = _LONG,
    ) -> None:
        """Install a bundle; the golden run is not what is tested here."""
        install_bundle(
            store,
            self.bundle(number),
            self.trusted,
            lambda _: {},
            Wishes(stage_only=stage_only, commit=commit, trial_loads=trial_loads),
        )


def recover(world: World, store: Store) -> Mapping[str, BootChoice]:
    """Do what a device does when it starts, and let go of what it holds."""
    choices = begin_boot(store, world.trusted)
    for choice in choices.values():
        if choice.hold is not None:
            choice.hold.close()
    return choices


def settle(world: World, store: Store, number: int) -> None:
    """Install one more bundle for good, whatever was going on, and remove what is not needed."""
    world.install(store, number, commit=True)
    collect(store)


@contextmanager
def steady(taken: int) -> Iterator[None]:
    """Make names and times the same in each run, from the name number ``taken`` on.

    Cuts of different runs then leave the same disks, which need to be looked at only once.
    """

    class Clock(datetime):
        @classmethod
        def now(cls, tz: object = None) -> datetime:
            return datetime(2026, 1, 1, tzinfo=UTC)

    numbers = count(taken)
    with (
        patch("secrets.token_hex", lambda size: f"{next(numbers):0{2 * size}x}"),
        patch.object(store_change, "datetime", Clock),
    ):
        yield


Step: TypeAlias = Callable[[World, Store], object]
Reached: TypeAlias = Callable[[World, Store], bool]


@dataclass(frozen=True, slots=True)
class Scenario:
    """One operation on a prepared store."""

    name: str
    prepare: Step
    run: Step
    """Recorded, and cut at every moment. Must be able to run again after a cut."""
    reached: Reached
    """Whether the store shows what it must show once the operation has answered."""
    lost: Callable[[World], State] | None = None
    """No copy of the record is whole before the operation: what its bundles prove all the same."""


# what lies there before


def _nothing(world: World, store: Store) -> None:
    """Leave the device without even a folder."""


def _one(world: World, store: Store) -> None:
    trust(store.root)
    world.install(store, 1, commit=True)


def _two(world: World, store: Store) -> None:
    _one(world, store)
    world.install(store, 2, commit=True)


def _two_on_trial(world: World, store: Store) -> None:
    _one(world, store)
    world.install(store, 2)


def _two_staged(world: World, store: Store) -> None:
    _one(world, store)
    world.install(store, 2, stage_only=True)


def _factory_and_two_on_trial(world: World, store: Store) -> None:
    trust(store.root)
    store.factory.mkdir()
    (store.factory / f"{NAME}.galago").write_bytes(world.bundle(1).path.read_bytes())
    world.install(store, 2)


def _three_and_no_need_for_one(world: World, store: Store) -> None:
    _two(world, store)
    world.install(store, 3, commit=True)
    assert store.folder(world.bundle(1).id).exists()


def _one_copy(world: World, store: Store) -> None:
    _one(world, store)
    (store.root / COPY_NAMES[1]).unlink()


def _two_and_no_record(world: World, store: Store) -> None:
    _two(world, store)
    for name in COPY_NAMES:
        (store.root / name).unlink()
        (store.root / name).write_bytes(b"torn " + name.encode())


def _two_and_half_a_record(world: World, store: Store) -> None:
    _two_and_no_record(world, store)
    (store.root / COPY_NAMES[0]).unlink()


def _two_are_proved(world: World) -> State:
    """Return the record that two bundles on the disk prove: which is newer, and the floor."""
    one, two = (Release.of(world.bundle(n).manifest, world.bundle(n).id, "") for n in (1, 2))
    return State(slots={NAME: Slot(active=two, previous=one, floor=2)})


def _damage(store: Store, bundle: Bundle) -> None:
    damaged = store.folder(bundle.id) / "model.tflite"
    damaged.chmod(0o644)
    damaged.write_bytes(b"rotten")


def _two_damaged(world: World, store: Store) -> None:
    _two(world, store)
    _damage(store, world.bundle(2))


def _two_on_trial_for(loads: int) -> Step:
    def prepare(world: World, store: Store) -> None:
        _one(world, store)
        world.install(store, 2, trial_loads=loads)

    return prepare


def _two_loaded_once(world: World, store: Store) -> None:
    _two_on_trial_for(50)(world, store)
    recover(world, store)


def _two_damaged_and_staged(world: World, store: Store) -> None:
    _two_staged(world, store)
    _damage(store, world.bundle(2))


def _other_key(world: World, store: Store) -> None:
    _one(world, store)
    trust(store.root, OTHER_KEY)


def _two_used_up(world: World, store: Store) -> None:
    _two_on_trial_for(1)(world, store)
    recover(world, store)


def _two_damaged_on_trial(world: World, store: Store) -> None:
    _two_on_trial(world, store)
    _damage(store, world.bundle(2))


# what is done


def _install_on_trial(world: World, store: Store) -> None:
    world.install(store, 2)


def _commit(world: World, store: Store) -> None:
    commit(store, NAME, bundle_id=world.bundle(2).id)


def _roll_back(world: World, store: Store) -> None:
    rollback(store, NAME, reason="test", bundle_id=world.bundle(2).id)


def _sign(world: World, store: Store) -> None:
    again = world.bundle(1, keys=(TEST_KEY, OTHER_KEY))
    install_bundle(store, again, world.trusted, lambda _: {})


def _sign_the_staged_one(world: World, store: Store) -> None:
    again = world.bundle(2, keys=(TEST_KEY, OTHER_KEY))
    install_bundle(store, again, world.trusted, lambda _: {}, Wishes(stage_only=True))


# what the store then shows


def _shows(
    active: int,
    *,
    trial: bool = False,
    staged: int | None = None,
    bad: int | None = None,
    floor: int | None = None,
) -> Reached:
    def reached(world: World, store: Store) -> bool:
        slot = store.state().slots.get(NAME)
        if slot is None:
            return False
        return (
            slot.active.id == world.bundle(active).id
            and (slot.trial is not None) == trial
            and (slot.staged.id if slot.staged else None) == (world.bundle(staged).id if staged else None)
            and (bad is None or world.bundle(bad).id in slot.bad)
            and (floor is None or slot.floor == floor)
        )

    return reached


def _counted(world: World, store: Store) -> bool:
    slot = store.state().slots[NAME]
    return slot.active.id == world.bundle(1).id or (slot.trial is not None and slot.trial.boots > 0)


def _signed_twice(world: World, store: Store) -> bool:
    return len(store.open(world.bundle(1).id).signers) == 2


def _rebuilt(world: World, store: Store) -> bool:
    """Two is asked to prove itself again, with its floor, and what was left of the record is there."""
    slot = store.state().slots.get(NAME)
    kept = {path.name.partition(".bad-")[0] for path in store.root.glob("state.?.bad-*")}
    return (
        slot is not None
        and slot.active.id == world.bundle(2).id
        and slot.trial is not None
        and slot.floor == 2
        and COPY_NAMES[1] in kept
    )


def _other_key_trusted(world: World, store: Store) -> bool:
    return key_id(OTHER_KEY) in store.trusted()


def _other_key_revoked(world: World, store: Store) -> bool:
    return not _other_key_trusted(world, store)


def _overridden(store: Store) -> bool:
    """Whether the history says that a bundle of the device lost its trust on purpose."""
    return any(
        event.action == "override" and event.reason.startswith("allow-in-use: keys ")
        for event in store.state().history
    )


def _policy_written(world: World, store: Store) -> bool:
    return (store.trust / POLICY_FILE).exists() and store.trusted().threshold == 1


SCENARIOS = (
    Scenario("first install", _nothing, lambda world, store: world.install(store, 1), _shows(1)),
    Scenario("install on trial", _one, _install_on_trial, _shows(2, trial=True)),
    Scenario(
        "install for good",
        _two,
        lambda world, store: world.install(store, 3, commit=True),
        _shows(3, floor=3),
    ),
    Scenario(
        "stage", _one, lambda world, store: world.install(store, 2, stage_only=True), _shows(1, staged=2)
    ),
    Scenario(
        "activate",
        _two_staged,
        lambda world, store: activate(
            store, NAME, bundle_id=world.bundle(2).id, wishes=Wishes(trial_loads=_LONG)
        ),
        _shows(2, trial=True),
    ),
    Scenario("commit", _two_on_trial, _commit, _shows(2, floor=2)),
    Scenario("rollback", _two_on_trial, _roll_back, _shows(1, bad=2)),
    Scenario("rollback to factory", _factory_and_two_on_trial, _roll_back, _shows(1, bad=2)),
    Scenario(
        "mark bad",
        _two_on_trial,
        lambda world, store: mark_bad(store, NAME, bundle_id=world.bundle(2).id),
        _shows(1, bad=2),
    ),
    Scenario("gc", _three_and_no_need_for_one, lambda world, store: collect(store), _shows(3, floor=3)),
    Scenario("boot on trial", _two_on_trial_for(50), recover, _counted),
    Scenario(
        "stop in order",
        _two_loaded_once,
        lambda world, store: give_back(store, NAME, world.bundle(2).id),
        _shows(2, trial=True),
    ),
    Scenario("boot, loads used up", _two_used_up, recover, _shows(1, bad=2)),
    Scenario("boot, one copy lost", _one_copy, recover, _shows(1)),
    Scenario("boot, damaged on trial", _two_damaged_on_trial, recover, _shows(1)),
    Scenario("install again, signed by more", _one, _sign, _signed_twice),
    Scenario(
        "stage again, signed by more",
        _two_staged,
        _sign_the_staged_one,
        lambda world, store: (
            len(store.open(world.bundle(2).id).signers) == 2 and _shows(1, staged=2)(world, store)
        ),
    ),
    Scenario(
        "install again, one copy lost", _one_copy, lambda world, store: world.install(store, 1), _shows(1)
    ),
    Scenario(
        "repair", _two_damaged, lambda world, store: world.install(store, 2, commit=True), _shows(2, floor=2)
    ),
    Scenario(
        "scrub, staged one damaged",
        _two_damaged_and_staged,
        lambda world, store: scrub(store, world.trusted),
        _shows(1),
    ),
    Scenario("scrub, one copy lost", _one_copy, lambda world, store: scrub(store, world.trusted), _shows(1)),
    Scenario("boot, no record", _two_and_no_record, recover, _rebuilt, _two_are_proved),
    Scenario("boot, half a record", _two_and_half_a_record, recover, _rebuilt, _two_are_proved),
    Scenario(
        "scrub, no record",
        _two_and_no_record,
        lambda world, store: scrub(store, world.trusted),
        _rebuilt,
        _two_are_proved,
    ),
    Scenario(
        "install, no record",
        _two_and_no_record,
        lambda world, store: world.install(store, 3),
        _shows(3, trial=True, floor=2),
        _two_are_proved,
    ),
    Scenario(
        "trust the first key",
        _nothing,
        lambda world, store: trust_key(store, key_id(OTHER_KEY), "test"),
        _other_key_trusted,
    ),
    Scenario(
        "trust a key",
        _one,
        lambda world, store: trust_key(store, key_id(OTHER_KEY), "test"),
        _other_key_trusted,
    ),
    Scenario(
        "revoke a key",
        _other_key,
        lambda world, store: revoke_key(store, key_id(OTHER_KEY), "lost"),
        _other_key_revoked,
    ),
    Scenario(
        "revoke a key in use",
        _one,
        lambda world, store: revoke_key(store, key_id(TEST_KEY), "stolen", allow_in_use=True),
        lambda world, store: key_id(TEST_KEY) in store.trusted().revoked and _overridden(store),
    ),
    Scenario(
        "set a threshold beyond reach",
        _other_key,
        lambda world, store: set_threshold(store, 2, allow_in_use=True),
        lambda world, store: store.trusted().threshold == 2 and _overridden(store),
    ),
    Scenario(
        "set the channel",
        _one,
        lambda world, store: set_channel(store, world.bundle(1).manifest.bundle.channel),
        lambda world, store: store.trusted().channel == world.bundle(1).manifest.bundle.channel,
    ),
    Scenario("set the threshold", _other_key, lambda world, store: set_threshold(store, 1), _policy_written),
)
