"""``galago replay`` on real recordings with real, tiny models."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import signal
import subprocess
import sys
import termios
import wave
from array import array
from pathlib import Path

import cv2
import msgspec
import numpy as np
import numpy.typing as npt
import pytest
from click.testing import CliRunner, Result

from galago_edge.bundle import TrustedKeys, open_bundle
from galago_edge.bundle.keys import key_id, public_line
from galago_edge.commands.cli import main
from galago_edge.contract.manifest import Label, LabelPolicy
from galago_edge.contract.records import (
    EventRecord,
    GapRecord,
    Record,
    ScoresRecord,
    StateRecord,
    decode_record,
)
from galago_edge.store import Store, install_bundle
from real_parts import wait_for
from real_parts.processes import DEADLINE_S
from test_kit import OTHER_KEY, TEST_KEY, TINY_AUDIO, accepted_here, make_bundle, trust, wav_bytes

POLICY = LabelPolicy(on=0.6, off=0.4, smoothing_windows=2, min_count=2, refractory_ms=500)
RATE_HZ = 16_000
GALAGO = (sys.executable, "-m", "galago_edge")
OLD = '{"v":1,"kind":"gap"}\n'
"""Begins as a former output does: nothing else is written over."""


def galago(*args: str | Path) -> Result:
    return CliRunner().invoke(main, [str(arg) for arg in args])


def records(data: bytes | str) -> list[Record]:
    return [decode_record(line) for line in (data.encode() if isinstance(data, str) else data).splitlines()]


def labels(*names: str) -> list[Label]:
    return [Label(name=name, background=not index, policy=POLICY) for index, name in enumerate(names)]


def sound() -> npt.NDArray[np.int16]:
    """6 s with a low tone from 1 s to 2 s and another from 4 s to 5 s."""
    time_s = np.arange(6 * RATE_HZ) / RATE_HZ
    tone = 12_000 * np.sin(2 * np.pi * 300 * time_s)
    return np.rint(tone * ((time_s >= 1) & (time_s < 2) | (time_s >= 4) & (time_s < 5))).astype(np.int16)


@pytest.fixture(scope="module")
def microphone(tmp_path_factory: pytest.TempPathFactory, tiny_audio_model: bytes) -> Path:
    path = tmp_path_factory.mktemp("mic") / "mic.galago"
    return make_bundle(path, tiny_audio_model, labels("quiet", "low", "high"), modality="microphone")


@pytest.fixture(scope="module")
def camera(tmp_path_factory: pytest.TempPathFactory, tiny_image_model: bytes) -> Path:
    path = tmp_path_factory.mktemp("cam") / "cam.galago"
    return make_bundle(path, tiny_image_model, labels("dark", "mid", "bright"))


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    path = tmp_path / "night.wav"
    path.write_bytes(wav_bytes(sound(), RATE_HZ))
    return path


@pytest.fixture
def video(tmp_path: Path) -> Path:
    """40 frames at 10 a second: dark, bright from frame 10 to 19, dark."""
    path = tmp_path / "door.avi"
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*"MJPG"), 10, (64, 48))
    for number in range(40):
        writer.write(np.full((48, 64, 3), 225 if 10 <= number < 20 else 30, np.uint8))
    writer.release()
    return path


def test_a_recorded_sound_becomes_events(recording: Path, microphone: Path) -> None:
    result = galago("replay", recording, "--bundle", microphone)
    assert result.exit_code == 0, result.output
    found = records(result.stdout)
    events = [record for record in found if isinstance(record, EventRecord)]
    assert [event.label for event in events] == ["low", "low"]
    assert [round(event.end_ns / 1e9, 1) for event in events] == [1.2, 4.2]
    assert isinstance(found[0], StateRecord) and found[0].state == "started"
    assert isinstance(found[-1], StateRecord) and found[-1].state == "ended"
    assert not [record for record in found if isinstance(record, ScoresRecord)]


def test_a_recorded_video_becomes_events(video: Path, camera: Path) -> None:
    result = galago("replay", video, "--bundle", camera, "--stream", "door")
    assert result.exit_code == 0, result.output
    (event,) = [record for record in records(result.stdout) if isinstance(record, EventRecord)]
    assert (event.stream, event.label, event.start_index, event.end_index) == ("door", "bright", 11, 13)


def test_a_folder_of_images_becomes_events(tmp_path: Path, camera: Path) -> None:
    folder = tmp_path / "frames"
    folder.mkdir()
    for number in range(8):
        cv2.imwrite(str(folder / f"{number}.png"), np.full((48, 64, 3), 128, np.uint8))
    result = galago("replay", f"{folder}?fps=2", "--bundle", camera)
    (event,) = [record for record in records(result.stdout) if isinstance(record, EventRecord)]
    assert (event.label, event.start_ns, event.end_ns) == ("mid", 500_000_000, 1_000_000_000)


@pytest.mark.parametrize("scores", [[], ["--scores"]])
def test_two_replays_give_the_same_bytes_however_sound_is_cut(
    scores: list[str], recording: Path, microphone: Path, tmp_path: Path
) -> None:
    moved = tmp_path / "elsewhere" / "night.wav"  # where a recording lies must not be in its records
    moved.parent.mkdir()
    shutil.copy(recording, moved)
    outputs = {galago("replay", recording, "--bundle", microphone, *scores).stdout_bytes}
    for block in (1, 7, 160, 4096):
        path = moved if block == 7 else recording
        result = galago("replay", path, "--bundle", microphone, "--block-samples", str(block), *scores)
        outputs.add(result.stdout_bytes)
    assert len(outputs) == 1
    assert len(outputs.pop()) > 1_000


def test_a_recording_at_another_rate_is_converted_exactly_whatever_the_blocks(
    tmp_path: Path, microphone: Path
) -> None:
    """8-bit stereo at 48 kHz."""
    mono = np.repeat(sound(), 3)
    raw = (np.stack([mono, mono], axis=1) // 256 + 128).astype(np.uint8)
    path = tmp_path / "night.wav"
    with wave.open(str(path), "wb") as file:
        file.setnchannels(2)
        file.setsampwidth(1)
        file.setframerate(48_000)
        file.writeframes(raw.tobytes())
    outputs = {
        galago("replay", path, "--bundle", microphone, "--scores", "--block-samples", str(block)).stdout_bytes
        for block in (1, 160, 50_000)
    }
    (output,) = outputs
    converted = records(output)[1]
    assert isinstance(converted, StateRecord)
    assert (converted.subject, converted.state) == ("source", "converted")
    assert converted.detail["from"] == {"encoding": "u8", "channels": 2, "rate_hz": 48_000}
    assert [record.label for record in records(output) if isinstance(record, EventRecord)] == ["low", "low"]


def test_no_record_of_a_replay_holds_wall_time(recording: Path, microphone: Path) -> None:
    output = galago("replay", recording, "--bundle", microphone, "--scores").stdout
    assert "wall_ns" not in output and "clock_synced" not in output


def test_scores_add_a_record_for_every_window(video: Path, camera: Path) -> None:
    found = records(galago("replay", video, "--bundle", camera, "--scores").stdout)
    windows = [record for record in found if isinstance(record, ScoresRecord)]
    assert [record.window for record in windows] == list(range(40))
    assert [record.warm_up for record in windows[:3]] == [True, False, False]


def test_out_takes_the_records_and_a_line_says_what_it_came_to(
    recording: Path, microphone: Path, tmp_path: Path
) -> None:
    out = tmp_path / "events.jsonl"
    result = galago("replay", recording, "--bundle", microphone, "--out", out)
    assert out.read_bytes() == galago("replay", recording, "--bundle", microphone).stdout_bytes
    assert result.stdout == f"tiny 1.0.0: 116 windows, 2 events, 0 gaps -> {out}\n"


def test_a_truncated_recording_is_replayed_as_far_as_it_goes(recording: Path, microphone: Path) -> None:
    recording.write_bytes(recording.read_bytes()[: 44 + 2 * 3 * RATE_HZ])
    out = recording.with_name("events.jsonl")
    result = galago("replay", recording, "--bundle", microphone, "--out", out)
    assert result.exit_code == 1
    assert result.stderr.splitlines()[0] == (
        f"read in part, the rest is a gap: {recording} is cut off: "
        "it holds 48000 of the 96000 samples its header promises [AUDIO_TRUNCATED]"
    )
    assert len(result.stderr.splitlines()) == 2  # and the hint
    found = records(out.read_bytes())
    assert [record.end_ns // 10**8 for record in found if isinstance(record, EventRecord)] == [12]
    notice, gap, last = found[-3:]
    assert isinstance(notice, StateRecord) and notice.state == "truncated"
    assert gap == GapRecord(stream="replay", from_ns=3 * 10**9, to_ns=6 * 10**9, cause="truncated")
    assert isinstance(last, StateRecord) and last.state == "failed"


@pytest.mark.parametrize("samples", [0, 1, 3_000])
def test_a_recording_that_is_shorter_than_a_window_is_said_and_fails(
    samples: int, tmp_path: Path, microphone: Path
) -> None:
    command = [*GALAGO, "replay", "pipe:-", "--bundle", str(microphone)]
    piped = subprocess.run(command, input=bytes(2 * samples), capture_output=True)
    assert piped.returncode == 1
    needed = TINY_AUDIO.window_samples
    assert piped.stderr.decode().splitlines()[0] == (
        f"Error: standard input holds {samples} samples without a gap, expected at least {needed}, "
        "for one window [SOURCE_TOO_SHORT]"
    )
    *_, notice, last = records(piped.stdout)
    assert isinstance(notice, StateRecord) and isinstance(last, StateRecord)
    assert (notice.subject, notice.state, notice.index) == ("source", "too_short", samples)
    assert notice.detail == {"found": samples, "needed": needed, "unit": "samples"}
    assert (last.state, last.detail["reason"], last.detail["windows"]) == ("failed", "SOURCE_TOO_SHORT", 0)


def test_one_window_is_enough(tmp_path: Path, microphone: Path) -> None:
    path = tmp_path / "short.wav"
    path.write_bytes(wav_bytes(sound()[: TINY_AUDIO.window_samples], RATE_HZ))
    assert galago("replay", path, "--bundle", microphone).exit_code == 0
    path.write_bytes(wav_bytes(sound()[: TINY_AUDIO.window_samples - 1], RATE_HZ))
    result = galago("replay", path, "--bundle", microphone)
    assert result.exit_code == 1 and "short.wav holds" in result.stderr


def hear_ctrl_c() -> None:
    """Undo, in a child, what a shell's background job inherits: SIGINT ignored."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def test_ctrl_c_is_one_line_and_exit_130_and_every_record_is_whole(recording: Path, microphone: Path) -> None:
    command = [*GALAGO, "replay", str(recording), "--bundle", str(microphone), "--scores"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0, preexec_fn=hear_ctrl_c
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        fcntl.fcntl(process.stdout.fileno(), fcntl.F_SETPIPE_SZ, 4096)  # it fills up before the end
        written = array("i", [0])

        def full() -> bool:
            fcntl.ioctl(process.stdout, termios.FIONREAD, written)  # type: ignore[arg-type]
            return written[0] > 500  # the rest waits for room

        wait_for(full, "records that nobody reads")
        process.send_signal(signal.SIGINT)
        out = process.stdout.read()
        assert process.stderr.read() == b"Interrupted\n"
    assert process.returncode == 130
    assert records(out)  # each can be decoded
    assert out.endswith(b"\n")


def test_ctrl_c_leaves_the_old_output_whole(tmp_path: Path, microphone: Path) -> None:
    out = tmp_path / "events.jsonl"
    out.write_text(OLD)
    command = [*GALAGO, "replay", "pipe:-", "--bundle", str(microphone), "--out", str(out)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stderr=subprocess.PIPE, preexec_fn=hear_ctrl_c
    ) as process:
        assert process.stdin is not None and process.stderr is not None
        wait_for(lambda: [path for path in tmp_path.iterdir() if path != out], "the part")
        process.send_signal(signal.SIGINT)
        assert process.wait(DEADLINE_S) == 130
        assert process.stderr.read() == b"Interrupted\n"
    assert out.read_text() == OLD and list(tmp_path.iterdir()) == [out]


def test_closed_standard_output_is_one_line(recording: Path, microphone: Path) -> None:
    command = [*GALAGO, "replay", str(recording), "--bundle", str(microphone)]
    done = subprocess.run(["sh", "-c", '"$@" >&-', "sh", *command], capture_output=True, text=True)
    assert done.returncode == 3
    assert done.stderr.splitlines()[0] == (
        "Error: standard output is closed, so nobody would get the records [IO]"
    )


def test_closed_standard_output_ends_no_command_that_writes_elsewhere(
    recording: Path, microphone: Path, tmp_path: Path
) -> None:
    nights = tmp_path / "nights"
    nights.mkdir()
    shutil.copy(recording, nights)
    command = [*GALAGO, "replay", nights, "--bundle", microphone, "--out", tmp_path / "run", "--jobs", "1"]
    command += ["--results", tmp_path / "kept"]
    done = subprocess.run(["sh", "-c", '"$@" >&-', "sh", *command], capture_output=True, text=True)
    assert (done.returncode, "Traceback" in done.stderr) == (0, False)
    assert (tmp_path / "run" / "run.json").is_file()


def test_closed_standard_input_is_no_file_that_the_command_itself_opens(
    microphone: Path, tmp_path: Path
) -> None:
    root, out, source = trust(tmp_path / "root"), tmp_path / "x.jsonl", "pipe:-?rate=16000"
    trusted = TrustedKeys({key_id(TEST_KEY): "test"})
    install_bundle(Store(root), open_bundle(microphone), trusted, accepted_here)
    for call in (
        ("replay", source, "--bundle", microphone),
        ("run", "--root", root, "--stream", f"a={source}"),
    ):
        command = [*GALAGO, *call, "--out", out]
        done = subprocess.run(["sh", "-c", '"$@" <&-', "sh", *command], capture_output=True, text=True)
        assert done.returncode == 3, done.stderr
        assert "standard input is closed [SOURCE_MISSING]" in done.stderr
        assert "Traceback" not in done.stderr and not (out.exists() and b'"window"' in out.read_bytes())


@pytest.mark.parametrize(
    ("source", "reason", "code"),
    [
        ("none.wav", "SOURCE_MISSING", 3),
        ("camera:/dev/none", "CONFIG_BAD", 2),
        ("notes.txt", "CONFIG_BAD", 2),
        ("text.wav", "AUDIO_UNREADABLE", 1),
        ("pipe:-?rate=1", "CONFIG_BAD", 2),
    ],
)
def test_a_bad_source_is_one_line_and_leaves_the_old_output_whole(
    source: str, reason: str, code: int, microphone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("notes.txt").touch()
    Path("text.wav").write_text("I am no sound")
    out = Path("events.jsonl")
    out.write_text(OLD)
    result = galago("replay", source, "--bundle", microphone, "--out", out)
    assert result.exit_code == code
    error, *hint = result.stderr.splitlines()
    assert error.startswith("Error: ") and error.endswith(f"[{reason}]")
    assert len(hint) == 1 and hint[0].startswith("Hint: ")
    assert out.read_text() == OLD


def test_what_is_no_video_is_not_called_one(camera: Path, microphone: Path, tmp_path: Path) -> None:
    path = tmp_path / "empty.mp4"
    path.touch()
    result = galago("replay", path, "--bundle", camera)
    assert "empty.mp4 cannot be read as video: it is empty [VIDEO_UNREADABLE]" in result.stderr
    path.write_text("I am no video")
    result = galago("replay", path, "--bundle", microphone)
    assert "cannot be read as video: FFmpeg knows no such format [VIDEO_UNREADABLE]" in result.stderr


def test_a_camera_bundle_refuses_a_sound(recording: Path, camera: Path) -> None:
    result = galago("replay", recording, "--bundle", camera)
    assert result.exit_code == 1
    assert "the bundle is for a camera, but" in result.stderr and "[SOURCE_MISMATCH]" in result.stderr


@pytest.mark.parametrize("how", ["--out", "stdout"])
def test_a_full_disk_is_one_line(how: str, recording: Path, microphone: Path) -> None:
    command = [*GALAGO, "replay", str(recording), "--bundle", str(microphone)]
    if how == "--out":
        full_disk = recording.with_name("full")
        full_disk.symlink_to("/dev/full")  # the device itself must survive a bug
        done = subprocess.run([*command, "--out", str(full_disk)], capture_output=True, text=True)
    else:
        usual = {**os.environ, "PYTHONUNBUFFERED": ""}  # as Python runs outside of containers
        with Path("/dev/full").open("wb") as full:
            done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, env=usual)
    assert done.returncode == 3
    error, hint = done.stderr.splitlines()
    assert "No space left on device [NO_SPACE]" in error
    assert hint.startswith("Hint: free some space")


def test_a_reader_that_has_seen_enough_ends_the_command_quietly(recording: Path, microphone: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "galago_edge",
        "replay",
        str(recording),
        "--bundle",
        str(microphone),
        "--scores",
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""


def test_raw_samples_on_the_pipe_give_the_files_events(recording: Path, microphone: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "galago_edge",
        "replay",
        "pipe:-?rate=16000",
        "--bundle",
        str(microphone),
    ]
    piped = subprocess.run(command, input=sound().tobytes(), capture_output=True)
    assert piped.returncode == 0, piped.stderr
    direct = galago("replay", recording, "--bundle", microphone).stdout_bytes
    assert [r for r in records(piped.stdout) if isinstance(r, EventRecord)] == [
        r for r in records(direct) if isinstance(r, EventRecord)
    ]


def test_trust_takes_only_a_bundle_that_this_key_signed(
    recording: Path, microphone: Path, tmp_path: Path
) -> None:
    keyid = key_id(OTHER_KEY)
    (tmp_path / "other.pub").write_text(public_line(keyid, "other"))
    result = galago("replay", recording, "--bundle", microphone, "--trust", tmp_path / "other.pub")
    assert result.exit_code == 1
    assert "[KEY_UNKNOWN]" in result.stderr


# a part of a recording, and what a device changes


def spans(data: bytes) -> list[tuple[int, int, tuple[float, ...]]]:
    found = [record for record in records(data) if isinstance(record, ScoresRecord)]
    return [(record.start_index, record.end_index, tuple(record.scores)) for record in found]


def test_a_part_of_a_sound_has_the_indexes_and_times_of_the_whole(recording: Path, microphone: Path) -> None:
    hop = TINY_AUDIO.hop_frames * TINY_AUDIO.frame_hop_samples
    whole = galago("replay", recording, "--bundle", microphone, "--scores").stdout_bytes
    begin_s = 20 * hop / RATE_HZ  # where a window begins
    result = galago(
        *("replay", recording, "--bundle", microphone, "--scores", "--from", f"{begin_s:.9f}", "--to", "0:03")
    )
    assert result.exit_code == 0, result.output
    inside = [span for span in spans(whole) if span[0] >= 20 * hop and span[1] <= 3 * RATE_HZ]
    assert spans(result.stdout_bytes) == inside and len(inside) > 10
    first = records(result.stdout_bytes)[0]
    assert isinstance(first, StateRecord)
    assert first.detail["source"]["sha256"] == hashlib.sha256(recording.read_bytes()).hexdigest()
    assert (first.detail["source"]["from_ns"], first.detail["source"]["to_ns"]) == (
        round(begin_s * 10**9),
        3 * 10**9,
    )


def test_a_part_of_a_video_has_the_indexes_and_times_of_the_whole(video: Path, camera: Path) -> None:
    whole = galago("replay", video, "--bundle", camera, "--scores").stdout_bytes
    result = galago("replay", video, "--bundle", camera, "--scores", "--from", "1", "--to", "00:00:02.5")
    assert spans(result.stdout_bytes) == spans(whole)[10:25]


def test_a_part_without_a_window_is_too_short(recording: Path, microphone: Path) -> None:
    length = len(sound())
    for part, said, hint, place in (
        (
            ("--from", "7"),
            "from 7 s to its end holds 0 samples",
            "it may begin behind the end",
            (length, 7 * 10**9),
        ),
        (
            ("--from", "1", "--to", "1.01"),
            "from 1 s to 1.01 s holds 160 samples",
            "choose a longer part",
            (RATE_HZ + 160, 1_010_000_000),
        ),
        (("--to", "0.01"), "from 0 s to 0.01 s holds 160 samples", "choose a longer part", (160, 10**7)),
    ):
        result = galago("replay", recording, "--bundle", microphone, *part)
        error, advice = result.stderr.splitlines()
        assert result.exit_code == 1 and error.endswith("[SOURCE_TOO_SHORT]")
        assert error.startswith(f"Error: the part of {recording} {said}")
        for record in records(result.stdout_bytes)[-2:]:
            assert isinstance(record, StateRecord) and record.state in ("too_short", "failed")
            assert (record.index, record.ns) == place
        assert advice.startswith(f"Hint: {hint}")


def test_the_time_of_the_first_sample_gives_every_record_its_wall_time(
    recording: Path, microphone: Path
) -> None:
    plain = records(galago("replay", recording, "--bundle", microphone).stdout_bytes)
    moment = "2026-05-01T22:00:00.5+02:00"
    result = galago("replay", recording, "--bundle", microphone, "--start-time", moment)
    dated = records(result.stdout_bytes)
    started_ns = 1_777_665_600_500_000_000
    assert [msgspec.structs.replace(record, wall_ns=msgspec.UNSET) for record in dated] == plain
    for record in dated:
        at_ns = record.ns if isinstance(record, StateRecord) else record.end_ns  # type: ignore[union-attr]
        assert record.wall_ns == started_ns + at_ns and record.clock_synced is msgspec.UNSET


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (("--from", "soon"), 2, "no time in a recording"),
        (("--from", "2", "--to", "0:02"), 2, "--to, 2 s, is not later than --from, 2 s"),
        (("--start-time", "2026-05-01T22:00:00"), 2, "no ISO 8601 time with a zone"),
        (("--start-time", "yesterday"), 2, "no ISO 8601 time with a zone"),
        (("--start-time", "9999-12-31T23:59:59-23:59"), 2, "expected a time from 1970 to 2199"),
        (("--start-time", "0001-01-01T00:00:00+23:59"), 2, "expected a time from 1970 to 2199"),
        (("--from", "999999999999"), 2, "later than any recording lasts"),
        (("--config", "none.toml"), 2, "none.toml"),
    ],
)
def test_a_wrong_option_is_said(
    options: tuple[str, ...], code: int, said: str, recording: Path, microphone: Path
) -> None:
    result = galago("replay", recording, "--bundle", microphone, *options)
    assert result.exit_code == code and said in result.stderr and result.stdout == ""


