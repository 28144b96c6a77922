"""The exact filter: the same integers in any chunks and on every computer."""

from __future__ import annotations

import itertools
from math import gcd

import numpy as np
import numpy.typing as npt
import pytest
import scipy.signal
from hypothesis import given, settings
from hypothesis import strategies as st

from galago_edge.sources.polyphase_filter import (
    PolyphaseResampler,
    coefficients,
    coefficients_sha256,
    is_exact,
    ratio,
)

USUAL_HZ = (
    *(8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000),
    *(44_100, 48_000, 64_000, 88_200, 96_000, 176_400, 192_000),
)

HASHES = {
    (1, 3): "042649a69081893bb3eaeacc079f5262289112cfd96a54305e971e5aa7440176",
    (160, 441): "25b8dd0c557e7d065996fdc2e09b5b0dc4e0c74dd61eaea3de814a64726acc53",
    (2, 1): "de44137d15f9ed6ac35878f98cf216e6cbe03d38e3625ebd2561c08f2757cfbf",
    (1, 2): "2fc0dab3ffc33a72471299db9eaf5dd9a4aad33cf2c1ad342e45bece7f189603",
    (320, 441): "409524454a4ef5c1c188163f73d94f1b373fac3b9974f1eae51976f0889eb78e",
    (640, 441): "10b59f4147257a4076faa9c445a813644d192b44c388910146db6fd93e277d83",
    (1, 6): "28c21c22e15e4017d31476e0551eba9f380a97b189df2afaf4ca299970b24a27",
    (2560, 147): "4906fe6b8c0d3db2932af652f9cbead3d1b243ad87656d20dabb0e7cbf94a3eb",
}
"""Of the tables, computed on x86-64; every other computer must come to the same."""


def noise(samples: int, seed: int = 0) -> npt.NDArray[np.int16]:
    return np.random.default_rng(seed).integers(-32_768, 32_768, samples, dtype=np.int16)


def resampled(samples: npt.NDArray[np.int16], source_hz: int, rate_hz: int) -> npt.NDArray[np.int16]:
    return PolyphaseResampler(source_hz, rate_hz).convert(samples, last=True)


