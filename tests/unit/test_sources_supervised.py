from __future__ import annotations

import gc
import os
import sys
import threading
import time
from collections.abc import Callable, Iterable
from itertools import chain, pairwise, repeat

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from galago_edge.contract.errors import LinkError, Reason
from galago_edge.contract.settings import PlausibilitySettings, SourceSettings
from galago_edge.contract.streams import NS_PER_S, AudioBlock, Frame, Gap, Item, Notice, samples_to_ns
from galago_edge.sources.supervised_source import Supervised
from test_kit import ScriptedCapture, SteppedClock

PIXELS = np.zeros((2, 2, 3), np.uint8)
SILENCE = np.zeros(1_600, np.int16)
NEVER = PlausibilitySettings(
    frozen_s=0, dark_s=0, moved_s=0, defocused_s=0, covered_s=0, flat_s=0, clipped_s=0, offset_s=0, rate_s=0
)
RATE_HZ = 16_000
START_NS = 1_000 * NS_PER_S
"""The monotonic clock when the supervision begins: never 0 in the field."""

Step = Frame | AudioBlock | Gap | float | Exception
MISSING = LinkError(Reason.SOURCE_MISSING, "there is no camera /dev/video0")


def ns(second: float) -> int:
    return round(second * NS_PER_S)


def frames(*at_s: float, start: int = 0) -> list[Frame]:
    """Frames that a capture numbers from ``start``, at seconds after the supervision began."""
    return [Frame(PIXELS, start + number, START_NS + ns(second)) for number, second in enumerate(at_s)]


def blocks(
    from_s: float, to_s: float, *, first: int = 0, late_s: float = 0.0, rate_hz: int = RATE_HZ
) -> list[AudioBlock]:
    """Blocks of 0.1 s that arrive ``late_s`` after their time."""
    size = rate_hz // 10
    count = round((to_s - from_s) * 10)
    return [
        AudioBlock(
            np.zeros(size, np.int16),
            first + number * size,
            START_NS + ns(from_s + number / 10 + late_s),
            rate_hz,
        )
        for number in range(count)
    ]


class Site:
    """A source that is opened as often as there are scripts; one that is an exception fails to open."""

    def __init__(
        self,
        *scripts: Iterable[Step] | Exception,
        modality: str = "camera",
        address: str = "camera:/dev/video0",
        **settings: object,
    ) -> None:
        self.clock = SteppedClock(START_NS)
        self.captures: list[ScriptedCapture] = []
        self._scripts = iter(scripts)
        given = {"backoff_s": 1.0, "steady_s": 2.0, "plausibility": NEVER} | settings
        self.source = Supervised(
            "door",
            self.open,
            "camera" if modality == "camera" else "microphone",
            SourceSettings(address=address, **given),  # type: ignore[arg-type]
            clock_ns=self.clock,
            random=lambda: 0.0,
            wait=self.clock.wait,
        )

    def open(self) -> ScriptedCapture:
        script = next(self._scripts, None)
        if script is None:  # the test is over
            self.source.stop()
            raise MISSING
        if isinstance(script, Exception):
            raise script
        self.captures.append(ScriptedCapture(self.clock, script))
        return self.captures[-1]

    def items(self) -> list[Item]:
        return list(self.source)


def media(items: Iterable[Item]) -> list[Frame | AudioBlock]:
    return [item for item in items if isinstance(item, Frame | AudioBlock)]


def gaps(items: Iterable[Item]) -> list[tuple[float, float, str]]:
    return [
        (item.from_ns / NS_PER_S, item.to_ns / NS_PER_S, item.cause)
        for item in items
        if isinstance(item, Gap)
    ]


def told(items: Iterable[Item]) -> list[str]:
    return [item.state for item in items if isinstance(item, Notice)]


def test_the_stream_begins_with_the_time_that_connecting_took() -> None:
    site = Site([*frames(0.75, 1.0)])
    gap, notice, first, second, *rest = site.items()
    assert gap == Gap(0, ns(0.75), "connecting")
    assert isinstance(notice, Notice) and notice.state == "healthy"
    assert notice.detail == {"source": {"kind": "camera", "name": "door", "size": 4}}
    assert (notice.index, notice.ns) == (0, ns(0.75))
    assert first == Frame(PIXELS, 0, ns(0.75))
    assert second == Frame(PIXELS, 1, ns(1.0))
    assert told(rest) == ["alarmed"]
    assert site.captures[0].closed == 1


