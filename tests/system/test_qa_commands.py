"""``galago qa score``, ``diff``, ``baseline``, ``why``, ``tune``: from recordings to an answer."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import msgspec
import pytest
from click.testing import CliRunner, Result

from galago_edge.bundle.keys import create_key_pair
from galago_edge.commands.cli import main
from galago_workstation.qa.label_file import write_labels
from galago_workstation.qa.replay_run import ReplayRun
from galago_workstation.qa.replayed import Truth, TruthList
from galago_workstation.qa.sealed_json import sealed_json
from test_kit import make_bundle
from test_kit.corpora import microphone_bundle, policy_labels, write_night

S = 1_000_000_000


def galago(*arguments: object, code: int = 0) -> Result:
    result = CliRunner().invoke(main, [str(one) for one in arguments])
    assert result.exit_code == code, result.output
    assert not result.exception or isinstance(result.exception, SystemExit)
    return result


def answer(*arguments: object, code: int = 0) -> Any:
    return json.loads(galago(*arguments, "--json", code=code).stdout)


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory, tiny_audio_model: bytes) -> Path:
    return microphone_bundle(tmp_path_factory.mktemp("old") / "old.galago", tiny_audio_model)


@pytest.fixture(scope="module")
def new(tmp_path_factory: pytest.TempPathFactory, tiny_audio_model: bytes) -> Path:
    """As ``old``, but it never decides for ``high``."""
    quiet, low, high = policy_labels("quiet", "low", "high")
    deaf = msgspec.structs.replace(high, policy=msgspec.structs.replace(high.policy, min_count=200))
    path = tmp_path_factory.mktemp("new") / "new.galago"
    return make_bundle(path, tiny_audio_model, [quiet, low, deaf], modality="microphone", version="2.0.0")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two recordings with a tone from 1 s to 2 s, and a silent one; all labelled."""
    top = tmp_path_factory.mktemp("corpus") / "nights"
    for name, tone_hz, label in (("a", 300, "low"), ("b", 3_100, "high"), ("c", 0, "")):
        path = write_night(top / f"{name}.wav", tone_hz, seconds=4)
        truth = TruthList((Truth(S, 2 * S, label),) if label else ())
        write_labels(path.with_name(f"{path.name}.labels.tsv"), truth)
    return top


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, corpus: Path, old: Path) -> Path:
    """The corpus through the old bundle."""
    folder = tmp_path_factory.mktemp("runs") / "run"
    galago("replay", corpus, "--bundle", old, "--out", folder, "--jobs", "1")
    return folder


@pytest.fixture
def results(tmp_path: Path) -> tuple[object, ...]:
    return ("--results", tmp_path / "results", "--jobs", "1")


def test_a_score_of_a_corpus_and_of_its_run_are_the_same(
    corpus: Path, old: Path, run: Path, results: tuple[object, ...]
) -> None:
    of_corpus = answer("qa", "score", corpus, "--bundle", old, *results)
    assert answer("qa", "score", run) == of_corpus
    total = of_corpus["overall"]["total"]
    assert (total["found"]["count"], total["found"]["of"], total["false_alarms"]) == (2, 2, 0)
    assert of_corpus["overall"]["without_events"] == 1


def test_what_a_worse_bundle_loses_is_named_and_fails_the_gate(
    corpus: Path, old: Path, new: Path, results: tuple[object, ...], tmp_path: Path
) -> None:
    gates, junit = tmp_path / "gates.toml", tmp_path / "qa.xml"
    gates.write_text('[[gate]]\nmeasure = "lost"\nat_most_count = 0\n')
    call = ("qa", "diff", old, new, corpus, *results, "--gates", gates)
    found = answer(*call, "--junit", junit, code=1)
    assert [(one["kind"], one["recording"], one["label"]) for one in found["changes"]] == [
        ("lost", "b.wav", "high")
    ]
    (suite,) = ElementTree.parse(junit).getroot().iter("testsuite")
    assert suite.attrib["failures"] == "1"
    same = answer("qa", "diff", old, old, corpus, *results, "--gates", gates)
    assert same["changes"] == []


