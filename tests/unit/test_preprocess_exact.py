"""Why the frontend is exact: its sums stay below 2^53, and integers give the same codes."""

from __future__ import annotations

import math
from bisect import bisect_right

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from galago_edge.contract.manifest import AudioPreprocess
from galago_edge.preprocess import FrontendTables, log_mel
from galago_edge.preprocess.filterbank import BANK_BITS
from galago_edge.preprocess.matrices import EXACT, FrontendMatrices, bin_order, build_matrices, split
from galago_edge.preprocess.tables import (
    TABLE_BITS,
    built_tables,
    magnitude_bits,
    spectrum_bits,
)

SAMPLE_BITS, FACTOR_BITS, HALFWAY_BITS = 8, 20, 6  # as documented in galago_edge.preprocess.matrices

SIZES = [16, 17, 32, 33, 100, 256, 257, 480, 512, 513, 1024, 1025, 2048, 2049, 4095, 4096]


def full_band(frame_samples: int, mel_bands: int = 1) -> AudioPreprocess:
    return AudioPreprocess(
        frame_samples=frame_samples,
        frame_hop_samples=frame_samples,
        mel_bands=mel_bands,
        fmin_hz=0.0,
        fmax_hz=8_000.0,
    )


def power_band(frame_samples: int, mel_bands: int = 1, scale: str = "slaney") -> AudioPreprocess:
    return msgspec.structs.replace(
        full_band(frame_samples, mel_bands),
        version="logmel/2",
        mel_scale=scale,
        spectrum="power",
        floor_db=-100.0,
    )


def matrices_of(spec: AudioPreprocess) -> FrontendMatrices:
    return build_matrices(spec, FrontendTables.build(spec))


def worst_inputs(frame_samples: int) -> list[np.ndarray]:
    """Full-scale inputs that pile up in some bin: constant, alternating, squares, random signs."""
    t = np.arange(frame_samples)
    signs = [
        np.ones(frame_samples),
        np.where(t % 2, -1, 1),
        np.random.default_rng(2).choice([-1, 1], frame_samples),
    ]
    signs += [np.where(t % period < period / 2, 1, -1) for period in (3, 4, 7, 16, 32, 64, frame_samples)]
    return [np.where(sign > 0, 32_767, -32_768).astype(np.int16) for sign in signs]


