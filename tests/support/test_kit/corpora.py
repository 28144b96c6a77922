"""Small recordings and bundles for those who replay many."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import numpy.typing as npt

from galago_edge.contract.manifest import Label, LabelPolicy
from test_kit import make_bundle, wav_bytes

RATE_HZ = 16_000
POLICY = LabelPolicy(on=0.6, off=0.4, smoothing_windows=2, min_count=2, refractory_ms=500)


def policy_labels(*names: str) -> list[Label]:
    """Return labels of one policy; the first is the background."""
    return [Label(name=name, background=not index, policy=POLICY) for index, name in enumerate(names)]


def night_samples(tone_hz: float = 300, seconds: float = 3) -> npt.NDArray[np.int16]:
    """Return silence with a tone from 1 s to 2 s."""
    time_s = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    loud = (time_s >= 1) & (time_s < 2)
    return np.rint(12_000 * np.sin(2 * np.pi * tone_hz * time_s) * loud).astype(np.int16)


def write_night(path: Path, tone_hz: float = 300, seconds: float = 3) -> Path:
    """Write such a recording; its folder is made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(wav_bytes(night_samples(tone_hz, seconds), RATE_HZ))
    return path


def microphone_bundle(path: Path, model: bytes) -> Path:
    """Make a bundle of tests/data/tiny_audio.tflite."""
    return make_bundle(path, model, policy_labels("quiet", "low", "high"), modality="microphone")


def camera_bundle(path: Path, model: bytes) -> Path:
    """Make a bundle of tests/data/tiny_image.tflite."""
    return make_bundle(path, model, policy_labels("dark", "mid", "bright"))


def write_long_night(path: Path, seconds: int, tone_hz: float = 300) -> Path:
    """Write a recording that is silent but for its first seconds; it takes hardly any space on the disk."""
    content = wav_bytes(night_samples(tone_hz), RATE_HZ)
    data_bytes = 2 * seconds * RATE_HZ
    sizes = struct.pack("<I", 36 + data_bytes), struct.pack("<I", data_bytes)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content[:4] + sizes[0] + content[8:40] + sizes[1] + content[44:])
    with path.open("r+b") as file:
        file.truncate(44 + data_bytes)
    return path