def test_a_baseline_takes_the_place_of_the_old_bundle(
    corpus: Path, old: Path, new: Path, results: tuple[object, ...], tmp_path: Path
) -> None:
    file = tmp_path / "old.baseline.json"
    galago("qa", "baseline", corpus, "--bundle", old, "--out", file, *results)
    found = answer("qa", "diff", "--baseline", file, new, corpus, *results)
    bundles = answer("qa", "diff", old, new, corpus, *results)
    assert found["changes"] == bundles["changes"] != []
    galago("qa", "baseline", corpus, "--bundle", new, "--out", file, *results, code=2)  # it exists


def test_why_a_bundle_did_not_decide_is_told_with_what_would_have_changed_it(
    corpus: Path, new: Path, results: tuple[object, ...]
) -> None:
    asked = ("--bundle", new, "--label", "high", "--at", "1.5")
    found = answer("qa", "why", corpus / "b.wav", *asked, "--corpus", corpus, *results)
    assert found["cause"] == "count"
    assert found["changes"][0]["cost"]["found_more"] == 1


def test_a_tuned_policy_makes_a_bundle_that_finds_what_was_missed(
    corpus: Path, new: Path, results: tuple[object, ...], tmp_path: Path
) -> None:
    key = tmp_path / "release.key"
    create_key_pair(key)
    policy, better = tmp_path / "policy.toml", tmp_path / "better.galago"
    asked = ("qa", "tune", corpus, "--bundle", new, "--false-per-day", "100", "--out", policy, *results)
    refused = galago(*asked, code=1)  # twelve seconds with one of each promise nothing
    assert "53.1 min are needed" in refused.stdout
    assert "high: this policy finds nothing, 0 of 1 on recordings that the choice had not" in refused.stdout
    assert "no policy is written: the one proposed for 'high' finds nothing [DATA_BAD]" in refused.stderr
    assert not json.loads(galago(*asked, "--json", code=1).stdout)["written"] and not policy.exists()
    galago(*asked, "--allow-nothing-found")
    assert "# high: this policy finds nothing, 0 of 1" in policy.read_text()
    galago("bundle", "repolicy", new, policy, "--key", key, "--out", better)
    total = answer("qa", "score", corpus, "--bundle", better, *results)["overall"]["total"]
    assert total["found"]["count"] == 2


def test_what_a_bundle_proposes_is_no_label_until_a_person_confirms_it(
    old: Path, results: tuple[object, ...], tmp_path: Path
) -> None:
    top = tmp_path / "nights"
    for name, tone_hz in (("a", 300), ("b", 3_100), ("c", 0)):
        write_night(top / f"{name}.wav", tone_hz, seconds=4)
    write_labels(top / "c.wav.labels.tsv", TruthList(()))
    call = ("qa", "label", top, "--bundle", old, "--format", "audacity", *results)
    first = galago(*call, "--json")
    told = json.loads(first.stdout)
    assert "1 recording that has labels was left out" in first.stderr
    assert [(row["recording"], row["labels"]) for row in told] == [
        ("a.wav", {"low": 1}),
        ("b.wav", {"high": 1}),
    ]
    proposals, track = map(Path, told[0]["paths"])
    assert (proposals.name, track.name) == ("a.wav.proposed.tsv", "a.wav.proposed.txt")
    assert "low (proposed " in track.read_text()
    before = proposals.read_bytes()
    assert "exists, one of 4 such files" in galago(*call, code=2).output  # nothing is written over
    assert proposals.read_bytes() == before
    # neither is a label: not beside the recording, not under the name of one, not by import
    score = ("qa", "score", top, "--bundle", old, *results)
    assert answer(*score)["unlabelled"] == ["a.wav", "b.wav"]
    labels = top / "a.wav.labels.tsv"
    labels.write_bytes(before)
    assert "is a proposal that nobody has confirmed" in galago(*score, code=1).output
    labels.unlink()
    again = ("qa", "labels", "import", track, "--format", "audacity", "--recording", top / "a.wav")
    assert "is a proposal that nobody has confirmed" in galago(*again, code=1).output
    assert not labels.exists()
    galago("qa", "labels", "confirm", proposals, "--recording", top / "a.wav")
    galago(*again[:-2], "--recording", top / "b.wav", "--confirmed", "--out", tmp_path / "b.tsv")
    total = answer(*score)["overall"]["total"]
    assert (total["found"]["count"], total["found"]["of"], total["false_alarms"]) == (1, 1, 0)


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (
            f"# recording sha256 {'ab' * 32}\nstart_ns\tend_ns\tlabel\n",
            "is about the recording with the SHA-256",
        ),
        ("start_ns\tend_ns\tlabel\n1\t5\tlow\n3\t9\tlow\n", "overlaps the one of line 2"),
        ("start_ns\tend_ns\tlabel\n1.5\t2\tlow\n", "expected whole nanoseconds"),
    ],
    ids=["other recording", "overlap", "seconds"],
)
def test_labels_that_nothing_can_be_judged_by_are_refused_before_anything_is_replayed(
    old: Path, tmp_path: Path, lines: str, said: str
) -> None:
    top, results = tmp_path / "nights", tmp_path / "results"
    write_night(top / "a.wav", seconds=4)
    (top / "a.wav.labels.tsv").write_text(lines)
    tune = ("tune", "--false-per-day", "1", "--out", tmp_path / "p.toml")
    for call in (("score",), tune, ("baseline", "--out", tmp_path / "b.json")):
        asked = ("qa", call[0], top, "--bundle", old, *call[1:], "--results", results)
        assert said in galago(*asked, code=1).output
    assert [path.name for path in tmp_path.iterdir()] == ["nights"]


