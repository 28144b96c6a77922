"""The daily scrub of a running service: when it is due, what it says, and how a repair is noticed."""

from __future__ import annotations

import fcntl
from pathlib import Path

import pytest

from galago_edge.bundle import open_bundle
from galago_edge.contract.errors import LinkError, Reason
from galago_edge.contract.settings import StoreSettings
from galago_edge.contract.wishes import Wishes
from galago_edge.service.upkeep import Upkeep
from galago_edge.store import Store, install_bundle
from galago_edge.store.filesystem import StoreFs
from test_kit import make_hollow_bundle, trust

DAY_S = 86_400.0


class Clock:
    now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = trust(tmp_path / "device")
    for counter in (1, 2):
        install(root, counter)
    return root


def install(root: Path, counter: int) -> str:
    path = root.parent / f"{counter}.galago"
    make_hollow_bundle(path, model=b"model %d" % counter, version=f"{counter}.0.0", release_counter=counter)
    bundle, store = open_bundle(path), Store(root)
    install_bundle(store, bundle, store.trusted(), lambda _: {}, Wishes(commit=True))
    return bundle.id


def damage(root: Path, bundle_id: str) -> None:
    path = root / "bundles" / bundle_id / "model.tflite"
    path.chmod(0o644)
    path.write_bytes(b"m0del 1")


def previous(root: Path) -> str:
    release = Store(root).state().slots["tiny"].previous
    assert release is not None
    return release.id


def test_the_first_scrub_is_due_after_a_quarter_of_an_hour_and_then_every_day(
    root: Path, clock: Clock
) -> None:
    upkeep = Upkeep(Store(root), StoreSettings(), clock_s=clock)
    clock.now_s += 899
    assert not upkeep.due() and upkeep.status() is None
    clock.now_s += 1
    assert upkeep.due() and not upkeep.due()  # one at a time
    assert upkeep.scrub() == [] and upkeep.problems() == ()
    clock.now_s += DAY_S - 1
    status = upkeep.status()
    assert status is not None and (status.ago_s, status.bundles, status.damaged) == (DAY_S - 1, 2, 0)
    assert not upkeep.due()
    clock.now_s += 1
    assert upkeep.due()


def test_zero_leaves_it_to_the_command(root: Path, clock: Clock) -> None:
    upkeep = Upkeep(Store(root), StoreSettings(scrub_every_s=0), clock_s=clock)
    clock.now_s += 100 * DAY_S
    assert not upkeep.due()


def test_damage_is_told_once_stays_a_problem_and_ends_when_it_is_repaired(root: Path, clock: Clock) -> None:
    upkeep = Upkeep(Store(root), StoreSettings(), clock_s=clock)
    damage(root, damaged := previous(root))
    (record,) = upkeep.scrub()
    assert (record.stream, record.subject, record.state) == ("", "bundle", "damaged")
    assert record.detail["bundle"] == damaged and record.detail["part"] == "previous"
    assert record.detail["reason"] == "FILE_HASH"
    (problem,) = upkeep.problems()
    assert problem.startswith("tiny 1.0.0 (previous) is damaged on the disk: ") and "FILE_HASH" in problem
    assert upkeep.scrub() == [] and upkeep.problems() == (problem,)
    assert not upkeep.due()
    store, bundle = Store(root), open_bundle(root.parent / "1.galago")
    install_bundle(
        store, bundle, store.trusted(), lambda _: {}, Wishes(stage_only=True, allow_downgrade=True)
    )
    upkeep.recheck()
    assert upkeep.due()
    assert [record.state for record in upkeep.scrub()] == ["whole"]
    assert upkeep.problems() == ()
    upkeep.recheck()
    assert not upkeep.due()  # nothing was wrong, so nothing is looked at early


def test_a_copy_of_the_record_that_rotted_is_renewed_and_told(root: Path, clock: Clock) -> None:
    upkeep = Upkeep(Store(root), StoreSettings(), clock_s=clock)
    (root / "state.a").write_bytes(b"rot")
    (record,) = upkeep.scrub()
    assert (record.subject, record.state, record.detail) == ("store", "renewed", {"copies": ["state.a"]})
    assert upkeep.scrub() == []


def test_beside_an_installer_it_is_tried_again_a_minute_later(root: Path, clock: Clock) -> None:
    upkeep = Upkeep(Store(root), StoreSettings(), clock_s=clock)
    clock.now_s += 900
    assert upkeep.due()
    with (root / "lock").open("rb") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        assert upkeep.scrub() == [] and upkeep.problems() == () and upkeep.status() is None
    clock.now_s += 59
    assert not upkeep.due()
    clock.now_s += 1
    assert upkeep.due()


def test_a_store_that_cannot_be_read_through_is_a_problem_until_it_can(
    root: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    upkeep = Upkeep(Store(root), StoreSettings(), clock_s=clock)

    def failing(*_: object) -> None:
        raise LinkError(Reason.IO, "cannot read the lock")

    monkeypatch.setattr(StoreFs, "lock", failing)
    assert upkeep.scrub() == []
    assert upkeep.problems() == ("the store cannot be read through: cannot read the lock [IO]",)
    monkeypatch.undo()
    upkeep.recheck()
    assert upkeep.due() and upkeep.scrub() == [] and upkeep.problems() == ()


def test_a_fault_of_our_own_does_not_end_the_scrubs_for_good(
    root: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    upkeep = Upkeep(Store(root), StoreSettings(), clock_s=clock)
    clock.now_s += 900
    assert upkeep.due()
    with monkeypatch.context() as patch:
        patch.setattr(StoreFs, "lock", lambda *_: 1 // 0)
        with pytest.raises(ZeroDivisionError):
            upkeep.scrub()
    clock.now_s += DAY_S
    assert upkeep.due() and upkeep.scrub() == []
