"""The sensors of both gates: exact integers, that follow pixels, samples and stream time alone."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from galago_edge.contract.errors import InputError, Reason
from galago_edge.contract.manifest import LevelGate, MotionGate
from galago_edge.decision import LevelSensor, MotionSensor, sensor_of
from galago_edge.decision.activity_gate import SILENCE_DBFS, dbfs, sum_of_squares, threshold_of

MS = 1_000_000
S = 1_000 * MS
CELLS = 32 * 24


def picture(level: int = 100, height: int = 480, width: int = 640) -> npt.NDArray[np.uint8]:
    return np.full((height, width, 3), level, np.uint8)


def with_box(level: int, rows: slice, columns: slice, base: int = 100) -> npt.NDArray[np.uint8]:
    pixels = picture(base)
    pixels[rows, columns] = level
    return pixels


def settled(gate: MotionGate, pixels: npt.NDArray[np.uint8]) -> MotionSensor:
    """A sensor that has seen ``pixels`` long enough for the gate to be closed at 60 s."""
    sensor = MotionSensor(gate)
    for second in range(61):
        sensor.look(pixels, second * S)
    assert not sensor.open_at(60 * S)
    return sensor


# ---- motion


def test_the_first_frame_opens_the_gate_for_the_hold_time() -> None:
    sensor = MotionSensor(MotionGate(hold_ms=500))
    assert not sensor.open_at(0)
    sensor.look(picture(), 10 * S)
    assert (sensor.changed, sensor.level, sensor.threshold) == (CELLS, CELLS, 4.0)
    assert sensor.open_at(10 * S) and sensor.open_at(10 * S + 500 * MS)
    assert not sensor.open_at(10 * S + 501 * MS)


def test_what_stands_still_leaves_the_gate_closed() -> None:
    sensor = settled(MotionGate(hold_ms=1_000), picture())
    assert sensor.changed == 0


@pytest.mark.parametrize(("difference", "changed"), [(11, 0), (12, 16), (-11, 0), (-12, 16)])
def test_a_cell_has_changed_from_the_declared_step_on(difference: int, changed: int) -> None:
    """Four by four cells of 20 pixels, moved by exactly so many gray levels."""
    sensor = settled(MotionGate(step=12, cells=16, hold_ms=0), picture())
    sensor.look(with_box(100 + difference, slice(40, 120), slice(60, 140)), 61 * S)
    assert sensor.changed == changed
    assert sensor.open_at(61 * S) == bool(changed)


def test_the_gate_opens_from_the_declared_number_of_cells_on() -> None:
    box = with_box(200, slice(0, 20), slice(0, 60))  # three cells
    for cells in (3, 4):
        sensor = settled(MotionGate(cells=cells, hold_ms=0), picture())
        sensor.look(box, 61 * S)
        assert sensor.changed == 3
        assert sensor.open_at(61 * S) == (cells == 3)


def test_motion_that_goes_on_keeps_the_gate_open_and_its_end_closes_it_after_the_hold_time() -> None:
    sensor = settled(MotionGate(hold_ms=2_000), picture())
    for number in range(10):  # a box that walks
        ns = 61 * S + number * 100 * MS
        sensor.look(with_box(220, slice(100, 200), slice(50 * number, 50 * number + 100)), ns)
        assert sensor.open_at(ns)
    last = 61 * S + 900 * MS
    for number in range(1, 40):
        sensor.look(picture(), last + number * 100 * MS)
    assert sensor.changed == 0
    assert not sensor.open_at(last + 3_900 * MS)


def test_one_colour_that_changes_is_motion_too() -> None:
    sensor = settled(MotionGate(step=12, hold_ms=0), picture())
    pixels = picture()
    pixels[200:300, 300:400, 2] = 160  # red alone: the mean of the three moves by 20
    sensor.look(pixels, 61 * S)
    assert sensor.open_at(61 * S)


def test_noise_is_no_motion() -> None:
    draw = np.random.default_rng(1)
    sensor = MotionSensor(MotionGate(hold_ms=1_000))
    for number in range(120):
        noisy = np.clip(draw.normal(100, 8, (480, 640, 3)), 0, 255).astype(np.uint8)
        sensor.look(noisy, number * 200 * MS)
    assert sensor.changed == 0
    assert not sensor.open_at(120 * 200 * MS)


def test_slow_light_is_no_motion_and_a_parked_car_becomes_background() -> None:
    sensor = MotionSensor(MotionGate(hold_ms=1_000))
    for number in range(100):  # the sun: half a gray level a second
        sensor.look(picture(100 + number // 2), number * S)
        assert number < 2 or not sensor.open_at(number * S)
    car = with_box(20, slice(200, 300), slice(200, 400), base=149)
    opened = []
    for number in range(100, 160):
        sensor.look(car, number * S)
        opened.append(sensor.open_at(number * S))
    assert opened[0] and not opened[-1]
    assert 10 < sum(opened) < 30  # seconds


def test_after_a_gap_the_picture_is_new() -> None:
    sensor = settled(MotionGate(hold_ms=0), picture())
    sensor.reset()
    sensor.look(picture(101), 70 * S)
    assert sensor.changed == CELLS and sensor.open_at(70 * S)
    sensor.look(picture(101), 71 * S)
    assert sensor.changed == 0


def test_another_resolution_of_the_same_picture_is_no_motion() -> None:
    draw = np.random.default_rng(2)
    small = draw.integers(0, 256, (96, 128, 3), dtype=np.uint8)  # a pixel for each that the grid looks at
    large = small.repeat(5, axis=0).repeat(5, axis=1)
    sensor = settled(MotionGate(hold_ms=0), small)
    sensor.look(large, 61 * S)
    assert sensor.changed == 0


def reference(frames: Iterable[tuple[npt.NDArray[np.uint8], int]]) -> list[int]:
    """The documented arithmetic again, cell by cell in Python's own integers."""
    background: list[int] = []
    before = 0
    found = []
    for pixels, ns in frames:
        height, width, _ = pixels.shape
        lines = [(2 * i + 1) * height // 192 for i in range(96)]
        columns = [(2 * i + 1) * width // 256 for i in range(128)]
        tree = pixels.sum(axis=2, dtype=np.int64).tolist()
        levels = [
            sum(tree[lines[4 * row + a]][columns[4 * column + b]] for a in range(4) for b in range(4)) << 13
            for row in range(24)
            for column in range(32)
        ]
        if not background:
            background, before = levels, ns
            found.append(CELLS)
            continue
        found.append(
            sum(abs(now - then) >= 12 * 48 << 13 for now, then in zip(levels, background, strict=True))
        )
        share = (min(ns - before, 8 * S) << 16) // (8 * S)
        before = ns
        background = [
            then + ((now - then) * share >> 16) for now, then in zip(levels, background, strict=True)
        ]
    return found


@pytest.mark.parametrize(("height", "width"), [(480, 640), (97, 131), (1, 1), (24, 2_000)])
def test_motion_is_what_its_document_says(height: int, width: int) -> None:
    draw = np.random.default_rng(height)
    frames: list[tuple[npt.NDArray[np.uint8], int]] = []
    for number in range(6):
        pixels = draw.integers(0, 256, (height, width, 3), dtype=np.uint8)
        if number > 2:  # about as much as the step, so that every gray level counts
            pixels = (frames[2][0].astype(int) + draw.integers(-30, 31, (height, width, 1))).clip(0, 255)
            pixels = pixels.astype(np.uint8)
        frames.append((pixels, number * 333_333_333))
    sensor = MotionSensor(MotionGate(step=12))
    found = []
    for pixels, ns in frames:
        sensor.look(pixels, ns)
        found.append(sensor.changed)
    assert found == reference(frames)


def test_memory_order_does_not_matter() -> None:
    draw = np.random.default_rng(3)
    first, second = draw.integers(0, 256, (2, 48, 64, 3), dtype=np.uint8)
    plain, turned = MotionSensor(MotionGate()), MotionSensor(MotionGate())
    for number, pixels in enumerate((first, second)):
        plain.look(pixels, number * S)
        turned.look(np.asfortranarray(pixels), number * S)
    assert plain.changed == turned.changed > 0


@pytest.mark.parametrize(
    "pixels", [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3)), np.zeros((0, 4, 3), np.uint8)]
)
def test_what_is_no_bgr_picture_is_refused(pixels: npt.NDArray[np.uint8]) -> None:
    with pytest.raises(InputError, match="expected uint8 of shape") as caught:
        MotionSensor(MotionGate()).look(pixels, 0)
    assert caught.value.reason is Reason.SOURCE_MISMATCH


