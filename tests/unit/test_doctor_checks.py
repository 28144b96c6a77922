"""``galago doctor``: what it finds on whole and on broken devices, and that nothing stops it."""

from __future__ import annotations

import configparser
import grp
import json
import os
import pwd
import re
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator
from importlib import resources
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner

from galago_edge.bundle import open_bundle
from galago_edge.bundle.keys import key_id
from galago_edge.commands.cli import main
from galago_edge.contract.findings import fail, ok
from galago_edge.doctor import (
    Case,
    DoctorCheck,
    Finding,
    configuration_checks,
    examine,
    machine_checks,
    recording_checks,
    sink_checks,
    software_checks,
    source_checks,
    store_checks,
)
from galago_edge.doctor.case import Account, Check
from galago_edge.doctor.check_list import in_order, own_checks
from galago_edge.doctor.software_checks import known_extras
from galago_edge.host.machine import this_arch
from galago_edge.intake.receiver import receive
from galago_edge.intake.unit_file import unit_text
from galago_edge.store import Store, install_bundle
from galago_edge.store.trust_folder import revoke_key
from real_parts import small_disk
from test_kit import OTHER_KEY, TEST_KEY, make_bundle, make_hollow_bundle, trust

ROOT = Path(__file__).parents[2]
NOBODY = Account("galago", 54_321, frozenset())
PROFILE = (ROOT / "devices/galago_devices/profiles/generic-x86-64.toml").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory, tiny_image_model: bytes) -> Path:
    """A folder whose ``device`` was made once, and is only copied."""
    shelf = tmp_path_factory.mktemp("shelf")
    root = trust(shelf / "device")
    (root / "profile.toml").write_text(PROFILE.replace('"x86_64"', f'"{this_arch()}"'), encoding="utf-8")
    receive(make_bundle(shelf / "a.galago", tiny_image_model, ("dark", "mid", "bright"), name="light"), root)
    return shelf


@pytest.fixture
def device(tmp_path: Path, shelf: Path) -> Path:
    """A store with one camera bundle, and a board that it fits."""
    return Path(shutil.copytree(shelf / "device", tmp_path / "device", symlinks=True))


@pytest.fixture
def board(tmp_path: Path) -> Path:
    """A Raspberry Pi with two equal USB cameras, a codec that is none, a USB microphone and an HDMI card."""
    board = tmp_path / "board"
    for name, number, kind in (("HD Webcam", 0, "0"), ("HD Webcam", 2, "0"), ("HD Webcam", 1, "1")):
        folder = board / f"sys/class/video4linux/video{number}"
        folder.mkdir(parents=True)
        (folder / "name").write_text(f"{name}\n")
        (folder / "index").write_text(f"{kind}\n")
    for folder, names in (
        ("dev/v4l/by-id", {"usb-Acme_HD_Webcam_1234-video-index0": "../../video0"}),
        ("dev/v4l/by-path", {"platform-usb-0:1.2:1.0-video-index0": "../../video2"}),
        ("dev/snd/by-id", {"usb-C-Media_Mic-00": "../controlC1"}),
    ):
        (board / folder).mkdir(parents=True)
        for link, target in names.items():
            (board / folder / link).symlink_to(target)
    for node in ("video0", "video1", "video2", "snd/pcmC1D0c"):
        (board / "dev" / node).touch(0o660)
    asound = board / "proc/asound"
    (asound / "card1").mkdir(parents=True)
    (asound / "pcm").write_text("00-00: HDMI 0 : playback 8\n01-00: USB Audio : capture 1\n")
    (asound / "cards").write_text(" 1 [Mic            ]: USB-Audio - C-Media Mic\n      C-Media Mic at usb\n")
    (asound / "card1/id").write_text("Mic\n")
    (asound / "card1/stream0").write_text("Capture:\n  Channels: 1\n  Rates: 44100, 48000\n")
    (board / "proc/meminfo").write_text("MemTotal:  948304 kB\nMemFree: 1 kB\nMemAvailable:  508304 kB\n")
    return board


def looked(case: Case, *checks: Check) -> dict[str, Finding]:
    found = {}
    handed_out = (one for check in checks for one in check(case))
    for finding in (
        one for each in handed_out for one in (each.look(case) if isinstance(each, DoctorCheck) else (each,))
    ):
        assert isinstance(finding, Finding)
        assert finding.level == "ok" or finding.fix, finding
        assert "\n" not in finding.met + finding.fix
        found[finding.name] = finding
    return found


def own(*names: str) -> list[DoctorCheck]:
    found = [check for check in own_checks() if check.name in names]
    assert len(found) == len(names)
    return found


def levels(found: dict[str, Finding]) -> dict[str, str]:
    return {name: finding.level for name, finding in found.items()}


STORE = (
    store_checks.check_store,
    store_checks.check_board,
    store_checks.check_keys,
    store_checks.check_bundles,
)


# isolation


