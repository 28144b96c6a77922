"""``galago flash`` and ``galago provision``: to real folders, and through a real sshd on loopback."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from click.testing import CliRunner, Result

import galago_edge
from galago_devices import profile_text
from galago_edge.bundle import open_bundle
from galago_edge.commands.cli import main
from galago_edge.contract.errors import BusyError
from galago_edge.host.machine import this_arch
from galago_edge.service.control import Control
from galago_edge.store import Store, commit, rollback
from galago_edge.store.filesystem import StoreFs
from galago_workstation.flashing import device_session, links
from real_parts import Cable, SshServer, small_disk, wait_for
from real_parts.processes import DEADLINE_S
from test_kit import OTHER_KEY, make_bundle, make_service_status, trust

LABELS = ["dark", "mid", "bright"]
BOARDS = {"x86_64": "generic-x86-64", "aarch64": "generic-arm64"}
BOARD = BOARDS.get(this_arch(), "")
GALAGO = Path(sys.executable).parent / "galago"
EARLY = 500_000
"""ssh takes 2 MB that nobody has read yet; only what is cut before then has certainly not arrived whole."""
RealPart = Callable[..., Any]

pytestmark = pytest.mark.skipif(not BOARD, reason=f"the catalogue has no board for {this_arch()}")


class Workplace:
    """Bundles, devices, and the command. ``shelf``: what is made once, and then only read or copied."""

    def __init__(self, folder: Path, shelf: Path, model: bytes) -> None:
        self.folder = folder
        self.shelf = shelf
        self.model = model

    def bundle(self, counter: int, *, big: bool = False, **options: Any) -> Path:
        """Return version ``counter``.0.0; ``big``: of 3 MB, most of it a golden picture."""
        path = self.shelf / "-".join(["eyes", str(counter), str(big), *options, ".galago"])
        if path.exists():
            return path
        golden = None
        if big:
            noise = np.random.default_rng(counter).integers(0, 256, (1000, 1000, 3), np.uint8)
            golden = {"mid": cv2.imencode(".png", noise)[1].tobytes()}
        info = {"name": "eyes", "version": f"{counter}.0.0", "release_counter": counter}
        return make_bundle(path, self.model, LABELS, golden=golden, **info, **options)

    def device(self, name: str, board: str = BOARD, *, has: Path | None = None) -> Path:
        made = self.shelf / f"{board}-{has.stem if has else 'new'}"
        if not made.exists():
            (trust(made) / "profile.toml").write_text(profile_text(board))
            if has is not None:
                assert run("install", has, "--root", made).exit_code == 0
        return Path(shutil.copytree(made, self.folder / name))

    def flash(self, bundle: Path, *args: object, exit_code: int = 0) -> list[dict[str, Any]]:
        """Run the command and return what it says of each device, checked against its exit code."""
        results = self.folder / "results.json"
        done = run("flash", bundle, *args, "--json", "--results", results)
        assert done.exit_code == exit_code, done.output
        report = json.loads(done.stdout)
        assert report == json.loads(results.read_bytes())
        assert report["exit"] == exit_code and report["id"] == open_bundle(bundle).id
        devices: list[dict[str, Any]] = report["devices"]
        return devices

    def one(self, bundle: Path, *args: object, exit_code: int = 0) -> dict[str, Any]:
        (device,) = self.flash(bundle, *args, exit_code=exit_code)
        return device


class Flash:
    """The command as a process of its own, which never outlives its test."""

    def __init__(self, *command: object, nohup: bool = False) -> None:
        """``nohup``: whether SIGHUP is ignored, whatever these tests themselves were started with."""
        self.process = subprocess.Popen(
            [str(part) for part in command],
            stdout=subprocess.PIPE,
            preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN if nohup else signal.SIG_DFL),
        )

    def said(self) -> bytes:
        return self.process.communicate(timeout=DEADLINE_S)[0]

    def stop(self) -> None:
        with self.process:
            self.process.kill()


def run(*args: object) -> Result:
    return CliRunner().invoke(main, [str(arg) for arg in args])


def active(root: Path) -> str | None:
    slot = Store(root).state().slots.get("eyes")
    return slot.active.version if slot else None


def inbox(root: Path) -> list[Path]:
    return sorted((root / "inbox").glob("*"))


def arrived(root: Path) -> bool:
    """Whether there is a beginning of a bundle."""
    return any(path.stat().st_size for path in inbox(root))


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("shelf")


@pytest.fixture
def place(tmp_path: Path, shelf: Path, tiny_image_model: bytes) -> Workplace:
    return Workplace(tmp_path, shelf, tiny_image_model)


@pytest.fixture
def sshd(real_part: RealPart, tmp_path: Path) -> SshServer:
    return real_part(SshServer, tmp_path).start()


def by_ssh(sshd: SshServer, *options: object) -> list[object]:
    return ["--galago", GALAGO, "--ssh-config", sshd.client_config, *options]


# Folders


def test_a_card_gets_the_bundle_and_the_next_one_is_on_trial_from_its_next_start(place: Workplace) -> None:
    card = place.device("card")
    assert place.one(place.bundle(1), card)["outcome"] == "committed"
    second = place.one(place.bundle(2), card)
    assert "the device answers its golden samples at its first start" in second["message"]
    assert (second["outcome"], second["before"], second["active"]) == ("on trial", "1.0.0", "2.0.0")
    waited = place.one(place.bundle(2), card, "--wait", "0.1", exit_code=4)
    assert waited["outcome"] == "on trial"
    commit(Store(card), "eyes")
    assert place.one(place.bundle(2), card, "--wait", "0.1")["outcome"] == "already active"


def test_the_store_is_found_below_a_mounted_system(place: Workplace) -> None:
    root = place.device("disk/var/lib/galago")
    place.one(place.bundle(1), place.folder / "disk")
    assert active(root) == "1.0.0"


def test_an_empty_mount_point_is_refused_and_stays_empty(place: Workplace) -> None:
    (place.folder / "mnt").mkdir()
    result = place.one(place.bundle(1), place.folder / "mnt", exit_code=2)
    assert (result["outcome"], result["reason"]) == ("refused", "TARGET_UNKNOWN")
    assert list((place.folder / "mnt").iterdir()) == []


def test_a_card_for_another_machine_is_checked_by_its_own_profile(place: Workplace) -> None:
    other = next(board for arch, board in BOARDS.items() if arch != this_arch())
    card = place.device("card", other)
    assert place.one(place.bundle(1), card)["outcome"] == "committed"
    pi = place.device("pi", "raspberry-pi-3-32bit")
    assert place.one(place.bundle(1), pi, exit_code=1)["reason"] == "PROFILE_MISMATCH"


def test_a_dry_run_says_what_would_be_and_writes_nothing(place: Workplace) -> None:
    card = place.device("card", has=place.bundle(2))
    before = {path: path.stat().st_mtime_ns for path in card.rglob("*")}
    dry = place.one(place.bundle(3), card, "--dry-run")
    assert (dry["outcome"], dry["message"]) == ("would install", "")
    assert place.one(place.bundle(1), card, "--dry-run", exit_code=1)["reason"] == "DOWNGRADE"
    assert {path: path.stat().st_mtime_ns for path in card.rglob("*")} == before


def test_a_staged_bundle_is_there_and_the_old_one_active(place: Workplace) -> None:
    card = place.device("card", has=place.bundle(1))
    assert place.one(place.bundle(2), card, "--stage-only")["outcome"] == "staged"
    assert active(card) == "1.0.0"
    assert place.one(place.bundle(2), card)["outcome"] == "on trial"
    assert active(card) == "2.0.0"


def test_a_downgrade_needs_its_own_word(place: Workplace) -> None:
    card = place.device("card", has=place.bundle(2))
    assert place.one(place.bundle(1), card, exit_code=1)["reason"] == "DOWNGRADE"
    assert place.one(place.bundle(1), card, "--allow-downgrade")["active"] == "1.0.0"


def test_a_board_that_it_was_not_built_for_needs_its_own_word(place: Workplace) -> None:
    pi = place.device("pi", "raspberry-pi-3-32bit")
    refused = place.one(place.bundle(1), pi, exit_code=1)
    assert refused["reason"] == "PROFILE_MISMATCH" and "--ignore-compatible" in refused["hint"]
    assert place.one(place.bundle(1), pi, "--ignore-compatible", "--dry-run")["outcome"] == "would install"
    fitting = place.device("card")
    results = place.flash(place.bundle(1), pi, fitting, "--ignore-compatible")
    assert [result["outcome"] for result in results] == ["committed", "committed"]
    told = [
        [e.reason for e in Store(root).state().history if e.action == "override"] for root in (pi, fitting)
    ]
    assert told == [["ignore-compatible"], []]


def test_every_device_gets_its_own_truth_and_only_those_that_failed_are_tried_again(place: Workplace) -> None:
    cards = [place.device(f"card{number}") for number in range(3)]
    (cards[1] / "trust").rename(cards[1] / "hidden")
    results = place.flash(place.bundle(1), *cards, exit_code=1)
    assert [result["outcome"] for result in results] == ["committed", "refused", "committed"]
    assert results[1]["reason"] == "KEY_UNKNOWN" and results[1]["active"] is None
    (cards[1] / "hidden").rename(cards[1] / "trust")
    again = place.flash(place.bundle(1), "--retry-failed", place.folder / "results.json")
    assert [(result["target"], result["outcome"]) for result in again] == [(str(cards[1]), "committed")]
    assert place.flash(place.bundle(1), "--retry-failed", place.folder / "results.json") == []
    other = run("flash", place.bundle(2), "--retry-failed", place.folder / "results.json")
    assert other.exit_code == 2 and "[CONFIG_BAD]" in other.stderr


def test_people_read_one_line_for_each_device_and_a_summary(place: Workplace) -> None:
    cards = [place.device("card0"), place.folder / "gone"]
    done = run("flash", place.bundle(1), *cards)
    first, second, hint, last = done.stdout.splitlines()
    assert first.split()[1] == "committed," and "1.0.0 is active" in first
    assert second.endswith("[TARGET_UNKNOWN]") and hint.strip().startswith("Hint: ")
    assert last.startswith("eyes 1.0.0: 1 committed, 1 refused (TARGET_UNKNOWN); ")
    assert done.exit_code == 2


def fleet(place: Workplace, text: str) -> Path:
    path = place.folder / "fleet.toml"
    path.write_text(text)
    return path


def test_a_group_waits_for_its_canary_and_goes_on_when_that_is_well(place: Workplace) -> None:
    for name in ("a", "b", "c"):
        place.device(name, has=None if name == "a" else place.bundle(1))
    path = fleet(
        place,
        "[defaults]\ncanary_wait_s = 0.5\n"
        + "".join(f'[device.{name}]\naddress = "{place.folder}/{name}"\n' for name in ("a", "b", "c"))
        + '[group.good]\nmembers = ["b", "a"]\ncanary = ["a"]\n'
        + '[group.slow]\nmembers = ["a", "b", "c"]\ncanary = ["c"]\n',
    )
    good = place.flash(place.bundle(2), "@good", "--fleet", path)
    assert [(result["target"], result["outcome"]) for result in good] == [
        ("@b", "on trial"),
        ("@a", "committed"),
    ]
    slow = place.flash(place.bundle(3), "@slow", "--fleet", path, exit_code=4)
    assert [result["outcome"] for result in slow] == ["not started", "not started", "on trial"]
    assert "the canary @c is on trial" in slow[0]["message"]
    assert active(place.folder / "a") == "2.0.0"


def test_a_device_that_is_another_board_than_the_fleet_file_says_is_left_alone(place: Workplace) -> None:
    card = place.device("card")
    path = fleet(place, f'[device.porch]\naddress = "{card}"\nprofile = "raspberry-pi-5"\n')
    result = place.one(place.bundle(1), "@porch", "--fleet", path, exit_code=1)
    assert result["reason"] == "PROFILE_MISMATCH" and active(card) is None
    said = place.one(place.bundle(1), "@porch", "--fleet", path, "--ignore-compatible", exit_code=1)
    assert said["reason"] == "PROFILE_MISMATCH" and active(card) is None  # it is the wrong device


def test_a_busy_device_says_so_and_is_busy_for_the_exit_code(place: Workplace) -> None:
    card = place.device("card", has=place.bundle(1))
    fd = StoreFs().lock(card / "lock")
    done = run("flash", place.bundle(2), card)
    os.close(fd)
    assert done.exit_code == 5 and "[LOCKED]" in done.stdout
    assert "MB free, busy" in done.stderr
    assert place.one(place.bundle(2), card)["outcome"] == "on trial"


# SSH


def test_a_device_by_ssh_verifies_for_itself_and_tells_the_truth(place: Workplace, sshd: SshServer) -> None:
    root = place.device("device")
    result = place.one(place.bundle(1), f"porch:{root}", *by_ssh(sshd))
    assert (result["outcome"], result["active"]) == ("committed", "1.0.0")
    assert result["sent_bytes"] == place.bundle(1).stat().st_size and inbox(root) == []
    assert open_bundle(Store(root).active("eyes").path).id == open_bundle(place.bundle(1)).id


def cable_to(sshd: SshServer, real_part: RealPart) -> Cable:
    """Return a cable on which a big bundle cannot arrive whole: all but its beginning is held back."""
    return real_part(Cable, sshd.port, hold_after_bytes=EARLY).start()


@contextlib.contextmanager
def cut_on_the_way(cable: Cable, root: Path) -> Iterator[None]:
    """Cut the cable as soon as the device has written something."""

    def cut() -> None:
        wait_for(lambda: arrived(root), "the first bytes")
        cable.cut()

    cutter = threading.Thread(target=cut)
    cutter.start()
    try:
        yield
    finally:
        cutter.join()


def left_behind(root: Path) -> Path:
    """Return what a broken transfer left, when the device's end of it has gone."""
    (part,) = inbox(root)

    def gone() -> bool:
        with part.open("rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
            return True

    wait_for(gone, "the end of the receiver")
    return part


def test_a_connection_that_is_cut_on_the_way_goes_on_where_it_stopped(
    place: Workplace, sshd: SshServer, real_part: RealPart
) -> None:
    root = place.device("device", has=place.bundle(1))
    bundle = place.bundle(2, big=True)
    size = bundle.stat().st_size
    cable = cable_to(sshd, real_part)
    with cut_on_the_way(cable, root):
        cut = place.one(bundle, f"ssh://porch:{cable.port}{root}", *by_ssh(sshd), exit_code=3)
    assert (cut["outcome"], cut["reason"]) == ("failed", "TRANSPORT")
    assert (cut["active"], cut["known"]) == ("1.0.0", True)
    there = left_behind(root).stat().st_size
    assert 0 < there < size
    result = place.one(bundle, f"porch:{root}", *by_ssh(sshd))
    assert (result["outcome"], result["resumed_bytes"]) == ("on trial", there)
    assert result["sent_bytes"] == size - there and inbox(root) == []


def test_what_rotted_in_the_inbox_is_sent_again(
    place: Workplace, sshd: SshServer, real_part: RealPart
) -> None:
    root = place.device("device")
    bundle = place.bundle(2, big=True)
    cable = cable_to(sshd, real_part)
    with cut_on_the_way(cable, root):
        place.one(bundle, f"ssh://porch:{cable.port}{root}", *by_ssh(sshd), exit_code=3)
    with left_behind(root).open("r+b") as file:
        file.seek(4_096)
        file.write(bytes(4_096))  # as after a power cut
    result = place.one(bundle, f"porch:{root}", *by_ssh(sshd))
    assert (result["resumed_bytes"], result["active"]) == (0, "2.0.0")


WRONG: dict[str, tuple[str, dict[str, Any], str]] = {
    "the wrong board": ("raspberry-pi-3-32bit", {}, "ARCH"),
    "the wrong key": (BOARD, {"keys": [OTHER_KEY]}, "KEY_UNKNOWN"),
}


@pytest.mark.parametrize(("board", "options", "reason"), WRONG.values(), ids=WRONG)
def test_a_device_refuses_before_anything_is_sent(
    place: Workplace, sshd: SshServer, board: str, options: dict[str, Any], reason: str
) -> None:
    root = place.device("device", board)
    result = place.one(place.bundle(1, **options), f"porch:{root}", *by_ssh(sshd), exit_code=1)
    assert (result["outcome"], result["reason"], result["sent_bytes"]) == ("refused", reason, 0)
    assert result["hint"] and not (root / "inbox").exists() and active(root) is None


def test_a_device_of_another_board_takes_it_when_that_is_said(place: Workplace, sshd: SshServer) -> None:
    root = place.device("device")
    profile = root / "profile.toml"
    profile.write_text(profile.read_text().replace(BOARD, "porch"))
    target = f"porch:{root}"
    refused = place.one(place.bundle(1), target, *by_ssh(sshd), exit_code=1)
    assert (refused["reason"], refused["sent_bytes"]) == ("PROFILE_MISMATCH", 0)
    taken = place.one(place.bundle(1), target, *by_ssh(sshd, "--ignore-compatible"))
    assert (taken["outcome"], active(root)) == ("committed", "1.0.0")
    assert Store(root).state().history[-1].reason == "ignore-compatible"


def test_a_full_disk_refuses_early_and_keeps_the_old_bundle(place: Workplace, sshd: SshServer) -> None:
    with small_disk(place.folder / "small", "7m") as disk:
        shutil.copytree(place.device("device"), disk / "store")
        assert run("install", place.bundle(1), "--root", disk / "store").exit_code == 0
        result = place.one(place.bundle(2, big=True), f"porch:{disk}/store", *by_ssh(sshd), exit_code=3)
        assert (result["outcome"], result["reason"]) == ("failed", "NO_SPACE")
        assert (result["active"], result["sent_bytes"]) == ("1.0.0", 0)
        assert inbox(disk / "store") == [] and active(disk / "store") == "1.0.0"


def test_a_disk_that_fills_up_meanwhile_ends_the_transfer_and_is_not_left_full(
    place: Workplace, sshd: SshServer, real_part: RealPart
) -> None:
    bundle = place.bundle(2, big=True)
    with small_disk(place.folder / "small", "20m") as disk:
        shutil.copytree(place.device("device"), disk / "store")
        cable = cable_to(sshd, real_part)
        target = f"ssh://porch:{cable.port}{disk}/store"
        command = [GALAGO, "flash", bundle, target, *by_ssh(sshd), "--json"]
        flash = real_part(Flash, *command)
        wait_for(lambda: arrived(disk / "store"), "the first bytes")
        with (disk / "other").open("wb", buffering=0) as other, pytest.raises(OSError, match="No space"):
            while True:
                other.write(bytes(1 << 16))
        cable.release()
        (result,) = json.loads(flash.said())["devices"]
        assert (flash.process.returncode, result["reason"], result["active"]) == (3, "NO_SPACE", None)
        assert inbox(disk / "store") == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP], ids=["Ctrl+C", "the terminal is closed"])
