"""Flashes twelve devices at once, five of them broken on purpose, mends these, and tries again.

    .venv/bin/python -m campaigns.flash_twelve [--only NAME,NAME...] [--keep DIR]

Four are folders as a mounted card is one, eight are reached through a real sshd on loopback. All have
version 1.0.0 and shall get 2.0.0 of 3 MB. Bars; the exit code is 1 when one is missed:

  first run     every device ends as it must, with the right reason, and what it says is active is active
  exit code     that of the device that fared worst
  retry         once mended, only those that failed are flashed again, and all twelve have 2.0.0;
                the connection that was cut goes on where it stopped
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import subprocess
import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np

from campaigns import DATA, OUT, work_folder
from campaigns import service_rig as rig
from galago_devices import profile_text
from galago_edge.host.machine import this_arch
from galago_edge.store import Store
from real_parts import Cable, MissingPartError, SshServer, small_disk
from test_kit import OTHER_KEY, make_bundle, trust

GALAGO = Path(sys.executable).parent / "galago"
BOARD = {"x86_64": "generic-x86-64", "aarch64": "generic-arm64"}.get(this_arch(), "")
NAME = "levels"


@dataclass(frozen=True)
class Device:
    """One of the twelve."""

    name: str
    kind: Literal["folder", "ssh"]
    broken: Literal["", "disk full", "wrong profile", "wrong key", "connection cut"] = ""

    @property
    def expected(self) -> tuple[str, str]:
        """How the first run must end, and its reason."""
        return {
            "": ("on trial", ""),
            "disk full": ("failed", "NO_SPACE"),
            "wrong profile": ("refused", "PROFILE_MISMATCH" if self.kind == "folder" else "ARCH"),
            "wrong key": ("refused", "KEY_UNKNOWN"),
            "connection cut": ("failed", "TRANSPORT"),
        }[self.broken]


DEVICES = (
    Device("card-1", "folder"),
    Device("card-2", "folder"),
    Device("card-3", "folder", "wrong profile"),
    Device("card-4", "folder", "wrong key"),
    *(Device(f"barn-{number}", "ssh") for number in range(1, 6)),
    Device("porch", "ssh", "disk full"),
    Device("attic", "ssh", "wrong profile"),
    Device("cellar", "ssh", "connection cut"),
)


class World:
    """The devices, what is wrong with them, and how that is mended."""

    def __init__(self, folder: Path, devices: list[Device], stack: ExitStack) -> None:
        """Set them up with version 1.0.0.

        Raises:
            MissingPartError: OpenSSH is not installed.
        """
        self.folder = folder
        self.devices = devices
        self.old, self.new = self._bundle(1), self._bundle(2)
        self._sshd = SshServer(folder).start()
        stack.callback(self._sshd.stop)
        # ssh takes 2 MB that nobody has read yet; what is cut before that has not arrived whole
        self._cable = Cable(self._sshd.port, cut_after_bytes=500_000, bytes_per_s=1_000_000).start()
        stack.callback(self._cable.stop)
        self.roots = {device.name: self._make(device, stack) for device in devices}
        for device in devices:
            self._break(device)

    def _bundle(self, version: int) -> Path:
        noise = np.random.default_rng(version).integers(0, 256, (1000, 1000, 3), np.uint8)
        golden = {"mid": cv2.imencode(".png", noise)[1].tobytes()} if version > 1 else None
        return make_bundle(
            self.folder / f"{NAME}-{version}.0.0.galago",
            (DATA / "tiny_image.tflite").read_bytes(),
            ["dark", "mid", "bright"],
            name=NAME,
            version=f"{version}.0.0",
            release_counter=version,
            golden=golden,
        )

    def _make(self, device: Device, stack: ExitStack) -> Path:
        root = self.folder / device.name
        if device.broken == "disk full":
            root = stack.enter_context(small_disk(root, "16m")) / "galago"
        rig.install(root, self.old)
        (root / "profile.toml").write_text(profile_text(BOARD))
        return root

    def _break(self, device: Device) -> None:
        root = self.roots[device.name]
        match device.broken:
            case "disk full":
                with (
                    (root.parent / "ballast").open("wb", buffering=0) as ballast,
                    contextlib.suppress(OSError),
                ):
                    while True:
                        ballast.write(bytes(1 << 20))
            case "wrong profile":
                (root / "profile.toml").write_text(profile_text("raspberry-pi-3-32bit"))
            case "wrong key":
                shutil.rmtree(root / "trust")
                trust(root, OTHER_KEY)

    def mend(self) -> None:
        """Do what the hints say."""
        for device in self.devices:
            root = self.roots[device.name]
            match device.broken:
                case "disk full":
                    (root.parent / "ballast").unlink()
                case "wrong profile":
                    (root / "profile.toml").write_text(profile_text(BOARD))
                case "wrong key":
                    trust(root)
                case "connection cut":
                    self._cable.heal()

    def target(self, device: Device) -> str:
        """Return what is given to the command."""
        root = self.roots[device.name]
        if device.kind == "folder":
            return str(root)
        port = self._cable.port if device.broken == "connection cut" else self._sshd.port
        return f"ssh://{device.name}:{port}{root}"

    def flash(self, *targets: str) -> tuple[dict[str, dict[str, Any]], int, float, str]:
        """Run the command; return results by target, exit code, seconds, and the last line for people."""
        results = self.folder / "results.json"
        command = [GALAGO, "flash", self.new, *targets, "--results", results]
        options = ["--galago", GALAGO, "--ssh-config", self._sshd.client_config]
        began = time.monotonic()
        done = subprocess.run(
            [str(part) for part in (*command, *options)], capture_output=True, text=True, check=False
        )
        passed = time.monotonic() - began
        report = json.loads(results.read_bytes())
        found = {result["target"]: result for result in report["devices"]}
        return found, done.returncode, passed, (done.stdout.splitlines() or [done.stderr])[-1]

    def active(self, device: Device) -> str:
        """Return what the device's store says is active."""
        return Store(self.roots[device.name]).state().slots[NAME].active.version


