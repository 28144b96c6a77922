"""The whole way: ``galago flash`` by ssh to a device whose service judges the new bundle on a live camera."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from galago_devices import profile_text
from galago_edge.commands.cli import main
from galago_edge.contract.manifest import Label, LabelPolicy
from galago_edge.contract.status import ServiceStatus
from galago_edge.host.machine import this_arch
from galago_edge.store.running_service import ask_status
from real_parts import MjpegServer, SshServer, wait_for
from real_parts.processes import DEADLINE_S, Child
from test_kit import make_bundle, trust

LABELS = ["dark", "mid", "bright"]
POLICY = LabelPolicy(on=0.6, off=0.4, smoothing_windows=1, min_count=1, refractory_ms=0)
GALAGO = Path(sys.executable).parent / "galago"
BOARD = {"x86_64": "generic-x86-64", "aarch64": "generic-arm64"}.get(this_arch(), "")


def run(*args: object) -> Result:
    return CliRunner().invoke(main, [str(arg) for arg in args])


def asked(root: Path) -> ServiceStatus | None:
    return ask_status(root, timeout_s=DEADLINE_S)


@pytest.mark.skipif(not BOARD, reason=f"the catalogue has no board for {this_arch()}")
def test_a_live_service_commits_what_was_flashed_and_the_row_says_so(
    tmp_path: Path, tiny_image_model: bytes, real_part: Callable[..., Any]
) -> None:
    camera = real_part(MjpegServer, size=(64, 48), fps=20.0).start()
    camera.levels = (30, 225)
    sshd = real_part(SshServer, tmp_path).start()
    old, new = (
        make_bundle(
            tmp_path / f"eyes-{version}.0.0.galago",
            tiny_image_model,
            [Label(name=name, background=name != "bright", policy=POLICY) for name in LABELS],
            name="eyes",
            version=f"{version}.0.0",
            release_counter=version,
        )
        for version in (1, 2)
    )
    root = trust(tmp_path / "device")
    (root / "profile.toml").write_text(profile_text(BOARD))
    assert run("install", old, "--root", root).exit_code == 0
    config = tmp_path / "galago.toml"
    config.write_text(
        '[device]\nname = "porch"\n'
        f'[source.yard]\naddress = "camera:{camera.url}"\nstall_s = 60.0\nopen_s = 60.0\ngap_ms = 60_000\n'
        '[[stream]]\nname = "door"\nsource = "yard"\n'
        f'[log]\npath = "{tmp_path}/events.jsonl"\nmax_mb = 10\n'
    )
    command = [str(GALAGO), "run", "--root", str(root), "--config", str(config)]
    service = Child(command, tmp_path / "service.log")
    try:
        service.wait_until(
            lambda: (status := asked(root)) is not None and status.streams[0].windows > 0, "the service"
        )
        options = ["--galago", GALAGO, "--ssh-config", sshd.client_config, "--json"]
        flashed = run("flash", new, f"porch:{root}", *options, "--wait", 600, "--trial-s", 3)
        assert flashed.exit_code == 0, flashed.output
        (device,) = json.loads(flashed.stdout)["devices"]
        assert (device["outcome"], device["before"], device["active"]) == ("committed", "1.0.0", "2.0.0")

        def runs() -> bool:
            status = asked(root)
            return status is not None and status.streams[0].version == "2.0.0"

        wait_for(runs, "the new bundle in the service")
    finally:
        service.end()