def test_who_ends_it_while_sending_hears_that_the_old_bundle_is_active(
    place: Workplace, sshd: SshServer, real_part: RealPart, number: signal.Signals
) -> None:
    root = place.device("device", has=place.bundle(1))
    cable = cable_to(sshd, real_part)
    target = f"ssh://porch:{cable.port}{root}"
    command = [GALAGO, "flash", place.bundle(2, big=True), target, *by_ssh(sshd), "--json"]
    flash = real_part(Flash, *command)
    wait_for(lambda: arrived(root), "the first bytes")
    flash.process.send_signal(number)
    (result,) = json.loads(flash.said())["devices"]
    assert result["message"] == "interrupted here"
    assert (flash.process.returncode, result["outcome"], result["reason"]) == (3, "failed", "TRANSPORT")
    assert (result["active"], active(root)) == ("1.0.0", "1.0.0")


def test_under_nohup_the_terminal_may_be_closed(
    place: Workplace, sshd: SshServer, real_part: RealPart
) -> None:
    root = place.device("device", has=place.bundle(1))
    cable = cable_to(sshd, real_part)
    target = f"ssh://porch:{cable.port}{root}"
    command = [GALAGO, "flash", place.bundle(2, big=True), target, *by_ssh(sshd), "--json"]
    flash = real_part(Flash, *command, nohup=True)
    wait_for(lambda: arrived(root), "the first bytes")
    flash.process.send_signal(signal.SIGHUP)
    cable.release()
    (result,) = json.loads(flash.said())["devices"]
    assert (flash.process.returncode, result["outcome"], active(root)) == (0, "on trial", "2.0.0")


