from __future__ import annotations

import pytest

from galago_edge.contract.settings import SourceSettings
from galago_edge.contract.streams import NS_PER_S
from galago_edge.sources.liveness import LivenessChange, LivenessMachine

SETTINGS = SourceSettings(address="camera:0", retries=3, breaker=5, steady_s=5.0)


class Source:
    """Drives a machine with seconds and notes what it tells."""

    def __init__(self) -> None:
        self.machine = LivenessMachine(SETTINGS, 0)
        self.told: list[tuple[float, str]] = []
        self.details: list[dict[str, object]] = []

    def does(self, what: str, *at_s: float) -> Source:
        for second in at_s:
            now_ns = round(second * NS_PER_S)
            lost = what != "item"
            change = self.machine.lost(now_ns, what) if lost else self.machine.item(now_ns)
            if change is not None:
                self.told.append((second, change.state))
                self.details.append(change.detail)
        return self


def test_a_new_source_is_healthy_with_its_first_item() -> None:
    assert Source().does("item", 1, 2, 3).told == [(1, "healthy")]


def test_a_source_that_is_absent_at_start_is_told_at_its_first_failure() -> None:
    source = Source().does("no such device", 0, 1)
    assert source.told == [(0, "alarmed"), (1, "recovering")]
    assert source.details[0] == {"fault": "no such device", "failures": 1}


def test_it_gets_worse_step_by_step() -> None:
    source = Source().does("item", 0).does("lost", *range(1, 20))
    assert source.told == [(0, "healthy"), (1, "alarmed"), (2, "recovering"), (4, "escalated"), (6, "failed")]
    assert source.machine.failures == 18  # losing it was no failed attempt


def test_what_was_lost_is_healthy_only_after_steady_items() -> None:
    source = Source().does("item", 0).does("lost", 1).does("item", 2, 4, 6.9, 7.0, 8)
    assert source.told == [(0, "healthy"), (1, "alarmed"), (2, "recovering"), (7, "healthy")]
    assert source.details[-1] == {"fault": "lost", "failures": 0, "lost_s": 1.0}
    assert (source.machine.fault, source.machine.failures) == ("", 0)


@pytest.mark.parametrize("state", ["alarmed", "recovering", "escalated", "failed"])
def test_every_state_ends_in_healthy_when_items_flow(state: str) -> None:
    source = Source().does("lost", 0)
    second = 1.0
    while source.machine.state != state:
        source.does("lost", second)
        second += 1
    source.does("item", *(second + part / 2 for part in range(20)))
    assert source.told[-1] == (second + 5, "healthy")


def test_a_source_that_comes_and_goes_is_told_four_times_and_not_for_ever() -> None:
    source = Source().does("item", 0)
    for second in range(1, 10_000, 5):
        source.does("lost", second).does("item", second + 1, second + 4)  # never steady
    assert [state for _, state in source.told] == ["healthy", "alarmed", "recovering", "escalated", "failed"]


def test_failures_are_counted_anew_after_health() -> None:
    source = Source()
    for start in range(0, 100, 20):
        source.does("lost", start, start + 1).does("item", start + 2, start + 7)
    assert [state for _, state in source.told] == ["alarmed", "recovering", "healthy"] * 5


def test_the_time_of_a_state_begins_with_it() -> None:
    source = Source().does("item", 3).does("lost", 8)
    assert (source.machine.state, source.machine.since_ns) == ("alarmed", 8 * NS_PER_S)


S = 1_000_000_000


def fresh(start_ns: int = 7 * S) -> LivenessMachine:
    """Retries 3, breaker 5, steady for 10 s."""
    settings = SourceSettings(address="camera:0", retries=3, breaker=5, steady_s=10.0)
    return LivenessMachine(settings, start_ns)


def change(found: LivenessChange | None) -> tuple[str, dict[str, object]] | None:
    return None if found is None else (found.state, found.detail)


def test_the_first_item_of_a_new_source_says_nothing_of_a_loss() -> None:
    machine = fresh()
    assert (machine.state, machine.since_ns, machine.failures, machine.fault) == ("recovering", 7 * S, 0, "")
    assert change(machine.item(8 * S)) == ("healthy", {})
    assert machine.since_ns == 8 * S
    assert machine.item(9 * S) is None


def test_each_step_says_what_was_wrong_and_how_often() -> None:
    machine = fresh()
    machine.item(8 * S)
    assert change(machine.lost(9 * S, "gone")) == ("alarmed", {"fault": "gone", "failures": 0})
    found = [change(machine.lost((10 + number) * S, f"no {number}")) for number in range(1, 7)]
    assert found == [
        ("recovering", {"fault": "no 1", "failures": 1}),
        None,
        ("escalated", {"fault": "no 3", "failures": 3}),
        None,
        ("failed", {"fault": "no 5", "failures": 5}),
        None,
    ]
    assert (machine.fault, machine.failures, machine.since_ns) == ("no 6", 6, 15 * S)


def test_a_new_source_that_fails_counts_its_first_failure() -> None:
    machine = fresh()
    assert change(machine.lost(8 * S, "none")) == ("alarmed", {"fault": "none", "failures": 1})


def test_health_comes_back_when_items_have_flowed_for_exactly_steady_s() -> None:
    machine = fresh()
    machine.item(8 * S)
    machine.lost(9 * S, "gone")
    machine.lost(10 * S, "still gone")
    since_ns = 20 * S + 123_400_000 + 56_789
    assert machine.item(since_ns) is None  # recovering already
    assert machine.item(since_ns + 10 * S - 1) is None
    assert change(machine.item(since_ns + 10 * S)) == (
        "healthy",
        # it was lost at 9 s, and flowed again from 20.12345... s on
        {"fault": "still gone", "failures": 1, "lost_s": 11.123},
    )
    assert (machine.fault, machine.failures, machine.since_ns) == ("", 0, since_ns + 10 * S)


def test_an_item_after_an_alarm_is_a_recovery_that_is_told() -> None:
    machine = fresh()
    machine.item(8 * S)
    machine.lost(9 * S, "gone")
    assert change(machine.item(9 * S + 1)) == ("recovering", {"fault": "gone", "failures": 0})
    assert machine.item(9 * S + 2) is None


def test_another_loss_begins_the_steady_time_anew() -> None:
    machine = fresh()
    machine.item(8 * S)
    machine.lost(9 * S, "gone")
    machine.item(10 * S)
    machine.lost(19 * S, "gone again")
    machine.item(21 * S)
    assert machine.item(30 * S) is None
    assert change(machine.item(31 * S)) == (
        "healthy",
        {"fault": "gone again", "failures": 1, "lost_s": 12.0},
    )
