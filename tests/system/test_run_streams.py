"""``galago run`` on an installed store: several streams, signals, what fails alone."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from click.testing import CliRunner, Result

from galago_edge.bundle import TrustedKeys, open_bundle
from galago_edge.bundle.keys import key_id
from galago_edge.commands.cli import main
from galago_edge.contract.manifest import Label, LabelPolicy
from galago_edge.contract.records import EventRecord, Record, StateRecord, decode_record
from galago_edge.store import Store, install_bundle
from real_parts import WebhookServer
from test_kit import TEST_KEY, accepted_here, make_bundle, trust, wav_bytes

POLICY = LabelPolicy(on=0.6, off=0.4, smoothing_windows=2, min_count=2, refractory_ms=500)
RATE_HZ = 16_000
GALAGO = (sys.executable, "-m", "galago_edge")


AS_IT_IS = "[limits]\nmemory_mb = 0\n"
"""It runs in this process, which may hold anything that other tests have loaded."""


def galago(*args: str | Path) -> Result:
    return CliRunner().invoke(main, [str(arg) for arg in args])


def records(data: bytes) -> list[Record]:
    return [decode_record(line) for line in data.splitlines()]


def events(found: list[Record], stream: str) -> list[EventRecord]:
    return [record for record in found if isinstance(record, EventRecord) and record.stream == stream]


def last_state(found: list[Record], stream: str) -> StateRecord:
    last = [record for record in found if record.stream == stream][-1]
    assert isinstance(last, StateRecord)
    return last


def labels(*names: str) -> list[Label]:
    return [Label(name=name, background=not index, policy=POLICY) for index, name in enumerate(names)]


def sound(seconds: int = 3) -> npt.NDArray[np.int16]:
    """A low tone from 1 s to 2 s."""
    time_s = np.arange(seconds * RATE_HZ) / RATE_HZ
    tone = 12_000 * np.sin(2 * np.pi * 300 * time_s) * ((time_s >= 1) & (time_s < 2))
    return np.rint(tone).astype(np.int16)


def install(root: Path, path: Path) -> None:
    trusted = TrustedKeys({key_id(TEST_KEY): "test"})
    install_bundle(Store(trust(root)), open_bundle(path), trusted, accepted_here)


@pytest.fixture
def root(tmp_path: Path, tiny_image_model: bytes, tiny_audio_model: bytes) -> Path:
    """A device with one camera and one microphone bundle."""
    root = tmp_path / "root"
    camera = make_bundle(
        tmp_path / "cam.galago", tiny_image_model, labels("dark", "mid", "bright"), name="levels"
    )
    microphone = make_bundle(
        tmp_path / "mic.galago",
        tiny_audio_model,
        labels("quiet", "low", "high"),
        modality="microphone",
        name="tones",
    )
    install(root, camera)
    install(root, microphone)
    return root


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    path = tmp_path / "night.wav"
    path.write_bytes(wav_bytes(sound(), RATE_HZ))
    return path


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number in range(10):
        cv2.imwrite(str(folder / f"{number}.png"), np.full((48, 64, 3), 225, np.uint8))
    return folder


def test_a_camera_and_a_microphone_run_side_by_side_each_on_the_bundle_that_fits(
    root: Path, recording: Path, pictures: Path
) -> None:
    result = galago("run", "--root", root, "--stream", f"hall={recording}", "--stream", f"door={pictures}")
    assert result.exit_code == 0, result.output
    found = records(result.stdout_bytes)
    assert [event.label for event in events(found, "hall")] == ["low"]
    assert [event.label for event in events(found, "door")] == ["bright"]
    assert last_state(found, "hall").state == last_state(found, "door").state == "ended"


def test_a_recording_that_is_shorter_than_a_window_fails_its_stream_alone(
    root: Path, pictures: Path, tmp_path: Path
) -> None:
    (tmp_path / "blip.wav").write_bytes(wav_bytes(sound()[:100], RATE_HZ))
    streams = ("--stream", f"hall={tmp_path / 'blip.wav'}", "--stream", f"door={pictures}")
    result = galago("run", "--root", root, *streams)
    assert result.exit_code == 1
    assert "stream hall: blip.wav holds 100 samples" in result.stderr
    assert "[SOURCE_TOO_SHORT]" in result.stderr
    found = records(result.stdout_bytes)
    states = [record.state for record in found if isinstance(record, StateRecord) and record.stream == "hall"]
    assert states == ["started", "too_short", "failed"]
    assert last_state(found, "door").state == "ended"


def test_run_and_replay_decide_alike_and_only_run_adds_wall_time(
    root: Path, recording: Path, tmp_path: Path
) -> None:
    result = galago("run", "--root", root, "--stream", f"hall={recording}", "--scores")
    live = [line.partition(',"wall_ns"')[0] for line in result.stdout.splitlines()]
    assert all(',"wall_ns":' in line and ',"clock_synced":' in line for line in result.stdout.splitlines())
    installed = root / "bundles" / open_bundle(tmp_path / "mic.galago").id
    for bundle in (tmp_path / "mic.galago", installed):
        replayed = galago("replay", recording, "--bundle", bundle, "--stream", "hall", "--scores").stdout
        replayed = re.sub(',"sha256":"[0-9a-f]{64}"', "", replayed, count=1)  # a replay names its recording
        assert [line + "}" for line in live] == replayed.splitlines()


def test_a_config_file_runs_streams_with_this_devices_thresholds(
    root: Path, recording: Path, pictures: Path, tmp_path: Path
) -> None:
    config = tmp_path / "galago.toml"
    config.write_text(
        f"""
        [limits]
        memory_mb = 0  # it runs in this process, which may hold anything that other tests have loaded

        [[stream]]
        name = "hall"
        source = "{recording.name}"
        bundle = "tones"
        [stream.thresholds.low]
        on = 0.75

        [[stream]]
        name = "door"
        source = "{pictures.name}?fps=20"
        [stream.thresholds.bright]
        on = 1.0
        """
    )
    out = tmp_path / "log.jsonl"
    result = galago("run", "--root", root, "--config", config, "--out", out)
    assert result.exit_code == 0, result.output
    found = records(out.read_bytes())
    (event,) = events(found, "hall")
    assert event.overrides == {"on": {"manifest": 0.6, "device": 0.75}}
    assert events(found, "door") == []
    (started,) = [
        r for r in found if isinstance(r, StateRecord) and r.stream == "door" and r.state == "started"
    ]
    assert started.detail["overrides"] == {"bright": {"on": {"manifest": 0.6, "device": 1.0}}}


def test_thresholds_of_no_label_name_the_file_and_the_stream(
    root: Path, recording: Path, tmp_path: Path
) -> None:
    config = tmp_path / "galago.toml"
    config.write_text(
        f'[[stream]]\nname = "hall"\nsource = "{recording.name}"\nbundle = "tones"\n'
        "[stream.thresholds.zz]\non = 0.75\n"
    )
    said = f"{config}: stream hall: thresholds are given for 'zz', which is no label of the bundle"
    for command in (
        ("run", "--root", root, "--config", config),
        ("replay", recording, "--bundle", tmp_path / "mic.galago", "--config", config),
    ):
        result = galago(*command)
        assert result.exit_code == 2 and f"Error: {said} [CONFIG_BAD]" in result.stderr


def test_out_is_a_log_that_is_continued(root: Path, recording: Path, tmp_path: Path) -> None:
    out = tmp_path / "log.jsonl"
    for _ in range(2):
        assert galago("run", "--root", root, "--stream", f"a={recording}", "--out", out).exit_code == 0
    assert len(events(records(out.read_bytes()), "a")) == 2


def test_a_stream_that_fails_does_not_stop_the_others_and_the_exit_code_tells(
    root: Path, recording: Path, tmp_path: Path
) -> None:
    bad = tmp_path / "bad.wav"
    bad.write_text("no sound")
    result = galago(
        *("run", "--root", root),
        *("--stream", f"good={recording}"),
        *("--stream", f"bad={bad}"),
        *("--stream", f"absent:tones={tmp_path / 'none.wav'}"),
    )
    assert result.exit_code in (1, 3)
    found = records(result.stdout_bytes)
    assert len(events(found, "good")) == 1
    assert last_state(found, "good").state == "ended"
    assert last_state(found, "bad").detail["reason"] == "AUDIO_UNREADABLE"
    assert last_state(found, "absent").detail["reason"] == "SOURCE_MISSING"
    lines = [line for line in result.stderr.splitlines() if line.startswith("Error: stream ")]
    assert sorted(line.split()[2] for line in lines) == ["absent:", "bad:"]


@pytest.mark.parametrize(
    ("options", "reason", "code"),
    [
        ([], "CONFIG_BAD", 2),
        (["--stream", "a=x.wav", "--config", "galago.toml"], "CONFIG_BAD", 2),
        (["--config", "none.toml"], "CONFIG_BAD", 2),
        (["--stream", "a:none=pipe:-"], "NO_BUNDLE", 1),
        (["--stream", "a:levels=pipe:-"], "SOURCE_MISMATCH", 1),
        (["--stream", "a=nothing.here"], "CONFIG_BAD", 2),  # two bundles, and nothing says which kind it is
        (["--stream", "a=pipe:-", "--stream", "b=pipe:-"], "CONFIG_BAD", 2),
        (["--stream", "a=pipe:-?speed=1"], "CONFIG_BAD", 2),
    ],
)
def test_what_cannot_run_is_refused_before_anything_starts(
    options: list[str], reason: str, code: int, root: Path
) -> None:
    result = galago("run", "--root", root, *options)
    assert result.exit_code == code
    assert result.stdout == ""
    error, *hint = result.stderr.splitlines()
    assert error.startswith("Error: ") and error.endswith(f"[{reason}]")
    assert len(hint) == 1


def test_a_program_beside_the_configuration_is_found_from_its_own_folder(
    root: Path, recording: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Named without a folder, the configuration's folder is the one that we are in."""
    program = tmp_path / "store.sh"
    program.write_text(f"#!/bin/sh\ncat >> {tmp_path}/told\n")
    program.chmod(0o755)
    (tmp_path / "galago.toml").write_text(
        f'''{AS_IT_IS}[program]
command = ["./store.sh"]
[[stream]]
name = "hall"
source = "{recording.name}"
'''
    )
    monkeypatch.chdir(tmp_path)
    result = galago("run", "--root", root, "--config", "galago.toml")
    assert (result.exit_code, result.stderr) == (0, "")
    assert [event.label for event in events(records((tmp_path / "told").read_bytes()), "hall")] == ["low"]


