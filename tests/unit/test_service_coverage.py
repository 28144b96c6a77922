"""What a stream watched, day by day: to the nanosecond, by the clock, whatever happens to the wall clock."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from galago_edge.contract.settings import SourceSettings
from galago_edge.contract.status import CoverageStatus
from galago_edge.contract.streams import NS_PER_S, AudioBlock, Gap, Item, Notice, samples_to_ns
from galago_edge.host.time_zone import TimeZone
from galago_edge.service.coverage import Coverage
from galago_edge.service.day_book import Day, Days
from galago_edge.service.day_clock import DayClock
from galago_edge.sources.continuity import SampleContinuity

S = NS_PER_S
HOUR = 3_600 * S
DAY = 24 * HOUR


def unix_ns(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * S


NOON = unix_ns("2026-09-04 12:00")


@dataclass
class Turned:
    """Clocks that the test turns."""

    wall: int = NOON
    boot: int = 1_000 * S
    awake: int = 400 * S
    synced: bool = True

    def clock(self, zone: str = "UTC") -> DayClock:
        return DayClock(
            wall_ns=lambda: self.wall,
            boot_ns=lambda: self.boot,
            awake_ns=lambda: self.awake,
            synced=lambda: self.synced,
            zone=TimeZone(zone),
        )

    def pass_ns(self, length_ns: int) -> None:
        self.wall += length_ns
        self.boot += length_ns
        self.awake += length_ns


def held(coverage: Coverage) -> dict[str, tuple[float, dict[str, float]]]:
    return {day.day: (day.watched_s, day.gap_s) for day in coverage.status()}


def total_s(coverage: Coverage) -> float:
    shown = sum(day.watched_s + sum(day.gap_s.values()) for day in coverage.status())
    return shown + sum(part.watched_s + sum(part.gap_s.values()) for part in coverage.aside())


def watch(turned: Turned, coverage: Coverage, length_ns: int, step_ns: int = HOUR) -> None:
    """Let time pass in which an item comes every ``step_ns``."""
    while length_ns > 0:
        step = min(step_ns, length_ns)
        turned.pass_ns(step)
        coverage.watched(coverage.end_ns + step)
        length_ns -= step


# ---- sums


def test_a_day_is_what_was_watched_and_the_gaps_by_cause() -> None:
    coverage = Coverage(Turned().clock())
    coverage.gap(Gap(0, 2 * S, "connecting"))
    coverage.watched(10 * S)
    coverage.gap(Gap(10 * S, 13 * S, "disconnect"))
    coverage.watched(20 * S)
    coverage.gap(Gap(20 * S, 21 * S, "disconnect"))
    assert held(coverage) == {"2026-09-04": (15.0, {"connecting": 2.0, "disconnect": 4.0})}


def test_a_stream_that_has_just_begun_shows_today() -> None:
    (day,) = Coverage(Turned().clock()).status()
    assert day == CoverageStatus(day="2026-09-04", watched_s=0.0, gap_s={})


def test_what_is_missing_now_is_shown_before_the_gap_is_told() -> None:
    coverage = Coverage(Turned().clock())
    coverage.watched(5 * S)
    (day,) = coverage.status(missing_s=3.0)
    assert (day.watched_s, day.gap_s) == (5.0, {"ongoing": 3.0})
    assert held(coverage) == {"2026-09-04": (5.0, {})}


@pytest.mark.parametrize("live", [False, True])
def test_time_before_the_start_counts_as_the_gap_that_it_is(live: bool) -> None:
    turned = Turned()
    coverage = Coverage(turned.clock(), live=live)
    coverage.gap(Gap(-7 * S, 0, "restart"))
    assert held(coverage) == {"2026-09-04": (0.0, {"restart": 7.0})}


def test_time_before_the_start_is_of_the_day_on_which_it_was() -> None:
    coverage = Coverage(Turned(wall=unix_ns("2026-09-05 00:30")).clock(), live=True)
    coverage.gap(Gap(-3 * HOUR, -HOUR, "stall"))
    coverage.gap(Gap(-HOUR, 0, "restart"))
    assert held(coverage) == {
        "2026-09-04": (0.0, {"stall": 7_200.0, "restart": 1_800.0}),
        "2026-09-05": (0.0, {"restart": 1_800.0}),
    }


def test_how_long_nothing_was_counted_is_known_at_the_end() -> None:
    turned = Turned()
    coverage = Coverage(turned.clock(), live=True)
    assert coverage.uncounted_ns() == 0  # nothing has come yet: its first gap will say so
    watch(turned, coverage, 5 * S, S)
    turned.pass_ns(S // 2)
    assert coverage.uncounted_ns() == S // 2


@pytest.mark.parametrize("from_s", [0, 3, 5])
def test_what_was_watched_already_is_no_gap_as_well(from_s: int) -> None:
    coverage = Coverage(Turned().clock())
    coverage.watched(5 * S)
    coverage.gap(Gap(from_s * S, 7 * S, "drop"))
    assert held(coverage) == {"2026-09-04": (5.0, {"drop": 2.0})}


def test_a_gap_over_midnight_belongs_to_both_days() -> None:
    turned = Turned(wall=unix_ns("2026-09-05 00:01"))
    coverage = Coverage(turned.clock())
    coverage.gap(Gap(0, 100 * S, "disconnect"))
    assert held(coverage) == {
        "2026-09-04": (0.0, {"disconnect": 40.0}),
        "2026-09-05": (0.0, {"disconnect": 60.0}),
    }


@pytest.mark.parametrize(
    ("after_ns", "length_ns", "days"),
    [
        (0, 1, {"2026-09-04": 1}),
        (1, 1, {"2026-09-05": 1}),
        (1, 2, {"2026-09-04": 1, "2026-09-05": 1}),
        (2, 2, {"2026-09-05": 2}),
        (0, DAY + 1, {"2026-09-03": 1, "2026-09-04": DAY}),
    ],
)
def test_a_day_ends_at_midnight_to_the_nanosecond(
    after_ns: int, length_ns: int, days: dict[str, int]
) -> None:
    midnight = unix_ns("2026-09-05 00:00")
    watched, missed = (Coverage(Turned(wall=midnight + after_ns).clock()) for _ in range(2))
    watched.watched(length_ns)
    missed.gap(Gap(0, length_ns, "drop"))
    assert {name: day.watched_ns for name, day in watched.days().items()} == days
    assert {name: day.gap_ns for name, day in missed.days().items()} == {
        name: {"drop": share} for name, share in days.items()
    }


def test_the_last_eight_days_are_shown_and_more_are_soon_forgotten() -> None:
    turned = Turned()
    coverage = Coverage(turned.clock())
    watch(turned, coverage, 40 * DAY)
    assert [day.day for day in coverage.status()] == [f"2026-10-{n:02}" for n in range(7, 15)]
    assert len(coverage.days()) < 12


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 10**12), st.integers(0, 3 * DAY)), max_size=20))
def test_watched_and_gaps_are_the_whole_time_to_the_nanosecond(steps: list[tuple[bool, int, int]]) -> None:
    coverage = Coverage(Turned().clock())
    end = 0
    for is_gap, before, length in steps:
        if is_gap:
            coverage.gap(Gap(end + before, end + before + length, "drop"))
        else:
            coverage.watched(end + before + length)
        end += before + length
    days = coverage.days().values()
    assert sum(day.watched_ns + sum(day.gap_ns.values()) for day in days) == end == coverage.end_ns


# ---- days of other lengths, in other places


@pytest.mark.parametrize(
    ("zone", "from_utc", "hours"),
    [
        ("Europe/Berlin", "2026-03-27 23:00", {"2026-03-28": 24, "2026-03-29": 23, "2026-03-30": 24}),
        ("Europe/Berlin", "2026-10-23 22:00", {"2026-10-24": 24, "2026-10-25": 25, "2026-10-26": 24}),
        ("Australia/Lord_Howe", "2026-10-02 13:30", {"2026-10-03": 24, "2026-10-04": 23.5, "2026-10-05": 24}),
        ("Africa/Cairo", "2026-04-22 22:00", {"2026-04-23": 24, "2026-04-24": 23, "2026-04-25": 24}),
        ("America/Havana", "2026-10-31 04:00", {"2026-10-31": 24, "2026-11-01": 25, "2026-11-02": 24}),
        ("Asia/Kathmandu", "2026-09-03 18:15", {"2026-09-04": 24, "2026-09-05": 24, "2026-09-06": 24}),
    ],
    ids=["spring", "autumn", "half an hour", "no midnight", "two midnights", "quarter of an hour"],
)
def test_a_day_has_the_hours_that_its_zone_gives_it(
    zone: str, from_utc: str, hours: dict[str, float]
) -> None:
    turned = Turned(wall=unix_ns(from_utc))
    coverage = Coverage(turned.clock(zone), live=True)
    watch(turned, coverage, int(sum(hours.values()) * HOUR), step_ns=7 * 60 * S)
    got = {day.day: day.watched_s / 3_600 for day in coverage.status()}
    assert {name: got[name] for name in hours} == hours and sum(got.values()) == sum(hours.values())


@given(st.integers(unix_ns("2026-01-01 00:00"), unix_ns("2037-12-31 00:00")), st.integers(1, 40))
def test_two_streams_and_a_restart_in_the_middle_fill_every_day(began: int, restart_hour: int) -> None:
    """Both streams have every hour of each day that is over, whenever the process was another one."""
    zone = TimeZone("Europe/Berlin")
    turned = Turned(wall=began)
    kept: dict[str, Days] = {}
    for hours in (restart_hour, 60):
        door = Coverage(turned.clock(zone.name), kept.get("door"), live=True)
        hall = Coverage(turned.clock(zone.name), kept.get("hall"), live=True)
        if kept:
            turned.pass_ns(90 * S)
            door.gap(Gap(-90 * S, 0, "restart"))
            hall.gap(Gap(-90 * S, 0, "restart"))
        for hour in range(hours):
            turned.pass_ns(HOUR)
            door.watched(door.end_ns + HOUR)
            if hour % 5:
                hall.watched(hall.end_ns + HOUR)
            else:
                hall.gap(Gap(hall.end_ns, hall.end_ns + HOUR, "stall"))
        kept = msgspec.json.decode(
            msgspec.json.encode({"door": door.days(), "hall": hall.days()}), type=dict[str, Days]
        )
    for days in kept.values():
        names = sorted(days)
        for name in names[1:-1]:
            start = zone.day_start_ns(unix_ns(f"{name} 12:00"))
            end = zone.day_start_ns(start + 36 * HOUR)
            assert days[name].watched_ns + sum(days[name].gap_ns.values()) == end - start
        assert sum(day.total_ns for day in days.values()) == turned.wall - began


# ---- the clock is set


def test_today_is_the_day_of_the_present_clock_after_a_jump_ahead_and_back() -> None:
    turned = Turned()
    coverage = Coverage(turned.clock())
    watch(turned, coverage, 3 * HOUR)
    turned.wall += 365 * DAY
    watch(turned, coverage, 60 * S, step_ns=S)
    assert coverage.status()[-1].day == "2027-09-04"
    turned.wall -= 365 * DAY
    watch(turned, coverage, HOUR)
    assert held(coverage) == {"2026-09-04": (4 * 3_600.0, {})}
    (aside,) = coverage.aside()
    assert (aside.day, aside.why, aside.watched_s) == ("2027-09-04", "future", 60.0)
    (news,) = coverage.news()
    assert (news.day, news.why, news.portion.watched_ns) == ("2027-09-04", "future", 60 * S)
    assert coverage.news() == []


def test_eight_jumps_ahead_throw_no_real_day_away() -> None:
    turned = Turned()
    coverage = Coverage(turned.clock())
    watch(turned, coverage, 8 * DAY)
    before = held(coverage)
    for jump in range(1, 20):
        turned.wall += jump * 30 * DAY
        watch(turned, coverage, 60 * S)
    turned.wall -= sum(range(1, 20)) * 30 * DAY + 19 * 60 * S
    coverage = Coverage(turned.clock(), coverage.days())
    watch(turned, coverage, S)
    assert held(coverage) == before | {"2026-09-12": (12 * 3_600.0 + 1, {})}
    assert {part.why for part in coverage.aside()} == {"future"}


def test_a_clock_that_is_right_only_later_dates_what_was_before() -> None:
    """A board without a battery begins somewhere, and learns the time when the network is there."""
    turned = Turned(wall=unix_ns("2025-02-01 10:00"), synced=False)
    coverage = Coverage(turned.clock(), live=True)
    coverage.gap(Gap(-2 * HOUR, 0, "restart"))
    watch(turned, coverage, 3 * HOUR)
    (day,) = coverage.status()
    assert (day.day, day.doubt) == ("2025-02-01", "unsynced")  # what the clock says, and that it may be wrong
    turned.wall, turned.synced = unix_ns("2026-09-05 02:00"), True
    assert {day.day: (day.watched_s, day.gap_s, day.doubt) for day in coverage.status()} == {
        "2026-09-04": (3_600.0, {"restart": 7_200.0}, None),
        "2026-09-05": (7_200.0, {}, None),
    }
    assert coverage.aside() == () and coverage.news() == []


def test_a_gap_behind_a_late_item_moves_nothing_that_was_watched_before_it_into_the_next_day() -> None:
    """A block of sound is counted when it has come, so some of what was watched is told with the gap."""
    turned = Turned(wall=unix_ns("2026-09-04 20:00"), synced=False)
    coverage = Coverage(turned.clock(), live=True)
    watch(turned, coverage, S, S)
    watch(
        turned, coverage, 5 * HOUR, S * 60
    )  # until 01:00:01, 60 minutes and a second of them after midnight
    turned.pass_ns(HOUR + S // 2)
    coverage.gap(Gap(coverage.end_ns, coverage.end_ns + HOUR, "stall"))
    turned.synced = True
    watch(turned, coverage, S, S)
    assert {day: (round(watched), gaps) for day, (watched, gaps) in held(coverage).items()} == {
        "2026-09-04": (4 * 3_600, {}),
        "2026-09-05": (3_602, {"stall": 3_600.0}),
    }


@pytest.mark.parametrize(
    ("wall", "synced", "doubt"),
    [
        ("2026-09-04 12:00", False, "unsynced"),
        ("1999-01-01 00:00", True, "early"),
        ("1970-01-01 00:00", False, "early"),
    ],
)
def test_what_no_believable_clock_has_named_is_set_aside_at_the_end(
    wall: str, synced: bool, doubt: str
) -> None:
    turned = Turned(wall=unix_ns(wall), synced=synced)
    coverage = Coverage(turned.clock())
    watch(turned, coverage, 60 * S)
    (day,) = coverage.status()
    assert (day.day, day.watched_s, day.doubt) == (wall[:10], 60.0, doubt)
    kept = coverage.days()
    again = Coverage(turned.clock(), kept)
    assert again.status()[-1].watched_s == 60.0  # as long as the clock is no better, that is all there is
    turned.wall, turned.synced = NOON + DAY, True
    assert held(again) == {"2026-09-05": (0.0, {})}
    assert [(part.day, part.why, part.watched_s) for part in again.aside()] == [(wall[:10], doubt, 60.0)]


def test_a_device_without_any_time_server_has_its_days_all_the_same() -> None:
    turned = Turned(synced=False)
    coverage = Coverage(turned.clock())
    watch(turned, coverage, 30 * DAY)
    days = coverage.status()
    assert len(days) == 8 and {day.doubt for day in days} == {"unsynced"}
    assert [day.watched_s for day in days[-4:-1]] == [86_400.0] * 3


def test_real_days_of_the_last_process_outlive_a_start_with_a_wrong_clock() -> None:
    kept = {"2026-09-03": Day(watched_ns=DAY)}
    turned = Turned(wall=unix_ns("2025-01-02 00:00"), synced=False)
    coverage = Coverage(turned.clock(), kept)
    watch(turned, coverage, 60 * S)
    assert [day.day for day in coverage.status()] == ["2025-01-02"]
    turned.wall, turned.synced = NOON, True
    assert held(coverage) == {"2026-09-03": (86_400.0, {}), "2026-09-04": (60.0, {})}


def test_a_clock_that_is_set_back_by_a_second_at_midnight_costs_nothing() -> None:
    turned = Turned(wall=unix_ns("2026-09-05 00:00"))
    coverage = Coverage(turned.clock())
    watch(turned, coverage, S // 2)
    turned.wall -= S
    watch(turned, coverage, HOUR, step_ns=60 * S)
    assert coverage.aside() == () and held(coverage)["2026-09-05"] == (3_600.0, {})


@given(
    st.lists(
        st.tuples(st.integers(-400 * DAY, 400 * DAY), st.booleans(), st.integers(1, 10**12)), max_size=30
    )
)
def test_a_clock_that_jumps_loses_no_second_of_the_sums(jumps: list[tuple[int, bool, int]]) -> None:
    turned = Turned()
    coverage = Coverage(turned.clock(), live=True)
    end = 0
    for jump, turned.synced, length in jumps:
        turned.wall += jump
        turned.pass_ns(length)
        end += length
        coverage.watched(end)
    kept = coverage.days().values()
    whole = sum(day.total_ns + sum(part.total_ns for part in day.aside.values()) for day in kept)
    if len(list(kept)) < 8:
        assert whole == end


# ---- by the clock


RATE_HZ = 16_000
BLOCK = 320


@dataclass
class Pipe:
    """Blocks of a sound pipe as they arrive, placed as the sources place them."""

    turned: Turned
    late_first_ns: int = 0
    """How much later than the others the first block of a connection comes."""
    lost_every: int = 0
    """Every so many blocks, 80 ms are lost without a word."""
    slow_ppm: int = 0

    def items(self, blocks: int) -> Iterator[Item]:
        place = SampleContinuity(SourceSettings(address="pipe:x"), self.turned.awake)
        begun, sent = self.turned.awake, 0
        for number in range(blocks):
            if self.lost_every and number and number % self.lost_every == 0:
                self.turned.pass_ns(80_000_000)
                begun += 80_000_000
            due = (
                begun
                + samples_to_ns((number + 1) * BLOCK, RATE_HZ) * (1_000_000 + self.slow_ppm) // 1_000_000
            )
            if number == 0:
                due += self.late_first_ns
            self.turned.pass_ns(max(0, due - self.turned.awake))
            captured = self.turned.awake - samples_to_ns(BLOCK, RATE_HZ)
            yield from place.place(AudioBlock(np.zeros(BLOCK, np.int16), sent, captured, RATE_HZ))
            sent += BLOCK


@pytest.mark.parametrize(
    "fault",
    [{}, {"late_first_ns": 103_000_000}, {"lost_every": 5_000}, {"slow_ppm": 200}],
    ids=["nothing", "the first block comes late", "some samples are lost", "a slow crystal"],
)
def test_ten_minutes_of_a_sound_pipe_are_ten_minutes_by_the_clock(fault: dict[str, int]) -> None:
    """Samples are no clock: they were up to 180 ms off."""
    turned = Turned()
    coverage = Coverage(turned.clock(), live=True)
    began = turned.awake
    for item in Pipe(turned, **fault).items(30_000):
        if isinstance(item, Gap):
            coverage.gap(item)
        elif not isinstance(item, Notice):
            coverage.watched(item.captured_ns + samples_to_ns(BLOCK, RATE_HZ))
    assert total_s(coverage) == pytest.approx((turned.awake - began) / S, abs=0.021)


def test_a_gap_that_began_before_what_was_counted_last_takes_it_back() -> None:
    """A stream that works off what waits for it counts late; what it never got to see was not watched."""
    turned = Turned()
    coverage = Coverage(turned.clock(), live=True)
    coverage.watched(S)
    turned.pass_ns(9 * S)
    coverage.watched(2 * S)  # eight seconds wait in the buffer
    turned.pass_ns(S)
    coverage.gap(Gap(2 * S, 10 * S, "overrun"))
    coverage.watched(11 * S)
    assert held(coverage) == {"2026-09-04": (3.0, {"overrun": 8.0})}


def test_a_machine_that_slept_has_watched_nothing_meanwhile() -> None:
    turned = Turned()
    coverage = Coverage(turned.clock(), live=True)
    watch(turned, coverage, 60 * S, step_ns=S)
    turned.wall += HOUR
    turned.boot += HOUR
    watch(turned, coverage, 60 * S, step_ns=S)
    assert held(coverage) == {"2026-09-04": (120.0, {"suspended": 3_600.0})}


def test_a_recording_is_counted_in_its_own_time() -> None:
    turned = Turned()
    coverage = Coverage(turned.clock())
    coverage.watched(HOUR)
    coverage.watched(2 * HOUR)
    assert held(coverage) == {"2026-09-04": (7_200.0, {})}