def met_sums(m: FrontendMatrices, samples: np.ndarray) -> np.ndarray:
    """Return the largest sum of absolute values in each product, for one frame."""
    size = len(samples)
    halfway_unit = 2.0 ** (HALFWAY_BITS - SAMPLE_BITS - FACTOR_BITS)
    second_unit = 2.0 ** (magnitude_bits(size) - HALFWAY_BITS - FACTOR_BITS)
    n1, n2 = split(1 << (size - 1).bit_length())
    padded = np.zeros(m.window.size)
    padded[:size] = samples
    windowed = np.rint(padded.reshape(m.window.shape) * m.window)
    one = np.abs(m.first / halfway_unit) @ np.abs(windowed)
    halfway = np.rint(m.first @ windowed).reshape(n1 // 2, 2 * n2, 1)
    two = np.abs(m.second / second_unit) @ np.abs(halfway)
    parts = (m.second @ halfway).reshape(n1 // 2, 2, n2)
    magnitudes = np.rint(np.hypot(parts[:, 0], parts[:, 1])).T.ravel()
    three = [group.weights.T @ magnitudes[group.bins] for group in m.groups]
    return np.array([one.max(), two.max(), max(sums.max() for sums in three)])


@pytest.mark.parametrize("frame_samples", SIZES)
def test_sums_stay_below_two_to_the_53(frame_samples: int) -> None:
    """The proven bounds hold for the worst real inputs, and are not far above them."""
    m = matrices_of(full_band(frame_samples))
    assert max(m.largest_sums) < EXACT
    met = np.max([met_sums(m, samples) for samples in worst_inputs(frame_samples)], axis=0)
    assert (met <= m.largest_sums).all()
    assert (met > np.array(m.largest_sums) / 8)[:2].all()


@pytest.mark.parametrize(("frame_samples", "half_width_hz"), [(480, 80), (4096, 10)])
def test_filter_sums_of_a_narrow_band_come_near_their_bound(frame_samples: int, half_width_hz: int) -> None:
    """A square wave in a band of few bins; wide bands never meet their bound."""
    m = matrices_of(
        AudioPreprocess(
            frame_samples=frame_samples,
            mel_bands=1,
            fmin_hz=1_000.0 - half_width_hz,
            fmax_hz=1_000.0 + half_width_hz,
        )
    )
    square = np.where(np.arange(frame_samples) % 16 < 8, 32_767, -32_768)
    assert m.largest_sums[2] / 8 < met_sums(m, square)[2] <= m.largest_sums[2]


@pytest.mark.parametrize("mel_bands", [1, 2, 40])
@pytest.mark.parametrize("frame_samples", [512, 1024, 4096])
def test_sums_stay_below_two_to_the_53_with_more_bands(frame_samples: int, mel_bands: int) -> None:
    spec = AudioPreprocess(
        sample_rate_hz=48_000,
        frame_samples=frame_samples,
        mel_bands=mel_bands,
        fmin_hz=300.0,
        fmax_hz=24_000.0,
    )
    assert max(matrices_of(spec).largest_sums) < EXACT


@pytest.mark.parametrize("scale", ["htk", "slaney"])
@pytest.mark.parametrize("frame_samples", [16, 33, 480, 512, 1025, 4096])
def test_sums_of_powers_stay_below_two_to_the_53_and_use_what_there_is(
    frame_samples: int, scale: str
) -> None:
    largest = matrices_of(power_band(frame_samples, 1, scale)).largest_sums
    assert max(largest) < EXACT
    assert largest[2] > EXACT / 32


@pytest.mark.parametrize("frame_samples", [16, 480, 512, 600, 4096])
def test_factors_are_integers_times_a_power_of_two(frame_samples: int) -> None:
    m = matrices_of(full_band(frame_samples))
    first = m.first * 2.0 ** (SAMPLE_BITS + FACTOR_BITS - HALFWAY_BITS)
    second = m.second * 2.0 ** (HALFWAY_BITS + FACTOR_BITS - magnitude_bits(frame_samples))
    for factors in (first, second, *(group.weights for group in m.groups)):
        assert np.array_equal(factors, np.rint(factors))
        assert factors.flags.c_contiguous
        assert factors.any()


def integer_codes(spec: AudioPreprocess, tables: FrontendTables, samples: np.ndarray) -> list[int]:
    """Return one frame's codes by the formulas of galago_edge.preprocess.matrices, in int64."""
    n = len(tables.cosine)
    n1, n2 = split(n)
    cosine = (tables.cosine.astype(np.int64) + (1 << (TABLE_BITS - FACTOR_BITS - 1))) >> (
        TABLE_BITS - FACTOR_BITS
    )
    v = np.zeros(n, dtype=np.int64)
    v[: len(samples)] = half_even(samples.astype(np.int64) * tables.window, TABLE_BITS - SAMPLE_BITS)
    v = v.reshape(n1, n2)  # v[n1][n2]
    strengths = {}
    for k in range(1, n // 2):
        k1 = k % n1
        turn = n2 * (min(k1, n1 - k1) * np.arange(n1))[:, None]
        drop = SAMPLE_BITS + FACTOR_BITS - HALFWAY_BITS
        real = half_even((cosine[turn % n] * v).sum(axis=0), drop)
        imaginary = half_even((cosine[(turn + n // 4) % n] * v).sum(axis=0), drop)
        if k1 > n1 // 2:
            imaginary = -imaginary
        angle = k * np.arange(n2)
        cos, sin = cosine[angle % n], cosine[(angle - n // 4) % n]
        scale = 2.0 ** (spectrum_bits(spec, tables.bank) - HALFWAY_BITS - FACTOR_BITS)
        x = int((cos * real + sin * imaginary).sum()) * scale
        y = int((cos * imaginary - sin * real).sum()) * scale
        square = x * x + y * y
        strengths[k] = round(square if spec.spectrum == "power" else math.sqrt(square))
    sums = [0] * (spec.mel_bands + 2)
    for k, strength in strengths.items():
        band, rising, *falling = map(int, tables.bank[k])
        if band >= 0:
            sums[band + 1] += rising * strength
            sums[band] += (falling[0] if falling else (1 << BANK_BITS) - rising) * strength
    levels = tables.levels.tolist()
    floor = -128 if spec.version == "logmel/1" else max(-128, round(2 * spec.floor_db) + 108)
    return [max(floor, bisect_right(levels, total) - 128) for total in sums[1:-1]]


def half_even(values: np.ndarray, bits: int) -> np.ndarray:
    """Divide by 2^bits, rounding to the nearest, halves to even."""
    floor, rest = values >> bits, values & ((1 << bits) - 1)
    half = 1 << (bits - 1)
    return floor + ((rest > half) | ((rest == half) & (floor % 2 == 1)))


@pytest.mark.parametrize(
    "spec",
    [
        AudioPreprocess(),
        full_band(16, 3),
        full_band(250, 11),
        full_band(1030, 40),
        power_band(16, 3),
        power_band(250, 11, "htk"),
        power_band(400, 32),
    ],
    ids=lambda spec: f"{spec.version} {spec.frame_samples} samples",
)
def test_codes_equal_an_integer_implementation(spec: AudioPreprocess) -> None:
    tables = FrontendTables.build(spec)
    random = np.random.default_rng(8)
    scales = [1, 30, 1_000, 32_768]
    quieter = [np.rint(random.uniform(-s, s - 1, spec.frame_samples)).astype(np.int16) for s in scales]
    for samples in [*worst_inputs(spec.frame_samples), *quieter]:
        assert log_mel(spec, samples).tolist() == [integer_codes(spec, tables, samples)]


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(-32_768, 32_767), min_size=40, max_size=40))
def test_codes_equal_an_integer_implementation_for_any_samples(values: list[int]) -> None:
    samples = np.array(values, dtype=np.int16)
    for spec in (full_band(40, 5), power_band(40, 5)):
        assert log_mel(spec, samples).tolist() == [integer_codes(spec, built_tables(spec), samples)]


@pytest.mark.parametrize("n", [16, 32, 64, 512, 1024, 4096])
def test_every_bin_is_computed_once(n: int) -> None:
    order = bin_order(n)
    assert sorted(order.ravel().tolist()) == list(range(n // 2))
    slots = order // (split(n)[0] // 2)
    assert (slots == np.arange(len(order))[:, None]).all(), "rows hold neighbouring bins"
