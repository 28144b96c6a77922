"""Windows by themselves: where they lie, what they hold, and what is computed and kept for them."""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from galago_edge.contract.errors import InputError, Reason
from galago_edge.contract.manifest import AudioPreprocess, ImagePreprocess, LevelGate, MotionGate
from galago_edge.contract.streams import AudioBlock, Frame, Span
from galago_edge.decision import LevelSensor, MotionSensor
from galago_edge.pipeline.windows import AudioWindows, FrameWindows, windows_of
from galago_edge.preprocess import ImagePreprocessor, LogMelFrontend, log_mel

MS = 1_000_000
RATE_HZ = 16_000
SPEC = AudioPreprocess(window_frames=3, mel_bands=4, hop_frames=2)
"""Frames of 480 samples every 160: a window is 800 samples long and begins 320 behind the one before."""
SAMPLES = np.random.default_rng(3).integers(-9_000, 9_000, 8_000).astype(np.int16)


class Tensor:
    """As much of an engine as windows need."""

    def __init__(self, shape: tuple[int, ...], dtype: type[Any]) -> None:
        self.view = np.zeros(shape, dtype)

    def input_view(self) -> npt.NDArray[Any]:
        return self.view


class Frontend(LogMelFrontend):
    """The real one, which notes what it is given."""

    def __init__(self, spec: AudioPreprocess) -> None:
        super().__init__(spec)
        self.given: list[npt.NDArray[np.int16]] = []
        self.resets = 0

    def push(self, samples: npt.NDArray[np.int16]) -> npt.NDArray[np.int8]:
        self.given.append(samples.copy())
        return super().push(samples)

    def reset(self) -> None:
        self.resets += 1
        super().reset()

    @property
    def total(self) -> int:
        return sum(len(samples) for samples in self.given)


class Ear(LevelSensor):
    """Notes the stretches it hears: their samples and the time of their end."""

    def __init__(self) -> None:
        super().__init__(LevelGate())
        self.heard: list[tuple[list[int], int]] = []

    def hear(self, stretch: Iterable[npt.NDArray[np.int16]], ns: int) -> None:
        self.heard.append(([int(sample) for part in stretch for sample in part], ns))


def audio(spec: AudioPreprocess = SPEC) -> tuple[AudioWindows, Frontend, Tensor]:
    frontend, tensor = Frontend(spec), Tensor((spec.window_frames, spec.mel_bands), np.int8)
    engine: Any = tensor
    return AudioWindows(frontend, engine), frontend, tensor


def block(start: int, stop: int, first: int = 0, ns: int = 0) -> AudioBlock:
    """``SAMPLES[start:stop]`` of a microphone that began with sample ``first`` at ``ns``."""
    return AudioBlock(SAMPLES[start:stop], first + start, ns + start * 62_500, RATE_HZ)


# ---- where windows lie


def test_a_window_is_told_with_the_block_that_brings_its_last_sample() -> None:
    windows, _, _ = audio()
    assert list(windows.feed(block(0, 799))) == []
    assert list(windows.feed(block(799, 800))) == [Span(0, 800, 0, 50 * MS)]
    assert list(windows.feed(block(800, 1_119))) == []
    assert list(windows.feed(block(1_119, 1_440))) == [
        Span(320, 1_120, 20 * MS, 70 * MS),
        Span(640, 1_440, 40 * MS, 90 * MS),
    ]


def test_places_and_times_count_from_the_first_block() -> None:
    windows, _, _ = audio()
    (span,) = windows.feed(block(0, 1_000, first=5_000, ns=7))
    assert span == Span(5_000, 5_800, 7, 50 * MS + 7)
    assert (windows.next_index, windows.end_ns) == (6_000, 62_500_000 + 7)


def test_behind_a_reset_everything_counts_from_the_next_block() -> None:
    windows, frontend, tensor = audio()
    list(windows.feed(block(0, 1_500)))
    windows.reset()
    spans = []
    for span in windows.feed(AudioBlock(SAMPLES[2_000:2_900], 40_000, 3, RATE_HZ)):
        windows.fill()
        spans.append(span)
    assert spans == [Span(40_000, 40_800, 3, 50 * MS + 3)]
    assert tensor.view.tolist() == log_mel(SPEC, SAMPLES[2_000:2_800]).tolist()
    assert frontend.resets == 2  # the first one is its own