def test_a_check_that_fails_hangs_or_has_a_mistake_is_itself_a_finding(tmp_path: Path) -> None:
    go_on = threading.Event()

    def mistaken(case: Case) -> Iterator[Finding]:
        yield ok("first", "was found before the mistake")
        raise KeyError("MemTotal")

    def hanging(case: Case) -> Iterator[Finding]:
        yield ok("before", "the driver hung")
        go_on.wait()

    def fine(case: Case) -> Iterator[Finding]:
        yield ok("fine", "in the end")

    def leaving(case: Case) -> Iterator[Finding]:
        yield ok("here", "before it left")
        raise SystemExit(0)

    def strange(case: Case) -> Iterator[object]:
        yield 5

    looks = {"mistaken": mistaken, "hanging": hanging, "leaving": leaving, "strange": strange, "fine": fine}
    checks = [DoctorCheck(name, look) for name, look in looks.items()]
    found = list(examine(tmp_path, checks=checks, check_s=3.0))
    go_on.set()
    assert [(finding.name, finding.level) for finding in found] == [
        ("first", "ok"), ("mistaken", "fail"), ("before", "ok"), ("hanging", "fail"),
        ("here", "ok"), ("leaving", "fail"), ("strange", "fail"), ("fine", "ok"),
    ]  # fmt: skip
    assert "KeyError: 'MemTotal'" in found[1].met and found[1].fix and found[3].fix
    assert "SystemExit" in found[5].met and "int, expected a Finding" in found[6].met


def test_a_device_without_anything_is_looked_at_to_the_end(tmp_path: Path) -> None:
    found = list(examine(tmp_path / "nothing", tmp_path / "no.toml", system=tmp_path / "nothing"))
    by_name = {finding.name: finding for finding in found}
    assert levels(by_name) | {"store": "fail", "config": "fail", "memory": "fail"} == levels(by_name)
    assert "does not exist" in by_name["config"].met
    assert by_name["python"].level == by_name["interpreter"].level == "ok"
    assert all(finding.level == "ok" or finding.fix for finding in found)


# the list of checks


def nothing(case: Case) -> Iterator[Finding]:
    yield from ()


def test_checks_stand_by_their_place_and_run_behind_what_they_need() -> None:
    checks = [
        DoctorCheck("c", nothing, place=30),
        DoctorCheck("a", nothing, place=10, needs=("d", "not there")),
        DoctorCheck("b", nothing, place=20),
        DoctorCheck("d", nothing, place=40, needs=("b",)),
    ]
    assert [check.name for check in in_order(checks)] == ["b", "d", "a", "c"]


def test_what_checks_need_is_there_and_stands_before_them() -> None:
    names = [check.name for check in own_checks()]
    assert len(names) == len(set(names))
    for number, check in enumerate(own_checks()):
        assert set(check.needs) <= set(names[:number]), check.name


def test_a_check_may_hand_out_checks_that_stand_alone(tmp_path: Path) -> None:
    def mistaken(case: Case) -> Iterator[Finding]:
        raise KeyError("mistake")

    def several(case: Case) -> Iterator[Finding | DoctorCheck]:
        yield ok("first", "well")
        yield DoctorCheck("second", mistaken)
        yield DoctorCheck("third", lambda case: iter([ok("third", "well")]))

    found = [*examine(tmp_path, checks=(DoctorCheck("several", several),))]
    assert [(one.name, one.level) for one in found] == [("first", "ok"), ("second", "fail"), ("third", "ok")]


def test_every_extra_is_the_one_that_its_description_names() -> None:
    """Sinks, sources and the page say which libraries they need, setup.cfg what is installed for them."""
    parser = configparser.ConfigParser(interpolation=None)
    parser.read(ROOT / "edge/setup.cfg", encoding="utf-8")
    extras = {
        name: {re.split(r"[ ;]", line)[0] for line in text.splitlines() if line}
        for name, text in parser["options.extras_require"].items()
    }
    everything = extras.pop("all")
    described = {extra.name: {one.distribution for one in extra.libraries} for extra in known_extras()}
    assert described == extras
    assert everything == set().union(*extras.values())


# libraries


def shadow(folder: Path, monkeypatch: pytest.MonkeyPatch, **modules: str) -> None:
    """Put broken libraries before the real ones, for child processes."""
    for name, code in modules.items():
        (folder / name).mkdir(parents=True)
        (folder / name / "__init__.py").write_text(code)
    monkeypatch.setenv("PYTHONPATH", str(folder))


@pytest.mark.parametrize(
    ("code", "met", "fix"),
    [
        ("import os, signal; os.kill(os.getpid(), signal.SIGILL)", "crashed with SIGILL", "instructions"),
        ("raise ImportError('numpy.core.multiarray failed to import')", "multiarray", '"numpy<2"'),
        ("raise SystemExit('cannot map libblas')", "cannot map libblas", "--force-reinstall numpy"),
    ],
    ids=["SIGILL", "ABI", "text"],
)
def test_a_numpy_that_crashes_or_does_not_fit_fails_alone_and_says_what_to_do(
    tmp_path: Path, device: Path, monkeypatch: pytest.MonkeyPatch, code: str, met: str, fix: str
) -> None:
    shadow(tmp_path / "shadow", monkeypatch, numpy=code)
    found = looked(Case(device), software_checks.check_numpy, software_checks.check_interpreter, *STORE)
    assert levels(found) == {"numpy": "fail", "interpreter": "fail", "store": "fail"}
    assert met in found["numpy"].met and fix in found["numpy"].fix
    assert "numpy" in found["store"].met