# ---- level


def tone(level_dbfs: float, samples: int = 1_600) -> npt.NDArray[np.int16]:
    """A square wave: its RMS is its amplitude."""
    amplitude = round(32_768 * 10 ** (level_dbfs / 20))
    return (amplitude * (1 - 2 * (np.arange(samples) // 8 % 2))).astype(np.int16)


@pytest.mark.parametrize(("level", "is_open"), [(-40.1, False), (-39.9, True), (-3.0, True), (-60.0, False)])
def test_the_gate_opens_at_the_declared_level(level: float, is_open: bool) -> None:
    sensor = LevelSensor(LevelGate(open_dbfs=-40.0, hold_ms=1_000))
    sensor.hear([tone(level)], 5 * S)
    assert sensor.open_at(5 * S) == sensor.open_at(6 * S) == is_open
    assert not sensor.open_at(6 * S + 1)
    assert sensor.level == pytest.approx(level, abs=0.11)
    assert sensor.threshold == -40.0


def test_silence_never_opens_the_gate() -> None:
    sensor = LevelSensor(LevelGate(open_dbfs=-96.0))
    sensor.hear([np.zeros(1_600, np.int16)], 0)
    assert not sensor.open_at(0)
    assert sensor.level == SILENCE_DBFS


def test_the_loudest_samples_open_even_a_gate_at_full_scale() -> None:
    sensor = LevelSensor(LevelGate(open_dbfs=0.0))
    sensor.hear([np.full(99, -32_768, np.int16)], 0)
    assert sensor.open_at(0)
    quieter = LevelSensor(LevelGate(open_dbfs=0.0))
    quieter.hear([np.full(99, 32_767, np.int16)], 0)
    assert not quieter.open_at(0)


def test_a_level_sensor_needs_no_past_and_a_gap_does_not_stop_the_time() -> None:
    sensor = sensor_of(LevelGate(hold_ms=3_000))
    assert isinstance(sensor, LevelSensor)
    sensor.hear([tone(-10.0)], S)
    sensor.reset()
    assert sensor.open_at(4 * S) and not sensor.open_at(4 * S + 1)


@given(
    samples=st.lists(st.integers(-32_768, 32_767), min_size=1, max_size=200),
    cuts=st.lists(st.integers(0, 200), max_size=5),
)
def test_the_level_does_not_depend_on_how_samples_are_cut(samples: list[int], cuts: list[int]) -> None:
    whole = np.array(samples, np.int16)
    parts = [part for part in np.split(whole, sorted(min(cut, len(samples)) for cut in cuts)) if len(part)]
    energy = sum(value * value for value in samples)
    assert sum_of_squares(whole) == sum(map(sum_of_squares, parts)) == energy
    # a threshold at exactly this level opens for the whole and for the parts
    one, many = LevelSensor(LevelGate(open_dbfs=-50.0)), LevelSensor(LevelGate(open_dbfs=-50.0))
    one.hear([whole], 0)
    many.hear(parts, 0)
    assert one.open_at(0) == many.open_at(0) == (energy << 16 >= threshold_of(-50.0) * len(samples))
    assert one.level == many.level


def test_sums_of_millions_of_squares_are_exact() -> None:
    samples = np.full(3_000_001, -32_768, np.int16)
    samples[17] = 3
    assert sum_of_squares(samples) == 3_000_000 * 32_768**2 + 9


@pytest.mark.parametrize("level", [-96.0, -50.0, -49.95, -6.02, -0.1, 0.0])
def test_thresholds_are_those_of_the_decibel(level: float) -> None:
    assert threshold_of(level) == pytest.approx(32_768**2 * 65_536 * 10 ** (level / 10), rel=1e-4)
    samples = 1_000_000
    energy = threshold_of(level) * samples >> 16
    assert math.isclose(dbfs(energy, samples), level, abs_tol=0.051)
