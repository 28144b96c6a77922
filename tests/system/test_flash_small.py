"""A small run of what ``make flash-twelve`` does with twelve devices: the same program."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from galago_edge.host.machine import this_arch
from real_parts import MissingPartError, SshServer, missing_part

ROOT = Path(__file__).parents[2]


def test_some_of_many_devices_are_broken_and_each_says_its_own_truth(tmp_path: Path) -> None:
    if this_arch() not in ("x86_64", "aarch64"):
        pytest.skip(f"the catalogue has no board for {this_arch()}")
    try:
        SshServer(tmp_path)
    except MissingPartError as missing:
        missing_part(str(missing))
    out = tmp_path / "figures.json"
    only = "card-1,card-4,barn-1,attic,cellar"
    command = [
        sys.executable,
        "-m",
        "campaigns.flash_twelve",
        "--only",
        only,
        "--out",
        str(out),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600, cwd=ROOT)
    said = done.stdout + done.stderr
    assert out.exists(), said
    found = json.loads(out.read_text())
    assert found["missed"] == [], said
    assert (found["first"]["exit"], found["retry"]["exit"], done.returncode) == (1, 0, 0), said
    assert len(found["devices"]) == 5, said
