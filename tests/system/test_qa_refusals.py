"""``galago qa`` on damaged recordings, on labels that contradict each other, on gates about nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

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
            assert "Failed, and not judged: 1 recordings (empty.wav: AUDIO_UNREADABLE)." in text
            assert "Read in part, the rest is a gap: 1 recordings (cut.wav: AUDIO_TRUNCATED)." in text
    made = tmp_path / "b.json"
    assert lost(answer("qa", "baseline", run, "--out", made, code=1))["failed"] == gone
    assert lost(answer("qa", "diff", "--baseline", made, run, code=1))["failed"] == gone
    why = ("qa", "why", "--run", run, "--label", "low", "--at", "1")
    assert lost(answer(*why, "cut.wav", code=1))["failed"] == gone
    assert "Error: empty.wav: " in galago(*why, "empty.wav", code=1).stderr


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
    assert "the labels of OLD and NEW contradict each other in 1 recordings: night.wav [DATA_BAD]" in told


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
