"""A camera that was moved, defocused or covered, and what of its usual view is kept."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from functools import cache

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from galago_edge.contract.settings import PlausibilitySettings
from galago_edge.contract.streams import NS_PER_S, Frame
from galago_edge.sources.camera_view import LEARNING_NS, CameraView, Glance
from galago_edge.sources.doubt import Doubt, News
from galago_edge.sources.plausibility import FrameChecks
from galago_edge.sources.sight import Sight
from galago_edge.sources.view_comparison import light_beside, nearly_black
from galago_edge.sources.view_memory import (
    READY_STEPS,
    DamagedViewError,
    ForeignViewError,
    KnownLight,
    ViewMemory,
)
from galago_edge.sources.view_picture import COLUMNS, ROWS, ViewSampler, cell_sums, only_noise

Pixels = npt.NDArray[np.uint8]
Told = Doubt | News
CLEAR_S = 5.0
HEIGHT, WIDTH = 240, 320
MARGIN = 40
HOUR_S = 10 * READY_STEPS


@cache
def place() -> Pixels:
    """A wall of boxes, with what is beside the picture: shape ``(HEIGHT + 80, WIDTH + 80, 3)``."""
    random = np.random.default_rng(5)
    pixels = np.full((HEIGHT + 2 * MARGIN, WIDTH + 2 * MARGIN, 3), 120, np.uint8)
    for _ in range(150):
        top, left = random.integers(0, HEIGHT + MARGIN), random.integers(0, WIDTH + MARGIN)
        down, right = random.integers(8, 50, 2)
        pixels[top : top + down, left : left + right] = random.integers(30, 220, 3)
    return pixels


def view(right: int = 0, down: int = 0) -> Pixels:
    return place()[MARGIN + down : MARGIN + down + HEIGHT, MARGIN + right : MARGIN + right + WIDTH]


@cache
def drawn_noise(number: int, shape: tuple[int, ...]) -> npt.NDArray[np.float32]:
    """Noise of sigma 1: to draw it anew for every picture would take longer than all that is tested here."""
    return np.random.default_rng(number).standard_normal(shape, np.float32)


def noisy(pixels: Pixels, number: int, sigma: float = 2.0) -> Pixels:
    """Return the picture with its own noise: 384 kinds that share no pixel's, four of each by mirroring."""
    mirrored, drawn = divmod(number, 96)
    noise = drawn_noise(drawn, pixels.shape)[:: 1 - 2 * (mirrored & 1), :: 1 - (mirrored & 2)]
    seen = sigma * noise + pixels
    return seen.clip(0, 255, out=seen).astype(np.uint8)


def blurred(pixels: Pixels, radius: int) -> Pixels:
    wide = pixels.astype(np.float64)
    for axis in (0, 1):
        wide = sum(np.roll(wide, step, axis) for step in range(-radius, radius + 1)) / (2 * radius + 1)
    return wide.astype(np.uint8)


