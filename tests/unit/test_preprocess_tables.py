"""The frontend's tables: their values, their files, and what is refused."""

from __future__ import annotations

import decimal
import io
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from galago_edge.contract.errors import BundleError, CallerError, Reason
from galago_edge.contract.manifest import AudioPreprocess
from galago_edge.preprocess import FrontendTables, LogMelFrontend, log_mel
from galago_edge.preprocess.filterbank import BANK_BITS, dense_bank
from galago_edge.preprocess.matrices import build_matrices
from galago_edge.preprocess.tables import LEVEL_BITS, TABLE_BITS, magnitude_bits, spectrum_bits

SPEC = AudioPreprocess()


@pytest.fixture(scope="module")
def tables() -> FrontendTables:
    return FrontendTables.build(SPEC)


def test_window_and_cosines_are_correctly_rounded(tables: FrontendTables) -> None:
    """libm is good to far more than 30 bits; a value that it cannot decide would be a tie."""
    one = 1 << TABLE_BITS
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(480) / 480)
    cosine = np.cos(2 * np.pi * np.arange(512) / 512)
    assert np.array_equal(tables.window, np.rint(window * one))
    assert np.array_equal(tables.cosine, np.rint(cosine * one))


def test_bank_holds_triangles_on_the_mel_scale(tables: FrontendTables) -> None:
    def mel(hz: Any) -> Any:
        return 2595 * np.log10(1 + np.asarray(hz) / 700)

    edges = 700 * (10 ** (np.linspace(mel(60), mel(7600), 42) / 2595) - 1)
    hz = np.arange(257) * 16_000 / 512
    band = np.searchsorted(edges, hz, side="right") - 1
    inside = (hz >= 60) & (hz < 7600)
    assert np.array_equal(tables.bank[:, 0], np.where(inside, band, -1))
    band = band[inside]
    rise = (hz[inside] - edges[band]) / (edges[band + 1] - edges[band])
    assert np.array_equal(tables.bank[inside, 1], np.rint(rise * (1 << BANK_BITS)))
    assert not tables.bank[~inside, 1].any()


POWER = AudioPreprocess(
    version="logmel/2",
    frame_samples=400,
    mel_bands=32,
    fmax_hz=3_800.0,
    mel_scale="slaney",
    spectrum="power",
    floor_db=-92.0,
)


def slaney_hz(mel: Any) -> Any:
    return np.where(mel < 15, mel * 200 / 3, 1000 * np.exp((mel - 15) * np.log(6.4) / 27))


def test_bank_holds_triangles_of_equal_area_on_slaney_s_scale() -> None:
    low, high = 60 * 3 / 200, 15 + 27 * np.log(3.8) / np.log(6.4)
    edges = slaney_hz(np.linspace(low, high, 34))
    hz = np.arange(257)[:, None] * 16_000 / 512
    rising = (hz - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - hz) / (edges[2:] - edges[1:-1])
    widths = edges[2:] - edges[:-2]
    expected = np.clip(np.minimum(rising, falling), 0, None) * widths.min() / widths

    dense = dense_bank(FrontendTables.build(POWER).bank, 32)

    assert np.array_equal(dense, np.rint(expected * (1 << BANK_BITS)))
    peaks = hz[dense.argmax(axis=0), 0].tolist()
    assert peaks[:4] == [125.0, 187.5, 250.0, 343.75] and peaks[-1] == 3_531.25


def test_levels_of_powers_are_half_way_between_codes() -> None:
    tables = FrontendTables.build(POWER)
    bits = spectrum_bits(POWER, tables.bank)
    full_scale = (2**15 * 400 / 4 * 2.0**bits) ** 2 * 2**BANK_BITS
    expected = full_scale * 10 ** ((np.arange(-127, 128) - 0.5 - 108) / 20)
    assert np.abs(tables.levels / expected - 1).max() <= 2.0**-8
    assert (np.diff(tables.levels) > 0).all()


