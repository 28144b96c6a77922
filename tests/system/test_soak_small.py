"""Small runs of what ``make soak``, ``make kills`` and ``make figures`` do at length: the same programs."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from real_parts import Broker, MissingPartError, RtspServer, SoundServer, missing_part

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def parts(tmp_path: Path) -> None:
    try:
        RtspServer(tmp_path), SoundServer(tmp_path), Broker(tmp_path)
    except MissingPartError as missing:
        missing_part(str(missing))


def run(program: str, tmp_path: Path, *options: str) -> tuple[dict[str, Any], str]:
    """Run a benchmark; return its figures and what it printed."""
    out = tmp_path / "figures.json"
    command = [sys.executable, "-m", program, *options, "--out", str(out)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600, cwd=ROOT)
    said = done.stdout + done.stderr
    assert out.exists(), said
    return json.loads(out.read_text()), said


def test_a_service_outlives_its_camera_microphone_broker_and_clock_and_loses_no_event(tmp_path: Path) -> None:
    """Recovery times and memory are the long run's to judge: this machine may be busy."""
    faults = "service is killed,RTSP camera stops,microphone is unplugged,broker is killed,a year ahead"
    options = ("--rounds", "1", "--settle", "4", "--seed", "1")
    found, said = run("campaigns.soak", tmp_path, "--faults", faults, *options)
    assert len(found["faults"]) == 5, said
    assert all(fault["recovery_s"] is not None for fault in found["faults"]), said
    assert found["cues"]["undisturbed"] >= 10, said
    assert found["cues"]["missed"] == 0, said
    for receiver, counts in found["deliveries"].items():
        assert counts["delivered"] == counts["expected"] > 0, (receiver, said)
        assert counts["lost"] == counts["numbers_missing"] == counts["told_lost"] == 0, (receiver, said)
    assert found["exit_code"] == 0, said


def test_killed_again_and_again_a_service_loses_no_event(tmp_path: Path) -> None:
    found, said = run("campaigns.kills", tmp_path, "--kills", "5", "--seed", "1")
    assert found["logged"] > 0, said
    for receiver, counts in found["deliveries"].items():
        assert counts["delivered"] >= found["logged"], (receiver, said)
        assert counts["lost"] == counts["numbers_missing"] == counts["told_lost"] == 0, (receiver, said)
        assert counts["unreadable"] == 0, (receiver, said)
    assert found["exit_code"] == 0, said
