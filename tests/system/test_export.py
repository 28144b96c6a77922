"""``galago export``: models in the forms of other tools, each read again before it is there."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from campaigns.mediapipe_env import ENVIRONMENT, READY
from galago_edge.commands.cli import main
from test_kit import make_bundle

LABELS = ["dark", "mid", "bright"]


def galago(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.fixture
def eyes(tmp_path: Path, tiny_image_model: bytes) -> Path:
    return make_bundle(tmp_path / "eyes.galago", tiny_image_model, LABELS)


@pytest.fixture
def ears(tmp_path: Path, tiny_audio_model: bytes) -> Path:
    return make_bundle(
        tmp_path / "ears.galago", tiny_audio_model, ["quiet", "low", "high"], modality="microphone"
    )


@pytest.fixture
def mediapipe_python() -> Path:
    if not READY.is_file():
        if os.environ.get("CI") == "true":
            pytest.fail("MediaPipe is not installed: make mediapipe")
        pytest.skip("MediaPipe is not installed: make mediapipe")
    return ENVIRONMENT / "bin" / "python"


def test_mediapipe_gives_the_answers_of_a_device(
    eyes: Path, ears: Path, tmp_path: Path, mediapipe_python: Path
) -> None:
    for bundle in (eyes, ears):
        out = tmp_path / bundle.stem
        result = galago("export", bundle, "--to", "mediapipe", "--python", mediapipe_python, "-o", out)
        assert result.exit_code == 0, result.output
        record = json.loads((out / "export.json").read_bytes())
        here, peer = record["agreement"]
        assert peer["reader"].startswith("mediapipe ")
        assert (peer["samples"], peer["same_top"]) == (3, 3) == (here["samples"], here["same_top"])
        assert peer["largest_difference"] < 0.05
        assert {"model.tflite", "labels.txt", "export.json"} == {path.name for path in out.iterdir()}


def test_a_python_without_mediapipe_is_one_line_and_nothing_is_replaced(eyes: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert galago("export", eyes, "--to", "mediapipe", "-o", out).exit_code == 0
    before = (out / "export.json").read_bytes()
    for python, reason in (("/bin/false", "EXPORT_FAILED"), (tmp_path / "nowhere", "TARGET_UNKNOWN")):
        result = galago("export", eyes, "--to", "mediapipe", "--python", python, "-o", out)
        assert result.exit_code != 0 and f"[{reason}]" in result.stderr, result.output
        assert len(result.stderr.splitlines()) == 2
    assert (out / "export.json").read_bytes() == before


@pytest.mark.parametrize("form", ["tflite-plain", "c-array"])
def test_the_device_s_own_network_is_exported_as_it_is(eyes: Path, tmp_path: Path, form: str) -> None:
    out = tmp_path / "out"
    result = galago("export", eyes, "--to", form, "-o", out, "--json")
    assert result.exit_code == 0, result.output
    record = json.loads(result.stdout)
    assert record == json.loads((out / "export.json").read_bytes())
    assert record["form"] == form and record["labels"] == LABELS
    assert record["agreement"] == [
        {**record["agreement"][0], "samples": 3, "same_top": 3, "largest_difference": 0.0}
    ]


def test_a_bundle_has_no_float_network(eyes: Path, tmp_path: Path) -> None:
    for form in ("onnx", "saved-model"):
        result = galago("export", eyes, "--to", form, "-o", tmp_path / "out")
        assert result.exit_code == 2 and "[CONFIG_BAD]" in result.stderr
        assert not (tmp_path / "out").exists()


def test_what_is_there_and_no_export_is_not_replaced(eyes: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("dear")
    result = galago("export", eyes, "--to", "tflite-plain", "-o", tmp_path / "mine")
    assert result.exit_code != 0 and "[EXISTS]" in result.stderr
    assert (tmp_path / "mine" / "letter.txt").read_text() == "dear"


def test_a_damaged_bundle_a_key_that_has_not_signed_and_nothing_at_all_are_one_line(
    eyes: Path, tmp_path: Path
) -> None:
    damaged = tmp_path / "damaged.galago"
    damaged.write_bytes(eyes.read_bytes()[:-5_000])
    for source in (damaged, tmp_path / "nowhere.galago", tmp_path):
        result = galago("export", source, "--to", "tflite-plain", "-o", tmp_path / "out")
        assert result.exit_code not in (0, None) and len(result.stderr.splitlines()) == 2, result.output
        assert not (tmp_path / "out").exists()