def judged(store: Store, verdict: str) -> bool:
    """Do what the device's service does at the end of a trial; False while the installer holds the store."""
    try:
        if verdict == "committed":
            commit(store, "eyes")
        else:
            rollback(store, "eyes", reason="TOO_SLOW: p99 of 812 ms")
    except BusyError:
        return False
    return True


@pytest.mark.parametrize("verdict", ["committed", "rolled back"])
def test_whoever_waits_hears_how_the_trial_ended(place: Workplace, real_part: RealPart, verdict: str) -> None:
    card = place.device("card", has=place.bundle(1))
    command = [GALAGO, "flash", place.bundle(2), card, "--wait", "600", "--json"]
    flash = real_part(Flash, *command)
    wait_for(lambda: active(card) == "2.0.0", "the trial")
    wait_for(lambda: judged(Store(card), verdict), "the lock")
    (result,) = json.loads(flash.said())["devices"]
    assert result["outcome"] == verdict
    if verdict == "committed":
        assert (flash.process.returncode, result["active"]) == (0, "2.0.0")
    else:
        assert (flash.process.returncode, result["active"], result["reason"]) == (6, "1.0.0", "TRIAL_FAILED")
        assert "TOO_SLOW: p99 of 812 ms" in result["message"]
        assert place.one(place.bundle(2), card, exit_code=1)["reason"] == "TRIAL_FAILED"
        assert place.one(place.bundle(2), card, "--allow-bad")["outcome"] == "on trial"