def test_tables_of_the_other_version_are_refused(tables: FrontendTables) -> None:
    power = FrontendTables.build(POWER)
    assert FrontendTables.from_files(POWER, power.files()).sha256 == power.sha256
    for spec, files in (
        (SPEC, {**tables.files(), "bank.npy": power.files()["bank.npy"]}),
        (POWER, {**power.files(), "bank.npy": tables.files()["bank.npy"]}),
    ):
        with pytest.raises(BundleError, match=r"bank\.npy") as caught:
            FrontendTables.from_files(spec, files)
        assert caught.value.reason is Reason.PREPROCESS_MISMATCH


def test_levels_are_half_way_between_codes(tables: FrontendTables) -> None:
    full_scale = 2**15 * 480 / 4 * 2**4 * 2**BANK_BITS  # magnitudes have 4 fraction bits here
    expected = full_scale * 10 ** ((np.arange(-127, 128) - 0.5 - 108) / 40)
    assert np.abs(tables.levels / expected - 1).max() <= 2.0**-LEVEL_BITS
    assert (np.diff(tables.levels) > 0).all()
    for level in tables.levels.tolist():
        assert level % (1 << max(0, level.bit_length() - LEVEL_BITS)) == 0


def test_code_table_counts_the_levels_that_a_sum_reaches(tables: FrontendTables) -> None:
    """At every level, just below, just above, and at both ends."""
    matrices = build_matrices(SPEC, tables)
    levels = tables.levels
    sums = np.concatenate([[0, 1, 1 << 52], levels, levels - 1, levels + 1])
    place = (sums.astype(np.float64).view(np.int64) >> (53 - LEVEL_BITS)) - matrices.first_code
    codes = matrices.codes[np.clip(place, 0, len(matrices.codes) - 1)]
    assert np.array_equal(codes, np.searchsorted(levels, sums, side="right") - 128)


def test_tables_do_not_depend_on_the_caller_s_decimal_context(tables: FrontendTables) -> None:
    with decimal.localcontext() as context:
        context.prec = 5
        context.rounding = decimal.ROUND_UP
        context.traps[decimal.Inexact] = True
        assert FrontendTables.build(SPEC).sha256 == tables.sha256


def test_files_are_ordinary_npy_files(tables: FrontendTables) -> None:
    files = tables.files()
    assert list(files) == ["window.npy", "cosine.npy", "bank.npy", "levels.npy"]
    for name, data in files.items():
        array = np.load(io.BytesIO(data), allow_pickle=False)
        expected = getattr(tables, name.removesuffix(".npy"))
        assert array.dtype == expected.dtype
        assert np.array_equal(array, expected)
        assert (len(data) - array.nbytes) % 64 == 0


def test_files_read_back_are_the_same_frontend(tables: FrontendTables) -> None:
    again = FrontendTables.from_files(SPEC, tables.files())
    assert again.sha256 == tables.sha256
    assert again.files() == tables.files()
    noise = np.random.default_rng(0).integers(-999, 999, 4_000, dtype=np.int16)
    assert np.array_equal(LogMelFrontend(SPEC, again).push(noise), log_mel(SPEC, noise))


def test_given_tables_are_used(tables: FrontendTables) -> None:
    files = tables.files()
    files["levels.npy"] = FrontendTables.build(AudioPreprocess(frame_samples=400)).files()["levels.npy"]
    noise = np.random.default_rng(0).integers(-999, 999, 4_000, dtype=np.int16)
    other = LogMelFrontend(SPEC, FrontendTables.from_files(SPEC, files))
    assert not np.array_equal(other.push(noise), log_mel(SPEC, noise))


def test_every_table_counts_in_the_hash(tables: FrontendTables) -> None:
    seen = {tables.sha256}
    for name in ("window", "cosine", "bank", "levels"):
        values = {key: getattr(tables, key) for key in ("window", "cosine", "bank", "levels")}
        values[name] = values[name].copy()
        values[name].flat[5] += 1
        seen.add(FrontendTables(**values).sha256)
    assert len(seen) == 5


