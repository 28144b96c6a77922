"""Every change of pictures: hand-computed cases, and what holds for all of them."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import pytest

from galago_workstation.data.augmentation.augment_options import PICTURE_PRESETS, ImageAugment, with_preset
from galago_workstation.data.augmentation.picture_augmentation import PICTURE_ORDER, PictureAugmentation
from galago_workstation.data.augmentation.picture_damage import (
    as_jpeg,
    blurred,
    covered,
    motion_kernel,
    noisy,
    smeared,
)
from galago_workstation.data.augmentation.picture_geometry import geometry_matrix, warped
from galago_workstation.data.augmentation.picture_light import colour_matrix, recoloured, relit
from galago_workstation.data.augmentation.random_draws import SampleDraws
from galago_workstation.data.augmentation.sample_mixing import Mixing, drawn_mixing, mixed_pictures

Pixels = npt.NDArray[np.uint8]

STRONG = msgspec.convert(
    with_preset({"strength": "strong", "share": 1.0, "flip": True}, PICTURE_PRESETS), ImageAugment
)
SINGLE: dict[str, Any] = {
    "flip": True,
    "shift": 0.2,
    "scale": (0.7, 1.4),
    "stretch": 0.3,
    "rotation_degrees": 30.0,
    "perspective": 0.2,
    "exposure_stops": 1.0,
    "white_balance_stops": 1.0,
    "saturation": 0.8,
    "hue_degrees": 60.0,
    "contrast": 0.5,
    "brightness": 0.3,
    "cutout": 0.5,
    "blur": 2.0,
    "motion_blur": 8.0,
    "noise": 8.0,
    "jpeg_quality": 10,
}


class Draws:
    """A generator that gives what the test says, and zeros behind it."""

    def __init__(self, *draws: float) -> None:
        self._draws = [*draws, *([0.5] * 20)]

    def random(self, count: int | None = None) -> Any:
        if count is None:
            return self._draws.pop(0)
        taken, self._draws = self._draws[:count], self._draws[count:]
        return np.array(taken)

    def integers(self, low: int, high: int, count: int) -> npt.NDArray[np.int64]:
        return np.full(count, 77)


def scene(height: int = 20, width: int = 24, channels: int = 3) -> Pixels:
    """A smooth scene without symmetry, in which nothing is black or white."""
    rows, columns = np.mgrid[:height, :width]
    levels = [40 + 5 * rows + 2 * columns, 200 - 3 * rows, 60 + 4 * columns][:channels]
    return np.stack(levels, axis=2).astype(np.uint8)


def ramp(height: int, width: int) -> Pixels:
    """Level ``10 row + column`` in every channel."""
    levels = 10 * np.arange(height)[:, None] + np.arange(width)
    return np.repeat(levels[:, :, None], 3, axis=2).astype(np.uint8)


def changed(
    options: ImageAugment, picture: Pixels, *, seed: int = 1, epoch: int = 0, index: int = 0
) -> Pixels:
    draws = SampleDraws(seed, epoch, index)
    augmentation = PictureAugmentation(options, picture.shape[2])
    return augmentation.finished(augmentation.placed(picture, draws), draws)


def moved(picture: Pixels, *draws: float, **options: Any) -> list[list[int]]:
    rng: Any = Draws(*draws)
    found = warped(picture, geometry_matrix(rng, ImageAugment(**options), *picture.shape[:2]))
    assert found.shape == picture.shape and found.dtype == np.uint8
    levels: list[list[int]] = found[:, :, 0].tolist()
    return levels


# ---- what holds for all


def test_nothing_configured_changes_nothing() -> None:
    picture = scene()
    assert changed(ImageAugment(), picture) is picture


@pytest.mark.parametrize("key", SINGLE)
@pytest.mark.parametrize("channels", [1, 3])
def test_each_change_keeps_shape_and_type_changes_most_pictures_and_never_its_input(
    key: str, channels: int
) -> None:
    picture = scene(channels=channels)
    before = picture.copy()
    options = ImageAugment(**{key: SINGLE[key], "share": 1.0})
    found = [changed(options, picture, index=index) for index in range(12)]
    assert all(one.shape == picture.shape and one.dtype == np.uint8 for one in found)
    assert np.array_equal(picture, before)
    different = {one.tobytes() for one in found} - {picture.tobytes()}
    gray_only = channels == 1 and key in ("white_balance_stops", "saturation", "hue_degrees")
    assert len(different) == 0 if gray_only else len(different) >= (1 if key == "flip" else 8)


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (8, 8), (33, 17)])
@pytest.mark.parametrize("channels", [1, 3])
def test_every_size_can_be_changed_by_everything_at_once(size: tuple[int, int], channels: int) -> None:
    for index in range(5):
        found = changed(STRONG, scene(*size, channels), index=index)
        assert found.shape == (*size, channels) and found.dtype == np.uint8


def test_the_same_draws_give_the_same_bytes_whatever_came_before_and_in_any_thread() -> None:
    augmentation = PictureAugmentation(STRONG, 3)

    def one(index: int) -> bytes:
        draws = SampleDraws(3, 5, index)
        return augmentation.finished(augmentation.placed(scene(), draws), draws).tobytes()

    forwards = [one(index) for index in range(16)]
    backwards = [one(index) for index in reversed(range(16))][::-1]
    with ThreadPoolExecutor(4) as pool:
        threads = list(pool.map(one, range(16)))
    assert forwards == backwards == threads
    assert len(set(forwards)) == 16


def test_seed_epoch_and_index_each_change_the_changes() -> None:
    found = {
        changed(STRONG, scene(), seed=seed, epoch=epoch, index=index).tobytes()
        for seed, epoch, index in ((1, 2, 3), (1, 3, 2), (2, 1, 3), (3, 2, 1), (1, 2, 4))
    }
    assert len(found) == 5


@pytest.mark.parametrize(
    "key", ["noise", "jpeg_quality", "cutout", "flip", "rotation_degrees", "exposure_stops"]
)
def test_switching_one_change_off_leaves_the_draws_of_the_others(
    key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Experiments stay comparable: nothing else is drawn anew."""
    seen: dict[str, list[list[float]]] = {}
    original = SampleDraws.of

    def noted(self: SampleDraws, operation: str) -> np.random.Generator:
        seen.setdefault(operation, []).append(original(self, operation).random(3).tolist())
        return original(self, operation)

    monkeypatch.setattr(SampleDraws, "of", noted)
    changed(STRONG, scene())
    changed(msgspec.structs.replace(STRONG, **{key: getattr(ImageAugment(), key)}), scene())
    assert all(first == others for first, *rest in seen.values() for others in rest)
    assert {*seen} == {*PICTURE_ORDER} - {"mixing"}


