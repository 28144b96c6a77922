"""The quiet hour, some minutes of it with tiny models: the gates spare the work and cost no event."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from msgspec import UnsetType

from campaigns import quiet_hour
from galago_edge.commands.cli import main
from galago_edge.contract.manifest import Gate, Label, LabelPolicy, LevelGate
from galago_edge.contract.streams import AudioBlock
from test_kit import make_bundle, wav_bytes

POLICY = LabelPolicy(on=0.7, off=0.4, smoothing_windows=3, min_count=2)
CAMERA = [
    Label(name="dark", policy=POLICY),
    Label(name="usual", background=True),
    Label(name="bright", policy=POLICY),
]
MICROPHONE = [
    Label(name="quiet", background=True),
    Label(name="low", background=True),
    Label(name="high", policy=POLICY),
]
NOISE = 1.0
"""The tiny model takes anything louder for a sound."""


def test_a_camera_spares_most_windows_and_loses_no_event(tmp_path: Path, tiny_image_model: bytes) -> None:
    def bundle(gate: Gate | UnsetType) -> Path:
        return make_bundle(tmp_path / "cam.galago", tiny_image_model, CAMERA, gate=gate)

    found = quiet_hour.compare("camera", bundle, lambda: quiet_hour.hall(1_200, 48, 64))
    assert found["events"] == found["events_gated"] == quiet_hour.SLOTS
    assert found["same_events"] and found["same_replay"]
    assert found["windows"] == 1_200 * quiet_hour.FPS
    assert found["run"] < found["windows"] / 2


def test_a_microphone_spares_most_windows_and_loses_no_event(tmp_path: Path, tiny_audio_model: bytes) -> None:
    def bundle(gate: Gate | UnsetType) -> Path:
        path = tmp_path / "mic.galago"
        return make_bundle(path, tiny_audio_model, MICROPHONE, modality="microphone", gate=gate)

    found = quiet_hour.compare("microphone", bundle, lambda: quiet_hour.room(480, NOISE))
    assert found["events"] == found["events_gated"] >= quiet_hour.SLOTS
    assert found["same_events"] and found["same_replay"]
    assert found["run"] < found["windows"] / 2


def test_replays_of_a_recording_skip_the_same_windows(tmp_path: Path, tiny_audio_model: bytes) -> None:
    """Through the command: the same bytes each time, however the sound is cut."""
    blocks = [item.samples for item in quiet_hour.room(60, NOISE) if isinstance(item, AudioBlock)]
    recording = tmp_path / "night.wav"
    recording.write_bytes(wav_bytes(np.concatenate(blocks), quiet_hour.RATE_HZ))
    bundle = make_bundle(
        tmp_path / "mic.galago",
        tiny_audio_model,
        MICROPHONE,
        modality="microphone",
        gate=LevelGate(hold_ms=500),
    )

    def replayed(name: str, *options: str) -> list[str]:
        out = tmp_path / name
        result = CliRunner().invoke(
            main, ["replay", str(recording), "--bundle", str(bundle), "--out", str(out), *options]
        )
        assert result.exit_code == 0, result.output
        return out.read_text().splitlines()

    first, second = replayed("a.jsonl", "--scores"), replayed("b.jsonl", "--scores", "--block-samples", "777")
    assert first == second
    records = [json.loads(line) for line in first]
    windows = [record for record in records if record["kind"] == "scores"]
    skipped = [record for record in windows if "skipped" in record]
    assert 0 < len(skipped) < len(windows)
    assert all(record["skipped"] == "gate" and record["scores"] == [] for record in skipped)
    assert records[0]["detail"]["gate"] == "level"
    assert records[-1]["detail"]["skipped"] == len(skipped)
    without_scores = [json.loads(line) for line in replayed("c.jsonl")]
    assert without_scores == [record for record in records if record["kind"] != "scores"]
    assert {record["state"] for record in without_scores if record.get("subject") == "gate"} == {
        "open",
        "closed",
    }


@pytest.mark.parametrize("missing", ["events", "replay"])
def test_the_table_says_when_something_differs(missing: str) -> None:
    found = {
        "windows": 10,
        "run": 5,
        "cpu_s": 1.0,
        "cpu_gated_s": 0.1,
        "events": 2,
        "events_gated": 1,
        "same_events": missing != "events",
        "same_replay": missing != "replay",
        "first_difference": [("bright", 1, 2), None],
    }
    text = quiet_hour.table({"camera": found}, 60)
    assert ("OTHER EVENTS" in text) == (missing == "events")
    assert ("A REPLAY DIFFERS" in text) == (missing == "replay")
