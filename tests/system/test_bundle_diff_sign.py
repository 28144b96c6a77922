"""``galago bundle diff`` and ``sign`` as a person or a program calls them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from galago_edge.bundle import open_bundle, write_bundle
from galago_edge.bundle.keys import create_key_pair, key_id, public_line
from galago_edge.commands.cli import main
from galago_edge.contract.manifest import Label, LabelPolicy
from galago_edge.store.admission import COUNTER_JUMP
from test_kit import OTHER_KEY, TEST_KEY, changed, hollow_manifest, make_hollow_bundle, trust


def galago(*args: object) -> Result:
    return CliRunner().invoke(main, [str(arg) for arg in args])


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    """A release and the next one, in which two labels changed places and one came."""
    loud = Label(name="loud", policy=LabelPolicy(on=0.9, off=0.25))
    old = make_hollow_bundle(tmp_path / "old.galago", labels=[Label(name="quiet", background=True), loud])
    new = make_hollow_bundle(
        tmp_path / "new.galago",
        b"another model",
        labels=[Label(name="loud"), "quiet", "smoke alarm"],
        version="1.1.0",
        release_counter=2,
    )
    return old, new


def test_diff_tells_a_person_what_changes(pair: tuple[Path, Path]) -> None:
    result = galago("bundle", "diff", *pair)
    assert result.exit_code == 0, result.output
    for text in (
        "tiny 1.0.0 -> tiny 1.1.0",
        "1 -> 2, newer: a device that has OLD takes it",
        "+ smoke alarm",
        "MOVED loud: output 1 -> 0",
        "MOVED quiet: output 0 -> 1",
        "quiet.background: true -> false",
        "loud: on: 0.9 -> 0.7",
        "loud: off: 0.25 -> 0.5",
        "model_bytes: 6 -> 13",
        "bytes together (+7 bytes)",
    ):
        assert text in result.output


def test_diff_gives_programs_everything(pair: tuple[Path, Path]) -> None:
    data = json.loads(galago("bundle", "diff", *pair, "--json").stdout)
    assert data["labels"] == {
        "added": ["smoke alarm"],
        "removed": [],
        "moved": [
            {"name": "loud", "old_index": 1, "new_index": 0},
            {"name": "quiet", "old_index": 0, "new_index": 1},
        ],
    }
    assert (data["same"], data["succession"]) == (False, "newer")
    assert {"what": "labels.loud.policy.on", "old": 0.9, "new": 0.7} in data["changes"]["thresholds"]
    assert data["new"]["bytes"] - data["old"]["bytes"] == 7
    assert data["old"]["id"] == open_bundle(pair[0]).id


def test_diff_warns_of_what_devices_would_refuse(pair: tuple[Path, Path], tmp_path: Path) -> None:
    old, new = pair
    assert "[DOWNGRADE]" in galago("bundle", "diff", new, old).output
    twin = make_hollow_bundle(tmp_path / "twin.galago", b"other", labels=["quiet", "loud"])
    assert "[REPLAY]" in galago("bundle", "diff", old, twin).output
    assert "nothing differs" in galago("bundle", "diff", old, old).output


def test_diff_gives_a_label_or_file_that_only_one_has_one_line(pair: tuple[Path, Path]) -> None:
    old, new = pair
    lines = [line[12:] for line in galago("bundle", "diff", *pair).output.splitlines()]
    policy = "on 0.7, off 0.5, smoothing_windows 3, min_count 2, refractory_ms 1000"
    assert [line for line in lines if "smoke alarm" in line and line[0] in "+-"] == [
        "+ smoke alarm: output 2",
        f"+ smoke alarm: {policy}",
        "+ recall_int8.smoke alarm: 1",
    ]
    back = [line[12:] for line in galago("bundle", "diff", new, old).output.splitlines()]
    assert "- smoke alarm: output 2" in back and f"- smoke alarm: {policy}" in back


def test_diff_tells_a_new_label_that_is_the_background(tmp_path: Path) -> None:
    old = make_hollow_bundle(tmp_path / "old.galago", labels=["a", "b"])
    labels = ["a", "b", Label(name="nothing", background=True)]
    new = make_hollow_bundle(tmp_path / "new.galago", labels=labels, release_counter=2)
    assert "+ nothing: output 2, background\n" in galago("bundle", "diff", old, new).output


def test_diff_shows_texts_that_differ_only_where_a_line_would_be_cut(tmp_path: Path) -> None:
    sides = [
        make_hollow_bundle(tmp_path / text, description="x" * 100 + text, release_counter=number)
        for number, text in enumerate(("summer", "winter"))
    ]
    shown = galago("bundle", "diff", *sides).output
    assert "xxsummer" in shown and "xxwinter" in shown
    empty = make_hollow_bundle(tmp_path / "empty", release_counter=2)
    assert ' -> ""\n' in galago("bundle", "diff", sides[1], empty).output


def test_diff_says_which_devices_would_refuse_what_is_newer(tmp_path: Path) -> None:
    old_manifest, files = hollow_manifest()
    new_manifest = changed(
        old_manifest,
        bundle__release_counter=2 + COUNTER_JUMP,
        bundle__channel="beta",
        compat__device_profiles=old_manifest.compat.device_profiles[1:],
        compat__arch=old_manifest.compat.arch[1:],
    )
    old, new = tmp_path / "old.galago", tmp_path / "new.galago"
    write_bundle(old, old_manifest, files, [TEST_KEY])
    write_bundle(new, new_manifest, files, [OTHER_KEY])
    result = galago("bundle", "diff", old, new)
    assert "newer: a device that has OLD takes it, but for what stands under refused" in result.output
    reasons = ["COUNTER_JUMP", "PROFILE_MISMATCH", "ARCH", "CHANNEL_MISMATCH", "KEY_UNKNOWN"]
    assert all(f"[{reason}]" in result.output for reason in reasons)
    data = json.loads(galago("bundle", "diff", old, new, "--json").stdout)
    assert [why["reason"] for why in data["refused"]] == reasons
    assert all(why["message"] for why in data["refused"])


def test_diff_tells_programs_too_what_every_device_refuses(pair: tuple[Path, Path]) -> None:
    old, new = pair
    assert json.loads(galago("bundle", "diff", old, new, "--json").stdout)["refused"] == []
    backwards = json.loads(galago("bundle", "diff", new, old, "--json").stdout)["refused"]
    assert [why["reason"] for why in backwards] == ["DOWNGRADE"]


def test_diff_of_what_is_no_bundle_is_one_line(pair: tuple[Path, Path], tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"no bundle")
    result = galago("bundle", "diff", pair[0], tmp_path / "x")
    assert result.exit_code == 1 and result.stdout == "" and len(result.stderr.splitlines()) == 2
    assert galago("bundle", "diff", tmp_path / "none", pair[0]).exit_code == 2


@pytest.fixture
def second(tmp_path: Path) -> Path:
    create_key_pair(tmp_path / "second.key", "the other pair of eyes")
    return tmp_path / "second.key"


def test_sign_adds_a_signature_and_changes_nothing_else(pair: tuple[Path, Path], second: Path) -> None:
    before = open_bundle(pair[0])
    result = galago("bundle", "sign", pair[0], "--key", second)
    assert result.exit_code == 0, result.output
    after = open_bundle(pair[0])
    assert (after.id, after.manifest_bytes) == (before.id, before.manifest_bytes)
    assert set(after.signers) == {key_id(TEST_KEY), second.with_name("second.key.pub").read_text().split()[1]}
    assert result.output.count("(new)") == 1
    assert all(after.read(entry.path) == before.read(entry.path) for entry in after.manifest.files)


def test_signing_twice_gives_the_same_bytes(pair: tuple[Path, Path], second: Path) -> None:
    galago("bundle", "sign", pair[0], "--key", second)
    once = pair[0].read_bytes()
    again = galago("bundle", "sign", pair[0], "--key", second, "--json")
    assert pair[0].read_bytes() == once
    assert json.loads(again.stdout)["added"] == []


def test_sign_writes_elsewhere_when_asked(pair: tuple[Path, Path], second: Path, tmp_path: Path) -> None:
    before = pair[0].read_bytes()
    assert galago("bundle", "sign", pair[0], "--key", second, "-o", tmp_path / "two.galago").exit_code == 0
    assert pair[0].read_bytes() == before
    assert len(open_bundle(tmp_path / "two.galago").signers) == 2


def test_sign_writes_over_no_key_and_no_other_bundle(
    pair: tuple[Path, Path], second: Path, tmp_path: Path
) -> None:
    (tmp_path / "note.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    for target in (second, tmp_path / "note.png", pair[1]):
        before = target.read_bytes()
        result = galago("bundle", "sign", pair[0], "--key", second, "-o", target)
        assert (result.exit_code, target.read_bytes()) == (2, before)
        assert "[EXISTS]" in result.stderr and len(result.stderr.splitlines()) == 2
    assert galago("bundle", "sign", pair[0], "--key", second, "--replace", "-o", second).exit_code == 2
    assert galago("bundle", "sign", pair[0], "--key", second, "--replace", "-o", pair[1]).exit_code == 0
    assert open_bundle(pair[1]).id == open_bundle(pair[0]).id


def test_a_file_whose_signatures_would_be_lost_is_not_written_over(
    pair: tuple[Path, Path], second: Path, tmp_path: Path
) -> None:
    third, both = tmp_path / "third.key", tmp_path / "both.galago"
    create_key_pair(third)
    galago("bundle", "sign", pair[0], "--key", second, "-o", both)
    result = galago("bundle", "sign", pair[0], "--key", third, "-o", both)
    assert result.exit_code == 2 and "signatures that would be lost" in result.stderr
    assert galago("bundle", "sign", pair[0], "--key", second, "--key", third, "-o", both).exit_code == 0


def test_a_damaged_bundle_is_written_over_only_with_replace(
    pair: tuple[Path, Path], second: Path, tmp_path: Path
) -> None:
    (tmp_path / "cut.galago").write_bytes(pair[0].read_bytes()[:900])
    call = ("bundle", "sign", pair[0], "--key", second, "-o", tmp_path / "cut.galago")
    assert "a damaged bundle" in galago(*call).stderr
    assert galago(*call, "--replace").exit_code == 0


def test_sign_takes_only_what_a_given_key_has_signed(
    pair: tuple[Path, Path], second: Path, tmp_path: Path
) -> None:
    before = pair[0].read_bytes()
    result = galago("bundle", "sign", pair[0], "--key", second, "--trust", f"{second}.pub")
    assert result.exit_code == 1 and "KEY_UNKNOWN" in result.stderr
    assert pair[0].read_bytes() == before
    (tmp_path / "test.pub").write_text(public_line(key_id(TEST_KEY)))
    assert galago("bundle", "sign", pair[0], "--key", second, "--trust", tmp_path / "test.pub").exit_code == 0


def test_a_link_to_a_bundle_stays_a_link_and_what_it_leads_to_is_signed(
    pair: tuple[Path, Path], second: Path, tmp_path: Path
) -> None:
    link = tmp_path / "latest.galago"
    link.symlink_to(pair[0].name)
    assert galago("bundle", "sign", link, "--key", second).exit_code == 0
    assert link.is_symlink() and len(open_bundle(pair[0]).signers) == 2


def test_a_damaged_bundle_is_not_signed(pair: tuple[Path, Path], second: Path, tmp_path: Path) -> None:
    data = bytearray(pair[0].read_bytes())
    data[-1100] ^= 1
    pair[0].write_bytes(data)
    result = galago("bundle", "sign", pair[0], "--key", second)
    assert result.exit_code == 1
    assert pair[0].read_bytes() == bytes(data)
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_an_installed_bundle_is_never_changed(pair: tuple[Path, Path], second: Path, tmp_path: Path) -> None:
    import tarfile

    with tarfile.open(pair[0]) as tar:
        tar.extractall(tmp_path / "folder", filter="data")
    result = galago("bundle", "sign", tmp_path / "folder", "--key", second)
    assert result.exit_code == 2 and "CONFIG_BAD" in result.stderr
    packed = galago("bundle", "sign", tmp_path / "folder", "--key", second, "-o", tmp_path / "again.galago")
    assert packed.exit_code == 0 and open_bundle(tmp_path / "again.galago").id == open_bundle(pair[0]).id


def test_more_signatures_than_fit_leave_the_bundle_as_it_was(pair: tuple[Path, Path], tmp_path: Path) -> None:
    options: list[object] = []
    for number in range(80):
        create_key_pair(tmp_path / f"{number}.key")
        options += ["--key", tmp_path / f"{number}.key"]
    before = pair[0].read_bytes()
    result = galago("bundle", "sign", pair[0], *options)
    assert result.exit_code == 1 and "TOO_BIG" in result.stderr
    assert pair[0].read_bytes() == before


def test_a_device_that_wants_two_signatures_takes_it_once_both_are_there(
    pair: tuple[Path, Path], second: Path, tmp_path: Path
) -> None:
    root = trust(tmp_path / "device")
    assert galago("keys", "trust", f"{second}.pub", "--root", root).exit_code == 0
    assert galago("keys", "threshold", 2, "--root", root).exit_code == 0
    refused = galago("install", pair[0], "--root", root, "--json")
    assert json.loads(refused.stdout)["error"]["reason"] == "SIG_MISSING"
    assert galago("bundle", "sign", pair[0], "--key", second).exit_code == 0
    late = galago("install", pair[0], "--root", root, "--json")  # its model is hollow, its signatures count
    assert json.loads(late.stdout)["error"]["reason"] in ("MODEL_BAD", "PREPROCESS_MISMATCH")
