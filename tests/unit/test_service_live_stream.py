"""A live stream goes on: with a new bundle, after a failure, at the governor's pace."""

from __future__ import annotations

import itertools
from collections.abc import Generator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from galago_edge.bundle import open_bundle
from galago_edge.contract.errors import BundleError, Reason
from galago_edge.contract.manifest import Label, LabelPolicy
from galago_edge.contract.records import EventRecord, GapRecord, Record, StateRecord
from galago_edge.contract.settings import StreamSettings
from galago_edge.contract.streams import NS_PER_S, Frame, Gap, Item, Notice
from galago_edge.service.build import Build
from galago_edge.service.coverage import Coverage
from galago_edge.service.day_clock import DayClock
from galago_edge.service.handover import Untold
from galago_edge.service.live_stream import LiveStream, untold_of
from galago_edge.service.prepared_stream import build_of
from galago_edge.service.slots import RecordingSlots
from galago_edge.service.trial import Judge
from test_kit import make_bundle

POLICY = LabelPolicy(on=0.6, off=0.4, smoothing_windows=3, min_count=1, refractory_ms=0)
LEVELS = {"dark": 30, "mid": 128, "bright": 225}
STEP_NS = NS_PER_S // 5


class Camera:
    """What a stream asks of its source, without one."""

    modality: Any = "camera"
    dropped = 3

    def __init__(self, *, live: bool = True) -> None:
        self.live = live

    def description(self) -> dict[str, Any]:
        return {"kind": "camera", "name": "test"}

    def conversion(self) -> None:
        return

    def __iter__(self) -> Generator[Item, None, None]:
        yield from ()

    def summary(self) -> dict[str, Any]:
        return {}

    def stop(self) -> None:
        return


class Clock:
    def __init__(self) -> None:
        self.ns = 0

    def __call__(self) -> int:
        return self.ns


class Kept:
    """Takes samples for retraining and counts."""

    def __init__(self) -> None:
        self.items = 0
        self.windows = 0
        self.closed = False

    def item(self, item: Item) -> None:
        self.items += 1

    def window(self, seen: object) -> None:
        self.windows += 1

    def status(self) -> dict[str, Any]:
        return {"kept": self.windows}

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def bundles(tmp_path: Path, tiny_image_model: bytes) -> list[Path]:
    def labels(on: float) -> Sequence[Label]:
        import msgspec

        policy = msgspec.structs.replace(POLICY, on=on)
        return [Label(name=name, background=name == "dark", policy=policy) for name in LEVELS]

    return [
        make_bundle(tmp_path / "one.galago", tiny_image_model, labels(0.6), name="levels", version="1.0.0"),
        make_bundle(tmp_path / "two.galago", tiny_image_model, labels(0.7), name="levels", version="2.0.0"),
    ]


def build(path: Path) -> Build:
    settings = StreamSettings(name="door", source="camera:0")
    slots = RecordingSlots(path.parent)
    return build_of(settings, open_bundle(path), slots, None, scores=False, live=True)


class Walk:
    """Pushes frames of one gray level, 5 a second, and remembers what came back."""

    def __init__(self, live: LiveStream, source: Camera | None = None) -> None:
        self.live = live
        self.index = 0
        self.records: list[Record] = list(live.start(source or Camera()))

    def frames(self, level: str, count: int) -> list[Record]:
        found: list[Record] = []
        for _ in range(count):
            pixels = np.full((24, 32, 3), LEVELS[level], np.uint8)
            found += self.live.push(Frame(pixels, self.index, self.index * STEP_NS))
            self.index += 1
        self.records += found
        return found

    def states(self) -> list[tuple[str, str]]:
        return [(record.subject, record.state) for record in self.records if isinstance(record, StateRecord)]

    def events(self) -> list[EventRecord]:
        return [record for record in self.records if isinstance(record, EventRecord)]


def coverage() -> Coverage:
    noon_ns = 20_700 * 86_400 * NS_PER_S + 43_200 * NS_PER_S
    return Coverage(DayClock(wall_ns=lambda: noon_ns, synced=lambda: True))


@pytest.fixture
def live(bundles: list[Path]) -> LiveStream:
    return LiveStream(build(bundles[0]), coverage())