def test_what_is_configured_and_can_never_happen_is_said_at_the_start(
    root: Path, recording: Path, tmp_path: Path
) -> None:
    config = tmp_path / "galago.toml"
    config.write_text(
        f'''{AS_IT_IS}[source.yard]
address = "camera:0"
[attachments]
[[program]]
name = "siren"
command = ["true"]
labels = ["loww"]
[[stream]]
name = "hall"
source = "{recording.name}"
'''
    )
    result = galago("run", "--root", root, "--config", config)
    assert result.exit_code == 0, result.output
    assert result.stderr.splitlines() == [
        "Warning: [program.siren] labels names loww, which no bundle of its streams decides on; "
        "there are high, low; did you mean low?",
        "Warning: [attachments] makes none: its streams are recordings, or it asks for neither their "
        "pictures nor their sounds",
        "Warning: [source.yard] is used by no stream",
    ]


def test_a_device_without_a_bundle_says_how_to_get_one(tmp_path: Path) -> None:
    result = galago("run", "--root", tmp_path / "empty", "--stream", "a=pipe:-")
    assert result.exit_code == 1
    assert "[NO_BUNDLE]" in result.stderr and "galago install" in result.stderr


def test_a_full_disk_stops_the_service_with_one_line(root: Path, recording: Path) -> None:
    full = recording.with_name("full")
    full.symlink_to("/dev/full")  # the device itself must survive a bug
    result = galago("run", "--root", root, "--stream", f"a={recording}", "--out", full)
    assert result.exit_code == 3
    error, _ = result.stderr.splitlines()  # and the hint
    assert error.endswith("No space left on device [NO_SPACE]")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_lets_the_stream_finish_what_it_has(number: signal.Signals, root: Path) -> None:
    """A recorder on a pipe that never closes: only the signal can end it."""
    command = [
        sys.executable,
        "-m",
        "galago_edge",
        "run",
        "--root",
        str(root),
        "--stream",
        "hall=pipe:-?rate=16000",
    ]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdin is not None and process.stdout is not None and process.stderr is not None
        process.stdin.write(sound().tobytes())
        process.stdin.flush()
        lines = [process.stdout.readline() for _ in range(2)]  # started, and the event
        process.send_signal(number)
        rest = process.stdout.read()
        errors = process.stderr.read()
    assert process.returncode == 0, errors
    assert errors == b""
    found = records(b"".join(lines) + rest)
    assert len(events(found, "hall")) == 1
    assert last_state(found, "hall").state == "ended"


