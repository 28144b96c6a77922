"""What the watchdog calls a hang or a standstill, to the nanosecond on a clock that the test moves."""

from __future__ import annotations

import pytest

from galago_edge.contract.settings import LimitsSettings
from galago_edge.service.watchdog import Hang, SourceProgress, StreamProgress, Watchdog

S = 1_000_000_000
START_NS = 500 * S


class Clock:
    """Stands still until it is moved."""

    def __init__(self) -> None:
        self.ns = START_NS

    def __call__(self) -> int:
        return self.ns


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def watchdog(clock: Clock) -> Watchdog:
    """A window may take ten seconds."""
    return Watchdog(LimitsSettings(hang_s=10.0), clock)


def deciding(name: str, since_ns: int | None) -> StreamProgress:
    return StreamProgress(name, since_ns, None)


def emitting(name: str, since_ns: int | None) -> StreamProgress:
    return StreamProgress(name, None, since_ns)


@pytest.mark.parametrize(
    ("for_ns", "hang"), [(10 * S - 1, None), (10 * S, Hang("hall", 10.0)), (25 * S // 2, Hang("hall", 12.5))]
)
def test_a_window_hangs_from_hang_s_on(
    for_ns: int, hang: Hang | None, watchdog: Watchdog, clock: Clock
) -> None:
    clock.ns += for_ns
    assert watchdog.hang([deciding("door", None), deciding("hall", START_NS)]) == hang


def test_a_window_that_began_at_the_clocks_zero_hangs_too(clock: Clock) -> None:
    assert Watchdog(LimitsSettings(hang_s=10.0), clock).hang([deciding("hall", 0)]) == Hang("hall", 500.0)


def test_of_several_the_first_is_named(watchdog: Watchdog) -> None:
    assert watchdog.hang([deciding("door", 1 * S), deciding("hall", 0)]) == Hang("door", 499.0)


def source(mark: int, patience_s: float = 30.0, name: str = "cam") -> SourceProgress:
    return SourceProgress(name, (mark, 0), patience_s)


def test_a_source_stands_still_when_nothing_changed_for_longer_than_its_patience(
    watchdog: Watchdog, clock: Clock
) -> None:
    assert watchdog.standstill([source(1)], [], 0.0) is None
    clock.ns += 30 * S
    assert watchdog.standstill([source(1)], [], 0.0) is None
    clock.ns += 1
    assert watchdog.standstill([source(1)], [], 0.0) == "source cam is neither captured nor tried"
    assert watchdog.standstill([source(2)], [], 0.0) is None  # and from here on it is counted again
    clock.ns += 30 * S
    assert watchdog.standstill([source(2)], [], 0.0) is None
    clock.ns += 1
    assert watchdog.standstill([source(2)], [], 0.0) is not None


def test_every_source_has_its_own_mark_and_patience(watchdog: Watchdog, clock: Clock) -> None:
    def both(cam: int, mic: int) -> str | None:
        return watchdog.standstill([source(cam), source(mic, 60.0, "mic")], [], 0.0)

    assert both(1, 1) is None
    clock.ns += 31 * S
    assert both(2, 1) is None
    clock.ns += 29 * S + 1
    assert both(3, 1) == "source mic is neither captured nor tried"
    assert both(3, 2) is None


@pytest.mark.parametrize(("for_ns", "stands"), [(10 * S, False), (10 * S + 1, True)])
def test_records_that_are_not_taken_for_longer_than_hang_s_are_a_standstill(
    for_ns: int, stands: bool, watchdog: Watchdog, clock: Clock
) -> None:
    clock.ns += for_ns
    streams = [emitting("door", None), emitting("hall", START_NS), deciding("porch", 0)]
    told = watchdog.standstill([], streams, 0.0)
    assert told == ("the records of stream hall are not taken" if stands else None)


@pytest.mark.parametrize(("writing_s", "stands"), [(60.0, False), (60.001, True)])
def test_a_disk_has_a_minute_for_one_batch(writing_s: float, stands: bool, watchdog: Watchdog) -> None:
    told = watchdog.standstill([], [], writing_s)
    assert told == ("records are not written" if stands else None)