def test_what_nobody_watched_before_this_process_is_a_gap(bundles: list[Path]) -> None:
    missed = [Gap(-9 * NS_PER_S, -4 * NS_PER_S, "stall"), Gap(-4 * NS_PER_S, 0, "restart")]
    live = LiveStream(build(bundles[0]), coverage(), before=lambda: missed)
    walk = Walk(live)
    told = [record for record in walk.records if isinstance(record, GapRecord)]
    assert [Gap(gap.from_ns, gap.to_ns, gap.cause) for gap in told] == missed
    (day,) = live.coverage.status()
    assert day.gap_s == {"stall": 5.0, "restart": 4.0}


def test_a_day_that_a_clock_had_named_ahead_of_time_is_taken_back_in_a_record(bundles: list[Path]) -> None:
    wall_ns = 20_700 * 86_400 * NS_PER_S + 43_200 * NS_PER_S
    clock = DayClock(wall_ns=lambda: wall_ns, synced=lambda: True)
    walk = Walk(LiveStream(build(bundles[0]), Coverage(clock)))
    wall_ns += 365 * 86_400 * NS_PER_S
    walk.frames("dark", 6)
    wall_ns -= 365 * 86_400 * NS_PER_S
    walk.frames("dark", 2)
    (told,) = [r for r in walk.records if isinstance(r, StateRecord) and r.subject == "coverage"]
    assert (told.state, told.index) == ("set_aside", 6)
    assert told.detail == {"day": "2027-09-04", "why": "future", "watched_ns": 5 * STEP_NS, "gap_ns": 0}


def test_a_new_bundle_takes_over_between_two_windows_and_no_event_is_lost_or_doubled(
    bundles: list[Path], live: LiveStream
) -> None:
    walk = Walk(live)
    walk.frames("bright", 5)
    assert [event.label for event in walk.events()] == ["bright"]
    one, two = live.build, build(bundles[1])
    live.offer(two)
    walk.frames("dark", 1)
    assert live.build is one  # it has not seen enough to decide yet, and a label is on: the old one goes on
    walk.frames("dark", 5)
    assert live.build is two
    walk.frames("mid", 5)
    assert [(event.label, event.seq) for event in walk.events()] == [("bright", 0), ("mid", 1)]
    assert walk.events()[0].bundle == one.loaded.id and walk.events()[1].bundle == two.loaded.id
    subjects = [subject for subject, _ in walk.states() if not subject.startswith("label")]
    assert subjects == ["stream", "stream", "bundle", "stream"]  # started, ended, reloaded, started
    (reloaded,) = [r for r in walk.records if isinstance(r, StateRecord) and r.subject == "bundle"]
    assert reloaded.detail == {"from": one.loaded.id, "to": two.loaded.id, "version": "2.0.0"}
    assert live.stream.tally.windows == 16


def test_what_is_on_while_bundles_change_hands_is_told_once(bundles: list[Path], live: LiveStream) -> None:
    walk = Walk(live)
    walk.frames("bright", 5)
    two = build(bundles[1])
    live.offer(two)
    walk.frames("bright", 20)
    assert live.build is not two
    walk.frames("dark", 10)
    assert live.build is two
    walk.frames("bright", 5)
    assert [event.label for event in walk.events()] == ["bright", "bright"]


def test_a_label_that_stays_on_does_not_hold_a_new_bundle_up_for_ever(
    bundles: list[Path], live: LiveStream
) -> None:
    walk = Walk(live)
    walk.frames("bright", 5)
    two = build(bundles[1])
    live.offer(two)
    walk.frames("bright", 200)  # 40 s
    assert live.build is two
    assert [event.label for event in walk.events()] == ["bright"]  # the new one has it on already


def test_a_new_bundles_first_record_says_where_in_the_stream_it_stands(
    bundles: list[Path], live: LiveStream
) -> None:
    walk = Walk(live)
    live.offer(build(bundles[1]))
    walk.frames("dark", 10)
    _, again = [r for r in walk.records if isinstance(r, StateRecord) and r.state == "started"]
    assert (again.index, again.ns) == (2, 2 * STEP_NS)


def test_a_new_bundle_that_fails_at_its_first_window_leaves_the_old_one_where_it_is(
    bundles: list[Path], live: LiveStream
) -> None:
    walk = Walk(live)
    one, two = live.build, build(bundles[1])
    two.stream.push = broken  # type: ignore[method-assign]
    live.offer(two)
    walk.frames("bright", 5)
    assert live.build is one
    (refused,) = [r for r in walk.records if isinstance(r, StateRecord) and r.state == "reload_failed"]
    assert refused.detail == {
        "name": "levels",
        "to": two.loaded.id,
        "reason": "MODEL_BAD",
        "message": "an operator failed",
    }
    assert live.refused is not None
    assert [event.label for event in walk.events()] == ["bright"]
    live.offer(build(bundles[1]))
    walk.frames("dark", 8)
    assert live.build is not one and live.refused is None


