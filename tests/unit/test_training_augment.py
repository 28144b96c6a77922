from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from galago_edge.contract.errors import CallerError, Reason
from galago_workstation.data.augment import augment_clip, augment_pictures, sample_rng
from galago_workstation.data.feed import Batches, Witness
from galago_workstation.training_config import AudioAugment, ImageAugment

RATE = 16_000
WINDOW = 8_000


def pictures(count: int = 16) -> npt.NDArray[np.uint8]:
    return np.random.default_rng(1).integers(60, 200, (count, 20, 24, 3), np.uint8)


def changed(
    options: ImageAugment, *, seed: int = 1, epoch: int = 0, count: int = 16
) -> npt.NDArray[np.uint8]:
    rngs = [sample_rng(seed, epoch, index) for index in range(count)]
    return augment_pictures(pictures(count), rngs, options)


ALL = ImageAugment(flip=True, shift=0.2, brightness=0.3, noise=8.0)


def test_nothing_configured_changes_no_picture() -> None:
    assert np.array_equal(changed(ImageAugment()), pictures())


def test_flip_mirrors_about_half_of_the_pictures() -> None:
    plain, flipped = pictures(200), changed(ImageAugment(flip=True), count=200)
    mirrored = [bool((after == before[:, ::-1]).all()) for before, after in zip(plain, flipped, strict=True)]
    same = [bool((after == before).all()) for before, after in zip(plain, flipped, strict=True)]
    assert all(a != b for a, b in zip(mirrored, same, strict=True))
    assert 70 < sum(mirrored) < 130


def test_shift_moves_by_whole_pixels_and_repeats_the_border() -> None:
    seen = set()
    for before, after in zip(pictures(60), changed(ImageAugment(shift=0.2), count=60), strict=True):
        found = [
            (down, right)
            for down in range(-4, 5)
            for right in range(-5, 6)
            if np.array_equal(
                after,
                before[np.clip(np.arange(20) - down, 0, 19)][:, np.clip(np.arange(24) - right, 0, 23)],
            )
        ]
        assert len(found) == 1
        seen.add(found[0])
    assert len(seen) > 30  # many different shifts, to all sides
    assert min(down for down, _ in seen) < 0 < max(down for down, _ in seen)


def test_brightness_keeps_the_order_of_pixel_values() -> None:
    after = changed(ImageAugment(brightness=0.3))
    means = after.reshape(len(after), -1).mean(axis=1) - pictures().reshape(len(after), -1).mean(axis=1)
    assert means.min() < -10.0
    assert means.max() > 10.0
    for before, now in zip(pictures(), after, strict=True):
        order = np.argsort(before.ravel(), kind="stable")
        assert (np.diff(now.ravel()[order].astype(int)) >= 0).all()


def test_noise_is_zero_on_average_and_at_most_as_strong_as_configured() -> None:
    difference = changed(ImageAugment(noise=8.0)).astype(int) - pictures()
    deviations = difference.reshape(16, -1).std(axis=1)
    assert abs(difference.mean()) < 0.2
    assert deviations.max() < 8.5
    assert np.ptp(deviations) > 3.0


@pytest.mark.parametrize("part", ["flip", "shift", "brightness", "noise"])
def test_one_change_is_the_same_with_and_without_the_others(part: str) -> None:
    """Switching one off must not reseed the rest: experiments stay comparable."""
    zero: Any = False if part == "flip" else 0.0
    others = {name: getattr(ALL, name) for name in ("flip", "shift", "brightness", "noise") if name != part}
    without = changed(ImageAugment(**others))
    assert np.array_equal(without, changed(ImageAugment(**others, **{part: zero})))
    assert not np.array_equal(without, changed(ALL))


def test_a_picture_is_changed_in_the_same_way_in_any_batch() -> None:
    together = changed(ALL)
    alone = [augment_pictures(pictures()[[index]], [sample_rng(1, 0, index)], ALL)[0] for index in range(16)]
    assert np.array_equal(together, np.stack(alone))


def test_seed_and_epoch_change_the_changes() -> None:
    first = changed(ALL)
    assert np.array_equal(first, changed(ALL))
    assert not np.array_equal(first, changed(ALL, epoch=1))
    assert not np.array_equal(first, changed(ALL, seed=2))


