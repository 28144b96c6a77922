"""Who is meant: addresses, the fleet file, mounted disks, and how a run is summed up."""

from __future__ import annotations

from pathlib import Path

import pytest

from galago_edge.contract.errors import CallerError, LinkError
from galago_workstation.flashing import mounts
from galago_workstation.flashing.flashing import Choice
from galago_workstation.flashing.fleet import fleet_targets, read_fleet
from galago_workstation.flashing.links import ssh_command
from galago_workstation.flashing.mounts import mount_of
from galago_workstation.flashing.results import Result, summary, worst
from galago_workstation.flashing.targets import parse_target

ADDRESSES = {
    "pi@porch": ("ssh", "pi@porch", None, "/var/lib/galago"),
    "porch": ("ssh", "porch", None, "/var/lib/galago"),
    "pi@porch:/data/galago": ("ssh", "pi@porch", None, "/data/galago"),
    "ssh://pi@porch:2222/data": ("ssh", "pi@porch", 2222, "/data"),
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
