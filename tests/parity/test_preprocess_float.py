"""The exact frontend against the same definition in floating point: right, not only reproducible."""

from __future__ import annotations

import numpy as np
import pytest

from galago_edge.contract.manifest import AudioPreprocess
from galago_edge.preprocess import log_mel
from galago_edge.preprocess.tables import CODES_PER_DB, ZERO_DB_CODE

SPECS = [
    AudioPreprocess(),
    AudioPreprocess(sample_rate_hz=48_000, frame_samples=1024, frame_hop_samples=512, fmax_hz=20_000.0),
    AudioPreprocess(frame_samples=4096, frame_hop_samples=1000, mel_bands=64),
    AudioPreprocess(frame_samples=250, frame_hop_samples=100, mel_bands=16, fmin_hz=0.0, fmax_hz=8_000.0),
]


def signals(n: int = 24_000) -> dict[str, np.ndarray]:
    """Return int16 signals of very different levels and shapes."""
    random = np.random.default_rng(1)
    t = np.arange(n)
    real = {
        "white": random.uniform(-0.7, 0.7, n),
        "white at -30 dB": random.normal(0, 0.03, n),
        "white at -60 dB": random.normal(0, 0.001, n),
        "sine": 0.9 * np.sin(2 * np.pi * 0.0623 * t),
        "weak sine": 0.01 * np.sin(2 * np.pi * 0.19 * t),
        "chirp": 0.8 * np.sin(2 * np.pi * 0.4 * t * t / (2 * n)),
        "square": np.where(t % 31 < 15, 1.0, -1.0),
        "clicks": (random.uniform(size=n) > 0.999) * 1.0,
        "music-like": sum(0.1 * np.sin(2 * np.pi * 0.0137 * k * t) / k for k in range(1, 30)),
    }
    return {name: np.clip(np.rint(x * 32_767), -32_768, 32_767).astype(np.int16) for name, x in real.items()}


def float_level_db(spec: AudioPreprocess, samples: np.ndarray) -> np.ndarray:
    """Return the levels in dB by numpy's FFT and float64, shape (frames, mel_bands)."""
    size = spec.frame_samples
    n = 1 << (size - 1).bit_length()
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(size) / size)
    frames = np.lib.stride_tricks.sliding_window_view(samples, size)[:: spec.frame_hop_samples]
    spectrum = np.abs(np.fft.rfft(frames * window, n)) / (32_768 * window.sum() / 2)
    edges = np.geomspace(spec.fmin_hz + 700, spec.fmax_hz + 700, spec.mel_bands + 2)[:, None] - 700
    low, middle, high = edges[:-2], edges[1:-1], edges[2:]
    hz = np.arange(n // 2 + 1) * spec.sample_rate_hz / n
    weights = np.clip(np.minimum((hz - low) / (middle - low), (high - hz) / (high - middle)), 0, None)
    with np.errstate(divide="ignore"):
        return 20 * np.log10(spectrum @ weights.T)


def slaney_power_db(spec: AudioPreprocess, samples: np.ndarray) -> np.ndarray:
    """Return levels of powers by numpy and librosa's filters, shape (frames, mel_bands)."""
    import librosa

    size = spec.frame_samples
    n = 1 << (size - 1).bit_length()
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(size) / size)
    frames = np.lib.stride_tricks.sliding_window_view(samples, size)[:: spec.frame_hop_samples]
    power = np.abs(np.fft.rfft(frames * window, n)) ** 2 / (32_768 * window.sum() / 2) ** 2
    filters = librosa.filters.mel(
        sr=spec.sample_rate_hz,
        n_fft=n,
        n_mels=spec.mel_bands,
        fmin=spec.fmin_hz,
        fmax=spec.fmax_hz,
        htk=False,
        norm="slaney",
        dtype=np.float64,
    )
    edges = librosa.mel_frequencies(spec.mel_bands + 2, fmin=spec.fmin_hz, fmax=spec.fmax_hz, htk=False)
    narrowest = (edges[2:] - edges[:-2]).min()
    with np.errstate(divide="ignore"):
        return 10 * np.log10(power @ filters.T * narrowest / 2)


def test_levels_of_powers_are_those_of_librosa_s_filters() -> None:
    """The bound that the docstring of galago_edge.preprocess.audio states."""
    spec = AudioPreprocess(
        version="logmel/2",
        frame_samples=400,
        mel_bands=32,
        fmax_hz=3_800.0,
        mel_scale="slaney",
        spectrum="power",
        floor_db=-118.0,
    )
    heard = 0
    for name, samples in signals().items():
        exact = slaney_power_db(spec, samples)
        error = np.abs(code_level_db(log_mel(spec, samples)) - exact)
        in_range = (exact > -92) & (exact < 9)
        heard += in_range.sum()
        assert error[in_range].max() <= 0.35, name
    assert heard > 10_000


def code_level_db(codes: np.ndarray) -> np.ndarray:
    return (codes.astype(np.float64) - ZERO_DB_CODE) / CODES_PER_DB


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: f"{spec.frame_samples} samples")
def test_levels_are_those_of_the_float_definition(spec: AudioPreprocess) -> None:
    """The bounds that the docstring of galago_edge.preprocess.audio states."""
    errors = []
    for name, samples in signals().items():
        exact = float_level_db(spec, samples)
        error = np.abs(code_level_db(log_mel(spec, samples)) - exact)
        in_range = (exact > -100) & (exact < 9)
        assert error[in_range].max() <= 0.45, name
        loud = in_range & (exact > -85) & (exact > exact.max(axis=1, keepdims=True) - 60)
        assert error[loud].max() <= 0.28, name
        errors.append(error[loud])
    assert np.quantile(np.concatenate(errors), 0.999) <= 0.265
    assert sum(map(len, errors)) > 1_500


def test_levels_are_those_of_librosa() -> None:
    """The float definition above is not our own invention."""
    import librosa

    spec = AudioPreprocess()
    margin = (512 - spec.frame_samples) // 2  # librosa centres the window in the transform
    for name, samples in signals().items():
        codes = log_mel(spec, samples)
        mel = librosa.feature.melspectrogram(
            y=np.pad(samples / 32_768, margin),
            sr=spec.sample_rate_hz,
            n_fft=512,
            win_length=spec.frame_samples,
            hop_length=spec.frame_hop_samples,
            window="hann",
            center=False,
            power=1.0,
            n_mels=spec.mel_bands,
            fmin=spec.fmin_hz,
            fmax=spec.fmax_hz,
            htk=True,
            norm=None,
        ).T
        assert mel.shape == codes.shape
        with np.errstate(divide="ignore"):
            level = 20 * np.log10(mel / (spec.frame_samples / 4))
        # librosa keeps its filters in float32, hence a little more than above
        loud = (level > -85) & (level < 9) & (level > level.max(axis=1, keepdims=True) - 60)
        assert np.abs(code_level_db(codes) - level)[loud].max() <= 0.285, name


def test_extreme_levels_saturate() -> None:
    """A band below -118 dB has the lowest code, one above +9.5 dB the highest."""
    spec = AudioPreprocess(mel_bands=2, fmin_hz=0.0, fmax_hz=8_000.0)
    quiet = np.zeros(480, dtype=np.int16)
    loud = np.where(np.random.default_rng(5).integers(0, 2, 480), 32_767, -32_768).astype(np.int16)
    assert log_mel(spec, quiet).tolist() == [[-128, -128]]
    assert float_level_db(spec, loud).min() > 9.75
    assert log_mel(spec, loud).tolist() == [[127, 127]]
