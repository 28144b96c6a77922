"""A new bundle on trial: what speaks for it, what against it, and what says nothing."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pytest

from galago_edge.contract.errors import BundleError, GalagoError, LinkError, Reason
from galago_edge.contract.manifest import Health, LiveHealth, Manifest
from galago_edge.contract.streams import NS_PER_S, AudioBlock, Frame, Gap, Item
from galago_edge.service.trial import Judge, LiveTrial
from test_kit import SteppedClock, changed, hollow_manifest

STEP_NS = NS_PER_S // 5
MS = 1_000_000
RANDOM = np.random.default_rng(7)
NOISE = RANDOM.integers(0, 20, (24, 32, 3), np.uint8)


def manifest(*, trial_s: int = 4, answers: int = 2, **live: Any) -> Manifest:
    found, _ = hollow_manifest()
    health = Health(trial_s=trial_s, live=LiveHealth(**{"min_inferences": 10, "within_s": 5} | live))
    golden = tuple(changed(found.golden[0], expected__logits=(number, -number)) for number in range(answers))
    return msgspec.structs.replace(found, health=health, golden=golden)


class Walk:
    """Lets a judge see items as a stream would show them, five a second."""

    def __init__(self, found: Manifest | None = None) -> None:
        self.clock = SteppedClock()
        self.judge = Judge(found or manifest(), clock_ns=self.clock)
        self.number = 0
        self.judge.item(Frame(NOISE, 0, -STEP_NS))  # whether a camera shows anything takes two looks

    def push(
        self,
        item: Item,
        logits: tuple[int, int] | None,
        took_ms: float = 1,
        step_ns: int = STEP_NS,
        **window: bool,
    ) -> None:
        window = {"skipped": False, "warm_up": False} | window
        self.judge.item(item)
        if logits is not None:
            self.judge.window(np.array(logits, np.int8), **window)
        self.judge.pushed(round(took_ms * MS))
        self.clock.now_ns += step_ns

    def frames(
        self,
        count: int,
        *,
        level: int | None = None,
        answer: int | None = None,
        took_ms: float = 1,
        step_ns: int = STEP_NS,
        **window: bool,
    ) -> None:
        """Push pictures of one even gray, or of noise that moves; the answer changes unless it is given."""
        for _ in range(count):
            if level is None:
                pixels = np.roll(NOISE, self.number, axis=0) + np.uint8(100)
            else:
                pixels = np.full((24, 32, 3), level, np.uint8)
            code = self.number % 7 if answer is None else answer
            ns = self.number * step_ns
            self.push(Frame(pixels, self.number, ns), (code, 0), took_ms, step_ns, **window)
            self.number += 1


def reason(judge: Judge) -> Reason | None:
    return judge.failure.reason if judge.failure is not None else None


def test_a_bundle_that_decides_in_time_passes_when_the_trial_is_over_and_not_before() -> None:
    walk = Walk()
    walk.frames(20)
    assert not walk.judge.decided and walk.judge.inferences == 20
    walk.frames(1)
    assert walk.judge.passed and walk.judge.live_s == 4.0


def test_too_few_inferences_do_not_pass_however_long_it_takes() -> None:
    walk = Walk(manifest(min_inferences=50, within_s=5))
    walk.frames(49)
    assert not walk.judge.decided  # the camera gives no more: that is not the bundle's fault
    walk.frames(1)
    assert walk.judge.passed


@pytest.mark.parametrize("level", [0, 9, 128, 255])
def test_a_picture_without_anything_in_it_neither_passes_nor_fails(level: int) -> None:
    walk = Walk()
    walk.frames(500, level=level, answer=3)
    assert not walk.judge.decided
    assert walk.judge.live_ns == 0 and walk.judge.inferences == 0


def test_what_counted_before_a_picture_went_dark_still_counts_after_it() -> None:
    walk = Walk()
    walk.frames(15)
    before = walk.judge.inferences
    walk.frames(100, level=0)
    assert not walk.judge.decided and walk.judge.inferences == before
    walk.frames(1)
    assert walk.judge.inferences == before  # one look is not enough
    walk.frames(8)
    assert walk.judge.passed


def test_digital_silence_neither_passes_nor_fails_and_sound_does() -> None:
    walk = Walk()

    def sound(blocks: int, *, silent: bool) -> None:
        for _ in range(blocks):
            samples = np.zeros(3_200, np.int16)
            if not silent:
                samples += RANDOM.integers(-50, 50, 3_200).astype(np.int16)
            block = AudioBlock(samples, walk.number * 3_200, walk.number * STEP_NS, 16_000)
            walk.push(block, (walk.number % 5, 0))
            walk.number += 1

    sound(200, silent=True)
    assert not walk.judge.decided and walk.judge.inferences == 0 and walk.judge.live_ns == 0
    sound(20, silent=False)
    assert walk.judge.passed and walk.judge.live_s == 4.0


def test_what_the_source_is_doubted_for_counts_only_where_it_hides_the_scene() -> None:
    walk = Walk()
    walk.judge.item(Frame(NOISE[::-1], 0, 0), frozenset({"frozen"}))
    assert not walk.judge.live
    walk.judge.item(Frame(NOISE, 1, STEP_NS), frozenset({"rate", "offset"}))
    assert walk.judge.live


class Sound(Walk):
    """Lets a judge hear noise, five blocks a second of the stream and so many seconds of the clock."""

    def blocks(self, count: int, clock_s: float, **how: Any) -> None:
        for _ in range(count):
            samples = RANDOM.integers(-5_000, 5_000, 3_200).astype(np.int16)
            block = AudioBlock(samples, self.number * 3_200, self.number * STEP_NS, 16_000)
            self.push(block, (self.number % 7, 0), step_ns=round(clock_s * NS_PER_S), **how)
            self.number += 1


def test_a_recording_that_runs_ahead_of_the_clock_does_not_end_a_trial_however_long_it_is() -> None:
    walk = Sound(manifest(max_p99_ms=50))
    walk.blocks(5 * 3_600, clock_s=0.0001, took_ms=40)  # an hour of sound in two seconds
    assert not walk.judge.decided and walk.judge.live_s == 3_600


def test_a_recording_that_runs_ahead_of_the_clock_finds_nobody_too_slow() -> None:
    walk = Sound(manifest(max_p99_ms=50, min_inferences=40))
    walk.blocks(5 * 3_600, clock_s=0.0001, took_ms=80)
    assert not walk.judge.decided


def test_what_a_recorder_had_buffered_counts_and_only_the_clock_ends_the_trial() -> None:
    walk = Sound()
    walk.blocks(15, clock_s=0)  # three seconds at once
    walk.blocks(18, clock_s=0.2)
    assert not walk.judge.decided and walk.judge.live_s > 6
    walk.blocks(3, clock_s=0.2)
    assert walk.judge.passed


def test_time_without_a_source_does_not_count_and_time_that_the_model_lost_does() -> None:
    walk = Walk(manifest(trial_s=100))
    walk.frames(5)
    assert walk.judge.live_ns == 4 * STEP_NS
    walk.judge.item(Gap(0, 1, "disconnect"))
    walk.number += 500
    walk.frames(5)
    assert walk.judge.live_ns == 7 * STEP_NS
    walk.judge.item(Gap(0, 1, "drop"))
    walk.number += 10
    walk.frames(1)
    assert walk.judge.live_ns == 18 * STEP_NS


def test_a_closed_gate_neither_passes_nor_fails() -> None:
    walk = Walk()
    walk.frames(500, skipped=True)
    assert not walk.judge.decided and walk.judge.live_ns == 0


def test_slow_windows_fail_as_soon_as_there_are_enough_of_them() -> None:
    walk = Walk(manifest(max_p99_ms=50))
    walk.frames(9, took_ms=80)
    assert not walk.judge.decided
    walk.frames(1, took_ms=80)
    assert reason(walk.judge) is Reason.TOO_SLOW
    assert "80 ms" in str(walk.judge.failure) and "50 ms" in str(walk.judge.failure)


def test_one_hiccup_in_a_hundred_windows_is_forgiven_and_two_are_not() -> None:
    for hiccups in (1, 2):
        walk = Walk(manifest(max_p99_ms=50, min_inferences=90, trial_s=18))
        walk.frames(hiccups, took_ms=900)
        walk.frames(100 - hiccups)
        assert walk.judge.passed is (hiccups == 1)
        assert reason(walk.judge) is (None if hiccups == 1 else Reason.TOO_SLOW)


def test_the_warm_up_is_neither_counted_nor_timed() -> None:
    walk = Walk(manifest(max_p99_ms=50))
    walk.frames(15, took_ms=900, warm_up=True)
    assert walk.judge.inferences == 0 and not walk.judge.decided
    walk.frames(10)
    assert walk.judge.passed


def test_a_model_that_does_not_keep_up_with_its_input_is_too_slow() -> None:
    walk = Walk(manifest(max_p99_ms=60_000))
    walk.frames(8, took_ms=990, step_ns=NS_PER_S)
    assert reason(walk.judge) is Reason.TOO_SLOW
    assert "10 were expected" in str(walk.judge.failure)


def test_a_model_whose_every_window_is_a_warm_up_because_it_is_too_slow_fails_too() -> None:
    walk = Walk(manifest(max_p99_ms=60_000))
    for _ in range(8):
        walk.judge.item(Gap(0, 1, "drop"))
        walk.frames(1, took_ms=1_900, step_ns=2 * NS_PER_S, warm_up=True)
    assert reason(walk.judge) is Reason.TOO_SLOW


def test_one_failure_is_enough_and_the_verdict_stays() -> None:
    walk = Walk()
    walk.judge.failed(BundleError(Reason.MODEL_BAD, "an operator failed"))
    walk.frames(100)
    assert reason(walk.judge) is Reason.MODEL_BAD and not walk.judge.passed
    fault = Walk()
    fault.judge.failed(ZeroDivisionError("division by zero"))
    assert reason(fault.judge) is Reason.TRIAL_FAILED and "ZeroDivisionError" in str(fault.judge.failure)


def test_the_same_answer_to_changing_input_fails() -> None:
    walk = Walk()
    for _ in range(11):
        for shift in (0, 60):
            pixels = np.roll(NOISE, walk.number, axis=0) + np.uint8(60 + shift)
            walk.push(Frame(pixels, walk.number, walk.number * STEP_NS), (5, 0))
            walk.number += 1
    assert reason(walk.judge) is Reason.CONSTANT_ANSWER


def test_the_same_answer_to_louder_sound_fails() -> None:
    walk = Walk()
    for _ in range(22):
        loud = 5_000 if walk.number % 2 else 50
        samples = RANDOM.integers(-loud, loud, 3_200).astype(np.int16)
        walk.push(AudioBlock(samples, walk.number * 3_200, walk.number * STEP_NS, 16_000), (5, 0))
        walk.number += 1
    assert reason(walk.judge) is Reason.CONSTANT_ANSWER


def test_the_same_answer_to_a_dull_scene_passes_only_if_the_goldens_show_that_the_model_reacts() -> None:
    reacts, constant = Walk(manifest(answers=2)), Walk(manifest(answers=1))
    for walk in (reacts, constant):
        walk.frames(100, answer=5)
    assert reacts.judge.passed
    assert not constant.judge.decided
    constant.frames(1)
    assert constant.judge.passed


def test_the_trials_length_may_be_the_installs_own() -> None:
    judge = Judge(manifest(trial_s=400), trial_s=1)
    assert judge.trial_s == 1


# several streams


def trial(*walks: Walk) -> LiveTrial:
    found = LiveTrial("levels", "ab" * 32, "2.0.0", 2)
    for number, walk in enumerate(walks):
        found.judge(f"s{number}", walk.judge)
    return found


def test_a_trial_waits_for_every_stream_that_gets_input_and_for_no_other() -> None:
    healthy, slow, dark = Walk(), Walk(), Walk()
    found = trial(healthy, slow, dark)
    assert found.verdict() is False and found.status().state == "waiting"
    healthy.frames(30)
    slow.frames(5)
    assert found.verdict() is False and found.status().state == "judging"
    slow.clock.now_ns += 60 * NS_PER_S  # its camera went away
    assert found.verdict() is True and found.status().state == "passed"


def test_one_stream_that_fails_fails_the_trial_of_all() -> None:
    healthy, broken = Walk(), Walk()
    found = trial(healthy, broken)
    healthy.frames(30)
    broken.judge.failed(BundleError(Reason.MODEL_BAD, "an operator failed"))
    verdict = found.verdict()
    assert isinstance(verdict, GalagoError) and verdict.reason is Reason.MODEL_BAD
    assert found.status().fault == "an operator failed [MODEL_BAD]"


def test_a_trial_without_a_stream_waits() -> None:
    assert trial().verdict() is False
    found = trial()
    found.failed(LinkError(Reason.IO, "gone"))
    assert isinstance(found.verdict(), LinkError)


def test_the_status_says_how_far_it_is() -> None:
    walk = Walk()
    walk.frames(11, took_ms=3)
    status = trial(walk).status()
    assert (status.streams, status.inferences, status.needed) == (("s0",), 11, 10)
    assert (status.live_s, status.trial_s, status.p99_ms, status.left) == (2.0, 4.0, 3.0, 2)


def trial_of(*judges: Judge) -> LiveTrial:
    trial = LiveTrial("levels", "0" * 64, "2.0.0", left=1)
    for number, judge in enumerate(judges):
        trial.judge(f"stream {number}", judge)
    return trial


class Memory:
    """What a process has."""

    mb = 100.0

    def __call__(self) -> float:
        return self.mb

    def judge(self) -> Judge:
        return Judge(manifest(), resident=self)


def test_a_bundle_has_outgrown_when_most_of_the_growth_came_while_it_worked() -> None:
    memory = Memory()
    judge = memory.judge()
    trial = trial_of(judge)
    assert not trial.outgrew()
    for _ in range(10):
        with judge.memory.working():
            memory.mb += 20
        memory.mb += 10
    assert trial.outgrew()
    memory.mb += 150  # 200 of 450 MB now
    assert not trial.outgrew()


def test_what_a_bundle_gives_back_is_not_counted_and_a_failure_is() -> None:
    memory = Memory()
    judge = memory.judge()
    with judge.memory.working():
        memory.mb += 100
    with judge.memory.working():
        memory.mb -= 90
    memory.mb += 90
    assert not trial_of(judge).outgrew()
    with pytest.raises(ValueError, match="failed"), judge.memory.working():
        memory.mb += 300
        raise ValueError("failed")
    assert trial_of(judge).outgrew()


def test_all_streams_of_a_bundle_count_together() -> None:
    memory = Memory()
    judges = [memory.judge(), memory.judge()]
    for judge in judges:
        with judge.memory.working():
            memory.mb += 30
    memory.mb += 40
    assert trial_of(*judges).outgrew()
    assert not trial_of(judges[0]).outgrew()
    assert not trial_of().outgrew()