def test_the_time_of_later_blocks_is_counted_not_believed() -> None:
    windows, _, _ = audio()
    list(windows.feed(block(0, 800)))
    late = AudioBlock(SAMPLES[800:1_200], 800, 999 * MS, RATE_HZ)
    assert list(windows.feed(late)) == [Span(320, 1_120, 20 * MS, 70 * MS)]
    assert windows.end_ns == 75 * MS


@pytest.mark.parametrize(("first", "missing"), [(800, False), (801, True), (799, True)])
def test_samples_are_missing_when_a_block_does_not_begin_where_the_last_one_ended(
    first: int, missing: bool
) -> None:
    windows, _, _ = audio()
    assert not windows.missing(block(first, 900))  # nothing was before
    list(windows.feed(block(0, 800)))
    assert windows.missing(block(first, 900)) is missing
    windows.reset()
    assert not windows.missing(block(first, 900))


def test_a_picture_never_tells_a_microphone_that_samples_are_missing() -> None:
    windows, _, _ = audio()
    list(windows.feed(block(0, 800)))
    assert not windows.missing(picture(5, 0))


@pytest.mark.parametrize(
    ("item", "said"),
    [
        (Frame(np.zeros((2, 2, 3), np.uint8), 0, 0), "for a microphone, the source gives frames of a camera"),
        (AudioBlock(SAMPLES[:1], 0, 0, 8_000), "for 16000 Hz, the source gives 8000 Hz"),
    ],
)
def test_what_is_not_sound_at_the_rate_of_the_bundle_is_refused(item: Any, said: str) -> None:
    windows, _, _ = audio()
    with pytest.raises(InputError, match=said) as caught:
        list(windows.feed(item))
    assert caught.value.reason is Reason.SOURCE_MISMATCH


# ---- what windows hold


