"""Who is meant: addresses, the fleet file, mounted disks, and how a run is summed up."""

from __future__ import annotations

from pathlib import Path

import pytest

from galago_edge.contract.errors import CallerError, LinkError
from galago_workstation.flashing import mounts
from galago_workstation.flashing.flash_run import Choice
from galago_workstation.flashing.fleet import fleet_targets, read_fleet
from galago_workstation.flashing.links import DeviceLink, ssh_command
from galago_workstation.flashing.mounts import mount_of
from galago_workstation.flashing.results import FlashReport, Result, summary, worst, write_report
from galago_workstation.flashing.targets import parse_target

ADDRESSES = {
    "pi@porch": ("ssh", "pi@porch", None, "/var/lib/galago"),
    "porch": ("ssh", "porch", None, "/var/lib/galago"),
    "pi@porch:/data/galago": ("ssh", "pi@porch", None, "/data/galago"),
    "ssh://pi@porch:2222/data": ("ssh", "pi@porch", 2222, "/data"),
    "ssh://porch:1": ("ssh", "porch", 1, "/var/lib/galago"),
    "ssh://porch:65535": ("ssh", "porch", 65_535, "/var/lib/galago"),
    "ssh://porch": ("ssh", "porch", None, "/var/lib/galago"),
    "ssh://[fe80::1%eth0]:22": ("ssh", "fe80::1%eth0", 22, "/var/lib/galago"),
    "/media/card": ("folder", "", None, "/media/card"),
    "./card": ("folder", "", None, "card"),
    "media/card": ("folder", "", None, "media/card"),
}


@pytest.mark.parametrize(("text", "met"), ADDRESSES.items(), ids=ADDRESSES)
def test_an_address_says_how_a_device_is_reached(text: str, met: tuple[object, ...]) -> None:
    target = parse_target(text)
    assert (target.kind, target.host, target.port, target.root) == met
    assert target.name == text


WRONG = [
    "",
    "-oProxyCommand=touch",
    "-oProxyCommand=touch@host",
    "user@-host",
    "ssh://-oProxyCommand=touch",
    "pi porch",
    "pi@porch;reboot",
    "porch:/data/$(reboot)",
    "porch:/data dir",
    "pi@porch:2222",
    "ssh://porch:99999",
    "ssh://porch:65536",
    "ssh://porch:0",
    "ssh://porch/data'",
]


@pytest.mark.parametrize("text", WRONG)
def test_what_could_be_an_option_or_need_quoting_is_refused(text: str) -> None:
    with pytest.raises(CallerError) as refused:
        parse_target(text)
    assert refused.value.reason == "TARGET_UNKNOWN"


def test_ssh_is_asked_without_a_password_and_with_nothing_quoted() -> None:
    command = ssh_command(parse_target("ssh://pi@porch:2222/data"), ("receive", "--stdio"))
    assert command[0] == "ssh" and "BatchMode=yes" in command
    assert command[command.index("-p") + 1] == "2222"
    assert command[command.index("--") + 1 :] == ["pi@porch", "galago", "receive", "--stdio"]


SAID: dict[str, tuple[str, int, str, str]] = {
    "sudo wants a password": (
        "sudo: a password is required",
        1,
        "a password is required",
        "let sudo ask for none",
    ),
    "no sudo": ("sh: line 1: sudo: command not found", 127, "sudo: command not found", "apt install sudo"),
    "not executable": ("sh: line 1: galago: Permission denied", 126, "may not run galago", "/opt/galago"),
    "no galago": (
        "sh: line 1: galago: command not found",
        127,
        "no galago command on the device",
        "--galago",
    ),
    "no such user": ("sudo: unknown user wombat", 1, "unknown user wombat", "--user"),
    "something else": (
        "wombat: bad",
        9,
        "no galago answers there: the connection ended: wombat: bad",
        "--version",
    ),
}


@pytest.mark.parametrize(("said", "code", "message", "hint"), SAID.values(), ids=SAID)
def test_what_the_other_end_says_becomes_what_to_do(said: str, code: int, message: str, hint: str) -> None:
    with DeviceLink(["sh", "-c", f"echo '{said}' >&2; exit {code}"]) as link:
        with pytest.raises(LinkError) as broken:
            link.await_greeting()
        error = link.explained(broken.value)
    assert message in str(error) and hint in error.hint and str(error).count(said) <= 1


