from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
import numpy.typing as npt
import pytest

from galago_edge.contract.settings import PlausibilitySettings
from galago_edge.contract.streams import NS_PER_S, AudioBlock, Frame, samples_to_ns
from galago_edge.sources.doubt import Doubt
from galago_edge.sources.plausibility import SILENCE_DBFS, Checks, FrameChecks, SoundChecks

SETTINGS = PlausibilitySettings()
CLEAR_S = 5.0
RATE_HZ = 16_000
Pixels = npt.NDArray[np.uint8]
Samples = npt.NDArray[np.int16]
Told = list[tuple[float, str, bool]]


def ns(second: float) -> int:
    return round(second * NS_PER_S)


class Scene:
    """Pictures that a camera takes, each with its own noise."""

    def __init__(self) -> None:
        self._random = np.random.default_rng(1)
        self.frozen = self._random.integers(0, 256, (48, 64, 3), np.uint8)

    def live(self) -> Pixels:
        return self._random.integers(0, 256, (48, 64, 3), np.uint8)

    def even(self, level: int, noise: int) -> Pixels:
        return self._random.integers(level, level + noise + 1, (48, 64, 3)).astype(np.uint8)


@pytest.fixture
def scene() -> Scene:
    return Scene()


def watch(checks: Checks, take: Callable[[], Pixels], from_s: float, to_s: float, fps: float = 10.0) -> Told:
    told: Told = []
    for number in range(round((to_s - from_s) * fps)):
        second = from_s + number / fps
        for doubt in checks.look(Frame(take(), number, ns(second))):
            if isinstance(doubt, Doubt):  # that a camera learns is no doubt
                told.append((second, doubt.what, doubt.implausible))
    return told


def hear(checks: Checks, samples: Samples, from_s: float, block: int = 1_600, rate_hz: int = RATE_HZ) -> Told:
    """Give samples as blocks; tell when each change came."""
    told: Told = []
    for first in range(0, len(samples), block):
        at_ns = ns(from_s) + samples_to_ns(first, rate_hz)
        part = samples[first : first + block]
        for doubt in checks.look(AudioBlock(part, first, at_ns, rate_hz)):
            assert isinstance(doubt, Doubt)
            told.append((round((at_ns + samples_to_ns(len(part), rate_hz)) / NS_PER_S, 3), doubt.what,
                         doubt.implausible))  # fmt: skip
    return told


def noise(seconds: float, amplitude: int = 1_000, offset: int = 0) -> Samples:
    random = np.random.default_rng(2)
    count = round(seconds * RATE_HZ)
    return (offset + random.integers(-amplitude, amplitude + 1, count)).clip(-32_768, 32_767).astype(np.int16)


def cameras() -> FrameChecks:
    return FrameChecks(SETTINGS, CLEAR_S)


def microphones() -> SoundChecks:
    return SoundChecks(SETTINGS, CLEAR_S)


def test_a_picture_that_stands_still_for_thirty_seconds_is_frozen(scene: Scene) -> None:
    checks = cameras()
    assert watch(checks, scene.live, 0, 60) == []
    ((second, what, implausible),) = watch(checks, lambda: scene.frozen, 60, 120)
    assert (what, implausible) == ("frozen", True)
    assert 90 <= second <= 90.5
    assert checks.alarms == ("frozen",)


def test_a_frozen_camera_is_believed_again_only_when_it_moves_for_some_time(scene: Scene) -> None:
    checks = cameras()
    watch(checks, lambda: scene.frozen, 0, 40)
    assert watch(checks, scene.live, 40, 44) == []
    assert watch(checks, lambda: scene.frozen, 44, 50) == []  # moved too shortly to be believed
    ((second, what, implausible),) = watch(checks, scene.live, 50, 60)
    assert (what, implausible) == ("frozen", False)
    assert 54.8 <= second <= 55.5  # from the last look at the standing picture
    assert checks.alarms == ()


