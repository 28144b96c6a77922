"""Thumbprints of sounds: the same sound has nearly the same one, from a file and from samples at hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from galago_edge.recording.sample_media import wav_bytes
from galago_workstation.data.near_copies import SOUND_ALIKE
from galago_workstation.data.sample_look import look_at_sound, window_thumbprint


def melody(rate_hz: int, first_hz: float) -> npt.NDArray[np.int16]:
    """Four tones of a quarter of a second, over some noise."""
    time = np.arange(rate_hz // 4) / rate_hz
    tones = [np.sin(2 * np.pi * first_hz * factor * time) for factor in (1.0, 2.0, 1.5, 3.0)]
    noise = np.random.default_rng(1).normal(0, 20, 4 * len(time))
    return np.rint(6_000 * np.concatenate(tones) + noise).astype(np.int16)


@pytest.mark.parametrize("rate_hz", [8_000, 16_000, 22_050, 48_000])
def test_samples_have_the_thumbprint_of_their_file(rate_hz: int, tmp_path: Path) -> None:
    samples = melody(rate_hz, 400.0)
    (tmp_path / "a.wav").write_bytes(wav_bytes(samples, rate_hz))
    found = window_thumbprint(samples, rate_hz)
    assert float(found @ look_at_sound(tmp_path / "a.wav").thumbprint) > SOUND_ALIKE
    assert float(found @ window_thumbprint(melody(rate_hz, 150.0), rate_hz)) < 0.9


def test_a_slow_rate_and_next_to_nothing_have_a_thumbprint_of_numbers() -> None:
    slow = window_thumbprint(melody(4_000, 300.0), 4_000)
    assert np.isfinite(slow).all() and float(slow @ slow) == pytest.approx(1.0, abs=1e-5)
    for samples in (np.zeros(16_000, np.int16), np.zeros(10, np.int16), np.zeros(0, np.int16)):
        assert not window_thumbprint(samples, 16_000).any()