def test_the_service_that_runs_on_a_device_is_told(place: Workplace, sshd: SshServer) -> None:
    root = place.device("device")
    told: list[int] = []
    before = signal.signal(signal.SIGHUP, lambda number, _: told.append(number))
    try:
        with Control(root, lambda: make_service_status(pid=os.getpid())):
            assert place.one(place.bundle(1), f"porch:{root}", *by_ssh(sshd))["message"] == ""
            assert told == [signal.SIGHUP]
            place.one(place.bundle(1), f"porch:{root}", *by_ssh(sshd))
            assert told == [signal.SIGHUP]  # nothing new
    finally:
        signal.signal(signal.SIGHUP, before)


def script(place: Workplace, name: str, body: str, program: str = "/bin/sh") -> Path:
    path = place.folder / name
    path.write_text(f"#!{program}\n{body}\n")
    path.chmod(0o755)
    return path


def test_what_a_login_shell_prints_does_not_matter(place: Workplace, sshd: SshServer) -> None:
    root = place.device("device")
    noisy = script(place, "noisy", f'echo "Welcome to porch!"; echo oh >&2; exec {GALAGO} "$@"')
    options = ["--galago", noisy, "--ssh-config", sshd.client_config]
    assert place.one(place.bundle(1), f"porch:{root}", *options)["active"] == "1.0.0"


