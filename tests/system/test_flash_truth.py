"""What ``galago flash`` says is so: when this side fails, when two meet, when nobody listens any more."""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from galago_devices import profile_text
from galago_edge.bundle import open_bundle
from galago_edge.commands.cli import main
from galago_edge.contract.flash_messages import Offer
from galago_edge.host.machine import this_arch
from galago_edge.intake import session as receiving
from galago_edge.intake.flash_pipe import Pipe
from galago_edge.intake.receiver import Receipt
from galago_edge.intake.session import ReceivingSession
from galago_edge.store import Store, collect
from galago_workstation.flashing import device_session
from galago_workstation.flashing.links import DeviceLink, open_link
from galago_workstation.flashing.targets import Target
from real_parts import SshServer, wait_for
from real_parts.processes import DEADLINE_S
from test_kit import make_bundle, trust

LABELS = ["dark", "mid", "bright"]
BOARD = {"x86_64": "generic-x86-64", "aarch64": "generic-arm64"}.get(this_arch(), "")
GALAGO = Path(sys.executable).parent / "galago"
RealPart = Callable[..., Any]

pytestmark = pytest.mark.skipif(not BOARD, reason=f"the catalogue has no board for {this_arch()}")


def run(*args: object) -> Result:
    return CliRunner().invoke(main, [str(arg) for arg in args])


class Place:
    """Bundles and devices."""

    def __init__(self, folder: Path, model: bytes) -> None:
        self.folder, self._model = folder, model

    def bundle(self, version: int) -> Path:
        path = self.folder / f"eyes-{version}.0.0.galago"
        info: dict[str, Any] = {"name": "eyes", "version": f"{version}.0.0", "release_counter": version}
        return make_bundle(path, self._model, LABELS, **info)

    def device(self, name: str, *, has: int | None = None) -> Path:
        root = trust(self.folder / name)
        (root / "profile.toml").write_text(profile_text(BOARD))
        if has is not None:
            assert run("install", self.bundle(has), "--root", root).exit_code == 0
        return root

    def script(self, name: str, body: str) -> Path:
        """Write a galago command for devices that does ``body`` around the real one."""
        path = self.folder / name
        path.write_text(f"#!{sys.executable}\n{body}\n")
        path.chmod(0o755)
        return path


def devices(report: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(report)["devices"]
    return found


def active(root: Path) -> str | None:
    slot = Store(root).state().slots.get("eyes")
    return slot.active.version if slot else None


@pytest.fixture
def place(tmp_path: Path, tiny_image_model: bytes) -> Place:
    return Place(tmp_path, tiny_image_model)


@pytest.fixture
def sshd(real_part: RealPart, tmp_path: Path) -> SshServer:
    server: SshServer = real_part(SshServer, tmp_path).start()
    return server


# This side


def test_a_fault_with_one_device_hides_nothing_about_the_others(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    cards = [place.device("card0"), place.device("card1")]

    def broken(target: Target, *options: str) -> DeviceLink:
        if target.root == str(cards[0]):
            raise RuntimeError("a bug")
        return open_link(target, *options)

    monkeypatch.setattr(device_session, "open_link", broken)
    logs = place.folder / "logs"
    done = run("flash", place.bundle(1), *cards, "--json", "--logs", logs)
    first, second = devices(done.stdout)
    assert (first["outcome"], first["reason"], first["known"]) == ("failed", "IO", False)
    assert "RuntimeError: a bug" in first["message"] and "--logs" in first["hint"]
    assert any("Traceback" in path.read_text() for path in logs.iterdir())
    assert (second["outcome"], active(cards[1]), done.exit_code) == ("committed", "1.0.0", 3)


def test_too_few_open_files_are_the_fault_of_this_machine_and_every_row_is_true(place: Place) -> None:
    cards = [place.device(f"card{number}") for number in range(6)]
    results = place.folder / "results.json"
    done = subprocess.run(
        [str(part) for part in (GALAGO, "flash", place.bundle(1), *cards, "--results", results)],
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (14, 14)),
    )
    found = devices(results.read_text())
    assert "Traceback" not in done.stderr and len(found) == len(done.stdout.split("card")) - 1 == 6
    assert {result["outcome"] for result in found} <= {"committed", "failed"}
    assert [result["active"] for result in found if result["known"]] == [
        active(root) for root, result in zip(cards, found, strict=True) if result["known"]
    ]
    failed = [result for result in found if result["outcome"] == "failed"]
    assert failed and done.returncode == 3
    assert all(result["reason"] == "IO" and result["hint"] for result in failed)


def test_who_stops_listening_stops_no_device(place: Place) -> None:
    card, results = place.device("card"), place.folder / "results.json"
    read, write = os.pipe()
    os.close(read)  # as `2>&1 | head -1` does
    command = [str(part) for part in (GALAGO, "flash", place.bundle(1), card, "--results", results)]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=write, check=False)
    os.close(write)
    assert (devices(results.read_text())[0]["outcome"], active(card)) == ("committed", "1.0.0")
    assert done.returncode == 0