def test_the_share_says_how_many_pictures_the_rare_changes_act_on() -> None:
    options = ImageAugment(cutout=0.5, share=0.25)
    touched = sum(not np.array_equal(changed(options, scene(), index=i), scene()) for i in range(400))
    assert 70 < touched < 130


# ---- geometry


@pytest.mark.parametrize(("draw", "flipped"), [(0.0, True), (0.499, True), (0.5, False), (0.99, False)])
def test_a_draw_below_one_half_mirrors_left_and_right(draw: float, flipped: bool) -> None:
    found = moved(ramp(2, 3), draw, flip=True)
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
def test_a_shift_is_a_share_of_height_and_width_in_whole_pixels(
    down: float, right: float, found: list[list[int]]
) -> None:
    assert moved(ramp(2, 4), *[0.5] * 12, right, down, shift=0.5) == found


def test_a_rotation_turns_about_the_middle() -> None:
    picture = ramp(5, 5)
    right = np.array(moved(picture, 0.5, 0.5, 0.5, 1.0, rotation_degrees=90.0))
    left = np.array(moved(picture, 0.5, 0.5, 0.5, 0.0, rotation_degrees=90.0))
    assert np.array_equal(right, np.rot90(picture[:, :, 0], -1))
    assert np.array_equal(left, np.rot90(picture[:, :, 0]))