CONFIG = """
[mqtt]
host = "broker"
password = "${A_SECRET_OF_THE_DEVICE}"
[source.yard]
address = "camera:rtsp://${CAMERA_USER}:${CAMERA_PASSWORD}@10.0.0.7/live"
fps = 5
rotate = 180
mask = [[0.0, 0.0, 1.0, 0.5]]
[source.gate]
address = "camera:rtsp://10.0.0.8/live"
user = "anna"
password_env = "A_VARIABLE_OF_THE_DEVICE"
[source.back]
address = "camera:rtsp://10.0.0.9/live"
user = "anna"
password_file = "not_here.txt"
[source.side]
address = "camera:${CAMERA_URL}"
user = "anna"
password = "${A_SECRET_OF_THE_DEVICE}"
[source.front]
address = "${FRONT_ADDRESS}"
[[stream]]
name = "door"
source = "yard"
region = [0.5, 0.0, 1.0, 1.0]
[stream.thresholds.bright]
on = 0.9
[[stream]]
name = "hall"
source = "microphone:default"
"""


def test_a_devices_configuration_is_applied_without_its_store_or_secrets(
    video: Path, camera: Path, tmp_path: Path
) -> None:
    (tmp_path / "galago.toml").write_text(CONFIG)
    command = ("replay", video, "--bundle", camera, "--config", tmp_path / "galago.toml", "--scores")
    result = galago(*command, "--stream", "door")
    assert result.exit_code == 0, result.output
    started, *rest = records(result.stdout_bytes)
    assert isinstance(started, StateRecord) and started.stream == "door"
    assert started.detail["overrides"] == {"bright": {"on": {"manifest": 0.6, "device": 0.9}}}
    source = started.detail["source"]
    assert source["view"] == {"rotate": 180, "region": [0.5, 0, 1, 1], "mask": [[0, 0, 1, 0.5]]}
    assert source["fps_limit"] == 5
    windows = [record for record in rest if isinstance(record, ScoresRecord)]
    assert [record.start_index for record in windows] == list(range(0, 40, 2))
    labels_on = [record.label for record in rest if isinstance(record, EventRecord)]
    assert labels_on == ["mid"]  # half of what is bright is black
    for options in ((), ("--stream", "attic")):
        result = galago(*command, *options)
        assert result.exit_code == 2 and "[TARGET_UNKNOWN]" in result.stderr
        assert result.stderr.splitlines()[1] == "Hint: --stream: one of door, hall"


def test_the_view_of_an_address_is_recorded_and_applied(video: Path, camera: Path) -> None:
    result = galago("replay", f"{video}?mask=0,0,1,1", "--bundle", camera)
    assert result.exit_code == 0, result.output
    started, *rest = records(result.stdout_bytes)
    assert isinstance(started, StateRecord)
    assert started.detail["source"]["view"] == {"mask": [[0, 0, 1, 1]]}
    assert not [record for record in rest if isinstance(record, EventRecord)]
    result = galago("replay", f"{video}?region=0,0,1", "--bundle", camera)
    assert result.exit_code == 2 and "[CONFIG_BAD]" in result.stderr