def test_a_device_that_is_named_twice_is_flashed_once(place: Place) -> None:
    card = place.device("card")
    (place.folder / "link").symlink_to(card)
    done = run("flash", place.bundle(1), place.folder / "link", f"{card}/", "--json")
    (result,) = devices(done.stdout)
    assert (result["target"], result["outcome"]) == (str(place.folder / "link"), "committed")
    assert active(card) == "1.0.0"


# The other side

RELAY = """import os, signal, subprocess, sys
from pathlib import Path
flag, root = Path({flag!r}), Path({root!r})
again = flag.exists()
child = subprocess.Popen([{galago!r}, *sys.argv[1:]], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
while data := os.read(child.stdout.fileno(), 65536):
"""


def relay(place: Place, root: Path, body: str) -> Path:
    head = RELAY.format(flag=str(place.folder / "flag"), root=str(root), galago=str(GALAGO))
    return place.script("relay", head + body)


def test_a_device_that_is_still_installing_when_the_connection_breaks_is_waited_for(
    place: Place, sshd: SshServer
) -> None:
    """It is stopped in the middle of it, and goes on only when it has been asked again."""
    root = place.device("device", has=1)
    galago = relay(
        place,
        root,
        """    if not again and b'installing' in data:
        os.kill(child.pid, signal.SIGSTOP)
        flag.write_text(str(child.pid))
        os._exit(1)
    os.write(1, data)
    if again and b'hello' in data:
        os.kill(int(flag.read_text()), signal.SIGCONT)
""",
    )
    options = ["--galago", galago, "--ssh-config", sshd.client_config, "--json"]
    done = run("flash", place.bundle(2), f"porch:{root}", *options)
    (result,) = devices(done.stdout)
    assert (result["outcome"], result["before"], result["active"]) == ("on trial", "1.0.0", "2.0.0")
    assert "the connection broke" in result["message"] and done.exit_code == 0


