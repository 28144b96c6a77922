"""Names of files are bytes: folders that are not UTF-8 serve as any other, and are shown with escapes."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from galago_edge.commands.cli import main
from galago_workstation.qa.recording_place import places_of_run
from galago_workstation.qa.replay_run import read_run
from test_kit.corpora import microphone_bundle, write_night

ODD = os.fsdecode(b"caf\xe9")


def galago(*args: str | Path) -> Result:
    result = CliRunner().invoke(main, [str(arg) for arg in args])
    assert result.exit_code == 0, result.output
    return result


@pytest.fixture
def odd(tmp_path: Path) -> Path:
    top = tmp_path / ODD
    write_night(top / "nights" / "a.wav", 300, seconds=2)
    return top


def test_a_corpus_and_results_in_folders_that_are_not_utf_8_are_replayed_kept_and_found_again(
    odd: Path, tiny_audio_model: bytes
) -> None:
    bundle = microphone_bundle(odd / "b.galago", tiny_audio_model)
    results, run = odd.parent / f"results-{ODD}", odd / "run"
    call = ("replay", odd / "nights", "--bundle", bundle, "--out", run, "--results", results, "--jobs", "1")
    assert "0 found as stored before" in galago(*call).stdout
    again = json.loads(galago(*call, "--json").stdout)
    assert [row["fresh"] for row in again["recordings"]] == [False]
    assert [one.recording for one in read_run(run)[0]] == ["a.wav"]
    (place,) = places_of_run(run).values()
    assert Path(place.address) == odd / "nights" / "a.wav"
    assert "1 result" in galago("qa", "results", "list", run).stdout
    assert "removed 0 results" in galago("qa", "results", "clean", results, "--keep", run, "--remove").stdout


def test_a_recording_whose_name_is_not_utf_8_is_replayed_and_labelled(
    tmp_path: Path, tiny_audio_model: bytes
) -> None:
    bundle = microphone_bundle(tmp_path / "b.galago", tiny_audio_model)
    night = write_night(tmp_path / f"{ODD}.wav", 300, seconds=2)
    call = ("replay", night, "--bundle", bundle, "--out", tmp_path / "run", "--jobs", "1", "--json")
    (row,) = json.loads(galago(*call).stdout)["recordings"]
    assert row["recording"].endswith(".wav") and row["events"] == 1
    assert [one.recording for one in read_run(tmp_path / "run")[0]] == ["caf\\xe9.wav"]
    track = tmp_path / f"{ODD}.txt"
    track.write_text("0.5\t1.0\tlow\n")
    shared = ("--format", "audacity", "--recording", night, "--json")
    told = json.loads(galago("qa", "labels", "import", track, *shared).stdout)
    assert told["events"] == 1
    labels = tmp_path / f"{ODD}.wav.labels.tsv"
    for kind in ("raven", "sed", "label-studio"):
        out = tmp_path / f"{kind}-{ODD}"
        galago("qa", "labels", "export", labels, "--format", kind, "--out", out, "--recording", night)
