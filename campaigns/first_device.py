"""Runs docs/first-device.md, sentence by sentence, in a fresh Debian root.

    .venv/bin/python -m campaigns.first_device [--root TAR] [--keep DIR]

Needs root and mmdebstrap. The ``sh`` blocks below a heading "On the device" run in the root by chroot, those
below "On the workstation" here, in order and unchanged, each with ``sh -eu``. What the page's last section
says of systemctl, pip, ssh and the camera is done here. The exit code is 1 when a block does not end with 0,
or when the device does not stand where the page says at its end.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from campaigns import DATA, OUT
from galago_edge.bundle.keys import create_key_pair, read_private_key
from galago_edge.intake.unit_file import setting_of
from real_parts import MissingPartError, MjpegServer
from real_parts.processes import Child, tool
from test_kit import make_bundle

REPO = Path(__file__).parents[1]
PAGE = REPO / "docs" / "first-device.md"
SUITE = "bookworm"
DEVICE, CAMERA = "127.0.0.78", "127.0.0.77"
"""Loopback addresses of their own, so that the page's usual ports are free there."""
CAMERA_PORT = 8080
_WAIT_S = 120.0
_HEADING = re.compile(r"## (?P<all>On the (?P<where>device|workstation).*)")


@dataclass(frozen=True, slots=True)
class Block:
    """One ``sh`` block of the page."""

    where: str
    """``device`` or ``workstation``."""
    heading: str
    text: str

    def commands(self) -> Iterator[str]:
        """Yield what stands by itself: a line, or one with the lines of its here-document."""
        lines = iter(self.text.splitlines(keepends=True))
        for line in lines:
            end = re.search(r"<<'(\w+)'", line)
            while end is not None:
                following = next(lines)
                line += following
                if following.strip() == end[1]:
                    break
            yield line


def blocks(page: str) -> list[Block]:
    """Return the ``sh`` blocks of a page below headings that say where they run."""
    found, where, heading, inside = [], "", "", None
    for line in page.splitlines(keepends=True):
        if inside is None and (
            title := re.match(r"## (?P<all>On the (?P<where>device|workstation).*)", line)
        ):
            where, heading = title["where"], title["all"]
        elif inside is None and line.startswith("## "):
            where = ""
        elif inside is None and line.strip() == "```sh":
            inside = ""
        elif inside is not None and line.strip() == "```":
            if where:
                found.append(Block(where, heading, inside))
            inside = None
        elif inside is not None:
            inside += line
    return found


