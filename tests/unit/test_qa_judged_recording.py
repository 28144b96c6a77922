"""What becomes of truths and events: computed by hand, and where other scorers are known to be wrong."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from galago_edge.contract.errors import InputError
from galago_workstation.qa.judged_recording import JudgedRecording, judge
from galago_workstation.qa.label_score import ALL, label_score
from galago_workstation.qa.matching import MatchingRule
from galago_workstation.qa.replayed import TruthList
from test_kit.replays import S, decided, plain_label, truths, written

RULE = MatchingRule()  # windows of 1 s every 0.5 s: post is 1.5 s
Events = Sequence[tuple[str, float]]

TABLE: dict[str, tuple[TruthList, Events, str, str]] = {
    # truths, events, fates of the truths, fates of the events
    "found": (truths((10, 12, "a")), [("a", 11)], "found", "found"),
    "found at the onset": (truths((10, 12, "a")), [("a", 10)], "found", "found"),
    "found at the last moment": (truths((10, 12, "a")), [("a", 13.5)], "found", "found"),
    "too late": (truths((10, 12, "a")), [("a", 13.6)], "missed", "false"),
    "too early": (truths((10, 12, "a")), [("a", 9.9)], "missed", "false"),
    "missed": (truths((10, 12, "a")), [], "missed", ""),
    "repeat": (truths((10, 12, "a")), [("a", 11), ("a", 12)], "found", "found repeat"),
    "repeat behind the end": (truths((10, 12, "a")), [("a", 11), ("a", 13.5)], "found", "found repeat"),
    "wrong label": (truths((10, 12, "a")), [("b", 11)], "missed", "cross"),
    "wrong label beside the right one": (
        truths((10, 12, "a")),
        [("b", 10.5), ("a", 11)],
        "found",
        "cross found",
    ),
    "two labels at once": (
        truths((10, 12, "a"), (10, 12, "b")),
        [("b", 11), ("a", 11)],
        "found found",
        "found found",
    ),
    "false alarm": (truths(), [("a", 50)], "", "false"),
    "a moment": (truths((10, 10, "a")), [("a", 11.5)], "found", "found"),
    "two truths, one event": (truths((10, 11, "a"), (11.5, 12, "a")), [("a", 11.7)], "missed found", "found"),
    "two truths, two events": (
        truths((10, 11, "a"), (11.5, 12, "a")),
        [("a", 11.7), ("a", 11.8)],
        "found found",
        "found found",
    ),
    "event in an ignored stretch": (truths(ignored=[(40, 60)]), [("a", 50)], "", "ignored"),
    "event that still sees an ignored stretch": (truths(ignored=[(40, 60)]), [("a", 61.5)], "", "ignored"),
    "event that does not see it any more": (truths(ignored=[(40, 60)]), [("a", 61.6)], "", "false"),
    "truth in an ignored stretch": (
        truths((45, 46, "a"), ignored=[(40, 60)]),
        [("a", 46)],
        "ignored",
        "ignored",
    ),
    "truth that touches an ignored stretch": (
        truths((39, 41, "a"), ignored=[(40, 60)]),
        [("a", 39.5)],
        "ignored",
        "ignored",
    ),
    "truth found inside the sight of an ignored stretch": (
        truths((60, 62, "a"), ignored=[(40, 60)]),
        [("a", 61)],
        "found",
        "found",
    ),
}


def fates(judged: JudgedRecording) -> tuple[str, str]:
    return " ".join(one.fate for one in judged.truths), " ".join(one.fate for one in judged.events)


@pytest.mark.parametrize(("truth", "events", "of_truths", "of_events"), TABLE.values(), ids=TABLE)
def test_outcomes_computed_by_hand(truth: TruthList, events: Events, of_truths: str, of_events: str) -> None:
    assert fates(judge(written(events, truth), RULE)) == (of_truths, of_events)


def test_the_delay_is_from_onset_to_decision_never_to_a_windows_start() -> None:
    """speech_commands compares the start of the clip, which looks a second faster than it is."""
    judged = judge(written([("a", 11.0)], truths((10, 12, "a")), starts={0: 10.0}), RULE)
    assert judged.truths[0].delay_ns == S


def test_a_truth_in_a_gap_is_neither_found_nor_missed() -> None:
    replayed = written([], truths((105, 106, "a"), (95, 99.9, "a")), gaps=[(100, 120, "stall")])
    assert fates(judge(replayed, RULE))[0] == "missed unwatched"


def test_a_truth_in_warm_up_alone_is_unwatched_and_one_that_ends_in_its_sight_is_not() -> None:
    labels = (plain_label("a", smoothing_windows=10), plain_label("b"))
    # the first decision on a is at 5.5 s
    replayed = written([], truths((1, 3.9, "a"), (3.9, 4.0, "a"), (1, 2, "b")), labels=labels)
    assert fates(judge(replayed, RULE))[0] == "missed unwatched missed"  # b, a, a


def test_truths_of_a_background_label_are_remarks() -> None:
    labels = (plain_label("a"), plain_label("nothing", background=True))
    replayed = written([("a", 11)], truths((10, 12, "nothing")), labels=labels)
    assert fates(judge(replayed, RULE)) == ("", "false")


def test_a_truth_of_an_unknown_label_is_one_line() -> None:
    with pytest.raises(InputError, match=r"labels of porch.wav: label 'c' at .* is none of the bundle's"):
        judge(written([], truths((10, 12, "c"))), RULE)


def test_one_event_detected_twice_is_not_two_hundred_percent() -> None:
    """TensorFlow's speech_commands counts both, and divides by the number of truths."""
    score = label_score("a", [judge(written([("a", 11), ("a", 12)], truths((10, 12, "a"))), RULE)])
    assert (score.found.count, score.found.share, score.repeats) == (1, 1.0, 1)
    assert (score.false_rate.count, score.missed) == (0, 0)


