"""``galago run --config`` on cameras that need a password or have nearly the same address."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from galago_edge.bundle import TrustedKeys, open_bundle
from galago_edge.bundle.keys import key_id
from galago_edge.contract.status import ServiceStatus
from galago_edge.store import Store, install_bundle
from galago_edge.store.running_service import ask_status
from real_parts import MjpegServer, wait_for
from real_parts.processes import DEADLINE_S
from test_kit import TEST_KEY, accepted_here, make_bundle, trust

RECORDER = "/cgi-bin/mjpg/video.cgi?channel={}&subtype=1&key=opensesame"
PASSWORDS = ["hunter2#secret", "p@ss/w%rd", "ü ß", "a:b c?d&e", 'q"uo\\te']


@pytest.fixture
def root(tmp_path: Path, tiny_image_model: bytes) -> Path:
    labels = ("dark", "mid", "bright")
    path = make_bundle(tmp_path / "levels-1.0.0.galago", tiny_image_model, labels, name="levels")
    install_bundle(
        Store(trust(tmp_path / "root")),
        open_bundle(path),
        TrustedKeys({key_id(TEST_KEY): "test"}),
        accepted_here,
    )
    return tmp_path / "root"


class Running:
    """The service as a process, and what it says."""

    def __init__(self, process: subprocess.Popen[str], root: Path, log: Path) -> None:
        self.process = process
        self.root = root
        self.log = log
        assert process.stderr is not None
        found = re.search(r"http://\S+", process.stderr.readline())
        assert found is not None
        self.page = found[0]

    def status(self) -> ServiceStatus:
        status = ask_status(self.root, timeout_s=DEADLINE_S)
        assert status is not None
        return status

    def until(self, condition: Callable[[], object], what: str) -> None:
        def checked() -> object:
            assert self.process.poll() is None
            return condition()

        wait_for(checked, what)

    def get(self, path: str) -> str:
        with urllib.request.urlopen(self.page + path, timeout=DEADLINE_S) as answer:
            return str(answer.read().decode())

    def everything(self) -> str:
        """Return all that anybody can see of it."""
        process = Path(f"/proc/{self.process.pid}")
        children = [pid for file in process.glob("task/*/children") for pid in file.read_text().split()]
        assert children, "the capture has no process of its own"
        listed = "".join(
            path.read_text(errors="replace")
            for pid in (str(self.process.pid), *children)
            if (path := Path(f"/proc/{pid}/cmdline")).exists()
        )
        return "".join(
            (listed, self.get("api/status"), self.get("metrics"), self.get(""), self.log.read_text())
        )


@contextmanager
def service(folder: Path, root: Path, config: str, **environment: str) -> Iterator[Running]:
    path = folder / "galago.toml"
    path.write_text(f'{config}\n[log]\npath = "events.jsonl"\n[page]\nport = 0\n', encoding="utf-8")
    command = [sys.executable, "-m", "galago_edge", "run", "--root", str(root), "--config", str(path)]
    environ = {**os.environ, **environment}
    with subprocess.Popen(command, stderr=subprocess.PIPE, env=environ, text=True) as process:
        try:
            yield Running(process, root, folder / "events.jsonl")
        finally:
            process.kill()


def streams(*sources: str) -> str:
    return "".join(
        f'[[stream]]\nname = "s{number}"\nsource = "{source}"\n' for number, source in enumerate(sources)
    )


def test_a_dead_channel_of_a_recorder_is_seen_beside_a_living_one(
    tmp_path: Path, root: Path, mjpeg_camera: MjpegServer
) -> None:
    alive, dead = (mjpeg_camera.url_of(RECORDER.format(channel)) for channel in (1, 3))
    mjpeg_camera.missing = (RECORDER.format(3),)
    place = f"camera:http://127.0.0.1:{mjpeg_camera.port}/cgi-bin/mjpg/video.cgi"
    names = [f"{place}?channel={channel}&subtype=1" for channel in (1, 3)]
    with service(tmp_path, root, streams(f"camera:{alive}", f"camera:{dead}")) as running:
        running.until(lambda: running.status().streams[0].windows > 3, "windows of the living one")
        running.until(lambda: running.status().sources[1].failures > 1, "the dead one to be tried again")
        status = running.status()
        assert [(source.name, source.liveness == "healthy") for source in status.sources] == [
            (names[0], True),
            (names[1], False),
        ]
        assert "404" in status.sources[1].fault
        assert [(stream.source, stream.state) for stream in status.streams] == [
            (names[0], "running"),
            (names[1], "waiting"),
        ]
        assert any(names[1] in problem and "404" in problem for problem in status.problems)
        metrics = running.get("metrics")
        for name, healthy in zip(names, ("1.0", "0.0"), strict=True):
            line = f'galago_source_liveness{{kind="camera",source="{name}",state="healthy"}} {healthy}'
            assert line in metrics
        told = [json.loads(line) for line in running.log.read_text().splitlines()]
        assert {
            record["detail"]["source"]["name"] for record in told if "source" in record.get("detail", {})
        } == set(names)
        assert "opensesame" not in running.everything()


def test_cameras_that_differ_in_what_is_secret_are_told_apart(
    tmp_path: Path, root: Path, mjpeg_camera: MjpegServer
) -> None:
    mjpeg_camera.missing = ("/x?key=hunter3",)
    alive, dead = (mjpeg_camera.url_of(f"/x?key=hunter{number}") for number in (2, 3))
    with service(tmp_path, root, streams(f"camera:{alive}", f"camera:{dead}", f"camera:{alive}")) as running:
        running.until(lambda: running.status().sources[0].liveness == "healthy", "health")
        running.until(lambda: running.status().sources[1].failures, "failure")
        shown = f"camera:http://127.0.0.1:{mjpeg_camera.port}/x"
        assert [source.name for source in running.status().sources] == [f"{shown} (s0)", f"{shown} (s1)"]
        assert [stream.source for stream in running.status().streams][2] == f"{shown} (s0)"
        assert "hunter" not in running.everything()


@pytest.mark.parametrize("password", PASSWORDS)
def test_a_password_needs_no_escaping_and_is_seen_nowhere(
    tmp_path: Path, root: Path, mjpeg_camera: MjpegServer, password: str
) -> None:
    mjpeg_camera.login = ("anna", password)
    (tmp_path / "password").write_text(f"{password}\n", encoding="utf-8")
    url = mjpeg_camera.url_of("/x")
    config = f'[source.yard]\naddress = "camera:{url}"\nuser = "anna"\npassword_file = "password"\n'
    with service(tmp_path, root, config + streams("yard")) as running:
        running.until(lambda: running.status().sources[0].liveness == "healthy", "health")
        assert password not in running.everything()


def test_a_password_that_was_changed_is_read_again_without_a_restart(
    tmp_path: Path, root: Path, mjpeg_camera: MjpegServer
) -> None:
    mjpeg_camera.login = ("anna", "hunter2#secret")
    url = mjpeg_camera.url_of("/x")
    config = (
        f'[source.yard]\naddress = "camera:{url}"\nuser = "anna"\npassword_file = "password"\n'
        "backoff_s = 0.1\nbackoff_max_s = 0.2\nsteady_s = 0.2\n"
    )
    with service(tmp_path, root, config + streams("yard")) as running:
        running.until(lambda: running.status().sources[0].failures, "the missing file to be met")
        assert "password_file" in running.status().sources[0].fault
        (tmp_path / "password").write_text("hunter1#secret\n")
        running.until(lambda: "refuses this user" in running.status().sources[0].fault, "the wrong one")
        (tmp_path / "password").write_text("hunter2#secret\n")
        running.until(lambda: running.status().sources[0].liveness == "healthy", "health")
        assert "#secret" not in running.everything()


def test_a_password_comes_from_a_variable(tmp_path: Path, root: Path, mjpeg_camera: MjpegServer) -> None:
    mjpeg_camera.login = ("anna", PASSWORDS[1])
    url = mjpeg_camera.url_of("/x")
    config = f'[source.yard]\naddress = "camera:{url}"\nuser = "anna"\npassword_env = "CAMERA"\n'
    with service(tmp_path, root, config + streams("yard"), CAMERA=PASSWORDS[1]) as running:
        running.until(lambda: running.status().sources[0].liveness == "healthy", "health")
        assert PASSWORDS[1] not in running.everything()