def direct(samples: npt.NDArray[np.int16], source_hz: int, rate_hz: int) -> list[int]:
    """The definition, sample by sample, in integers of any size."""
    up, down = ratio(source_hz, rate_hz)
    taps = coefficients(up, down).tolist()
    centre = len(taps) // 2
    result = []
    for k in range((2 * len(samples) * up + down) // (2 * down)):
        total = 0
        for j in range(
            max(0, -((centre - k * down) // up)), min(len(samples), (k * down + centre) // up + 1)
        ):
            total += taps[centre + k * down - j * up] * int(samples[j])
        result.append(max(-32_768, min(32_767, (total + (1 << 29)) >> 30)))
    return result


@pytest.mark.parametrize("pair", HASHES, ids=lambda pair: f"{pair[0]}to{pair[1]}")
def test_the_coefficients_are_the_same_on_every_computer(pair: tuple[int, int]) -> None:
    assert coefficients_sha256(*pair) == HASHES[pair]


@pytest.mark.parametrize(("source_hz", "rate_hz"), [(48_000, 16_000), (44_100, 16_000), (11_025, 16_000)])
def test_it_is_what_its_definition_says(source_hz: int, rate_hz: int) -> None:
    samples = noise(700)
    assert resampled(samples, source_hz, rate_hz).tolist() == direct(samples, source_hz, rate_hz)


@pytest.mark.parametrize("source_hz", [8_000, 11_025, 44_100, 48_000, 192_000])
def test_no_sum_can_leave_the_exact_integers_of_a_float64(source_hz: int) -> None:
    up, down = ratio(source_hz, 16_000)
    taps = coefficients(up, down)
    largest = max(int(np.abs(taps[phase::up]).sum()) for phase in range(up))
    assert largest * 32_768 + (1 << 29) < 1 << 53


@pytest.mark.parametrize("source_hz", [8_000, 11_025, 22_050, 44_100, 48_000, 96_000])
@pytest.mark.parametrize("level", [-32_768, -1, 1, 1_000, 32_767])
def test_what_is_constant_stays_what_it_is(source_hz: int, level: int) -> None:
    samples = np.full(6_000, level, np.int16)
    got = resampled(samples, source_hz, 16_000)
    edge = 100 * max(1, 16_000 // source_hz)  # the filter's half: before and behind it is silent
    assert set(got[edge:-edge].tolist()) == {level}


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from(
        [(48_000, 16_000), (44_100, 16_000), (8_000, 16_000), (22_050, 16_000), (16_000, 11_025)]
    ),
    st.integers(0, 3_000),
    st.lists(st.integers(0, 900), max_size=8),
)
def test_the_chunks_change_nothing(rates: tuple[int, int], length: int, cuts: list[int]) -> None:
    samples = noise(length, seed=length)
    whole = resampled(samples, *rates)
    stream = PolyphaseResampler(*rates)
    parts = []
    at = 0
    for cut in cuts:
        parts.append(stream.convert(samples[at : at + cut]))
        at = min(length, at + cut)
    parts.append(stream.convert(samples[at:], last=True))
    np.testing.assert_array_equal(np.concatenate(parts), whole)


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(USUAL_HZ), st.sampled_from([8_000, 16_000, 22_050, 48_000]), st.integers(0, 2_000))
def test_the_number_of_samples_is_the_nearest(source_hz: int, rate_hz: int, length: int) -> None:
    up, down = ratio(source_hz, rate_hz)
    got = resampled(np.zeros(length, np.int16), source_hz, rate_hz)
    assert len(got) == (2 * length * up + down) // (2 * down)


@pytest.mark.parametrize("source_hz", [8_000, 44_100, 48_000])
def test_it_agrees_with_scipys_polyphase_filter(source_hz: int) -> None:
    """Both in float64 with our coefficients: what remains is the rounding to 16 bits."""
    up, down = ratio(source_hz, 16_000)
    samples = noise(5_000) // 2
    taps = coefficients(up, down).astype(np.float64) / (1 << 30)
    wanted = scipy.signal.resample_poly(samples.astype(np.float64), up, down, window=taps / up)
    got = resampled(samples, source_hz, 16_000)
    assert np.abs(got - wanted[: len(got)].clip(-32_768, 32_767)).max() <= 0.501


@pytest.mark.parametrize("source_hz", [22_050, 44_100, 48_000])
def test_what_lies_above_half_the_rate_is_gone(source_hz: int) -> None:
    """100 dB: a full-scale tone at 8,050 Hz, which would be heard at 7,950, is below one step of 16 bits."""
    seconds = np.arange(source_hz) / source_hz
    tone = np.rint(32_000 * np.sin(2 * np.pi * 8_050 * seconds)).astype(np.int16)
    assert np.abs(resampled(tone, source_hz, 16_000)[500:-500]).max() <= 1


@pytest.mark.parametrize("source_hz", [22_050, 44_100, 48_000])
def test_what_lies_below_nine_tenths_of_half_the_rate_is_kept(source_hz: int) -> None:
    seconds = np.arange(source_hz) / source_hz
    tone = np.rint(20_000 * np.sin(2 * np.pi * 7_200 * seconds)).astype(np.int16)
    wanted = 20_000 * np.sin(2 * np.pi * 7_200 * np.arange(16_000) / 16_000)
    assert np.abs(resampled(tone, source_hz, 16_000) - wanted)[500:-500].max() < 3


def test_every_pair_of_usual_rates_has_a_filter_and_an_odd_one_has_none() -> None:
    assert all(is_exact(one, other) for one, other in itertools.permutations(USUAL_HZ, 2))
    assert gcd(47_999, 16_000) == 1
    assert not is_exact(47_999, 16_000)