def test_when_the_connection_breaks_after_the_last_byte_the_device_is_asked_again(
    place: Workplace, sshd: SshServer
) -> None:
    root = place.device("device")
    mute = script(
        place,
        "mute",
        "import os, subprocess, sys\n"
        f"child = subprocess.Popen([{str(GALAGO)!r}, *sys.argv[1:]], stdout=subprocess.PIPE)\n"
        "while data := os.read(child.stdout.fileno(), 65536):\n"
        "    if b'installing' in data:\n"
        "        break  # it installs, and its answer is lost\n"
        "    os.write(1, data)\n"
        "child.communicate()",
        program=sys.executable,
    )
    options = ["--galago", mute, "--ssh-config", sshd.client_config]
    result = place.one(place.bundle(1), f"porch:{root}", *options)
    assert (result["outcome"], result["active"]) == ("committed", "1.0.0")


PREFACE = """
import os, struct, sys, time
from galago_edge.contract.flash_messages import *
import msgspec
sys.stdout.flush()
def say(message):
    body = msgspec.json.encode(message)
    os.write(1, struct.pack(">cI", b"J", len(body)) + body)
os.write(1, b"\\ngalago-receive/1\\n")
hello = Hello(
    root="/", galago_edge="1", arch="x", runtime=None, profile=None, free_bytes=1, busy=False, service="none",
    slots=(), trusted=(),
)
other = SlotState(name="eyes", active=BundleState(version="9.9.9", id="ab" * 32, release_counter=9))
"""
HOSTILE: dict[str, tuple[str, int, str, str]] = {
    "refused with the exit code of a success": (
        'say(Refused(reason="DOWNGRADE", message="no", hint="", exit=0)); time.sleep(60)',
        1,
        "refused",
        "DOWNGRADE",
    ),
    "a failure with the exit code of a success": (
        'say(hello); say(Refused(reason="NO_SPACE", message="no", hint="", exit=0)); time.sleep(60)',
        3,
        "failed",
        "NO_SPACE",
    ),
    "a reason that is none": (
        'say(Refused(reason="\\x1b[2J", message="no", hint="", exit=0)); time.sleep(60)',
        3,
        "failed",
        "TRANSPORT",
    ),
    "committed, and another bundle is active": (
        'say(hello); say(Done(outcome="committed", slot=other)); time.sleep(60)',
        3,
        "failed",
        "TRANSPORT",
    ),
    "would install, and nobody asked for that only": (
        'say(hello); say(Done(outcome="would install", slot=None)); time.sleep(60)',
        3,
        "failed",
        "TRANSPORT",
    ),
    "a byte now and then": (
        "while True: os.write(1, b'J'); time.sleep(0.05)",
        3,
        "failed",
        "TRANSPORT",
    ),
    "words without end": (
        'say(hello)\nwhile True: say(Step(name="waiting", detail="x" * 1000))',
        3,
        "failed",
        "TRANSPORT",
    ),
}


