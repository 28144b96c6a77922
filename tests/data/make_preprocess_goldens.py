"""Makes preprocess_goldens.json: what galago_edge.preprocess gives for inputs made of integers only.

Run it again after an intended change of preprocessing, and then raise the implementation number in
galago_edge/preprocess/__init__.py:

    python tests/data/make_preprocess_goldens.py
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np

from galago_edge.contract.manifest import AudioPreprocess, ImagePreprocess
from galago_edge.preprocess import FrontendTables, ImagePreprocessor, fingerprint, log_mel

GOLDENS = Path(__file__).with_name("preprocess_goldens.json")

AUDIO_SPECS = {
    "default": AudioPreprocess(),
    "48 kHz, long frames": AudioPreprocess(
        sample_rate_hz=48_000,
        frame_samples=1200,
        frame_hop_samples=480,
        mel_bands=64,
        fmin_hz=50.0,
        fmax_hz=20_000.0,
    ),
    "8 kHz, full band": AudioPreprocess(
        sample_rate_hz=8_000,
        frame_samples=200,
        frame_hop_samples=80,
        mel_bands=10,
        fmin_hz=0.0,
        fmax_hz=4_000.0,
    ),
    "power, equal areas": AudioPreprocess(
        version="logmel/2",
        frame_samples=400,
        mel_bands=32,
        fmax_hz=3_800.0,
        mel_scale="slaney",
        spectrum="power",
        floor_db=-92.0,
    ),
}

IMAGES = [(480, 640), (33, 57), (101, 20), (7, 7), (1, 1)]
IMAGE_SPECS = [
    ImagePreprocess(width=width, height=height, color=color, resize=resize)
    for width, height in ((96, 96), (31, 17))
    for color in ("rgb", "gray")
    for resize in ("stretch", "crop", "letterbox")
]


def random_bytes(name: str, size: int) -> bytes:
    """Return bytes that look random and are the same with every version of every library."""
    return hashlib.shake_128(name.encode()).digest(size)


def signals() -> dict[str, np.ndarray]:
    """Return a second of each signal, int16."""
    n = 16_000
    t = np.arange(n, dtype=np.int64)
    # phase of a sweep from 0 to half the sample rate in units of 2^-16 turns, and parabolas for a sine
    phase = (t * t * 32_768 // (2 * n // 2)) % 65_536
    half = phase % 32_768
    parabola = half * (32_768 - half) >> 13  # 0 .. 2^15
    return {
        "silence": np.zeros(n, dtype=np.int16),
        "full-scale square": np.where(t % 32 < 16, 32_767, -32_768).astype(np.int16),
        "-1 LSB": np.full(n, -1, dtype=np.int16),
        "chirp": np.clip(np.where(phase < 32_768, parabola, -parabola), -32_768, 32_767).astype(np.int16),
        "noise": np.frombuffer(random_bytes("noise", 2 * n), dtype="<i2").astype(np.int16),
        "quiet noise": (np.frombuffer(random_bytes("quiet", n), dtype=np.int8) // 16).astype(np.int16),
        "DC": np.full(n, -32_768, dtype=np.int16),
    }


def image(height: int, width: int) -> np.ndarray:
    """Return a BGR image of random pixels."""
    data = random_bytes(f"image {height}x{width}", height * width * 3)
    return np.frombuffer(data, dtype=np.uint8).reshape(height, width, 3)


def compute() -> dict[str, Any]:
    """Return everything that the goldens pin."""
    audio = {
        name: {
            "fingerprint": fingerprint(spec),
            "tables": FrontendTables.build(spec).sha256,
            "codes": {key: _codes(log_mel(spec, samples)) for key, samples in signals().items()},
        }
        for name, spec in AUDIO_SPECS.items()
    }
    images = {
        f"{spec.width}x{spec.height} {spec.color} {spec.resize}": {
            "fingerprint": fingerprint(spec),
            "tensors": {f"{height}x{width}": _tensor(spec, height, width) for height, width in IMAGES},
        }
        for spec in IMAGE_SPECS
    }
    return {"audio": audio, "image": images}


def _tensor(spec: ImagePreprocess, height: int, width: int) -> str:
    return hashlib.sha256(ImagePreprocessor(spec)(image(height, width)).tobytes()).hexdigest()


def _codes(codes: np.ndarray) -> dict[str, Any]:
    return {
        "frames": len(codes),
        "sha256": hashlib.sha256(codes.tobytes()).hexdigest(),
        "frame 20": codes[20].tolist(),  # so that a difference can be looked at
    }


if __name__ == "__main__":
    GOLDENS.write_text(json.dumps(compute(), indent=1) + "\n")
