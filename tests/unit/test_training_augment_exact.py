"""Augmentation with draws that the test chooses, so that every pixel and sample can be computed by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from galago_workstation.data.augment import augment_clip, augment_pictures, sample_rng
from galago_workstation.data.clip_window import middle_window, window_at
from galago_workstation.training_config import AudioAugment, ImageAugment

MIDDLE = (0.5, 0.5, 0.5, 0.5, 0.5)
"""Draws that change nothing: no flip, no shift, the same brightness."""


class Draws:
    """A generator that gives what the test says; its noise is one deviation everywhere."""

    def __init__(self, first: tuple[float, ...], then: float = 0.0, noise: float = 1.0) -> None:
        self._first, self._then, self._noise = first, then, noise

    def random(self, count: int | None = None) -> Any:
        if count is None:
            return self._then
        assert count == len(self._first)
        return np.array(self._first)

    def standard_normal(self, shape: Any, dtype: Any = np.float64) -> npt.NDArray[Any]:
        return np.full(shape, self._noise, dtype)


def ramp(height: int, width: int) -> npt.NDArray[np.uint8]:
    """Level ``10 row + column`` in every channel."""
    levels = 10 * np.arange(height)[:, None] + np.arange(width)
    return np.repeat(levels[:, :, None], 3, axis=2).astype(np.uint8)


def pictured(picture: npt.NDArray[np.uint8], draws: Draws, **options: Any) -> list[list[int]]:
    rngs: list[Any] = [draws]
    found = augment_pictures(picture[None], rngs, ImageAugment(**options))
    assert found.shape == (1, *picture.shape) and found.dtype == np.uint8
    assert (found[0, :, :, 0] == found[0, :, :, 2]).all()
    levels: list[list[int]] = found[0, :, :, 0].tolist()
    return levels


@pytest.mark.parametrize(("draw", "flipped"), [(0.0, True), (0.499, True), (0.5, False), (0.99, False)])
def test_a_draw_below_one_half_mirrors_left_and_right(draw: float, flipped: bool) -> None:
    plain = ramp(2, 3)
    found = pictured(plain, Draws((draw, *MIDDLE[1:])), flip=True)
    assert found == ([[2, 1, 0], [12, 11, 10]] if flipped else [[0, 1, 2], [10, 11, 12]])


@pytest.mark.parametrize(
    ("down", "right", "found"),
    [
        (0.5, 0.5, [[0, 1, 2, 3], [10, 11, 12, 13]]),
        (1.0, 0.5, [[0, 1, 2, 3], [0, 1, 2, 3]]),  # half of two rows down, the border is repeated
        (0.0, 0.5, [[10, 11, 12, 13], [10, 11, 12, 13]]),
        (0.5, 1.0, [[0, 0, 0, 1], [10, 10, 10, 11]]),  # half of four columns to the right
        (0.5, 0.0, [[2, 3, 3, 3], [12, 13, 13, 13]]),
        (0.5, 0.75, [[0, 0, 1, 2], [10, 10, 11, 12]]),
    ],
)
def test_a_shift_is_a_share_of_height_and_width(down: float, right: float, found: list[list[int]]) -> None:
    draws = Draws((0.5, down, right, 0.5, 0.5))
    assert pictured(ramp(2, 4), draws, shift=0.5) == found


@pytest.mark.parametrize(
    ("gain", "offset", "found"),
    [
        (0.5, 0.5, [0, 100, 200, 255]),
        (1.0, 0.5, [0, 120, 240, 255]),  # a fifth more
        (0.0, 0.5, [0, 80, 160, 204]),
        (0.5, 1.0, [51, 151, 251, 255]),  # a fifth of full scale more
        (0.5, 0.0, [0, 49, 149, 204]),
        (0.75, 0.5, [0, 110, 220, 255]),
    ],
)
def test_brightness_is_a_gain_and_an_offset(gain: float, offset: float, found: list[int]) -> None:
    picture = np.repeat(np.array([[0, 100, 200, 255]], np.uint8)[:, :, None], 3, axis=2)
    assert pictured(picture, Draws((0.5, 0.5, 0.5, gain, offset)), brightness=0.2) == [found]


@pytest.mark.parametrize(
    ("draw", "noise", "found"), [(0.5, 1.0, [4, 14]), (1.0, -1.0, [0, 2]), (0.0, 1.0, [0, 10])]
)
def test_noise_has_a_deviation_of_up_to_the_largest(draw: float, noise: float, found: list[int]) -> None:
    picture = np.repeat(np.array([[0, 10]], np.uint8)[:, :, None], 3, axis=2)
    assert pictured(picture, Draws(MIDDLE, draw, noise), noise=8.0) == [found]


def test_every_picture_has_its_own_draws() -> None:
    pictures = np.stack([ramp(2, 3)] * 2)
    rngs: list[Any] = [Draws((0.0, *MIDDLE[1:])), Draws(MIDDLE)]
    found = augment_pictures(pictures, rngs, ImageAugment(flip=True))
    assert found[:, 0, :, 0].tolist() == [[2, 1, 0], [0, 1, 2]]


def test_a_generator_belongs_to_one_sample_of_one_epoch() -> None:
    numbers = {(1, 2, 3), (1, 3, 2), (2, 1, 3), (3, 2, 1)}
    assert len({sample_rng(*each).random() for each in numbers}) == 4
    assert sample_rng(1, 2, 3).random() == sample_rng(1, 2, 3).random()


# ---- clips: position, shift, gain, chance, ratio, tilt

STILL = (0.0, 0.5, 0.5, 0.5, 0.5, 0.0)


def cut(clip: npt.NDArray[np.int16], draws: tuple[float, ...], window: int, **options: Any) -> list[int]:
    rng: Any = Draws(draws)
    found = augment_clip(clip, rng, AudioAugment(**options), rate_hz=1_000, window_samples=window)
    samples: list[int] = found.tolist()
    return samples


@pytest.mark.parametrize(("position", "start"), [(0.0, 0), (0.24, 0), (0.26, 1), (0.99, 3)])
def test_a_long_clip_is_cut_at_any_of_its_places_alike(position: float, start: int) -> None:
    clip = np.arange(10, 15, dtype=np.int16)
    assert cut(clip, (position, *STILL[1:]), 2) == [10 + start, 11 + start]


@pytest.mark.parametrize(("position", "silence"), [(0.0, 0), (0.24, 0), (0.26, 1), (0.99, 3)])
def test_a_short_clip_lies_at_any_place_of_the_window_alike(position: float, silence: int) -> None:
    found = cut(np.array([7, 8], np.int16), (position, *STILL[1:]), 5)
    assert found == [0] * silence + [7, 8] + [0] * (3 - silence)


@pytest.mark.parametrize(
    ("shift", "found"),
    [(0.5, [1, 2, 3, 4]), (1.0, [0, 0, 1, 2]), (0.0, [3, 4, 0, 0]), (0.75, [0, 1, 2, 3])],
)
def test_a_shift_is_counted_in_milliseconds_to_both_sides(shift: float, found: list[int]) -> None:
    clip = np.array([1, 2, 3, 4], np.int16)
    assert cut(clip, (0.0, shift, *STILL[2:]), 4, shift_ms=2.0) == found


@pytest.mark.parametrize(
    ("gain", "found"), [(0.5, [1_000, -8_000]), (1.0, [10_000, -32_768]), (0.0, [100, -800])]
)
def test_a_gain_is_counted_in_decibels_to_both_sides(gain: float, found: list[int]) -> None:
    clip = np.array([1_000, -8_000], np.int16)
    assert cut(clip, (0.0, 0.5, gain, *STILL[3:]), 2, gain_db=20.0) == found


@pytest.mark.parametrize(("chance", "noisy"), [(0.0, True), (0.29, True), (0.3, False), (0.9, False)])
def test_a_share_of_the_clips_gets_noise(chance: float, noisy: bool) -> None:
    clip = np.full(64, 1_000, np.int16)
    rng = np.random.default_rng(1)

    class Chance(Draws):
        def standard_normal(self, shape: Any, dtype: Any = np.float64) -> npt.NDArray[Any]:
            return rng.standard_normal(shape)

    chosen: Any = Chance((0.0, 0.5, 0.5, chance, 0.5, 0.0))
    options = AudioAugment(noise_snr_db=(0.0, 0.0), noise_share=0.3)
    found = augment_clip(clip, chosen, options, rate_hz=1_000, window_samples=64)
    assert (found != clip).any() == noisy


@pytest.mark.parametrize(("ratio", "snr_db"), [(0.0, 10.0), (0.5, 20.0), (1.0, 30.0)])
@pytest.mark.parametrize("amplitude", [1_000, 0])
def test_the_ratio_lies_between_its_limits_and_silence_counts_as_very_quiet(
    ratio: float, snr_db: float, amplitude: int
) -> None:
    """Noise of root mean square 1, as it is made, times what the ratio wants; silence counts as ten steps."""
    clip = np.full(4_096, amplitude, np.int16)
    rng = np.random.default_rng(3)

    class Chance(Draws):
        def standard_normal(self, shape: Any, dtype: Any = np.float64) -> npt.NDArray[Any]:
            return rng.standard_normal(shape)

    chosen: Any = Chance((0.0, 0.5, 0.5, 0.0, ratio, 0.0))
    options = AudioAugment(noise_snr_db=(10.0, 30.0), noise_share=1.0)
    noise = augment_clip(clip, chosen, options, rate_hz=1_000, window_samples=4_096).astype(float) - clip
    wanted = max(10.0, amplitude) * 10 ** (-snr_db / 20)
    rms = float(np.sqrt(np.mean(noise**2)))
    assert abs(rms - wanted) < 0.35  # rounding to whole steps
    assert abs(noise.mean()) < 0.05 + 0.1 * wanted / 64  # no constant part


# ---- windows


def test_a_window_is_the_middle_of_a_clip_or_the_clip_amid_silence() -> None:
    clip = np.arange(1, 8, dtype=np.int16)
    assert middle_window(clip, 3).tolist() == [3, 4, 5]
    assert middle_window(clip, 4).tolist() == [2, 3, 4, 5]
    assert middle_window(clip, 7).tolist() == clip.tolist()
    assert middle_window(clip, 9).tolist() == [0, *range(1, 8), 0]
    assert middle_window(clip, 10).tolist() == [0, *range(1, 8), 0, 0]


@pytest.mark.parametrize(
    ("start", "found"),
    [(-3, [0, 0, 0]), (-2, [0, 0, 1]), (0, [1, 2, 3]), (3, [4, 5, 0]), (4, [5, 0, 0]), (5, [0, 0, 0])],
)
def test_a_window_beside_a_clip_is_filled_up_with_silence(start: int, found: list[int]) -> None:
    assert window_at(np.arange(1, 6, dtype=np.int16), start, 3).tolist() == found