def test_a_bundle_that_could_not_even_be_opened_has_a_name_and_no_id_and_the_record_says_where_it_was_missed(
    live: LiveStream,
) -> None:
    walk, failure = Walk(live), BundleError(Reason.FILE_HASH, "model.tflite is damaged")
    first = live.reload_failed(failure)
    assert (first.index, first.ns) == (0, 0)
    walk.frames("dark", 5)
    record = live.reload_failed(failure)
    assert (record.stream, record.subject, record.state) == ("door", "bundle", "reload_failed")
    assert (record.index, record.ns) == (4, 4 * STEP_NS)
    assert record.detail == {"name": "levels", "reason": "FILE_HASH", "message": "model.tflite is damaged"}
    assert live.reload_failed(ValueError(), to="5b1f").detail == {
        "name": "levels",
        "to": "5b1f",
        "reason": "INTERNAL",
        "message": "ValueError",
    }


def test_only_the_newest_of_several_offers_takes_over(bundles: list[Path], live: LiveStream) -> None:
    walk = Walk(live)
    first, second = build(bundles[1]), build(bundles[1])
    live.offer(first)
    live.offer(second)
    walk.frames("dark", 8)
    assert live.build is second


def broken(item: Item) -> list[Record]:
    raise BundleError(Reason.MODEL_BAD, "an operator failed")


def test_a_model_that_fails_is_told_loaded_anew_and_the_time_between_is_a_gap(bundles: list[Path]) -> None:
    clock = Clock()
    live = LiveStream(build(bundles[0]), coverage(), clock_ns=clock)
    walk = Walk(live)
    walk.frames("dark", 5)
    live.stream.push = broken  # type: ignore[method-assign]
    walk.frames("dark", 2)
    assert isinstance(live.failure, BundleError)
    clock.ns += 2 * NS_PER_S
    walk.frames("bright", 5)
    assert live.failure is None
    assert [event.label for event in walk.events()] == ["bright"]
    (gap,) = [record for record in walk.records if isinstance(record, GapRecord)]
    assert (gap.from_ns, gap.to_ns, gap.cause) == (5 * STEP_NS, 7 * STEP_NS, "restart")
    (failed,) = [r for r in walk.records if isinstance(r, StateRecord) and r.state == "failed"]
    assert failed.detail == {"reason": "MODEL_BAD", "message": "an operator failed"}
    (day,) = live.coverage.status()
    assert day.watched_s + sum(day.gap_s.values()) == pytest.approx(11 * STEP_NS / NS_PER_S)
    assert day.gap_s == {"restart": pytest.approx(2 * STEP_NS / NS_PER_S)}


def test_what_is_missing_and_not_told_yet_is_known_at_any_moment(bundles: list[Path]) -> None:
    live = LiveStream(build(bundles[0]), coverage(), clock_ns=Clock())
    walk = Walk(live)
    walk.frames("dark", 3)
    assert untold_of(live, None) is None
    assert untold_of(live, Gap(2 * STEP_NS, 5 * STEP_NS, "stall")) == Untold(3 * STEP_NS, "stall")
    live.stream.push = broken  # type: ignore[method-assign]
    walk.frames("dark", 4)
    assert untold_of(live, None) == Untold(3 * STEP_NS, "restart")  # since the frame that it failed at
    assert untold_of(live, Gap(6 * STEP_NS, 9 * STEP_NS, "stall")) == Untold(6 * STEP_NS, "restart")


