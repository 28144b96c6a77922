"""``galago classify`` with real, tiny models."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner, Result

from galago_edge.commands.cli import main
from galago_edge.contract.manifest import Label
from test_kit import make_bundle, wav_bytes

RATE_HZ = 16_000
GALAGO = (sys.executable, "-m", "galago_edge")


def galago(*args: str | Path) -> Result:
    return CliRunner().invoke(main, [str(arg) for arg in args])


@pytest.fixture
def camera(tmp_path: Path, tiny_image_model: bytes) -> Path:
    return make_bundle(tmp_path / "cam.galago", tiny_image_model, ["dark", "mid", "bright"])


@pytest.fixture
def microphone(tmp_path: Path, tiny_audio_model: bytes) -> Path:
    names = [Label(name="quiet", background=True), "low", "high"]
    return make_bundle(tmp_path / "mic.galago", tiny_audio_model, names, modality="microphone")


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "bright.png"
    cv2.imwrite(str(path), np.full((48, 64, 3), 225, np.uint8))
    return path


@pytest.fixture
def tone(tmp_path: Path) -> Path:
    time_s = np.arange(2 * RATE_HZ) / RATE_HZ
    samples = np.rint(12_000 * np.sin(2 * np.pi * 300 * time_s) * (time_s >= 1)).astype(np.int16)
    path = tmp_path / "tone.wav"
    path.write_bytes(wav_bytes(samples, RATE_HZ))
    return path


def test_an_image_is_one_line_with_the_best_three(picture: Path, camera: Path) -> None:
    result = galago("classify", picture, "--bundle", camera)
    assert result.exit_code == 0, result.output
    assert re.fullmatch(rf"{picture}: bright 0\.99\d \(mid 0\.00\d, dark 0\.000\)\n", result.stdout)
    assert result.stderr == ""


def test_a_sound_says_where_its_label_is_strongest(tone: Path, microphone: Path) -> None:
    result = galago("classify", tone, "--bundle", microphone)
    assert result.exit_code == 0, result.output
    path, label, score, at, where, *_ = result.stdout.split()
    assert (path, label, at) == (f"{tone}:", "low", "at")
    assert float(score) > 0.9
    start, end = where.split("-")
    assert 0.9 <= float(start) < float(end) <= 2


def test_json_holds_everything_for_programs(
    picture: Path, tone: Path, camera: Path, microphone: Path
) -> None:
    data = json.loads(galago("classify", picture, "--bundle", camera, "--json").stdout)
    assert (data["name"], data["version"], len(data["bundle"])) == ("tiny", "1.0.0", 64)
    (row,) = data["files"]
    assert (row["file"], row["label"], row["windows"], row["padded_samples"]) == (
        str(picture),
        "bright",
        1,
        0,
    )
    assert [entry["label"] for entry in row["top"]] == ["bright", "mid", "dark"]
    assert row["score"] == row["top"][0]["score"] > 0.99
    (row,) = json.loads(galago("classify", tone, "--bundle", microphone, "--json").stdout)["files"]
    assert row["label"] == "low"
    assert row["top"][0]["start_ns"] > 900_000_000


def test_a_file_that_fails_is_told_and_the_others_are_still_shown(
    picture: Path, tone: Path, camera: Path, tmp_path: Path
) -> None:
    (tmp_path / "bad.png").write_bytes(picture.read_bytes()[:60])
    files = (tmp_path / "bad.png", tmp_path / "none.png", tone, picture)
    result = galago("classify", *files, "--bundle", camera)
    assert result.exit_code == 1
    assert result.stdout.startswith(f"{picture}: bright ") and result.stdout.count("\n") == 1
    errors = result.stderr.splitlines()
    assert [line.rpartition("[")[2] for line in errors] == [
        "IMAGE_UNREADABLE]",
        "SOURCE_MISSING]",
        "SOURCE_MISMATCH]",
    ]
    data = json.loads(galago("classify", *files, "--bundle", camera, "--json").stdout)
    assert [row.get("error", {}).get("reason") for row in data["files"]] == [
        "IMAGE_UNREADABLE",
        "SOURCE_MISSING",
        "SOURCE_MISMATCH",
        None,
    ]


def test_an_unreadable_image_is_one_line_of_the_whole_process(camera: Path, tmp_path: Path) -> None:
    """Also what the C libraries below would like to say."""
    picture = cv2.imencode(".png", np.full((48, 64, 3), 9, np.uint8))[1].tobytes()
    (tmp_path / "bad.png").write_bytes(picture[:60] + b"x" + picture[61:])
    command = [
        sys.executable,
        "-m",
        "galago_edge",
        "classify",
        str(tmp_path / "bad.png"),
        "--bundle",
        str(camera),
    ]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"Error: {tmp_path / 'bad.png'} is ") and line.endswith("[IMAGE_UNREADABLE]")


def test_a_sound_shorter_than_a_window_is_shown_with_what_was_added(microphone: Path, tmp_path: Path) -> None:
    (tmp_path / "short.wav").write_bytes(wav_bytes(np.zeros(1_000, np.int16), RATE_HZ))
    result = galago("classify", tmp_path / "short.wav", "--bundle", microphone)
    assert "[shorter than a window: 2520 zeros added]" in result.stdout
    (row,) = json.loads(galago("classify", tmp_path / "short.wav", "--bundle", microphone, "--json").stdout)[
        "files"
    ]
    assert (row["padded_samples"], row["windows"]) == (2_520, 1)


def test_a_conversion_is_in_the_data(microphone: Path, tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(wav_bytes(np.zeros(48_000, np.int16), 48_000))
    (row,) = json.loads(galago("classify", tmp_path / "a.wav", "--bundle", microphone, "--json").stdout)[
        "files"
    ]
    assert row["conversion"]["from"]["rate_hz"] == 48_000
    assert row["conversion"]["resampler"] == "polyphase/1 1/3"


@pytest.mark.parametrize("missing", ["cv2", "av", "soxr"])
def test_a_base_install_classifies_a_wav(missing: str, tone: Path, microphone: Path) -> None:
    """Without OpenCV, PyAV and soxr."""
    script = f"""
import sys
sys.modules[{missing!r}] = None
from galago_edge.commands.cli import main
main()
"""
    command = [sys.executable, "-c", script, "classify", str(tone), "--bundle", str(microphone)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"{tone}: low")
    assert done.stderr == ""
