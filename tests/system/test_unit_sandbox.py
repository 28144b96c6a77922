"""The service under its unit's filter of system calls: what it needs works, what it must not do fails."""

from __future__ import annotations

import ctypes
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from importlib import resources
from pathlib import Path
from typing import Any

import pytest

from galago_edge.host.machine import this_arch
from real_parts import MjpegServer, missing_part, wait_for
from real_parts.processes import Child
from real_parts.unit_sandbox import allowed_calls
from test_kit import make_bundle, trust

UNIT = Path(str(resources.files("galago_edge.intake") / "galago.service"))
RealPart = Callable[..., Any]

pytestmark = [
    pytest.mark.skipif(this_arch() not in ("x86_64", "aarch64"), reason="no list of calls for this machine"),
]


@pytest.fixture(scope="module", autouse=True)
def tools() -> None:
    if shutil.which("systemd-analyze") is None:
        missing_part("no systemd-analyze")
    try:
        ctypes.CDLL("libseccomp.so.2")
    except OSError:
        missing_part("no libseccomp2")


def confined(*command: object) -> list[str]:
    return [sys.executable, "-m", "real_parts.unit_sandbox", str(UNIT), "--", *map(str, command)]


def said_by(code: str) -> list[str]:
    done = subprocess.run(confined(sys.executable, "-c", code), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_the_clock_is_asked_and_cannot_be_set() -> None:
    ask = "import ctypes; print(ctypes.CDLL(None).adjtimex(ctypes.create_string_buffer(256)))"
    outside = ctypes.CDLL(None).adjtimex(ctypes.create_string_buffer(256))
    assert said_by(ask) == [str(outside)]
    put = "import time\ntry: time.clock_settime(0, 0)\nexcept PermissionError: print('refused')"
    assert said_by(put) == ["refused"]


@pytest.mark.parametrize(
    "call", ["socket.socket(17, 3)", "socket.socket(31, 1)", "os.chroot('/')", "os.unshare(0x10000000)"]
)
def test_what_a_service_has_no_business_with_fails_and_kills_nobody(call: str) -> None:
    code = (
        "import ctypes, os, socket\n"
        "if not hasattr(os, 'unshare'):\n"
        "    def unshare(flags):\n"
        "        if ctypes.CDLL(None, use_errno=True).unshare(flags):\n"
        "            raise PermissionError\n"
        "    os.unshare = unshare\n"
        f"try: {call}\nexcept PermissionError: print('refused')"
    )
    assert said_by(code) == ["refused"]


def test_a_first_load_can_still_give_up_sockets() -> None:
    code = (
        "import socket\nfrom galago_edge.children.confinement import Confinement, confine\n"
        "socket.socket().close()\n"
        "confine(Confinement(memory_bytes=1 << 30, seconds=60, cpu_seconds=60))\n"
        "try: socket.socket()\nexcept PermissionError: print('refused')"
    )
    assert said_by(code) == ["refused"]
    assert {"seccomp", "adjtimex", "setrlimit", "setpriority", "memfd_create"} <= allowed_calls(UNIT)
    assert not {"mount", "ptrace", "reboot", "settimeofday", "init_module", "bpf"} & allowed_calls(UNIT)


def test_a_bundle_is_installed_and_decides_on_a_camera(
    tmp_path: Path, real_part: RealPart, tiny_image_model: bytes
) -> None:
    camera: MjpegServer = real_part(MjpegServer).start()
    root = trust(tmp_path / "store")
    bundle = make_bundle(tmp_path / "eyes.galago", tiny_image_model, ["dark", "mid", "bright"], name="eyes")
    galago = [sys.executable, "-m", "galago_edge"]
    installed = subprocess.run(
        confined(*galago, "install", bundle, "--root", root), capture_output=True, text=True, check=False
    )
    assert installed.returncode == 0, installed.stderr
    assert "golden" in json.loads(next((root / "bundles").glob("*/accepted.json")).read_text())
    config = tmp_path / "galago.toml"
    log = tmp_path / "log.jsonl"
    config.write_text(
        f'[[stream]]\nname = "hall"\nsource = "camera:{camera.url}"\nbundle = "eyes"\n\n'
        f'[log]\npath = "{log}"\n'
    )
    command = confined(*galago, "run", "--config", config, "--root", root)
    service = Child(command, tmp_path / "service.log")
    try:
        wait_for(lambda: log.exists() and '"kind":"event"' in log.read_text(), "a decision")
    finally:
        service.end()
    told = (tmp_path / "service.log").read_text()
    assert "not permitted" not in told.lower(), told
    assert (root / "coverage.json").exists()