def test_a_source_that_is_absent_at_start_is_waited_for() -> None:
    site = Site(*[MISSING] * 4, frames(15.0, 16.0, 17.0))
    items = site.items()
    assert gaps(items)[0] == (0.0, 15.0, "connecting")
    assert told(items)[:4] == ["alarmed", "recovering", "escalated", "healthy"]
    assert site.clock.waits_s[:4] == [1.0, 2.0, 4.0, 8.0]
    assert media(items)[0] == Frame(PIXELS, 0, ns(15.0))


def test_indexes_and_times_go_on_over_a_disconnect_and_what_is_missing_is_one_gap() -> None:
    site = Site(frames(0.5, 1.0, 1.5), MISSING, MISSING, frames(9.25, 9.75, start=0))
    items = site.items()
    assert [(item.index, item.captured_ns) for item in media(items) if isinstance(item, Frame)] == [
        (0, ns(0.5)),
        (1, ns(1.0)),
        (2, ns(1.5)),
        (3, ns(9.25)),
        (4, ns(9.75)),
    ]
    assert gaps(items)[:2] == [(0.0, 0.5, "connecting"), (1.5, 9.25, "disconnect")]
    notices = [item for item in items if isinstance(item, Notice)]
    assert notices[1].detail == {"fault": "the cable was pulled", "failures": 0}
    assert notices[1].ns == ns(1.5)  # told at once, not when it is back


def test_a_silent_source_is_opened_anew_after_stall_s() -> None:
    site = Site([*frames(0.5, 1.0), 600.0], frames(8.0, 8.5), stall_s=5.0)
    items = site.items()
    assert gaps(items)[1] == (1.0, 8.0, "stall")
    assert [item.ns for item in items if isinstance(item, Notice)][1] == ns(6.0)
    assert [capture.closed for capture in site.captures] == [1, 1]
    assert "no frame for 5.0 s" in str(items)


def test_the_first_frame_may_take_as_long_as_opening() -> None:
    site = Site([8.0, *frames(8.0)], stall_s=5.0, open_s=10.0)
    assert gaps(site.items())[0] == (0.0, 8.0, "connecting")
    assert len(site.captures) == 1
    assert gaps(Site([600.0], frames(20.0), stall_s=5.0, open_s=10.0).items())[0] == (0.0, 20.0, "connecting")


def test_a_slow_camera_is_not_a_dead_one() -> None:
    slow = [second + 0.5 for second in range(0, 400, 4)]
    script = list(chain.from_iterable((3.9, frame) for frame in frames(*slow)))
    for settings in ({"fps": 0.25, "stall_s": 2.0}, {"stall_s": 5.0, "gap_ms": 10_000}):
        items = Site(script, **settings).items()
        assert [cause for _, _, cause in gaps(items)] == ["connecting"]
        assert told(items) == ["healthy", "alarmed"]
    # undeclared, it is slow as soon as it has shown that
    items = Site(script, stall_s=5.0).items()
    assert [cause for _, _, cause in gaps(items)] == ["connecting", *["stall"] * 5]


def test_a_camera_that_sends_only_damage_is_opened_anew_after_stall_s() -> None:
    damage = [Gap(START_NS + ns(at), START_NS + ns(at), "unreadable") for at in range(2, 60)]
    site = Site([*frames(0.5, 1.0), *damage], frames(30.0, 30.5), stall_s=5.0)
    assert gaps(site.items())[1] == (1.0, 30.0, "unreadable")
    assert site.source.status().dropped > 0


ALL_DAMAGED = LinkError(Reason.SOURCE_MISMATCH, "camera yard sends pictures that are all damaged, 5 in a row")