@pytest.mark.parametrize(
    ("code", "met", "fix"),
    [
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "crashed with SIGSEGV", "pip install "),
        (
            "import sys; print('A module compiled using NumPy 1.x cannot run', file=sys.stderr); import x_y",
            "x_y",
            '"numpy<2"',
        ),
        (
            "raise ModuleNotFoundError('No module named ai_edge_litert', name='ai_edge_litert')",
            "no TFLite runtime",
            "pip install ",
        ),
    ],
    ids=["SIGSEGV", "ABI", "absent"],
)
def test_a_runtime_that_is_missing_crashes_or_was_built_for_another_numpy_fails(
    tmp_path: Path, device: Path, monkeypatch: pytest.MonkeyPatch, code: str, met: str, fix: str
) -> None:
    absent = "raise ModuleNotFoundError('No module named tflite_runtime', name='tflite_runtime')"
    shadow(tmp_path / "shadow", monkeypatch, ai_edge_litert=code, tflite_runtime=absent)
    case = Case(device)
    found = looked(case, software_checks.check_interpreter)
    assert found["interpreter"].level == "fail"
    assert met in found["interpreter"].met and fix in found["interpreter"].fix
    assert looked(case, *STORE)["bundle light"].level == "ok"  # the bundle can be checked without a runtime
    assert not looked(case, store_checks.check_answers)