def judge(world: World) -> dict[str, Any]:
    """Flash, mend, flash again; return the figures and what was missed."""
    missed = []
    first, code, first_s, line = world.flash(*(world.target(device) for device in world.devices))
    rows = []
    for device in world.devices:
        result = first[world.target(device)]
        met = (result["outcome"], result["reason"])
        version = "1.0.0" if device.broken else "2.0.0"
        if met != device.expected or not result["active"] == world.active(device) == version:
            missed.append(f"{device.name}: {met}, {result['active']}; expected {device.expected}, {version}")
        rows.append({"device": device.name, "kind": device.kind, "broken": device.broken, "first": result})
    broken = [device for device in world.devices if device.broken]
    worst = 1 if any(device.expected[0] == "refused" for device in broken) else 3 if broken else 0
    if code != worst:
        missed.append(f"first run: exit code {code}, expected {worst}")
    world.mend()
    again, again_code, again_s, again_line = world.flash("--retry-failed", str(world.folder / "results.json"))
    if set(again) != {world.target(device) for device in broken} or again_code != 0:
        missed.append(f"retry: exit code {again_code} for {sorted(again)}")
    for row, device in zip(rows, world.devices, strict=True):
        row["retry"] = again.get(world.target(device))
        if world.active(device) != "2.0.0":
            missed.append(f"{device.name}: {world.active(device)} is active in the end")
        if device.broken == "connection cut" and not (row["retry"] or {}).get("resumed_bytes"):
            missed.append(f"{device.name}: nothing of the first attempt was used")
    return {
        "bundle_bytes": world.new.stat().st_size,
        "first": {"exit": code, "seconds": round(first_s, 2), "said": line},
        "retry": {"exit": again_code, "seconds": round(again_s, 2), "said": again_line},
        "devices": rows,
        "missed": missed,
    }


def show(found: dict[str, Any]) -> None:
    """Print the table."""
    print(f"{'device':<9}{'by':<8}{'broken':<16}{'first run':<28}{'active':<8}{'sent':>9}  ", end="")
    print(f"{'retry':<10}{'resumed':>9}{'sent':>9}")
    for row in found["devices"]:
        first, retry = row["first"], row["retry"]
        ended = f"{first['outcome']} {first['reason']}".strip()
        print(
            f"{row['device']:<9}{row['kind']:<8}{row['broken']:<16}{ended:<28}{first['active'] or '?':<8}",
            end="",
        )
        print(f"{first['sent_bytes']:>9}  ", end="")
        print(f"{retry['outcome']:<10}{retry['resumed_bytes']:>9}{retry['sent_bytes']:>9}" if retry else "")
    for name in ("first", "retry"):
        print(
            f"{name} run: exit code {found[name]['exit']}, {found[name]['seconds']} s; {found[name]['said']}"
        )
    for text in found["missed"]:
        print(f"MISSED {text}")


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", help="names of devices, with commas between")
    parser.add_argument("--keep", type=Path, help="leave everything in this folder")
    parser.add_argument("--out", type=Path, default=OUT / "flash_twelve.json")
    options = parser.parse_args()
    wanted = options.only.split(",") if options.only else [device.name for device in DEVICES]
    devices = [device for device in DEVICES if device.name in wanted]
    if not BOARD:
        print(f"the catalogue has no board for {this_arch()}")
        return 2
    if os.geteuid() != 0:  # a small disk has to be mounted
        print("without root no disk can be made full: that device is left out")
        devices = [device for device in devices if device.broken != "disk full"]
    with ExitStack() as stack:
        folder = work_folder(options.keep, "flash", stack)
        try:
            found = judge(World(folder, devices, stack))
        except MissingPartError as missing:
            print(missing)
            return 2
    show(found)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(found, indent=2) + "\n")
    return 1 if found["missed"] else 0


if __name__ == "__main__":
    sys.exit(main())