def test_a_model_that_keeps_failing_is_tried_ever_more_rarely(bundles: list[Path]) -> None:
    clock = Clock()
    tries: list[int] = []
    good = build(bundles[0])

    def again() -> Build:
        tries.append(clock.ns // NS_PER_S)
        raise BundleError(Reason.FILE_HASH, "damaged")

    live = LiveStream(Build(good.loaded, good.stream, again), coverage(), clock_ns=clock)
    live.stream.push = broken  # type: ignore[method-assign]
    walk = Walk(live)
    for _ in range(400):
        walk.frames("dark", 1)
        clock.ns += NS_PER_S
    pauses = [after - before for before, after in itertools.pairwise(tries)]
    assert pauses[:4] == [2, 4, 8, 16]
    assert set(pauses[6:]) == {60}


def test_a_recording_whose_model_fails_fails(bundles: list[Path], live: LiveStream) -> None:
    walk = Walk(live, Camera(live=False))
    live.stream.push = broken  # type: ignore[method-assign]
    with pytest.raises(BundleError):
        walk.frames("dark", 1)


def test_the_governors_pace_holds_from_the_next_item_on_and_over_a_reload(
    bundles: list[Path], live: LiveStream
) -> None:
    walk = Walk(live)
    live.pace(4, {"temperature_c": 81.5})
    walk.frames("dark", 8)
    assert live.stream.tally.windows == 2
    (step,) = [r for r in walk.records if isinstance(r, StateRecord) and r.subject == "governor"]
    assert (step.state, step.detail) == ("step", {"every": 4, "temperature_c": 81.5})
    live.offer(build(bundles[1]))
    walk.frames("dark", 40)
    assert live.manifest.bundle.version == "2.0.0"
    assert live.stream.every == 4


def test_what_was_counted_is_handed_on_whole(bundles: list[Path], live: LiveStream) -> None:
    walk, one, two = Walk(live), live.build, build(bundles[1])
    walk.frames("bright", 5)
    live.push(Gap(4 * STEP_NS, 5 * STEP_NS, "stall"))
    live.pace(3, {})
    walk.frames("dark", 12)
    before = replace(live.stream.tally)
    assert min(before.windows, before.left_out, before.events, before.gaps) > 0
    live.offer(two, at_once=True)
    walk.frames("dark", 6)
    assert live.build is two and live.bundle_id == two.loaded.id != one.loaded.id
    tally = live.stream.tally
    assert (tally.events, tally.gaps, tally.skipped) == (before.events, before.gaps, 0)
    assert tally.windows > before.windows and tally.windows + tally.left_out == 23


def test_gaps_and_notices_pass(live: LiveStream) -> None:
    walk = Walk(live)
    walk.frames("dark", 2)
    records = live.push(Gap(STEP_NS, 5 * STEP_NS, "disconnect"))
    assert [type(record) for record in records] == [GapRecord]
    (state,) = live.push(Notice("alarmed", 2, 5 * STEP_NS, {"fault": "gone"}))
    assert isinstance(state, StateRecord) and (state.subject, state.state) == ("source", "alarmed")
    assert live.coverage.end_ns == 5 * STEP_NS


def test_samples_are_offered_everything_once(bundles: list[Path]) -> None:
    kept = Kept()
    live = LiveStream(build(bundles[0]), coverage(), collect=lambda build: kept)
    walk = Walk(live)
    walk.frames("dark", 3)
    live.offer(build(bundles[1]))
    walk.frames("dark", 6)
    assert (kept.items, kept.windows) == (9, 9)
    live.close()
    assert kept.closed


def test_what_is_worked_on_is_known_to_the_watchdog(live: LiveStream) -> None:
    seen: list[int | None] = []
    walk = Walk(live)
    push = live.stream.push

    def watched(item: Item) -> list[Record]:
        seen.append(live.busy_since_ns)
        return push(item)

    live.stream.push = watched  # type: ignore[method-assign]
    walk.frames("dark", 1)
    assert seen[0] is not None
    assert live.busy_since_ns is None
    assert live.dropped() == 3


# a bundle on trial


def judged(path: Path) -> Build:
    plain = build(path)
    return Build(plain.loaded, plain.stream, plain.again, Judge(plain.loaded.manifest))


def textured(walk: Walk, count: int) -> None:
    """Push frames that differ and in which there is something to see."""
    for _ in range(count):
        pixels = np.full((24, 32, 3), 30, np.uint8)
        pixels[walk.index % 16 : walk.index % 16 + 8] = 70
        walk.records += walk.live.push(Frame(pixels, walk.index, walk.index * STEP_NS))
        walk.index += 1


def test_a_bundle_on_trial_is_judged_before_and_after_it_takes_over(
    bundles: list[Path], live: LiveStream
) -> None:
    walk, two = Walk(live), judged(bundles[1])
    live.offer(two)
    textured(walk, 30)
    assert live.build is two and two.judge is not None
    # neither the first frame counts, nor the second, which was the last of the warm-up
    assert two.judge.inferences == 28 and two.judge.live_ns == 28 * STEP_NS


def test_a_bundle_on_trial_that_fails_before_it_takes_over_has_failed(
    bundles: list[Path], live: LiveStream
) -> None:
    walk, one, two = Walk(live), live.build, judged(bundles[1])
    two.stream.push = broken  # type: ignore[method-assign]
    live.offer(two)
    textured(walk, 3)
    assert live.build is one and two.judge is not None
    assert two.judge.failure is not None and two.judge.failure.reason is Reason.MODEL_BAD


def test_a_bundle_that_failed_gives_way_at_the_next_frame_and_the_time_between_is_a_gap(
    bundles: list[Path],
) -> None:
    two, one = judged(bundles[1]), build(bundles[0])
    live = LiveStream(two, coverage())
    walk = Walk(live)
    textured(walk, 5)
    two.stream.push = broken  # type: ignore[method-assign]
    textured(walk, 2)
    live.offer(one, at_once=True)
    textured(walk, 1)
    assert live.build is one and live.failure is None
    (gap,) = [record for record in walk.records if isinstance(record, GapRecord)]
    assert (gap.from_ns, gap.to_ns, gap.cause) == (5 * STEP_NS, 7 * STEP_NS, "restart")
    (day,) = live.coverage.status()
    assert day.gap_s == {"restart": pytest.approx(2 * STEP_NS / NS_PER_S)}
    assert live.stream.tally.gaps == 1


def test_a_bundle_that_fails_at_the_frame_at_which_another_takes_over_leaves_no_gap(
    bundles: list[Path], live: LiveStream
) -> None:
    walk, one = Walk(live), build(bundles[1])
    walk.frames("dark", 5)
    live.stream.push = broken  # type: ignore[method-assign]
    live.offer(one)
    walk.frames("dark", 1)
    assert live.build is one and live.failure is None
    assert not [record for record in walk.records if isinstance(record, GapRecord)], "of no length"
    assert live.stream.tally.gaps == 0


def test_at_once_does_not_wait_for_a_label_to_end(bundles: list[Path], live: LiveStream) -> None:
    walk, two = Walk(live), build(bundles[1])
    walk.frames("bright", 5)
    live.offer(two, at_once=True)
    walk.frames("bright", 1)
    assert live.build is two


def test_a_bundle_that_was_withdrawn_does_not_take_over(bundles: list[Path], live: LiveStream) -> None:
    walk, one, two, closed = Walk(live), live.build, build(bundles[1]), []
    for how in ("offered", "candidate"):
        released = Build(two.loaded, two.stream, two.again, release=lambda: closed.append(1))
        live.offer(released)
        if how == "candidate":
            walk.frames("bright", 1)
        live.withdraw(two.loaded.id)
        walk.frames("dark", 40)
        assert live.build is one
    assert len(closed) == 2


def test_a_bundles_folder_is_let_go_of_when_another_one_has_taken_over(bundles: list[Path]) -> None:
    released: list[str] = []
    plain = build(bundles[0])
    one = Build(plain.loaded, plain.stream, plain.again, release=lambda: released.append("one"))
    live = LiveStream(one, coverage())
    walk = Walk(live)
    live.offer(build(bundles[1]))
    walk.frames("dark", 1)
    assert not released
    walk.frames("dark", 10)
    assert released == ["one"]


def test_what_a_camera_is_doubted_for_reaches_the_judge(bundles: list[Path]) -> None:
    two = judged(bundles[1])
    live = LiveStream(two, coverage())
    walk = Walk(live)
    live.push(Notice("implausible", 0, 0, {"what": "frozen"}))
    textured(walk, 20)
    assert two.judge is not None and two.judge.inferences == 0
    live.push(Notice("plausible", 20, 20 * STEP_NS, {"what": "frozen"}))
    textured(walk, 20)
    assert two.judge.inferences > 10


def test_what_comes_faster_than_time_goes_by_is_shown_to_no_judge_again(bundles: list[Path]) -> None:
    two = judged(bundles[1])
    walk = Walk(LiveStream(two, coverage()))
    walk.records += walk.live.push(Notice("ahead", 0, 0, {"ahead_s": 5.5}))
    textured(walk, 20)
    walk.live.push(Notice("plausible", 20, 20 * STEP_NS, {"what": "frozen"}))
    textured(walk, 20)
    assert two.judge is not None and two.judge.inferences == 0 and not two.judge.live
    told = [record for record in walk.records if isinstance(record, StateRecord) and record.state == "ahead"]
    assert [(record.subject, record.detail) for record in told] == [("source", {"ahead_s": 5.5})]
