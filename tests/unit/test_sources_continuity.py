"""The arithmetic of one stream over many connections, to the nanosecond and the sample."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from galago_edge.contract.settings import SourceSettings
from galago_edge.contract.streams import AudioBlock, Frame, Gap, Item
from galago_edge.sources.continuity import Continuity, FrameContinuity, SampleContinuity
from galago_edge.sources.lateness import Lateness

START_NS = 7_000_000_000_000
"""The monotonic clock when the supervision begins."""
MS = 1_000_000
S = 1_000_000_000
PIXELS = np.zeros((2, 2, 3), np.uint8)
RATE_HZ = 16_000


def camera(**settings: object) -> FrameContinuity:
    return FrameContinuity(SourceSettings(address="camera:0", **settings), START_NS)  # type: ignore[arg-type]


def microphone(**settings: object) -> SampleContinuity:
    return SampleContinuity(SourceSettings(address="microphone:0", **settings), START_NS)  # type: ignore[arg-type]


def frame(index: int, at_ns: int) -> Frame:
    return Frame(PIXELS, index, START_NS + at_ns)


def block(first: int, at_ns: int, samples: int = 1_600, rate_hz: int = RATE_HZ) -> AudioBlock:
    return AudioBlock(np.zeros(samples, np.int16), first, START_NS + at_ns, rate_hz)


def shown(items: Iterable[Item]) -> list[tuple[object, ...]]:
    """A Gap as it is, a frame or block as its place and its time."""
    found: list[tuple[object, ...]] = []
    for item in items:
        if isinstance(item, Gap):
            found.append((item.from_ns, item.to_ns, item.cause))
        elif isinstance(item, Frame):
            found.append((item.index, item.captured_ns))
        elif isinstance(item, AudioBlock):
            found.append((item.first_sample, item.captured_ns))
    return found


def placed(stream: Continuity, *items: Frame | AudioBlock | Gap) -> list[tuple[object, ...]]:
    return shown([found for item in items for found in stream.place(item)])


def running(period_ns: int, intervals: int, **settings: object) -> FrameContinuity:
    """A camera that has given its first frame at 0 and then one every ``period_ns``."""
    stream = camera(**settings)
    placed(stream, *(frame(number, number * period_ns) for number in range(intervals + 1)))
    return stream


# ---- both


@pytest.mark.parametrize("stream", [camera(), microphone()])
def test_a_stream_begins_at_nothing_and_waits_for_its_connection(stream: Continuity) -> None:
    assert (stream.next_index, stream.end_ns, stream.dropped) == (0, 0, 0)
    assert stream.stream_ns(START_NS + 5) == 5
    assert stream.stream_ns(START_NS - 5) == 0
    assert stream.missing_s(START_NS + 1) == 0.0  # to a thousandth
    assert stream.missing_s(START_NS + 1_234_567_890) == 1.235
    assert shown(stream.finish(START_NS + 3)) == [(0, 3, "connecting")]
    assert stream.finish(START_NS + 3) == []


@pytest.mark.parametrize(
    ("causes", "told"),
    [
        (["disconnect", "stall"], "disconnect"),
        (["overrun", "disconnect", "stall"], "disconnect"),
        (["stall", "overrun"], "stall"),
        (["overrun"], "overrun"),
    ],
)
def test_the_first_cause_counts_but_an_overrun_gives_way(causes: list[str], told: str) -> None:
    stream = running(100 * MS, 1)
    for cause in causes:
        stream.lost(cause)
    assert placed(stream, frame(2, 200 * MS)) == [(100 * MS, 200 * MS, told), (2, 200 * MS)]


@pytest.mark.parametrize(
    ("silent_ns", "missing_s", "gap"),
    [(1_000 * MS - 1, 0.0, []), (1_000 * MS, 1.0, [(0, 1_000 * MS, "stall")])],
)
def test_silence_is_missing_from_gap_ms_on(silent_ns: int, missing_s: float, gap: list[object]) -> None:
    stream = camera()
    stream.place(frame(0, 0))
    assert stream.missing_s(START_NS + silent_ns) == missing_s
    assert shown(stream.finish(START_NS + silent_ns)) == gap


def test_nothing_is_missing_twice() -> None:
    stream = camera()
    stream.place(frame(0, 0))
    stream.lost("disconnect")
    assert stream.missing_s(START_NS + 2 * MS) == 0.002
    assert shown(stream.finish(START_NS + 5 * S)) == [(0, 5 * S, "disconnect")]
    assert stream.end_ns == 5 * S
    assert stream.stream_ns(START_NS + 4 * S) == 5 * S
    assert stream.missing_s(START_NS + 5 * S + 1) == 0.0


# ---- frames


def test_frames_keep_their_number_and_their_time_since_the_start() -> None:
    stream = camera()
    assert placed(stream, frame(0, 300 * MS), frame(1, 333 * MS)) == [
        (0, 300 * MS, "connecting"),
        (0, 300 * MS),
        (1, 333 * MS),
    ]
    assert (stream.next_index, stream.end_ns, stream.dropped) == (2, 333 * MS, 0)


def test_frames_that_were_thrown_away_are_counted_and_keep_their_numbers() -> None:
    stream = running(100 * MS, 2)
    assert placed(stream, frame(7, 300 * MS)) == [(7, 300 * MS)]
    assert (stream.next_index, stream.dropped) == (8, 4)
    assert placed(stream, frame(9, 400 * MS)) == [(9, 400 * MS)]
    assert stream.dropped == 5


def test_a_new_connection_counts_on_from_the_last_frame() -> None:
    stream = running(100 * MS, 2)
    stream.lost("disconnect")
    stream.connected()
    assert placed(stream, frame(0, S), frame(1, S + MS)) == [(200 * MS, S, "disconnect"), (3, S), (4, S + MS)]
    stream.connected()
    assert placed(stream, frame(1, S + 2 * MS)) == [(6, S + 2 * MS)]
    assert stream.dropped == 1


def test_a_frame_is_never_before_another_in_number_or_time() -> None:
    stream = running(100 * MS, 2)
    assert placed(stream, frame(1, 150 * MS)) == [(3, 200 * MS)]
    assert stream.dropped == 0


@pytest.mark.parametrize(
    ("index", "passed_ns", "cause"),
    [
        (3, 1_000 * MS - 1, None),
        (3, 1_000 * MS, "stall"),
        (4, 1_000 * MS, "drop"),
        (4, 1_000 * MS - 1, None),
    ],
)
def test_a_frame_is_late_from_gap_ms_on(index: int, passed_ns: int, cause: str | None) -> None:
    at_ns = 200 * MS + passed_ns
    gap = [] if cause is None else [(200 * MS, at_ns, cause)]
    assert placed(running(100 * MS, 2), frame(index, at_ns)) == [*gap, (index, at_ns)]


@pytest.mark.parametrize(("passed_ns", "late"), [(1_500 * MS - 1, False), (1_500 * MS, True)])
def test_a_slow_camera_is_late_from_three_of_its_usual_intervals_on(passed_ns: int, late: bool) -> None:
    stream = running(500 * MS, 5)
    assert stream.usual_ns() == 500 * MS
    end_ns = stream.end_ns
    assert stream.missing_s(START_NS + end_ns + passed_ns) == (1.5 if late else 0.0)
    assert len(placed(stream, frame(6, end_ns + passed_ns))) == 1 + late


@pytest.mark.parametrize(("intervals", "usual_ns"), [(4, 0), (5, 500 * MS)])
def test_five_intervals_say_what_is_usual(intervals: int, usual_ns: int) -> None:
    assert running(500 * MS, intervals).usual_ns() == usual_ns


def test_what_is_usual_is_the_median_of_the_last_fifteen_intervals() -> None:
    stream = running(100 * MS, 15)
    at_ns = stream.end_ns
    for number in range(7):
        at_ns += 200 * MS
        stream.place(frame(16 + number, at_ns))
    assert stream.usual_ns() == 100 * MS  # eight of fifteen
    stream.place(frame(23, at_ns + 200 * MS))
    assert stream.usual_ns() == 200 * MS


def test_the_time_that_a_connection_took_is_no_interval() -> None:
    stream = running(100 * MS, 4)
    stream.lost("disconnect")
    stream.place(frame(5, 9 * S))
    assert stream.usual_ns() == 0
    stream.place(frame(6, 9 * S + 300 * MS))
    assert stream.usual_ns() == 100 * MS


def test_a_declared_rate_is_what_is_usual_whatever_comes() -> None:
    stream = running(100 * MS, 9, fps=0.3)
    assert stream.usual_ns() == 3_333_333_333
    assert stream.missing_s(START_NS + 900 * MS + 9_999_999_998) == 0.0
    assert stream.missing_s(START_NS + 900 * MS + 9_999_999_999) == 10.0


def test_a_gap_of_the_capture_is_told_with_the_frame_behind_it() -> None:
    stream = running(100 * MS, 1)
    assert stream.place(Gap(0, 1, "drop")) == []
    assert placed(stream, frame(2, 150 * MS)) == [(100 * MS, 150 * MS, "drop"), (2, 150 * MS)]


def test_sound_has_no_place_among_frames_nor_a_frame_in_sound() -> None:
    assert camera().place(block(0, 0)) == []
    assert microphone().place(frame(0, 0)) == []


# ---- samples


def listening(blocks: int = 3, **settings: object) -> SampleContinuity:
    """A microphone that has given so many blocks of 0.1 s from 0 on."""
    stream = microphone(**settings)
    placed(stream, *(block(number * 1_600, number * 100 * MS) for number in range(blocks)))
    return stream


def test_samples_begin_where_the_clock_says_and_are_counted_from_there() -> None:
    stream = microphone()
    assert placed(stream, block(0, 250 * MS + 40_000), block(1_600, 999 * MS)) == [
        (0, 250 * MS, "connecting"),  # 4000.64 samples: the last one that is whole
        (4_000, 250 * MS),
        (5_600, 350 * MS),
    ]
    assert (stream.next_index, stream.end_ns, stream.dropped) == (7_200, 450 * MS, 0)


def test_samples_that_the_driver_counted_but_did_not_give_are_a_gap_of_their_length() -> None:
    stream = listening()
    assert placed(stream, block(4_801, 300 * MS)) == [
        (300 * MS, 300_062_500, "overrun"),
        (4_801, 300_062_500),
    ]
    assert stream.dropped == 1
    assert placed(stream, block(8_001, 600 * MS)) == [
        (400_062_500, 500_062_500, "overrun"),
        (8_001, 500_062_500),
    ]
    assert stream.dropped == 1_601


def test_blocks_that_join_have_nothing_between_them() -> None:
    assert placed(listening(), block(4_800, 300 * MS), block(6_400, 400 * MS)) == [
        (4_800, 300 * MS),
        (6_400, 400 * MS),
    ]


def test_an_overrun_of_unknown_length_is_measured_by_the_clock() -> None:
    stream = listening()
    stream.lost("overrun")
    assert placed(stream, block(4_800, 500 * MS)) == [(300 * MS, 500 * MS, "overrun"), (8_000, 500 * MS)]
    assert stream.dropped == 0


def test_an_overrun_of_known_length_is_not_measured_by_the_clock() -> None:
    stream = listening()
    assert stream.place(Gap(0, 1, "overrun")) == []
    assert placed(stream, block(6_400, 900 * MS)) == [(300 * MS, 400 * MS, "overrun"), (6_400, 400 * MS)]


def test_a_new_connection_begins_where_the_clock_says() -> None:
    stream = listening()
    stream.lost("disconnect")
    stream.connected()
    assert placed(stream, block(0, 2 * S)) == [(300 * MS, 2 * S, "disconnect"), (32_000, 2 * S)]
    stream.connected()  # without a word, and later than the count
    assert placed(stream, block(0, 2_600 * MS)) == [(2_100 * MS, 2_600 * MS, "overrun"), (41_600, 2_600 * MS)]


def test_a_connection_that_is_earlier_than_the_count_goes_on_with_the_next_sample() -> None:
    stream = listening()
    stream.connected()
    assert placed(stream, block(0, 100 * MS)) == [(4_800, 300 * MS)]
    stream.lost("disconnect")
    stream.connected()
    assert placed(stream, block(0, 200 * MS)) == [
        (400 * MS, 400 * MS + 62_500, "disconnect"),  # one sample: it does not join
        (6_401, 400 * MS + 62_500),
    ]


def test_another_rate_goes_on_in_time_with_the_next_whole_sample() -> None:
    stream = microphone()
    placed(stream, block(0, 0, samples=1_601))
    assert stream.end_ns == 100_062_500
    assert placed(stream, block(0, 0, samples=441, rate_hz=44_100)) == [
        (100_062_500, 100_068_027, "restart"),  # 4412.76 samples, so the 4413th is the next
        (4_413, 100_068_027),
    ]
    assert stream.end_ns == 4_854 * S // 44_100
    # at the clock's time when that is later
    assert placed(stream, block(0, 2 * S, rate_hz=8_000))[1] == (16_000, 2 * S)


def test_the_first_rate_is_no_restart() -> None:
    assert placed(microphone(), block(0, 0, rate_hz=48_000)) == [(0, 0)]


def late(
    stream: SampleContinuity, late_ns: int, *, begin: int = 20, end: int = 60
) -> list[tuple[int, object]]:
    """Give blocks of 0.1 s, from number ``begin`` on so late; return the gaps and the blocks behind them."""
    found: list[tuple[int, object]] = []
    for number in range(end):
        at_ns = number * 100 * MS + (late_ns if number >= begin else 0)
        items = placed(stream, block(number * 1_600, at_ns))
        found += [(number, item) for item in items if len(item) == 3 and item[2] != "connecting"]
    return found


def test_samples_that_vanished_are_believed_to_be_missing_when_no_block_of_three_seconds_is_in_time() -> None:
    """The last one in time came at 1.9 s. Block 47, at 4.95 s, is the first that is more than 3 s behind it.

    When block 48 comes, 250 ms less the drift that one block allows are missing: 3999.2 samples.
    """
    stream = microphone()
    assert late(stream, 250 * MS) == [(48, (4_800 * MS, 80_799 * S // RATE_HZ, "overrun"))]
    assert stream.next_index == 60 * 1_600 + 3_999
    assert stream.dropped == 0


@pytest.mark.parametrize(("late_ns", "gaps"), [(100 * MS + 50_000, 1), (100 * MS + 49_999, 0)])
def test_less_than_a_tenth_of_a_second_is_not_believed(late_ns: int, gaps: int) -> None:
    """50 us are the drift of one block."""
    found = late(microphone(), late_ns, end=50)
    assert len(found) == gaps


def test_a_rate_that_is_not_believed_says_nothing_about_what_is_missing() -> None:
    stream = microphone()
    stream.believe_rate(False)
    assert late(stream, 250 * MS) == []
    assert placed(stream, block(96_000, 6_250 * MS)) == [(96_000, 6 * S)]


def test_a_rate_that_is_believed_again_is_measured_from_then_on() -> None:
    stream = microphone()
    stream.believe_rate(False)
    late(stream, 250 * MS)
    stream.believe_rate(True)
    for number in range(60, 160):
        assert len(placed(stream, block(number * 1_600, number * 100 * MS + 250 * MS))) == 1


def test_to_believe_what_is_believed_already_forgets_nothing() -> None:
    stream = microphone()
    late(stream, 250 * MS, end=47)
    stream.believe_rate(True)
    assert placed(stream, block(75_200, 4_950 * MS)) == [(75_200, 4_700 * MS)]
    assert len(placed(stream, block(76_800, 5_050 * MS))) == 2


# ---- lateness


def test_lateness_is_what_even_the_timeliest_block_of_the_window_is_behind_the_usual() -> None:
    lateness = Lateness()
    assert lateness.excess_ns() == 0
    lateness.note(0, 5 * MS)
    assert lateness.excess_ns() == 0  # 5 ms are usual
    for second in (1, 2, 3):
        lateness.note(second * S, 205 * MS)
        assert lateness.excess_ns() == 0  # the first one is not more than three seconds ago
    lateness.note(4 * S, 205 * MS)
    # usual since second 3, so half a millisecond of drift is allowed
    assert lateness.excess_ns() == 199_500_000
    lateness.note(5 * S, 205 * MS)
    assert lateness.excess_ns() == 199_000_000


def test_behind_a_correction_a_whole_window_is_waited_for() -> None:
    lateness = Lateness()
    lateness.note(0, 5 * MS)
    assert lateness.excess_ns() == 0
    lateness.forget()
    assert lateness.excess_ns() == 0
    lateness.note(10 * S, 205 * MS)
    assert lateness.excess_ns() == 0
    lateness.note(13 * S - 1, 205 * MS)
    assert lateness.excess_ns() == 0
    lateness.note(13 * S, 205 * MS)
    assert lateness.excess_ns() == 193_500_000  # 13 s of drift: 6.5 ms


def test_a_block_that_is_more_timely_than_the_usual_is_the_new_usual() -> None:
    lateness = Lateness()
    for second, late_ms in enumerate((9, 9, 4, 9, 9, 9, 9, 9, 9)):
        lateness.note(second * S, late_ms * MS)
        found = lateness.excess_ns()
    # the 4 ms left the window with second 6; at seconds 6, 7 and 8 half a millisecond of drift is followed
    assert found == (5 * 2 - 3) * MS // 2


@pytest.mark.parametrize(("ppm", "found"), [(500, 0), (-500, 0), (499, 0)])
def test_a_crystal_that_drifts_is_followed(ppm: int, found: int) -> None:
    lateness = Lateness()
    for second in range(3_600):
        lateness.note(second * S, second * ppm * 1_000)
        assert lateness.excess_ns() == found


def test_the_window_does_not_grow_with_time() -> None:
    lateness = Lateness()
    for number in range(1_000):
        lateness.note(number * 100 * MS, number * MS)
        assert len(lateness._notes) <= 31


def test_damage_is_counted_and_is_a_gap_where_it_lasted_as_long_as_one() -> None:
    stream = running(100 * MS, 10)
    hole = Gap(START_NS, START_NS, "unreadable")
    assert placed(stream, hole, frame(13, 1_300 * MS)) == [(13, 1_300 * MS)]
    assert stream.dropped == 2
    assert placed(stream, hole, frame(33, 3_300 * MS)) == [
        (1_300 * MS, 3_300 * MS, "unreadable"),
        (33, 3_300 * MS),
    ]
    assert placed(stream, frame(53, 5_300 * MS))[0] == (3_300 * MS, 5_300 * MS, "drop")


def test_damage_that_no_frame_follows_is_counted_once_and_is_the_gap_at_the_end() -> None:
    stream = running(100 * MS, 10)
    hole = Gap(START_NS, START_NS, "unreadable")
    placed(stream, hole, hole)
    assert shown(stream.finish(START_NS + 3_000 * MS)) == [(1_000 * MS, 3_000 * MS, "unreadable")]
    assert (stream.dropped, stream.next_index) == (2, 13)
    stream.lost("disconnect")
    assert stream.dropped == 2


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["item", "lost", "overrun", "unreadable"]),
        st.integers(-2 * S, 40 * MS) | st.just(0),  # so much later than the item before it
        st.integers(0, 2),  # so many were thrown away before it
        st.sampled_from([8_000, RATE_HZ, 44_100]),
    ),
    max_size=12,
)


@given(STEPS, st.integers(-S, S), st.sampled_from(["camera", "microphone"]))
def test_no_gap_is_of_no_length_and_none_overlaps_whatever_the_clocks_and_connections_do(
    steps: list[tuple[str, int, int, int]], at_ns: int, modality: str
) -> None:
    stream: Continuity = camera() if modality == "camera" else microphone()
    stream.connected()
    found: list[tuple[object, ...]] = []
    index, wants_gap = 0, False
    for what, later_ns, skipped, rate_hz in steps:
        at_ns += later_ns
        if what == "lost":
            stream.lost("disconnect")
            stream.connected()
            index, wants_gap = 0, bool(found)
            continue
        if what != "item":
            stream.place(Gap(START_NS + at_ns, START_NS + at_ns, what))
            continue
        item = (
            frame(index + skipped, at_ns)
            if modality == "camera"
            else block(index + skipped, at_ns, 4, rate_hz)
        )
        index += skipped + (1 if modality == "camera" else 4)
        before = len(found)
        found += placed(stream, item)
        assert not wants_gap or len(found) == before + 2, "what was lost joins nothing"
        wants_gap = False
    found += shown(stream.finish(START_NS + at_ns))
    gaps = [item for item in found if len(item) == 3]
    assert all(int(str(from_ns)) < int(str(to_ns)) for from_ns, to_ns, _ in gaps)
    times = [int(str(one)) for item in found for one in (item[:2] if len(item) == 3 else item[1:])]
    assert times == sorted(times)


@pytest.mark.parametrize("stream", [camera(), microphone()], ids=["camera", "microphone"])
def test_a_stream_that_begins_with_what_was_captured_before_has_no_gap_there(stream: Continuity) -> None:
    item = frame(0, -S) if isinstance(stream, FrameContinuity) else block(0, -S)
    assert placed(stream, item) == [(0, 0)]
    assert stream.open_gap(START_NS) is None