def half_covered(pixels: Pixels, level: int) -> Pixels:
    covered = pixels.copy()
    covered[:, : WIDTH // 2] = level
    return covered


class Memory:
    """Keeps what is saved, as a disk would."""

    key = "front door"

    def __init__(self, data: bytes | None = None) -> None:
        self.data = data
        self.saves = 0
        self.failure: OSError | None = None

    def load(self) -> bytes | None:
        return self.data

    def save(self, data: bytes) -> None:
        if self.failure is not None:
            raise self.failure
        self.data, self.saves = data, self.saves + 1

    def there(self) -> bool:
        return self.data is not None


class Camera:
    """A camera that learns, and whose pictures may then be changed."""

    def __init__(self, keeper: Memory | None = None, **changed: float) -> None:
        self.sight = Sight(PlausibilitySettings(**changed), CLEAR_S, keeper)
        self.second = 0
        self.told: list[tuple[int, Told]] = []

    def watch(
        self, pixels: Pixels, seconds: int, every_s: int = 1, sigma: float = 2.0
    ) -> list[tuple[int, Told]]:
        """Give pictures with noise of their own; return what is told, with the seconds that have passed."""
        begin, found = self.second, []
        while self.second < begin + seconds:
            frame = Frame(noisy(pixels, self.second % 32, sigma), self.second, self.second * NS_PER_S)
            found += [(self.second - begin, one) for one in self.sight.look(frame)]
            self.second += every_s
        self.told += found
        return found

    def learn(self, pixels: Pixels | None = None) -> Camera:
        """Let it learn an hour, and see the light of a day."""
        seen = view() if pixels is None else pixels
        self.watch(seen, HOUR_S + 100, every_s=10)
        self.watch(seen, 24 * 3_600, every_s=600)
        return self


@cache
def learned() -> bytes:
    """What a camera has learned in a day."""
    keeper = Memory()
    Camera(keeper).learn().sight.ended()
    assert keeper.data is not None
    return keeper.data


def experienced(**changed: float) -> Camera:
    return Camera(Memory(learned()), **changed)


def doubts(told: Iterable[tuple[int, Told]]) -> list[tuple[str, bool]]:
    return [(one.what, one.implausible) for _, one in told if isinstance(one, Doubt)]


def news(told: Iterable[tuple[int, Told]]) -> list[str]:
    return [one.state for _, one in told if isinstance(one, News)]


FAULTS: dict[str, Callable[[], Pixels]] = {
    "moved": lambda: view(right=16),
    "moved down": lambda: view(down=-12),
    "moved elsewhere": lambda: view()[::-1, ::-1],
    "defocused": lambda: blurred(view(), 4),
    "defocused much": lambda: blurred(view(), 7),
    "covered by a dark thing": lambda: half_covered(view(), 5),
    "covered by a bright thing": lambda: half_covered(view(), 230),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_blind_camera_is_found_within_a_minute_and_believed_when_it_sees_again(fault: str) -> None:
    camera = experienced()
    assert camera.watch(view(), 30) == []
    found = camera.watch(FAULTS[fault](), 61)
    assert doubts(found) == [(fault.split()[0], True)]
    assert found[0][0] >= 29  # from the last look before it
    assert camera.sight.alarm == fault.split()[0]
    assert doubts(camera.watch(view(), 40)) == [(fault.split()[0], False)]
    assert camera.sight.alarm is None


def test_the_alarm_says_where_what_was_seen_has_gone() -> None:
    [(_, doubt)] = experienced().watch(view(right=16, down=-8), 61)
    assert isinstance(doubt, Doubt)
    assert abs(doubt.detail["right_px"] + 16) <= 4 and abs(doubt.detail["down_px"] - 8) <= 4
    assert doubt.detail["missing"] > 0.25


def test_the_alarm_says_how_much_of_the_sharpness_is_left_and_how_much_is_covered() -> None:
    [(_, blur)] = experienced().watch(blurred(view(), 4), 61)
    [(_, cover)] = experienced().watch(half_covered(view(), 90), 61)
    assert isinstance(blur, Doubt) and isinstance(cover, Doubt)
    assert blur.detail["sharpness"] < 0.75 and blur.detail["blurred"] > 0.5
    assert 0.35 < cover.detail["missing"] < 0.65 and 0.35 < cover.detail["kept"] < 0.65


@pytest.mark.parametrize(
    "pixels",
    [
        lambda: view() // 3,
        lambda: view() // 12,
        lambda: np.clip(view().astype(np.int16) + 60, 0, 255).astype(np.uint8),
        lambda: noisy(view(), 99, 12.0),
        lambda: np.repeat(view()[:, :, 1:2], 3, axis=2),
    ],
    ids=["a third of the light", "hardly any light", "more light", "noise", "no colour"],
)
def test_light_that_changes_is_no_fault(pixels: Callable[[], Pixels]) -> None:
    assert experienced().watch(pixels(), 200) == []


def test_somebody_who_walks_by_is_no_fault() -> None:
    camera = experienced()
    for left in range(0, WIDTH, 4):
        pixels = view().copy()
        pixels[60:, left : left + 60] = (40, 60, 90)
        assert camera.watch(pixels, 1) == []


def test_it_learns_for_an_hour_and_says_so() -> None:
    camera = Camera()
    assert camera.sight.learning is None
    assert news(camera.watch(view(), HOUR_S - 100, every_s=10)) == ["view_learning"]
    assert camera.sight.learning is True
    assert camera.watch(view()[::-1], 90) == []  # nobody knows better yet
    assert news(camera.watch(view(), 400, every_s=10)) == ["view_learned"]
    assert camera.sight.learning is False


def test_a_fault_is_not_learned_while_it_is_an_alarm() -> None:
    camera = experienced()
    camera.watch(view(right=16), 2_000, every_s=20)
    assert camera.sight.alarm == "moved"


def test_a_time_of_zero_switches_one_kind_off_and_three_look_at_nothing() -> None:
    off = experienced(moved_s=0)
    assert off.watch(view(right=16), 100) == []
    assert doubts(off.watch(half_covered(view(), 90), 100)) == [("covered", True)]
    nothing = Camera(moved_s=0, defocused_s=0, covered_s=0)
    assert nothing.watch(view(), 100) == [] and nothing.sight.learning is None


def test_an_alarm_of_a_blur_in_most_of_the_picture_stays() -> None:
    pixels = view().copy()
    pixels[:, : 2 * WIDTH // 3] = blurred(view(), 4)[:, : 2 * WIDTH // 3]
    assert doubts(experienced().watch(pixels, 180)) == [("defocused", True)]


def test_a_dark_hour_does_not_deny_a_blur_and_low_contrast_shows_it() -> None:
    faint = ((view().astype(np.int16) - 120) // 8 + 120).astype(np.uint8)
    memory = ViewMemory()
    sampler = ViewSampler((HEIGHT, WIDTH, 3))
    for pixels, sigma in ((faint, 1.0), (faint // 4, 0.5)):
        light = memory.new_light(False, None)
        for number in range(READY_STEPS):
            seen = sampler.look(noisy(pixels, number % 32, sigma), 10 * NS_PER_S)
            assert seen is not None
            light.learn(seen)
    camera = CameraView(view().shape, memory)
    found = [
        camera.look(noisy(blurred(faint, 4), number, 1.0), number * 5 * NS_PER_S, learn=True)
        for number in range(6)
    ]
    assert found[-1] is not None and found[-1].what == "defocused"


def test_an_interruption_begins_the_time_anew_and_keeps_the_alarm() -> None:
    camera = experienced()
    for _ in range(4):
        assert camera.watch(view(right=16), 20) == []
        camera.sight.interrupted()
    camera.watch(view(right=16), 61)
    camera.sight.interrupted()
    assert camera.sight.alarm == "moved"


def test_what_was_learned_is_kept_over_a_restart() -> None:
    keeper = Memory()
    camera = Camera(keeper).learn()
    assert 1 < keeper.saves < 7  # not all the time: it may be an SD card
    camera.watch(view(), 700, every_s=10)
    saves = keeper.saves
    assert camera.sight.ended() == [] and keeper.saves in (saves, saves + 1)
    again = Camera(keeper)
    assert again.watch(view(), 30) == [] and again.sight.learning is False
    assert doubts(again.watch(view(right=16), 61)) == [("moved", True)]


def test_what_is_removed_is_learned_anew() -> None:
    keeper = Memory(learned())
    camera = Camera(keeper)
    camera.watch(view(right=16), 100)
    assert camera.sight.alarm == "moved"
    keeper.data = None
    found = camera.watch(view(right=16), 62)
    assert doubts(found) == [("moved", False)] and news(found) == ["view_learning"]
    assert camera.sight.learning is True
    camera.watch(view(right=16), HOUR_S + 100, every_s=10)
    assert camera.sight.learning is False and camera.sight.alarm is None
    assert doubts(camera.watch(view(), 61)) == [("moved", True)]  # as things are now


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "damaged"),
        (b"{}\n", "damaged"),
        (b"\xff\xfe", "damaged"),
        (learned()[: len(learned()) // 2], "damaged"),
        (learned() + b"more", None),
        (learned().replace(b"front door", b"back  door"), "other"),
        (learned().replace(b'"height":240', b'"height":241'), "other"),
        (learned().replace(b"galago.view/1", b"galago.view/2"), "damaged"),
    ],
    ids=[
        "empty",
        "no fields",
        "no text",
        "cut",
        "longer",
        "another camera",
        "another size",
        "another version",
    ],
)
def test_what_cannot_be_taken_up_is_learned_anew_and_why_is_told(data: bytes, why: str | None) -> None:
    found = Camera(Memory(data)).watch(view(), 2)
    assert [one.detail for _, one in found] == ([] if why is None else [{"why": why}])


@settings(max_examples=300, deadline=None)
@given(st.integers(0, len(learned()) - 1), st.integers(1, 255))
def test_a_damaged_byte_never_does_harm(at: int, change: int) -> None:
    data = bytearray(learned())
    data[at] ^= change
    whole = ViewMemory.from_bytes(learned(), "front door", (HEIGHT, WIDTH, 3))
    try:
        found = ViewMemory.from_bytes(bytes(data), "front door", (HEIGHT, WIDTH, 3))
    except (DamagedViewError, ForeignViewError):
        return
    # zlib does not use every bit: then it is the same
    for one, other in zip(found.lights, whole.lights, strict=True):
        assert one.steps == other.steps and np.array_equal(one.counters, other.counters)


@given(st.binary(max_size=300))
def test_anything_may_lie_there(data: bytes) -> None:
    with pytest.raises((DamagedViewError, ForeignViewError)):
        ViewMemory.from_bytes(data, "front door", (HEIGHT, WIDTH, 3))


def test_another_size_learns_anew_and_the_first_is_known_when_it_comes_back() -> None:
    camera = experienced()
    camera.watch(view(), 10)
    assert [one.detail for _, one in camera.watch(view()[::2, ::2], 10) if isinstance(one, News)] == [
        {"why": "other"}
    ]
    assert camera.sight.learning is True
    assert camera.watch(view(), 10) == [] and camera.sight.learning is False


def test_a_disk_that_refuses_is_told_once_and_costs_no_alarm() -> None:
    keeper = Memory()
    keeper.failure = OSError(28, "No space left on device")
    camera = Camera(keeper).learn()
    assert [one.detail for _, one in camera.told if isinstance(one, News)][-1] == {
        "message": "No space left on device"
    }
    camera.watch(view(), 8 * 3_600, every_s=60)
    assert news(camera.told).count("view_unsaved") == 1
    assert doubts(camera.watch(view(right=16), 61)) == [("moved", True)]


def test_black_pictures_are_dark_and_not_covered() -> None:
    checks = FrameChecks(PlausibilitySettings(frozen_s=0), CLEAR_S, Memory(learned()))
    alarms = []
    for second in range(200):
        pixels = view() if second < 20 else np.zeros((HEIGHT, WIDTH, 3), np.uint8)
        told = checks.look(Frame(noisy(pixels, second), second, second * NS_PER_S))
        alarms += [one.what for one in told if isinstance(one, Doubt)]
    assert alarms == ["dark"] == list(checks.alarms)


def test_a_picture_of_noise_alone_is_dark() -> None:
    """A camera that was turned to where there is no light, and makes up for it with gain."""
    faint = ((view().astype(np.int16) - 120) // 5 + 120).astype(np.uint8)
    keeper = Memory()
    Camera(keeper).learn(faint).sight.ended()
    checks = FrameChecks(PlausibilitySettings(frozen_s=0), CLEAR_S, keeper)
    alarms = []
    for second in range(0, 100, 5):
        pixels, sigma = (faint, 2.0) if second < 20 else (np.full_like(faint, 14), 9.0)
        frame = Frame(noisy(pixels, second, sigma), second, second * NS_PER_S)
        alarms += [(second, one) for one in checks.look(frame) if isinstance(one, Doubt)]
    [(second, dark)] = alarms
    assert dark.what == "dark" and dark.detail["noise"] is True
    assert second <= 15 + 60


def test_noise_alone_is_told_from_weak_edges_in_noise() -> None:
    sampler = ViewSampler((HEIGHT, WIDTH, 3))
    even = np.full((HEIGHT, WIDTH, 3), 60, np.uint8)
    for pixels, alone in ((even, True), (view() // 4, False)):
        for number in range(2):
            seen = sampler.look(noisy(pixels, number, 4.0), 5 * NS_PER_S)
        assert seen is not None and only_noise(seen) is alone


def test_light_that_goes_while_the_camera_makes_up_for_it_is_no_fault() -> None:
    """Noise hides most edges in one look, and not in the mean of several."""
    faint = ((view().astype(np.int16) - 120) // 6 + 120).astype(np.uint8)
    camera = Camera()
    camera.watch(view(), HOUR_S + 100, every_s=10, sigma=9.0)
    camera.watch(view(), 24 * 3_600, every_s=600, sigma=9.0)
    camera.watch(view(), 30, every_s=5, sigma=9.0)
    assert camera.watch(faint, 200, every_s=5, sigma=17.0) == []


def test_a_dark_hour_of_few_coarse_edges_does_not_explain_what_is_hidden_by_day() -> None:
    memory = ViewMemory()
    sampler = ViewSampler((HEIGHT, WIDTH, 3))
    lit = np.s_[:, 2 * WIDTH // 3 :]
    night = view() // 40
    night[lit] = view()[lit] // 8  # a lamp
    for pixels, sigma in ((view(), 2.0), (night, 5.0)):
        light = memory.new_light(False, None)
        for number in range(READY_STEPS):
            seen = sampler.look(noisy(pixels, number % 32, sigma), 10 * NS_PER_S)
            assert seen is not None
            light.learn(seen)
    hidden = np.full_like(view(), 90)
    hidden[lit] = view()[lit]
    camera = CameraView(view().shape, memory)
    found = [camera.look(noisy(hidden, number), number * 5 * NS_PER_S, learn=False) for number in range(3)]
    assert found[-1] is not None and found[-1].what == "covered"


def glances(monkeypatch: pytest.MonkeyPatch, script: str | list[Glance]) -> list[tuple[int, Told]]:
    """Return what is told when looks say so, five seconds apart."""
    said: dict[str, Glance] = {
        "m": Glance(True, "moved", {"of": "moved"}),
        "d": Glance(True, "defocused", {"of": "defocused"}),
        "c": Glance(True, "covered", {"of": "covered"}),
        ".": Glance(True),
        "?": Glance(False),
    }
    looks = iter([said[one] if isinstance(one, str) else one for one in script])
    camera = experienced()
    monkeypatch.setattr(CameraView, "look", lambda *_, **__: next(looks))
    return camera.watch(view(), 5 * len(script), every_s=5)


@pytest.mark.parametrize(
    ("script", "told"),
    [
        (".cccccc", [(30, "covered")]),
        (".cc.cccc", [(30, "covered")]),
        (".cc..cccc", []),
        (".cc?cccc", []),
        (".mmmdmdd", [(30, "moved")]),
        (".ddmdmddm", [(40, "defocused")]),
    ],
)
def test_one_calm_look_ends_no_doubt_and_what_is_seen_most_is_told(
    monkeypatch: pytest.MonkeyPatch, script: str, told: list[tuple[int, str]]
) -> None:
    found = glances(monkeypatch, script)
    assert [(second, one.what) for second, one in found if isinstance(one, Doubt)] == told
    assert all(isinstance(one, Doubt) and one.detail == {"of": one.what} for _, one in found)


def faint(part: int) -> Pixels:
    """The place with so much less contrast."""
    return ((view().astype(np.int16) - 120) // part + 120).astype(np.uint8)


def light_of(memory: ViewMemory, pixels: Pixels, sigma: float, steps: int) -> KnownLight:
    """Let a memory learn so many pictures as a light of their own."""
    sampler, light = ViewSampler(pixels.shape), memory.new_light(False, None)
    for number in range(steps):
        seen = sampler.look(noisy(pixels, 1_000 + number, sigma), 10 * NS_PER_S)
        assert seen is not None
        light.learn(seen)
    return light


def test_a_light_learned_in_noise_for_two_minutes_tells_no_blur() -> None:
    """The noise that is left in its mean picture is short edges that are never seen again."""
    memory = ViewMemory()
    light_of(memory, view()[::-1], 2.0, READY_STEPS)
    light_of(memory, faint(4), 10.0, 14)
    memory.watched_ns = 2 * LEARNING_NS
    camera = CameraView(view().shape, memory)
    seen = [
        camera.look(noisy(faint(4), number, 10.0), 5 * number * NS_PER_S, learn=True) for number in range(9)
    ]
    assert [one.what for one in seen if one is not None] == [None] * 9


def test_a_light_learned_for_long_in_noise_shows_a_blur() -> None:
    memory = ViewMemory()
    light_of(memory, faint(4), 10.0, READY_STEPS)
    memory.watched_ns = 2 * LEARNING_NS
    camera = CameraView(view().shape, memory)
    soft = blurred(faint(4), 4)
    seen = [camera.look(noisy(soft, number, 10.0), 5 * number * NS_PER_S, learn=True) for number in range(9)]
    assert seen[-1] is not None and seen[-1].what == "defocused"


def test_what_noise_makes_of_black_is_no_light() -> None:
    sigma, black = 14.0, np.zeros_like(view())
    light = light_of(ViewMemory(), view() // 3, sigma, 60)
    sampler = ViewSampler(black.shape)
    for pixels, least, most in ((black, 0, 60), (view() // 6, 350, 550), (view() // 3, 900, 1_100)):
        sampler.forget()
        for number in range(2):
            seen = sampler.look(noisy(pixels, number, sigma), 5 * NS_PER_S)
        assert seen is not None and seen.noise is not None and light.known is not None
        assert least <= light_beside(seen, seen.noise, light, light.known)[1] <= most


@pytest.mark.parametrize(
    ("level", "sigma", "black"), [(0, 15.0, True), (4, 10.0, True), (40, 6.0, False), (70, 15.0, False)]
)
def test_dusk_is_brighter_than_what_its_noise_makes_of_black(level: int, sigma: float, black: bool) -> None:
    """What is before the lens at dusk hides edges too: that is no want of light."""
    sampler, even = ViewSampler((HEIGHT, WIDTH, 3)), np.full((HEIGHT, WIDTH, 3), level, np.uint8)
    for number in range(2):
        seen = sampler.look(noisy(even, number, sigma), 5 * NS_PER_S)
    assert seen is not None and nearly_black(seen) is black


@pytest.mark.parametrize(("black", "sigma"), [(0, 15.0), (10, 10.0), (12, 6.0)])
def test_light_that_has_gone_and_left_noise_alone_is_dark_and_no_other_fault(
    black: int, sigma: float
) -> None:
    """Of a black of 0 only half of the noise is seen; another camera adds something to its black."""
    memory = ViewMemory()
    light_of(memory, view() // 2, 5.0, READY_STEPS)
    memory.watched_ns = 2 * LEARNING_NS
    keeper = Memory(memory.to_bytes("front door", view().shape))
    checks = FrameChecks(PlausibilitySettings(frozen_s=0), CLEAR_S, keeper)
    alarms = []
    for second in range(0, 150, 5):
        pixels, noise = (view() // 2, 5.0) if second < 20 else (view() // 50 + np.uint8(black), sigma)
        told = checks.look(Frame(noisy(pixels, second, noise), second, second * NS_PER_S))
        alarms += [one.what for one in told if isinstance(one, Doubt)]
    assert alarms == ["dark"]


@pytest.mark.parametrize(
    ("levels", "told"),
    [
        ([1_000] * 8, [30]),
        ([1_000, 600, 600, 600, 600, 600, 600, 600, 600, 600], [35]),
        ([1_000 - 40 * number for number in range(20)], []),
        ([1_000 - 40 * number for number in range(10)] + [640] * 6, [70]),
        ([1_000 - 5 * number for number in range(8)], [30]),
        ([600 + 40 * number for number in range(8)], [30]),
    ],
    ids=["steady", "a step", "fading", "faded", "an evening", "brighter"],
)
def test_while_it_gets_darker_nothing_is_told_and_what_stays_is(
    monkeypatch: pytest.MonkeyPatch, levels: list[int], told: list[int]
) -> None:
    script = [Glance(True), *(Glance(True, "moved", {}, level) for level in levels)]
    assert [second for second, _ in glances(monkeypatch, script)] == told


def test_a_camera_that_cannot_be_judged_for_ten_minutes_says_so_and_when_it_can_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert glances(monkeypatch, "." + "?" * 119) == []
    assert glances(monkeypatch, "." + "?." * 300) == []
    told = glances(monkeypatch, "." + "?" * 200 + "." * 119 + "?." * 9 + ".")
    assert [(second, one.state) for second, one in told if isinstance(one, News)] == [
        (600, "view_unjudged"),
        (1_000 + 595 + 90 + 5, "view_judged"),
    ]


def test_the_sums_of_tiles_are_exact_up_to_the_largest_levels() -> None:
    largest = np.full((ROWS + 1, COLUMNS + 1), 32_640, np.int16)
    assert (cell_sums(largest) == 100 * 32_640).all()


def test_every_cpu_learns_the_same_bytes() -> None:
    """Integers that only the pictures decide: made by this test itself on x86-64."""
    random = np.random.default_rng(11)
    steps = random.integers(0, 256, (12, 16, 3)).astype(np.uint8)
    pixels = np.kron(steps, np.ones((20, 20, 1), np.uint8))
    view = CameraView(pixels.shape)
    for number in range(60):
        noise = random.integers(-6, 7, pixels.shape)
        seen = (pixels[:, :: 1 - 2 * (number // 20 % 2)] + noise).clip(0, 255).astype(np.uint8)
        view.look(seen, number * (10 + number % 9) * NS_PER_S, learn=True)
    content = b"".join(light.content() for light in view.memory.lights)
    assert hashlib.sha256(content).hexdigest()[:16] == "de52a1e01ea924d6"
