"""``galago qa labels``: what it writes, says and refuses."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import cv2
import numpy as np
from click.testing import CliRunner, Result

from galago_edge.commands.cli import main
from galago_edge.sources.recording_digest import recording_sha256
from galago_workstation.qa.label_file import read_labels
from galago_workstation.qa.replayed import Truth
from test_kit.corpora import write_night

S, MS = 1_000_000_000, 1_000_000


def run(*args: object) -> Result:
    return CliRunner().invoke(main, ["qa", "labels", *map(str, args)])


def sound(folder: Path) -> Path:
    return write_night(folder / "porch.wav", seconds=4)


def pictures(folder: Path) -> Path:
    """Four pictures at no fixed rate."""
    recording = folder / "hall"
    recording.mkdir()
    names = [f"{number:03d}.png" for number in range(4)]
    for name in names:
        cv2.imwrite(str(recording / name), np.zeros((8, 8, 3), np.uint8))
    rows = "".join(
        f"{name},{ns}\n" for name, ns in zip(names, (0, 100 * MS, 300 * MS, 350 * MS), strict=True)
    )
    (recording / "times.csv").write_text(f"file,time_ns\n{rows}")
    return recording


def test_labels_come_from_audacity_and_go_back(tmp_path: Path) -> None:
    recording, track = sound(tmp_path), tmp_path / "porch.txt"
    track.write_text("1.000000\t2.500000\tsmoke\n\\\t100\t200\n3.000000\t4.000000\t(ignore)\n")
    result = run("import", track, "--format", "audacity", "--recording", recording)
    assert result.exit_code == 0, result.output
    out = tmp_path / "porch.wav.labels.tsv"
    assert result.output.splitlines() == [
        f"{out}: 1 event (1 smoke), 1 stretch to be ignored",
        "not taken over: range of frequencies, 1 time",
    ]
    found = read_labels(out)
    assert found.truth.events == (Truth(S, 2500 * MS, "smoke"),)
    assert found.sha256 == hashlib.sha256(recording.read_bytes()).hexdigest()
    back = tmp_path / "back.txt"
    assert run("export", out, "--format", "audacity", "--out", back).exit_code == 0
    assert back.read_text() == "1.000000\t2.500000\tsmoke\n3.000000\t4.000000\t(ignore)\n"


def test_frames_become_times_by_the_recordings_own_table(tmp_path: Path) -> None:
    recording, xml = pictures(tmp_path), tmp_path / "task.xml"
    xml.write_text('<annotations><image id="1"><tag label="car"/></image></annotations>')
    result = run("import", xml, "--format", "cvat", "--recording", recording, "--json")
    assert result.exit_code == 0, result.output
    out = Path(json.loads(result.output)["path"])
    assert read_labels(out, sha256=recording_sha256(recording)).truth.events == (
        Truth(100 * MS, 300 * MS, "car"),
    )
    back = tmp_path / "back.xml"
    assert run("export", out, "--format", "cvat", "--out", back, "--recording", recording).exit_code == 0
    assert '<image id="1"' in back.read_text()


def test_frames_without_a_recording_are_one_line_and_write_nothing(tmp_path: Path) -> None:
    xml = tmp_path / "task.xml"
    xml.write_text('<annotations><image id="1"><tag label="car"/></image></annotations>')
    result = run("import", xml, "--format", "cvat", "--out", tmp_path / "x.labels.tsv")
    assert result.exit_code == 1
    assert "line 1: is about frame 1, expected times" in result.output
    assert not (tmp_path / "x.labels.tsv").exists()


def test_labels_that_are_there_are_not_written_over(tmp_path: Path) -> None:
    recording, track = sound(tmp_path), tmp_path / "porch.txt"
    track.write_text("1\t2\tsmoke\n")
    out = tmp_path / "porch.wav.labels.tsv"
    out.write_text("mine")
    result = run("import", track, "--format", "audacity", "--recording", recording)
    assert (result.exit_code, out.read_text()) == (2, "mine")
    assert "exists, expected a new file" in result.output
    refused = run("import", track, "--format", "audacity", "--recording", recording, "--replace")
    assert (refused.exit_code, out.read_text()) == (2, "mine")
    out.write_text("# mine\nstart_ns\tend_ns\tlabel\n")
    assert run("import", track, "--format", "audacity", "--recording", recording, "--replace").exit_code == 0


def test_labels_of_another_recording_are_not_exported(tmp_path: Path) -> None:
    recording, labels = sound(tmp_path), tmp_path / "x.labels.tsv"
    labels.write_text(f"# recording sha256 {'ab' * 32}\nstart_ns\tend_ns\tlabel\n")
    result = run("export", labels, "--format", "sed", "--out", tmp_path / "o", "--recording", recording)
    assert result.exit_code == 1
    assert "is about the recording with the SHA-256" in result.output


def test_lines_out_of_order_are_said(tmp_path: Path) -> None:
    labels = tmp_path / "x.labels.tsv"
    labels.write_text("start_ns\tend_ns\tlabel\n5\t6\ta\n1\t2\ta\n")
    result = run("export", labels, "--format", "sed", "--out", tmp_path / "o")
    assert "1 line begins before the line above it; sorted now" in result.output


def test_it_must_be_known_where_to_write_and_what_is_named_must_be_there(tmp_path: Path) -> None:
    assert run("import", tmp_path / "x", "--format", "sed").exit_code == 2
    result = run("import", tmp_path / "x", "--format", "sed", "--recording", tmp_path / "none.wav")
    assert result.exit_code == 3


def test_what_lies_behind_the_end_of_a_sound_is_refused_and_its_rounding_cut_off(tmp_path: Path) -> None:
    recording, track = sound(tmp_path), tmp_path / "porch.txt"
    track.write_text("1.000000\t4.250000\tsmoke\n")
    asked = ("--format", "audacity", "--recording", recording)
    result = run("import", track, *asked)
    assert result.exit_code == 1 and not (tmp_path / "porch.wav.labels.tsv").exists()
    assert "line 1: smoke ends at 4250000000 ns, behind the recording's end at 4000000000 ns" in result.output
    track.write_text("1.000000\t4.000100\tsmoke\n")
    assert run("import", track, *asked).exit_code == 0
    assert read_labels(tmp_path / "porch.wav.labels.tsv").truth.events == (Truth(S, 4 * S, "smoke"),)


def test_proposals_become_labels_when_a_person_says_that_they_are_right(tmp_path: Path) -> None:
    recording, proposals = sound(tmp_path), tmp_path / "porch.wav.proposed.tsv"
    rows = "1000000000\t2000000000\tsmoke\t0.8300\n3000000000\t3500000000\tdoor\t\n"
    head = f"# recording sha256 {recording_sha256(recording)}\nstart_ns\tend_ns\tlabel\tproposed\n"
    proposals.write_text(head + rows)
    out = tmp_path / "porch.wav.labels.tsv"
    for options in ((), ("--recording", recording)):
        out.unlink(missing_ok=True)
        result = run("confirm", proposals, *options)
        assert result.exit_code == 0, result.output
        assert result.output.splitlines() == [f"{out}: 2 events (1 door, 1 smoke)"]
        found = read_labels(out)
        assert found.truth.events == (Truth(S, 2 * S, "smoke"), Truth(3 * S, 3500 * MS, "door"))
        assert found.sha256 == recording_sha256(recording)
    mine = out.read_bytes()
    assert run("confirm", proposals).exit_code == 2 and out.read_bytes() == mine
    other = write_night(tmp_path / "other.wav", tone_hz=500, seconds=4)
    result = run("confirm", proposals, "--recording", other)
    assert result.exit_code == 1 and "is about the recording with the SHA-256" in result.output
    odd = tmp_path / "odd.tsv"
    odd.write_bytes(proposals.read_bytes())
    assert "is not called RECORDING.proposed.tsv" in run("confirm", odd).output