def test_extras_matter_when_something_needs_them(
    tmp_path: Path, device: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    absent = "raise ModuleNotFoundError(f'No module named {__name__!r}')"
    shadow(
        tmp_path / "shadow",
        monkeypatch,
        cv2="raise ImportError('libGL.so.1: cannot open shared object file')",
        sounddevice="raise OSError('PortAudio library not found')",
        soxr=absent,
        paho=absent,
    )
    case = Case(device)
    looked(case, *STORE)
    found = looked(case, software_checks.check_extras)
    assert levels(found) == {
        "extra camera": "fail",  # the installed bundle is for a camera
        "extra media": "ok",
        "extra microphone": "warn",
        "extra recording": "ok",
        "extra mqtt": "ok",
        "extra metrics": "ok",
        "extra web": "ok",
    }
    assert "opencv-python-headless" in found["extra camera"].fix
    assert found["extra microphone"].fix == "sudo apt install libportaudio2"
    assert "nothing here needs it" in found["extra mqtt"].met
    config = tmp_path / "galago.toml"
    config.write_text('[mqtt]\nhost = "10.0.0.1"\n[[stream]]\nname = "hall"\nsource = "microphone:default"\n')
    found = looked(Case(device, config), configuration_checks.check_config, software_checks.check_extras)
    assert found["extra microphone"].level == found["extra mqtt"].level == "fail"
    assert found["extra mqtt"].fix == 'pip install "galago-edge[mqtt]"'


def test_a_healthy_installation_names_every_version() -> None:
    found = looked(
        Case(Path("/")),
        *(check.look for check in own_checks() if check.name in ("python", "interpreter", "numpy")),
    )
    assert set(levels(found).values()) == {"ok"}
    assert found["interpreter"].met.split()[0] in ("ai-edge-litert", "tflite-runtime")
    assert this_arch() in found["python"].met


# store


def test_a_whole_store_is_ok_and_its_bundle_answers(device: Path) -> None:
    case = Case(device)
    found = looked(case, software_checks.check_interpreter, *STORE, store_checks.check_answers)
    assert found.pop("test key").level == "warn"  # the fixture's, as it must be
    assert set(levels(found).values()) == {"ok"}, found
    assert "3 golden samples answered" in found["answers light"].met
    assert set(found) == {"interpreter", "store", "profile", "keys", "bundle light", "answers light"}


def test_each_fault_of_the_store_is_one_finding_and_the_others_are_still_looked_at(
    tmp_path: Path, device: Path
) -> None:
    install_bundle(
        Store(device),
        open_bundle(make_hollow_bundle(tmp_path / "h", name="hollow")),
        Store(device).trusted(),
        lambda _: {},
    )
    (device / "state.a").write_bytes(b"torn")
    active = Store(device).state().slots["light"].active.id
    model = device / "bundles" / active / "model.tflite"
    model.chmod(0o644)
    content = bytearray(model.read_bytes())
    content[100] ^= 1
    model.write_bytes(content)
    (device / "profile.toml").write_text("id = 'x'\n")
    (device / "trust" / "bad.pub").write_text("no key\n")
    checks = own("store", "profile", "keys", "bundles", "answers")
    found = {finding.name: finding for finding in examine(device, checks=checks)}
    assert levels(found) == {
        "store": "warn",
        "profile": "fail",
        "keys": "fail",
        "bundle hollow": "ok",
        "bundle light": "fail",
        "answers hollow": "fail",
    }
    assert "PREPROCESS_MISMATCH" in found["answers hollow"].met
    assert "state.a is damaged" in found["store"].met


def test_a_profile_of_another_board_or_a_newer_runtime_fails(device: Path) -> None:
    profile = device / "profile.toml"
    text = profile.read_text(encoding="utf-8")
    case = Case(device, runtime=("ai-edge-litert", "2.1.0"))
    profile.write_text(text.replace(f'"{this_arch()}"', '"riscv64"'), encoding="utf-8")
    assert "riscv64" in looked(case, store_checks.check_board)["profile"].met
    profile.write_text(text.replace('min_version = "2.1.0"', 'min_version = "99.0.0"'), encoding="utf-8")
    check = DoctorCheck("runtime", lambda case: store_checks.check_board(with_runtime(case)))
    (finding,) = examine(device, checks=(check,))
    assert finding.level == "fail" and "99.0.0" in finding.met and "pip install" in finding.fix
    profile.unlink()
    assert looked(case, store_checks.check_board)["profile"].level == "warn"


def with_runtime(case: Case) -> Case:
    case.runtime = ("ai-edge-litert", "2.1.0")
    return case


def test_an_empty_store_says_how_to_fill_it(tmp_path: Path) -> None:
    found = looked(Case(tmp_path), *STORE)
    assert levels(found) == {"store": "ok", "profile": "warn", "keys": "warn", "bundles": "fail"}
    assert found["bundles"].fix.startswith("galago install")


def test_a_key_that_everybody_has_is_a_warning(device: Path) -> None:
    published = {key_id(TEST_KEY), key_id(OTHER_KEY)}
    assert published == store_checks.PUBLISHED_KEYS
    found = looked(Case(device), store_checks.check_keys)
    assert levels(found) == {"keys": "ok", "test key": "warn"} and key_id(TEST_KEY) in found["test key"].fix


def test_fewer_trusted_keys_than_must_sign_are_a_warning(device: Path) -> None:
    policy = device / "trust" / "policy.toml"
    policy.write_text("threshold = 2\n")
    found = looked(Case(device), store_checks.check_keys)["keys"]
    assert found.level == "warn" and "2 keys must have signed" in found.met and "keys trust" in found.fix
    trust(device, TEST_KEY, OTHER_KEY)
    found = looked(Case(device), store_checks.check_keys)["keys"]
    assert found.level == "ok" and "2 of them must have signed" in found.met


def test_a_bundle_whose_key_was_revoked_fails(device: Path) -> None:
    revoke_key(Store(device), key_id(TEST_KEY), "stolen", allow_in_use=True)
    found = looked(Case(device), store_checks.check_bundles)["bundle light"]
    assert found.level == "fail" and "stolen" in found.met


# disks


def test_the_write_test_leaves_nothing_and_every_folder_of_the_service_is_tried(
    tmp_path: Path, device: Path
) -> None:
    config = write(
        tmp_path, '[log]\npath = "log/events.jsonl"\n[samples]\ndir = "samples"\n[spool]\ndir = "sp"\n'
    )
    before = sorted(path.name for path in device.iterdir())
    found = looked(Case(device, config), configuration_checks.check_config, store_checks.check_disks)
    assert {name for name in found if name.startswith("disk")} == {
        "disk store", "disk spool", "disk log", "disk samples"
    }  # fmt: skip
    assert sorted(path.name for path in device.iterdir()) == before
    assert not (tmp_path / "log").exists()


def test_a_folder_that_the_services_user_may_not_write_fails(tmp_path: Path, device: Path) -> None:
    device.chmod(0o750)
    case = Case(device, account=NOBODY)
    finding = looked(case, store_checks.check_disks)["disk store"]
    assert finding.level == "fail" and finding.fix == f"sudo chown galago {device}"
    group = Account("galago", 54_321, frozenset({device.stat().st_gid}))
    device.chmod(0o770)
    assert looked(Case(device, account=group), store_checks.check_disks)["disk store"].level == "ok"


def disks(device: Path, config: Path) -> dict[str, Finding]:
    return looked(Case(device, config), configuration_checks.check_config, store_checks.check_disks)


EVERYTHING_WRITTEN = '[attachments]\n[recording]\nmode = "always"\n[[webhook]]\nurl = "http://localhost/"\n'


@pytest.mark.parametrize("name", ["spool", "attachments", "recordings", "views"])
@pytest.mark.parametrize("what", ["link", "file", "foreign"])
def test_a_folder_of_the_store_that_is_not_its_own_fails_as_the_service_refuses_it(
    tmp_path: Path, device: Path, name: str, what: str
) -> None:
    if what == "foreign" and os.geteuid() != 0:
        pytest.skip("only root can give a folder away")
    config = write(tmp_path, EVERYTHING_WRITTEN)
    (device / name).mkdir()
    assert disks(device, config)[f"disk {name}"].level == "ok"
    (device / name).rmdir()
    if what == "link":
        (tmp_path / "elsewhere").mkdir()
        (device / name).symlink_to(tmp_path / "elsewhere")
    elif what == "file":
        (device / name).touch()
    else:
        (device / name).mkdir()
        os.chown(device / name, 65_534, 65_534)
    found = disks(device, config)
    assert found["disk store"].level == "ok"
    finding = found[f"disk {name}"]
    met = {"link": "is a link", "file": "is no folder", "foreign": "belongs to user 65534"}[what]
    assert finding.level == "fail" and f"{device / name} {met}" in finding.met
    assert finding.fix.startswith("sudo chown " if what == "foreign" else "find out who put it there")


def test_folders_of_the_store_that_nobody_uses_are_not_looked_at(tmp_path: Path, device: Path) -> None:
    assert "disk spool" not in disks(device, write(tmp_path, '[log]\npath = "x.jsonl"\n'))
    assert "disk attachments" not in disks(device, write(tmp_path))


def test_a_log_that_is_a_folder_fails(tmp_path: Path, device: Path) -> None:
    config = write(tmp_path, '[log]\npath = "events.jsonl"\n')
    assert disks(device, config)["disk log"].level == "ok"
    (tmp_path / "events.jsonl").mkdir()
    finding = disks(device, config)["disk log"]
    assert finding.level == "fail" and f"{tmp_path / 'events.jsonl'} is a folder" in finding.met


def test_a_log_that_the_services_user_may_not_write_fails(tmp_path: Path, device: Path) -> None:
    log = tmp_path / "events.jsonl"
    log.touch(0o640)
    tmp_path.chmod(0o777)
    case = Case(device, write(tmp_path, '[log]\npath = "events.jsonl"\n'), account=NOBODY)
    checks = (configuration_checks.check_config, store_checks.check_disks)
    finding = looked(case, *checks)["disk log"]
    assert finding.level == "fail" and finding.fix == f"sudo chown galago {log}"
    log.chmod(0o666)
    assert looked(case, *checks)["disk log"].level == "ok"


@pytest.mark.parametrize("table", ['[samples]\ndir = "x"\n', f'[spool]\ndir = "x"\n{EVERYTHING_WRITTEN}'])
def test_a_file_in_place_of_a_folder_fails_and_is_to_be_moved(
    tmp_path: Path, device: Path, table: str
) -> None:
    (tmp_path / "x").touch()
    (finding,) = (one for one in disks(device, write(tmp_path, table)).values() if one.level == "fail")
    assert "Not a directory" in finding.met and finding.fix.startswith("move it away")


def test_a_full_and_a_read_only_disk_fail(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "64m") as disk:
        assert looked(Case(disk), store_checks.check_disks)["disk store"].level == "warn"  # 64 MB are little
        with (disk / "ballast").open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, (64 << 20) - 8192)
        assert looked(Case(disk), store_checks.check_disks)["disk store"].level == "fail"
        with (disk / "rest").open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, os.statvfs(disk).f_bavail * 4096)
        full = looked(Case(disk), store_checks.check_disks)["disk store"]
        assert full.level == "fail" and "No space left" in full.met and "du " in full.fix
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        read_only = looked(Case(disk), store_checks.check_disks)["disk store"]
        assert "Read-only" in read_only.met and "remount,rw" in read_only.fix


