"""``galago record``: live sources are recorded without a service, with what a bundle decides on them."""

from __future__ import annotations

import json
import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from campaigns.service_rig import CUE_POLICY, levels_bundle, tones_bundle
from galago_edge.commands.cli import main
from galago_edge.contract.errors import LinkError, Reason
from galago_edge.contract.records import ScoresRecord, StateRecord
from galago_edge.recording import tap_opener
from real_parts import MjpegServer, SoundPipe, wait_for
from test_kit.taps import MemoryTaps

IMPORT = "galago recording import "


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> MemoryTaps:
    made = MemoryTaps()
    monkeypatch.setattr(tap_opener, "tap_opener", lambda: made)
    return made


def record(*arguments: str | Path, until: Callable[[], Any] | None = None) -> Result:
    """Run the command; it is told to end when that is true."""

    def end() -> None:
        assert until is not None
        wait_for(until, "it is recorded")
        os.kill(os.getpid(), signal.SIGTERM)

    if until is not None:
        threading.Thread(target=end, daemon=True).start()
    return CliRunner().invoke(main, ["record", *map(str, arguments)], catch_exceptions=False)


def count(disk: MemoryTaps, source: str, call: str) -> int:
    found = [one for one in disk.recordings if one.about["name"] == source]
    return len(found[0].all(call)) if found else 0


def test_two_sources_and_what_a_bundle_decides_on_one_are_recorded_until_the_end_is_asked_for(
    disk: MemoryTaps,
    mjpeg_camera: MjpegServer,
    tmp_path: Path,
    real_part: Callable[..., SoundPipe],
) -> None:
    sound = real_part(SoundPipe, tmp_path / "hall").start()
    done = record(
        f"yard=camera:{mjpeg_camera.url}",
        f"pipe:{sound.path}?rate=16000",
        "--out",
        tmp_path / "night",
        "--bundle",
        levels_bundle(tmp_path, CUE_POLICY),
        "--scores",
        "--json",
        until=lambda: count(disk, "yard", "picture") > 10 and count(disk, "pipe", "sound") > 10,
    )
    assert done.exit_code == 0, done.output
    rows = json.loads(done.stdout)
    assert [(row["source"], row["lost"]) for row in rows] == [("yard", {}), ("pipe", {})]
    assert all(Path(row["files"][0]).parent == tmp_path / "night" for row in rows)
    yard = next(one for one in disk.recordings if one.about["name"] == "yard")
    records = yard.all("record")
    assert isinstance(records[0], StateRecord) and records[0].state == "started"
    assert records[-1].state == "ended" and any(isinstance(one, ScoresRecord) for one in records)
    assert rows[0]["items"] == len(yard.all("picture")) and yard.closed


def test_it_ends_after_its_time(disk: MemoryTaps, mjpeg_camera: MjpegServer, tmp_path: Path) -> None:
    done = record(f"camera:{mjpeg_camera.url}", "--for", "20ms", "--out", tmp_path)
    assert done.exit_code == 2 and "no length of time" in done.stderr
    done = record(f"camera:{mjpeg_camera.url}", "--for", "0.01s", "--out", tmp_path)
    assert done.exit_code in (0, 3)  # whether a frame came in time is not said


def test_a_source_that_never_gave_anything_is_a_failure_and_leaves_no_recording(
    disk: MemoryTaps, tmp_path: Path
) -> None:
    done = record("camera:/dev/no-camera", "--for", "0.5s", "--out", tmp_path)
    assert done.exit_code == 3 and "source camera gave nothing" in done.stderr
    assert done.stdout == "camera: no recording (0 frames)\n"
    assert not disk.recordings or disk.recordings[0].closed
    assert not [path for path in tmp_path.iterdir() if ".mcap" in path.name]


