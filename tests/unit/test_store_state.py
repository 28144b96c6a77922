"""The record of what is active: whole or refused, and one damaged copy costs nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from galago_edge.contract.errors import DeviceError, LinkError, Reason
from galago_edge.store import Store
from galago_edge.store.state import (
    HISTORY_LENGTH,
    Release,
    Slot,
    State,
    decode_state,
    encode_state,
    with_active,
    with_commit,
    with_entry,
    with_staged,
)


def release(counter: int, floor: int = 0) -> Release:
    return Release(
        id=f"{counter:064x}",
        version=f"{counter}.0.0",
        release_counter=counter,
        since_utc="2026-01-01T00:00:00Z",
        floor=floor,
    )


ONE = with_active(State(), "alarms", release(1))
TWO = with_active(ONE, "alarms", release(2, floor=2))


def test_a_record_is_read_as_it_was_written() -> None:
    for state in (State(), ONE, TWO):
        assert decode_state(encode_state(state)) == state


def test_no_byte_of_a_copy_can_be_changed_or_cut_off_unseen() -> None:
    data = encode_state(TWO)
    for place in range(len(data)):
        damaged = bytearray(data)
        damaged[place] ^= 1 << place % 8
        assert decode_state(bytes(damaged)) is None
        assert decode_state(data[:place]) is None
    for other in (data + b"\n", data + data, b"\0" * len(data), b"", b"\xff" * 10):
        assert decode_state(other) is None


def test_a_record_of_another_version_is_no_record() -> None:
    import hashlib

    body = encode_state(ONE).partition(b"\n")[0].replace(b"galago.state/1", b"galago.state/2")
    assert decode_state(body + b"\n" + hashlib.sha256(body).hexdigest().encode() + b"\n") is None


def test_what_was_active_becomes_the_previous_one() -> None:
    assert ONE.slots == {"alarms": Slot(active=release(1))}
    assert TWO.slots == {"alarms": Slot(active=release(2, floor=2), previous=release(1), floor=2)}
    assert (ONE.seq, TWO.seq) == (1, 2)


def test_names_have_slots_of_their_own() -> None:
    both = with_active(TWO, "porch", release(7))
    assert both.slots == {**TWO.slots, "porch": Slot(active=release(7))}


def test_a_repair_keeps_the_previous_one_and_is_told_apart() -> None:
    repaired = with_active(TWO, "alarms", release(2))
    assert repaired.slots == TWO.slots
    assert [event.action for event in repaired.history] == ["install", "install", "repair"]


def test_the_floor_never_falls() -> None:
    assert with_active(TWO, "alarms", release(3)).slots["alarms"].floor == 2


def test_the_history_keeps_the_last_changes() -> None:
    state = State()
    for counter in range(1, HISTORY_LENGTH + 6):
        state = with_active(state, "alarms", release(counter))
    assert [event.seq for event in state.history] == list(range(6, HISTORY_LENGTH + 6))


def test_what_was_overridden_stays_in_the_history_as_long_as_its_bundle_is_active() -> None:
    state = with_active(State(), "alarms", release(1))
    state = with_entry(state, "override", "", name="alarms", release=release(1), reason="allow-downgrade")
    for counter in range(1, 3 * HISTORY_LENGTH):
        state = with_active(state, "porch", release(counter))
    assert len(state.history) == HISTORY_LENGTH and state.history[0].reason == "allow-downgrade"
    for counter in range(2, HISTORY_LENGTH + 2):
        state = with_active(state, "alarms", release(counter))
    assert "override" not in {event.action for event in state.history}


def test_what_was_overridden_stays_too_for_what_a_rollback_or_an_activation_could_bring_back() -> None:
    state = with_active(State(), "alarms", release(1))
    state = with_entry(state, "override", "", name="alarms", release=release(1), reason="allow-bad")
    state = with_active(state, "alarms", release(2))  # the first one is the previous one
    state = with_staged(state, "alarms", release(3))
    state = with_entry(state, "override", "", name="alarms", release=release(3), reason="ignore-compatible")
    for counter in range(100, 100 + 3 * HISTORY_LENGTH):
        state = with_active(state, "porch", release(counter))
    assert [event.reason for event in state.history[:3]] == ["allow-bad", "ignore-compatible", ""]


def test_the_same_override_again_and_again_leaves_room_for_everything_else() -> None:
    state = with_active(State(), "alarms", release(1))
    for _ in range(2 * HISTORY_LENGTH):
        state = with_entry(state, "override", "", name="alarms", release=release(1), reason="allow-bad")
        state = with_commit(state, "alarms", "", "by hand")
        assert state.history[-1].action == "commit"
    assert len(state.history) == HISTORY_LENGTH
    assert [event.action for event in state.history].count("override") <= HISTORY_LENGTH // 2 + 1


def put(root: Path, a: bytes | None, b: bytes | None) -> Store:
    for name, data in (("state.a", a), ("state.b", b)):
        if data is not None:
            (root / name).write_bytes(data)
    return Store(root)


TORN = encode_state(TWO)[:-10]


def test_the_newer_whole_copy_counts(tmp_path: Path) -> None:
    old, new = encode_state(ONE), encode_state(TWO)
    for number, copies in enumerate(
        [(old, new), (new, old), (new, TORN), (b"", new), (None, new), (new, None)]
    ):
        root = tmp_path / str(number)
        root.mkdir()
        assert put(root, *copies).state() == TWO


def test_no_copy_at_all_is_an_empty_store(tmp_path: Path) -> None:
    assert Store(tmp_path / "never made").state() == State()


@pytest.mark.parametrize("copies", [(TORN, TORN), (TORN, None), (b"", b"\0" * 500)])
def test_no_whole_copy_is_said_and_not_taken_for_an_empty_store(
    tmp_path: Path, copies: tuple[bytes, bytes | None]
) -> None:
    store = put(tmp_path, *copies)
    with pytest.raises(DeviceError) as caught:
        store.state()
    assert caught.value.reason == Reason.STATE_BAD
    assert "state.a is damaged" in str(caught.value) and "install" in caught.value.hint


def test_the_health_of_each_copy_is_told(tmp_path: Path) -> None:
    store = put(tmp_path, TORN, None)
    assert {copy.name: copy.health for copy in store.copies()} == {"state.a": "damaged", "state.b": "missing"}


def test_a_link_in_place_of_a_copy_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_bytes(encode_state(TWO))
    (tmp_path / "state.a").symlink_to("elsewhere")
    with pytest.raises(LinkError):
        Store(tmp_path).state()


def test_a_name_that_is_not_installed_is_refused_with_those_that_are(tmp_path: Path) -> None:
    store = put(tmp_path, encode_state(TWO), None)
    with pytest.raises(DeviceError) as caught:
        store.active("porch")
    assert caught.value.reason == Reason.NO_BUNDLE and "alarms" in str(caught.value)
    with pytest.raises(DeviceError) as caught:
        Store(tmp_path / "empty").active("porch")
    assert caught.value.reason == Reason.NO_BUNDLE