def tone(seconds: float = 0.5, level: float = 8_000.0) -> npt.NDArray[np.int16]:
    time = np.arange(int(RATE * seconds)) / RATE
    return np.rint(level * np.sin(2 * np.pi * 440 * time)).astype(np.int16)


def clip(options: AudioAugment, samples: npt.NDArray[np.int16], index: int = 0) -> npt.NDArray[np.int16]:
    return augment_clip(samples, sample_rng(1, 0, index), options, rate_hz=RATE, window_samples=WINDOW)


def test_a_long_clip_gives_parts_from_anywhere_in_it() -> None:
    ramp = np.arange(30_000, dtype=np.int16)
    starts = []
    for index in range(300):
        window = clip(AudioAugment(), ramp, index)
        assert np.array_equal(window, np.arange(window[0], window[0] + WINDOW))
        starts.append(int(window[0]))
    assert min(starts) < 1_000
    assert max(starts) > 21_000
    assert max(starts) <= 30_000 - WINDOW


def test_a_short_clip_lies_anywhere_amid_silence() -> None:
    short = np.full(800, 7, np.int16)
    starts = []
    for index in range(300):
        window = clip(AudioAugment(), short, index)
        starts.append(int(np.argmax(window == 7)))
        assert np.array_equal(window, np.pad(short, (starts[-1], WINDOW - 800 - starts[-1])))
    assert min(starts) < 500
    assert max(starts) > WINDOW - 800 - 500


