"""``galago qa`` on damaged recordings, on labels that contradict each other, on gates about nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from click.testing import CliRunner, Result

from galago_edge.commands.cli import main
from galago_workstation.qa.label_file import labels_path, write_labels
from galago_workstation.qa.replayed import Truth, TruthList
from test_kit.corpora import microphone_bundle, write_night

S = 1_000_000_000
LOW = TruthList((Truth(S, 2 * S, "low"),))


def galago(*arguments: object, code: int = 0) -> Result:
    result = CliRunner().invoke(main, [str(one) for one in arguments])
    assert result.exit_code == code, result.output
    assert not result.exception or isinstance(result.exception, SystemExit)
    return result


def answer(*arguments: object, code: int = 0) -> Any:
    return json.loads(galago(*arguments, "--json", code=code).stdout)


def labelled(path: Path, truth: TruthList = LOW) -> Path:
    write_labels(labels_path(write_night(path, 300, seconds=3)), truth)
    return path


def replayed(results: Path) -> list[Path]:
    """What was replayed: results, without the hashes of the recordings."""
    return list(results.glob("??/*"))


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory, tiny_audio_model: bytes) -> Path:
    return microphone_bundle(tmp_path_factory.mktemp("bundle") / "tiny.galago", tiny_audio_model)


@pytest.fixture(scope="module")
def damaged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole recording, one that is cut off, and one that is empty; all labelled."""
    top = tmp_path_factory.mktemp("damaged") / "nights"
    whole = labelled(top / "whole.wav").read_bytes()
    labelled(top / "cut.wav").write_bytes(whole[:60_000])
    labelled(top / "empty.wav").write_bytes(b"")
    return top


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Shared, so that what one test replayed is not replayed again."""
    return tmp_path_factory.mktemp("results")


def lost(told: Any) -> dict[str, list[tuple[str, str]]]:
    return {
        kind: [(one["recording"], one["reason"]) for one in losses] for kind, losses in told["losses"].items()
    }


def test_what_failed_is_counted_told_and_ends_the_command_and_what_is_cut_off_does_not(
    damaged: Path, bundle: Path, results: Path, tmp_path: Path
) -> None:
    keep = ("--results", results, "--jobs", "1")
    run, gone = tmp_path / "run", [("empty.wav", "AUDIO_UNREADABLE")]
    galago("replay", damaged, "--bundle", bundle, "--out", run, *keep, code=1)
    for asked in ((run,), (damaged, "--bundle", bundle, *keep)):
        told = galago("qa", "score", *asked, "--markdown", tmp_path / "score.md", code=1)
        data = answer("qa", "score", *asked, code=1)
        assert lost(data) == {"failed": gone, "read_in_part": [("cut.wav", "AUDIO_TRUNCATED")]}
        assert data["overall"]["recordings"] == 2  # the cut one is judged, its rest is a gap
        assert "Error: empty.wav: " in told.stderr and "Error: cut.wav" not in told.stderr
        assert "read in part, the rest is a gap: cut.wav: " in told.stderr
        for text in (told.stdout, (tmp_path / "score.md").read_text().replace("\\", "")):
            assert "Failed, and not judged: 1 recording (empty.wav: AUDIO_UNREADABLE)." in text
            assert "Read in part, the rest is a gap: 1 recording (cut.wav: AUDIO_TRUNCATED)." in text
    made = tmp_path / "b.json"
    assert lost(answer("qa", "baseline", run, "--out", made, code=1))["failed"] == gone
    assert lost(answer("qa", "diff", "--baseline", made, run, code=1))["failed"] == gone
    why = ("qa", "why", "--run", run, "--label", "low", "--at", "1")
    assert lost(answer(*why, "cut.wav", code=1))["failed"] == gone
    said = {name: galago(*why, name, code=1).output for name in ("cut.wav", "whole.wav")}
    assert "ead in part" in said["cut.wav"] and "ead in part" not in said["whole.wav"]
    assert galago(*why, "empty.wav", code=1).stderr.count("Error: empty.wav: ") == 1


def test_a_recording_file_that_was_cut_off_has_failed_and_no_gate_passes_over_it(
    bundle: Path, results: Path, tmp_path: Path
) -> None:
    nights = tmp_path / "nights"
    labelled(nights / "whole.wav")
    (nights / "cut.mcap").write_bytes(b"\x89MCAP0\r\n" + bytes(52))
    keep, gone = ("--results", results, "--jobs", "1"), [("cut.mcap", "RECORDING_UNREADABLE")]
    told = galago("replay", nights, "--bundle", bundle, "--out", tmp_path / "run", *keep, code=1)
    assert "Error: cut.mcap: " in told.stderr and "1 failed" in told.stdout
    for asked in (
        ("score", nights, "--bundle", bundle),
        ("diff", bundle, bundle, nights),
        ("baseline", nights, "--bundle", bundle, "--out", tmp_path / "base.json"),
    ):
        assert lost(answer("qa", *asked, *keep, code=1))["failed"] == gone


def test_a_golden_says_once_what_of_it_is_damaged_and_keeps_how_it_ends(
    damaged: Path, bundle: Path, tmp_path: Path
) -> None:
    out = tmp_path / "golden.json"
    call = ("qa", "golden", "record", damaged, "--bundle", bundle, "--jobs", "1", "--json", "--out", out)
    told = galago(*call)
    assert lost(json.loads(told.stdout)) == {
        "failed": [("empty.wav", "AUDIO_UNREADABLE")],
        "read_in_part": [("cut.wav", "AUDIO_TRUNCATED")],
    }
    assert told.stderr.count("Error: empty.wav: ") == 1
    assert told.stderr.count("read in part, the rest is a gap: cut.wav: ") == 1


def test_what_is_cut_off_alone_is_no_failure_and_failures_alone_are_no_answer(
    damaged: Path, bundle: Path, results: Path, tmp_path: Path
) -> None:
    keep = ("--bundle", bundle, "--results", results, "--jobs", "1")
    cut, empty = tmp_path / "cut", tmp_path / "empty"
    for top in (cut, empty):
        top.mkdir()
        name = f"{top.name}.wav"
        for path in (damaged / name, labels_path(damaged / name)):
            (top / path.name).write_bytes(path.read_bytes())
    assert [name for name, _ in lost(answer("qa", "score", cut, *keep))["read_in_part"]] == ["cut.wav"]
    out = tmp_path / "baseline.json"
    for call in (("score", empty), ("baseline", empty, "--out", out)):
        assert "Error: empty.wav: " in galago("qa", *call, *keep, code=1).stderr
    assert not out.exists()


def test_two_runs_whose_labels_contradict_each_other_are_not_compared(
    bundle: Path, results: Path, tmp_path: Path
) -> None:
    for name, truth in (("one", LOW), ("other", TruthList((Truth(S, 2 * S, "high"),)))):
        labelled(tmp_path / name / "night.wav", truth)
        run = tmp_path / f"run-{name}"
        galago(
            "replay", tmp_path / name, "--bundle", bundle, "--out", run, "--results", results, "--jobs", "1"
        )
    told = galago("qa", "diff", tmp_path / "run-one", tmp_path / "run-other", code=1).stderr
    assert "the labels of OLD and NEW contradict each other in 1 recording: night.wav [DATA_BAD]" in told


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ('label = "loud"', "there is no label 'loud'"),
        ('label = "hihg"', "did you mean high?"),
        ('tags = { site = "barn" }', "there is no tag 'site'"),
    ],
)
def test_gates_about_what_there_is_not_are_refused_before_anything_is_replayed(
    keys: str, said: str, bundle: Path, tmp_path: Path
) -> None:
    labelled(tmp_path / "nights" / "night.wav")
    gates, kept = tmp_path / "gates.toml", tmp_path / "kept"
    gates.write_text(f'[[gate]]\nmeasure = "missed"\nat_most = 0.1\n{keys}\n')
    call = ("qa", "diff", bundle, bundle, tmp_path / "nights", "--gates", gates, "--results", kept)
    assert said in galago(*call, code=2).stderr
    assert replayed(kept) == []


def test_labels_that_a_bundle_does_not_have_end_every_command_alike_before_anything_is_replayed(
    bundle: Path, tmp_path: Path
) -> None:
    night = labelled(tmp_path / "nights" / "night.wav", TruthList((Truth(S, 2 * S, "hihg"),)))
    kept = ("--bundle", bundle, "--results", tmp_path / "kept")
    for call in (
        ("score", night.parent),
        ("baseline", night.parent, "--out", tmp_path / "b.json"),
        ("tune", night.parent, "--false-per-day", "1"),
        ("tune", night.parent, "--false-per-day", "1", "--label", "hihg"),
        ("why", night, "--at", "1", "--label", "hihg"),
    ):
        told = galago("qa", *call, *kept, code=1).stderr
        assert "LABELS_MISMATCH" in told and "did you mean high? There are high, low, quiet" in told
    both = ("qa", "diff", bundle, bundle, night.parent, "--results", tmp_path / "kept")
    assert "did you mean high?" in galago(*both, code=1).stderr
    assert replayed(tmp_path / "kept") == []


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (
            ("diff", "a", "b", "--junit", "qa.xml"),
            "--junit has a test case for each gate, and there are none",
        ),
        (("diff", "a", "b", "--inconclusive", "skipped"), "--inconclusive is about JUnit"),
        (("score", "a", "--det"), "--det adds curves to --json"),
    ],
)
def test_an_option_that_would_be_about_nothing_is_refused(call: tuple[str, ...], said: str) -> None:
    assert said in galago("qa", *call, code=2).stderr


GATES = '[[gate]]\nmeasure = "lost"\nat_most_count = 9\n'


def errors(path: Path) -> list[str]:
    """The names of the test cases that are errors."""
    cases = ElementTree.parse(path).getroot().iter("testcase")
    return [case.attrib["name"] for case in cases if case.find("error") is not None]


def test_a_ci_sees_recordings_that_failed_and_calls_that_ended_in_an_error(
    damaged: Path, bundle: Path, results: Path, tmp_path: Path
) -> None:
    keep = ("--results", results, "--jobs", "1")
    gates, report, made = tmp_path / "gates.toml", tmp_path / "gates.xml", tmp_path / "b.json"
    gates.write_text(GATES)
    galago("qa", "baseline", damaged, "--bundle", bundle, "--out", made, *keep, code=1)
    asked = ("qa", "diff", "--baseline", made, "--gates", gates, "--junit", report)

    galago(*asked, bundle, damaged, *keep, code=1)
    assert errors(report) == ["empty.wav"]
    assert "cut.wav: AUDIO_TRUNCATED" in report.read_text()

    galago(*asked, tmp_path / "gone.galago", damaged, *keep, code=2)
    assert errors(report) == ["galago qa diff"]


def test_a_golden_whose_corpus_was_changed_leaves_no_green_report(bundle: Path, tmp_path: Path) -> None:
    corpus, golden, report = tmp_path / "c", tmp_path / "g.json", tmp_path / "g.xml"
    write_night(corpus / "a.wav", 300, seconds=3)
    galago("qa", "golden", "record", corpus, "--bundle", bundle, "--out", golden, "--why", "first")
    asked = ("qa", "golden", "verify", golden, corpus, "--bundle", bundle, "--junit", report)
    galago(*asked)
    assert errors(report) == []
    write_night(corpus / "a.wav", 400, seconds=3)
    galago(*asked, code=1)
    assert errors(report) == ["galago qa golden verify"]


def test_labels_behind_the_end_of_a_recording_that_is_cut_off_are_of_what_nobody_watched(
    bundle: Path, results: Path, tmp_path: Path
) -> None:
    whole, corpus = tmp_path / "whole.wav", tmp_path / "c"
    write_night(whole, 300, seconds=60)
    corpus.mkdir()
    galago("recording", "import", whole, corpus / "cut.mcap")
    cut = (corpus / "cut.mcap").read_bytes()
    (corpus / "cut.mcap").write_bytes(cut[: len(cut) // 2])
    (corpus / "cut.mcap.sha256").unlink(missing_ok=True)
    behind = TruthList((Truth(S, 2 * S, "low"), Truth(58 * S, 59 * S, "low")))
    write_labels(labels_path(corpus / "cut.mcap"), behind)

    told = answer("qa", "score", corpus, "--bundle", bundle, "--results", results, "--jobs", "1")

    assert [loss["reason"] for loss in told["losses"]["read_in_part"]] == ["AUDIO_TRUNCATED"]
    (score,) = [one for one in told["overall"]["labels"] if one["label"] == "low"]
    assert (score["found"]["count"], score["missed"], score["unwatched"]) == (1, 0, 1)
    assert told["overall"]["watched"]["truncated_ns"] > 20 * S

    (corpus / "cut.mcap").unlink()
    labels_path(corpus / "cut.mcap").unlink()
    (corpus / "cut.wav").write_bytes(whole.read_bytes()[:1_000_000])  # its header tells 60 s
    write_labels(labels_path(corpus / "cut.wav"), behind)
    told = answer("qa", "score", corpus, "--bundle", bundle, "--results", results, "--jobs", "1")
    assert told["overall"]["watched"]["duration_ns"] == 60 * S
    write_labels(labels_path(corpus / "cut.wav"), TruthList((Truth(90 * S, 91 * S, "low"),)), replace=True)
    refused = galago("qa", "score", corpus, "--bundle", bundle, "--results", results, code=1)
    assert "behind the recording's end at 60000000000 ns" in refused.stderr
