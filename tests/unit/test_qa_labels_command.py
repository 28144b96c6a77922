"""``galago qa labels``: what it writes, says and refuses."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner, Result

from galago_edge.commands.cli import main
from galago_edge.sources.recording_digest import recording_sha256
from galago_workstation.qa.label_file import read_labels
from galago_workstation.qa.replayed import Truth
from test_kit.corpora import write_night
from test_kit.recorded import block, jpeg_frame, write_recording

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


@pytest.mark.parametrize("kind", ["a cut WAV", "a killed recording", "the same, called .mcap"])
def test_labels_of_a_recording_that_is_cut_off_are_taken_and_held_as_scores_do(
    tmp_path: Path, kind: str
) -> None:
    """It can be read up to 1.5 s; how long it was the header says, or only whoever labelled it."""
    recording = cut_sound(tmp_path, kind)
    track = tmp_path / "track.txt"
    track.write_text("0.500000\t1.000000\tsmoke\n1.250000\t2.000000\tdoor\n3.000000\t3.500000\tsmoke\n")
    asked = ("import", track, "--format", "audacity", "--recording", recording)
    result = run(*asked)
    assert result.exit_code == 0, result.output
    (said,) = result.stderr.splitlines()
    assert said.startswith("read in part, 1.5 s of it: ") and "[AUDIO_TRUNCATED]" in said
    assert said.endswith("; 2 labels reach behind that, where nobody watched")
    labels = recording.with_name(f"{recording.name}.labels.tsv")
    found = read_labels(labels, sha256=recording_sha256(recording)).truth
    assert [one.end_ns for one in found.events] == [S, 2 * S, 3500 * MS]
    told = json.loads(run(*asked, "--replace", "--json").stdout)
    assert (told["read_to_ns"], told["loss"]["reason"]) == (1500 * MS, "AUDIO_TRUNCATED")
    proposals = tmp_path / "x.proposed.tsv"
    proposals.write_text("start_ns\tend_ns\tlabel\tproposed\n3000000000\t3500000000\tsmoke\t0.8000\n")
    confirmed = run("confirm", proposals, "--recording", recording, "--out", tmp_path / "x.labels.tsv")
    assert confirmed.exit_code == 0 and "1 label reaches behind that" in confirmed.stderr


def test_behind_the_length_that_the_header_of_a_cut_recording_tells_there_is_no_label(tmp_path: Path) -> None:
    recording, track = cut_sound(tmp_path, "a cut WAV"), tmp_path / "track.txt"
    track.write_text("9.000000\t9.500000\tsmoke\n")
    asked = ("import", track, "--format", "audacity", "--recording")
    result = run(*asked, recording)
    assert result.exit_code == 1 and "behind the recording's end at 4000000000 ns" in result.output
    killed = cut_sound(tmp_path, "a killed recording")  # nobody knows how long it was
    assert run(*asked, killed).exit_code == 0


def cut_sound(folder: Path, kind: str) -> Path:
    if kind == "a cut WAV":
        path = sound(folder)
        path.write_bytes(path.read_bytes()[: 44 + 2 * 24_000])
        return path
    blocks = [block(first, range(8_000)) for first in (0, 8_000, 16_000)]
    path = write_recording(folder / "porch.mcap", {"mic": ("microphone", blocks)}, end=False, chunk_bytes=1)
    return path.rename(folder / "porch.mcap") if kind.endswith(".mcap") else path


def test_frames_behind_the_cut_have_no_time_and_are_counted(tmp_path: Path) -> None:
    frames = [jpeg_frame(number, number * 100 * MS) for number in range(3)]
    recording = write_recording(
        tmp_path / "hall.mcap", {"camera": ("camera", frames)}, end=False, chunk_bytes=1
    )
    xml, task = tmp_path / "task.xml", tmp_path / "task.json"
    xml.write_text(
        "<annotations>"
        + "".join(f'<image id="{number}"><tag label="car"/></image>' for number in range(1, 6))
        + '<image id="9"><tag label="dog"/></image></annotations>'
    )
    ranges = [{"start": 2, "end": 6}, {"start": 10, "end": 10}]
    region = {"type": "timelinelabels", "value": {"ranges": ranges, "timelinelabels": ["car"]}}
    task.write_text(json.dumps([{"data": {}, "annotations": [{"result": [region]}]}]))
    out = recording.with_name(f"{recording.name}.labels.tsv")
    for file, kind in ((xml, "cvat"), (task, "label-studio")):
        result = run("import", file, "--format", kind, "--recording", recording)
        assert result.exit_code == 0, result.output
        assert read_labels(out).truth.events == (Truth(100 * MS, 300 * MS, "car"),)
        assert "not taken over: frame behind the end of what can be read, 4 times" in result.stdout
        assert "read in part, 0.3 s of it: " in result.stderr and "VIDEO_TRUNCATED" in result.stderr
        out.unlink()


def test_frames_of_a_recording_that_is_damaged_before_its_end_have_no_numbers(tmp_path: Path) -> None:
    recording = pictures(tmp_path)
    (recording / "001.png").write_bytes(b"no picture")
    xml, track = tmp_path / "task.xml", tmp_path / "hall.txt"
    xml.write_text('<annotations><image id="2"><tag label="car"/></image></annotations>')
    assert run("import", xml, "--format", "cvat", "--recording", recording).exit_code == 1
    track.write_text("0.100000\t0.300000\tcar\n")
    taken = run("import", track, "--format", "audacity", "--recording", recording)
    assert taken.exit_code == 0 and "read in part: " in taken.stderr
    track.write_text("0.100000\t9.000000\tcar\n")
    refused = run("import", track, "--format", "audacity", "--recording", recording, "--replace")
    assert "behind the recording's end" in refused.stderr


def test_nothing_that_can_be_read_is_no_recording(tmp_path: Path) -> None:
    recording, track = tmp_path / "porch.wav", tmp_path / "porch.txt"
    recording.write_bytes(sound(tmp_path).read_bytes()[:44])
    track.write_text("1\t2\tsmoke\n")
    result = run("import", track, "--format", "audacity", "--recording", recording)
    assert result.exit_code == 1 and "AUDIO_" in result.stderr
    assert not (tmp_path / "porch.wav.labels.tsv").exists()


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
