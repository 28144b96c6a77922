"""A bundle that was built with one TFLite runtime is taken by a device that has the other."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from galago_devices import profile_text
from galago_edge.contract.modality import Modality
from test_kit import make_bundle, trust

CASES: list[tuple[Modality, str, list[str]]] = [
    ("camera", "tiny_image_model", ["dark", "mid", "bright"]),
    ("microphone", "tiny_audio_model", ["quiet", "low", "high"]),
]


@pytest.mark.parametrize(("modality", "model", "labels"), CASES, ids=lambda value: str(value))
def test_the_golden_samples_are_answered_alike(
    modality: Modality,
    model: str,
    labels: list[str],
    tmp_path: Path,
    request: pytest.FixtureRequest,
    tflite_runtime_python: Path,
) -> None:
    root = trust(tmp_path / "device")
    bundle = make_bundle(tmp_path / "x.galago", request.getfixturevalue(model), labels, modality=modality)
    command = [tflite_runtime_python, "-m", "galago_edge", "install", bundle, "--root", root, "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    answered = json.loads(done.stdout)["golden"]
    assert [sample["label"] for sample in answered] == labels
    assert max(sample["difference"] for sample in answered) <= 1


def test_a_profile_for_the_other_runtime_refuses_this_device(
    tmp_path: Path, tiny_image_model: bytes, tflite_runtime_python: Path
) -> None:
    root = trust(tmp_path / "device")
    (root / "profile.toml").write_text(profile_text("generic-x86-64"))
    bundle = make_bundle(tmp_path / "x.galago", tiny_image_model, ["dark", "mid", "bright"])
    command = [tflite_runtime_python, "-m", "galago_edge", "install", bundle, "--root", root]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "tflite-runtime 2.14.0 [RUNTIME_OLD]" in done.stderr or "[ARCH]" in done.stderr
    assert len(done.stderr.splitlines()) == 2
