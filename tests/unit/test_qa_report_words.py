"""Figures that people read: the unit shows the time, intervals say what they are, labels are no counts; and
recordings that failed are in every report."""

from __future__ import annotations

import datetime
from dataclasses import replace

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from galago_edge.contract.errors import InputError, LinkError, Reason
from galago_workstation.progress_lines import PlainReport
from galago_workstation.qa.comparison_report import as_data, table_lines
from galago_workstation.qa.comparison_report import markdown as comparison_markdown
from galago_workstation.qa.corpus_score import CorpusScore, score
from galago_workstation.qa.label_score import ALL
from galago_workstation.qa.matching import MatchingRule
from galago_workstation.qa.page.page_events import PageWish
from galago_workstation.qa.page.page_making import comparison_page, score_page
from galago_workstation.qa.recording_losses import RecordingLoss, RecordingLosses
from galago_workstation.qa.replay_comparison import compare_bundles
from galago_workstation.qa.report_words import duration_text, label_text
from galago_workstation.qa.score_report import markdown, statements, terminal_lines
from test_kit.replays import plain_label, truths, written

RULE = MatchingRule()
CUT = RecordingLoss.of("cut.wav", InputError(Reason.AUDIO_TRUNCATED, "it is cut off", hint="copy it again"))
GONE = RecordingLoss.of("gone.wav", LinkError(Reason.SOURCE_MISSING, "it does not exist", hint="look"))
replace_loss = msgspec.structs.replace
LOSSES = RecordingLosses(failed=(GONE,), read_in_part=(CUT,))
SAID = (
    "Failed, and not judged: 1 recording (gone.wav: SOURCE_MISSING).",
    "Read in part, the rest is a gap: 1 recording (cut.wav: AUDIO_TRUNCATED).",
)


def numbered() -> CorpusScore:
    """100 s in which 3 is once found and 7 missed; one recording failed, one is cut off."""
    labels = (plain_label("3"), plain_label("7"))
    night = written([("3", 11)], truths((10, 12, "3"), (30, 32, "7")), duration_s=101, labels=labels)
    return score([night], RULE, claim_per_hour=1.0, losses=LOSSES)


def test_a_hundred_seconds_are_not_0_hours() -> None:
    said = "\n".join(terminal_lines(numbered()))
    assert "100 s valid, 1 s not watched" in said
    assert "is not shown after 100 s" in said and "0.0 h" not in said and "0.00 hours" not in said


@given(st.integers(0, 10**17))
def test_every_time_is_shown_to_a_fiftieth(ns: int) -> None:
    number, unit = duration_text(ns).split()
    shown = float(number) * {"s": 1e9, "min": 6e10, "h": 3.6e12}[unit]
    assert abs(shown - ns) <= 0.02 * ns


def test_intervals_say_whether_they_are_one_sided_or_two_sided() -> None:
    found = numbered()
    said = statements(found)
    assert "Intervals are two-sided 95 %; where nothing was counted (<), the bound is one-sided 95 %." in said
    assert any(line.startswith(ALL) and "is possible (one-sided 95 %)" in line for line in said)
    assert found.overall.total.false_rate.sides == 1
    wrong = score([written([("a", 50)], truths(), duration_s=101)], RULE)
    assert wrong.overall.total.false_rate.sides == 2


def test_labels_that_are_numbers_stand_in_quotes() -> None:
    text = markdown(numbered())
    assert '| "3" | 1 | 100.0 % |' in text and '| "7" | 1 | 0.0 % |' in text
    assert '|  | "3" | "7" | \\(missed\\) |' in text.replace("(missed)", "\\(missed\\)")
    assert 'Refractory: "3" 0 s, "7" 0 s.' in text
    assert any(line.startswith('"3": less than') for line in statements(numbered()))
    assert [label_text(one) for one in ("smoke", "3 smoke", "", "(all)", "rauch-melder", 'a"b')] == [
        "smoke", '"3 smoke"', '""', '"(all)"', "rauch-melder", '"a\\"b"',
    ]  # fmt: skip


def test_what_failed_and_what_was_read_in_part_is_in_every_form_of_a_score() -> None:
    found = numbered()
    text, marked = "\n".join(terminal_lines(found)), markdown(found)
    data = msgspec.json.decode(msgspec.json.encode(found))
    replays = [written([], truths(), duration_s=101)]
    page = score_page(replays, score(replays, RULE, losses=LOSSES), RULE, wish()).content
    for said in SAID:
        assert said in text and said in marked and said in page.head.facts
    assert [one["recording"] for one in data["losses"]["failed"]] == ["gone.wav"]
    assert data["losses"]["read_in_part"][0] == {
        "recording": "cut.wav",
        "reason": "AUDIO_TRUNCATED",
        "message": "it is cut off",
        "hint": "copy it again",
        "exit": 1,
        "sha256": "",
    }


def wish() -> PageWish:
    return PageWish(at=datetime.datetime(2026, 11, 30, tzinfo=datetime.UTC), report=PlainReport())


def test_what_failed_and_what_was_read_in_part_is_in_every_form_of_a_comparison() -> None:
    one = written([("a", 11)], truths((10, 12, "a")), duration_s=101)
    found = compare_bundles([one], [one], rule=RULE, losses=LOSSES)
    text, marked = "\n".join(table_lines(found)), comparison_markdown(found)
    page = comparison_page(found, RULE, wish()).content
    for said in SAID:
        assert said in text and said in page.head.facts
        assert said.replace("_", "\\_") in marked
    assert as_data(found)["losses"] == msgspec.to_builtins(LOSSES)
    assert found.exit_code == as_data(found)["exit"] == 3


def test_a_recording_failed_when_nothing_was_decided_or_its_damage_is_no_gap() -> None:
    whole = written([], truths(), duration_s=60)
    cut = replace(written([], truths(), duration_s=60, gaps=[(50, 60, "truncated")]), loss=CUT)
    assert not whole.failed and not cut.failed
    assert replace(whole, loss=CUT).failed  # damaged, and no gap says where
    assert replace(written([], truths(), duration_s=0.5, gaps=[(0, 0.5, "truncated")]), loss=CUT).failed


def test_a_recording_that_two_runs_call_otherwise_is_counted_once_by_its_content() -> None:
    old, new = (replace_loss(CUT, recording=name, sha256="ab") for name in ("old.wav", "new.wav"))
    both = RecordingLosses(read_in_part=(old,)) | RecordingLosses(read_in_part=(new,))
    assert both.read_in_part == (new,)
    other = RecordingLosses(read_in_part=(replace_loss(CUT, recording="new.wav", sha256="cd"),))
    (line,) = (both | other).lines()  # another one of that name is another one
    assert "2 recordings (new.wav: AUDIO_TRUNCATED, new.wav: AUDIO_TRUNCATED)" in line


def test_what_two_bundles_lost_alike_is_counted_once() -> None:
    twice = LOSSES | RecordingLosses(failed=(CUT, GONE))
    assert (len(twice.failed), len(twice.read_in_part), twice.exit_code) == (2, 1, 3)
    assert RecordingLosses().lines() == [] and RecordingLosses().exit_code == 0
    assert str(GONE.error("none of 2; ")) == "none of 2; gone.wav: it does not exist"