def test_a_size_below_one_leaves_room_and_above_one_crops() -> None:
    picture = np.zeros((41, 41, 1), np.uint8)
    picture[14:27, 14:27] = 200  # 13 by 13
    smaller = np.array(moved(picture, 0.5, 0.0, scale=(0.5, 2.0)))
    larger = np.array(moved(picture, 0.5, 1.0, scale=(0.5, 2.0)))
    same = np.array(moved(picture, 0.5, 0.5, scale=(0.5, 2.0)))  # the middle of the factors is 1
    assert [int((one[20] > 100).sum()) for one in (smaller, same, larger)] == [7, 13, 25]
    assert [int((one[:, 20] > 100).sum()) for one in (smaller, same, larger)] == [7, 13, 25]
    assert np.array_equal(same, picture[:, :, 0])


def test_a_stretch_changes_width_against_height() -> None:
    matrix = geometry_matrix(Draws(0.5, 0.5, 1.0), ImageAugment(stretch=0.5), 11, 11)  # type: ignore[arg-type]
    assert matrix[0, 0] / matrix[1, 1] == pytest.approx(1.5)
    assert matrix[0, 0] * matrix[1, 1] == pytest.approx(1.0)
    assert (matrix @ [5.0, 5.0, 1.0]).tolist() == pytest.approx([5.0, 5.0, 1.0])


def test_perspective_moves_each_corner_by_its_own_draws() -> None:
    rng: Any = Draws(*[0.5] * 4, 1.0, 0.5, 0.5, 0.5, 0.5, 0.0, 0.5, 0.5)
    matrix = geometry_matrix(rng, ImageAugment(perspective=0.1), 11, 21)

    def corner(x: float, y: float) -> list[float]:
        at = matrix @ [x, y, 1.0]
        return [round(float(at[0] / at[2]), 3), round(float(at[1] / at[2]), 3)]

    assert corner(0, 0) == [2.1, 0.0]  # a tenth of 21 columns to the right
    assert corner(20, 0) == [20.0, 0.0]
    assert corner(20, 10) == [20.0, 8.9]  # a tenth of 11 rows up
    assert corner(0, 10) == [0.0, 10.0]


def test_what_is_uncovered_shows_the_background_and_the_rest_does_not() -> None:
    picture, background = np.full((12, 12, 3), 200, np.uint8), np.full((12, 12, 3), 30, np.uint8)
    matrix = geometry_matrix(Draws(0.5, 0.0), ImageAugment(scale=(0.5, 1.0)), 12, 12)  # type: ignore[arg-type]
    found = warped(picture, matrix, background)
    assert (found[:2] == 30).all() and (found[:, -2:] == 30).all()
    assert (found[4:8, 4:8] == 200).all()
    assert (background == 30).all()  # another sample may need it
    assert (warped(picture, matrix) == 200).all()


# ---- light


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
    rng: Any = Draws(0.5, 0.5, 0.5, gain, offset)
    picture = np.repeat(np.array([[0, 100, 200, 255]], np.uint8)[:, :, None], 3, axis=2)
    assert relit(picture, rng, ImageAugment(brightness=0.2))[0, :, 1].tolist() == found


def test_a_stop_doubles_the_light_which_is_the_code_to_the_power_of_2_2() -> None:
    picture = np.array([[0, 100, 186, 240]], np.uint8)[:, :, None]
    brighter: Any = Draws(1.0)
    darker: Any = Draws(0.0)
    # 100 x 2^(1/2.2) = 137.03; 186 x 1.37 = 254.9
    assert relit(picture, brighter, ImageAugment(exposure_stops=1.0))[0, :, 0].tolist() == [0, 137, 255, 255]
    assert relit(picture, darker, ImageAugment(exposure_stops=1.0))[0, :, 0].tolist() == [0, 73, 136, 175]