def test_proposals_go_where_they_are_asked_for_and_near_misses_are_counted(
    corpus: Path, new: Path, results: tuple[object, ...], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    call = ("qa", "label", corpus / "b.wav", "--bundle", new, "--out", out, *results)
    (row,) = answer(*call, "--near", "0.5")
    assert (row["labels"], row["near_misses"]) == ({"high": 1}, 1)  # its count held it back
    assert row["paths"] == [str(out / "b.wav.proposed.tsv")]
    assert (
        "has labels (3 recordings)" in galago("qa", "label", corpus, "--bundle", new, *results, code=2).output
    )
    for wrong, code in ((("--label", "siren"), 2), (("--near", "2"), 2), (("--format", "cvat"), 2)):
        galago(*call[: -len(results)], *results, "--out", tmp_path / "other", *wrong, code=code)
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("score", "{corpus}"), 2, "which bundle"),
        (("score", "{run}", "--bundle", "{old}"), 2, "has its bundle"),
        (("diff", "{old}", "{corpus}"), 2, "OLD NEW CORPUS"),
        (("diff", "{old}"), 2, "OLD NEW CORPUS"),
        (("why", "a.wav", "--at", "1", "--label", "low"), 2, "--bundle, or --run"),
        (("why", "z.wav", "--run", "{run}", "--at", "1", "--label", "low"), 2, "no recording z.wav"),
        (("why", "a.wav", "--run", "{run}", "--at", "soon", "--label", "low"), 2, "--at"),
        (("why", "a.wav", "--run", "{run}", "--at", "1", "--label", "siren"), 1, "siren"),
        (("tune", "{run}", "--false-per-day", "1", "--label", "siren"), 1, "siren"),
        (("label", "{run}", "--bundle", "{old}"), 2, "give the corpus that was replayed"),
        (("score", "{corpus}/a.wav", "--bundle", "{old}"), 2, "put it into a folder or a list"),
        (("score", "{corpus}/none", "--bundle", "{old}"), 3, "none"),
    ],
)
def test_a_call_that_cannot_be_answered_is_refused_in_one_line(
    arguments: tuple[str, ...], code: int, said: str, corpus: Path, old: Path, run: Path
) -> None:
    filled = [one.format(corpus=corpus, old=old, run=run) for one in arguments]
    result = CliRunner().invoke(main, ["qa", *filled])
    assert (result.exit_code, said in result.stderr) == (code, True), result.output
    assert "Traceback" not in result.output


