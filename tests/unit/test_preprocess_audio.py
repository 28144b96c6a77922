"""The log-mel frontend as a stream: framing, cuts, limits of its input."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from galago_edge.contract.errors import InputError, Reason
from galago_edge.contract.manifest import AudioPreprocess
from galago_edge.preprocess import FEATURE_SCALE, FEATURE_ZERO_POINT, LogMelFrontend, fingerprint, log_mel

DEFAULT = AudioPreprocess()
SMALL = AudioPreprocess(
    sample_rate_hz=8_000, frame_samples=50, frame_hop_samples=20, mel_bands=6, fmin_hz=0.0, fmax_hz=4_000.0
)
APART = AudioPreprocess(  # frames with unheard samples between them
    sample_rate_hz=8_000, frame_samples=40, frame_hop_samples=170, mel_bands=4, fmin_hz=0.0, fmax_hz=4_000.0
)

POWER = msgspec.structs.replace(
    DEFAULT,
    version="logmel/2",
    frame_samples=400,
    mel_bands=32,
    fmax_hz=3_800.0,
    mel_scale="slaney",
    spectrum="power",
    floor_db=-92.0,
)


def noise(samples: int, seed: int = 3) -> np.ndarray:
    return np.random.default_rng(seed).integers(-32_768, 32_768, samples, dtype=np.int16)


def pushed(spec: AudioPreprocess, samples: np.ndarray, cuts: list[int]) -> np.ndarray:
    frontend = LogMelFrontend(spec)
    return np.concatenate([frontend.push(part) for part in np.split(samples, cuts)])


@pytest.mark.parametrize("chunk", [1, 7, 160, 4096])
@pytest.mark.parametrize("spec", [DEFAULT, APART, POWER], ids=["overlapping", "apart", "power"])
def test_frames_do_not_depend_on_the_size_of_pushes(spec: AudioPreprocess, chunk: int) -> None:
    samples = noise(12_345)
    whole = log_mel(spec, samples)
    assert len(whole) == (12_345 - spec.frame_samples) // spec.frame_hop_samples + 1
    assert np.array_equal(pushed(spec, samples, list(range(chunk, len(samples), chunk))), whole)


@settings(max_examples=60, deadline=None)
@given(cuts=st.lists(st.integers(0, 3_000), max_size=12), apart=st.booleans())
def test_frames_do_not_depend_on_where_pushes_are_cut(cuts: list[int], apart: bool) -> None:
    spec, samples = APART if apart else SMALL, noise(3_000)
    assert np.array_equal(pushed(spec, samples, sorted(cuts)), log_mel(spec, samples))


def test_every_push_returns_the_frames_that_it_completes() -> None:
    frontend = LogMelFrontend(DEFAULT)
    assert frontend.push(noise(479)).shape == (0, 40)
    assert frontend.push(noise(1)).shape == (1, 40)
    assert frontend.push(noise(159)).shape == (0, 40)
    assert frontend.push(noise(0)).shape == (0, 40)
    assert frontend.push(noise(1_601)).shape == (11, 40)


@pytest.mark.parametrize("spec", [DEFAULT, APART], ids=["overlapping", "apart"])
def test_shifting_by_hops_shifts_frames(spec: AudioPreprocess) -> None:
    samples = noise(9_000)
    whole = log_mel(spec, samples)
    for frames in (1, 5, 40):
        assert np.array_equal(log_mel(spec, samples[frames * spec.frame_hop_samples :]), whole[frames:])


def test_a_frame_depends_on_its_own_samples_only() -> None:
    """No state but unfinished frames, no normalization over the clip."""
    samples = noise(8_000)
    whole = log_mel(DEFAULT, samples)
    for frame in (0, 17, len(whole) - 1):
        start = frame * DEFAULT.frame_hop_samples
        alone = log_mel(DEFAULT, samples[start : start + DEFAULT.frame_samples])
        assert np.array_equal(alone, whole[frame : frame + 1])


def test_every_sample_of_a_frame_counts() -> None:
    """Except the first, where a Hann window is zero."""
    quiet = np.zeros(480, dtype=np.int16)
    assert (log_mel(DEFAULT, quiet) == -128).all()
    for position in (1, 2, 240, 478, 479):
        click = quiet.copy()
        click[position] = 32_767
        assert (log_mel(DEFAULT, click) > -128).any(), position
    quiet[0] = 32_767
    assert (log_mel(DEFAULT, quiet) == -128).all()


def test_reset_forgets_unfinished_frames() -> None:
    for spec in (DEFAULT, APART):
        frontend, samples = LogMelFrontend(spec), noise(5_000)
        frontend.push(noise(777, seed=4))
        frontend.reset()
        assert np.array_equal(frontend.push(samples), log_mel(spec, samples))


def test_log_mel_takes_a_used_frontend_and_leaves_it_clean() -> None:
    frontend, samples = LogMelFrontend(DEFAULT), noise(5_000)
    frontend.push(noise(777, seed=4))
    first = log_mel(frontend, samples)
    assert np.array_equal(first, log_mel(DEFAULT, samples))
    assert np.array_equal(frontend.push(samples), first)


def test_returned_frames_stay_as_they_are() -> None:
    frontend = LogMelFrontend(DEFAULT)
    first = frontend.push(noise(1_600))
    kept = first.copy()
    frontend.push(noise(1_600, seed=9))
    assert np.array_equal(first, kept)


def test_input_is_read_only_and_may_be_strided() -> None:
    stereo = noise(6_000).reshape(-1, 2)
    stereo.setflags(write=False)
    left = np.ascontiguousarray(stereo[:, 0])
    assert np.array_equal(log_mel(DEFAULT, stereo[:, 0]), log_mel(DEFAULT, left))


@pytest.mark.parametrize(
    "samples",
    [np.zeros(480), np.zeros(480, np.uint8), np.zeros((480, 2), np.int16), np.zeros(480, ">i2")],
    ids=["float", "8 bits", "stereo", "other byte order"],
)
def test_other_samples_are_refused(samples: np.ndarray) -> None:
    with pytest.raises(InputError, match="expected int16") as caught:
        LogMelFrontend(DEFAULT).push(samples)
    assert caught.value.reason is Reason.SOURCE_MISMATCH


def test_louder_by_six_decibels_is_twelve_codes_more() -> None:
    t = np.arange(4_800)
    tone = np.rint(8_000 * np.sin(2 * np.pi * t / 16)).astype(np.int16)
    soft, loud = log_mel(DEFAULT, tone).astype(int), log_mel(DEFAULT, 2 * tone).astype(int)
    heard = soft > -100
    assert heard.sum() > 100
    assert np.abs((loud - soft)[heard] - 12.04).max() < 1.1


def test_a_full_scale_sine_has_the_zero_decibel_code_at_least() -> None:
    """Its band sums the bins beside the peak too, so it lies a little above 0 dB."""
    t = np.arange(480)
    sine = np.rint(32_767 * np.sin(2 * np.pi * t / 16)).astype(np.int16)  # 1 kHz: the centre of bin 32
    assert 108 <= log_mel(DEFAULT, sine).max() <= 108 + 12


def test_the_second_version_can_say_what_the_first_one_says() -> None:
    """Its arithmetic is that of the first; the fingerprint tells them apart."""
    same = msgspec.structs.replace(
        DEFAULT, version="logmel/2", mel_scale="htk", spectrum="magnitude", floor_db=-118.0
    )
    samples = noise(5_000) // 50
    assert np.array_equal(log_mel(same, samples), log_mel(DEFAULT, samples))
    assert fingerprint(same) != fingerprint(DEFAULT)


def test_a_power_louder_by_six_decibels_is_twelve_codes_more() -> None:
    t = np.arange(4_800)
    tone = np.rint(8_000 * np.sin(2 * np.pi * t / 16)).astype(np.int16)
    soft, loud = log_mel(POWER, tone).astype(int), log_mel(POWER, 2 * tone).astype(int)
    heard = soft > -76
    assert heard.sum() > 100
    assert np.abs((loud - soft)[heard] - 12.04).max() < 1.1
    assert 108 <= log_mel(POWER, np.rint(4 * 8191.75 * tone / 8_000).astype(np.int16)).max() <= 120


@pytest.mark.parametrize(("floor_db", "code"), [(-92.0, -76), (-118.0, -128), (0.0, 108), (-60.3, -13)])
def test_what_is_quieter_than_the_floor_has_its_level(floor_db: float, code: int) -> None:
    spec = msgspec.structs.replace(POWER, floor_db=floor_db)
    quiet = np.zeros(400, dtype=np.int16)
    assert set(log_mel(spec, quiet)[0].tolist()) == {code}
    assert log_mel(spec, noise(4_000)).min() >= code


def test_every_model_gets_the_same_input_scale() -> None:
    """Part of the format: models of this frontend version are quantized for it."""
    assert (FEATURE_SCALE, FEATURE_ZERO_POINT) == (1 / 64, 0)


LONG = noise(100_000, seed=11)
AT_ONCE = {DEFAULT.frame_hop_samples: 31 * 160 + 480, APART.frame_hop_samples: 255 * 170 + 40}
"""By hop: samples of as many frames as are computed at once."""


@pytest.fixture(scope="module")
def alone() -> dict[int, np.ndarray]:
    """By hop: every frame of LONG, computed from its own samples and nothing else."""
    found = {}
    for spec in (DEFAULT, APART):
        frontend, frame, hop = LogMelFrontend(spec), spec.frame_samples, spec.frame_hop_samples
        starts = range(0, len(LONG) - frame + 1, hop)
        found[hop] = np.concatenate([log_mel(frontend, LONG[start : start + frame]) for start in starts])
    return found


@pytest.mark.parametrize("spec", [DEFAULT, APART], ids=["overlapping", "apart"])
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_pushes_longer_than_what_is_computed_at_once_give_every_frame_in_its_time(
    alone: dict[int, np.ndarray], spec: AudioPreprocess, data: st.DataObject
) -> None:
    frontend, frame, hop = LogMelFrontend(spec), spec.frame_samples, spec.frame_hop_samples
    around = AT_ONCE[hop]
    size = st.one_of(st.integers(0, 2 * hop), st.integers(around - 2 * hop, around + 2 * hop))
    at = complete = 0
    for count in data.draw(st.lists(size, max_size=8)):
        part = LONG[at : at + count]
        at += len(part)
        before, complete = complete, max(0, (at - frame) // hop + 1)
        np.testing.assert_array_equal(frontend.push(part), alone[hop][before:complete])


@pytest.mark.parametrize(
    ("frame_samples", "values"),
    [(16, 256 * 16), (480, 32 * 512), (600, 16 * 1_024), (2_048, 8 * 2_048), (4_096, 8 * 4_096)],
)
def test_what_is_computed_at_once_fits_a_small_cache_but_is_at_least_eight_frames(
    frame_samples: int, values: int
) -> None:
    """At most 256 frames and 16384 values, unless eight frames are more."""
    spec = AudioPreprocess(frame_samples=frame_samples, frame_hop_samples=frame_samples, mel_bands=1)
    assert [len(scratch) for scratch in LogMelFrontend(spec)._scratch] == [values, values]
