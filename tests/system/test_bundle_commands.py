"""``galago bundle inspect|verify``, ``galago keys`` and ``galago devices``."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from galago_edge.bundle import open_bundle, write_bundle
from galago_edge.bundle.keys import key_id, public_line
from galago_edge.commands.cli import main
from galago_edge.contract.manifest import Label, LabelPolicy
from test_kit import OTHER_KEY, TEST_KEY, changed, hollow_manifest, make_hollow_bundle


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


def test_inspect_shows_what_it_takes_and_what_its_trial_asks(tmp_path: Path) -> None:
    manifest, files = hollow_manifest(release_counter=7)
    manifest = changed(
        manifest,
        resources__rss_peak_bytes=55_000_000,
        resources__min_free_disk_bytes=3_400_000,
        health__trial_s=90,
        rollback__min_release_counter_after_commit=5,
    )
    write_bundle(tmp_path / "x.galago", manifest, files, [TEST_KEY])
    shown = galago("bundle", "inspect", tmp_path / "x.galago").output
    for text in (
        "takes       55.0 MB of memory with its process, 3.4 MB of disk",
        "trial       90 s, in at most 3 starts: 20 windows within 60 s, p99 at most 1000 ms",
        "afterwards no release counter below 5",
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


def test_verify_marks_each_signer_that_is_trusted_and_no_other(tmp_path: Path) -> None:
    bundle = make_hollow_bundle(tmp_path / "two.galago", keys=[TEST_KEY, OTHER_KEY])
    paths = []
    for number, key in enumerate((TEST_KEY, OTHER_KEY)):
        paths.append(tmp_path / f"{number}.pub")
        paths[-1].write_text(public_line(key_id(key)))
    one = galago("bundle", "verify", bundle, "--trust", paths[0])
    assert f"signed by {key_id(TEST_KEY)} (trusted)\n" in one.output
    assert f"signed by {key_id(OTHER_KEY)} (not trusted)\n" in one.output
    both = galago("bundle", "verify", bundle, "--trust", paths[0], "--trust", paths[1], "--threshold", 2)
    assert both.exit_code == 0 and both.output.count("(trusted)") == 2
    data = json.loads(galago("bundle", "verify", bundle, "--trust", paths[1], "--json").stdout)
    assert data["trusted_signers"] == [key_id(OTHER_KEY)]


def test_verify_does_not_promise_a_threshold_that_it_was_given_no_keys_for(bundle: Path) -> None:
    result = galago("bundle", "verify", bundle, "--threshold", 2)
    assert result.exit_code == 2 and "[CONFIG_BAD]" in result.stderr and result.stdout == ""


def test_a_folder_that_is_no_bundle_is_called_that(bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    result = galago("bundle", "verify", tmp_path / "empty")
    assert result.stderr.splitlines() == [
        "Error: empty: manifest.json is missing [MANIFEST_BAD]",
        "Hint: give a .galago file, or the folder of an installed bundle",
    ]


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
    (tmp_path / "release.key").write_text("secret")
    for target, code in (("profile.toml", 0), ("release.key", 2)):
        assert galago("devices", "show", "generic-arm64", "-o", tmp_path / target).exit_code == code
    assert (tmp_path / "release.key").read_text() == "secret"
    unknown = galago("devices", "show", "raspberry-pi-6")
    assert unknown.exit_code == 2 and "did you mean raspberry-pi-5" in unknown.stderr
