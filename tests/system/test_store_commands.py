"""The commands that change a store or look into it: what they say, and their exit codes."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from galago_edge.bundle import Bundle, open_bundle
from galago_edge.bundle.keys import key_id
from galago_edge.commands.cli import main
from galago_edge.contract.errors import BusyError
from galago_edge.contract.wishes import Wishes
from galago_edge.store import Store, install_bundle, rollback
from galago_edge.store.filesystem import StoreFs
from test_kit import OTHER_KEY, TEST_KEY, make_bundle, make_hollow_bundle, trust


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return trust(tmp_path / "device")


def galago(*args: object) -> Result:
    return CliRunner().invoke(main, [str(arg) for arg in args])


def data(*args: object, code: int = 0) -> Any:
    result = galago(*args, "--json")
    assert result.exit_code == code, result.output
    return json.loads(result.stdout)


def put(root: Path, counter: int, *, name: str = "tiny", **options: Any) -> Bundle:
    """Install a hollow bundle without running it."""
    path = root.parent / f"{name}-{counter}.galago"
    make_hollow_bundle(
        path, model=b"model %d" % counter, version=f"{counter}.0.0", release_counter=counter, name=name
    )
    store = Store(root)
    bundle = open_bundle(path)
    install_bundle(store, bundle, store.trusted(), lambda _: {}, Wishes(**options))
    return bundle


def refused(result: Result, reason: str, code: int) -> str:
    lines = result.stderr.splitlines()
    assert result.exit_code == code, result.output
    assert len(lines) == 2 and lines[0].endswith(f"[{reason}]") and lines[1].startswith("Hint: ")
    return lines[0]


def test_the_life_of_an_update(root: Path, tmp_path: Path, tiny_image_model: bytes) -> None:
    """With a real model: on trial, staged, committed; every step says what is active."""
    labels = ["dark", "mid", "bright"]
    paths = [
        make_bundle(
            tmp_path / f"{n}", tiny_image_model, labels, name="eyes", version=f"{n}.0.0", release_counter=n
        )
        for n in (1, 2, 3)
    ]
    first = data("install", paths[0], "--root", root)
    assert (first["phase"], first["slot"]["trial"]) == ("committed", None)
    result = galago("install", paths[1], "--root", root)
    assert result.exit_code == 0 and "eyes 2.0.0 is installed and active on trial" in result.output
    assert "if it fails, 1.0.0 is active again" in result.output
    shown = galago("status", "--root", root)
    assert shown.exit_code == 4 and "ON TRIAL: loaded 0 times, 3 boot attempts left" in shown.output
    assert galago("commit", "--root", root).output == f"eyes 2.0.0 is committed in {root}\n"
    assert galago("status", "--root", root).exit_code == 0
    result = galago("install", paths[2], "--root", root, "--stage-only")
    assert result.exit_code == 0 and "2.0.0 stays active; galago activate eyes" in result.output
    assert "staged: 3.0.0" in galago("status", "--root", root).output
    activated = data("activate", "eyes", "--root", root, "--commit")
    assert (activated["version"], activated["trial"], activated["staged"]) == ("3.0.0", None, None)
    told = [event["action"] for event in data("history", "--root", root)["history"]]
    assert told == ["activate", "stage", "commit", "install", "install"]


def test_a_rollback_by_hand_is_told_everywhere(root: Path) -> None:
    put(root, 1)
    two = put(root, 2)
    result = galago("rollback", "--root", root, "--why", "too many false alarms")
    assert result.exit_code == 0 and result.output == f"tiny 1.0.0 is active again in {root}\n"
    assert "rollback  tiny 2.0.0" in galago("history", "--root", root).output
    assert "galago rollback: too many false alarms" in galago("history", "--root", root).output
    shown = galago("status", "--root", root)
    assert "rolled back: 2.0.0 at" in shown.output and "too many false alarms" in shown.output
    (slot,) = data("status", "--root", root)["slots"]
    assert slot["last_rollback"]["id"] == two.id and slot["bad"] == [two.id]
    refused(galago("rollback", "--root", root), "NO_FALLBACK", 1)
    refused(galago("install", two.path, "--root", root), "TRIAL_FAILED", 1)


@pytest.mark.parametrize("by", ["version", "digits", "id"])
def test_a_rollback_from_a_bundle_can_be_repeated_without_going_further(root: Path, by: str) -> None:
    """After Ctrl+C or a lost connection nobody knows whether it was done."""
    put(root, 1, commit=True)
    put(root, 2, commit=True)
    three = put(root, 3, commit=True)
    given = {"version": "3.0.0", "digits": three.id[:12], "id": three.id}[by]
    for said in ("again", "already", "already"):
        result = galago("rollback", "--root", root, "--from", given)
        assert (result.exit_code, result.output) == (0, f"tiny 2.0.0 is active {said} in {root}\n")


def test_a_bundle_is_named_by_a_version_that_the_device_knows(root: Path) -> None:
    put(root, 1)
    put(root, 2)
    line = refused(galago("rollback", "--root", root, "--from", "1.4.0"), "TARGET_UNKNOWN", 2)
    assert "no bundle of tiny" in line and "1.0.0, 2.0.0" in line
    refused(galago("rollback", "--root", root, "--from", "1.0.0"), "TARGET_UNKNOWN", 2)  # not the active one
    refused(galago("commit", "--root", root, "--id", "1.0.0"), "TARGET_UNKNOWN", 2)
    assert galago("commit", "--root", root, "--id", "2.0.0").exit_code == 0
    put(root, 3, stage_only=True)
    refused(galago("activate", "--root", root, "--id", "1.0.0"), "TARGET_UNKNOWN", 2)
    for _ in range(2):
        assert galago("activate", "--root", root, "--id", "3.0.0").exit_code == 0


def test_whom_the_device_believes_is_shown_in_status(root: Path) -> None:
    put(root, 1)
    test, other = (key_id(key) for key in (TEST_KEY, OTHER_KEY))
    trust(root, OTHER_KEY)
    galago("keys", "channel", "stable", "--root", root)
    refused(galago("keys", "threshold", "2", "--root", root), "KEY_IN_USE", 1)
    assert galago("keys", "threshold", "2", "--root", root, "--allow-in-use").exit_code == 0
    assert galago("keys", "revoke", "ab" * 32, "--root", root, "--why", "laptop stolen").exit_code == 0
    shown = galago("status", "--root", root).output
    assert f"{test[:16]}… test" in shown and f"REVOKED {'ab' * 8}… laptop stolen" in shown
    assert "2 of 2 trusted keys must have signed a bundle" in shown
    assert "only bundles of the channel stable are taken" in shown
    assert "--allow-in-use: keys threshold 2, so not to be loaded any more: tiny 1.0.0 (active)" in shown
    assert "NOT LOADED AT THE NEXT START" in shown and "[SIG_MISSING]" in shown
    told = data("status", "--root", root, code=1)
    assert (told["threshold"], told["channel"]) == (2, "stable")
    assert {key["id"] for key in told["trusted"]} == {test, other}
    assert told["revoked"] == [{"id": "ab" * 32, "why": "laptop stolen"}]
    assert [(one["name"], one["reason"].partition(":")[0]) for one in told["overrides"]] == [
        (None, "allow-in-use")
    ]


def test_a_store_without_a_whole_record_is_told_with_a_way_out_that_works(root: Path) -> None:
    put(root, 1, commit=True)
    put(root, 2, commit=True)
    for name in ("state.a", "state.b"):
        (root / name).unlink()
        (root / name).write_bytes(b"torn")
    for command in ("history", "rollback", "gc"):
        result = galago(command, "--root", root)
        refused(result, "STATE_BAD", 1)
        assert f"galago scrub --root {root}" in result.stderr
    shown = galago("status", "--root", root)  # what it can tell, it does
    assert shown.exit_code == 1 and "bundles  unknown" in shown.output and "[STATE_BAD]" in shown.output
    assert f"galago scrub --root {root}" in shown.output and "test" in shown.output
    assert data("status", "--root", root, code=1)["faults"]["store"]["reason"] == "STATE_BAD"
    assert "state.a was not whole and is written again" in galago("scrub", "--root", root).output
    assert "rebuild   tiny 2.0.0" in galago("history", "--root", root).output
    shown = galago("status", "--root", root)
    assert shown.exit_code == 4 and "ON TRIAL: loaded 0 times" in shown.output


@pytest.mark.parametrize(
    ("file", "title", "reason"),
    [("trust/stray.pub", "trusts", "KEY_BAD"), ("profile.toml", "profile", "CONFIG_BAD")],
)
def test_a_file_that_cannot_be_read_does_not_hide_the_rest_of_the_status(
    root: Path, file: str, title: str, reason: str
) -> None:
    put(root, 1)
    (root / file).write_text("half a li")
    shown = galago("status", "--root", root)
    assert shown.exit_code == 1 and "tiny 1.0.0" in shown.output and "store    ok" in shown.output
    (line,) = [line for line in shown.output.splitlines() if line.startswith(title)]
    assert file.rpartition("/")[2] in line and line.endswith(f"[{reason}]")


def test_a_device_that_trusts_nobody_any_more_says_what_its_next_start_will_not_load(root: Path) -> None:
    put(root, 1)
    shutil.rmtree(root / "trust")
    shown = galago("status", "--root", root)
    assert shown.exit_code == 1 and "NOT LOADED AT THE NEXT START" in shown.output
    assert "[KEY_UNKNOWN]" in shown.output and "nobody: galago keys trust" in shown.output


def test_an_override_is_shown_in_status(root: Path) -> None:
    put(root, 2)
    put(root, 1, allow_downgrade=True)
    assert "installed with --allow-downgrade" in galago("status", "--root", root).output
    assert data("status", "--root", root, code=4)["slots"][0]["overrides"] == ["allow-downgrade"]


def test_waiting_for_a_trial_ends_with_its_verdict(
    root: Path, tmp_path: Path, tiny_image_model: bytes
) -> None:
    """The other process is a thread here; it judges as soon as the record shows the trial."""
    labels = ["dark", "mid", "bright"]
    one, two, three = (
        make_bundle(
            tmp_path / f"{n}", tiny_image_model, labels, name="eyes", version=f"{n}.0.0", release_counter=n
        )
        for n in (1, 2, 3)
    )
    assert galago("install", one, "--root", root, "--wait", 60).exit_code == 0
    assert galago("install", two, "--root", root, "--wait", 0).exit_code == 4
    pending = Store(root).state().slots["eyes"].active.id

    def judge() -> None:
        store = Store(root)
        while store.state().slots["eyes"].active.id == pending:
            time.sleep(0.02)
        while True:
            with contextlib.suppress(BusyError):  # the installer may still hold the lock
                rollback(store, "eyes", reason="HUNG")
                return
            time.sleep(0.02)

    thread = threading.Thread(target=judge, daemon=True)
    thread.start()
    result = galago("install", three, "--root", root, "--wait", 60)
    thread.join(10)
    assert result.exit_code == 6 and "rolled back: 1.0.0 is active again" in result.output


def test_an_interrupted_install_says_what_is_active(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(root, 1)
    two = root.parent / "2.galago"
    make_hollow_bundle(two, model=b"model 2", version="2.0.0", release_counter=2)

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(StoreFs, "allocate", interrupt)
    result = galago("install", two, "--root", root)
    assert result.exit_code == 130 and f"interrupted; active in {root}: tiny 1.0.0" in result.stderr
    assert Store(root).leftovers() == []


@pytest.mark.parametrize("command", ["activate", "commit", "rollback"])
def test_an_interrupted_change_says_what_is_active(
    root: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    put(root, 1)
    put(root, 2)
    put(root, 3, stage_only=True)

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(StoreFs, "allocate", interrupt)
    result = galago(command, "--root", root)
    assert result.exit_code == 130
    assert f"interrupted; active in {root}: tiny 2.0.0 (on trial)" in result.stderr


def test_who_stops_waiting_for_a_verdict_is_told_what_is_active(
    root: Path, tmp_path: Path, tiny_image_model: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in (1, 2):
        path = make_bundle(
            tmp_path / f"{number}", tiny_image_model, ["dark", "mid", "bright"],
            version=f"{number}.0.0", release_counter=number, name="eyes",
        )  # fmt: skip
        if number == 1:
            assert galago("install", path, "--root", root).exit_code == 0

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("galago_edge.commands.install.await_verdict", interrupt)
    result = galago("install", path, "--root", root, "--wait", "60")
    assert result.exit_code == 130
    assert f"interrupted; active in {root}: eyes 2.0.0 (on trial)" in result.stderr


def test_a_bundle_can_be_barred_before_it_ever_comes(root: Path) -> None:
    put(root, 1)
    barred = "ab" * 32
    result = galago("mark-bad", barred, "--root", root)
    assert result.exit_code == 0 and "1.0.0 is active" in result.output
    assert data("status", "--root", root)["slots"][0]["bad"] == [barred]
    refused(galago("mark-bad", "ab", "--root", root), "TARGET_UNKNOWN", 2)


def test_with_several_names_one_must_be_given(root: Path) -> None:
    for name in ("eyes", "ears"):
        put(root, 1, name=name)
        put(root, 2, name=name)
    line = refused(galago("commit", "--root", root), "TARGET_UNKNOWN", 2)
    assert "several names" in line
    assert galago("commit", "ears", "--root", root).exit_code == 0
    slots = {slot["name"]: slot["trial"] for slot in data("status", "--root", root, code=4)["slots"]}
    assert slots["ears"] is None and slots["eyes"]["left"] == 3


@pytest.mark.parametrize("command", ["activate", "commit", "rollback", "gc", "scrub", "history"])
def test_a_mistyped_root_is_refused_and_not_made(tmp_path: Path, command: str) -> None:
    refused(galago(command, "--root", tmp_path / "none"), "TARGET_UNKNOWN", 2)
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("command", ["activate", "commit", "rollback"])
def test_an_empty_store_has_nothing_to_change(root: Path, command: str) -> None:
    refused(galago(command, "--root", root), "NO_BUNDLE", 1)


@pytest.mark.parametrize("command", ["activate", "commit", "rollback", "gc", "scrub"])
def test_while_another_command_works_the_exit_code_says_busy(root: Path, command: str) -> None:
    put(root, 1)
    fd = StoreFs().lock(root / "lock")
    refused(galago(command, "--root", root), "LOCKED", 5)
    os.close(fd)


def test_scrub_and_gc_tell_what_they_found(root: Path) -> None:
    one = put(root, 1)
    put(root, 2)
    assert galago("scrub", "--root", root).output.splitlines() == [
        "tiny 2.0.0 (active): whole",
        "tiny 1.0.0 (previous): whole",
    ]
    model = root / "bundles" / one.id / "model.tflite"
    model.chmod(0o644)
    model.write_bytes(b"model ?")
    found = galago("scrub", "--root", root)
    assert found.exit_code == 1 and "tiny 1.0.0 (previous): DAMAGED" in found.output
    report = data("scrub", "--root", root, code=1)
    assert [bundle["fault"] and bundle["fault"]["reason"] for bundle in report["bundles"]] == [
        None,
        "FILE_HASH",
    ]
    assert data("gc", "--root", root) == {"removed": [], "size_bytes": 0}
    put(root, 3, commit=True)  # 1.0.0 is needed no more
    assert galago("gc", "--root", root).output.startswith("1 bundles removed")


def test_what_makes_nothing_active_cannot_be_committed(root: Path, tmp_path: Path) -> None:
    result = galago("install", tmp_path / "x", "--root", root, "--stage-only", "--commit")
    assert result.exit_code == 2 and "--stage-only" in result.stderr