@pytest.mark.parametrize(("does", "code", "outcome", "reason"), HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_device_neither_lies_nor_holds_the_command(
    place: Workplace,
    sshd: SshServer,
    monkeypatch: pytest.MonkeyPatch,
    does: str,
    code: int,
    outcome: str,
    reason: str,
) -> None:
    for name, seconds in (("_HELLO_S", 2.0), ("_WORK_S", 3.0), ("_LOOK_S", 1.0), ("_LAST_WORDS_S", 1.0)):
        monkeypatch.setattr(device_session, name, seconds)
    monkeypatch.setattr(links, "_END_S", 1.0)
    hostile = script(place, "hostile", PREFACE + does, program=sys.executable)
    options = ["--galago", hostile, "--ssh-config", sshd.client_config]
    result = place.one(place.bundle(1), "porch:/data", *options, exit_code=code)
    assert (result["outcome"], result["reason"]) == (outcome, reason), result
    assert result["hint"] or reason in ("DOWNGRADE", "NO_SPACE")


def test_of_what_a_device_prints_the_end_is_kept(place: Workplace, sshd: SshServer) -> None:
    root = place.device("device")
    flood = 'head -c 600000000 /dev/zero | tr "\\0" x >&2; echo >&2; echo the last word >&2'
    loud = script(place, "loud", f'{flood}; exec {GALAGO} "$@"')
    options = ["--galago", loud, "--ssh-config", sshd.client_config, "--logs", place.folder / "logs"]
    assert place.one(place.bundle(1), f"porch:{root}", *options)["active"] == "1.0.0"
    (log,) = (place.folder / "logs").iterdir()
    assert log.stat().st_size < 200_000 and "the last word" in log.read_text()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_who_logs_in_as_an_ordinary_user_is_told_as_whom_it_works(place: Workplace, sshd: SshServer) -> None:
    root = place.device("device")
    root.chmod(0o755)
    for path in (place.folder, *place.folder.parents):
        with contextlib.suppress(PermissionError):
            path.chmod(path.stat().st_mode | 0o055)
    ordinary = script(
        place,
        "ordinary",
        f"export PYTHONPATH={Path(galago_edge.__file__).parents[1]}\n"  # this one, whatever is installed
        f'exec setpriv --reuid=65534 --regid=65534 --clear-groups {GALAGO} "$@"',
    )
    options = ["--galago", ordinary, "--ssh-config", sshd.client_config]
    for target in (f"porch:{root}", f"porch:{root}/closed"):
        (root / "closed").mkdir(mode=0o700, exist_ok=True)
        result = place.one(place.bundle(1), target, *options, exit_code=3)
        assert (result["outcome"], result["reason"]) == ("failed", "PERMISSION"), result
        assert "root@HOST" in result["hint"] and "--user root" in result["hint"]
    made = run(
        "provision", f"porch:{root}/new", "--profile", BOARD, "--galago", ordinary,
        "--ssh-config", sshd.client_config,
    )  # fmt: skip
    assert made.exit_code == 3 and "[PERMISSION]" in made.output and "--user root" in made.output


UNREACHABLE: dict[str, tuple[str, str, str]] = {
    "a stranger": ("stranger", "Permission denied", "ssh-copy-id"),
    "an unknown device": ("unknown", "Host key verification failed", "fingerprint"),
    "a device whose address another one has now": ("swapped", "another machine", "ssh-keygen -R"),
    "no galago there": ("nothing", "no galago command on the device", "--galago"),
    "something else than galago there": ("other", "no galago answers there", "galago --version"),
    "no such settings of ssh": ("settings", "Can't open user config file", "--ssh-config"),
    "nobody there": ("port", "Connection refused", "sshd"),
}


@pytest.mark.parametrize(("how", "message", "hint"), UNREACHABLE.values(), ids=UNREACHABLE)
def test_who_cannot_be_reached_is_a_failure_with_what_to_do(
    place: Workplace, sshd: SshServer, how: str, message: str, hint: str
) -> None:
    root = place.device("device")
    config = sshd.config_for("stranger") if how == "stranger" else sshd.client_config
    if how == "unknown":
        config = sshd.config_for("client", known=False)
    if how == "swapped":
        host_key = " ".join((place.folder / "sshd" / "stranger.pub").read_text().split()[:2])
        Path(place.folder / "sshd" / "known_hosts-True").write_text(f"device {host_key}\n")
    if how == "settings":
        config = place.folder / "none"
    galago = {"nothing": "/nowhere/galago", "other": "/bin/true"}.get(how, GALAGO)
    target = f"ssh://porch:1{root}" if how == "port" else f"porch:{root}"
    options = ["--galago", galago, "--ssh-config", config]
    result = place.one(place.bundle(1), target, *options, exit_code=3)
    reason = "PERMISSION" if how == "stranger" else "TRANSPORT"
    assert (result["outcome"], result["reason"], result["known"]) == ("failed", reason, False)
    assert message in result["message"] and hint in result["hint"], result


# Provisioning


def test_a_machine_by_ssh_becomes_a_device_that_takes_a_bundle(place: Workplace, sshd: SshServer) -> None:
    root = place.folder / "new"
    key = next((trust(place.folder / "keys") / "trust").glob("*.pub"))
    made = run("provision", f"porch:{root}", "--profile", BOARD, "--trust", key, "--no-unit", *by_ssh(sshd))
    assert made.exit_code == 0, made.output
    assert (root / "profile.toml").read_text() == profile_text(BOARD)
    assert place.one(place.bundle(1), f"porch:{root}", *by_ssh(sshd))["active"] == "1.0.0"
    again = run("provision", f"porch:{root}", "--profile", BOARD, "--trust", key, "--no-unit", *by_ssh(sshd))
    assert again.exit_code == 0 and "was there already" in again.stdout
    other = run("provision", f"porch:{root}", "--profile", "raspberry-pi-5", "--no-unit", *by_ssh(sshd))
    assert other.exit_code == 1 and "[ARCH]" in other.stderr


def test_a_mounted_system_gets_store_keys_and_an_enabled_service(place: Workplace) -> None:
    disk = place.folder / "disk"
    (disk / "etc/systemd/system").mkdir(parents=True)
    (disk / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/sh\n")
    (disk / "etc/group").write_text("root:x:0:\n")
    key = next((trust(place.folder / "keys") / "trust").glob("*.pub"))
    made = run("provision", f"{disk}/", "--profile", "raspberry-pi-5", "--trust", key)
    assert made.exit_code == 0, made.output
    root = disk / "var/lib/galago"
    assert Store(root).profile().id == "raspberry-pi-5" and len(Store(root).trusted()) == 1  # type: ignore[union-attr]
    unit = (disk / "etc/systemd/system/galago.service").read_text()
    assert "--root /var/lib/galago" in unit and str(disk) not in unit
    assert "galago:" in (disk / "etc/passwd").read_text() or "useradd --system" in made.stdout
    assert "/usr/local/bin/galago is missing" in made.stdout
    assert "/etc/galago/galago.toml is missing" in made.stdout
    wanted = disk / "etc/systemd/system/multi-user.target.wants/galago.service"
    assert str(wanted.readlink()) == "/etc/systemd/system/galago.service"
    other = run("provision", f"{disk}/", "--profile", BOARD)
    assert other.exit_code == 2 and "[EXISTS]" in other.stderr
    assert run("provision", f"{disk}/", "--profile", BOARD, "--replace-profile").exit_code == 0


def test_a_receiver_for_bundles_takes_no_keys(place: Workplace) -> None:
    """So a key of authorized_keys that may flash cannot change whom the device trusts."""
    from galago_edge.contract.flash_messages import Provision, Refused
    from galago_edge.intake.flash_pipe import Pipe

    root = place.device("device")
    command = [str(GALAGO), "receive", "--stdio", "--root", str(root)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as device:
        assert device.stdin is not None and device.stdout is not None
        pipe = Pipe(device.stdout.fileno(), device.stdin.fileno())
        pipe.await_greeting(30)
        pipe.from_device(30)
        pipe.send(Provision(profile=profile_text(BOARD), keys=(f"ed25519 {'0' * 64} evil",), unit=False))
        answer = pipe.from_device(30)
        assert isinstance(answer, Refused) and answer.reason == "TRANSPORT"
        device.stdin.close()
    assert len(Store(root).trusted()) == 1