FLEET = """
[defaults]
user = "galago"
ssh_config = "ssh_config"

[device.porch]
address = "pi@porch"
profile = "raspberry-pi-5"

[device.barn1]
address = "ssh://barn1:2222"
root = "/data"

[device.card]
address = "/media/card"

[group.barns]
members = ["barn1", "card"]
canary = ["barn1"]

[group.all]
members = ["porch", "@barns", "barn1"]
"""


def fleet(tmp_path: Path, text: str = FLEET) -> Path:
    path = tmp_path / "fleet.toml"
    path.write_text(text)
    return path


def test_a_group_is_its_devices_each_once(tmp_path: Path) -> None:
    path = fleet(tmp_path)
    targets, canaries = fleet_targets(read_fleet(path), path, "all")
    assert [target.name for target in targets] == ["@porch", "@barn1", "@card"]
    assert canaries == set()
    porch, barn, card = targets
    assert (porch.user, porch.profile, porch.ssh_config) == (
        "galago",
        "raspberry-pi-5",
        tmp_path / "ssh_config",
    )
    assert (barn.port, barn.root, card.kind) == (2222, "/data", "folder")
    assert ssh_command(barn, ["receive"])[-6:] == ["sudo", "-n", "-u", "galago", "galago", "receive"]


def test_canaries_are_those_of_the_group_that_was_named(tmp_path: Path) -> None:
    choice = Choice.of(["@barns"], bundle_id="", fleet=fleet(tmp_path))
    assert choice.canaries == {"@barn1"} and choice.canary_wait_s == 900


BAD_FLEETS = {
    "unknown key": FLEET.replace("canary", "canaries"),
    "unknown member": FLEET.replace('"@barns", ', '"@cows", '),
    "a circle": FLEET.replace('members = ["barn1", "card"]', 'members = ["barn1", "@all"]'),
    "a canary of another group": FLEET.replace('canary = ["barn1"]', 'canary = ["porch"]'),
    "one name for two": FLEET + '[group.porch]\nmembers = ["card"]\n',
    "an empty group": FLEET + "[group.cows]\nmembers = []\n",
    "an address that is none": FLEET + '[device.cow]\naddress = "the cow"\n',
    "one device under two names": FLEET + '[device.cow]\naddress = "pi@porch"\n',
    "a machine that is none": FLEET + '[device.cow]\naddress = "cow"\nmachine = "Bertha"\n',
}


@pytest.mark.parametrize("text", BAD_FLEETS.values(), ids=BAD_FLEETS)
def test_a_fleet_file_that_contradicts_itself_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(CallerError) as refused:
        read_fleet(fleet(tmp_path, text))
    assert refused.value.reason == "CONFIG_BAD" and "fleet.toml" in str(refused.value)


def test_an_unknown_name_says_which_ones_there_are(tmp_path: Path) -> None:
    path = fleet(tmp_path)
    with pytest.raises(CallerError) as refused:
        fleet_targets(read_fleet(path), path, "cows")
    assert "@barns" in refused.value.hint


def test_what_is_said_on_the_command_line_comes_before_the_fleet_file(tmp_path: Path) -> None:
    config = tmp_path / "other"
    choice = Choice.of(
        ["@porch", "@barn1"],
        bundle_id="",
        fleet=fleet(tmp_path),
        root="/mnt/store",
        galago="/opt/galago",
        user="owner",
        ssh_config=config,
    )
    for target in choice.targets:
        assert (target.galago, target.user, target.ssh_config) == ("/opt/galago", "owner", config)
    assert [target.root for target in choice.targets] == ["/mnt/store", "/mnt/store"]


def test_a_device_under_two_names_is_one_and_the_fleet_file_knows_more(tmp_path: Path) -> None:
    path = fleet(tmp_path)
    choice = Choice.of(["pi@porch", "barn", "@porch", "./card", "card/"], bundle_id="", fleet=path)
    assert [target.name for target in choice.targets] == ["@porch", "barn", "./card"]
    assert choice.targets[0].profile == "raspberry-pi-5"