def test_who_ends_everything_is_not_told_more_than_is_known_and_the_device_goes_on(
    place: Place, sshd: SshServer
) -> None:
    root = place.device("device", has=1)
    galago = relay(
        place,
        root,
        """    if not again and b'installing' in data:
        os.kill(child.pid, signal.SIGSTOP)
        (flag.parent / "new").write_text(str(child.pid))
        (flag.parent / "new").rename(flag)
    os.write(1, data)
""",
    )
    options = ["--galago", galago, "--ssh-config", sshd.client_config, "--json"]
    command = [str(part) for part in (GALAGO, "flash", place.bundle(2), f"porch:{root}", *options)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as flash:
        try:
            wait_for((place.folder / "flag").exists, "the installation")
            flash.send_signal(signal.SIGINT)  # it waits for the device
            flash.send_signal(signal.SIGTERM)
            (result,) = devices(flash.communicate(timeout=DEADLINE_S)[0])
        finally:
            flash.kill()
    os.kill(int((place.folder / "flag").read_text()), signal.SIGCONT)
    assert (result["outcome"], result["message"], flash.returncode) == ("failed", "interrupted here", 3)
    assert (result["before"], result["known"]) == ("1.0.0", False)
    wait_for(lambda: active(root) == "2.0.0", "the installation")


def test_who_finds_the_store_taken_says_what_is_active_now_and_not_what_was(
    place: Place, sshd: SshServer
) -> None:
    """Between the question and the installation somebody else has gone back to 1.0.0."""
    root = place.device("device", has=1)
    assert run("install", place.bundle(2), "--root", root).exit_code == 0
    galago = relay(
        place,
        root,
        """    if not again and b'hello' in data:
        from galago_edge.store import Store, rollback
        from galago_edge.store.filesystem import StoreFs
        rollback(Store(root), "eyes", reason="by hand")
        lock = StoreFs().lock(root / "lock")
        flag.touch()
    os.write(1, data)
""",
    )
    options = ["--galago", galago, "--ssh-config", sshd.client_config, "--json"]
    done = run("flash", place.bundle(3), f"porch:{root}", *options)
    (result,) = devices(done.stdout)
    assert (result["outcome"], result["reason"], done.exit_code) == ("failed", "LOCKED", 5)
    assert (result["before"], result["active"], result["known"]) == ("2.0.0", "1.0.0", True)


def test_a_device_whose_record_is_lost_can_still_be_flashed(place: Place) -> None:
    card = place.device("card")
    for version in (1, 2):
        assert run("flash", place.bundle(version), card).exit_code == 0
    for name in ("state.a", "state.b"):
        (card / name).unlink()
        (card / name).write_bytes(b"not a record")
    before = {path: path.stat().st_mtime_ns for path in card.rglob("*")}
    dry = run("flash", place.bundle(3), card, "--dry-run")
    assert "its state is damaged" in dry.stderr and dry.exit_code == 0, dry.output
    assert {path: path.stat().st_mtime_ns for path in card.rglob("*")} == before
    (done,) = devices(run("flash", place.bundle(3), card, "--json").stdout)
    assert (done["outcome"], done["active"], active(card)) == ("on trial", "3.0.0", "3.0.0")


def test_what_is_there_already_is_not_collected_while_it_is_taken(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Left by an attempt that broke off behind the copy: nobody needs it, until it is offered again."""
    other, root = place.device("other", has=2), place.device("device", has=1)
    bundle = open_bundle(place.bundle(2))
    shutil.copytree(Store(other).folder(bundle.id), Store(root).folder(bundle.id))
    offer = Offer(
        manifest=bundle.manifest_bytes,
        signature=bundle.signature_bytes,
        size=place.bundle(2).stat().st_size,
        sha256="0" * 64,  # the file itself is not asked for
    )
    right, removed = receiving.receive, []

    def first_somebody_collects(*args: Any, **options: Any) -> Receipt:
        removed.extend(collect(Store(root)))
        return right(*args, **options)

    monkeypatch.setattr(receiving, "receive", first_somebody_collects)
    down, up = os.pipe(), os.pipe()
    Pipe(up[0], down[1]).send(offer)
    assert ReceivingSession(Pipe(down[0], up[1]), root).serve() == 0
    assert (removed, active(root)) == ([], "2.0.0")
    for fd in (*down, *up):
        os.close(fd)


def test_a_key_that_may_flash_and_nothing_else_can_flash_and_nothing_else(
    place: Place, sshd: SshServer
) -> None:
    """The line of authorized_keys that docs/flashing.md gives."""
    root = place.device("device")
    authorized = place.folder / "sshd" / "authorized_keys"
    line = f'restrict,command="{GALAGO} receive --stdio --root {root}" {authorized.read_text()}'
    authorized.write_text(line)
    options = ["--ssh-config", sshd.client_config]
    done = run("flash", place.bundle(1), "porch:/somewhere/else", *options, "--json")
    assert (devices(done.stdout)[0]["outcome"], active(root)) == ("committed", "1.0.0")
    before = (root / "profile.toml").read_bytes()
    made = run("provision", "porch", "--profile", BOARD, "--replace-profile", *options)
    assert made.exit_code == 3 and "takes bundles from this key" in made.stderr
    assert (root / "profile.toml").read_bytes() == before


# Which machine


def test_a_pinned_device_is_told_from_another_one_of_the_same_board(place: Place) -> None:
    card = place.device("disk/var/lib/galago")
    (place.folder / "disk/etc").mkdir()
    (place.folder / "disk/etc/machine-id").write_text("0123456789abcdef0123456789abcdef\n")
    first = devices(run("flash", place.bundle(1), f"{place.folder}/disk", "--json").stdout)[0]
    assert len(first["machine"]) == 16
    fleet = place.folder / "fleet.toml"
    for machine, code in ((first["machine"], 0), ("0" * 16, 1)):
        fleet.write_text(f'[device.porch]\naddress = "{place.folder}/disk"\nmachine = "{machine}"\n')
        done = run("flash", place.bundle(2), "@porch", "--fleet", fleet, "--dry-run", "--json")
        assert done.exit_code == code, done.output
    (result,) = devices(done.stdout)
    assert (result["outcome"], result["reason"]) == ("refused", "TARGET_UNKNOWN")
    assert first["machine"] in result["message"] and active(card) == "1.0.0"
