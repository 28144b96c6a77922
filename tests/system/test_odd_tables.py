"""A pipe or a file without an end, where a device keeps its policy and its profile, hangs no command.

The commands run as processes of their own, so that one that waits for such a file ends with its test.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from real_parts.processes import DEADLINE_S
from test_kit import make_bundle, trust

LABELS = ["dark", "mid", "bright"]
SAID = {"pipe": "is no plain file, a TOML file is needed", "huge": f"has {1 << 40} bytes, at most"}


@pytest.fixture(params=["trust/policy.toml", "profile.toml"])
def table(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    root = trust(tmp_path / "device")
    path: Path = root / request.param
    return path


@pytest.fixture(params=["pipe", "huge"])
def odd(request: pytest.FixtureRequest, table: Path) -> str:
    if request.param == "pipe":
        os.mkfifo(table)
    else:
        table.touch()
        os.truncate(table, 1 << 40)
    said = f"{table} {SAID[request.param]}"
    assert isinstance(said, str)
    return said


def galago(*args: object) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, "-m", "galago_edge", *map(str, args)]
    return subprocess.run(words, capture_output=True, text=True, timeout=4 * DEADLINE_S, check=False)


def root_of(table: Path) -> Path:
    return table.parent if table.name == "profile.toml" else table.parent.parent


def test_status_says_it_in_one_line(table: Path, odd: str) -> None:
    done = galago("status", "--root", root_of(table))
    lines = [line for line in done.stdout.splitlines() if odd in line]
    assert done.returncode == 1 and len(lines) == 1 and "[CONFIG_BAD]" in lines[0], done.stdout + done.stderr
    assert "Traceback" not in done.stderr


def test_install_refuses_in_one_line_and_installs_nothing(
    table: Path, odd: str, tmp_path: Path, tiny_image_model: bytes
) -> None:
    bundle = make_bundle(tmp_path / "a.galago", tiny_image_model, LABELS)
    done = galago("install", bundle, "--root", root_of(table))
    error, hint = done.stderr.splitlines()
    assert done.returncode == 2 and error.startswith("Error: ") and error.endswith("[CONFIG_BAD]")
    assert odd in error and hint.startswith("Hint: see docs/")
    assert not (root_of(table) / "state.a").exists()


def test_doctor_finds_it_and_goes_on(table: Path, odd: str) -> None:
    done = galago("doctor", "--root", root_of(table))
    said = done.stdout.splitlines()
    found = [number for number, line in enumerate(said) if odd in line]
    assert done.returncode == 1 and len(found) == 1, done.stdout + done.stderr
    assert said[found[0]].startswith("fail") and said[found[0] + 1].startswith("      fix: see docs/")
    assert said[-1].endswith("ok") and "Traceback" not in done.stderr  # it came to its end