@pytest.mark.parametrize(("end", "cause"), [(ALL_DAMAGED, "unreadable"), (MISSING, "disconnect")])
def test_damaged_pictures_before_a_loss_are_dropped_frames_and_name_it_if_they_are_its_reason(
    end: LinkError, cause: str
) -> None:
    damage = [Gap(START_NS + ns(at), START_NS + ns(at), "unreadable") for at in (1.1, 1.2, 1.3, 1.4, 1.5)]
    site = Site([*frames(0.5, 1.0), *damage, end], [*damage, end], frames(9.0, 9.1))
    items = site.items()
    assert gaps(items)[:2] == [(0.0, 0.5, "connecting"), (1.0, 9.0, cause)]
    assert [item.index for item in media(items) if isinstance(item, Frame)] == [0, 1, 12, 13]
    assert site.source.status().dropped == site.source.summary()["dropped_frames"] == 10


def test_a_camera_that_sends_no_pictures_at_all_is_disconnected_not_unreadable() -> None:
    none = LinkError(Reason.SOURCE_MISMATCH, "camera yard sends no MJPEG stream")
    assert gaps(Site([*frames(0.5, 1.0), none], frames(9.0)).items())[1] == (1.0, 9.0, "disconnect")


@pytest.mark.parametrize(("lost", "cause"), [(0, "stall"), (40, "drop")])
def test_a_frame_that_comes_late_is_behind_a_gap(lost: int, cause: str) -> None:
    usual = [number / 10 for number in range(10)]
    late = frames(3.0, 3.1, start=10 + lost)
    items = Site([*frames(*usual), *late]).items()
    assert gaps(items)[0] == (0.9, 3.0, cause)
    assert [frame.index for frame in media(items) if isinstance(frame, Frame)][-2:] == [10 + lost, 11 + lost]


def test_frames_that_the_capture_threw_away_are_counted() -> None:
    site = Site([*frames(0.1), *frames(0.2, start=7)])
    assert gaps(site.items()) == [(0.0, 0.1, "connecting")]
    assert site.source.status().dropped == 6
    assert site.source.summary() == {
        "captured_frames": 2,
        "dropped_frames": 6,
        "connects": 1,
        "failures": 1,
    }


def test_a_frame_is_never_before_another() -> None:
    items = Site(frames(1.0, 0.9), [*frames(0.2, 1.5)]).items()
    times = [frame.captured_ns for frame in media(items)]
    assert times == [ns(1.0), ns(1.0), ns(1.0) + 1, ns(1.5)]  # behind a gap, which is of some length


def test_the_sample_index_follows_the_time_over_gaps() -> None:
    site = Site(
        blocks(0.25, 1.25), MISSING, blocks(5.0, 6.0), modality="microphone", address="microphone:default"
    )
    items = site.items()
    starts = [(item.first_sample, item.captured_ns) for item in media(items) if isinstance(item, AudioBlock)]
    assert starts[0] == (4_000, ns(0.25))
    assert starts[9:11] == [(4_000 + 9 * 1_600, ns(1.15)), (80_000, ns(5.0))]
    assert gaps(items)[:2] == [(0.0, 0.25, "connecting"), (1.25, 5.0, "disconnect")]


@pytest.mark.parametrize("told_by_driver", [True, False])
def test_samples_that_the_driver_lost_are_a_gap_of_their_length(told_by_driver: bool) -> None:
    jump = blocks(1.3, 2.0, first=16_000 + 4_800)
    flag = [Gap(START_NS + ns(1.0), START_NS + ns(1.3), "overrun")] if told_by_driver else []
    items = Site([*blocks(0, 1), *flag, *jump], modality="microphone").items()
    assert gaps(items)[0] == (1.0, 1.3, "overrun")
    assert media(items)[10].captured_ns == ns(1.3)


def test_an_overrun_of_unknown_length_is_measured_by_the_clock() -> None:
    after = blocks(1.3, 2.0, first=16_000)
    flag = Gap(START_NS + ns(1.0), START_NS + ns(1.0), "overrun")
    items = Site([*blocks(0, 1), flag, *after], modality="microphone").items()
    assert gaps(items)[0] == (1.0, 1.3, "overrun")


def test_samples_that_vanish_without_a_word_are_missed_by_the_clock() -> None:
    # half a second is lost at 10 s, and the count goes on as if nothing had been
    items = Site([*blocks(0, 10), *blocks(10.5, 20, first=160_000)], modality="microphone").items()
    found = gaps(items)
    assert [cause for _, _, cause in found] == ["overrun"]
    from_s, to_s, _ = found[0]
    assert to_s - from_s == pytest.approx(0.5, abs=0.01)
    assert 10.0 <= from_s <= 14.0
    assert media(items)[-1].captured_ns == pytest.approx(ns(19.9), abs=ns(0.01))