def _changed(tables: FrontendTables, name: str, change: Callable[[np.ndarray], Any]) -> dict[str, bytes]:
    values = {key: getattr(tables, key) for key in ("window", "cosine", "bank", "levels")}
    values[name] = values[name].copy()
    change(values[name])
    return FrontendTables(**values).files()


def _set(index: Any, value: int) -> Callable[[np.ndarray], None]:
    return lambda array: array.__setitem__(index, value)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("window", _set(7, -1)),
        ("window", _set(7, (1 << 30) + 1)),
        ("cosine", _set(7, (1 << 30) + 1)),
        ("cosine", _set(7, -(1 << 30) - 1)),
        ("bank", _set((7, 0), -2)),
        ("bank", _set((7, 0), 41)),
        ("bank", _set((7, 1), -1)),
        ("bank", _set((7, 1), 4097)),
        ("levels", _set(0, -1)),
        ("levels", _set(-1, (1 << 53) + 1)),
        ("levels", _set(200, 0)),
    ],
)
def test_values_that_no_table_has_are_refused(tables: FrontendTables, name: str, change: Any) -> None:
    with pytest.raises(BundleError, match=rf"{name}\.npy holds values") as caught:
        FrontendTables.from_files(SPEC, _changed(tables, name, change))
    assert caught.value.reason is Reason.PREPROCESS_MISMATCH


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("cosine", _set(slice(None), 1 << 30)),
        ("bank", _set((slice(None), 0), -1)),
    ],
    ids=["sums too large", "empty bands"],
)
def test_tables_that_would_not_be_exact_are_refused(tables: FrontendTables, name: str, change: Any) -> None:
    spec = AudioPreprocess(frame_samples=4096, mel_bands=1, fmin_hz=0.0, fmax_hz=8_000.0)
    changed = FrontendTables.from_files(spec, _changed(FrontendTables.build(spec), name, change))
    with pytest.raises(BundleError, match="frontend tables") as caught:
        LogMelFrontend(spec, changed)
    assert caught.value.reason is Reason.PREPROCESS_MISMATCH


@pytest.mark.parametrize(
    "data",
    [
        None,
        b"",
        b"not an array",
        FrontendTables.build(SPEC).files()["window.npy"][:-1],
        FrontendTables.build(SPEC).files()["window.npy"] + b"\0",
        FrontendTables.build(SPEC).files()["cosine.npy"],
        FrontendTables.build(AudioPreprocess(frame_samples=481)).files()["window.npy"],
    ],
    ids=["missing", "empty", "text", "truncated", "longer", "another table", "another size"],
)
def test_files_that_are_not_the_table_are_refused(tables: FrontendTables, data: bytes | None) -> None:
    files = tables.files()
    files.pop("window.npy")
    if data is not None:
        files["window.npy"] = data
    with pytest.raises(BundleError, match=r"window\.npy") as caught:
        FrontendTables.from_files(SPEC, files)
    assert caught.value.reason is Reason.PREPROCESS_MISMATCH


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"fmin_hz": 5_000.0, "fmax_hz": 5_000.0}, "from 5000 to 5000 Hz"),
        ({"fmin_hz": 6_000.0, "fmax_hz": 5_000.0}, "from 6000 to 5000 Hz"),
        ({"fmax_hz": 8_000.5}, "do not fit a sample rate of 16000 Hz"),
        ({"mel_bands": 128}, "mel band 0 of 128, 60 to .* Hz, is too narrow"),
        ({"frame_samples": 16}, "is too narrow for frames of 16 samples"),
    ],
)
def test_bands_that_cannot_work_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(CallerError, match=message) as caught:
        FrontendTables.build(AudioPreprocess(**changes))
    assert caught.value.reason is Reason.CONFIG_BAD
    assert caught.value.hint


@pytest.mark.parametrize(("frame_samples", "bits"), [(16, 4), (1_024, 4), (1_025, 2), (4_096, 2)])
def test_long_frames_keep_fewer_bits_of_a_magnitude(frame_samples: int, bits: int) -> None:
    assert magnitude_bits(frame_samples) == bits