def test_one_pixel_that_moves_is_enough(scene: Scene) -> None:
    states = iter(range(1_000_000))

    def twinkling() -> Pixels:
        picture = scene.frozen.copy()
        picture[47, 63, 2] = next(states) % 251
        return picture

    assert watch(cameras(), twinkling, 0, 120) == []


def test_frames_that_the_camera_encoded_alike_are_frozen_without_a_look_at_the_pixels(scene: Scene) -> None:
    checks = cameras()
    jpeg = [b"same", b"same"]
    told = [
        doubt.what
        for second in range(60)
        for doubt in checks.look(Frame(scene.live(), second, ns(second), jpeg[second % 2]))
        if isinstance(doubt, Doubt)
    ]
    assert told == ["frozen"]


@pytest.mark.parametrize(
    ("level", "noise_levels", "dark"),
    [(0, 0, True), (0, 12, True), (128, 0, True), (200, 6, True), (0, 40, False), (128, 30, False)],
    ids=["black", "black, noisy", "one colour", "covered, noisy", "dim", "gray, noisy"],
)
def test_a_covered_lens_sees_nothing(level: int, noise_levels: int, dark: bool, scene: Scene) -> None:
    checks = FrameChecks(PlausibilitySettings(frozen_s=0), CLEAR_S)
    told = watch(checks, lambda: scene.even(level, noise_levels), 0, 100)
    assert [(what, implausible) for _, what, implausible in told] == [("dark", True)] * dark
    assert all(60 <= second <= 60.5 for second, _, _ in told)


def test_a_dark_picture_with_a_lamp_in_it_is_a_picture(scene: Scene) -> None:
    def night() -> Pixels:
        picture = scene.even(0, 6)
        picture[10:24, 20:34] = 180  # 6 % of it
        return picture

    assert watch(cameras(), night, 0, 100) == []