def test_shift_moves_to_both_sides_within_its_limit() -> None:
    click = np.zeros(WINDOW, np.int16)
    click[WINDOW // 2] = 1_000
    moved = [
        int(clip(AudioAugment(shift_ms=100), click, index).argmax()) - WINDOW // 2 for index in range(200)
    ]
    assert min(moved) == pytest.approx(-1_600, abs=100)
    assert max(moved) == pytest.approx(1_600, abs=100)
    assert max(map(abs, moved)) <= 1_600


def test_gain_stays_within_its_limit_and_saturates() -> None:
    ratios = [np.abs(clip(AudioAugment(gain_db=12.0), tone(), index)).max() / 8_000.0 for index in range(200)]
    decibels = 20 * np.log10(ratios)
    assert decibels.min() == pytest.approx(-12.0, abs=0.5)
    assert decibels.max() == pytest.approx(12.0, abs=0.5)
    loud = [clip(AudioAugment(gain_db=60.0), tone(), index) for index in range(20)]
    assert max(int(one.max()) for one in loud) == 32_767
    assert all((one.astype(int) * tone() >= 0).all() for one in loud)  # nothing wraps around


@pytest.mark.parametrize("snr_db", [0.0, 20.0])
def test_noise_has_the_configured_ratio_to_the_signal(snr_db: float) -> None:
    options = AudioAugment(noise_snr_db=(snr_db, snr_db), noise_share=1.0)
    signal = tone(level=4_000.0).astype(float)
    for index in range(10):
        noise = clip(options, tone(level=4_000.0), index) - signal
        measured = 10 * np.log10(np.mean(signal**2) / np.mean(noise**2))
        assert measured == pytest.approx(snr_db, abs=0.3)


def test_noise_is_new_for_every_clip_and_hits_its_share() -> None:
    options = AudioAugment(noise_snr_db=(10.0, 20.0), noise_share=0.5)
    noisy = [clip(options, tone(), index) for index in range(200)]
    touched = [one.tobytes() for one in noisy if not np.array_equal(one, tone())]
    assert 70 < len(touched) < 130
    assert len(set(touched)) == len(touched)


def test_noise_is_of_all_colours_from_white_to_pink() -> None:
    options = AudioAugment(noise_snr_db=(0.0, 0.0), noise_share=1.0)
    ratios = []
    for index in range(100):
        power = np.abs(np.fft.rfft(clip(options, tone(), index) - tone().astype(float))) ** 2
        ratios.append(power[50:200].mean() / power[2_000:].mean())  # 100 to 400 Hz against 4 to 8 kHz
    assert 0.6 < min(ratios) < 1.6
    assert 12.0 < max(ratios) < 50.0  # pink: 1/f, about 26


def test_silence_gets_faint_noise_not_none() -> None:
    quiet = clip(AudioAugment(noise_snr_db=(0.0, 0.0), noise_share=1.0), np.zeros(WINDOW, np.int16))
    assert 0 < np.abs(quiet).max() < 100


class NumberFeed:
    """A feed of one-byte inputs whose augmentation is a given function of epoch and index."""

    def __init__(self, count: int, change: Any) -> None:
        self._count = count
        self._change = change

    def __len__(self) -> int:
        return self._count

    def plain(self, indices: npt.NDArray[np.int64]) -> npt.NDArray[np.uint8]:
        return np.full((len(indices), 4), 100, np.uint8)

    def augmented(self, epoch: int, indices: npt.NDArray[np.int64]) -> npt.NDArray[np.uint8]:
        return np.stack([np.full(4, 100 + self._change(epoch, int(index)), np.uint8) for index in indices])


def run_epochs(change: Any, epochs: int = 8) -> tuple[Witness, list[Any]]:
    feed = NumberFeed(100, change)
    witness = Witness(feed)
    batches = Batches(feed, [0] * 100, batch_size=10, seed=1, witness=witness)
    assert len(list(batches.of(range(epochs)))) == epochs * batches.steps
    return witness, [witness.close(epoch) for epoch in range(epochs)]


def test_the_witness_is_content_with_an_augmentation_that_works() -> None:
    witness, changes = run_epochs(lambda epoch, index: 1 + (epoch * 31 + index) % 7)
    witness.check()
    assert all(0.0 < change.size <= 7.0 for change in changes)
    assert [change.fresh for change in changes] == [1.0] * 8


@pytest.mark.parametrize(
    ("change", "said"),
    [(lambda epoch, index: 0, "as it is"), (lambda epoch, index: index % 5 + 1, "same in every epoch")],
    ids=["no change", "numbers that repeat"],
)
def test_the_witness_notices_a_dead_augmentation(change: Any, said: str) -> None:
    witness, changes = run_epochs(change)
    with pytest.raises(CallerError, match=said) as caught:
        witness.check()
    assert caught.value.reason == Reason.CONFIG_BAD
    assert changes[-1].fresh == 0.0


def test_every_epoch_sees_every_sample_once_in_a_new_order() -> None:
    seen: list[list[int]] = [[], []]

    def note(epoch: int, index: int) -> int:
        seen[epoch].append(index)
        return 0

    run_epochs(note, epochs=2)
    assert sorted(seen[0]) == sorted(seen[1]) == list(range(100))
    assert seen[0] != seen[1]


def test_a_set_smaller_than_a_batch_is_one_batch() -> None:
    feed = NumberFeed(3, lambda epoch, index: 0)
    batches = Batches(feed, [0, 1, 0], batch_size=64, seed=1, witness=Witness(feed))
    assert batches.steps == 1
    assert [len(inputs) for inputs, _ in batches.of(range(2))] == [3, 3]


def test_an_epoch_goes_through_a_small_set_until_there_are_enough_steps() -> None:
    seen: list[tuple[int, int]] = []

    def note(epoch: int, index: int) -> int:
        seen.append((epoch, index))
        return 1 + epoch

    feed = NumberFeed(10, note)
    witness = Witness(feed)
    batches = Batches(feed, list(range(10)), batch_size=5, least_steps=7, seed=1, witness=witness)

    rows = list(batches.of(range(1, 3)))

    assert (batches.rounds, batches.steps, len(rows)) == (4, 8, 16)
    # every time is changed in its own way, and the second epoch goes on where the first one ended
    assert sorted(seen) == [(turn, index) for turn in range(4, 12) for index in range(10)]
    orders = [
        tuple(np.concatenate([labels for _, labels in rows[start : start + 2]])) for start in range(0, 16, 2)
    ]
    assert all(sorted(order) == list(range(10)) for order in orders)
    assert len(set(orders)) == 8
    assert [witness.close(epoch).size for epoch in (1, 2)] == [8.0, 12.0]