def earlier(tmp_path: Path, **outcomes: str) -> Path:
    path = tmp_path / "results.json"
    devices = tuple(Result(target=f"@{name}", outcome=how, exit=0) for name, how in outcomes.items())  # type: ignore[arg-type]
    report = FlashReport(
        bundle="x", id="1", size=1, started_utc="", seconds=0, exit=0, devices=devices, canaries=("@barn1",)
    )
    write_report(path, report)
    return path


RETRIES: dict[str, tuple[str, str, list[str]]] = {
    "a canary that failed goes first again": ("failed", "not started", ["@barn1", "@card"]),
    "a canary that is not through is asked again": ("on trial", "not started", ["@barn1", "@card"]),
    "a canary that is well holds nobody": ("committed", "not started", ["@card"]),
    "a device on trial has got it": ("on trial", "failed", ["@card"]),
}


@pytest.mark.parametrize("names", [[], ["@barns"]], ids=["all", "the group"])
@pytest.mark.parametrize(("canary", "other", "left"), RETRIES.values(), ids=RETRIES)
def test_a_retry_keeps_the_order_of_the_first_run(
    tmp_path: Path, names: list[str], canary: str, other: str, left: list[str]
) -> None:
    results = earlier(tmp_path, barn1=canary, card=other)
    choice = Choice.of(names, bundle_id="1", fleet=fleet(tmp_path), retry_failed=results)
    assert [target.name for target in choice.targets] == left
    assert choice.canaries == {"@barn1"} and choice.canary_wait_s == 900


def test_a_retry_of_somebody_who_was_not_there_is_a_mistake(tmp_path: Path) -> None:
    results = earlier(tmp_path, barn1="failed")
    with pytest.raises(CallerError) as refused:
        Choice.of(["pi@prch"], bundle_id="1", retry_failed=results)
    assert refused.value.reason == "TARGET_UNKNOWN" and "pi@prch" in str(refused.value)


def test_nobody_named_is_a_mistake() -> None:
    with pytest.raises(CallerError):
        Choice.of([], bundle_id="")


MOUNTS = """rootfs / ext4 rw,relatime 0 0
/dev/sdb1 /media/a\\040card vfat rw,noatime 0 0
/dev/sdb2 /media/locked ext4 ro 0 0
server:/x /media/net nfs4 rw 0 0
"""


@pytest.fixture
def table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "mounts"
    path.write_text(MOUNTS)
    monkeypatch.setattr(mounts, "_MOUNTS", path)


def test_the_disk_of_a_folder_is_the_nearest_one(table: None) -> None:
    assert mount_of(Path("/media/a card/store")).kind == "vfat"
    assert mount_of(Path("/media/a cardboard")).kind == "ext4"
    assert "checks at each start" in mount_of(Path("/media/a card")).note()
    assert "safe to unmount" in mount_of(Path("/home")).note()


@pytest.mark.parametrize(("folder", "reason"), [("/media/locked/x", "READ_ONLY"), ("/media/net", "IO")])
def test_a_disk_that_cannot_keep_a_promise_is_refused(table: None, folder: str, reason: str) -> None:
    with pytest.raises(LinkError) as refused:
        mount_of(Path(folder)).check()
    assert refused.value.reason == reason


def result(outcome: str, code: int, reason: str = "") -> Result:
    return Result(target="x", outcome=outcome, exit=code, reason=reason)  # type: ignore[arg-type]


def test_the_summary_counts_and_the_exit_code_is_the_worst() -> None:
    results = [
        *(result("committed", 0) for _ in range(37)),
        result("failed", 3, "NO_SPACE"),
        result("refused", 1, "PROFILE_MISMATCH"),
        result("failed", 3, "NO_SPACE"),
    ]
    assert summary(results) == "37 committed, 2 failed (NO_SPACE), 1 refused (PROFILE_MISMATCH)"
    assert worst(results) == 1
    assert worst([result("on trial", 4), result("failed", 5)]) == 5
    assert worst([result("refused", 1), result("rolled back", 6)]) == 6
    assert worst([]) == 0
