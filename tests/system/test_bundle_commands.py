"""``galago bundle inspect|verify``, ``galago keys`` and ``galago devices``."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from galago_edge.bundle import open_bundle
from galago_edge.bundle.keys import key_id, public_line
from galago_edge.commands.cli import main
from galago_edge.contract.manifest import Label, LabelPolicy
from galago_edge.testing import OTHER_KEY, TEST_KEY, make_hollow_bundle


def galago(*args: object) -> Result:
    return CliRunner().invoke(main, [str(arg) for arg in args])


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    labels = [
        Label(name="nothing", background=True),
        Label(name="Käfer", policy=LabelPolicy(on=0.9, off=0.25)),
    ]
    return make_hollow_bundle(tmp_path / "bugs-1.2.3.galago", labels=labels, name="bugs", version="1.2.3")


def test_inspect_shows_what_decides(bundle: Path) -> None:
    shown = galago("bundle", "inspect", bundle).output
    for text in (
        "bugs 1.2.3",
        open_bundle(bundle).id,
        key_id(TEST_KEY),
        "nothing (background)",
        "Käfer: on 0.9, off 0.25",
        "1 CONV_2D v3",
        "width 16",
        "6 model.tflite (model)",
    ):
        assert text in shown


def test_inspect_gives_programs_the_whole_manifest(bundle: Path) -> None:
    data = json.loads(galago("bundle", "inspect", bundle, "--json").stdout)
    opened = open_bundle(bundle)
    assert data["manifest"] == json.loads(opened.manifest_bytes)
    assert (data["id"], data["signers"]) == (opened.id, list(opened.signers))


def test_inspect_reads_an_unpacked_bundle_too(bundle: Path, tmp_path: Path) -> None:
    import tarfile

    with tarfile.open(bundle) as tar:
        tar.extractall(tmp_path / "unpacked", filter="data")
    assert (
        galago("bundle", "inspect", tmp_path / "unpacked").output
        == galago("bundle", "inspect", bundle).output
    )


def test_verify_says_by_whom_and_whether_that_was_asked(bundle: Path, tmp_path: Path) -> None:
    plain = galago("bundle", "verify", bundle)
    assert plain.exit_code == 0
    assert key_id(TEST_KEY) in plain.output and "trust was not asked for" in plain.output
    keys = []
    for number, key in enumerate((OTHER_KEY, TEST_KEY)):
        keys.append(tmp_path / f"{number}.pub")
        keys[-1].write_text(public_line(key_id(key)))
    assert galago("bundle", "verify", bundle, "--trust", keys[0], "--trust", keys[1]).exit_code == 0
    stranger = galago("bundle", "verify", bundle, "--trust", keys[0])
    assert stranger.exit_code == 1 and "KEY_UNKNOWN" in stranger.stderr
    both = ("--trust", keys[0], "--trust", keys[1], "--threshold", 2)
    assert "SIG_MISSING" in galago("bundle", "verify", bundle, *both).stderr
    data = json.loads(galago("bundle", "verify", bundle, "--trust", keys[1], "--json").stdout)
    assert data["ok"] is True and data["trust_checked"] is True


@pytest.mark.parametrize("command", ["inspect", "verify"])
def test_a_changed_bundle_is_one_line_and_exit_code_1(bundle: Path, command: str) -> None:
    data = bytearray(bundle.read_bytes())
    data[700] ^= 1
    bundle.write_bytes(data)
    result = galago("bundle", command, bundle)
    assert result.exit_code == 1 and result.stdout == ""
    assert [line.partition(":")[0] for line in result.stderr.splitlines()] == ["Error", "Hint"]
    assert json.loads(galago("bundle", command, bundle, "--json").stdout)["error"]["reason"] == "SIG_BAD"


def test_a_key_pair_is_made_shown_and_trusted(tmp_path: Path) -> None:
    made = galago("keys", "new", tmp_path / "k", "--comment", "Porch 2026")
    assert made.exit_code == 0
    assert stat.S_IMODE((tmp_path / "k").stat().st_mode) == 0o600
    public = (tmp_path / "k.pub").read_text()
    assert galago("keys", "show", tmp_path / "k.pub").output == public
    assert galago("keys", "show", tmp_path / "k").output.split()[1] == public.split()[1]
    assert galago("keys", "trust", tmp_path / "k.pub", "--root", tmp_path / "device").exit_code == 0
    assert [path.read_text() for path in (tmp_path / "device" / "trust").iterdir()] == [public]
    again = galago("keys", "trust", tmp_path / "k.pub", "--root", tmp_path / "device")
    assert again.exit_code == 0


def test_a_key_is_never_overwritten(tmp_path: Path) -> None:
    galago("keys", "new", tmp_path / "k")
    before = (tmp_path / "k").read_bytes()
    again = galago("keys", "new", tmp_path / "k")
    assert again.exit_code == 2 and "EXISTS" in again.stderr
    assert (tmp_path / "k").read_bytes() == before


def test_a_private_key_is_not_taken_for_a_public_one(tmp_path: Path) -> None:
    galago("keys", "new", tmp_path / "k")
    result = galago("keys", "trust", tmp_path / "k", "--root", tmp_path / "device")
    assert result.exit_code == 2 and "KEY_BAD" in result.stderr
    assert not (tmp_path / "device").exists()


def test_the_boards_are_listed_and_shown(tmp_path: Path) -> None:
    listed = galago("devices", "list")
    assert len(listed.output.splitlines()) == 4 and "raspberry-pi-3-32bit  armv7l" in listed.output
    data = json.loads(galago("devices", "list", "--json").stdout)
    assert data[0]["runtime"]["ops"]["CONV_2D"] >= 3
    text = galago("devices", "show", "raspberry-pi-5").output
    assert galago("devices", "show", "raspberry-pi-5", "-o", tmp_path / "profile.toml").exit_code == 0
    assert (tmp_path / "profile.toml").read_text() == text
    unknown = galago("devices", "show", "raspberry-pi-6")
    assert unknown.exit_code == 2 and "did you mean raspberry-pi-5" in unknown.stderr
