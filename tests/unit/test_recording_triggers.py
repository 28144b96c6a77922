"""Which windows a human should label, at the very limits; and when two samples are alike."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from galago_edge.contract.manifest import AudioPreprocess, Label, LabelPolicy
from galago_edge.contract.settings import SamplesSettings
from galago_edge.contract.streams import Frame, Span
from galago_edge.recording.likeness import (
    PICTURE_STEP,
    REMEMBERED,
    SOUND_STEP,
    Seen,
    alike,
    picture_fingerprint,
    sound_fingerprint,
)
from galago_edge.recording.rings import PictureRing
from galago_edge.recording.triggers import Found, Triggers

ONE = 65_536
S = 1_000_000_000
LABELS = (
    Label(name="rest", background=True),
    Label(name="bell", policy=LabelPolicy(on=0.75, off=0.25)),
    Label(name="horn", policy=LabelPolicy(on=0.5, off=0.25)),
)
REST, BELL, HORN = 0, 1, 2
FAR = (ONE, 0, 0)
"""Smoothed scores that are near no threshold."""


@dataclass(frozen=True)
class Window:
    """One window, said in Q16."""

    scores: npt.NDArray[np.int64]
    smoothed: npt.NDArray[np.int64] = field(default_factory=lambda: np.array(FAR))
    end_s: float = 0.0
    skipped: bool = False
    warm_up: bool = False
    fired: tuple[str, ...] = ()

    @property
    def span(self) -> Span:
        return Span(0, 1, 0, round(self.end_s * S))


def window(*scores: int, **fields: Any) -> Window:
    if "smoothed" in fields:
        fields["smoothed"] = np.array(fields["smoothed"])
    return Window(np.array(scores), **fields)


def clear(label: int, **fields: Any) -> Window:
    """A window that is sure of one label."""
    scores = [0, 0, 0]
    scores[label] = ONE
    return window(*scores, **fields)


def triggers(activation: Any = "softmax", **settings: Any) -> Triggers:
    given = {"dir": "samples", "margin": 0.25, "near_threshold": 0.125, "min_interval_s": 0.0} | settings
    return Triggers(SamplesSettings(**given), LABELS, activation)


def never(label: int) -> bool:
    return False


def seen(watch: Triggers, *windows: Window, is_first: Any = never) -> list[tuple[str, int] | None]:
    """Reason and label of each window's finding."""
    found = [watch.see(each, is_first) for each in windows]
    return [None if each is None else (each.trigger, each.label) for each in found]


# ---- uncertain


