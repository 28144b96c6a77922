"""Small runs of what ``make crash`` does at length with real processes: the same programs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from real_parts import MissingPartError, missing_part
from real_parts.processes import tool

ROOT = Path(__file__).parents[2]
MEMORY = ("--folder", "/dev/shm") if Path("/dev/shm").is_dir() else ()
"""Where nothing waits for a disk: what is killed or told a fault does not care."""
SCENARIOS = ("update", "rollback", "start")


@pytest.fixture(autouse=True)
def parts() -> None:
    try:
        tool("strace")
    except MissingPartError as missing:
        missing_part(str(missing))


def run(program: tuple[str, str], tmp_path: Path, *options: str) -> tuple[dict[str, Any], str]:
    """Run a campaign, ``-m MODULE`` or ``-c CODE``; return its figures and what it printed."""
    out = tmp_path / "figures.json"
    command = [sys.executable, *program, *options, "--out", str(out)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600, cwd=ROOT)
    said = done.stdout + done.stderr
    if not out.exists() and "Error: no " in said:  # such as the right to trace or to mount
        missing_part(said)
    assert out.exists(), said
    figures: dict[str, Any] = json.loads(out.read_text())
    assert (done.returncode == 0) == (figures["broken"] in (0, [])), said
    return figures, said


def test_a_kill_or_a_failing_call_anywhere_bricks_nothing(tmp_path: Path) -> None:
    """One in many of the system calls."""
    found, said = run(
        ("-m", "campaigns.crash_syscalls"), tmp_path, "--scenarios", ",".join(SCENARIOS),
        "--tampers", "KILL,EIO", "--step", "29", "--kills", "6", *MEMORY,
    )  # fmt: skip
    tallies = {(tally["scenario"], tally["tamper"]): tally for tally in found["tallies"]}
    for scenario in SCENARIOS:
        killed, failed = tallies[scenario, "KILL"], tallies[scenario, "EIO"]
        assert killed["endings"] == {"killed": killed["attempts"]} and killed["attempts"] >= 5, said
        assert failed["attempts"] >= 5 and failed["endings"]["IO"] >= 1, said
        assert tallies[scenario, "random"]["attempts"] == 2, said
    assert found["broken"] == 0, said


def test_readers_never_see_a_mixture_and_nobody_waits_for_a_frozen_installer(tmp_path: Path) -> None:
    found, said = run(
        ("-m", "campaigns.crash_crowd"),
        tmp_path,
        "--rounds",
        "4",
        "--readers",
        "1",
        "--frozen-s",
        "0.3",
        "--locked-s",
        "120",  # on a busy machine; while the other one is frozen in any case
        *MEMORY,
    )
    assert found["readings"] >= 10 and found["changes_seen"] >= 1, said
    assert found["endings"]["done"] >= 4 and found["endings"]["LOCKED"] >= 2, said
    assert found["broken"] == [], said


@pytest.mark.parametrize("kind", ["ext4", "tmpfs", "inodes"])
def test_a_disk_with_any_room_is_called_full_or_takes_it_whole(tmp_path: Path, kind: str) -> None:
    if os.geteuid() != 0:
        missing_part("this user may not mount a small disk")
    options = ("--kinds", kind, "--scenarios", "update,commit,start", "--step", "4")
    found, said = run(("-m", "campaigns.crash_full_disk"), tmp_path, *options)
    endings = {tally["scenario"]: tally["endings"] for tally in found["tallies"]}
    assert endings["check first"] == {"NO_SPACE": 4}, said
    for scenario in ("update", "commit"):
        assert endings[scenario]["done"] == 3 and endings[scenario]["NO_SPACE"] >= 1, said
    assert found["broken"] == 0, said


BREAKAGES = {
    "the record is written in place": (
        """
from galago_edge.store import store_change
def publish(change, state):
    files = [(change.store.root / name).open("ab", buffering=0) for name in store_change.COPY_NAMES]
    for file in files:
        file.truncate(0)
    for file in files:
        file.write(store_change.encode_state(state))
    change.committed = True
store_change.StoreChange.publish = publish
""",
        (
            "campaigns.crash_syscalls",
            "--scenarios",
            "commit",
            "--tampers",
            "KILL",
            "--calls",
            "write",
            "--kills",
            "0",
        ),
        "V7: the next start ended with STATE_BAD",
    ),
    "a trial is loaded where its load cannot be counted": (
        """
from galago_edge.store import boot
boot._on_trial = lambda state, name: False
""",
        (
            "campaigns.crash_syscalls",
            "--scenarios",
            "start",
            "--tampers",
            "EROFS",
            "--calls",
            "renameat",
            "--kills",
            "0",
        ),
        "a load that is not counted",
    ),
}


@pytest.mark.parametrize("breakage", BREAKAGES)
def test_the_campaigns_find_a_store_that_breaks_its_promises(tmp_path: Path, breakage: str) -> None:
    patch, (program, *options), found = BREAKAGES[breakage]
    broken = f"import runpy\n{patch}\nrunpy.run_module({program!r}, run_name='__main__', alter_sys=True)\n"
    _, said = run(("-c", broken), tmp_path, *options, *MEMORY)
    assert found in said