# the machine


def test_cameras_and_microphones_are_shown_by_names_that_stay(board: Path) -> None:
    case = Case(board, system=board)
    found = looked(
        case, machine_checks.check_cameras, machine_checks.check_microphones, machine_checks.check_memory
    )
    assert set(found) == {
        "camera /dev/v4l/by-id/usb-Acme_HD_Webcam_1234-video-index0",
        "camera /dev/v4l/by-path/platform-usb-0:1.2:1.0-video-index0",
        "microphone /dev/snd/by-id/usb-C-Media_Mic-00",
        "memory",
    }
    assert set(levels(found).values()) == {"ok"}
    assert "44100, 48000 Hz" in found["microphone /dev/snd/by-id/usb-C-Media_Mic-00"].met
    assert found["memory"].met == "520 MB free of 971 MB"


def test_devices_that_the_services_user_may_not_open_name_the_group(board: Path) -> None:
    case = Case(board, system=board, account=NOBODY)
    found = looked(case, machine_checks.check_cameras, machine_checks.check_microphones)
    assert set(levels(found).values()) == {"warn"}
    assert {finding.fix.split()[3] for finding in found.values()} == {"video", "audio"}


def test_little_memory_and_no_memory_to_tell_are_told(board: Path) -> None:
    (board / "proc/meminfo").write_text("MemTotal:  948304 kB\nMemAvailable:  8304 kB\n")
    assert looked(Case(board, system=board), machine_checks.check_memory)["memory"].level == "warn"


def zone(board: Path, number: int, type_: str, temperature: str) -> None:
    folder = board / f"sys/class/thermal/thermal_zone{number}"
    folder.mkdir(parents=True)
    (folder / "type").write_text(f"{type_}\n")
    (folder / "temp").write_text(f"{temperature}\n")


def test_heat_counts_where_the_processor_is_and_a_bad_supply_is_told(board: Path, tmp_path: Path) -> None:
    assert looked(Case(board, system=board), machine_checks.check_heat)["temperature"].level == "ok"
    zone(board, 0, "acpitz", "102800")
    assert (
        looked(Case(board, system=board), machine_checks.check_heat)["temperature"].level == "warn"
    )  # none is known
    zone(board, 1, "cpu-thermal", "61300")
    firmware = board / "sys/devices/platform/soc/soc:firmware/get_throttled"
    firmware.parent.mkdir(parents=True)
    firmware.write_text("0\n")
    found = looked(Case(board, system=board), machine_checks.check_heat)
    assert levels(found) == {"temperature": "ok", "power": "ok"}
    assert found["temperature"].met == "acpitz 102.8 °C (not believed), cpu-thermal 61.3 °C"
    (board / "sys/class/thermal/thermal_zone1/temp").write_text("84000\n")
    firmware.write_text("50001\n")
    found = looked(Case(board, system=board), machine_checks.check_heat)
    assert levels(found) == {"temperature": "warn", "power": "warn"}
    assert "under_voltage" in found["power"].met
    firmware.write_text("50000\n")
    assert "was seen" in looked(Case(board, system=board), machine_checks.check_heat)["power"].met
    config = write(tmp_path, '[governor]\nzones = ["gpu-thermal"]\n')
    found = looked(Case(board, config, board), configuration_checks.check_config, machine_checks.check_heat)
    assert "gpu-thermal" in found["temperature"].met