@pytest.mark.parametrize(
    ("scores", "found"),
    [
        ((40_000 - ONE // 4, 40_000, 0), ("uncertain", BELL)),
        ((40_000 - ONE // 4 - 1, 40_000, 0), None),
        ((30_000, 30_000, 0), ("uncertain", REST)),
    ],
)
def test_a_lead_of_at_most_the_margin_is_uncertain(
    scores: tuple[int, ...], found: tuple[str, int] | None
) -> None:
    assert seen(triggers(), window(*scores)) == [found]


def test_the_two_best_of_all_labels_are_compared_wherever_they_are() -> None:
    assert seen(triggers(), window(30_000, 100, 35_000)) == [("uncertain", HORN)]
    assert seen(triggers(), window(100, 60_000, 50_000)) == [("uncertain", BELL)]


@pytest.mark.parametrize(
    ("score", "kept"),
    [
        (ONE // 2, True),
        (ONE // 2 + ONE // 8, True),  # p - (1 - p) is a quarter
        (ONE // 2 + ONE // 8 + 1, False),
        (ONE // 2 - ONE // 8, True),
        (ONE // 2 - ONE // 8 - 1, False),
    ],
)
def test_a_label_of_its_own_is_uncertain_around_one_half(score: int, kept: bool) -> None:
    found = seen(triggers("sigmoid"), window(0, score, ONE))
    assert found == [("uncertain", BELL) if kept else None]


# ---- near


@pytest.mark.parametrize(
    ("smoothed", "label"),
    [
        ((0, ONE * 3 // 4 + ONE // 8, 0), BELL),
        ((0, ONE * 3 // 4 + ONE // 8 + 1, 0), None),
        ((0, ONE * 3 // 4 - ONE // 8, 0), BELL),
        ((0, 0, ONE // 2), HORN),
        ((0, ONE * 3 // 4 + 100, ONE // 2 + 99), HORN),  # the nearer one
        ((ONE, 0, 0), None),  # a background label has no threshold
        ((ONE * 3 // 4, 0, 0), None),
    ],
)
def test_a_smoothed_score_that_is_near_its_threshold_is_kept(
    smoothed: tuple[int, ...], label: int | None
) -> None:
    found = seen(triggers(), clear(REST, smoothed=smoothed))
    assert found == [None if label is None else ("near", label)]
    assert seen(triggers(), clear(REST, smoothed=smoothed, warm_up=True)) == [None]


# ---- flips


@pytest.mark.parametrize(
    ("labels", "flip"),
    [
        ((BELL, HORN, BELL), HORN),
        ((BELL, REST, BELL), REST),
        ((BELL, BELL, BELL), None),
        ((BELL, HORN, HORN), None),
        ((BELL, HORN, REST), None),
    ],
)
def test_an_answer_between_two_others_that_are_equal_is_a_flip_and_the_one_to_keep(
    labels: tuple[int, ...], flip: int | None
) -> None:
    watch = triggers()
    first, middle, last = (clear(label) for label in labels)
    assert seen(watch, first, middle) == [None, None]
    found = watch.see(last, never)
    assert found == (None if flip is None else Found("flip", flip, middle))


def test_three_answers_are_needed() -> None:
    assert seen(triggers(), clear(HORN), clear(BELL)) == [None, None]


@pytest.mark.parametrize(("score", "answers"), [(ONE // 2, True), (ONE // 2 - 1, False)])
@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_winner_with_less_than_half_of_the_score_is_no_answer(
    score: int, answers: bool, place: int
) -> None:
    windows = [clear(BELL), clear(HORN), clear(BELL)]
    doubtful = [0, 0, 0]
    doubtful[HORN if place == 1 else BELL] = score
    windows[place] = window(*doubtful)
    assert seen(triggers(margin=0.0), *windows)[2] == (("flip", HORN) if answers else None)


def test_a_gap_or_a_window_that_was_left_out_parts_the_answers() -> None:
    watch = triggers()
    seen(watch, clear(BELL), clear(HORN))
    watch.reset()
    assert seen(watch, clear(BELL)) == [None]
    watch = triggers()
    assert seen(watch, clear(BELL), clear(HORN), clear(HORN, skipped=True), clear(BELL)) == [None] * 4


def test_flips_may_be_switched_off() -> None:
    assert seen(triggers(flips=False), clear(BELL), clear(HORN), clear(BELL)) == [None] * 3


# ---- first


def test_the_first_event_of_a_label_comes_before_every_other_reason() -> None:
    asked: list[int] = []

    def is_first(label: int) -> bool:
        asked.append(label)
        return label == HORN

    unsure = window(30_000, 30_000, 0, fired=("bell", "horn"))
    assert seen(triggers(), unsure, is_first=is_first) == [("first", HORN)]
    assert asked == [BELL, HORN]
    assert seen(triggers(first_of_class=False), unsure, is_first=is_first) == [("uncertain", REST)]
    assert asked == [BELL, HORN]


def test_a_window_that_was_left_out_is_never_kept() -> None:
    assert seen(
        triggers(), window(30_000, 30_000, 0, skipped=True, fired=("bell",)), is_first=lambda _: True
    ) == [None]


# ---- the interval


@pytest.mark.parametrize(("later_s", "kept"), [(9.999, False), (10.0, True)])
def test_one_window_in_an_interval_of_stream_time_is_kept(later_s: float, kept: bool) -> None:
    watch = triggers(min_interval_s=10.0)
    unsure = [window(30_000, 30_000, 0, end_s=5.0 + after_s) for after_s in (0.0, 1.0, later_s)]
    found = seen(watch, *unsure)
    assert found == [("uncertain", REST), None, ("uncertain", REST) if kept else None]


def test_a_first_event_neither_waits_nor_makes_others_wait() -> None:
    watch = triggers(min_interval_s=10.0)
    first = clear(BELL, end_s=1.0, fired=("bell",))
    assert seen(watch, first, first, is_first=lambda _: True) == [("first", BELL)] * 2
    assert seen(watch, window(30_000, 30_000, 0, end_s=1.0)) == [("uncertain", REST)]
    assert seen(watch, first, is_first=lambda _: True) == [("first", BELL)]


# ---- likeness


def test_two_pictures_are_alike_while_no_cell_differs_by_the_step() -> None:
    one = np.full(256, 100, np.int16)
    for place, difference in ((0, PICTURE_STEP - 1), (255, 1 - PICTURE_STEP)):
        other = one.copy()
        other[place] += difference
        assert alike(one, other, picture=True)
        other[place] += np.sign(difference)
        assert not alike(one, other, picture=True)


def test_two_sounds_are_alike_while_their_mean_difference_is_below_the_step() -> None:
    one = np.zeros(20, np.int16)
    other = np.full(20, SOUND_STEP, np.int16)
    assert not alike(one, other, picture=False)
    other[3] -= 1
    assert alike(one, other, picture=False)
    assert alike(other, one, picture=False)


def test_samples_of_another_shape_are_never_alike() -> None:
    assert not alike(np.zeros(20, np.int16), np.zeros(22, np.int16), picture=False)


def test_a_picture_is_reduced_to_its_gray_cells_in_rows() -> None:
    pixels = np.zeros((32, 32, 3), np.uint8)
    pixels[0:2, 2:4] = 200  # one cell: the second of the first row
    expected = np.zeros(256, np.int16)
    expected[1] = 200
    np.testing.assert_array_equal(picture_fingerprint(pixels), expected)


def test_a_sound_is_reduced_to_level_and_peak_of_each_band() -> None:
    spec = AudioPreprocess(window_frames=20, mel_bands=10)
    found = sound_fingerprint(spec, np.zeros(spec.window_samples, np.int16))
    assert found.tolist() == [-128] * 20
    click = np.zeros(spec.window_samples, np.int16)
    click[-480:] = np.random.default_rng(1).integers(-20_000, 20_000, 480)
    level, loud = np.split(sound_fingerprint(spec, click), 2)
    assert (level > -128).all()
    assert (loud > level).all()  # three of twenty frames hold it, so the 90th percentile hears it


def fingerprint(number: int) -> npt.NDArray[np.int16]:
    return np.full(256, number * PICTURE_STEP, np.int16)


def test_the_last_samples_are_remembered_and_one_that_was_met_again_for_longer() -> None:
    kept = Seen(picture=True)
    for number in range(REMEMBERED):
        kept.add(f"sample {number}", fingerprint(number))
    assert kept.twin(fingerprint(0)) == "sample 0"  # now the last one that would be forgotten
    kept.add("one more", fingerprint(REMEMBERED))
    assert kept.twin(fingerprint(1)) is None
    assert kept.twin(fingerprint(0)) == "sample 0"
    assert kept.twin(fingerprint(2)) == "sample 2"
    assert kept.twin(fingerprint(REMEMBERED)) == "one more"


def test_of_several_twins_the_latest_is_named() -> None:
    kept = Seen(picture=True)
    kept.add("early", np.zeros(256, np.int16))
    kept.add("late", np.ones(256, np.int16))
    assert kept.twin(np.zeros(256, np.int16)) == "late"


# ---- pictures before a sample


def test_pictures_are_kept_a_third_of_the_span_apart_and_no_older_than_the_span() -> None:
    ring = PictureRing(900)
    pixels = np.zeros((2, 2, 3), np.uint8)
    times = [0, 299, 300, 599, 600, 899]
    for index, ns in enumerate(times):
        ring.push(Frame(pixels, index, ns))

    def before(index: int, ns: int) -> list[int]:
        return [frame.captured_ns for frame in ring.before(Frame(pixels, index, ns))]

    assert before(6, 899) == [0, 300, 600]
    assert before(6, 900) == [0, 300, 600]
    assert before(6, 901) == [300, 600]
    assert before(4, 600) == [0, 300]  # only what came before it
    ring.push(Frame(pixels, 6, 900))
    assert before(7, 901) == [300, 600, 900]