def test_no_command_writes_over_what_it_reads(
    corpus: Path, old: Path, run: Path, results: tuple[object, ...], tmp_path: Path
) -> None:
    recording = tmp_path / "night.wav"
    recording.write_bytes((corpus / "a.wav").read_bytes())
    bundle = tmp_path / "own.galago"
    bundle.write_bytes(old.read_bytes())
    gates = tmp_path / "gates.toml"
    gates.write_text('[[gate]]\nmeasure = "lost"\nat_most_count = 0\n')
    kept = {path: path.read_bytes() for path in (recording, bundle, gates)}

    for call in (
        ("replay", recording, "--bundle", bundle, "--out", recording),
        ("replay", recording, "--bundle", bundle, "--out", bundle),
        ("qa", "score", run, "--markdown", recording),
        ("qa", "diff", run, run, "--gates", gates, "--junit", gates),
        ("qa", "diff", run, run, "--gates", gates, "--markdown", gates),
    ):
        assert "[EXISTS]" in galago(*call, code=2).output

    assert {path: path.read_bytes() for path in kept} == kept
    for _ in range(2):  # a former report is written over
        galago("qa", "diff", run, run, "--gates", gates, "--junit", tmp_path / "qa.xml")


def test_a_folder_of_a_page_is_written_over_only_while_nothing_else_lies_in_it(
    run: Path, tmp_path: Path
) -> None:
    page = tmp_path / "page"
    for _ in range(2):
        galago("qa", "score", run, "--html", page)
    for mine in (page / "mine.txt", page / "media" / "mine.txt"):
        mine.touch()
        assert "[EXISTS]" in galago("qa", "score", run, "--html", page, code=2).output
        mine.unlink()
    galago("qa", "score", run, "--html", page)


@pytest.mark.parametrize("number", ["nan", "inf", "1e300", "-1"])
@pytest.mark.parametrize(
    "call",
    [
        ("score", "RUN", "--pre"),
        ("score", "RUN", "--max-delay"),
        ("score", "RUN", "--claim"),
        ("diff", "RUN", "RUN", "--tolerance"),
        ("tune", "RUN", "--false-per-day"),
        ("results", "clean", "RUN", "--older-than"),
    ],
)
def test_what_is_no_number_in_reason_is_refused(call: tuple[str, ...], number: str, run: Path) -> None:
    arguments = [run if one == "RUN" else one for one in call]

    assert "Invalid value" in galago("qa", *arguments, number, code=2).output


def test_a_recording_whose_name_no_list_can_hold_is_left_out_and_told(old: Path, tmp_path: Path) -> None:
    corpus = tmp_path / "nights"
    write_night(corpus / "a.wav", 300, seconds=4)
    write_night(corpus / "caf\udce9.wav", 3_100, seconds=4)

    told = galago("replay", corpus, "--bundle", old, "--out", tmp_path / "run", "--jobs", "1").stderr

    assert "left out: 1 (caf\\xe9.wav)" in told


def test_a_run_whose_results_are_of_other_recordings_is_refused(run: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(run, tmp_path / "run")
    listed = json.loads((copy / "run.json").read_text())
    first, second, *_ = listed["recordings"]
    first["digest"], second["digest"] = second["digest"], first["digest"]
    del listed["sha256"]
    forged = sealed_json(msgspec.convert(listed, ReplayRun))
    (copy / "run.json").write_bytes(forged)

    assert "it is of another recording or bundle" in galago("qa", "score", copy, code=1).output


def test_a_run_from_which_somebody_took_a_recording_gives_no_figure(run: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(run, tmp_path / "run")
    listed = json.loads((copy / "run.json").read_text())
    del listed["recordings"][0]
    (copy / "run.json").write_text(json.dumps(listed))
    why = ("qa", "why", "x", "--run", copy, "--label", "low", "--at", "1")
    for call in (("qa", "score", copy), ("qa", "diff", run, copy), ("qa", "diff", copy, run), why):
        told = galago(*call, code=1).stderr
        assert "run.json is not as galago replay writes it: its SHA-256 is " in told and "[RUN_BAD]" in told