def test_blocks_that_come_late_and_in_bursts_are_no_loss() -> None:
    steady = blocks(0, 60)
    late = [0.0, 0.9, 0.4, 1.8, 0.05]  # seconds, by a busy machine
    script = [
        AudioBlock(block.samples, block.first_sample, block.captured_ns + ns(late[number % 5]), RATE_HZ)
        for number, block in enumerate(steady)
    ]
    items = Site(script, modality="microphone").items()
    assert gaps(items) == [(60.0, 61.6, "disconnect")], "only what is missing at the end"


@pytest.mark.parametrize("ppm", [-200, 200])
def test_the_sound_cards_own_clock_is_followed_for_an_hour(ppm: int) -> None:
    block = np.zeros(RATE_HZ, np.int16)
    script = [
        AudioBlock(block, second * RATE_HZ, START_NS + second * (NS_PER_S + ppm * 1_000), RATE_HZ)
        for second in range(3_600)
    ]
    items = Site(script, modality="microphone").items()
    assert gaps(items) == []
    assert [item.first_sample for item in media(items) if isinstance(item, AudioBlock)] == [
        second * RATE_HZ for second in range(3_600)
    ]


def test_a_wrong_rate_is_an_alarm_and_then_no_gap_after_gap() -> None:
    checked = PlausibilitySettings(rate_s=30.0, flat_s=0)
    block = np.zeros(RATE_HZ // 10, np.int16)
    slow = [
        AudioBlock(block, number * 1_600, START_NS + number * 108_000_000, RATE_HZ) for number in range(3_000)
    ]
    items = Site(slow, modality="microphone", plausibility=checked).items()
    doubts = [item for item in items if isinstance(item, Notice) and item.state == "implausible"]
    assert [notice.detail["what"] for notice in doubts] == ["rate"]
    assert doubts[0].detail["declared_hz"] == RATE_HZ
    assert doubts[0].detail["measured_hz"] == pytest.approx(RATE_HZ / 1.08, rel=0.01)
    overruns = [from_s for from_s, _, cause in gaps(items) if cause == "overrun"]
    assert overruns and max(overruns) < 60


def test_a_microphone_of_another_rate_under_the_old_name_goes_on_in_time() -> None:
    items = Site(blocks(0, 1), blocks(4.0, 5.0, rate_hz=48_000), modality="microphone").items()
    first = media(items)[10]
    assert isinstance(first, AudioBlock)
    assert (first.first_sample, first.rate_hz, first.captured_ns) == (4 * 48_000, 48_000, ns(4.0))
    assert gaps(items)[0] == (1.0, 4.0, "disconnect")


@pytest.mark.parametrize(
    "failure", [ValueError("bad picture"), OSError(24, "Too many open files"), MISSING], ids=repr
)
def test_whatever_a_capture_raises_the_source_is_opened_anew(failure: Exception) -> None:
    items = Site([*frames(0.5), failure], failure, frames(3.0, 4.0, 5.0)).items()
    assert gaps(items)[1] == (0.5, 3.0, "disconnect")
    assert told(items)[:4] == ["healthy", "alarmed", "recovering", "healthy"]


def test_a_capture_that_cannot_be_closed_ends_nothing() -> None:
    site = Site(frames(0.5), frames(3.0, 4.0, 5.0))

    def close() -> None:
        raise OSError("device is gone")

    opened = site.open

    def open_stubborn() -> ScriptedCapture:
        capture = opened()
        capture.close = close  # type: ignore[method-assign]
        return capture

    site.source._open = open_stubborn
    assert len(media(site.items())) == 4


def test_a_capture_that_cannot_say_what_it_is_is_closed_and_opened_anew() -> None:
    site = Site(frames(0.5), frames(3.0, 4.0, 5.0))
    opened = site.open

    def describe() -> dict[str, object]:
        raise ValueError("no size")

    def open_mute() -> ScriptedCapture:
        capture = opened()
        if len(site.captures) == 1:
            capture.description = describe  # type: ignore[method-assign]
        return capture

    site.source._open = open_mute
    items = site.items()
    assert gaps(items)[0] == (0.0, 3.0, "connecting")
    assert [capture.closed for capture in site.captures] == [1, 1]
    assert site.source.status().connects == 1


def test_a_source_that_flaps_is_tried_ever_more_rarely_and_told_four_times() -> None:
    flapping = [frames(second, second + 0.1) for second in range(0, 4_000, 20)]
    site = Site(*flapping, breaker=8, backoff_max_s=5.0, breaker_s=7.0)
    items = site.items()
    assert told(items) == ["healthy", "alarmed", "recovering", "escalated", "failed"]
    assert site.clock.waits_s[:8] == [1.0, 2.0, 4.0, 5.0, 5.0, 5.0, 5.0, 7.0]
    assert len(media(items)) == 400


def test_no_message_and_no_status_shows_credentials() -> None:
    address = "camera:rtsp://admin:hunter2@10.0.0.7/live?token=sesame"
    messages = [
        "rtsp://admin:hunter2@10.0.0.7/live?token=sesame cannot be opened",
        "login of admin:hunter2 failed",
        "password hunter2 refused for token=sesame",
    ]
    site = Site(*[LinkError(Reason.SOURCE_MISSING, message) for message in messages], address=address)
    seen: list[object] = []
    for item in site.source:
        seen += [item, site.source.status()]
    shown = f"{seen}{site.source.status()}{site.source.description()}"
    assert "10.0.0.7" in shown
    for secret in ("hunter2", "sesame"):
        assert secret not in shown


def test_status_says_how_the_source_is() -> None:
    script = [*frames(*[number / 10 for number in range(1, 110)]), 60.0]
    site = Site(script, MISSING)
    before = site.source.status()
    assert (before.liveness, before.items, before.connects) == ("recovering", 0, 0)
    for item in site.source:
        if isinstance(item, Frame) and item.index == 108:
            status = site.source.status()
            assert (status.name, status.kind, status.liveness, status.fault) == (
                "door",
                "camera",
                "healthy",
                "",
            )
            assert status.for_s == pytest.approx(10.8)
            assert (status.items, status.connects, status.failures) == (109, 1, 0)
            assert status.rate_hz == pytest.approx(10.0, abs=0.2)
            assert status.missing_s == 0.0
        if isinstance(item, Notice) and item.state == "alarmed":
            status = site.source.status()
            assert (status.liveness, status.failures, status.for_s) == ("alarmed", 1, 0.0)
            assert status.fault == "no frame for 5.0 s"
            assert status.missing_s == pytest.approx(5.0)
    assert site.source.status().rate_hz < 10.0


def test_the_end_in_the_middle_of_an_outage_accounts_for_it() -> None:
    site = Site(frames(1.0), MISSING)
    assert gaps(site.items())[-1] == (1.0, 2.0, "disconnect")  # one pause, then the end


def test_the_end_of_a_healthy_source_is_no_gap() -> None:
    site = Site(frames(*[number / 10 for number in range(1, 50)]))
    items = []
    for item in site.source:
        items.append(item)
        if isinstance(item, Frame) and item.index == 30:
            site.source.stop()
    assert gaps(items) == [(0.0, 0.1, "connecting")]
    assert site.captures[0].closed == 1


@given(
    st.lists(
        st.one_of(
            st.just(MISSING),
            st.lists(st.one_of(st.floats(0.01, 8.0), st.integers(1, 40)), max_size=12),
        ),
        max_size=12,
    )
)
def test_every_moment_is_watched_or_in_a_gap(plan: list[list[float | int] | Exception]) -> None:
    """A float is a silence, an integer a run of so many frames at ten a second."""
    clock_box: list[SteppedClock] = []

    def play(steps: list[float | int]) -> Iterable[Step]:
        index = 0
        for step in steps:
            if isinstance(step, float):
                yield step
                continue
            for _ in range(step):
                yield Frame(PIXELS, index, clock_box[0].now_ns + ns(0.1))
                index += 1

    site = Site(*[step if isinstance(step, Exception) else play(step) for step in plan])
    clock_box.append(site.clock)
    items = site.items()
    at_ns, index = 0, 0
    for item in items:
        if isinstance(item, Gap):
            assert at_ns <= item.from_ns <= item.to_ns
            assert item.from_ns - at_ns < NS_PER_S  # gap_ms: what is shorter is watched
            at_ns = item.to_ns
        elif isinstance(item, Frame):
            assert item.index == index
            assert 0 <= item.captured_ns - at_ns < NS_PER_S
            at_ns, index = item.captured_ns, index + 1
    assert 0 <= site.clock.now_ns - START_NS - at_ns < NS_PER_S
    assert all(capture.closed == 1 for capture in site.captures)


def test_ten_thousand_reconnects_grow_nothing() -> None:
    def connections() -> Iterable[Iterable[Step]]:
        for number in range(10_000):
            yield frames(number * 20.0, number * 20.0 + 0.1)

    site = Site(*repeat(MISSING, 3))
    site._scripts = iter(connections())
    captured = 0
    watched: list[tuple[int, int, int]] = []
    for item in site.source:
        captured += isinstance(item, Frame)
        site.captures.clear()
        site.clock.waits_s.clear()
        if isinstance(item, Frame) and item.index in (2_000, 19_999):
            gc.collect()
            fds = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
            watched.append((sys.getallocatedblocks(), threading.active_count(), fds))
    assert captured == 20_000
    assert site.source.status().connects == 10_000
    (blocks_held, threads, fds), (blocks_after, threads_after, fds_after) = watched
    assert blocks_after - blocks_held < 1_000
    assert threads_after <= threads and fds_after <= fds  # what earlier tests left may end meanwhile


class Hanging:
    """A capture that never gives anything, on the real clock."""

    def __init__(self) -> None:
        self.reading = threading.Event()
        self.closed = threading.Event()

    def description(self) -> dict[str, object]:
        return {}

    def read(self, timeout_s: float) -> None:
        self.reading.set()
        threading.Event().wait(timeout_s)

    def close(self) -> None:
        self.closed.set()


def stopped_from_outside(open: Callable[[], Hanging], ready: Callable[[Supervised], bool]) -> list[Item]:
    settings = SourceSettings(address="camera:0", backoff_s=3_600.0, backoff_max_s=3_600.0)
    source = Supervised("door", open, "camera", settings)
    items: list[Item] = []
    thread = threading.Thread(target=lambda: items.extend(source), daemon=True)
    thread.start()
    deadline = time.monotonic() + 30
    while not ready(source) and time.monotonic() < deadline:
        time.sleep(0.01)
    source.stop()
    thread.join(30)
    assert not thread.is_alive()
    return items


def test_stop_ends_a_source_that_is_silent() -> None:
    capture = Hanging()
    items = stopped_from_outside(lambda: capture, lambda source: capture.reading.is_set())
    assert capture.closed.is_set()
    assert [cause for _, _, cause in gaps(items)] == ["connecting"]


def test_stop_ends_a_source_that_waits_for_its_next_attempt() -> None:
    def open_nothing() -> Hanging:
        raise MISSING

    items = stopped_from_outside(open_nothing, lambda source: source.status().failures == 1)
    assert told(items) == ["alarmed"]


def test_stop_does_not_wait_for_a_camera_that_does_not_answer() -> None:
    opening, answer = threading.Event(), threading.Event()
    capture = Hanging()

    def open_slowly() -> Hanging:
        opening.set()
        assert answer.wait(30)
        return capture

    items = stopped_from_outside(open_slowly, lambda source: opening.is_set())
    assert told(items) == []
    assert not capture.closed.is_set()
    answer.set()
    assert capture.closed.wait(30)  # nobody wants it any more


def test_gaps_and_items_follow_each_other_without_a_hole() -> None:
    items = Site(blocks(0.25, 3), blocks(9, 12), modality="microphone").items()
    timed = [item for item in items if not isinstance(item, Notice)]

    def span(item: Item) -> tuple[int, int]:
        if isinstance(item, AudioBlock):
            return item.captured_ns, samples_to_ns(item.first_sample + len(item.samples), item.rate_hz)
        assert isinstance(item, Gap)
        return item.from_ns, item.to_ns

    for one, other in pairwise(timed):
        assert span(one)[1] == span(other)[0]
