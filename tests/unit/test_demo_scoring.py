"""How the demo counts."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from galago_edge.contract.errors import InputError, Reason
from galago_edge.contract.modality import Modality
from galago_edge.contract.records import EventRecord, GapRecord, encode_record
from galago_workstation.demo.event_score import Score, bars, events_of, read_records, score
from galago_workstation.demo.truth import TrueEvent

S = 1_000_000_000


def true(label: str, onset: float, complete: float, offset: float, deadline: float) -> TrueEvent:
    return TrueEvent(
        label=label,
        onset_ns=round(onset * S),
        complete_ns=round(complete * S),
        offset_ns=round(offset * S),
        deadline_ns=round(deadline * S),
    )


def event(label: str, end: float) -> EventRecord:
    return EventRecord(
        stream="s",
        seq=0,
        label=label,
        score=0.9,
        start_index=0,
        end_index=1,
        start_ns=0,
        end_ns=round(end * S),
        bundle="b",
        backend="cpu",
    )


SMOKE = true("smoke", 10, 12.5, 20, 18.5)


@pytest.mark.parametrize(
    ("end", "found"),
    [(9.99, 0), (10, 1), (13, 1), (18.5, 1), (18.51, 0)],
    ids=["before the onset", "at the onset", "in time", "at the deadline", "too late"],
)
def test_an_event_counts_from_onset_to_deadline(end: float, found: int) -> None:
    result = score([SMOKE], [event("smoke", end)])
    assert (result.found, len(result.false)) == (found, 1 - found)


def test_another_label_finds_nothing() -> None:
    result = score([SMOKE], [event("co", 13)])
    assert (result.expected, result.found, [e.label for e in result.false]) == (1, 0, ["co"])


def test_a_repeat_is_false_and_the_first_one_counts() -> None:
    result = score([SMOKE], [event("smoke", 16), event("smoke", 13)])
    assert result.found == 1
    assert [e.end_ns for e in result.false] == [16 * S]
    assert result.delay_s_p50 == 0.5


def test_matching_is_best_possible_not_greedy() -> None:
    """The first event fits both alarms, the second only the first: greedy by time would lose one."""
    alarms = [true("smoke", 0, 2, 30, 30), true("smoke", 5, 7, 9, 9)]
    result = score(alarms, [event("smoke", 6), event("smoke", 12)])
    assert (result.found, len(result.false)) == (2, 0)


def test_no_events_and_no_alarms_are_fine() -> None:
    assert score([], []).delay_s_p50 is None
    assert score([SMOKE], []).found == 0
    assert len(score([], [event("smoke", 1)]).false) == 1


@given(
    st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 12), st.integers(0, 6)), max_size=4),
    st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 18)), max_size=4),
)
def test_as_many_as_possible_are_found(
    spans: list[tuple[str, int, int]], decided: list[tuple[str, int]]
) -> None:
    alarms = [true(label, at, at, at + length, at + length) for label, at, length in spans]
    events = [event(label, end) for label, end in decided]
    result = score(alarms, events)
    best = max(
        sum(
            e.label == t.label and t.onset_ns <= e.end_ns <= t.deadline_ns
            for t, e in zip(alarms, order, strict=False)
        )
        for order in itertools.permutations(events + [event("none", 0)] * len(alarms))
    )
    assert result.found == best
    assert result.found + len(result.false) == len(events)
    used = [id(outcome.event) for outcome in result.outcomes if outcome.event is not None]
    assert len(used) == len(set(used))


def cards(count: int) -> list[TrueEvent]:
    return [true("7", 3 * i, 3 * i + 0.5, 3 * i + 2, 3 * i + 2.5) for i in range(count)]


def hits(alarms: list[TrueEvent]) -> list[EventRecord]:
    return [event(alarm.label, alarm.complete_ns / S + 0.5) for alarm in alarms]


def holds(modality: Modality, result: Score) -> list[bool]:
    return [bar.holds for bar in bars(modality, result)]


def test_two_of_forty_cards_may_fail_and_no_third() -> None:
    shown = cards(40)
    assert holds("camera", score(shown, hits(shown[2:]))) == [True]
    assert holds("camera", score(shown, hits(shown[3:]))) == [False]


def test_a_card_with_a_second_event_is_not_exactly_one() -> None:
    shown = cards(3)
    result = score(shown, [*hits(shown), event("1", 4.0)])
    assert (result.found, result.exactly_one) == (3, 2)


def test_one_missed_or_one_false_alarm_is_too_much() -> None:
    alarms = [SMOKE, true("co", 40, 41, 50, 47)]
    assert holds("microphone", score(alarms, [event("smoke", 13), event("co", 42)])) == [True, True]
    assert holds("microphone", score(alarms, [event("smoke", 13)])) == [False, True]
    assert holds("microphone", score(alarms, [event("smoke", 13), event("co", 42), event("co", 60)])) == [
        True,
        False,
    ]


def test_the_summary_has_exactly_the_promised_keys() -> None:
    assert score([SMOKE], [event("smoke", 13.25)]).summary("a.wav", "b.galago") == {
        "recording": "a.wav",
        "bundle": "b.galago",
        "expected": 1,
        "found": 1,
        "missed": 0,
        "false": 0,
        "delay_s_p50": 0.75,
    }


def test_only_events_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    gap = GapRecord(stream="s", from_ns=0, to_ns=1, cause="drop")
    path.write_bytes(encode_record(gap) + encode_record(event("smoke", 1)))
    records = read_records(path)
    assert len(records) == 2
    assert [e.label for e in events_of(records)] == ["smoke"]


def test_a_torn_line_is_refused_with_its_file(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    path.write_bytes(encode_record(event("smoke", 1))[:40])
    with pytest.raises(InputError, match=r"events\.jsonl") as caught:
        read_records(path)
    assert caught.value.reason is Reason.DATA_BAD


def test_of_two_alarms_that_one_event_could_find_the_later_one_is_found() -> None:
    """The least delay counts: 2 s behind the second onset, 7 s behind the first."""
    alarms = [true("smoke", 0, 1, 10, 10), true("smoke", 5, 6, 15, 15)]
    result = score(alarms, [event("smoke", 7)])
    assert [outcome.event is not None for outcome in result.outcomes] == [False, True]
    assert result.delay_s_p50 == 1.0
    assert (result.expected, result.found, result.exactly_one) == (2, 1, 1)


def test_the_summary_tells_the_delay_to_a_millisecond() -> None:
    found = score([SMOKE], [event("smoke", 13.1234)]).summary("a.wav", "b.galago")
    assert found["delay_s_p50"] == 0.623
    missed = score([SMOKE], []).summary("a.wav", "b.galago")
    assert (missed["delay_s_p50"], missed["missed"]) == (None, 1)