def test_looks_do_not_become_more_with_the_frame_rate(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[int] = []
    from galago_edge.sources import plausibility

    measured = plausibility._range
    monkeypatch.setattr(plausibility, "_range", lambda pixels: looks.append(len(pixels)) or measured(pixels))
    watch(cameras(), scene.live, 0, 10, fps=100.0)
    assert len(looks) <= 51


def test_an_interruption_is_no_evidence(scene: Scene) -> None:
    checks = cameras()
    watch(checks, lambda: scene.frozen, 0, 20)
    checks.interrupted()
    assert watch(checks, lambda: scene.frozen, 100, 125) == []
    assert watch(checks, lambda: scene.frozen, 125, 140) != []
    checks.interrupted()
    assert checks.alarms == ("frozen",)


def test_zero_seconds_switch_a_check_off(scene: Scene) -> None:
    off = PlausibilitySettings(**dict.fromkeys(PlausibilitySettings.__struct_fields__, 0.0))
    assert watch(FrameChecks(off, CLEAR_S), lambda: np.zeros((4, 4, 3), np.uint8), 0, 200) == []
    assert hear(SoundChecks(off, CLEAR_S), np.full(60 * RATE_HZ, 32_767, np.int16), 0) == []


def test_a_camera_that_changes_its_resolution_is_not_frozen(scene: Scene) -> None:
    sizes = iter([(48, 64, 3), (24, 32, 3)] * 500)
    assert [
        what
        for _, what, _ in watch(cameras(), lambda: np.zeros(next(sizes), np.uint8), 0, 50, 5.0)
        if what == "frozen"
    ] == []


def test_digital_silence_is_flat_and_a_quiet_room_is_not() -> None:
    checks = microphones()
    assert hear(checks, noise(30, amplitude=1), 0) == []
    assert hear(checks, np.zeros(30 * RATE_HZ, np.int16), 30) == [(40.0, "flat", True)]
    assert checks.level_dbfs == SILENCE_DBFS
    assert hear(checks, noise(30), 60) == [(65.0, "flat", False)]


def test_a_line_that_rests_at_another_value_than_zero_is_flat_and_offset() -> None:
    told = hear(microphones(), np.full(20 * RATE_HZ, -9_000, np.int16), 0)
    assert sorted(told) == [(10.0, "flat", True), (10.0, "offset", True)]


def test_a_line_that_jumps_between_values_is_not_flat() -> None:
    steps = np.repeat(np.tile(np.array([0, 100], np.int16), 15), RATE_HZ)
    assert hear(microphones(), steps, 0) == []


@pytest.mark.parametrize(("share", "implausible"), [(0.02, True), (0.005, False)])
def test_more_than_one_percent_at_full_scale_is_clipped(share: float, implausible: bool) -> None:
    samples = noise(20)
    samples[:: round(2 / share)] = 32_767
    samples[1 :: round(2 / share)] = -32_768
    assert hear(microphones(), samples, 0) == [(10.0, "clipped", True)] * implausible


def test_a_scream_of_some_seconds_is_no_broken_microphone() -> None:
    checks = microphones()
    scream = (np.sign(noise(8)) * 32_767).astype(np.int16)
    assert hear(checks, scream, 0) + hear(checks, noise(5), 8) + hear(checks, scream, 13) == []


def test_the_mean_of_a_microphone_is_zero() -> None:
    told = hear(microphones(), noise(20, offset=4_000), 0)
    assert told == [(10.0, "offset", True)]
    assert hear(microphones(), noise(20, offset=3_000), 0) == []


def test_the_level_is_that_of_the_last_second() -> None:
    checks = microphones()
    assert checks.level_dbfs is None
    full = np.tile(np.array([32_767, -32_767], np.int16), RATE_HZ // 2)
    hear(checks, full, 0)
    assert checks.level_dbfs == 0.0
    hear(checks, full // 10, 1)
    assert checks.level_dbfs == -20.0
    checks.interrupted()
    assert checks.level_dbfs is None


@pytest.mark.parametrize("block", [160, 1_024, 4_001, 40_000])
def test_how_sound_is_cut_into_blocks_hardly_matters(block: int) -> None:
    told = hear(microphones(), np.zeros(40 * RATE_HZ, np.int16), 0, block)
    ((second, what, implausible),) = told
    assert (what, implausible) == ("flat", True)
    assert 10 <= second <= 13


def arrivals(seconds: float, actual_hz: float, jitter_s: float = 0.0) -> Iterable[AudioBlock]:
    """Blocks of 0.1 s by the declared rate, from a device that really gives ``actual_hz``."""
    random = np.random.default_rng(3)
    samples = np.zeros(RATE_HZ // 10, np.int16)
    for number in range(round(seconds * 10)):
        at_s = number * len(samples) / actual_hz + random.uniform(0, jitter_s)
        yield AudioBlock(samples, number * len(samples), ns(at_s), RATE_HZ)


@pytest.mark.parametrize(
    ("actual_hz", "wrong"),
    [(16_000, False), (16_003, False), (16_290, False), (16_400, True), (15_600, True), (14_700, True),
     (44_100, True)],
)  # fmt: skip
def test_a_rate_that_is_off_by_two_percent_is_not_believed(actual_hz: float, wrong: bool) -> None:
    checks = microphones()
    told = [doubt for block in arrivals(100, actual_hz, jitter_s=0.02) for doubt in checks.arrived(block)]
    assert [(doubt.what, doubt.implausible) for doubt in told] == [("rate", True)] * wrong
    for doubt in told:
        assert doubt.detail["declared_hz"] == RATE_HZ
        assert doubt.detail["measured_hz"] == pytest.approx(actual_hz, rel=0.005)


def test_a_right_rate_ends_the_alarm() -> None:
    checks = microphones()
    for block in arrivals(100, 14_000):
        checks.arrived(block)
    assert checks.alarms == ("rate",)
    checks.connected()
    told = [doubt for block in arrivals(100, RATE_HZ) for doubt in checks.arrived(block)]
    assert [(doubt.what, doubt.implausible) for doubt in told] == [("rate", False)]


def test_losses_alone_are_no_wrong_rate() -> None:
    checks = microphones()
    shift = 0.0
    for number, block in enumerate(arrivals(200, RATE_HZ)):
        shift += 1.5 * (number % 150 == 149)  # every 15 s a second and a half is lost
        late = AudioBlock(block.samples, block.first_sample, block.captured_ns + ns(shift), RATE_HZ)
        assert checks.arrived(late) == []


# ---- at the limits


def pictures_of(*pixels: Pixels) -> list[str]:
    """What a camera that gives each picture for a minute and a half, and no other, is suspected of."""
    told: list[str] = []
    for each in pixels:
        checks = FrameChecks(PlausibilitySettings(frozen_s=0), CLEAR_S)
        told.append("+".join(what for _, what, _ in watch(checks, lambda picture=each: picture, 0, 90)))
    return told


def coloured(blue: int, green: int, red: int, share: float = 1.0) -> Pixels:
    """A picture of one colour, of which the last ``share`` of the rows is left and the rest is white."""
    picture = np.full((48, 40, 3), 255, np.uint8)
    picture[48 - round(48 * share) :] = (blue, green, red)
    return picture


def test_a_coloured_cap_is_one_even_colour() -> None:
    assert pictures_of(coloured(200, 10, 90)) == ["dark"]


def test_every_channel_must_be_black() -> None:
    low_noise = np.zeros((48, 40, 3), np.uint8)
    low_noise[::2] = 15  # not even, but black
    bright_red = low_noise.copy()
    bright_red[::2, :, 2] = 16
    assert pictures_of(low_noise, bright_red) == ["dark", ""]


@pytest.mark.parametrize(("apart", "dark"), [(8, True), (9, False)])
def test_even_is_what_lies_within_eight_levels(apart: int, dark: bool) -> None:
    picture = np.full((48, 40, 3), 100, np.uint8)
    picture[::2] = 100 + apart
    assert pictures_of(picture) == ["dark" if dark else ""]


def test_five_percent_of_the_pixels_may_be_a_lamp_and_no_more() -> None:
    """96 of 1920 pixels are five percent; two and a half rows."""
    few, more = coloured(0, 0, 0, 46 / 48), coloured(0, 0, 0, 45 / 48)
    assert pictures_of(few, more) == ["dark", ""]


def test_a_silence_that_was_interrupted_begins_anew() -> None:
    checks = microphones()
    silence = np.zeros(9 * RATE_HZ, np.int16)
    assert hear(checks, silence, 0) == []
    assert checks.level_dbfs == SILENCE_DBFS
    checks.interrupted()
    assert checks.level_dbfs is None
    assert hear(checks, silence, 9) == []
    assert hear(checks, silence[:RATE_HZ], 18) == [(19.0, "flat", True)]


@pytest.mark.parametrize(("value", "told"), [(3_276, []), (3_277, ["offset"])])
def test_an_offset_is_more_than_a_tenth_of_full_scale(value: int, told: list[str]) -> None:
    samples = np.full(15 * RATE_HZ, value, np.int16)
    samples[::2] += 1
    samples[1::2] -= 1
    assert [what for _, what, _ in hear(microphones(), samples, 0)] == told


@pytest.mark.parametrize(("clipped", "told"), [(160, []), (161, ["clipped"])])
@pytest.mark.parametrize("value", [32_700, -32_700])
def test_clipped_is_more_than_one_percent_of_a_second(clipped: int, value: int, told: list[str]) -> None:
    second = noise(1.0)
    second[:clipped] = value
    samples = np.tile(second, 15)
    assert [what for _, what, _ in hear(microphones(), samples, 0)] == told
    just_below = np.where(np.abs(samples) == 32_700, samples - np.sign(samples), samples).astype(np.int16)
    assert hear(microphones(), just_below, 0) == []