def test_white_balance_moves_red_against_blue() -> None:
    picture = np.full((1, 1, 3), 100, np.uint8)
    warm: Any = Draws(0.5, 1.0)
    cold: Any = Draws(0.5, 0.0)
    # half a stop each: 2^(0.5/2.2) = 1.1706
    assert relit(picture, warm, ImageAugment(white_balance_stops=1.0))[0, 0].tolist() == [117, 100, 85]
    assert relit(picture, cold, ImageAugment(white_balance_stops=1.0))[0, 0].tolist() == [85, 100, 117]


def test_contrast_moves_levels_away_from_middle_gray() -> None:
    picture = np.array([[28, 128, 228]], np.uint8)[:, :, None]
    rng: Any = Draws(0.5, 0.5, 0.0)
    assert relit(picture, rng, ImageAugment(contrast=0.5))[0, :, 0].tolist() == [78, 128, 178]


def test_colours_turn_and_fade_and_grays_stay() -> None:
    assert np.allclose(colour_matrix(1.0, 0.0), np.eye(3), atol=1e-9)
    for saturation, hue in ((0.0, 0.0), (1.7, 50.0), (1.0, 180.0)):
        assert colour_matrix(saturation, hue) @ [90.0, 90.0, 90.0] == pytest.approx([90.0] * 3, abs=0.1)
    assert colour_matrix(0.0, 0.0) @ [100.0, 0.0, 0.0] == pytest.approx([29.9] * 3, abs=0.1)  # its brightness
    there_and_back = colour_matrix(1.0, 70.0) @ colour_matrix(1.0, -70.0)
    assert np.allclose(there_and_back, np.eye(3), atol=1e-9)
    rng: Any = Draws(0.0, 0.5)
    gray = recoloured(np.array([[[200, 100, 50]]], np.uint8), rng, ImageAugment(saturation=1.0))
    assert gray[0, 0].tolist() == [124, 124, 124]  # 0.299 x 200 + 0.587 x 100 + 0.114 x 50 = 124.2


# ---- damage


def test_a_cover_has_one_colour_and_at_most_its_size() -> None:
    picture = scene(40, 60)
    rng: Any = Draws(1.0, 0.5, 0.5, 0.5)
    found = covered(picture, rng, 0.5)
    assert (found[10:30, 22:38] == 77).all()  # half of 40 rows, a quarter of 60 columns, in the middle
    found[10:30, 22:38] = picture[10:30, 22:38]
    assert np.array_equal(found, picture)
    for seed in range(50):
        rows, columns = np.nonzero(
            (covered(picture, np.random.default_rng(seed), 0.5) != picture).any(axis=2)
        )
        assert not len(rows) or (np.ptp(rows) < 20 and np.ptp(columns) < 30)


def test_blur_keeps_the_mean_and_takes_the_edges() -> None:
    checks = np.indices((32, 32)).sum(axis=0)[:, :, None].astype(np.uint8) % 2 * 200
    rng: Any = Draws(1.0)
    found = blurred(checks, rng, 2.0)
    assert found.mean() == pytest.approx(100, abs=2)
    assert found[8:24, 8:24].std() < 5 < checks.std()
    still: Any = Draws(0.05)
    assert blurred(checks, still, 2.0) is checks


@pytest.mark.parametrize(("length", "angle"), [(0.0, 1.0), (1.0, 0.0), (7.3, 0.7), (40.0, 3.0)])
def test_a_motion_spreads_a_point_and_loses_no_light(length: float, angle: float) -> None:
    kernel = motion_kernel(length, angle)
    assert kernel.sum() == pytest.approx(1.0, abs=1e-5)
    assert kernel.shape[0] == kernel.shape[1] and kernel.shape[0] % 2 == 1
    assert np.allclose(kernel, kernel[::-1, ::-1], atol=1e-6)  # to both sides alike


