"""SIGTERM while ``galago run`` is still starting, at many moments: exit code 0, and nothing is used up."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from galago_edge.bundle import open_bundle
from galago_edge.commands.cli import main
from galago_edge.store import Store, install_bundle
from real_parts.processes import DEADLINE_S
from test_kit import accepted_here, make_bundle, trust

MOMENTS = 12
PROGRAM = """
import atexit, os, signal, sys, threading

at, met = int(sys.argv.pop(1)), 0

def told(event, arguments):
    global met
    if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        return  # the program has not got so far as to take it, or has had it
    met += 1
    if met == at:
        os.kill(os.getpid(), signal.SIGTERM)

sys.argv[0] = "galago"
from galago_edge.__main__ import main
sys.addaudithook(told)
atexit.register(lambda: print("met", met, file=sys.stderr))
main()
"""
"""Counts what the interpreter does (imports, files, processes), and sends itself SIGTERM at one of these."""


@pytest.fixture(scope="module")
def device(tmp_path_factory: pytest.TempPathFactory, tiny_image_model: bytes) -> Path:
    """A folder with a store that has a bundle on trial, and a configuration."""
    folder = tmp_path_factory.mktemp("device")
    root = trust(folder / "root")
    for version in (1, 2):
        bundle = make_bundle(
            folder / f"eyes-{version}.galago",
            tiny_image_model,
            ["dark", "mid", "bright"],
            name="eyes",
            version=f"{version}.0.0",
            release_counter=version,
        )
        install_bundle(Store(root), open_bundle(bundle), Store(root).trusted(), accepted_here)
    (folder / "galago.toml").write_text(
        '[[stream]]\nname = "door"\nsource = "camera:http://127.0.0.1:9/"\nbundle = "eyes"\n'
        '[log]\npath = "events.jsonl"\n[page]\nport = 0\n'
    )
    return folder


def start(device: Path, at: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", PROGRAM, str(at), "run", "--root", str(device / "root")]
    return subprocess.Popen(
        [*command, "--config", str(device / "galago.toml")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.fixture(scope="module")
def moments(device: Path) -> int:
    """How many moments a whole start has."""
    with start(device, 0) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith("status page: "):
                break
        process.send_signal(signal.SIGTERM)
        said = process.stderr.read()
    assert process.returncode == 0, said
    return int(re.findall(r"met (\d+)", said)[-1])


@pytest.mark.parametrize("part", range(MOMENTS))
def test_sigterm_at_any_moment_of_the_start_ends_it_with_0(part: int, device: Path, moments: int) -> None:
    at = 1 + part * moments // MOMENTS
    with start(device, at) as process:
        _, said = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 0, said
    assert "Traceback" not in said and "Error" not in said, said
    slot = Store(device / "root").state().slots["eyes"]
    assert slot.trial is not None and slot.trial.boots == 0  # its boot attempt was given back
    assert CliRunner().invoke(main, ["status", "--root", str(device / "root")]).exit_code == 4  # on trial