def test_a_pipe_that_ends_is_a_stream_that_ends(root: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "galago_edge",
        "run",
        "--root",
        str(root),
        "--stream",
        "hall=pipe:-?rate=16000",
    ]
    done = subprocess.run(command, input=sound().tobytes() + b"\0", capture_output=True)
    assert done.returncode == 0, done.stderr
    found = records(done.stdout)
    assert len(events(found, "hall")) == 1
    assert [r.state for r in found if isinstance(r, StateRecord)][-2:] == ["odd_byte", "ended"]
    assert last_state(found, "hall").detail["source"] == {"samples": 3 * RATE_HZ, "dropped_samples": 0}


def test_each_webhook_and_each_program_gets_what_it_asks_for(
    root: Path, recording: Path, pictures: Path, webhook: WebhookServer, tmp_path: Path
) -> None:
    script = tmp_path / "note.sh"
    script.write_text('#!/bin/sh\necho "$GALAGO_STREAM $GALAGO_LABEL" >> "$1"\n', encoding="utf-8")
    script.chmod(0o755)
    config = tmp_path / "galago.toml"
    config.write_text(
        f"""
        [[stream]]
        name = "hall"
        source = "{recording.name}"
        [[stream]]
        name = "door"
        source = "{pictures.name}"
        [[webhook]]
        url = "{webhook.url}/all"
        [[webhook]]
        name = "chat"
        url = "{webhook.url}/chat"
        format = "slack"
        streams = ["hall"]
        [[webhook]]
        name = "own"
        url = "{webhook.url}/own"
        labels = ["bright"]
        body = '{{"what": "{{label}}"}}'
        [[webhook]]
        name = "away"
        url = "http://127.0.0.1:1/"
        labels = ["bright"]
        [[program]]
        name = "note"
        command = ["./note.sh", "{tmp_path}/noted"]
        """,
        encoding="utf-8",
    )
    done = subprocess.run(
        [*GALAGO, "run", "--root", root, "--config", config], capture_output=True, text=True, check=True
    )
    waits = [line for line in done.stderr.splitlines() if "waits in the spool" in line]
    assert len(waits) == 1 and waits[0].startswith(
        "sink webhook.away: 1 record waits in the spool: 127.0.0.1:"
    )
    got = {path: [one.json() for one in webhook.accepted() if one.path == path] for path in (
        "/events/all", "/events/chat", "/events/own"
    )}  # fmt: skip
    assert {record["label"] for record in got["/events/all"]} == {"low", "bright"}
    assert [": low on hall, score " in message["text"] for message in got["/events/chat"]] == [True]
    assert got["/events/own"] == [{"what": "bright"}]
    noted = (tmp_path / "noted").read_text(encoding="utf-8").splitlines()
    assert sorted(noted) == ["door bright", "hall low"]


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ('[webhook]\nurl = "http:///events"\n', "[webhook] url has no host"),
        ('[[webhook]]\nname = "a"\nurl = "http://h:99999/"\n', "[webhook.a] url cannot be taken apart"),
        ('[webhook]\nurl = "http://h/"\nbody = "{lable}"\n', "[webhook] body names {lable}"),
        ('[program]\ncommand = "aplay x"\n', "expected a list, got a text"),
    ],
)
def test_a_sink_that_can_never_deliver_is_one_line_at_the_start(
    table: str, said: str, root: Path, recording: Path, tmp_path: Path
) -> None:
    config = tmp_path / "galago.toml"
    config.write_text(f'{table}[[stream]]\nname = "hall"\nsource = "{recording.name}"\n', encoding="utf-8")
    result = galago("run", "--root", root, "--config", config)
    assert (result.exit_code, result.stdout) == (2, "")
    error, _ = result.stderr.splitlines()
    assert error.startswith("Error: ") and said in error and error.endswith("[CONFIG_BAD]")