def test_a_motion_leaves_what_lies_along_it() -> None:
    stripes = np.tile((np.arange(24) % 4 < 2).astype(np.uint8)[:, None, None] * 200, (1, 24, 1))
    along: Any = Draws(1.0, 0.0)
    across: Any = Draws(1.0, 0.5)
    assert np.array_equal(smeared(stripes, along, 4.0), stripes)
    assert smeared(stripes, across, 4.0).std() < 0.3 * stripes.std()


def test_noise_is_normal_of_mean_zero_and_at_most_as_strong_as_configured() -> None:
    gray = np.full((64, 64, 3), 128, np.uint8)
    deviations = []
    for seed in range(30):
        difference = noisy(gray, np.random.default_rng(seed), 20.0).astype(int) - 128
        assert abs(difference.mean()) < 1.0
        deviations.append(difference.std())
    assert max(deviations) < 20.5
    assert np.ptp(deviations) > 12.0
    strongest: Any = np.random.default_rng(5)
    far = np.abs(noisy(gray, strongest, 20.0).astype(int) - 128)
    within = (far <= np.rint(far.std() * 1.66)).mean()  # |x| of a normal has deviation 0.6 of its own
    assert 0.6 < within < 0.75


def test_noise_saturates_and_does_not_wrap_around() -> None:
    for level in (0, 255):
        picture = np.full((32, 32, 1), level, np.uint8)
        found = noisy(picture, np.random.default_rng(1), 30.0).astype(int)
        assert np.abs(found - level).max() < 128


def test_jpeg_damages_more_at_lower_quality_and_keeps_colours() -> None:
    picture = scene()

    def error(draw: float) -> float:
        rng: Any = Draws(draw)
        return float(np.abs(as_jpeg(picture, rng, 10).astype(int) - picture).mean())

    assert error(0.0) > 2 * error(0.5) > error(1.0)
    assert error(1.0) < 3.0  # red is still red: channels were not exchanged


# ---- two in one


def test_mixup_adds_shares_and_cutmix_takes_a_rectangle() -> None:
    first, second = np.full((4, 6, 3), 200, np.uint8), np.full((4, 6, 3), 100, np.uint8)
    assert (mixed_pictures(first, second, Mixing(1, 0.75)) == 175).all()
    cut = mixed_pictures(first, second, Mixing(1, 0.75, (slice(0, 2), slice(0, 3))))
    assert cut[:, :, 0].tolist() == [[100] * 3 + [200] * 3] * 2 + [[200] * 6] * 2
    assert (first == 200).all()


@pytest.mark.parametrize("options", [ImageAugment(mixup=0.5), ImageAugment(cutmix=0.5)])
def test_a_share_of_the_samples_is_mixed_with_any_other_and_keeps_the_larger_part(
    options: ImageAugment,
) -> None:
    found = [drawn_mixing(np.random.default_rng(i), options, 3, 10, (16, 20, 3)) for i in range(600)]
    mixed = [one for one in found if one is not None]
    assert 240 < len(mixed) < 360
    assert {one.partner for one in mixed} == {*range(10)} - {3}
    assert all(0.5 <= one.share < 1.0 for one in mixed)
    for one in mixed:
        if one.box is not None:  # the label's share is that of the area
            assert 1.0 - one.share == pytest.approx(np.ones((16, 20))[one.box].sum() / 320)
    assert drawn_mixing(np.random.default_rng(1), options, 0, 1, (16, 20, 3)) is None


def test_the_order_is_that_of_a_camera() -> None:
    assert PICTURE_ORDER[:2] == ("geometry", "mixing")
    assert PICTURE_ORDER[2:] == ("light", "colour", "cutout", "blur", "motion_blur", "noise", "jpeg")