def test_the_label_matters_for_what_is_found() -> None:
    """speech_commands matches by time alone."""
    judged = judge(written([("b", 11)], truths((10, 12, "a"))), RULE)
    assert label_score("a", [judged]).found.share == 0.0
    assert label_score("b", [judged]).cross_triggers == 1


def test_one_word_may_come_again_without_another_between() -> None:
    """speech_commands never fires twice in a row for one label."""
    word, silence = [ONE], [0]
    rows = [*[silence] * 5, *[word] * 5, *[silence] * 5, *[word] * 5, *[silence] * 5]
    replayed = decided(rows, [plain_label("a")], truth=truths((0.5, 1.0, "a"), (1.5, 2.0, "a")))
    assert label_score("a", [judge(replayed, RULE)]).found.count == 2


ONE = 65536


def test_three_events_of_ten_frames_are_three_false_alarms() -> None:
    """openWakeWord's get_false_positives counts 30 frames in an hour."""
    rows = [[0]] * 36_000  # an hour of frames of 100 ms
    for start in (5_000, 15_000, 25_000):
        rows[start : start + 10] = [[ONE]] * 10
    judged = judge(decided(rows, [plain_label("a")]), RULE)
    score = label_score("a", [judged])
    assert score.false_alarms == 3
    assert score.false_rate.per_hour == pytest.approx(3.0, rel=1e-4)


@pytest.mark.parametrize(("refractory_ms", "alarms"), [(500, 1), (60_000, 1), (0, 1)])
def test_one_activation_is_one_false_alarm_whatever_the_refractory_time(
    refractory_ms: int, alarms: int
) -> None:
    """microWakeWord: 6.0 or 2.0 per hour for one activation of 3 s, by the slices ignored after it."""
    rows = [[0]] * 18_000
    rows[9_000:9_030] = [[ONE]] * 30
    judged = judge(decided(rows, [plain_label("a", refractory_ms=refractory_ms)]), RULE)
    assert label_score("a", [judged]).false_alarms == alarms


def test_a_score_that_wavers_is_counted_by_the_policys_own_refractory_time() -> None:
    rows = [[0]] * 18_000
    for at in range(9_000, 9_030, 2):  # on and off again for 3 s
        rows[at] = [ONE]
    counts = [
        label_score("a", [judge(decided(rows, [plain_label("a", refractory_ms=ms)]), RULE)]).false_alarms
        for ms in (0, 1000, 10_000)
    ]
    assert counts == [15, 3, 1]


def test_decisions_do_not_depend_on_how_long_a_stream_runs() -> None:
    """Edge Impulse's calibration keeps a running sum of floats, off by 2.8e-5 after 400,000 steps."""
    label = plain_label("a", on=0.7, off=0.7, smoothing_windows=10)
    at_threshold, below = [45_875], [45_874]  # 0.7 in Q16, and one step less
    rows = [[(number * 7919) % 40_000] for number in range(50_000)]
    rows += [*[at_threshold] * 10, *[[0]] * 10, *[below] * 10, *[[0]] * 10]
    replayed = decided(rows, [label], truth=truths((5_000, 5_001, "a")))
    assert [event.end_index for event in replayed.events] == [5_001 * S]
    assert fates(judge(replayed, RULE)) == ("found", "found")


def test_all_labels_together_are_the_sum_over_the_time_in_which_any_could_be_decided() -> None:
    labels = (plain_label("a", smoothing_windows=20), plain_label("b"))
    replayed = written([("a", 20), ("b", 30)], truths(), labels=labels, duration_s=100.0)
    judged = judge(replayed, RULE)
    assert judged.watched_by_label["a"].valid_ns == 100 * S - 10_500_000_000
    assert judged.watched == judged.watched_by_label["b"]
    total = label_score(ALL, [judged])
    assert total.false_rate.count == 2
    assert total.false_rate.hours == 99 / 3600