def test_nothing_in_the_folder_is_deleted_and_a_full_disk_ends_it(
    disk: MemoryTaps, mjpeg_camera: MjpegServer, tmp_path: Path
) -> None:
    before = tmp_path / "20200101T000000000Z-yard.mcap"
    before.touch()
    disk.fault = LinkError(Reason.NO_SPACE, "the disk is full", hint="")
    done = record(f"camera:{mjpeg_camera.url}", "--out", tmp_path)
    assert done.exit_code == 3 and "the disk is full" in done.stderr and before.exists()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["a=camera:0", "a=camera:1"], ["two sources are called a"]),
        (["night.mp4"], ["night.mp4 is a file, expected a camera, a microphone or a pipe", IMPORT]),
        (["cam=imgs/"], ["imgs/ is a folder, expected a camera, a microphone or a pipe", IMPORT]),
        (["old.mcap"], ["old.mcap is a recording already, expected", "galago replay takes it"]),
        (
            ["pipe:-?rate=16000"],
            ["is standard input, expected a camera, a microphone or a pipe", "pipe:PATH"],
        ),
        (["camera:file:imgs/"], ["camera:file:imgs/ is a folder, expected a device or a file", IMPORT]),
        (["camera:imgs/"], ["camera:imgs/ is a folder, expected", IMPORT]),
        (["microphone:file:imgs"], ["microphone:file:imgs is a folder, expected", IMPORT]),
    ],
    ids=["names", "file", "folder", "recording", "standard input", "test file", "device", "sound"],
)
def test_what_cannot_be_recorded_is_said_in_one_line(
    arguments: list[str], told: list[str], disk: MemoryTaps, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "night.mp4").touch()
    (tmp_path / "old.mcap").touch()
    (tmp_path / "imgs").mkdir()
    done = record(*arguments, "--out", "out")
    assert done.exit_code == 2 and not disk.recordings
    assert all(one in done.stderr for one in told), done.stderr
    assert not (tmp_path / "out").exists()


def test_a_bundle_needs_a_source_of_its_kind(disk: MemoryTaps, tmp_path: Path) -> None:
    done = record("camera:0", "--bundle", tones_bundle(tmp_path, CUE_POLICY), "--out", tmp_path)
    assert done.exit_code == 2 and "bundle tones is for a microphone, and none is recorded" in done.stderr


def device(folder: Path, address: str, more: str = "") -> Path:
    """A device's galago.toml with a camera, a recording that is no live source, and streams on both."""
    (folder / "old.wav").write_bytes(b"")
    path = folder / "galago.toml"
    path.write_text(
        f'[source.yard]\naddress = "{address}"\ngap_ms = 700\n'
        f'[[stream]]\nname = "porch"\nsource = "yard"\n{more}'
        '[[stream]]\nname = "past"\nsource = "old.wav"\n'
    )
    return path


def test_sources_of_a_device_are_recorded_under_their_names_with_its_settings(
    disk: MemoryTaps, mjpeg_camera: MjpegServer, tmp_path: Path
) -> None:
    config = device(tmp_path, f"camera:{mjpeg_camera.url}")
    done = record(
        "--config", config, "--out", tmp_path / "night", until=lambda: count(disk, "yard", "picture") > 3
    )
    assert done.exit_code == 0, done.output
    assert "no live sources, left out:" in done.stderr and "old.wav" in done.stderr
    assert [one.about["name"] for one in disk.recordings] == ["yard"]


@pytest.mark.parametrize(
    ("arguments", "more", "said"),
    [
        (["yart"], "", "has no source yart; did you mean yard?"),
        ([], "mask = [[0.0, 0.0, 0.5, 0.5]]\n", "a recording of yard would keep what a mask hides"),
    ],
)
def test_what_a_device_does_not_have_or_hides_is_not_recorded(
    arguments: list[str], more: str, said: str, disk: MemoryTaps, tmp_path: Path
) -> None:
    config = device(tmp_path, "camera:/dev/video7", more)
    done = CliRunner().invoke(main, ["record", "--config", str(config), *arguments])
    assert done.exit_code == 2
    assert said in done.stderr
    assert not disk.recordings


def test_without_a_source_and_a_configuration_there_is_nothing_to_record() -> None:
    done = CliRunner().invoke(main, ["record"])
    assert done.exit_code == 2
    assert "no source is given, expected at least one, or --config FILE" in done.stderr
