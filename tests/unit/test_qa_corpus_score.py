"""The score of a corpus: what is counted, what is said with it, what is refused, how it looks."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import click
import msgspec
import pytest
from click.testing import CliRunner, Result

from galago_edge.commands.cli import GalagoGroup, _Root
from galago_edge.contract.errors import CallerError, InputError, Reason
from galago_workstation.commands.qa_score import score_options, show_score
from galago_workstation.qa.corpus_score import CorpusScore, score
from galago_workstation.qa.label_score import ALL
from galago_workstation.qa.matching import MatchingRule
from galago_workstation.qa.replayed import Replayed
from galago_workstation.qa.score_report import markdown, statements, terminal_lines
from test_kit.replays import plain_label, truths, written

RULE = MatchingRule()


def corpus() -> list[Replayed]:
    """An hour at the barn with three alarms, one at the porch with none, and one that nobody has labelled."""
    return [
        written(
            [("a", 101), ("a", 103), ("b", 201.5), ("a", 1000)],
            truths((100, 102, "a"), (200, 202, "a"), (300, 302, "b")),
            name="barn.wav",
            tags={"site": "barn", "night": "1"},
        ),
        written([("b", 50)], truths(), name="porch.wav", tags={"site": "porch"}),
        written([("a", 7)], None, name="unknown.wav", tags={"site": "porch"}),
    ]


def test_a_corpus_computed_by_hand() -> None:
    found = score(corpus(), RULE)
    overall = found.overall
    assert (overall.recordings, overall.without_events, found.unlabelled) == (2, 1, ("unknown.wav",))
    a, b = overall.labels
    assert (a.found.count, a.missed, a.repeats, a.cross_triggers, a.false_alarms) == (1, 1, 1, 0, 1)
    assert (b.found.count, b.missed, b.repeats, b.cross_triggers, b.false_alarms) == (0, 1, 0, 1, 1)
    hours = 2 * 3599 / 3600
    assert overall.watched.valid_hours == pytest.approx(hours)
    assert a.false_rate.per_hour == pytest.approx(1 / hours)
    assert b.false_rate.per_hour == pytest.approx(2 / hours)
    assert (overall.total.label, overall.total.false_rate.count) == (ALL, 3)
    assert (a.delay.p50_s, a.delay.p90_s, a.delay.max_s) == (1.0, None, 1.0)
    assert found.confusion.truths == ("a", "b", "(nothing)")
    assert found.confusion.told == ("a", "b", "(missed)")
    assert found.confusion.counts == ((1, 1, 1), (0, 0, 1), (1, 1, 0))


def test_recordings_and_tags_have_figures_of_their_own() -> None:
    found = score(corpus(), RULE)
    assert {name: group.total.false_rate.count for name, group in found.by_recording.items()} == {
        "barn.wav": 2,
        "porch.wav": 1,
    }
    assert {value: group.recordings for value, group in found.by_tag["site"].items()} == {
        "barn": 1,
        "porch": 1,
    }
    assert {value: group.recordings for value, group in found.by_tag["night"].items()} == {"": 1, "1": 1}


def test_the_rule_the_hours_and_the_refractory_times_stand_beside_the_figures() -> None:
    labels = (plain_label("a", refractory_ms=2500), plain_label("b"))
    replays = [dataclasses.replace(one, labels=labels) for one in corpus()]
    found = score(replays, MatchingRule(pre_ns=250_000_000))
    assert (found.rule.pre_ns, found.rule.post_ns_least, found.rule.post_ns_most) == (
        250_000_000,
        1_500_000_000,
        1_500_000_000,
    )
    assert found.rule.refractory_ms == {"a": 2500, "b": 0}
    said = "\n".join(statements(found))
    for part in (
        "0.25 s before the onset",
        "receptive field and one hop behind the end",
        "(1.5 s)",
        "a 2.5 s, b 0 s",
        "2 recordings, 1 of them without events; 2.00 h valid, 2 s not watched",
        "Not labelled and not counted: 1 recording (unknown.wav)",
    ):
        assert part in said, part


def test_what_could_not_be_judged_is_said() -> None:
    replayed = written(
        [("a", 50)],
        truths((105, 106, "a"), (45, 46, "a"), ignored=[(40, 60)]),
        gaps=[(100, 120, "stall")],
    )
    said = "\n".join(statements(score([replayed], RULE)))
    assert "Neither found nor missed: 1 truth " in said
    assert "Not judged: 1 truth and 1 event in stretches to be ignored." in said


def test_a_claim_is_shown_or_told_what_it_needs() -> None:
    quiet = [written([], truths(), duration_s=7 * 3600.0)]
    [line] = [line for line in statements(score(quiet, RULE, claim_per_hour=0.5)) if line.startswith(ALL)]
    assert "less than 0.5 false alarms per hour is shown: at most 0.428 (one-sided 95 %) after 7.00 h" in line
    short = [written([], truths(), duration_s=5.5 * 3600.0)]
    [line] = [line for line in statements(score(short, RULE, claim_per_hour=0.5)) if line.startswith(ALL)]
    assert "not shown after 5.50 h: up to 0.545 is possible (one-sided 95 %); needs 5.99 h" in line


def test_curves_are_added_where_they_are_wanted() -> None:
    assert score(corpus(), RULE).det == ()
    assert [curve.label for curve in score(corpus(), RULE, det=None).det] == ["a", "b"]
    assert [curve.label for curve in score(corpus(), RULE, det=["b"]).det] == ["b"]


def refused(replays: list[Replayed], **more: Any) -> str:
    with pytest.raises((CallerError, InputError)) as failure:
        score(replays, RULE, **more)
    assert failure.value.hint and failure.value.reason in Reason
    return str(failure.value)


def test_what_cannot_be_judged_is_one_line() -> None:
    barn, porch, unknown = corpus()
    assert "none of 0 recordings has labels" in refused([])
    assert "none of 1 recording has labels" in refused([unknown])
    other = dataclasses.replace(porch, bundle="c0" * 32)
    assert "porch.wav was decided by another bundle than barn.wav" in refused([barn, other])
    overridden = dataclasses.replace(porch, labels=(plain_label("a", on=0.9), porch.labels[1]))
    assert "porch.wav was decided by other overrides of the policy" in refused([barn, overridden])
    twice = dataclasses.replace(porch, sha256=barn.sha256)
    assert "porch.wav is the same recording as barn.wav, expected each once" in refused([barn, twice])
    lost = written([], truths(), gaps=[(0, 3600, "stall")])
    assert "of 1 labelled recording no moment is valid" in refused([lost])
    ignored = written([], truths(ignored=[(0, 3600)]))
    assert "no moment is valid" in refused([ignored])
    strange = written([], truths((1, 2, "smoke")))
    assert "label 'smoke' at 1000000000 ns is none of the bundle's" in refused([strange])
    assert "no label 'c' can become an event" in refused([barn], det=["c"])


def test_the_result_is_data_that_can_be_read_again() -> None:
    found = score(corpus(), RULE, claim_per_hour=1.0, det=None)
    data = msgspec.json.encode(found)
    assert msgspec.json.decode(data, type=CorpusScore) == found
    assert msgspec.json.encode(score(list(reversed(corpus())), RULE, claim_per_hour=1.0, det=None)) == data


def test_markdown_shows_labels_as_they_are() -> None:
    labels = (plain_label("a|b*"), plain_label("x"))
    text = markdown(score([written([("x", 9)], truths((5, 6, "a|b*")), labels=labels, name="<i>.wav")], RULE))
    assert "| a\\|b\\* | 1 | 0.0 % |" in text
    assert "\\<i\\>.wav" in text and "<i>" not in text


def test_tables_say_what_is_not_known_with_a_dash() -> None:
    lines = terminal_lines(score(corpus(), RULE))
    row = next(line for line in lines if line.startswith(" a "))
    assert row.split()[:8] == ["a", "2", "50.0", "%", "1.3-98.7", "1", "1", "0"]
    assert row.split()[-4:] == ["1.00", "-", "-", "1.00"]


def run(replays: list[Replayed], *args: str) -> Result:
    """The command as it will be, on replays that are there already."""

    @click.group(cls=_Root)
    def main() -> None: ...

    @main.command("score")
    @score_options
    def command(**options: Any) -> None:
        show_score(replays, **options)

    assert isinstance(main, GalagoGroup)
    return CliRunner().invoke(main, ["score", *args])


def test_the_command_prints_tables_and_writes_markdown(tmp_path: Path) -> None:
    path = tmp_path / "score.md"
    result = run(corpus(), "--claim", "1", "--post", "2", "--markdown", str(path))
    assert result.exit_code == 0, result.output
    assert "Rule: same label, decided from 0 s before the onset to 2 s behind the end" in result.output
    assert "By recording" in result.output and "By site" in result.output
    assert path.read_text().startswith("# Score of bundle b0b0b0b0b0b0\n")


def test_the_command_prints_data_and_errors_as_data() -> None:
    result = run(corpus(), "--json", "--det")
    assert result.exit_code == 0, result.output
    data = json.loads(result.output)
    assert data["overall"]["total"]["false_rate"]["count"] == 3
    assert [curve["label"] for curve in data["det"]] == ["a", "b"]
    failed = run([], "--json")
    assert failed.exit_code == 2
    assert json.loads(failed.output.splitlines()[0])["error"]["reason"] == "USAGE"