def test_an_accelerator_that_does_not_load_is_a_warning_because_the_cpu_works(device: Path) -> None:
    with (device / "profile.toml").open("a", encoding="utf-8") as file:
        file.write('\n[accelerator.edgetpu]\nlibrary = "/nonexistent/libedgetpu.so.1"\n')
    case = Case(device)
    found = looked(case, store_checks.check_board, machine_checks.check_accelerators)
    assert found["accelerator edgetpu"].level == "warn"
    assert found["accelerator edgetpu"].met.startswith("delegate_load_failed: ")
    assert "libedgetpu1-std" in found["accelerator edgetpu"].fix


def unit(board: Path, text: str | None = None) -> Path:
    ours = resources.files("galago_edge.intake").joinpath("galago.service").read_text(encoding="utf-8")
    path = board / "etc/systemd/system/galago.service"
    path.parent.mkdir(parents=True)
    path.write_text(ours if text is None else text.format(ours=ours), encoding="utf-8")
    program = board / "usr/local/bin/galago"
    program.parent.mkdir(parents=True)
    program.touch(0o755)
    return path


@pytest.fixture
def users(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """User galago and the groups that exist: those of our unit."""
    text = resources.files("galago_edge.intake").joinpath("galago.service").read_text(encoding="utf-8")
    named = [line.partition("=")[2] for line in text.splitlines() if line.startswith(("Group", "Supp"))]
    groups = set(" ".join(named).split())
    assert "video" in groups
    me = pwd.getpwuid(os.geteuid())

    def getgrnam(name: str) -> grp.struct_group:
        if name not in groups:
            raise KeyError(name)
        return grp.struct_group((name, "x", 44, []))

    monkeypatch.setattr(pwd, "getpwnam", lambda name: me)
    monkeypatch.setattr(grp, "getgrnam", getgrnam)
    return groups


def test_the_unit_is_compared_with_ours(board: Path, users: set[str]) -> None:
    case = Case(board, system=board)
    missing = looked(case, machine_checks.check_unit)["unit"]
    assert missing.level == "warn" and "galago provision" in missing.fix and "enable --now" in missing.fix
    path = unit(board)
    found = looked(case, machine_checks.check_unit)
    assert levels(found) == {"unit": "ok", "user": "ok"}
    drop_in = path.with_name("galago.service.d")
    drop_in.mkdir()
    (drop_in / "memory.conf").write_text("[Service]\nMemoryMax=2G\n")
    assert "changed by memory.conf" in looked(case, machine_checks.check_unit)["unit"].met
    path.write_text(path.read_text().replace("Nice=-5", "Nice=5"))
    changed = looked(case, machine_checks.check_unit)["unit"]
    assert changed.level == "warn" and "'Nice=5', 'Nice=-5' is expected" in changed.met
    path.write_text(unit_text("/usr/local/bin/galago", Path("/data/galago")))
    assert looked(case, machine_checks.check_unit)["unit"].level == "ok"  # as provision writes it for there


@pytest.mark.parametrize("hidden", ["home/pi", "root/.pyenv", "tmp/env", "run/user/1000"])
def test_a_unit_whose_program_or_interpreter_it_hides_fails(
    board: Path, users: set[str], hidden: str
) -> None:
    path = unit(board)
    python = board / hidden / "bin/python3"
    python.parent.mkdir(parents=True)
    python.touch(0o755)
    (board / "opt/galago/bin").mkdir(parents=True)
    (board / "opt/galago/bin/python3").symlink_to(f"/{hidden}/bin/python3")
    (board / "usr/local/bin/galago").write_text("#!/opt/galago/bin/python3\n")
    case = Case(board, system=board)
    (failed,) = [finding for finding in machine_checks.check_unit(case) if finding.level == "fail"]
    assert "UNREACHABLE" in failed.met and f"/{hidden}/bin/python3" in failed.met
    assert "/opt/galago" in failed.fix
    if not hidden.startswith("tmp"):
        drop_in = path.with_name("galago.service.d") / "home.conf"
        drop_in.parent.mkdir()
        drop_in.write_text("[Service]\nProtectHome=no\n")
        assert not [one for one in machine_checks.check_unit(case) if one.level == "fail"]


def test_a_unit_that_cannot_start_fails(
    board: Path, users: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    unit(board)
    (board / "usr/local/bin/galago").unlink()
    users.discard("video")
    findings = list(machine_checks.check_unit(Case(board, system=board)))
    failed = [finding for finding in findings if finding.level == "fail"]
    assert [finding.name for finding in failed] == ["user", "unit"]
    assert failed[0].fix == "sudo groupadd --system video"
    assert failed[1].fix.startswith("sudo ln -s ") and failed[1].fix.endswith(" /usr/local/bin/galago")

    def unknown(name: str) -> None:
        raise KeyError(name)

    monkeypatch.setattr(pwd, "getpwnam", unknown)
    user = looked(Case(board, system=board), machine_checks.check_unit)["user"]
    assert user.level == "fail" and user.fix.startswith("sudo useradd --system")


# the configuration


def write(folder: Path, text: str = "", stream: str = 'source = "frames"\nbundle = "light"\n') -> Path:
    path = folder / "galago.toml"
    path.write_text(f'{text}\n[[stream]]\nname = "door"\n{stream}', encoding="utf-8")
    (folder / "frames").mkdir(exist_ok=True)
    cv2.imwrite(str(folder / "frames/1.png"), np.zeros((48, 64, 3), np.uint8))
    return path


def streams(device: Path, config: Path, system: Path = Path("/")) -> dict[str, Finding]:
    checks = (
        *STORE,
        configuration_checks.check_config,
        configuration_checks.check_streams,
        source_checks.check_sources,
    )
    return looked(Case(device, config, system), *checks)


def test_a_stream_that_can_run_is_ok(tmp_path: Path, device: Path) -> None:
    found = streams(device, write(tmp_path))
    assert found["stream door"].met.startswith("light 1.0.0 on camera")
    assert levels(found)["stream door"] == "ok"
    assert found[f"source {tmp_path / 'frames'}"] == ok(
        f"source {tmp_path / 'frames'}", "a folder of images, 64 x 48"
    )


@pytest.mark.parametrize(
    ("stream", "met"),
    [
        (
            'source = "frames"\nbundle = "other"\n',
            "other is not there or not whole (installed and whole: light)",
        ),
        ('source = "pipe:-?rate=16000"\n', "0 installed bundles fit"),
        (
            'source = "pipe:-?rate=16000"\nbundle = "light"\n',
            "light is for a camera, the source is a microphone",
        ),
        ('source = "frames"\n[stream.thresholds.drak]\non = 0.9\n', "drak"),
        ('source = "frames?speed=2"\n', "unknown option"),
        ('source = "pipe:-?rate=16000"\nrotate = 90\n', "are for a camera"),
    ],
)
def test_a_stream_that_cannot_run_fails_and_says_why(
    tmp_path: Path, device: Path, stream: str, met: str
) -> None:
    case = Case(device, write(tmp_path, stream=stream))
    finding = looked(case, *STORE, configuration_checks.check_config, configuration_checks.check_streams)[
        "stream door"
    ]
    assert finding.level == "fail" and met in finding.met


@pytest.mark.parametrize(
    "view", ["region = [0.5, 0.5]", "mask = [[0.1, 0.1, 0.9, 0.9, 0.5, 0.5]]", "mask = [[0.5, 0.5]]"]
)
def test_a_view_that_is_none_is_refused_with_the_configuration(
    tmp_path: Path, device: Path, view: str
) -> None:
    case = Case(device, write(tmp_path, stream=f'source = "frames"\n{view}\n'))
    (finding,) = looked(case, configuration_checks.check_config).values()
    assert finding.level == "fail"
    assert re.search(r"galago.toml: \[\[stream\]\] door: (region|mask): ", finding.met)


def test_a_view_through_which_nothing_is_seen_is_told(tmp_path: Path, device: Path) -> None:
    found = streams(device, write(tmp_path, stream='source = "frames"\nmask = [[0.0, 0.0, 0.001, 1.0]]\n'))
    finding = found[f"source {tmp_path / 'frames'}"]
    assert finding.level == "fail" and "holds no pixel of a picture of 64 x 48" in finding.met


def test_sources_that_are_missing_or_not_stable_are_told(tmp_path: Path, device: Path, board: Path) -> None:
    def source(address: str) -> Finding:
        case = Case(device, write(tmp_path, stream=f'source = "{address}"\n'), board)
        return [*looked(case, configuration_checks.check_config, source_checks.check_sources).values()][-1]

    assert source("camera:/dev/v4l/by-id/usb-Acme_HD_Webcam_1234-video-index0").level == "ok"
    unstable = source("camera:0")
    assert unstable.level == "warn"
    assert unstable.fix == 'address = "camera:/dev/v4l/by-id/usb-Acme_HD_Webcam_1234-video-index0"'
    absent = source("camera:/dev/v4l/by-id/usb-Other-video-index0")
    assert absent.level == "fail" and "usb-Acme_HD_Webcam_1234" in absent.met
    assert source("microphone:/dev/snd/by-id/usb-C-Media_Mic-00").level == "ok"
    assert source("microphone:Mic?rate=48000").level == "ok"
    other_rate = source("microphone:Mic?rate=16000")
    assert other_rate.level == "warn" and "?rate=48000" in other_rate.fix
    missing = source("microphone:Bat detector")
    assert missing.level == "fail" and missing.fix
    assert source("no such folder").level == "fail"
    assert source("pipe:fifo").fix.startswith("mkfifo ")


def test_no_finding_shows_credentials(tmp_path: Path, device: Path) -> None:
    address = "camera:rtsp://admin:s3cret@127.0.0.1:9/live?token=hidden"
    found = streams(device, write(tmp_path, stream=f'source = "{address}"\n'))
    assert found["source camera:rtsp://***@127.0.0.1:9/live"].level == "fail"
    assert "s3cret" not in repr(found) and "hidden" not in repr(found)


def test_a_broken_configuration_is_one_finding_and_nothing_else_is_held_back(
    tmp_path: Path, device: Path
) -> None:
    config = write(tmp_path, "[mqtt]\nhost = 5\n")
    checks = tuple(check for check in own_checks() if check.name not in ("extras", "answers"))
    found = {finding.name: finding for finding in examine(device, config, checks=checks)}
    assert found["config"].level == "fail" and "[mqtt] host: expected a text" in found["config"].met
    assert found["bundle light"].level == "ok" and "mqtt" not in found


def test_the_pages_port_must_be_free_and_the_page_not_open_to_strangers(tmp_path: Path, device: Path) -> None:
    checks = own("config", "page")

    def page(text: str) -> Finding:
        return list(examine(device, write(tmp_path, f"[page]\n{text}\n"), checks=checks))[-1]

    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        taken = page(f"port = {port}")
        assert taken.level == "fail" and "in use" in taken.met and f":{port}" in taken.fix
    assert page("port = 0").level == "ok"
    strangers = page('host = "0.0.0.0"')
    assert strangers.level == "fail" and "token" in strangers.met + strangers.fix


# the command


def test_the_command_prints_findings_and_fails_when_one_does(
    tmp_path: Path, device: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def short(case: Case) -> Iterator[Finding]:
        yield ok("python", "3.11.7")
        yield fail("disk store", "full", "make room")

    monkeypatch.setattr("galago_edge.doctor.all_checks", lambda: (DoctorCheck("short", short),))
    text = CliRunner().invoke(main, ["doctor", "--root", str(device)])
    assert text.exit_code == 1
    assert text.output == (
        "ok    python: 3.11.7\nfail  disk store: full\n      fix: make room\n\n1 failed, 0 to see to, 1 ok\n"
    )
    data = CliRunner().invoke(main, ["doctor", "--root", str(device), "--json"])
    assert data.exit_code == 1
    assert json.loads(data.output) == {
        "root": str(device),
        "healthy": False,
        "findings": [
            {"name": "python", "level": "ok", "met": "3.11.7", "fix": ""},
            {"name": "disk store", "level": "fail", "met": "full", "fix": "make room"},
        ],
    }


def test_a_whole_device_passes_the_real_command(device: Path) -> None:
    result = CliRunner().invoke(main, ["doctor", "--root", str(device), "--json"])
    found = {finding["name"]: finding for finding in json.loads(result.stdout)["findings"]}
    failed = [finding for finding in found.values() if finding["level"] == "fail"]
    assert (result.exit_code, failed) == (0, [])
    assert {"python", "numpy", "interpreter", "store", "bundle light", "answers light", "clock"} <= set(found)


def test_the_page_in_the_documents_names_every_check() -> None:
    text = (ROOT / "docs/doctor.md").read_text(encoding="utf-8")
    rows = [line.partition("|")[2].partition("|")[0] for line in text.splitlines() if line.startswith("| `")]
    assert [name for row in rows for name in row.replace("`", "").split()] == [
        check.name for check in own_checks()
    ]


def test_a_label_that_a_sink_asks_for_and_no_bundle_decides_on_is_a_warning(
    tmp_path: Path, device: Path
) -> None:
    table = '[[program]]\nname = "siren"\ncommand = ["sh"]\nlabels = ["bright", LABEL]\n'
    checks = (*STORE, configuration_checks.check_config, sink_checks.check_sinks)
    right = looked(Case(device, write(tmp_path, table.replace("LABEL", '"dark"'))), *checks)
    assert right["program.siren"].level == "ok"
    wrong = looked(Case(device, write(tmp_path, table.replace("LABEL", '"drak"'))), *checks)["program.siren"]
    assert wrong.level == "warn" and "drak" in wrong.met and "there are bright, dark, mid" in wrong.met
    assert "did you mean dark?" in wrong.met


def test_a_source_that_no_stream_uses_is_a_warning(tmp_path: Path, device: Path) -> None:
    found = list(
        configuration_checks.check_config(
            Case(device, write(tmp_path, '[source.yard]\naddress = "camera:0"\n'))
        )
    )
    assert [(one.level, one.met) for one in found][1:] == [("warn", "[source.yard] is used by no stream")]
    assert 'source = "yard"' in found[1].fix


def test_a_label_whose_attachments_are_asked_for_and_no_bundle_decides_on_is_a_warning(
    tmp_path: Path, device: Path
) -> None:
    checks = (*STORE, configuration_checks.check_config, sink_checks.check_sinks)
    right = looked(Case(device, write(tmp_path, '[attachments]\nlabels = ["dark"]\n')), *checks)
    assert "attachments" not in right
    wrong = looked(Case(device, write(tmp_path, '[attachments]\nlabels = ["drak"]\n')), *checks)[
        "attachments"
    ]
    assert wrong.level == "warn" and "drak" in wrong.met


def test_recordings_need_room_and_the_library_that_writes_them(tmp_path: Path, device: Path) -> None:
    def found(table: str) -> dict[str, Finding]:
        checks = (*STORE, configuration_checks.check_config, recording_checks.check_recording)
        return looked(Case(device, write(tmp_path, table)), *checks)

    assert "recording" not in found("")
    enough = found('[recording]\nmode = "always"\nmax_mb = 1\nkeep_free_mb = 0\n')["recording"]
    assert enough.level == "ok" and str(device / "recordings") in enough.met
    less = found('[recording]\nmode = "always"\nmax_mb = 1000000\nkeep_free_mb = 0\n')["recording"]
    none = found('[recording]\nmode = "always"\nkeep_free_mb = 1000000\n')["recording"]
    assert (less.level, none.level) == ("warn", "fail") and "nothing is recorded" in none.met
    case = Case(device, write(tmp_path, '[recording]\nmode = "always"\n'))
    list(configuration_checks.check_config(case))
    assert software_checks._needs(case)["recording"] == f"[recording] in {case.config}"
