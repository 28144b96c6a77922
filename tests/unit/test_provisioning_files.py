"""What makes a machine a device: files that are whole or absent, and nothing overwritten unasked."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from galago_devices import profile_text
from galago_edge.bundle.keys import key_id, public_line
from galago_edge.contract.errors import CallerError, DeviceError, GalagoError
from galago_edge.host.machine import this_arch
from galago_edge.intake.provisioning import provision, this_program
from galago_edge.intake.system_user import ensure_user, user_of
from galago_edge.intake.unit_file import unit_text, why_unreachable
from galago_edge.store import Store
from real_parts import missing_part
from test_kit import OTHER_KEY, TEST_KEY

PI = profile_text("raspberry-pi-5")
PC = profile_text("generic-x86-64")
KEY = public_line(key_id(TEST_KEY), "release")


def test_a_data_disk_gets_all_three_beside_each_other(tmp_path: Path) -> None:
    done = provision(tmp_path / "data", PI, [KEY], system=None, at=Path("/var/lib/galago"))
    store = Store(tmp_path / "data")
    assert store.trusted().comments == {key_id(TEST_KEY): "release"}
    assert (store.root / "profile.toml").read_text() == PI
    assert "ExecStart=/usr/local/bin/galago run" in (store.root / "galago.service").read_text()
    assert [line.split(" ")[0] for line in done] == ["profile", "key", "unit"]
    assert {path.name for path in store.root.iterdir()} - {"lock"} == {
        "profile.toml",
        "trust",
        "galago.service",
    }


def test_it_can_be_repeated_and_keys_are_added(tmp_path: Path) -> None:
    provision(tmp_path, PI, [KEY], system=None, unit=False)
    again = provision(tmp_path, PI, [KEY, public_line(key_id(OTHER_KEY))], system=None, unit=False)
    assert "was there already" in again[0] and "was trusted already" in again[1]
    assert len(Store(tmp_path).trusted()) == 2


def test_another_board_is_not_overwritten_unasked(tmp_path: Path) -> None:
    provision(tmp_path, PI, [], system=None, unit=False)
    with pytest.raises(CallerError) as refused:
        provision(tmp_path, PC, [KEY], system=None, unit=False)
    assert refused.value.reason == "EXISTS"
    assert (tmp_path / "profile.toml").read_text() == PI and len(Store(tmp_path).trusted()) == 0
    provision(tmp_path, PC, [], system=None, unit=False, replace=True)
    assert (tmp_path / "profile.toml").read_text() == PC


WRONG = {
    "no profile": ("id = 1", KEY, "CONFIG_BAD"),
    "no key": (PI, "ssh-ed25519 AAAA", "KEY_BAD"),
}


@pytest.mark.parametrize(("profile", "key", "reason"), WRONG.values(), ids=WRONG)
def test_what_is_wrong_leaves_nothing_behind(tmp_path: Path, profile: str, key: str, reason: str) -> None:
    with pytest.raises(GalagoError) as refused:
        provision(tmp_path / "new", profile, [key], system=None)
    assert refused.value.reason == reason and not (tmp_path / "new").exists()


def test_this_machine_takes_no_profile_of_another_one(tmp_path: Path) -> None:
    other = PI if this_arch() == "x86_64" else PC
    with pytest.raises(DeviceError) as refused:
        provision(tmp_path / "new", other, [], unit=False)
    assert refused.value.reason == "ARCH" and not (tmp_path / "new").exists()


def test_the_service_is_the_galago_that_was_asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("sys.argv", ["/opt/galago/bin/galago", "receive"])
    assert this_program() == "/opt/galago/bin/galago"
    monkeypatch.setattr("sys.argv", ["pytest"])
    monkeypatch.setenv("PATH", str(tmp_path))
    assert this_program() is None


def test_a_store_elsewhere_is_said_in_the_unit_file(tmp_path: Path) -> None:
    (tmp_path / "etc/systemd/system").mkdir(parents=True)
    provision(tmp_path / "data", PI, [], system=tmp_path, at=Path("/data/galago"))
    unit = (tmp_path / "etc/systemd/system/galago.service").read_text()
    assert "--root /data/galago" in unit and "ReadWritePaths=/data/galago" in unit
    assert "/var/lib/galago" not in unit and "StateDirectory" not in unit


def system(tmp_path: Path) -> Path:
    """Make what a mounted system has at least."""
    for folder in ("etc/systemd/system", "usr/local/bin"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/sh\n")
    (tmp_path / "etc/group").write_text("root:x:0:\n")
    return tmp_path


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a user")
@pytest.mark.parametrize("tool", ["systemd-sysusers", "useradd"])
def test_the_user_of_the_service_is_made_on_a_mounted_system(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, tool: str
) -> None:
    monkeypatch.setenv("PATH", os.environ["PATH"] + ":/usr/sbin:/sbin")
    found = shutil.which(tool)
    if found is None:
        missing_part(f"no {tool}")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / tool).symlink_to(found)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    disk = system(tmp_path / "disk")
    assert ensure_user(disk) == f"user galago made by {tool}"
    user = user_of(disk)
    assert user is not None and user.uid > 0
    name, _, number, _ = (disk / "etc/group").read_text().splitlines()[-1].split(":")
    assert (name, int(number)) == ("galago", user.gid)
    assert "nologin" in (disk / "etc/passwd").read_text()
    assert ensure_user(disk) == "user galago was there already"


def test_where_no_tool_can_make_the_user_the_line_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    disk = system(tmp_path / "disk")
    assert "useradd --system" in ensure_user(disk) and user_of(disk) is None
    assert (disk / "etc/sysusers.d/galago.conf").read_text().startswith("u galago ")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_the_store_of_a_mounted_system_belongs_to_the_user_of_its_service(tmp_path: Path) -> None:
    disk = system(tmp_path / "disk")
    with (disk / "etc/passwd").open("a") as passwd:
        passwd.write("galago:x:12345:12346::/var/lib/galago:/usr/sbin/nologin\n")
    root = disk / "data/galago"
    provision(root, PI, [KEY], system=disk, at=Path("/data/galago"))
    for path in (root, *root.rglob("*")):
        assert (path.stat().st_uid, path.stat().st_gid) == (12_345, 12_346), path


def test_what_the_service_still_lacks_is_said_until_it_is_there(tmp_path: Path) -> None:
    disk = system(tmp_path / "disk")
    lacks = provision(disk / "data", PI, [], system=disk)[-2:]
    assert "/usr/local/bin/galago is missing" in lacks[0] and "/etc/galago/galago.toml is missing" in lacks[1]
    (disk / "usr/local/bin/galago").symlink_to("/opt/galago/bin/galago")  # leads nowhere on this machine
    (disk / "etc/galago").mkdir()
    (disk / "etc/galago/galago.toml").touch()
    assert not any("is missing" in line for line in provision(disk / "data", PI, [], system=disk))


def environment(disk: Path, at: str, python: str) -> None:
    """A virtual environment at ``at`` whose Python is a link to ``python``, and a link to its command."""
    folder = disk / at
    (folder / "bin").mkdir(parents=True)
    real = disk / python.lstrip("/")
    real.parent.mkdir(parents=True, exist_ok=True)
    real.touch(0o755)
    (folder / "bin/python3").symlink_to("python3.11")
    (folder / "bin/python3.11").symlink_to(python)
    (folder / "pyvenv.cfg").write_text(f"home = {Path(python).parent}\nversion = 3.11.2\n")
    (folder / "bin/galago").write_text(f"#!/{at}/bin/python3\n")
    (folder / "bin/galago").chmod(0o755)
    (disk / "usr/local/bin/galago").symlink_to(f"/{at}/bin/galago")


OUT_OF_REACH = {
    "a program of a user": ("home/pi/env", "/usr/bin/python3.11", "/home"),
    "a program below /root": ("root/env", "/usr/bin/python3.11", "/root"),
    "a program below /tmp": ("tmp/env", "/usr/bin/python3.11", "/tmp"),
    "an interpreter of pyenv": ("opt/galago", "/root/.pyenv/versions/3.11.7/bin/python3.11", "/root"),
    "an interpreter of a user": ("opt/galago", "/home/pi/.local/python/bin/python3.11", "/home"),
    "an interpreter of a session": ("opt/galago", "/run/user/1000/python/bin/python3.11", "/run/user"),
}


@pytest.mark.parametrize(("at", "python", "hidden"), OUT_OF_REACH.values(), ids=OUT_OF_REACH)
def test_a_program_that_the_unit_cannot_reach_is_refused_before_anything_is_written(
    tmp_path: Path, at: str, python: str, hidden: str
) -> None:
    disk = system(tmp_path / "disk")
    environment(disk, at, python)
    with pytest.raises(DeviceError) as refused:
        provision(disk / "var/lib/galago", PI, [KEY], system=disk, at=Path("/var/lib/galago"))
    assert refused.value.reason == "UNREACHABLE" and f"below {hidden}" in str(refused.value)
    assert "/opt/galago" in refused.value.hint and not (disk / "var/lib/galago").exists()
    provision(disk / "data", PI, [KEY], system=disk, unit=False)


def test_an_environment_that_everybody_may_use_is_taken(tmp_path: Path) -> None:
    disk = system(tmp_path / "disk")
    environment(disk, "opt/galago", "/usr/bin/python3.11")
    assert any("unit file" in line for line in provision(disk / "data", PI, [KEY], system=disk))


@pytest.mark.parametrize("closed", ["opt/galago", "usr/bin/python3.11"])
def test_an_environment_that_the_user_of_the_service_may_not_enter_is_refused(
    tmp_path: Path, closed: str
) -> None:
    disk = system(tmp_path / "disk")
    environment(disk, "opt/galago", "/usr/bin/python3.11")
    (disk / closed).chmod(0o700)
    with pytest.raises(DeviceError, match=f"may not use /{closed}"):
        provision(disk / "data", PI, [KEY], system=disk)


SHEBANGS = {
    "env": "#!/usr/bin/env python3\n",
    "of pip, long": "#!/bin/sh\n'''exec' \"/home/pi/a b/python3\" \"$0\" \"$@\"\n' '''\n",
    "with a blank": "#! /home/pi/python3 -I\n",
}


@pytest.mark.parametrize("shebang", SHEBANGS.values(), ids=SHEBANGS)
def test_however_a_script_names_its_interpreter_it_is_found(tmp_path: Path, shebang: str) -> None:
    disk = system(tmp_path / "disk")
    for name in ("home/pi/a b/python3", "home/pi/python3", "bin/sh", "usr/bin/env"):
        (disk / name).parent.mkdir(parents=True, exist_ok=True)
        (disk / name).touch(0o755)
    (disk / "usr/bin/python3").symlink_to("/home/pi/python3")
    (disk / "usr/local/bin/galago").write_text(shebang)
    (disk / "usr/local/bin/galago").chmod(0o755)
    with pytest.raises(DeviceError) as refused:
        provision(disk / "data", PI, [KEY], system=disk)
    assert refused.value.reason == "UNREACHABLE" and "below /home" in str(refused.value)


def test_links_in_a_circle_are_no_program(tmp_path: Path) -> None:
    disk = system(tmp_path / "disk")
    (disk / "opt").mkdir()
    (disk / "opt/galago").symlink_to("/opt/galago")
    text = unit_text("/opt/galago", Path("/var/lib/galago"))
    assert "cannot be used" in why_unreachable("/opt/galago", text, disk)


def test_the_unit_is_confined_and_understood(tmp_path: Path) -> None:
    """What stays open, and why: docs/confinement.md."""
    if shutil.which("systemd-analyze") is None:
        missing_part("no systemd-analyze")
    disk = system(tmp_path / "disk")
    environment(disk, "opt/galago", "/usr/bin/python3.11")
    provision(disk / "var/lib/galago", PI, [], system=disk, at=Path("/var/lib/galago"))
    unit = disk / "etc/systemd/system/galago.service"
    verify = ["systemd-analyze", "verify", "--man=no", str(unit)]
    said = subprocess.run(verify, capture_output=True, text=True, check=False).stderr
    wrong = [line for line in said.splitlines() if "galago.service" in line and "not executable" not in line]
    assert wrong == []
    security = ["systemd-analyze", "security", "--offline=true", "--threshold=30", "--no-pager", str(unit)]
    done = subprocess.run(security, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
