from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from galago_edge.contract.errors import InputError, Reason
from galago_edge.sources.sample_conversion import Converter, PcmFormat, Raw, to_int16, to_mono


def noise(samples: int, seed: int = 0) -> npt.NDArray[np.int16]:
    return np.random.default_rng(seed).integers(-20_000, 20_000, (samples, 1), dtype=np.int16)


def converted(raw: Raw, source: PcmFormat, rate_hz: int, chunk: int) -> npt.NDArray[np.int16]:
    converter = Converter(source, rate_hz)
    starts = range(0, max(len(raw), 1), chunk)
    return np.concatenate(
        [converter.convert(raw[at : at + chunk], last=at + chunk >= len(raw)) for at in starts]
    )


@pytest.mark.parametrize("source_hz", [8_000, 44_100, 47_999, 48_000])  # 47,999: by soxr
@pytest.mark.parametrize("chunk", [1, 7, 160, 4096])
def test_resampling_does_not_depend_on_the_chunks(source_hz: int, chunk: int) -> None:
    raw = noise(5_000)
    source = PcmFormat("s16", 1, source_hz)
    whole = converted(raw, source, 16_000, len(raw))
    assert whole.dtype == np.int16
    np.testing.assert_array_equal(converted(raw, source, 16_000, chunk), whole)


@pytest.mark.parametrize("source_hz", [8_000, 44_100, 48_000])
def test_resampling_keeps_a_tone_in_place(source_hz: int) -> None:
    """A 440 Hz tone comes out as the same tone at 16 kHz: level and phase, so nothing is shifted in time."""
    seconds = np.arange(source_hz) / source_hz
    raw = np.rint(10_000 * np.sin(2 * np.pi * 440 * seconds)).astype(np.int16)[:, None]
    got = converted(raw, PcmFormat("s16", 1, source_hz), 16_000, len(raw))
    wanted = 10_000 * np.sin(2 * np.pi * 440 * np.arange(16_000) / 16_000)
    assert len(got) == 16_000
    assert np.abs(got - wanted)[500:-500].max() < 20


def test_what_fits_already_passes_unchanged_and_is_not_declared() -> None:
    raw = noise(100)
    converter = Converter(PcmFormat("s16", 1, 16_000), 16_000)
    np.testing.assert_array_equal(converter.convert(raw), raw[:, 0])
    assert converter.declaration() is None


@pytest.mark.parametrize(
    "source", [PcmFormat("u8", 1, 16_000), PcmFormat("s16", 2, 16_000), PcmFormat("s16", 1, 48_000)]
)
def test_every_conversion_is_declared_with_its_version(source: PcmFormat) -> None:
    declared = Converter(source, 16_000).declaration()
    assert declared is not None
    assert declared["version"] == "pcm/2"
    assert declared["from"] == {
        "encoding": source.encoding,
        "channels": source.channels,
        "rate_hz": source.rate_hz,
    }
    assert ("resampler" in declared) == (source.rate_hz != 16_000)


def test_a_usual_rate_is_converted_exactly_and_an_odd_one_by_a_library_that_is_named() -> None:
    usual = Converter(PcmFormat("s16", 1, 44_100), 16_000).declaration()
    odd = Converter(PcmFormat("s16", 1, 47_999), 16_000).declaration()
    assert usual is not None and usual["resampler"] == "polyphase/1 160/441"
    assert odd is not None and odd["resampler"].startswith("soxr ")


def test_one_channel_is_taken_instead_of_the_mean_and_declared() -> None:
    raw = np.array([[1, 10, -7], [2, 20, -9]], np.int16)
    converter = Converter(PcmFormat("s16", 3, 16_000), 16_000, channel=2)
    assert converter.convert(raw).tolist() == [10, 20]
    declared = converter.declaration()
    assert declared is not None and declared["channel"] == 2


def test_a_channel_that_is_not_there_is_refused_with_the_number_of_those_that_are() -> None:
    with pytest.raises(InputError, match="channel 3 is asked for, but the sound has 2") as caught:
        Converter(PcmFormat("s16", 2, 16_000), 16_000, channel=3)
    assert caught.value.reason is Reason.SOURCE_MISMATCH


@given(st.integers(-(2**31), 2**31 - 1))
def test_wide_integers_go_to_the_nearest_of_16_bits(value: int) -> None:
    got = int(to_int16(np.array([[value]], np.int32))[0, 0])
    assert got == min(32767, (value + 2**15) // 2**16)


@given(st.integers(0, 255))
def test_8_bit_is_centred_on_128(value: int) -> None:
    assert int(to_int16(np.array([[value]], np.uint8))[0, 0]) == (value - 128) * 256


def test_floats_saturate_and_what_is_no_number_is_silence() -> None:
    raw = np.array([[-2.0], [-1.0], [0.5], [1.0], [np.nan], [np.inf]])
    assert to_int16(raw)[:, 0].tolist() == [-32768, -32768, 16384, 32767, 0, 32767]


@settings(max_examples=50)
@given(st.lists(st.lists(st.integers(-32768, 32767), min_size=3, max_size=3), min_size=1, max_size=5))
def test_mono_is_the_rounded_mean_of_the_channels(rows: list[list[int]]) -> None:
    got = to_mono(np.array(rows, np.int16))
    assert got.tolist() == [(2 * sum(row) + 3) // 6 for row in rows]
