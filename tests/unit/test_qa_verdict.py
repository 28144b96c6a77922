"""Gates, what the recordings say about them, and the verdict."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from galago_edge.contract.errors import CallerError, InputError
from galago_edge.contract.manifest import Label
from galago_edge.contract.records import EventRecord
from galago_workstation.progress_lines import PlainReport
from galago_workstation.qa.comparison_report import (
    as_data,
    change_text,
    gate_rows,
    markdown,
    summary_lines,
)
from galago_workstation.qa.gate_rules import GateRules, bind_gates, load_gates
from galago_workstation.qa.junit_report import gate_text
from galago_workstation.qa.matching import MatchingRule
from galago_workstation.qa.page.page_events import PageWish
from galago_workstation.qa.page.page_making import comparison_page
from galago_workstation.qa.page.shown_event import compared_events
from galago_workstation.qa.release_verdict import Stance
from galago_workstation.qa.replay_comparison import BundleComparison, WhoWasRight, compare_bundles
from galago_workstation.qa.replayed import Replayed, Truth, TruthList

S = 1_000_000_000
RULE = MatchingRule(post_ns=2 * S)  # these replays have no scores that tell the hop
HOUR_S = 3_600


def event(at_s: float, label: str = "smoke", score: float = 0.9) -> EventRecord:
    end_ns = round(at_s * S)
    return EventRecord(
        stream="mic", seq=0, label=label, score=score, start_index=0, end_index=1,
        start_ns=max(0, end_ns - S), end_ns=end_ns, bundle="b", backend="cpu",
    )  # fmt: skip


def recording(
    name: str,
    said: Sequence[EventRecord],
    there: Sequence[float] | None = (),
    *,
    bundle: str = "new",
    hours: float = 1.0,
    **tags: str,
) -> Replayed:
    """``there``: where smoke began, for five seconds each; None: nobody has labelled it."""  # fmt: skip
    truths = None
    if there is not None:
        truths = TruthList(tuple(Truth(round(at * S), round((at + 5) * S), "smoke") for at in there))
    return Replayed(
        recording=name, sha256=f"sha of {name}", bundle=bundle,
        labels=(Label(name="smoke"), Label(name="door"), Label(name="none", background=True)),
        receptive_ns=S, duration_ns=round(hours * HOUR_S * S), events=tuple(said), gaps=(), states=(),
        truth=truths, tags=tags,
    )  # fmt: skip


def rules(tmp_path: Path, text: str) -> GateRules:
    file = tmp_path / "gates.toml"
    file.write_text(text)
    return load_gates(file)


def compared(
    tmp_path: Path, gates: str, old: Sequence[Replayed], new: Sequence[Replayed], **more: bool
) -> BundleComparison:
    return compare_bundles(old, new, gates=rules(tmp_path, gates), gates_file="gates.toml", rule=RULE, **more)


GREAT = [20.0 * step for step in range(1, 101)]
"""A hundred alarms in an hour."""


def corpus(*, missed: int = 0, later_s: float = 0.0, false: Sequence[float] = ()) -> list[Replayed]:
    said = [event(at + 2 + later_s) for at in GREAT[missed:]]
    return [recording("a", [*said, *(event(at, "door") for at in false)], GREAT)]


def only(found: BundleComparison) -> tuple[Stance, str]:
    assert found.verdict is not None
    (gate,) = found.verdict.gates
    return gate.stance, gate.why


@pytest.mark.parametrize(
    ("gate", "old", "new", "stance"),
    [
        ('measure = "missed"\nat_most = 0.1', corpus(), corpus(missed=1), Stance.PASS),
        ('measure = "missed"\nat_most = 0.1', corpus(), corpus(missed=40), Stance.FAIL),
        ('measure = "missed"\nat_most = 0.1', corpus(), corpus(missed=9), Stance.INCONCLUSIVE),
        ('measure = "missed"\nabove_old_at_most = 0.05', corpus(missed=30), corpus(missed=30), Stance.PASS),
        ('measure = "missed"\nabove_old_at_most = 0.05', corpus(missed=5), corpus(missed=30), Stance.FAIL),
        ('measure = "regressed"\nat_most = 0.1', corpus(missed=50), corpus(missed=51), Stance.PASS),
        ('measure = "regressed"\nat_most_count = 0', corpus(missed=5), corpus(missed=6), Stance.FAIL),
        ('measure = "lost"\nat_most = 0.1', corpus(), corpus(missed=1), Stance.PASS),
        ('measure = "lost"\nat_most_count = 3', corpus(), corpus(missed=4), Stance.FAIL),
        ('measure = "delay"\nat_most = 3.0', corpus(), corpus(missed=1), Stance.PASS),
        ('measure = "delay"\nat_most = 3.0', corpus(), corpus(later_s=2), Stance.FAIL),
        ('measure = "delay"\nat_most = 3.0', corpus(), corpus(missed=40), Stance.FAIL),
        ('measure = "delay"\nabove_old_at_most = 0.5', corpus(), corpus(later_s=0.4), Stance.PASS),
        ('measure = "delay"\nabove_old_at_most = 0.5', corpus(), corpus(later_s=0.6), Stance.FAIL),
        ('measure = "delay"\nquantile = 0.5\nat_most = 3.0', corpus(), corpus(missed=20), Stance.PASS),
        ('measure = "false_alarms"\nat_most = 9.0', corpus(), corpus(), Stance.PASS),
        ('measure = "false_alarms"\nat_most = 1.0', corpus(), corpus(), Stance.INCONCLUSIVE),
        ('measure = "false_alarms"\nat_most_count = 0', corpus(), corpus(false=[15]), Stance.FAIL),
        ('measure = "false_alarms"\nabove_old_at_most = 9', corpus(), corpus(), Stance.PASS),
    ],
)  # fmt: skip
def test_each_measure_passes_fails_or_is_undecided(
    tmp_path: Path, gate: str, old: list[Replayed], new: list[Replayed], stance: Stance
) -> None:
    found = compared(tmp_path, f"[[gate]]\n{gate}\n", old, new)
    assert only(found)[0] is stance
    assert found.exit_code == {"pass": 0, "fail": 1, "inconclusive": 7}[stance]


def spread(count: int, label: str = "door") -> list[EventRecord]:
    """False alarms, two minutes apart and more, over ten hours."""
    return [event(100 + 36_000 * step / (count + 1), label) for step in range(count)]


def quiet(said: Sequence[EventRecord], name: str = "a", **tags: str) -> list[Replayed]:
    return [recording(name, said, (), hours=10, **tags)]


def test_false_alarms_are_compared_by_those_that_only_one_bundle_has(tmp_path: Path) -> None:
    """A hundred common alarms say nothing about the difference, and cost no evidence either."""
    gate = '[[gate]]\nmeasure = "false_alarms"\nabove_old_at_most = 1.0\n'
    both = compared(tmp_path, gate, quiet(spread(100)), quiet(spread(100)))
    none = compared(tmp_path, gate, quiet([]), quiet([]))
    assert both.verdict and none.verdict and both.verdict.gates[0].holds == none.verdict.gates[0].holds
    assert only(both)[0] is Stance.PASS
    twice = '[[gate]]\nmeasure = "false_alarms"\ntimes_old_at_most = 1.5\n'
    assert only(compared(tmp_path, twice, quiet(spread(100)), quiet(spread(100))))[0] is Stance.PASS
    assert only(compared(tmp_path, twice, quiet(spread(20)), quiet(spread(100))))[0] is Stance.FAIL


def test_false_alarms_in_clusters_promise_nothing_until_a_burst_is_declared(tmp_path: Path) -> None:
    bursts = [event(1_000 * start + 5 * step, "door") for start in range(1, 6) for step in range(4)]
    gate = '[[gate]]\nmeasure = "false_alarms"\nat_most = 0.2\n'
    found = compared(tmp_path, gate, quiet([]), quiet(bursts))
    stance, why = only(found)
    assert stance is Stance.INCONCLUSIVE and "clusters" in why
    assert (
        found.verdict and "15 of 20 false alarms come within 60 s" in found.verdict.gates[0].evidence.notes[0]
    )
    declared = compared(tmp_path, f"burst_s = 10\n{gate}", quiet([]), quiet(bursts))
    assert declared.verdict and declared.verdict.gates[0].evidence.count == 5
    assert only(declared)[0] is not Stance.PASS and declared.verdict.gates[0].evidence.notes == ()


def test_clusters_that_both_bundles_have_do_not_matter_to_their_difference(tmp_path: Path) -> None:
    bursts = [event(1_000 * start + 5 * step, "door") for start in range(1, 6) for step in range(4)]
    gate = '[[gate]]\nmeasure = "false_alarms"\n{} = 0.9\n'
    found = compared(tmp_path, gate.format("above_old_at_most"), quiet(bursts), quiet(bursts))
    assert only(found)[0] is Stance.PASS
    assert (
        "clusters"
        in only(compared(tmp_path, gate.format("times_old_at_most"), quiet(bursts), quiet(bursts)))[1]
    )
    assert (
        "clusters" in only(compared(tmp_path, gate.format("above_old_at_most"), quiet(bursts), quiet([])))[1]
    )


def test_gates_are_made_for_each_label_and_each_value_of_a_tag(tmp_path: Path) -> None:
    gates = '[[gate]]\nmeasure = "false_alarms"\nlabel = "*"\ntags = { site = "*" }\nat_most = 9\n'
    old = [*quiet([], "a", site="barn"), *quiet([], "b", site="porch")]
    new = [*quiet(spread(2), "a", site="barn"), *quiet([], "b", site="porch")]
    found = compared(tmp_path, gates, old, new)
    assert found.verdict is not None
    counts = {each.evidence.gate.name: each.evidence.count for each in found.verdict.gates}
    assert counts == {
        "false_alarms smoke site=barn at_most 9": 0,
        "false_alarms smoke site=porch at_most 9": 0,
        "false_alarms door site=barn at_most 9": 2,
        "false_alarms door site=porch at_most 9": 0,
    }
    hours = [float(each.evidence.tally.hours) for each in found.verdict.gates]
    assert hours == pytest.approx([10 - 1 / 3_600] * 4)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "lacks gate"),
        ('[[gate]]\nmeasure = "mised"\nat_most = 0.1\n', "'mised' is none of"),
        ('[[gate]]\nmeasure = "missed"\nat_mots = 0.1\n', "has no setting 'at_mots'; did you mean at_most?"),
        (
            '[[gate]]\nmeasure = "missed"\n',
            r"\[\[gate\]\] number 1 has no bound: exactly one is needed, of at_most, above",
        ),
        ('[[gate]]\nmeasure = "missed"\nat_most = 0.1\nat_most_count = 1\n', "has at_most and at_most_count"),
        ('[[gate]]\nmeasure = "missed"\ntimes_old_at_most = 2\n', "but missed can have at_most, above_old"),
        ('[[gate]]\nmeasure = "missed"\nat_most = 0\n', r"\[\[gate\]\] number 1 has .*above 0 and below 1"),
        ('[[gate]]\nmeasure = "missed"\nat_most = nan\n', "above 0 and below 1"),
        ('[[gate]]\nmeasure = "missed"\nabove_old_at_most = 1.5\n', "a share is needed"),
        ('[[gate]]\nmeasure = "false_alarms"\nat_most = 0\n', "nothing can show that there is never one"),
        (
            '[[gate]]\nmeasure = "false_alarms"\nabove_old_at_most = inf\n',
            "a number from -1e.06 to 1e.06 is needed",
        ),
        ('[[gate]]\nmeasure = "false_alarms"\ntimes_old_at_most = -1\n', "more than 0"),
        (
            '[[gate]]\nmeasure = "false_alarms"\nat_most = 1\nunit = "recording"\n',
            "which false_alarms cannot",
        ),
        (
            '[[gate]]\nmeasure = "missed"\nat_most = 0.1\nquantile = 0.5\n',
            "missed cannot have: it is of a delay",
        ),
        ('[[gate]]\nmeasure = "lost"\nat_most_count = -1\n', "at_most_count"),
        ('[[gate]]\nmeasure = "lost"\nat_most_count = 2.5\n', "at_most_count"),
        ('[[gate]]\nmeasure = "lost"\nat_most_count = true\n', "at_most_count"),
        ('[[gate]]\nmeasure = "lost"\nat_most_count = 1000000001\n', "at_most_count"),
        (f'[[gate]]\nmeasure = "lost"\nat_most_count = {10**400}\n', "at_most_count"),
        ('[[gate]]\nmeasure = "false_alarms"\nat_most = 1e300\n', "at most 1e.06"),
        ('[[gate]]\nmeasure = "delay"\nat_most = 1e300\n', "at most 86400"),
        ('wrong_pass = 1e-320\n[[gate]]\nmeasure = "missed"\nat_most = 0.1\n', "wrong_pass"),
        ('wrong_pass = 0.9\n[[gate]]\nmeasure = "missed"\nat_most = 0.1\n', "wrong_pass"),
    ],
)
def test_a_bad_file_of_gates_is_one_line_that_says_what_is_known(
    tmp_path: Path, text: str, said: str
) -> None:
    with pytest.raises(CallerError, match=said) as refused:
        rules(tmp_path, text)
    assert (
        refused.value.reason == "CONFIG_BAD"
        and "\n" not in str(refused.value)
        and "gates.toml" in str(refused.value)
    )


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ('label = "smok"', r"no label 'smok'; did you mean smoke\? There are door, smoke"),
        ('label = "none"', "no label 'none'"),
        ('tags = { sight = "barn" }', r"no tag 'sight'; did you mean site\?"),
        ('tags = { site = "hall" }', "no value of the tag site 'hall'; there are barn, porch"),
    ],
)
def test_a_gate_about_what_is_not_there_names_what_there_is(tmp_path: Path, keys: str, said: str) -> None:
    gates = rules(tmp_path, f'[[gate]]\nmeasure = "missed"\nat_most = 0.1\n{keys}\n')
    with pytest.raises(CallerError, match=said):
        bind_gates(gates, ["smoke", "door"], [{"site": "barn"}, {"site": "porch"}], file="gates.toml")


def test_the_quantile_of_a_delay_is_a_tenth_of_the_latest_unless_another_is_asked_for(tmp_path: Path) -> None:
    gate = '[[gate]]\nmeasure = "delay"\nat_most = 1\n'
    names = [
        bind_gates(rules(tmp_path, gate + more), ["smoke"], [])[0].name for more in ("", "quantile = 0.5\n")
    ]
    assert names == ["delay p90 at_most 1", "delay p50 at_most 1"]


def test_a_gate_of_a_label_that_is_a_number_is_called_by_it_in_quotes(tmp_path: Path) -> None:
    gate = '[[gate]]\nmeasure = "missed"\nlabel = "*"\nat_most_count = 3\n'
    names = [one.name for one in bind_gates(rules(tmp_path, gate), ["3", "smoke"], [])]
    assert names == ['missed "3" at_most_count 3', "missed smoke at_most_count 3"]


def test_two_gates_of_one_name_are_refused(tmp_path: Path) -> None:
    gates = rules(tmp_path, 2 * '[[gate]]\nmeasure = "missed"\nat_most = 0.1\n')
    with pytest.raises(CallerError, match=r"two gates are called missed at_most 0\.1"):
        bind_gates(gates, ["smoke"], [])


def test_all_pass_only_when_each_does_and_one_of_many_that_fails_may_be_luck(tmp_path: Path) -> None:
    weak = '[[gate]]\nmeasure = "missed"\nname = "weak"\nat_most = 0.02\n'
    sure = '[[gate]]\nmeasure = "missed"\nname = "sure{}"\nat_most = 0.9\n'
    new = corpus(missed=10)
    alone = compared(tmp_path, weak, corpus(), new)
    assert alone.verdict and alone.verdict.stance is Stance.FAIL and 20 < alone.verdict.broken < 1_000
    many = compared(tmp_path, weak + "".join(sure.format(each) for each in range(99)), corpus(), new)
    assert many.verdict and many.verdict.stance is Stance.INCONCLUSIVE and many.exit_code == 7
    assert many.verdict.gates[0].stance is Stance.FAIL and "may be luck" in many.verdict.why
    assert many.verdict.broken == pytest.approx(alone.verdict.broken / 100, rel=0.05)
    passed = compared(tmp_path, "".join(sure.format(each) for each in range(99)), corpus(), new)
    assert passed.verdict and passed.verdict.stance is Stance.PASS


def test_a_broken_count_fails_all_at_once_whatever_else_there_is(tmp_path: Path) -> None:
    gates = '[[gate]]\nmeasure = "lost"\nat_most_count = 0\n[[gate]]\nmeasure = "missed"\nat_most = 0.9\n'
    found = compared(tmp_path, gates, corpus(), corpus(missed=1))
    assert found.verdict and found.verdict.stance is Stance.FAIL and math.isinf(found.verdict.broken)
    assert found.verdict.gates[0].evidence.hits == {"a": 1}


def test_nothing_to_judge_by_is_inconclusive(tmp_path: Path) -> None:
    gate = '[[gate]]\nmeasure = "missed"\nlabel = "door"\nat_most = 0.1\n'
    found = compared(tmp_path, gate, corpus(), corpus())
    assert only(found) == (Stance.INCONCLUSIVE, "nothing to judge by yet")
    zero = [recording("a", [], (), hours=0)]
    alarm = '[[gate]]\nmeasure = "false_alarms"\nat_most = 0.1\n'
    assert only(compared(tmp_path, alarm, zero, zero))[0] is Stance.INCONCLUSIVE


def test_recordings_without_labels_are_left_out_and_said(tmp_path: Path) -> None:
    bare = recording("b", [event(9)], None)
    found = compared(
        tmp_path, '[[gate]]\nmeasure = "missed"\nat_most = 0.1\n', [*corpus(), bare], [*corpus(), bare]
    )
    assert found.verdict and found.verdict.gates[0].evidence.notes == (
        "1 recording without labels left out (60.0 min)",
    )
    lost = compared(tmp_path, '[[gate]]\nmeasure = "lost"\nat_most = 0.1\n', [bare], [bare])
    assert lost.verdict and lost.verdict.gates[0].evidence.units == 1 and lost.right == ()


def test_whole_recordings_can_be_the_units(tmp_path: Path) -> None:
    """One recording with a hundred misses is one bad recording, not a hundred bad events."""
    good = [recording(f"r{each}", [event(12)], [10]) for each in range(40)]
    bad = recording("bad", [], GREAT)
    gate = '[[gate]]\nmeasure = "missed"\nat_most = 0.2\n'
    assert only(compared(tmp_path, gate, [*good, bad], [*good, bad]))[0] is Stance.FAIL
    found = compared(tmp_path, f'{gate}unit = "recording"\n', [*good, bad], [*good, bad])
    assert only(found)[0] is Stance.PASS


def uneven(**more: float) -> list[Replayed]:
    """One recording in which ten things are missed, and three in which one is found each."""
    late = more.get("late_s", 2.0)
    found = [recording(f"r{each}", [event(10 + late)], [10]) for each in range(3)]
    return [recording("bad", [], GREAT[:10]), *found]


def test_where_recordings_are_judged_their_figure_and_their_number_are_shown(tmp_path: Path) -> None:
    """Ten of thirteen things are missed, 77 %; of four recordings one misses all and three none: 25 %."""
    gate = '[[gate]]\nmeasure = "missed"\nat_most = 0.5\n'
    by_thing = compared(tmp_path, gate, uneven(), uneven())
    found = compared(tmp_path, f'{gate}unit = "recording"\n', uneven(), uneven())
    assert found.verdict and by_thing.verdict
    (row,), (thing_row,) = gate_rows(found.verdict), gate_rows(by_thing.verdict)
    assert (row[2], row[3], row[5]) == ("25.0 %", "25.0 %", "4 recordings")
    assert (thing_row[3], thing_row[5]) == ("76.9 %", "13")
    (data,) = as_data(found)["verdict"]["gates"]
    told = {key: data[key] for key in ("unit", "old", "new", "judged", "against", "things")}
    assert told == {"unit": "recording", "old": 0.25, "new": 0.25, "judged": 4, "against": 1, "things": 13}
    assert data["against_by_recording"] == {"bad": 10}
    assert "OLD 25.0 %, NEW 25.0 %" in (text := gate_text(found.verdict.gates[0]))
    assert "4 of 4 recordings judged, each alike (13 things in them), 4.00 h" in text
    assert "13 judged in 4 recordings, 4.00 h" in gate_text(by_thing.verdict.gates[0])
    page = comparison_page(found, RULE, PageWish(at=datetime.now(UTC), report=PlainReport())).content
    assert (page.head.tables[0].rows[0][5], page.head.tables[0].rows[0][3]) == ("4 recordings", "25.0 %")
    assert "| 25.0 % | 25.0 % |" in markdown(found) and "| 4 recordings |" in markdown(found)


def test_a_delay_of_recordings_is_their_quantile(tmp_path: Path) -> None:
    """Half of the weight is behind two recordings: 2 s, though most things are later or missed."""
    gate = '[[gate]]\nmeasure = "delay"\nat_most = 5\nquantile = 0.5\n'
    assert only_new(compared(tmp_path, gate, uneven(), uneven())) == math.inf
    whole = f'{gate}unit = "recording"\n'
    assert only_new(compared(tmp_path, whole, uneven(), uneven())) == 2.0
    above = whole.replace("at_most", "above_old_at_most")
    assert only_new(compared(tmp_path, above, uneven(), uneven(late_s=3.0))) == 1.0


def test_a_delay_of_recordings_in_which_nothing_is_labelled_has_no_figures(tmp_path: Path) -> None:
    gate = '[[gate]]\nmeasure = "delay"\nabove_old_at_most = 5\nunit = "recording"\n'
    found = compared(tmp_path, gate, [recording("a", [])], [recording("a", [])])
    assert found.verdict is not None
    evidence = found.verdict.gates[0].evidence
    assert math.isnan(evidence.old) and math.isnan(evidence.new)


def only_new(found: BundleComparison) -> float:
    assert found.verdict is not None
    return found.verdict.gates[0].evidence.new


def test_who_was_right_counts_each_thing_that_was_there() -> None:
    old, new = corpus(missed=3), [recording("a", [event(at + 2) for at in GREAT[1:-1]], GREAT)]
    found = compare_bundles(old, new, rule=RULE).right[0]
    assert found == WhoWasRight("", both=96, only_old=1, only_new=2, neither=1)
    assert (found.negative_flips, found.positive_flips) == (0.01, 0.02)
    assert found.chance == pytest.approx(1.0)
    assert WhoWasRight("", 0, 6, 0, 0).chance == pytest.approx(2 / 64)


def test_what_is_lost_and_gained_of_one_truth_says_so_and_counts_as_before() -> None:
    """NEW finds the first smoke five seconds later, and the second not at all but in a false alarm."""
    old = [recording("a", [event(11), event(101)], [10, 100])]
    new = [recording("a", [event(16), event(300)], [10, 100])]
    found = compare_bundles(old, new, rule=RULE)
    assert found.diff.counts == {"lost": 2, "gained": 2, "moved": 0, "rescored": 0, "same": 0}
    assert (found.right[0].both, found.right[0].only_old) == (1, 1)
    texts = [(one.kind, change_text(one)) for one in found.diff.changes]
    assert texts == [
        ("lost", "score 0.900; of the same truth as the one gained at 0:00:16.000"),
        ("gained", "score 0.900; of the same truth as the one lost at 0:00:11.000"),
        ("lost", "score 0.900"),
        ("gained", "score 0.900"),
    ]
    told = "events: 1 lost and 1 gained are of the same truth, which both bundles found, further apart than"
    assert any(line.startswith(told) for line in summary_lines(found))
    data = as_data(found)
    assert [one["same_truth_at_ns"] for one in data["changes"]] == [16 * S, 11 * S, None, None]
    assert data["lost_and_gained_of_same_truths"] == 1
    shown = [one.what for one in compared_events(found, RULE)]
    assert shown[0].endswith("the one gained at 0:00:16.000")


def test_a_loss_whose_truth_an_event_of_both_finds_is_of_no_pair() -> None:
    old = [recording("a", [event(11), event(16)], [10])]
    new = [recording("a", [event(16)], [10])]
    found = compare_bundles(old, new, rule=RULE)
    assert [(one.kind, one.same_truth_ns) for one in found.diff.changes] == [("lost", None)]
    assert found.diff.of_same_truths == 0 and not any("same truth" in line for line in summary_lines(found))


def test_without_gates_there_is_no_verdict_and_the_exit_code_is_0() -> None:
    found = compare_bundles(corpus(), corpus(missed=90), rule=RULE)
    assert found.verdict is None and found.exit_code == 0


def test_replays_of_several_bundles_are_no_one_bundle() -> None:
    mixed = [recording("a", []), recording("b", [], bundle="other")]
    with pytest.raises(InputError, match="what NEW said comes from 2 bundles"):
        compare_bundles(mixed[:1], mixed)


def test_labels_and_truth_that_are_not_compared_are_said() -> None:
    odd = TruthList((Truth(S * 5, S * 6, "thunder"),))
    there = [replace(each, truth=odd) for each in corpus()]
    with pytest.raises(InputError, match="labels of a: label 'thunder' at 5000000000 ns is none") as refused:
        compare_bundles(there, there, rule=RULE)
    assert (refused.value.reason, refused.value.exit_code) == ("LABELS_MISMATCH", 1)
    found = compare_bundles(there, there, rule=RULE, common=True)
    assert found.left_out == ("left out: label thunder of what was there, which is not compared",)


def test_a_comparison_without_a_valid_moment_says_so() -> None:
    whole = TruthList((), ((0, HOUR_S * S),))
    ignored = [replace(each, truth=whole) for each in corpus()]
    found = compare_bundles(ignored, ignored, rule=RULE)
    assert found.left_out == ("left out: what was there, for no moment of the labelled recordings is valid",)
