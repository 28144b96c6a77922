"""The record after each kind of change, written out whole: trials, floors, bad bundles, history."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from galago_edge.store.state import (
    BAD_LENGTH,
    HISTORY_LENGTH,
    HistoryEntry,
    Release,
    Slot,
    State,
    Trial,
    and_bad,
    came_back,
    is_intact,
    with_active,
    with_boot,
    with_boot_back,
    with_commit,
    with_entry,
    with_rollback,
    with_staged,
)

SINCE, NOW = "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"
NAME = "alarms"


def release(counter: int, floor: int = 0) -> Release:
    return Release(
        id=f"{counter:064x}",
        version=f"{counter}.0.0",
        release_counter=counter,
        since_utc=SINCE,
        floor=floor,
    )


TRIAL = Trial(left=3, since_utc=SINCE)


def store(**parts: Any) -> State:
    """A record at seq 5 whose slot holds these parts."""
    return State(seq=5, slots={NAME: Slot(**parts)})


def slot(state: State) -> Slot:
    return state.slots[NAME]


def last(state: State) -> HistoryEntry:
    return state.history[-1]


def event(seq: int, action: Any, of: Release | None, at_utc: str = SINCE, **fields: Any) -> HistoryEntry:
    return HistoryEntry(
        seq=seq,
        action=action,
        at_utc=at_utc,
        name=NAME,
        id=of.id if of else None,
        version=of.version if of else None,
        **fields,
    )


# ---- install and activate


def test_the_first_bundle_has_nothing_before_it_and_may_be_on_trial() -> None:
    assert slot(with_active(State(), NAME, release(1, floor=1))) == Slot(active=release(1, floor=1), floor=1)
    state = with_active(State(), NAME, release(1, floor=1), TRIAL, action="activate")
    assert slot(state) == Slot(active=release(1, floor=1), trial=TRIAL)  # a floor is raised by the commit
    assert (state.seq, state.history) == (1, (event(1, "activate", release(1)),))


def test_a_bundle_on_trial_keeps_what_was_before_it_and_what_was_before_that() -> None:
    state = with_active(store(active=release(2), previous=release(1)), NAME, release(3), TRIAL)
    assert slot(state) == Slot(
        active=release(3),
        previous=release(2),
        trial=msgspec.structs.replace(TRIAL, before=release(1)),
    )
    assert state.seq == 6 and last(state) == event(6, "install", release(3))


def test_a_bundle_that_never_proved_itself_is_dropped_by_the_next_one() -> None:
    before = store(
        active=release(3),
        previous=release(2),
        trial=msgspec.structs.replace(TRIAL, before=release(1)),
    )
    assert slot(with_active(before, NAME, release(4), TRIAL)) == Slot(
        active=release(4),
        previous=release(2),
        trial=msgspec.structs.replace(TRIAL, before=release(1)),
    )
    assert slot(with_active(before, NAME, release(4))) == Slot(active=release(4), previous=release(2))


def test_a_bundle_is_never_its_own_previous_one() -> None:
    back = with_active(store(active=release(2), previous=release(1)), NAME, release(1), TRIAL)
    assert slot(back) == Slot(active=release(1), previous=release(2), trial=TRIAL)


def test_what_was_staged_is_not_when_it_is_active_and_stays_beside_another() -> None:
    before = store(active=release(1), staged=release(2))
    assert slot(with_active(before, NAME, release(2))).staged is None
    assert slot(with_active(before, NAME, release(3))).staged == release(2)


def test_a_bundle_that_is_taken_again_is_bad_no_more() -> None:
    before = store(active=release(1), bad=(release(2).id, release(3).id))
    assert slot(with_active(before, NAME, release(2))).bad == (release(3).id,)


@pytest.mark.parametrize(
    ("floor", "given_floor", "trial", "after"),
    [(4, 6, None, 6), (6, 4, None, 6), (4, 6, TRIAL, 4), (0, 0, TRIAL, 0)],
)
def test_only_what_is_committed_at_once_raises_the_floor(
    floor: int, given_floor: int, trial: Trial | None, after: int
) -> None:
    before = store(active=release(6), floor=floor)
    assert slot(with_active(before, NAME, release(7, floor=given_floor), trial)).floor == after


def test_a_repair_changes_no_slot_even_on_trial() -> None:
    before = store(active=release(2, floor=9), previous=release(1), trial=TRIAL, staged=release(3))
    state = with_active(before, NAME, release(2, floor=9))
    assert state.slots == before.slots
    assert last(state) == event(6, "repair", release(2))


def test_to_stage_leaves_everything_else_as_it_is() -> None:
    before = store(active=release(2), previous=release(1), trial=TRIAL, floor=1, bad=(release(9).id,))
    state = with_staged(before, NAME, release(3))
    assert slot(state) == msgspec.structs.replace(slot(before), staged=release(3))
    assert last(state) == event(6, "stage", release(3))


# ---- the end of a trial


@pytest.mark.parametrize(("floor", "of_bundle", "after"), [(1, 3, 3), (3, 1, 3), (0, 0, 0)])
def test_a_commit_ends_the_trial_and_raises_the_floor(floor: int, of_bundle: int, after: int) -> None:
    trial = msgspec.structs.replace(TRIAL, before=release(1))
    before = store(active=release(3, floor=of_bundle), previous=release(2), trial=trial, floor=floor)
    state = with_commit(before, NAME, NOW, "by hand")
    assert slot(state) == Slot(active=release(3, floor=of_bundle), previous=release(2), floor=after)
    assert last(state) == event(6, "commit", release(3), NOW, reason="by hand")


def test_a_rollback_puts_back_what_was_before_the_trial_and_marks_the_bundle() -> None:
    trial = msgspec.structs.replace(TRIAL, before=release(1))
    before = store(active=release(3), previous=release(2), staged=release(4), trial=trial, floor=2)
    state = with_rollback(before, NAME, release(2), NOW, "MODEL_BAD")
    assert slot(state) == Slot(
        active=release(2), previous=release(1), staged=release(4), floor=2, bad=(release(3).id,)
    )
    assert last(state) == event(6, "rollback", release(3), NOW, reason="MODEL_BAD")


def test_a_rollback_of_a_committed_bundle_has_nothing_to_put_back() -> None:
    before = store(active=release(3), previous=release(2), staged=release(2), bad=(release(8).id,))
    state = with_rollback(before, NAME, release(2), NOW, "by hand", bad=False)
    assert slot(state) == Slot(active=release(2), bad=(release(8).id,))


def test_a_rollback_to_what_was_before_the_trial_is_not_its_own_previous_one() -> None:
    trial = msgspec.structs.replace(TRIAL, before=release(1))
    before = store(active=release(3), previous=release(2), trial=trial)
    assert slot(with_rollback(before, NAME, release(1), NOW, "")).previous is None


# ---- loads of a trial


def test_a_load_of_a_trial_is_counted_and_can_be_given_back_without_a_trace() -> None:
    before = with_entry(store(active=release(1), trial=Trial(left=3, since_utc=SINCE, boots=4)), "gc", NOW)
    used = with_boot(before, NAME, NOW)
    assert slot(used).trial == Trial(left=2, since_utc=SINCE, boots=5)
    assert last(used) == event(7, "boot", release(1), NOW, reason="trial, 2 boot attempts left")
    back = with_boot_back(used, NAME)
    assert back.slots == before.slots
    assert back.history == before.history
    assert back.seq == 8


def test_only_the_load_itself_is_forgotten() -> None:
    used = with_entry(with_boot(store(active=release(1), trial=TRIAL), NAME, NOW), "gc", NOW)
    assert with_boot_back(used, NAME).history == used.history
    other = store(active=release(1), trial=TRIAL)
    other = with_entry(other, "boot", NOW, name="porch", release=release(2))
    assert with_boot_back(other, NAME).history == other.history
    assert with_boot_back(store(active=release(1), trial=TRIAL), NAME).history == ()


@pytest.mark.parametrize(
    ("actions", "back"),
    [
        ([], False),
        (["rollback"], True),
        (["install", "rollback"], True),
        (["rollback", "boot", "scrub", "override", "stage"], True),
        (["rollback", "install"], False),
        (["rollback", "activate"], False),
        (["rollback", "commit"], False),
        (["rollback", "commit", "rollback"], True),
    ],
)
def test_a_bundle_came_back_when_nothing_followed_its_rollback(actions: list[Any], back: bool) -> None:
    state = store(active=release(1))
    for action in actions:
        state = with_entry(state, action, NOW, name=NAME, release=release(1))
    assert came_back(state, NAME) is back
    assert not came_back(state, "porch")
    others: list[Any] = ["install", "rollback"]
    for action in others:  # another name's history is its own
        state = with_entry(state, action, NOW, name="porch", release=release(2))
    assert came_back(state, NAME) is back
    assert came_back(state, "porch")


# ---- what is kept


def test_a_slot_needs_all_of_its_bundles_on_the_disk() -> None:
    trial = msgspec.structs.replace(TRIAL, before=release(1))
    full = Slot(active=release(3), previous=release(2), staged=release(4), trial=trial)
    assert full.releases() == {
        "active": release(3),
        "previous": release(2),
        "staged": release(4),
        "before": release(1),
    }
    assert Slot(active=release(3)).releases() == {"active": release(3)}
    assert Slot(active=release(3), trial=TRIAL).releases() == {"active": release(3)}


@given(st.lists(st.integers(0, 30), max_size=60))
def test_the_last_bad_bundles_are_kept_each_once(counters: list[int]) -> None:
    bad: tuple[str, ...] = ()
    for counter in counters:
        bad = and_bad(bad, release(counter).id)
    newest_first = list(dict.fromkeys(reversed(counters)))[:BAD_LENGTH]
    assert bad == tuple(release(counter).id for counter in reversed(newest_first))


def test_a_note_about_the_whole_store_names_no_bundle_and_changes_no_slot() -> None:
    before = store(active=release(1))
    state = with_entry(before, "scrub", NOW, reason="all whole")
    assert state.slots == before.slots
    assert last(state) == HistoryEntry(seq=6, action="scrub", at_utc=NOW, reason="all whole")


def noted(seq: int, action: Any, of: Release, reason: str = "") -> HistoryEntry:
    return event(seq, action, of, reason=reason)


def full_history(*first: HistoryEntry) -> State:
    """A record whose history has no room, beginning with these events."""
    others = (noted(seq, "commit", release(1)) for seq in range(len(first), HISTORY_LENGTH))
    return State(seq=HISTORY_LENGTH, slots={NAME: Slot(active=release(1))}, history=(*first, *others))


def added(state: State, action: Any = "commit", reason: str = "") -> tuple[HistoryEntry, ...]:
    return with_entry(state, action, SINCE, name=NAME, release=release(1), reason=reason).history


def test_a_full_history_loses_its_oldest_event() -> None:
    state = full_history()
    assert added(state) == (*state.history[1:], noted(HISTORY_LENGTH + 1, "commit", release(1)))


def test_a_history_with_room_for_one_more_loses_nothing() -> None:
    state = full_history()
    state = msgspec.structs.replace(state, history=state.history[1:])
    assert len(added(state)) == HISTORY_LENGTH
    assert added(state)[:-1] == state.history


def test_an_override_for_a_bundle_that_is_here_is_passed_over_and_one_for_another_is_not() -> None:
    here, gone = noted(0, "override", release(1), "allow-bad"), noted(0, "override", release(2), "allow-bad")
    kept = added(full_history(here))
    assert kept[0] == here and kept[1].seq == 2
    assert added(full_history(gone))[0].seq == 1


def test_of_two_overrides_for_the_same_reason_the_later_one_is_kept() -> None:
    first, second, other = (
        noted(0, "override", release(1), "allow-bad"),
        noted(1, "override", release(1), "allow-bad"),
        noted(2, "override", release(1), "allow-downgrade"),
    )
    assert added(full_history(first, second, other))[:2] == (second, other)
    # and the one that comes now is the latest
    assert added(full_history(first, other), "override", "allow-bad")[0] == other


def test_a_history_of_nothing_but_needed_overrides_loses_the_oldest_of_them() -> None:
    overrides = tuple(noted(n, "override", release(1), f"reason {n}") for n in range(HISTORY_LENGTH))
    assert added(full_history(*overrides))[:-1] == overrides[1:]


# ---- the copies


def test_a_copy_is_intact_whatever_its_body_says() -> None:
    import hashlib

    body = b'{"schema":"galago.state/99"}'
    line = hashlib.sha256(body).hexdigest().encode()
    assert is_intact(body + b"\n" + line + b"\n")
    assert not is_intact(body + b"\n" + line)
    assert not is_intact(body + b" \n" + line + b"\n")
