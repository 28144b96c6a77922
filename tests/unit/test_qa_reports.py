"""A comparison as JUnit, Markdown, JSON and tables."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from xml.etree import ElementTree

import pytest

from galago_edge.contract.manifest import Label
from galago_edge.contract.records import EventRecord
from galago_workstation.qa.comparison_report import (
    as_data,
    markdown,
    show_comparison,
    table_lines,
    write_reports,
)
from galago_workstation.qa.gate_rules import GateRules, load_gates
from galago_workstation.qa.junit_report import Inconclusive, junit_xml
from galago_workstation.qa.matching import MatchingRule
from galago_workstation.qa.replay_comparison import BundleComparison, compare_bundles
from galago_workstation.qa.replayed import Replayed, Truth, TruthList

S = 1_000_000_000
RULE = MatchingRule(post_ns=2 * S)  # these replays have no scores that tell the hop
AT = datetime(2026, 11, 30, 12, 0, tzinfo=UTC)
STARTS = [20 * step for step in range(1, 101)]
GATES = """
[[gate]]
measure = "missed"
at_most = 0.1
name = "found"

[[gate]]
measure = "lost"
at_most_count = 0
name = "none lost <&|"

[[gate]]
measure = "false_alarms"
at_most = 0.5
name = "alarms"
"""


def event(at_s: float, score: float = 0.9) -> EventRecord:
    return EventRecord(
        stream="mic", seq=0, label="smoke", score=score, start_index=0, end_index=1, start_ns=0,
        end_ns=round(at_s * S), bundle="b", backend="cpu",
    )  # fmt: skip


def run(bundle: str, events: Sequence[EventRecord], name: str = "a|b\x1b[2J.wav") -> Replayed:
    return Replayed(
        recording=name, sha256="1" * 64, bundle=bundle, labels=(Label(name="smoke"), Label(name="none")),
        receptive_ns=S, duration_ns=3_600 * S, events=tuple(events), gaps=(), states=(),
        truth=TruthList(tuple(Truth(at * S, (at + 5) * S, "smoke") for at in STARTS)),
    )  # fmt: skip


@pytest.fixture
def rules(tmp_path: Path) -> GateRules:
    file = tmp_path / "gates.toml"
    file.write_text(GATES)
    return load_gates(file)


@pytest.fixture
def found(rules: GateRules) -> BundleComparison:
    old = [event(at + 1) for at in STARTS]
    new = [event(at + 1) for at in STARTS[2:]] + [event(23.5, 0.5)]
    return compare_bundles([run("old", old)], [run("new", new)], gates=rules, rule=RULE)


ALLOWED = {  # what both schemas in use allow: Jenkins' junit-10.xsd and that of Ant
    "testsuites": (set(), {"testsuite"}),
    "testsuite": (
        {"name", "package", "id", "tests", "failures", "errors", "skipped", "time", "timestamp", "hostname"},
        {"properties", "testcase", "system-out", "system-err"},
    ),
    "properties": (set(), {"property"}),
    "property": ({"name", "value"}, set()),
    "testcase": ({"name", "classname", "time"}, {"failure", "error", "skipped"}),
    "failure": ({"message", "type"}, set()),
    "error": ({"message", "type"}, set()),
    "skipped": ({"message"}, set()),
    "system-out": (set(), set()),
    "system-err": (set(), set()),
}


@pytest.mark.parametrize("inconclusive", ["error", "failure", "skipped"])
def test_junit_has_a_test_case_for_each_gate(found: BundleComparison, inconclusive: Inconclusive) -> None:
    assert found.verdict is not None
    root = ElementTree.fromstring(junit_xml(found.verdict, at=AT, inconclusive=inconclusive))
    for element in root.iter():
        attributes, children = ALLOWED[element.tag]
        assert set(element.attrib) == attributes, element.tag
        assert {child.tag for child in element} <= children
    (suite,) = root
    order = list(dict.fromkeys(child.tag for child in suite))
    assert order == ["properties", "testcase", "system-out", "system-err"]
    cases = {case.get("name"): [child.tag for child in case] for case in suite.iter("testcase")}
    assert cases == {"found": [], "none lost <&|": ["failure"], "alarms": [inconclusive]}
    counted = {key: int(suite.get(key, "")) for key in ("tests", "failures", "errors", "skipped")}
    assert counted == {
        "tests": 3,
        "failures": 1 + (inconclusive == "failure"),
        "errors": int(inconclusive == "error"),
        "skipped": int(inconclusive == "skipped"),
    }
    assert suite.get("timestamp") == "2026-11-30T12:00:00"


def test_junit_can_be_parsed_whatever_a_recording_is_called(rules: GateRules) -> None:
    old = [event(at + 1) for at in STARTS]
    found = compare_bundles(
        [run("old", old, "\x00\udce9]]>")], [run("new", [], "\x00\udce9]]>")], gates=rules, rule=RULE
    )
    assert found.verdict is not None
    root = ElementTree.fromstring(junit_xml(found.verdict, at=AT))
    assert "]]>: 100" in "".join(element.text or "" for element in root.iter("failure"))
    json.dumps(as_data(found), allow_nan=False, ensure_ascii=False).encode()
    markdown(found).encode()


def test_markdown_says_verdict_events_and_gates_and_makes_no_markup_of_names(found: BundleComparison) -> None:
    text = markdown(found)
    assert text.startswith("## fail: broken: none lost &lt;&\\| (at every look: wrong pass at most 5 %")
    assert "| lost | a\\|b\\\\x1b\\[2J.wav | 0:00:41.000 | smoke | right | score 0.900 |" in text
    assert (
        "| moved | a\\|b\\\\x1b\\[2J.wav | 0:00:21.000 | smoke | +2.500 s, score 0.900 -> 0.500 |" not in text
    )
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert {line.replace("\\|", "").count("|") for line in rows} == {7, 9, 10}


def test_tables_say_everything_and_nothing_happens_to_a_terminal(found: BundleComparison) -> None:
    lines = table_lines(found)
    text = "\n".join(lines)
    assert "\x1b" not in text and "a|b\\x1b[2J.wav" in text
    assert lines[-1].startswith("fail: broken: none lost <&|")
    assert "events: 98 same, 2 lost, 1 gained, 0 moved" in text
    assert "needs" in text and "more hours" in text
    assert "\x1b[31m" in "\n".join(table_lines(found, colour=True))


def test_long_lists_are_cut_in_tables_and_whole_in_json() -> None:
    old, new = run("old", [event(each) for each in range(200)]), run("new", [])
    found = compare_bundles([old], [new], rule=RULE)
    assert "and 150 more, all in JSON" in table_lines(found)
    assert len(as_data(found)["changes"]) == 200
    told = [each.truth for each in found.diff.changes]
    assert told.count("right") == 9 and {*told} == {"right", "false alarm", "repeat"}
    assert as_data(found)["verdict"] is None and table_lines(found)[-1] == "no gates, so no verdict"


def test_json_has_the_whole_verdict(found: BundleComparison) -> None:
    data = json.loads(json.dumps(as_data(found), allow_nan=False))
    assert data["schema"] == "galago.diff/1" and data["exit"] == 1
    gates = {each["gate"]: each for each in data["verdict"]["gates"]}
    assert gates["found"]["verdict"] == "pass" and gates["found"]["evidence_holds"] > 20
    assert gates["none lost <&|"]["evidence_broken"] == "infinite"
    assert gates["alarms"]["more_hours"] > 1 and gates["alarms"]["between"][0] == 0.0
    assert data["events"] == {"lost": 2, "gained": 1, "moved": 0, "rescored": 0, "same": 98}
    assert data["truth"][0]["only_old"] == 1


def test_reports_are_written_whole_and_printing_gives_the_exit_code(
    found: BundleComparison, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = [tmp_path / name for name in ("junit.xml", "diff.md", "diff.json")]
    for _ in range(2):
        write_reports(found, at=AT, junit=files[0], markdown_file=files[1], json_file=files[2])
    assert ElementTree.parse(files[0]).getroot().tag == "testsuites"
    assert json.loads(files[2].read_text())["verdict"]["verdict"] == "fail"
    assert show_comparison(found) == 1
    assert capsys.readouterr().out.rstrip().endswith("wrong fail at most 5 %)")
    assert show_comparison(found, as_json=True) == 1
    assert json.loads(capsys.readouterr().out)["old"] == "old"


def test_junit_without_gates_is_a_suite_without_tests(found: BundleComparison, tmp_path: Path) -> None:
    write_reports(replace(found, verdict=None), at=AT, junit=tmp_path / "junit.xml")
    (suite,) = ElementTree.parse(tmp_path / "junit.xml").getroot()
    assert suite.get("tests") == "0"
