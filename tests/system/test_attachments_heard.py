"""The sound of an event, from a running service with a real microphone."""

from __future__ import annotations

import os
import signal
import sys
import wave
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from galago_edge.bundle import open_bundle
from galago_edge.commands.cli import main
from galago_edge.contract.manifest import Label, LabelPolicy
from galago_edge.contract.records import AttachmentRecord, EventRecord, Record, decode_record
from galago_edge.store import Store, install_bundle
from real_parts import SoundServer, silence, tone, wait_for
from real_parts.processes import Child
from test_kit import TINY_AUDIO, accepted_here, make_bundle, trust

POLICY = LabelPolicy(on=0.6, off=0.4, smoothing_windows=2, min_count=2, refractory_ms=100)
CONFIG = """
[source.mic]
address = "microphone:{name}?rate=48000"
stall_s = 60
open_s = 60
[[stream]]
name = "mic"
source = "mic"
bundle = "tones"
[attachments]
keep_free_mb = 0
before_s = 1
after_s = 0.5
"""


@pytest.fixture
def bundle(tmp_path: Path, tiny_audio_model: bytes) -> Path:
    labels = [
        Label(name=name, background=name == "quiet", policy=POLICY) for name in ("quiet", "low", "high")
    ]
    return make_bundle(
        tmp_path / "tones.galago", tiny_audio_model, labels, modality="microphone", name="tones"
    )


def decoded(lines: bytes) -> list[Record]:
    return [decode_record(line) for line in lines[: lines.rfind(b"\n") + 1].splitlines()]


def test_the_sound_of_an_event_is_a_wav_in_which_a_replay_finds_the_event_again(
    tmp_path: Path, bundle: Path, microphone: SoundServer
) -> None:
    root = trust(tmp_path / "root")
    install_bundle(Store(root), open_bundle(bundle), Store(root).trusted(), accepted_here)
    microphone.sound = silence
    config, out = tmp_path / "galago.toml", tmp_path / "live.jsonl"
    config.write_text(CONFIG.format(name=microphone.name))
    command = [sys.executable, "-m", "galago_edge", "run"]
    command += ["--root", str(root), "--config", str(config), "--out", str(out)]
    service = Child(command, tmp_path / "service.log", env={**os.environ, **microphone.environment})

    def records(kind: type[Record]) -> list[Record]:  # type: ignore[valid-type]
        return [each for each in decoded(out.read_bytes() if out.exists() else b"") if isinstance(each, kind)]

    try:
        wait_for(lambda: out.exists() and b"started" in out.read_bytes(), "the service")
        microphone.sound = tone(1_000)
        wait_for(lambda: records(EventRecord), "an event")
        wait_for(lambda: records(AttachmentRecord), "its sound")
    finally:
        service.process.send_signal(signal.SIGTERM)
        service.process.wait(60)
        service.kill()
    event, attached = records(EventRecord)[0], records(AttachmentRecord)[0]
    assert isinstance(event, EventRecord) and isinstance(attached, AttachmentRecord)
    assert (attached.seq, attached.label, attached.media_type) == (event.seq, event.label, "audio/wav")
    path = root / "attachments" / attached.file
    with wave.open(str(path)) as file:
        rate, count = file.getframerate(), file.getnframes()
        assert (file.getnchannels(), file.getsampwidth()) == (1, 2)
        samples = np.frombuffer(file.readframes(count), "<i2")
    window = TINY_AUDIO.window_samples
    assert rate == TINY_AUDIO.sample_rate_hz and window + rate // 2 <= count <= window + 3 * rate // 2
    assert attached.to_ns - event.end_ns == 500_000_000
    heard = np.abs(np.fft.rfft(samples[-rate // 2 :]))
    assert abs(int(heard.argmax()) * 2 - 1_000) <= 4, "the half second behind the event is the tone"
    again = CliRunner().invoke(main, ["replay", str(path), "--bundle", str(bundle)])
    replayed = decoded(again.stdout_bytes)
    assert event.label in {each.label for each in replayed if isinstance(each, EventRecord)}
    assert not [each for each in replayed if isinstance(each, AttachmentRecord)], "a replay makes none"
