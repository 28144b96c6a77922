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
NOT_OWN = "is no plain file, a key or policy.toml is expected"
"""Said where it stands among the keys: somebody has put it there, and nothing of that folder is believed."""


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
    foreign = table.name == "policy.toml" and request.param == "pipe"
    return f"{table} {NOT_OWN if foreign else SAID[request.param]}"


def galago(*args: object) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, "-m", "galago_edge", *map(str, args)]
    return subprocess.run(words, capture_output=True, text=True, timeout=4 * DEADLINE_S, check=False)


def root_of(table: Path) -> Path:
    return table.parent if table.name == "profile.toml" else table.parent.parent


def test_status_says_it_in_one_line(table: Path, odd: str) -> None:
    done = galago("status", "--root", root_of(table))
    foreign = NOT_OWN in odd
    lines = [line for line in (done.stderr if foreign else done.stdout).splitlines() if odd in line]
    assert done.returncode == (3 if foreign else 1) and len(lines) == 1, done.stdout + done.stderr
    assert ("[NOT_OWN]" if foreign else "[CONFIG_BAD]") in lines[0]
    assert "Traceback" not in done.stderr


def test_install_refuses_in_one_line_and_installs_nothing(
    table: Path, odd: str, tmp_path: Path, tiny_image_model: bytes
) -> None:
    bundle = make_bundle(tmp_path / "a.galago", tiny_image_model, LABELS)
    done = galago("install", bundle, "--root", root_of(table))
    error, hint = done.stderr.splitlines()
    code, reason, help_ = (3, "[NOT_OWN]", "find out") if NOT_OWN in odd else (2, "[CONFIG_BAD]", "see docs/")
    assert done.returncode == code and error.startswith("Error: ") and error.endswith(reason)
    assert odd in error and hint.startswith(f"Hint: {help_}")
    assert not (root_of(table) / "state.a").exists()


def test_doctor_finds_it_and_goes_on(table: Path, odd: str) -> None:
    done = galago("doctor", "--root", root_of(table))
    said = done.stdout.splitlines()
    found = [number for number, line in enumerate(said) if odd in line]
    assert done.returncode == 1 and len(found) == 1, done.stdout + done.stderr
    fix = "find out" if NOT_OWN in odd else "see docs/"
    assert said[found[0]].startswith("fail") and said[found[0] + 1].startswith(f"      fix: {fix}")
    assert said[-1].endswith("ok") and "Traceback" not in done.stderr  # it came to its end
