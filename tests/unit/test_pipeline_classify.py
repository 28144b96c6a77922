from __future__ import annotations

import sys
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from galago_edge.bundle import open_bundle
from galago_edge.contract.errors import DeviceError, InputError, LinkError, Reason
from galago_edge.contract.manifest import Label
from galago_edge.contract.streams import Span
from galago_edge.pipeline import LoadedBundle, classify, load
from test_kit import TINY_AUDIO, make_bundle, wav_bytes

RATE_HZ = TINY_AUDIO.sample_rate_hz


def bundle(path: Path, model: bytes, modality: str, names: list[str], background: str = "") -> LoadedBundle:
    labels = [Label(name=name, background=name == background) for name in names]
    make_bundle(path, model, labels, modality="camera" if modality == "camera" else "microphone")
    return load(open_bundle(path))


@pytest.fixture
def camera(tmp_path: Path, tiny_image_model: bytes) -> LoadedBundle:
    return bundle(tmp_path / "cam.galago", tiny_image_model, "camera", ["dark", "mid", "bright"], "dark")


@pytest.fixture
def microphone(tmp_path: Path, tiny_audio_model: bytes) -> LoadedBundle:
    return bundle(tmp_path / "mic.galago", tiny_audio_model, "microphone", ["quiet", "low", "high"], "quiet")


def sound(
    seconds: float, tone: tuple[float, float] | None = None, amplitude: int = 12_000
) -> npt.NDArray[np.int16]:
    time_s = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    wave = amplitude * np.sin(2 * np.pi * 300 * time_s)
    if tone is not None:
        wave *= (time_s >= tone[0]) & (time_s < tone[1])
    return np.rint(wave).astype(np.int16)


@pytest.mark.parametrize(("level", "label"), [(30, "dark"), (128, "mid"), (225, "bright")])
def test_an_image_is_what_the_model_says(
    level: int, label: str, tmp_path: Path, camera: LoadedBundle
) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), np.full((48, 64, 3), level, np.uint8))
    found = classify(tmp_path / "a.png", camera)
    assert found.ranked[0].label == label
    assert found.ranked[0].score > 0.9
    assert sorted((entry.score for entry in found.ranked), reverse=True) == [
        entry.score for entry in found.ranked
    ]
    assert (found.windows, found.padded_samples, found.conversion) == (1, 0, None)
    assert [entry.span for entry in found.ranked] == [Span(0, 1, 0, 0)] * 3


def test_a_short_tone_in_a_long_silence_is_found_where_it_is(
    tmp_path: Path, microphone: LoadedBundle
) -> None:
    (tmp_path / "a.wav").write_bytes(wav_bytes(sound(10, tone=(6.0, 6.5), amplitude=1_000), RATE_HZ))
    found = classify(tmp_path / "a.wav", microphone)
    best = found.ranked[0]
    assert best.label == "low"
    assert 5.9e9 < best.span.start_ns < best.span.end_ns < 6.6e9
    assert found.ranked[1].label == "quiet"
    assert found.ranked[1].score > best.score  # most windows are quiet, and more certain of it
    assert found.windows == (10 * RATE_HZ - TINY_AUDIO.window_samples) // 800 + 1


def test_background_is_the_answer_when_it_wins_everywhere(tmp_path: Path, microphone: LoadedBundle) -> None:
    (tmp_path / "a.wav").write_bytes(wav_bytes(np.zeros(RATE_HZ, np.int16), RATE_HZ))
    assert classify(tmp_path / "a.wav", microphone).ranked[0].label == "quiet"


def test_a_sound_shorter_than_a_window_gets_zeros_behind_it(tmp_path: Path, microphone: LoadedBundle) -> None:
    short = sound(0.15)
    (tmp_path / "short.wav").write_bytes(wav_bytes(short, RATE_HZ))
    padded = np.zeros(TINY_AUDIO.window_samples, np.int16)
    padded[: len(short)] = short
    (tmp_path / "padded.wav").write_bytes(wav_bytes(padded, RATE_HZ))
    found, whole = classify(tmp_path / "short.wav", microphone), classify(tmp_path / "padded.wav", microphone)
    assert found.padded_samples == TINY_AUDIO.window_samples - len(short)
    assert whole.padded_samples == 0
    assert found.ranked == whole.ranked


def test_one_file_leaves_nothing_behind_for_the_next(tmp_path: Path, microphone: LoadedBundle) -> None:
    for name, samples in (("a.wav", sound(0.3)), ("b.wav", sound(0.777, (0.2, 0.5)))):
        (tmp_path / name).write_bytes(wav_bytes(samples, RATE_HZ))
    alone = classify(tmp_path / "b.wav", microphone)
    classify(tmp_path / "a.wav", microphone)
    assert classify(tmp_path / "b.wav", microphone) == alone


def test_a_conversion_is_told(tmp_path: Path, microphone: LoadedBundle) -> None:
    (tmp_path / "a.wav").write_bytes(wav_bytes(sound(1), 48_000))
    conversion = classify(tmp_path / "a.wav", microphone).conversion
    assert conversion is not None and conversion["from"]["rate_hz"] == 48_000


def test_a_truncated_recording_is_refused(tmp_path: Path, microphone: LoadedBundle) -> None:
    (tmp_path / "a.wav").write_bytes(wav_bytes(sound(1), RATE_HZ)[:9_999])
    with pytest.raises(InputError) as caught:
        classify(tmp_path / "a.wav", microphone)
    assert caught.value.reason is Reason.AUDIO_TRUNCATED


def test_a_file_of_the_other_kind_is_a_mismatch(
    tmp_path: Path, camera: LoadedBundle, microphone: LoadedBundle
) -> None:
    for name, loaded in (("a.wav", camera), ("a.png", microphone)):
        with pytest.raises(InputError) as caught:
            classify(tmp_path / name, loaded)
        assert caught.value.reason is Reason.SOURCE_MISMATCH


def test_a_missing_file_is_a_missing_source(tmp_path: Path, camera: LoadedBundle) -> None:
    with pytest.raises(LinkError) as caught:
        classify(tmp_path / "none.png", camera)
    assert caught.value.reason is Reason.SOURCE_MISSING


def test_without_opencv_the_extra_is_named(
    tmp_path: Path, tiny_image_model: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make_bundle(tmp_path / "cam.galago", tiny_image_model, ["a", "b", "c"])
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(DeviceError, match="needs the Python module cv2") as caught:
        load(open_bundle(path))
    assert caught.value.reason is Reason.EXTRA_MISSING
    assert "galago-edge[camera]" in caught.value.hint