class FreshRoot:
    """A Debian root, its mounts, and what runs in it."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.path = folder
        self._stack = stack

    def make(self, tar: Path | None) -> None:
        """Make it with mmdebstrap, or unpack one that was made before."""
        self.path.mkdir()
        if tar is not None:
            subprocess.run(["tar", "-xf", tar, "-C", self.path], check=True)
        else:
            sources = sorted(Path("/etc/apt/sources.list.d").glob("debian.sources"))
            made = [
                tool("mmdebstrap"),
                "--variant=minbase",
                "--include=ca-certificates,openssh-server,systemd",
            ]
            subprocess.run([*made, SUITE, self.path, *sources], check=True)
        for name in ("proc", "sys", "dev"):
            self._mount("--rbind", f"/{name}", self.path / name)
        shutil.copy("/etc/resolv.conf", self.path / "etc/resolv.conf")

    def _mount(self, *words: object) -> None:
        target = words[-1]
        subprocess.run(["mount", *map(str, words)], check=True)
        subprocess.run(["mount", "--make-rslave", str(target)], check=True)
        self._stack.callback(subprocess.run, ["umount", "--recursive", "--lazy", str(target)], check=False)

    def chroot(self, *command: object) -> list[str]:
        """Return the command line of something in the root, with the environment of a login."""
        path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        clean = ["env", "-i", path, "HOME=/root", "LANG=C.UTF-8", "DEBIAN_FRONTEND=noninteractive"]
        wheels = ["PIP_NO_INDEX=1", "PIP_FIND_LINKS=/wheels", "PIP_DISABLE_PIP_VERSION_CHECK=1"]
        return ["chroot", str(self.path), *clean, *wheels, *map(str, command)]


def make_wheels(folder: Path) -> None:
    """Make wheels of this checkout and fetch what they need, for the Python of the root: the same as here."""
    sources = folder.parent / "sources"
    shutil.copytree(REPO / "edge", sources, ignore=shutil.ignore_patterns("build", "*.egg-info"))
    extras = f"{sources}[camera,microphone,mqtt,metrics]"
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--wheel-dir", str(folder), extras]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    subprocess.run(pip, check=True, env=environment)


class Rehearsal:
    """The page, played through."""

    def __init__(self, work: Path, root: FreshRoot) -> None:
        self._work = work
        self._root = root
        self._service: Child | None = None
        self.failed: list[str] = []

    def prepare(self, stack: ExitStack) -> None:
        """Bring what the page takes for granted: ssh, the key, the bundle, a camera, galago here."""
        root, work = self._root, self._work
        create_key_pair(work / "release.key", "release")
        make_bundle(
            work / "eyes-1.0.0.galago",
            (DATA / "tiny_image.tflite").read_bytes(),
            ["dark", "mid", "bright"],
            keys=[read_private_key(work / "release.key")],
            name="eyes",
            version="1.0.0",
        )
        (root.path / "wheels").mkdir()
        make_wheels(root.path / "wheels")
        with (root.path / "etc/hosts").open("a") as hosts:
            hosts.write(f"127.0.0.1 localhost\n{CAMERA} camera.lan\n")
        camera = MjpegServer(login=("galago", "hunter2")).start()
        stack.callback(camera.stop)
        stack.enter_context(forwarded((CAMERA, CAMERA_PORT), camera.port))
        self._ssh(stack)
        (work / "bin").mkdir()
        command = work / "bin" / "galago"
        run = f"{sys.executable} -m galago_edge"
        command.write_text(f'#!/bin/sh\nexec {run} "$@" --ssh-config {work}/ssh_config\n')
        command.chmod(0o755)

    def _ssh(self, stack: ExitStack) -> None:
        root, work = self._root.path, self._work
        subprocess.run(
            [tool("ssh-keygen"), "-q", "-t", "ed25519", "-N", "", "-f", work / "login"], check=True
        )
        (root / "root/.ssh").mkdir(mode=0o700, exist_ok=True)
        (root / "root/.ssh/authorized_keys").write_text((work / "login.pub").read_text())
        (root / "run/sshd").mkdir(parents=True, exist_ok=True)
        host = next((root / "etc/ssh").glob("ssh_host_ed25519_key.pub")).read_text()
        (work / "known_hosts").write_text(f"porch {host}")
        (work / "ssh_config").write_text(
            f"Host porch\n  HostName {DEVICE}\n  HostKeyAlias porch\n  IdentitiesOnly yes\n"
            f"  UserKnownHostsFile {work}/known_hosts\n  IdentityFile {work}/login\n  IdentityAgent none\n"
        )
        serve = self._root.chroot(
            "/usr/sbin/sshd", "-D", "-e", "-o", f"ListenAddress={DEVICE}", "-o", "UsePAM=no"
        )
        server = Child(serve, work / "sshd.log")
        stack.callback(server.end)
        server.wait_until(lambda: answers(DEVICE, 22), "sshd")

    def run(self, block: Block) -> None:
        """Run a block as it stands; what begins with systemctl is shown only."""
        print(f"\n## {block.heading}", flush=True)
        script = ""
        for command in block.commands():
            if command.startswith("systemctl"):
                print(f"$ {command}  (shown, not run: there is no systemd here)", end="", flush=True)
                if "enable --now galago" in command:
                    self._start_service()
            else:
                script += command
        if not script:
            return
        print("".join(f"$ {line}" for line in script.splitlines(keepends=True)), end="", flush=True)
        if block.where == "device":
            words, environment = self._root.chroot("sh", "-eu", "-c", script), None
        else:
            words = ["sh", "-eu", "-c", script]
            environment = {**os.environ, "PATH": f"{self._work}/bin:{os.environ['PATH']}"}
        done = subprocess.run(words, cwd=self._work, env=environment, stdin=subprocess.DEVNULL, check=False)
        if done.returncode:
            self.failed.append(f"{block.heading}: exit code {done.returncode}")
            print(f"-> exit code {done.returncode}", flush=True)

    def _start_service(self) -> None:
        """Look at the unit as systemd does, and start what it names as whom it names."""
        unit = self._root.path / "etc/systemd/system/galago.service"
        for words in (
            ["verify", "--man=no", f"--root={self._root.path}", "galago.service"],
            ["security", "--offline=true", "--threshold=30", "--no-pager", str(unit)],
        ):
            said = subprocess.run(
                [tool("systemd-analyze"), *words], capture_output=True, text=True, check=False
            )
            told = (said.stderr + said.stdout).strip()[-200:]
            print(f"  systemd-analyze {words[0]}: {said.returncode} {told}")
            if said.returncode:
                self.failed.append(f"systemd-analyze {words[0]}: {said.stderr.strip() or said.stdout[-200:]}")
        text = unit.read_text()
        user = setting_of(text, "User")
        folder = self._root.path / "run/galago"
        folder.mkdir(exist_ok=True)
        shell = (
            "set -a; . /etc/galago/environment; set +a; chown galago:galago /run/galago /var/lib/galago; "
            f"exec setpriv --reuid={user} --regid={user} --init-groups env RUNTIME_DIRECTORY=/run/galago "
            + setting_of(text, "ExecStart")
        )
        self._service = Child(self._root.chroot("sh", "-eu", "-c", shell), self._work / "service.log")

    def stop(self) -> None:
        """End the service."""
        if self._service is not None:
            self._service.end()

    def judge(self) -> None:
        """See that the device stands where the page says at its end."""
        log = self._root.path / "var/lib/galago/events.jsonl"
        until = time.monotonic() + _WAIT_S
        while time.monotonic() < until and not (log.is_file() and '"label"' in log.read_text()):
            time.sleep(0.2)
        asked = self._root.chroot("galago", "status", "--root", "/var/lib/galago", "--json")
        said = subprocess.run(asked, capture_output=True, text=True, check=False)
        status = json.loads(said.stdout or "{}")
        print(
            f"\nstatus --json ends with {said.returncode}; events: {log.is_file() and log.read_text()[:200]}"
        )
        if said.returncode or "eyes" not in json.dumps(status):
            self.failed.append(f"status: {said.returncode} {said.stderr.strip()}")
        if not log.is_file() or '"kind":"state"' not in log.read_text():
            self.failed.append(f"no record was logged within {_WAIT_S:g} s")
        modes = {"environment": 0o640, "galago.toml": 0o640}
        for name, mode in modes.items():
            found = (self._root.path / "etc/galago" / name).stat()
            if (found.st_mode & 0o777, found.st_uid) != (mode, 0):
                self.failed.append(f"/etc/galago/{name} is {found.st_mode & 0o777:o} of user {found.st_uid}")


def _head(log: Path) -> str:
    return log.read_text()[:200] if log.is_file() else "(there is none)"


def answers(address: str, port: int) -> bool:
    """Tell whether somebody listens there."""
    with contextlib.suppress(OSError), socket.create_connection((address, port), 1.0):
        return True
    return False


@contextlib.contextmanager
def forwarded(listen: tuple[str, int], port: int) -> Iterator[None]:
    """Lead connections to another address to a port of 127.0.0.1."""
    server = socket.create_server(listen)

    def pump(source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                target.sendall(data)
        for end in (source, target):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = server.accept()
                there = socket.create_connection(("127.0.0.1", port))
                for ends in ((client, there), (there, client)):
                    threading.Thread(target=pump, args=ends, daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield
    finally:
        server.close()


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--root", type=Path, help="a tar of a fresh root, instead of making one")
    parser.add_argument("--keep", type=Path, help="leave everything in this new folder")
    options = parser.parse_args()
    if os.geteuid() != 0:
        print("Error: only root can make a root and enter it", file=sys.stderr)
        return 1
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    began = time.monotonic()
    with ExitStack() as stack:
        if options.keep is None:
            work = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="galago-first-")))
        else:
            work = options.keep
            work.mkdir(parents=True)
        try:
            root = FreshRoot(work / "root", stack)
            root.make(options.root)
            rehearsal = Rehearsal(work, root)
            rehearsal.prepare(stack)
            stack.callback(rehearsal.stop)
            page = blocks(PAGE.read_text())
            for block in page:
                rehearsal.run(block)
            rehearsal.judge()
        except MissingPartError as missing:
            print(f"Error: {missing}", file=sys.stderr)
            return 1
    for text in rehearsal.failed:
        print(f"FAILED: {text}")
    figures = {
        "blocks": len(page),
        "failed": rehearsal.failed,
        "seconds": round(time.monotonic() - began, 1),
    }
    OUT.mkdir(parents=True, exist_ok=True)
    (OUT / "first_device.json").write_text(json.dumps(figures, indent=2) + "\n")
    print(f"{len(page)} blocks, {len(rehearsal.failed)} failures, {figures['seconds']} s")
    return 1 if rehearsal.failed else 0


if __name__ == "__main__":
    sys.exit(main())