@settings(max_examples=150)
@given(
    window_frames=st.integers(1, 6),
    hop_frames=st.integers(1, 9),
    cuts=st.lists(st.integers(0, 1_500), max_size=12),
    lazy=st.lists(st.booleans(), min_size=14, max_size=14),
    filled=st.integers(0, 2**32 - 1),
)
def test_a_filled_window_is_what_the_frontend_says_about_its_samples_alone(
    window_frames: int, hop_frames: int, cuts: list[int], lazy: list[bool], filled: int
) -> None:
    """Whatever the hop, however sound is cut, whichever windows are left out, now lazily fed, now not."""
    spec = AudioPreprocess(window_frames=window_frames, mel_bands=4, hop_frames=hop_frames)
    windows, _, tensor = audio(spec)
    found = 0
    start = 0
    for number, size in enumerate([*cuts, 1_500]):
        stop = min(start + size, len(SAMPLES))
        for span in windows.feed(block(start, stop, first=90), lazy=lazy[number]):
            assert span.start_index == 90 + found * hop_frames * 160
            assert span.end_index == span.start_index + spec.window_samples
            if filled >> found % 32 & 1:
                windows.fill()
                alone = log_mel(spec, SAMPLES[span.start_index - 90 : span.end_index - 90])
                np.testing.assert_array_equal(tensor.view, alone)
            found += 1
        start = stop
    assert found == max(0, (start - spec.window_samples) // (hop_frames * 160) + 1)


def test_a_window_may_be_filled_twice() -> None:
    windows, frontend, tensor = audio()
    for _ in windows.feed(block(0, 800), lazy=True):
        windows.fill()
        before = tensor.view.copy()
        tensor.view[...] = 0
        windows.fill()
        np.testing.assert_array_equal(tensor.view, before)
    assert frontend.total == 800


# ---- what is computed


def test_every_sample_is_computed_once_however_many_windows_it_is_in() -> None:
    windows, frontend, _ = audio()
    for start in range(0, 8_000, 500):
        for _ in windows.feed(block(start, start + 500)):
            windows.fill()
    assert np.concatenate(frontend.given).tolist() == SAMPLES.tolist()


def test_lazily_fed_nothing_is_computed_until_a_window_is_filled_and_then_only_its_samples() -> None:
    windows, frontend, _ = audio()
    for start in range(0, 3_200, 400):
        for span in windows.feed(block(start, start + 400), lazy=True):
            if span.start_index == 1_600:
                assert frontend.total == 0
                windows.fill()
    assert np.concatenate(frontend.given).tolist() == SAMPLES[1_600:2_400].tolist()


def test_neighbours_that_are_filled_share_what_they_have_in_common() -> None:
    windows, frontend, _ = audio()
    for span in windows.feed(block(0, 3_200), lazy=True):
        if span.start_index in (320, 640):
            windows.fill()
    assert np.concatenate(frontend.given).tolist() == SAMPLES[320:1_440].tolist()


def test_what_lies_between_windows_is_never_computed_lazily() -> None:
    """A window of 800 samples every 1600: half of them are in none."""
    windows, frontend, _ = audio(AudioPreprocess(window_frames=3, mel_bands=4, hop_frames=10))
    for start in range(0, 4_800, 100):
        for _ in windows.feed(block(start, start + 100), lazy=True):
            windows.fill()
    wanted = [*SAMPLES[:800], *SAMPLES[1_600:2_400], *SAMPLES[3_200:4_000]]
    assert np.concatenate(frontend.given).tolist() == [int(sample) for sample in wanted]


def test_a_stream_that_is_not_lazy_any_more_catches_up_at_once() -> None:
    windows, frontend, _ = audio()
    list(windows.feed(block(0, 1_000), lazy=True))
    assert frontend.total == 0
    list(windows.feed(block(1_000, 1_100)))
    # the window that comes next begins with sample 320
    assert np.concatenate(frontend.given).tolist() == SAMPLES[320:1_100].tolist()
    list(windows.feed(block(1_100, 1_200)))
    assert np.concatenate(frontend.given).tolist() == SAMPLES[320:1_200].tolist()


@pytest.mark.parametrize("hop_frames", [2, 10])
@pytest.mark.parametrize("fill", [True, False])
def test_samples_that_no_later_window_needs_are_let_go(hop_frames: int, fill: bool) -> None:
    windows, _, _ = audio(AudioPreprocess(window_frames=3, mel_bands=4, hop_frames=hop_frames))
    alive: list[tuple[int, weakref.ref[npt.NDArray[np.int16]]]] = []
    for start in range(0, 8_000, 100):
        samples = SAMPLES[start : start + 100].copy()
        alive.append((start, weakref.ref(samples)))
        for _ in windows.feed(AudioBlock(samples, start, start * 62_500, RATE_HZ), lazy=True):
            if fill:
                windows.fill()
        del samples
        stop = start + 100
        # the window that is told next
        begin = max(0, (stop - 800) // (hop_frames * 160) + 1) * hop_frames * 160
        kept = [at for at, ref in alive if ref() is not None]
        assert [at for at in kept if at + 100 <= begin] == []
        if not fill:
            assert kept == [at for at, _ in alive if at + 100 > begin]


def test_frames_of_past_windows_are_let_go() -> None:
    windows, _, _ = audio()
    for start in range(0, 8_000, 200):
        list(windows.feed(block(start, start + 200)))
        assert len(windows._frames) <= SPEC.window_frames


# ---- what a gate hears


def heard_in(spans: Sequence[int], hop_frames: int = 2) -> list[tuple[int, int, int]]:
    """Begin, end and time in ms of the stretches when the windows with these numbers are listened to."""
    windows, _, _ = audio(AudioPreprocess(window_frames=3, mel_bands=4, hop_frames=hop_frames))
    ear = Ear()
    counted = AudioBlock(np.arange(8_000, dtype=np.int16), 100, 0, RATE_HZ)
    for number, _ in enumerate(windows.feed(counted, lazy=True)):
        if number in spans:
            windows.sense(ear)
    assert all(samples == list(range(samples[0], samples[-1] + 1)) for samples, _ in ear.heard)
    assert all(ns % 62_500 == 0 for _, ns in ear.heard)
    return [(samples[0], samples[-1] + 1, ns // 62_500) for samples, ns in ear.heard]


def test_a_gate_hears_stretches_of_one_hop_counted_back_from_the_windows_end() -> None:
    """800 samples are two hops of 320 and a first stretch that has what is left over: 160 more."""
    assert heard_in([0]) == [(0, 480, 480), (480, 800, 800)]


def test_no_sample_is_heard_twice() -> None:
    assert heard_in([0, 1, 2]) == [(0, 480, 480), (480, 800, 800), (800, 1_120, 1_120), (1_120, 1_440, 1_440)]


def test_windows_that_were_not_listened_to_are_heard_as_far_as_a_later_one_holds_them() -> None:
    assert heard_in([0, 2])[2:] == [(800, 1_120, 1_120), (1_120, 1_440, 1_440)]
    assert heard_in([0, 9])[2:] == [(2_880, 3_360, 3_360), (3_360, 3_680, 3_680)]


def test_what_lies_between_windows_is_not_heard() -> None:
    assert heard_in([0, 1], hop_frames=10) == [(0, 800, 800), (1_600, 2_400, 2_400)]


def test_a_gate_hears_the_same_however_sound_is_cut() -> None:
    found = []
    for size in (8_000, 1_000, 77):
        windows, _, _ = audio()
        ear = Ear()
        for start in range(0, 8_000, size):
            for _ in windows.feed(block(start, min(8_000, start + size)), lazy=True):
                windows.sense(ear)
                windows.fill()
        found.append(ear.heard)
    assert found[0] == found[1] == found[2]


def test_a_microphone_has_no_motion_gate() -> None:
    windows, _, _ = audio()
    with pytest.raises(TypeError, match="a microphone has no motion gate"):
        windows.sense(MotionSensor(MotionGate()))


# ---- frames


class Eye(MotionSensor):
    """Notes the pictures it sees."""

    def __init__(self) -> None:
        super().__init__(MotionGate())
        self.seen: list[tuple[int, int]] = []

    def look(self, pixels: npt.NDArray[np.uint8], ns: int) -> None:
        self.seen.append((int(pixels[0, 0, 0]), ns))


def camera(hop_ms: int = 0) -> tuple[FrameWindows, Tensor]:
    tensor = Tensor((4, 4, 3), np.uint8)
    engine: Any = tensor
    return FrameWindows(ImagePreprocessor(ImagePreprocess(width=4, height=4, hop_ms=hop_ms)), engine), tensor


def picture(index: int, ns: int, level: int = 9) -> Frame:
    return Frame(np.full((8, 8, 3), level, np.uint8), index, ns)


def test_a_frame_covers_itself_alone() -> None:
    windows, tensor = camera()
    for span in windows.feed(picture(7, 123, level=200)):
        assert span == Span(7, 8, 123, 123)
        windows.fill()
    assert np.unique(tensor.view).tolist() == [200]
    assert (windows.next_index, windows.end_ns) == (8, 123)


@pytest.mark.parametrize("hop_ms", [1, 100])
def test_one_frame_of_a_cell_is_a_window_and_all_are_counted(hop_ms: int) -> None:
    windows, _ = camera(hop_ms)
    hop_ns = hop_ms * MS
    times = [0, hop_ns - 1, hop_ns, hop_ns + 1, 2 * hop_ns - 1, 2 * hop_ns, 9 * hop_ns]
    found = [span.start_ns for index, ns in enumerate(times) for span in windows.feed(picture(index, ns))]
    assert found == [0, hop_ns, 2 * hop_ns, 9 * hop_ns]
    list(windows.feed(picture(20, 9 * hop_ns + 5)))
    assert (windows.next_index, windows.end_ns) == (21, 9 * hop_ns + 5)


def test_behind_a_gap_the_same_cell_is_a_new_one() -> None:
    windows, _ = camera(hop_ms=100)
    list(windows.feed(picture(0, 0)))
    windows.reset()
    assert len(list(windows.feed(picture(1, 1)))) == 1


def test_frames_stand_for_themselves_so_none_is_ever_missing() -> None:
    windows, _ = camera()
    list(windows.feed(picture(0, 0)))
    assert not windows.missing(picture(50, 5))


def test_a_motion_gate_sees_the_frame_and_its_time() -> None:
    windows, _ = camera()
    eye = Eye()
    for index in range(2):
        for _ in windows.feed(picture(index, index * 10, level=index + 40)):
            windows.sense(eye)
    assert eye.seen == [(40, 0), (41, 10)]
    with pytest.raises(TypeError, match="a camera has no level gate"):
        windows.sense(Ear())


def test_outside_of_a_window_there_is_nothing_to_fill_or_to_sense() -> None:
    windows, _ = camera()
    for act in (windows.fill, lambda: windows.sense(Eye())):
        with pytest.raises(RuntimeError, match="no window is being fed"):
            act()
    list(windows.feed(picture(0, 0)))
    for act in (windows.fill, lambda: windows.sense(Eye())):
        with pytest.raises(RuntimeError, match="no window is being fed"):
            act()


def test_sound_does_not_fit_a_camera() -> None:
    windows, _ = camera()
    with pytest.raises(InputError, match="for a camera, the source gives samples of a microphone") as caught:
        list(windows.feed(block(0, 10)))
    assert caught.value.reason is Reason.SOURCE_MISMATCH


def test_the_kind_of_windows_follows_the_preprocessing() -> None:
    engine: Any = Tensor((1,), np.uint8)
    assert isinstance(windows_of(ImagePreprocessor(ImagePreprocess(width=4, height=4)), engine), FrameWindows)
    assert isinstance(windows_of(LogMelFrontend(SPEC), engine), AudioWindows)