@pytest.mark.parametrize("place", ["a folder", "below a file"])
def test_a_log_that_cannot_be_written_is_told_when_that_begins_and_with_the_loss_at_the_end(
    place: str, root: Path, recording: Path, tmp_path: Path
) -> None:
    (tmp_path / "logs").mkdir()
    (tmp_path / "file").touch()
    log = tmp_path / ("logs" if place == "a folder" else "file/log.jsonl")
    config = tmp_path / "galago.toml"
    config.write_text(
        f"""
        [[stream]]
        name = "hall"
        source = "{recording.name}"
        [log]
        path = "{log}"
        """,
        encoding="utf-8",
    )
    done = subprocess.run(
        [*GALAGO, "run", "--root", root, "--config", config], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    begin, end = done.stderr.splitlines()
    assert begin.startswith(f"sink log: records are lost from now on: could not write {log}: ")
    assert re.fullmatch(rf"sink log: [1-9]\d* records are lost: could not write {log}: .*", end)


@pytest.mark.parametrize(
    ("table", "told"),
    [
        ('[webhook]\nurl = "http://"', "[webhook] url has no host"),
        (
            '[webhook]\nurl = "http://h/"\nbody = "{lable}"',
            "[webhook] body names {lable}; did you mean label?",
        ),
        ('[webhook]\nurl = "http://h/"\nformat = "ntfy"', "[webhook] format ntfy needs to"),
        ('[page]\nhost = "0.0.0.0"\nport = 0', "[page] host = '0.0.0.0'"),
        ('[page]\nhost = "no host"\nport = 0', "[page] host = 'no host'"),
    ],
)
def test_whatever_is_wrong_in_a_file_of_settings_is_told_with_the_file(
    table: str, told: str, root: Path, recording: Path, tmp_path: Path
) -> None:
    config = tmp_path / "galago.toml"
    config.write_text(f'[[stream]]\nname = "hall"\nsource = "{recording.name}"\n{table}\n', encoding="utf-8")
    done = subprocess.run(
        [*GALAGO, "run", "--root", root, "--config", config], capture_output=True, text=True
    )
    assert done.returncode == 2
    assert done.stderr.startswith(f"Error: {config}: {told}")
    assert done.stderr.count(str(config)) == 1 and "[CONFIG_BAD]" in done.stderr
