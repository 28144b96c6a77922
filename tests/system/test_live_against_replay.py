"""What a device decides live, and what a replay of a recording made beside it decides, are the same events.

The recordings are made by ffmpeg with ``-c copy``: they hold the cameras' own bytes.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from click.testing import CliRunner

from galago_edge.bundle import TrustedKeys, open_bundle
from galago_edge.bundle.keys import key_id
from galago_edge.commands.cli import main
from galago_edge.contract.manifest import ImagePreprocess, Label, LabelPolicy
from galago_edge.contract.records import EventRecord, Record, ScoresRecord, decode_record
from galago_edge.store import Store, install_bundle
from real_parts import MjpegServer, RtspServer, SoundServer, silence, tone, wait_for
from real_parts.processes import Child, tool
from test_kit import TEST_KEY, accepted_here, make_bundle, trust

POLICY = LabelPolicy(on=0.6, off=0.4, smoothing_windows=2, min_count=2, refractory_ms=100)
NS = 1_000_000_000
JITTER_NS = NS // 2
"""A busy machine hands a picture over late; a recorder stamps it when it arrives."""
COPIED = ("-c", "copy", "-flush_packets", "1")
SHOWN = ((128, silence), (225, tone(1_000)), (30, silence), (225, tone(3_100)), (30, silence))
CONFIG = """
[source.mjpeg]
address = "camera:{mjpeg}"
gap_ms = 60_000
stall_s = 60
open_s = 60
[source.rtsp]
address = "camera:{rtsp}"
gap_ms = 60_000
stall_s = 60
open_s = 60
[source.mic]
address = "microphone:{mic}?rate=48000"
stall_s = 60
open_s = 60
[[stream]]
name = "mjpeg"
source = "mjpeg"
bundle = "levels"
[[stream]]
name = "rtsp"
source = "rtsp"
bundle = "levels"
[[stream]]
name = "mic"
source = "mic"
bundle = "tones"
"""


def scene() -> tuple[bytes, ...]:
    """JPEGs full of colours and edges, of levels that make events: no two windows are quite alike."""
    rng = np.random.default_rng(7)
    pictures = []
    for level in (30, 128, 225, 128, 30, 225, 30):
        for number in range(15):
            noise = cv2.resize(rng.integers(-30, 31, (30, 40, 3), dtype=np.int16), (320, 240))
            pixels = np.clip(level + noise + number % 5, 0, 255).astype(np.uint8)
            pictures.append(cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, 90])[1].tobytes())
    return tuple(pictures)


def install(root: Path, bundle: Path) -> None:
    """Let the device have a bundle."""
    trusted = TrustedKeys({key_id(TEST_KEY): "test"})
    install_bundle(Store(trust(root)), open_bundle(bundle), trusted, accepted_here)


@pytest.fixture
def bundles(tmp_path: Path, tiny_image_model: bytes, tiny_audio_model: bytes) -> dict[str, Path]:
    """Both bundles, by name."""

    def labels(*names: str) -> list[Label]:
        return [Label(name=name, background=not index, policy=POLICY) for index, name in enumerate(names)]

    return {
        "levels": make_bundle(
            tmp_path / "levels.galago", tiny_image_model, labels("dark", "mid", "bright"), name="levels"
        ),
        "tones": make_bundle(
            tmp_path / "tones.galago",
            tiny_audio_model,
            labels("quiet", "low", "high"),
            modality="microphone",
            name="tones",
        ),
    }


@pytest.fixture
def root(tmp_path: Path, bundles: dict[str, Path]) -> Path:
    """A device with both."""
    for path in bundles.values():
        install(tmp_path / "root", path)
    return tmp_path / "root"


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Child]]:
    """Starts a process, and ends it after the test."""
    children: list[Child] = []

    def begin(*command: str | Path, environment: dict[str, str] | None = None) -> Child:
        log = tmp_path / f"process-{len(children)}.log"
        children.append(Child([str(part) for part in command], log, env=environment))
        return children[-1]

    yield begin
    for child in children:
        child.kill()


def records(path: Path) -> list[Record]:
    whole = path.read_bytes() if path.exists() else b""
    return [decode_record(line) for line in whole[: whole.rfind(b"\n") + 1].splitlines()]


def events(found: list[Record], stream: str) -> list[EventRecord]:
    return [one for one in found if isinstance(one, EventRecord) and one.stream == stream]


def logits(found: list[Record], stream: str) -> dict[int, list[int]]:
    return {
        one.start_index: one.logits for one in found if isinstance(one, ScoresRecord) and one.stream == stream
    }


def replayed(recording: Path, bundle: Path, stream: str) -> list[Record]:
    arguments = ["replay", str(recording), "--bundle", str(bundle), "--stream", stream, "--scores"]
    result = CliRunner().invoke(main, arguments)
    assert result.stdout_bytes, result.output
    return [decode_record(line) for line in result.stdout_bytes.splitlines()]


def same(live: list[EventRecord], again: list[EventRecord]) -> None:
    """Check labels in their order, and times as far as two clocks can say."""
    assert [event.label for event in live] == [event.label for event in again] and live
    offset_ns = again[0].start_ns - live[0].start_ns
    for one, other in zip(live, again, strict=True):
        assert abs(other.start_ns - one.start_ns - offset_ns) <= JITTER_NS, (one, other)


def finish(child: Child) -> None:
    """Let a recorder write its file to its end."""
    child.process.send_signal(signal.SIGINT)
    child.process.wait(60)


def test_a_replay_of_what_was_recorded_beside_the_service_gives_its_events(
    root: Path,
    bundles: dict[str, Path],
    real_part: Any,
    microphone: SoundServer,
    tmp_path: Path,
    start: Callable[..., Child],
) -> None:
    mjpeg = real_part(MjpegServer).start()
    rtsp = real_part(RtspServer, tmp_path).start()
    rtsp.level(30)
    microphone.sound = silence
    mjpeg.levels = (35,)
    config, out = tmp_path / "galago.toml", tmp_path / "live.jsonl"
    config.write_text(CONFIG.format(mjpeg=mjpeg.url, rtsp=rtsp.url, mic=microphone.name))
    ears = {**os.environ, **microphone.environment}
    galago = (sys.executable, "-m", "galago_edge", "run", "--root", root, "--config", config)
    service = start(*galago, "--scores", "--out", out, environment=ears)
    quiet = (tool("ffmpeg"), "-nostdin", "-v", "error", "-y")
    files = {"mjpeg": tmp_path / "mjpeg.mkv", "rtsp": tmp_path / "rtsp.mkv", "mic": tmp_path / "mic.wav"}
    recorders = [
        start(
            *quiet, "-use_wallclock_as_timestamps", "1", "-f", "mpjpeg", "-i", mjpeg.url,
            *COPIED, files["mjpeg"],
        ),
        start(*quiet, "-rtsp_transport", "tcp", "-i", rtsp.url, *COPIED, files["rtsp"]),
        start(
            *quiet, "-f", "pulse", "-sample_rate", "48000", "-channels", "1", "-i", microphone.name,
            *COPIED, files["mic"], environment=ears,
        ),
    ]  # fmt: skip

    def both_watch() -> bool:
        live = records(out)
        recorded = all(path.exists() and path.stat().st_size > 0 for path in files.values())
        return recorded and all(len(logits(live, name)) > 5 for name in files)

    wait_for(both_watch, "service and recorders do not watch")
    for level, sound in (
        (128, silence),
        (225, tone(1_000)),
        (30, silence),
        (225, tone(3_100)),
        (30, silence),
    ):
        before = len(logits(records(out), "mic"))
        rtsp.level(level)
        mjpeg.levels = (level,)
        microphone.sound = sound
        wait_for(lambda: len(logits(records(out), "mic")) > before + 20, "the sound is not decided")  # noqa: B023
    for recorder in recorders:
        finish(recorder)
    service.process.send_signal(signal.SIGTERM)
    service.process.wait(60)
    live = records(out)
    for name, bundle in (("mjpeg", "levels"), ("rtsp", "levels"), ("mic", "tones")):
        same(events(live, name), events(replayed(files[name], bundles[bundle], name), name))


def test_every_picture_of_an_mjpeg_camera_gives_the_same_logits_live_and_replayed(
    block_model: bytes, real_part: Any, tmp_path: Path, start: Callable[..., Child]
) -> None:
    """Each viewer of this camera is shown the same pictures, by their numbers."""
    names = [Label(name=f"label-{number}", policy=POLICY) for number in range(11)]
    bundle = make_bundle(
        tmp_path / "blocks.galago",
        block_model,
        names,
        preprocess=ImagePreprocess(width=32, height=32),
        name="blocks",
    )
    install(tmp_path / "root", bundle)
    camera = real_part(MjpegServer, fps=20.0)
    camera.pictures = scene()
    camera.start()
    out, recording = tmp_path / "live.jsonl", tmp_path / "yard.mkv"
    galago = (sys.executable, "-m", "galago_edge", "run", "--root", tmp_path / "root")
    service = start(*galago, "--stream", f"yard=camera:{camera.url}", "--scores", "--out", out)
    recorder = start(
        tool("ffmpeg"), "-nostdin", "-v", "error", "-y", "-use_wallclock_as_timestamps", "1",
        "-f", "mpjpeg", "-i", camera.url, *COPIED, recording,
    )  # fmt: skip
    wait_for(lambda: max(logits(records(out), "yard"), default=0) > len(scene()), "too little is decided")
    finish(recorder)
    service.process.send_signal(signal.SIGTERM)
    service.process.wait(60)
    live, again = records(out), replayed(recording, bundle, "yard")
    seen, seen_again = logits(live, "yard"), logits(again, "yard")
    both = seen.keys() & seen_again.keys()
    assert len(both) > len(scene()) // 2 and len({tuple(seen[index]) for index in both}) > 50
    assert [index for index in sorted(both) if seen[index] != seen_again[index]] == []
