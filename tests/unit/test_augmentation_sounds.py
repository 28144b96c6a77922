"""Every change of sounds: hand-computed cases, and what holds for all of them."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import pytest

from galago_workstation.data.augmentation.augment_options import SOUND_PRESETS, AudioAugment, with_preset
from galago_workstation.data.augmentation.feature_masks import masked
from galago_workstation.data.augmentation.noise_recordings import SoundClips
from galago_workstation.data.augmentation.random_draws import SampleDraws
from galago_workstation.data.augmentation.sample_mixing import Mixing, mixed_sounds
from galago_workstation.data.augmentation.sound_augmentation import SOUND_ORDER, SoundAugmentation
from galago_workstation.data.augmentation.sound_channel import clipped, mu_law, telephone, through_rate
from galago_workstation.data.augmentation.sound_noise import at_ratio, synthetic_noise, with_soft_ends
from galago_workstation.data.augmentation.sound_room import in_room, room_response
from galago_workstation.data.augmentation.sound_tempo import drawn_rates, resampled, stretched
from galago_workstation.data.clip_window import middle_window, window_at

RATE = 16_000
WINDOW = 8_000
STRONG = msgspec.convert(with_preset({"strength": "strong", "share": 1.0}, SOUND_PRESETS), AudioAugment)

Samples = npt.NDArray[np.int16]
Sound = npt.NDArray[np.float32]


def tone(hz: float = 440.0, seconds: float = 0.5, level: float = 8_000.0) -> Samples:
    time = np.arange(int(RATE * seconds)) / RATE
    return np.rint(level * np.sin(2 * np.pi * hz * time)).astype(np.int16)


def window(
    options: AudioAugment, clip: Samples, index: int = 0, *, epoch: int = 0, **sources: Any
) -> Samples:
    augmentation = SoundAugmentation(options, RATE, WINDOW, **sources)
    draws = SampleDraws(1, epoch, index)
    found = augmentation.finished(augmentation.placed(clip, draws), draws)
    assert found.shape == (WINDOW,) and found.dtype == np.int16
    return found


def rms(sound: npt.NDArray[Any]) -> float:
    return float(np.sqrt(np.mean(np.square(sound, dtype=np.float64))))


def loudest_hz(sound: npt.NDArray[Any]) -> float:
    """Return the frequency of the highest peak, to a fraction of a bin."""
    spectrum = np.abs(np.fft.rfft(sound * np.hanning(len(sound)), 4 * len(sound)))
    return float(spectrum.argmax()) * RATE / (4 * len(sound))


# ---- what holds for all


@pytest.mark.parametrize("length", [1, 50, 3_000, WINDOW, 20_000])
def test_every_length_can_be_changed_by_everything_at_once(length: int) -> None:
    clip = tone(seconds=2.0)[:length]
    before = clip.copy()
    found = {window(STRONG, clip, index).tobytes() for index in range(6)}
    assert len(found) == 6
    assert np.array_equal(clip, before)


def test_an_empty_clip_is_silence_or_noise_and_no_error() -> None:
    assert not window(AudioAugment(), np.empty(0, np.int16)).any()
    window(STRONG, np.empty(0, np.int16))


def test_the_same_draws_give_the_same_samples_whatever_came_before_and_in_any_thread() -> None:
    augmentation = SoundAugmentation(STRONG, RATE, WINDOW, around=[SoundClips([tone(90.0)])])

    def one(index: int) -> bytes:
        draws = SampleDraws(3, 5, index)
        return augmentation.finished(augmentation.placed(tone(seconds=0.3), draws), draws).tobytes()

    forwards = [one(index) for index in range(10)]
    backwards = [one(index) for index in reversed(range(10))][::-1]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(one, range(10))) == forwards == backwards
    assert len(set(forwards)) == 10


def test_an_epoch_changes_the_changes() -> None:
    assert not np.array_equal(window(STRONG, tone()), window(STRONG, tone(), epoch=1))


@pytest.mark.parametrize("key", ["gain_db", "noise_snr_db", "room_s", "codecs", "clipping_db", "speed"])
def test_switching_one_change_off_leaves_the_draws_of_the_others(
    key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: dict[str, list[list[float]]] = {}
    original = SampleDraws.of

    def noted(self: SampleDraws, operation: str) -> np.random.Generator:
        seen.setdefault(operation, []).append(original(self, operation).random(3).tolist())
        return original(self, operation)

    monkeypatch.setattr(SampleDraws, "of", noted)
    short = tone(seconds=0.2)
    window(STRONG, short)
    window(msgspec.structs.replace(STRONG, **{key: getattr(AudioAugment(), key)}), short)
    assert all(first == others for first, *rest in seen.values() for others in rest)
    assert {*seen} == {*SOUND_ORDER} - {"mixing", "masks"}


# ---- where a clip lies


def test_a_long_clip_gives_parts_from_anywhere_in_it_alike() -> None:
    ramp = np.arange(30_000, dtype=np.int16)
    starts = []
    for index in range(300):
        found = window(AudioAugment(), ramp, index)
        assert np.array_equal(found, np.arange(found[0], found[0] + WINDOW))
        starts.append(int(found[0]))
    assert min(starts) < 1_000
    assert 21_000 < max(starts) <= 30_000 - WINDOW
    assert np.mean(starts) == pytest.approx(11_000, abs=1_200)


def test_a_short_clip_lies_anywhere_amid_silence() -> None:
    short = np.full(800, 7, np.int16)
    starts = []
    for index in range(300):
        found = window(AudioAugment(), short, index)
        starts.append(int(np.argmax(found == 7)))
        assert np.array_equal(found, np.pad(short, (starts[-1], WINDOW - 800 - starts[-1])))
    assert min(starts) < 500
    assert max(starts) > WINDOW - 800 - 500


@pytest.mark.parametrize("length", [WINDOW, 9_000])
def test_shift_moves_to_both_sides_within_its_limit(length: int) -> None:
    click = np.zeros(length, np.int16)
    click[length // 2] = 1_000
    moved, still = (
        np.array([int(window(options, click, index).argmax()) for index in range(200)])
        for options in (AudioAugment(shift_ms=100), AudioAugment())
    )
    shifts = moved - still
    assert shifts.min() == pytest.approx(-1_600, abs=100)
    assert shifts.max() == pytest.approx(1_600, abs=100)
    assert np.abs(shifts).max() <= 1_600


def test_a_short_clip_in_context_has_sound_around_and_under_it_at_the_stated_ratio() -> None:
    clip, hum = tone(1_000.0, 0.1), tone(100.0, 3.0, 3_000.0)
    options = AudioAugment(context=1.0, context_snr_db=(20.0, 20.0))
    for index in range(10):
        found = window(options, clip, index, around=[SoundClips([hum])])
        place = int(np.argmax(np.convolve(np.abs(found.astype(float)), np.ones(len(clip)), "valid")))
        around = np.concatenate([found[: max(0, place - 50)], found[place + len(clip) + 50 :]])
        assert loudest_hz(around[:4_000]) == pytest.approx(100.0, abs=3.0)
        assert rms(around) == pytest.approx(rms(clip) / 10.0, rel=0.15)


def test_without_background_the_context_is_noise_and_the_share_says_of_how_many() -> None:
    options = AudioAugment(context=0.5)
    touched = [bool((window(options, tone(seconds=0.1), i) != 0).mean() > 0.5) for i in range(200)]
    assert 70 < sum(touched) < 130
    assert np.array_equal(window(AudioAugment(context=1.0), tone()), tone())  # as long as the window


def test_a_piece_of_other_clips_comes_from_anywhere_and_short_ones_are_repeated() -> None:
    clips = SoundClips([np.arange(1_000, dtype=np.int16), np.full(30, 9, np.int16)])
    pieces = [clips.piece(np.random.default_rng(i), 100) for i in range(50)]
    assert all(piece.shape == (100,) and piece.dtype == np.float32 for piece in pieces)
    assert any((piece == 9).all() for piece in pieces)
    ramps = [piece for piece in pieces if not (piece == 9).all()]
    assert all((np.diff(piece) == 1).all() for piece in ramps)
    assert len({float(piece[0]) for piece in ramps}) > 10
    assert not SoundClips([])


# ---- speed, tempo, pitch


@pytest.mark.parametrize("factor", [0.8, 1.25])
def test_speed_changes_length_and_pitch_alike(factor: float) -> None:
    found = resampled(tone().astype(np.float32), factor)
    assert len(found) == pytest.approx(WINDOW / factor, abs=2)
    assert loudest_hz(found) == pytest.approx(440.0 * factor, rel=0.01)


@pytest.mark.parametrize("factor", [0.7, 0.9, 1.1, 1.6])
def test_tempo_changes_the_length_and_not_the_pitch_nor_the_level(factor: float) -> None:
    found = stretched(tone().astype(np.float32), factor, RATE)
    assert len(found) == round(WINDOW * factor)
    assert loudest_hz(found) == pytest.approx(440.0, rel=0.01)
    middle = found[1_000:-1_000]
    assert rms(middle) == pytest.approx(rms(tone()), rel=0.03)
    assert np.abs(middle).max() < 8_000 * 1.05  # pieces meet in phase


def test_a_stretched_sound_has_its_parts_in_order_and_in_proportion() -> None:
    two = np.concatenate([tone(400.0), tone(900.0)]).astype(np.float32)
    found = stretched(two, 1.3, RATE)
    half = len(found) // 2
    assert loudest_hz(found[: half - 800]) == pytest.approx(400.0, rel=0.02)
    assert loudest_hz(found[half + 800 :]) == pytest.approx(900.0, rel=0.02)


def test_what_does_not_change_is_the_same_array() -> None:
    sound = tone().astype(np.float32)
    assert resampled(sound, 1.0) is sound
    assert stretched(sound, 1.0, RATE) is sound
    assert stretched(sound[:100], 1.5, RATE).shape == (100,)  # too short to be put together


def test_pitch_alone_keeps_the_length_and_tempo_alone_the_pitch() -> None:
    class High:
        def random(self, count: int) -> npt.NDArray[np.float64]:
            return np.ones(count)

    rng: Any = High()
    resampling, stretching = drawn_rates(rng, 0.0, AudioAugment(pitch_semitones=12.0))
    assert (resampling, stretching) == pytest.approx((2.0, 2.0))
    resampling, stretching = drawn_rates(rng, 0.0, AudioAugment(tempo=0.25))
    assert (resampling, stretching) == pytest.approx((1.0, 0.8))
    resampling, stretching = drawn_rates(rng, 0.9, AudioAugment(tempo=0.25, speed=0.1))  # share is 0.5
    assert (resampling, stretching) == pytest.approx((1.1, 1.0))


def test_a_faster_long_clip_still_fills_its_window() -> None:
    options = AudioAugment(speed=0.3, tempo=0.3, pitch_semitones=3.0, share=1.0)
    for index in range(10):
        found = window(options, tone(seconds=2.0), index)
        assert rms(found[-400:]) == pytest.approx(rms(found), rel=0.2)


# ---- rooms


def test_a_room_begins_with_the_sound_itself_and_decays_by_60_db_in_its_time() -> None:
    times = []
    for seed in range(12):
        response = room_response(np.random.default_rng(seed), 1.0, RATE)
        seconds = len(response) / RATE
        assert 0.1 <= seconds <= 1.0
        assert response[0] == 1.0
        energy = np.cumsum(response[::-1].astype(float) ** 2)[::-1]
        decibels = 10.0 * np.log10(energy / energy[0] + 1e-12)
        fall = (int(np.argmax(decibels < -25)) - int(np.argmax(decibels < -5))) / RATE
        if seconds > 0.3:  # Schroeder's integral needs a tail
            assert 3.0 * fall == pytest.approx(seconds, rel=0.35)
        times.append(seconds)
    assert np.ptp(times) > 0.3


def test_a_sound_in_a_room_is_as_loud_and_rings_on() -> None:
    sound = np.zeros(1_000, np.float32)
    sound[0] = 1_000.0
    response = np.array([1.0, 0.0, 0.5], np.float32)
    found = in_room(sound, response)
    assert len(found) == 1_002
    assert rms(found) * np.sqrt(1_002) == pytest.approx(rms(sound) * np.sqrt(1_000), rel=1e-4)
    assert found[2] / found[0] == pytest.approx(0.5, abs=1e-4)
    assert not in_room(np.zeros(5, np.float32), response).any()


def test_the_room_is_heard_behind_a_short_clip() -> None:
    clip = tone(seconds=0.05)
    quiet = [int((window(AudioAugment(), clip, index) != 0).sum()) for index in range(20)]
    ringing = [
        int((window(AudioAugment(room_s=0.5, share=1.0), clip, index) != 0).sum()) for index in range(20)
    ]
    assert np.mean(ringing) > 2 * np.mean(quiet)


# ---- noise and level


@pytest.mark.parametrize("snr_db", [0.0, 20.0])
@pytest.mark.parametrize("seconds", [0.1, 0.5])
def test_noise_has_the_configured_ratio_to_the_sound_itself_not_to_the_silence_around_it(
    snr_db: float, seconds: float
) -> None:
    clip = tone(seconds=seconds, level=4_000.0)
    options = AudioAugment(noise_snr_db=(snr_db, snr_db), noise_share=1.0)
    for index in range(5):
        noise = window(options, clip, index) - window(AudioAugment(), clip, index).astype(float)
        assert 20 * np.log10(rms(clip) / rms(noise)) == pytest.approx(snr_db, abs=0.3)


def test_noise_is_new_for_every_clip_and_hits_its_share() -> None:
    options = AudioAugment(noise_snr_db=(10.0, 20.0), noise_share=0.5)
    noisy = [window(options, tone(), index) for index in range(200)]
    touched = [one.tobytes() for one in noisy if not np.array_equal(one, tone())]
    assert 70 < len(touched) < 130
    assert len(set(touched)) == len(touched)


def test_synthetic_noise_is_of_all_colours_from_white_to_pink_without_a_constant_part() -> None:
    ratios = []
    for seed in range(60):
        noise = synthetic_noise(np.random.default_rng(seed), WINDOW)
        assert rms(noise) == pytest.approx(1_000.0, rel=1e-3)
        assert abs(noise.mean()) < 1.0
        power = np.abs(np.fft.rfft(noise)) ** 2
        ratios.append(power[50:200].mean() / power[2_000:].mean())  # 100 to 400 Hz against 4 to 8 kHz
    assert 0.6 < min(ratios) < 1.6
    assert 12.0 < max(ratios) < 50.0  # pink: 1/f, about 26


def test_silence_gets_faint_noise_and_silent_noise_stays_silent() -> None:
    quiet = window(AudioAugment(noise_snr_db=(0.0, 0.0), noise_share=1.0), np.zeros(WINDOW, np.int16))
    assert 0 < np.abs(quiet).max() < 100
    assert not at_ratio(np.full(10, 0.5, np.float32), 1_000.0, 0.0).any()


def test_gain_stays_within_its_limit_and_saturates() -> None:
    found = [window(AudioAugment(gain_db=12.0), tone(), index) for index in range(200)]
    decibels = 20 * np.log10([np.abs(one).max() / 8_000.0 for one in found])
    assert decibels.min() == pytest.approx(-12.0, abs=0.5)
    assert decibels.max() == pytest.approx(12.0, abs=0.5)
    loud = [window(AudioAugment(gain_db=60.0), tone(), index) for index in range(20)]
    assert max(int(one.max()) for one in loud) == 32_767
    assert all((one.astype(int) * tone() >= 0).all() for one in loud)  # nothing wraps around


def test_soft_ends_fade_and_leave_the_middle() -> None:
    found = with_soft_ends(np.full(10, 8.0, np.float32), 4)
    assert found.tolist() == [1.0, 3.0, 5.0, 7.0, 8.0, 8.0, 7.0, 5.0, 3.0, 1.0]
    assert with_soft_ends(np.ones(1, np.float32), 4).tolist() == [1.0]


# ---- the line


def test_clipping_cuts_peaks_at_most_by_its_limit() -> None:
    sound = tone().astype(np.float32)
    peaks = [float(np.abs(clipped(sound, np.random.default_rng(i), 12.0)).max()) for i in range(100)]
    decibels = 20 * np.log10(np.array(peaks) / np.abs(sound).max())
    assert decibels.max() <= 0.0
    assert decibels.min() == pytest.approx(-12.0, abs=0.5)
    found = clipped(sound, np.random.default_rng(1), 12.0)
    small = np.abs(sound) < np.abs(found).max()
    assert np.array_equal(found[small], sound[small])


def test_a_telephone_lets_its_band_through_and_nothing_else() -> None:
    for hz, share in ((60.0, 0.05), (1_000.0, 1.0), (6_000.0, 0.01)):
        sound = tone(hz).astype(np.float32)
        found = telephone(sound, RATE)
        assert found.shape == sound.shape
        middle = slice(1_000, -1_000)
        assert rms(found[middle]) / rms(sound[middle]) == pytest.approx(share, abs=0.06)
        if share == 1.0:  # in its place: nothing is delayed
            assert np.corrcoef(found[middle], sound[middle])[0, 1] > 0.99
    assert telephone(tone(1_000.0).astype(np.float32), 8_000).shape == (WINDOW,)


def test_mu_law_has_256_steps_finer_where_it_is_quiet() -> None:
    levels = np.arange(-32_768, 32_768, dtype=np.float32)
    steps = np.unique(mu_law(levels))
    assert len(steps) == 255
    assert np.diff(steps).min() < 8 < 1_000 < np.diff(steps).max()
    assert (np.abs(mu_law(levels) - levels) <= 3.0 + 0.025 * np.abs(levels)).all()


def test_a_low_rate_takes_what_it_cannot_carry() -> None:
    for hz, kept in ((500.0, True), (3_500.0, False)):
        sound = tone(hz).astype(np.float32)
        found = through_rate(sound, RATE, 5_000)
        assert found.shape == sound.shape
        assert (rms(found) / rms(sound) > 0.9) == kept


# ---- two in one, and features


def test_mixed_sounds_are_heard_in_their_shares_and_as_loud_as_the_first() -> None:
    first, second = tone(440.0).astype(np.float32), tone(1_000.0, level=80.0).astype(np.float32)
    found = mixed_sounds(first, second, 0.6)
    spectrum = np.abs(np.fft.rfft(found))
    assert spectrum[500] / spectrum[220] == pytest.approx(0.4 / 0.6, rel=0.02)  # bins of 2 Hz
    assert rms(found) == pytest.approx(rms(first), rel=0.02)
    silent = mixed_sounds(first, np.zeros_like(second), 0.5)
    assert np.isfinite(silent).all()


def test_mixed_clips_count_from_the_first_to_the_last_that_is_heard() -> None:
    augmentation = SoundAugmentation(AudioAugment(mixup=1.0), RATE, WINDOW)
    one, two = (augmentation.placed(tone(seconds=0.1), SampleDraws(1, 0, i)) for i in (0, 1))
    both = augmentation.mixed(one, two, Mixing(1, 0.5))
    assert (both.begin, both.end) == (min(one.begin, two.begin), max(one.end, two.end))
    assert augmentation.mixing(SampleDraws(1, 0, 0), 5) is not None
    assert SoundAugmentation(AudioAugment(), RATE, WINDOW).mixing(SampleDraws(1, 0, 0), 5) is None


def test_masks_blank_one_time_and_one_group_of_bands_to_the_mean() -> None:
    codes = np.random.default_rng(1).integers(-100, 100, (40, 20)).astype(np.int8)
    mean = round(float(codes.mean()))
    widths = []
    for seed in range(60):
        found = masked(codes, np.random.default_rng(seed), 0.25, 0.5)
        assert found.dtype == np.int8
        frames = np.nonzero((found == mean).all(axis=1))[0]
        bands = np.nonzero((found == mean).all(axis=0))[0]
        for blanked in (frames, bands):
            assert not len(blanked) or np.array_equal(blanked, np.arange(blanked[0], blanked[-1] + 1))
        rest = np.ones(codes.shape, bool)
        rest[frames], rest[:, bands] = False, False
        assert np.array_equal(found[rest], codes[rest])
        widths.append((len(frames), len(bands)))
    assert max(frames for frames, _ in widths) == 10
    assert max(bands for _, bands in widths) == 10
    assert len(set(widths)) > 20


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
