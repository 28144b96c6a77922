"""docs/qa-ci.md, played as it stands: its files written, its blocks run, its workflow's steps taken."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import msgspec
import pytest
import yaml

from galago_edge.bundle.keys import key_id, public_line
from galago_workstation.qa.label_file import write_labels
from galago_workstation.qa.replayed import Truth, TruthList
from test_kit import TEST_KEY, make_bundle
from test_kit.corpora import policy_labels, write_night

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/qa-ci.md").read_text(encoding="utf-8")
FILES = dict(re.findall(r"^```\w+\n# ([\w./-]+)\n(.*?)^```\n", PAGE, re.M | re.S))
"""What the page shows as a file."""
RELEASE, AFTER = re.findall(r"^```sh\n(?!# )(.*?)^```\n", PAGE, re.M | re.S)
"""What a person calls, before and after a release."""
S = 1_000_000_000


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory, tiny_audio_model: bytes) -> Path:
    """The folder that the page describes, with two bundles that say the same; the first block was run."""
    folder = tmp_path_factory.mktemp("ci") / "team"
    for name, tone_hz, label in (("a", 300, "low"), ("b", 3_100, "high"), ("c", 0, "")):
        path = write_night(folder / "corpus" / f"{name}.wav", tone_hz, seconds=4)
        truth = TruthList((Truth(S, 2 * S, label),) if label else ())
        write_labels(path.with_name(f"{path.name}.labels.tsv"), truth)
    write_night(folder / "golden" / "night.wav", 300)
    labels = policy_labels("quiet", "low", "high")
    for version in ("1.0.0", "1.1.0"):
        path = folder / f"alarms-{version}.galago"
        counter = 1 + (version == "1.1.0")
        make_bundle(
            path, tiny_audio_model, labels, modality="microphone", name="alarms", version=version,
            release_counter=counter,
        )  # fmt: skip
    (folder / "release.key.pub").write_text(public_line(key_id(TEST_KEY), "release"))
    for name, content in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content)
    command = folder / "bin" / "galago"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -m galago_edge "$@"\n')
    command.chmod(0o755)
    done = run(folder, RELEASE)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture
def team(repository: Path, tmp_path: Path) -> Path:
    """A checkout of it, in which a run of the CI begins."""
    return shutil.copytree(repository, tmp_path / "team")


def run(folder: Path, script: str) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": f"{folder}/bin:/usr/bin:/bin", "GITHUB_STEP_SUMMARY": f"{folder}/summary.md"}
    inherited = {name: os.environ[name] for name in ("PYTHONPATH", "HOME") if name in os.environ}
    return subprocess.run(
        ["sh", "-e", "-c", script],
        cwd=folder,
        env=environment | inherited,
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )


def failures(path: Path) -> tuple[int, int]:
    """Return failures and errors of a JUnit file."""
    (suite,) = ElementTree.parse(path).getroot().iter("testsuite")
    return int(suite.attrib["failures"]), int(suite.attrib["errors"])


def test_the_workflows_own_steps_pass_a_bundle_that_says_the_same(team: Path) -> None:
    workflow = yaml.safe_load(FILES[".github/workflows/qa.yml"])
    steps = [step["run"] for step in workflow["jobs"]["qa"]["steps"] if "run" in step]
    assert steps[0] == "pip install wheels/*.whl"  # it is installed here
    for step in steps[1:]:
        done = run(team, step)
        assert done.returncode == 0, done.stdout + done.stderr
    assert failures(team / "golden.xml") == failures(team / "gates.xml") == (0, 0)
    assert "| gate |" in (team / "summary.md").read_text()
    artifacts = next(
        step["with"]["path"]
        for step in workflow["jobs"]["qa"]["steps"]
        if step.get("with", {}).get("name") == "qa"
    )
    assert all((team / name).is_file() for name in artifacts.split())


def test_a_bundle_that_loses_an_event_fails_the_gates_alone(team: Path, tiny_audio_model: bytes) -> None:
    quiet, low, high = policy_labels("quiet", "low", "high")
    deaf = msgspec.structs.replace(high, policy=msgspec.structs.replace(high.policy, min_count=200))
    make_bundle(
        team / "alarms-1.1.0.galago", tiny_audio_model, [quiet, low, deaf], modality="microphone",
        name="alarms", version="1.1.0", release_counter=2,
    )  # fmt: skip
    done = run(team, "sh qa.sh")
    assert (done.returncode, done.stdout.splitlines()[-1]) == (1, "golden: 0, gates: 1"), done.stderr
    assert failures(team / "golden.xml") == (0, 0) and failures(team / "gates.xml") == (1, 0)


def test_an_answer_that_changed_with_the_machine_fails_the_golden_alone(team: Path) -> None:
    golden = team / "alarms.golden.json"
    tensors = re.compile(r'("tensors": ")([0-9a-f]{64})')
    golden.write_text(tensors.sub(lambda found: found[1] + "0" * 64, golden.read_text()))
    done = run(team, "sh qa.sh")
    assert (done.returncode, done.stdout.splitlines()[-1]) == (1, "golden: 1, gates: 0"), done.stderr
    assert "night.wav: differs first in tensors" in done.stdout
    assert failures(team / "golden.xml") == (1, 0)


def test_after_the_release_the_new_bundle_is_the_one_to_compare_with(team: Path) -> None:
    done = run(team, AFTER)
    assert done.returncode == 0, done.stderr
    assert '"why": "release 1.1.0"' in (team / "alarms.golden.json").read_text()
    assert done.stdout.splitlines()[-1] == "pass: 1 recording, 1 equal to the byte"
