"""Which release may follow which, and what counts as a way back; the test knows every bundle of the store."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from galago_edge.bundle import Bundle, TrustedKeys, open_bundle
from galago_edge.bundle.keys import key_id
from galago_edge.contract.errors import BundleError, DeviceError, GalagoError, LinkError, Reason
from galago_edge.contract.wishes import NO_WISHES, Wishes
from galago_edge.store.admission import (
    COUNTER_JUMP,
    check_release,
    fallback_of,
    release_of,
    trial_of,
)
from galago_edge.store.state import Release, Slot, Trial
from test_kit import TEST_KEY, changed, make_hollow_bundle

TRUSTED = TrustedKeys({key_id(TEST_KEY): "test"})
TRIAL = Trial(left=3, since_utc="2026-01-01T00:00:00Z")


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Bundle]:
    """Bundles of one name by release counter, 1 to 6."""
    folder = tmp_path_factory.mktemp("bundles")
    return {
        counter: open_bundle(make_hollow_bundle(folder / f"{counter}.galago", release_counter=counter))
        for counter in range(1, 7)
    }


@dataclass
class Shelf:
    """What admission asks of a store: the bundles that are there, and what opening the others raises."""

    there: list[Bundle] = field(default_factory=list)
    factory: Bundle | None = None
    faults: dict[str, GalagoError] = field(default_factory=dict)
    root: Path = Path("/store")

    def open(self, bundle_id: str) -> Bundle:
        if bundle_id in self.faults:
            raise self.faults[bundle_id]
        return next(bundle for bundle in self.there if bundle.id == bundle_id)

    def factory_bundle(self, name: str) -> Bundle | None:
        assert name == "tiny"
        return self.factory


def of(bundle: Bundle | None) -> Release | None:
    return None if bundle is None else release_of(bundle)


def slot(active: Bundle, previous: Bundle | None = None, before: Bundle | None = None, **fields: Any) -> Slot:
    trial = Trial(left=3, since_utc=TRIAL.since_utc, before=of(before)) if before else None
    given = {"trial": trial} | fields
    return Slot(active=release_of(active), previous=of(previous), **given)


# ---- what may follow what


@dataclass
class Offered:
    """A release that is not here yet."""

    id: str
    manifest: Any

    def __str__(self) -> str:
        return "tiny 1.0.0"


def offered(like: Bundle, counter: int) -> Offered:
    return Offered("ab" * 32, changed(like.manifest, bundle__release_counter=counter))


def asked(offer: Any, where: Slot | None, **allowed: bool) -> list[str]:
    return check_release(offer, where, Wishes(**allowed))


@pytest.mark.parametrize(
    ("counter", "reason"),
    [
        (4, Reason.DOWNGRADE),
        (5, Reason.REPLAY),
        (6, None),
        (5 + COUNTER_JUMP, None),
        (6 + COUNTER_JUMP, Reason.COUNTER_JUMP),
    ],
)
def test_a_release_is_ahead_of_the_active_one_but_not_too_far(
    counter: int, reason: Reason | None, bundles: dict[int, Bundle]
) -> None:
    offer = offered(bundles[1], counter)
    assert asked(offer, None) == []
    if reason is None:
        assert asked(offer, slot(bundles[5])) == []
        return
    with pytest.raises(DeviceError) as caught:
        asked(offer, slot(bundles[5]))
    assert caught.value.reason is reason


def test_the_active_bundle_itself_may_come_again(bundles: dict[int, Bundle]) -> None:
    assert asked(bundles[5], slot(bundles[5])) == []


@pytest.mark.parametrize(("floor", "taken"), [(0, True), (4, True), (5, False)])
def test_an_allowed_downgrade_ends_at_the_floor(floor: int, taken: bool, bundles: dict[int, Bundle]) -> None:
    where = slot(bundles[6], floor=floor)
    if taken:
        assert asked(offered(bundles[1], 4), where, allow_downgrade=True) == ["allow-downgrade"]
        return
    with pytest.raises(DeviceError, match="and the floor is 5") as caught:
        asked(offered(bundles[1], 4), where, allow_downgrade=True)
    assert caught.value.reason is Reason.DOWNGRADE
    assert "--allow-downgrade" not in caught.value.hint  # it would not help


def test_a_downgrade_above_the_floor_is_told_how_to_get(bundles: dict[int, Bundle]) -> None:
    with pytest.raises(DeviceError) as caught:
        asked(offered(bundles[1], 4), slot(bundles[6]))
    assert str(caught.value) == "tiny 1.0.0 has release counter 4; 1.0.0 with 6 is active here"
    assert caught.value.hint.endswith(", or install it with --allow-downgrade")


def test_the_floor_itself_may_be_gone_back_to(bundles: dict[int, Bundle]) -> None:
    where = slot(bundles[6], floor=4)
    with pytest.raises(DeviceError, match="with 6 is active here and the floor is 4") as caught:
        asked(offered(bundles[1], 4), where)
    assert caught.value.hint.endswith(", or install it with --allow-downgrade")


def test_a_bundle_that_failed_here_is_taken_only_by_its_own_override(bundles: dict[int, Bundle]) -> None:
    where = slot(bundles[5], bad=(bundles[6].id,))
    assert asked(offered(bundles[1], 6), where) == []
    with pytest.raises(DeviceError) as caught:
        asked(bundles[6], where, allow_downgrade=True)
    assert caught.value.reason is Reason.TRIAL_FAILED
    assert asked(bundles[6], where, allow_bad=True) == ["allow-bad"]
    older = slot(bundles[5], bad=(bundles[4].id,))
    assert asked(bundles[4], older, allow_bad=True, allow_downgrade=True) == ["allow-bad", "allow-downgrade"]


def test_an_override_that_was_not_needed_is_not_told(bundles: dict[int, Bundle]) -> None:
    assert asked(bundles[6], slot(bundles[5]), allow_bad=True, allow_downgrade=True) == []


# ---- whether there is a trial


def trial(shelf: Shelf, bundle: Bundle, where: Slot | None, wishes: Wishes = NO_WISHES) -> Trial | None:
    faked: Any = shelf
    return trial_of(faked, bundle, where, TRUSTED, wishes)


def test_the_first_bundle_has_no_trial_unless_the_factory_left_one(bundles: dict[int, Bundle]) -> None:
    assert trial(Shelf(), bundles[2], None) is None
    assert trial(Shelf(factory=bundles[1]), bundles[2], None) is not None
    assert trial(Shelf(factory=bundles[2]), bundles[2], None) is None  # no way back but itself


def test_a_trial_can_go_back_to_what_is_active_or_was(bundles: dict[int, Bundle]) -> None:
    everything = list(bundles.values())
    assert trial(Shelf(everything), bundles[3], slot(bundles[2])) is not None
    broken = {bundles[2].id: BundleError(Reason.FILE_HASH, "rotten")}
    assert trial(Shelf(everything, faults=broken), bundles[3], slot(bundles[2])) is None
    assert trial(Shelf(everything, faults=broken), bundles[3], slot(bundles[2], bundles[1])) is not None


def test_what_is_on_trial_itself_is_no_way_back(bundles: dict[int, Bundle]) -> None:
    everything = list(bundles.values())
    on_trial = Slot(active=release_of(bundles[2]), trial=TRIAL)
    assert trial(Shelf(everything), bundles[3], on_trial) is None
    on_trial = Slot(active=release_of(bundles[2]), previous=release_of(bundles[1]), trial=TRIAL)
    assert trial(Shelf(everything), bundles[3], on_trial) is not None


def test_a_bad_or_distrusted_or_unreadable_bundle_is_no_way_back(bundles: dict[int, Bundle]) -> None:
    everything = list(bundles.values())
    assert trial(Shelf(everything), bundles[3], slot(bundles[2], bad=(bundles[2].id,))) is None
    faked: Any = Shelf(everything, factory=bundles[1])
    assert trial_of(faked, bundles[3], slot(bundles[2]), TrustedKeys({}), NO_WISHES) is None
    away: dict[str, GalagoError] = {bundles[2].id: LinkError(Reason.IO, "the disk")}
    assert trial(Shelf(everything, faults=away), bundles[3], slot(bundles[2])) is None


def test_a_trial_has_the_loads_and_the_time_that_are_asked_for(bundles: dict[int, Bundle]) -> None:
    shelf = Shelf(list(bundles.values()))
    plain = trial(shelf, bundles[3], slot(bundles[2]))
    assert plain is not None
    assert (plain.left, plain.trial_s) == (bundles[3].manifest.health.max_trials, None)
    given = trial(shelf, bundles[3], slot(bundles[2]), Wishes(trial_loads=9, trial_s=7))
    assert given is not None and (given.left, given.trial_s, given.boots) == (9, 7, 0)


# ---- where a rollback goes


def back(shelf: Shelf, where: Slot, trusted: TrustedKeys = TRUSTED) -> Bundle:
    faked: Any = shelf
    return fallback_of(faked, "tiny", where, trusted)


def no_way(shelf: Shelf, where: Slot, trusted: TrustedKeys = TRUSTED) -> Reason:
    with pytest.raises(DeviceError) as caught:
        back(shelf, where, trusted)
    return caught.value.reason


def test_the_way_back_is_the_previous_one_then_the_one_before_the_trial_then_the_factorys(
    bundles: dict[int, Bundle],
) -> None:
    everything = list(bundles.values())
    where = slot(bundles[4], bundles[3], before=bundles[2])
    rotten: dict[str, GalagoError] = {}
    shelf = Shelf(everything, bundles[1], rotten)
    assert back(shelf, where).id == bundles[3].id
    rotten[bundles[3].id] = BundleError(Reason.FILE_HASH, "rotten")
    assert back(shelf, where).id == bundles[2].id
    rotten[bundles[2].id] = BundleError(Reason.FILE_HASH, "rotten")
    assert back(shelf, where).id == bundles[1].id
    shelf.factory = None
    assert no_way(shelf, where) is Reason.NO_FALLBACK


def test_neither_the_active_nor_a_bad_nor_a_distrusted_bundle_is_a_way_back(
    bundles: dict[int, Bundle],
) -> None:
    everything = list(bundles.values())
    assert no_way(Shelf(everything, bundles[4]), slot(bundles[4])) is Reason.NO_FALLBACK
    bad = slot(bundles[4], bundles[3], bad=(bundles[3].id,))
    assert no_way(Shelf(everything), bad) is Reason.NO_FALLBACK
    assert back(Shelf(everything, bundles[1]), bad).id == bundles[1].id
    distrusted = TrustedKeys({}, {key_id(TEST_KEY): "stolen"})
    shelf = Shelf(everything, bundles[1])
    assert no_way(shelf, slot(bundles[4], bundles[3]), distrusted) is Reason.NO_FALLBACK


@pytest.mark.parametrize(("floor", "goes"), [(0, True), (3, True), (4, False)])
def test_the_floor_holds_for_a_committed_bundle_and_not_on_trial(
    floor: int, goes: bool, bundles: dict[int, Bundle]
) -> None:
    shelf = Shelf(list(bundles.values()))
    assert back(shelf, slot(bundles[5], bundles[3], floor=floor, trial=TRIAL)).id == bundles[3].id
    committed = slot(bundles[5], bundles[3], floor=floor)
    if goes:
        assert back(shelf, committed).id == bundles[3].id
    else:
        with pytest.raises(DeviceError, match="has release counter 3, the floor is 4") as caught:
            back(shelf, committed)
        assert caught.value.reason is Reason.DOWNGRADE


def test_a_factory_bundle_above_the_floor_is_a_way_back_where_the_previous_one_is_below(
    bundles: dict[int, Bundle],
) -> None:
    shelf = Shelf(list(bundles.values()), factory=bundles[4])
    assert back(shelf, slot(bundles[5], bundles[3], floor=4)).id == bundles[4].id


def test_a_disk_that_cannot_be_read_is_no_proof_that_there_is_nothing(bundles: dict[int, Bundle]) -> None:
    away: dict[str, GalagoError] = {bundles[3].id: LinkError(Reason.IO, "the disk")}
    with pytest.raises(LinkError):
        back(Shelf(list(bundles.values()), bundles[1], away), slot(bundles[4], bundles[3]))
