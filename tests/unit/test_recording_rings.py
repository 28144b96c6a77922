"""What a stream gave last: sound by its index, pictures evenly in time, both bounded."""

from __future__ import annotations

import itertools

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from galago_edge.contract.streams import AudioBlock, Frame
from galago_edge.recording.rings import ROLL_PICTURES, PictureRing, SoundRing

CAPACITY = 50


def block(first: int, count: int) -> AudioBlock:
    return AudioBlock(value(np.arange(first, first + count)), first, 0, 16_000)


def value(index: np.ndarray) -> np.ndarray:
    """A sample that says where in the stream it is from."""
    return (index * 7_919 % 65_536 - 32_768).astype(np.int16)


@given(
    st.lists(st.tuples(st.integers(0, 40), st.sampled_from([0, 0, 0, 0, 3, 200, -60])), max_size=30),
    st.integers(0, 10**12),
    st.integers(-80, 20),
    st.integers(0, 80),
)
def test_a_cut_gives_exactly_what_came_and_the_newest_samples_are_always_there(
    pushes: list[tuple[int, int]], start: int, back: int, length: int
) -> None:
    ring = SoundRing(CAPACITY)
    at = start
    since = at  # nothing before the last jump may come out
    for count, jump in pushes:
        if jump:
            at = since = max(0, at + jump)
        ring.push(block(at, count))
        at += count
    if not pushes:
        return
    assert ring.end == at
    first, cut = ring.cut(at + back, at + back + length)
    assert np.array_equal(cut, value(np.arange(first, first + len(cut))))
    if len(cut):
        assert first >= max(at + back, since) and first + len(cut) == min(at + back + length, at)
        assert first == max(at + back, since) or at - first >= CAPACITY
    newest, kept = ring.cut(at - CAPACITY, at)
    assert newest == max(at - CAPACITY, since) or not len(kept)
    assert len(kept) == min(CAPACITY, at - since)


def test_a_ring_does_not_grow_with_the_stream() -> None:
    ring = SoundRing(CAPACITY)
    for number in range(1_000):
        ring.push(block(number * 20, 20))
    assert len(ring._samples) <= CAPACITY + 2 * 20


@given(st.lists(st.integers(1, 400), min_size=1, max_size=60))
def test_pictures_before_a_frame_are_few_and_at_most_so_old_and_apart(steps_ms: list[int]) -> None:
    ring = PictureRing(900)
    pixels = np.zeros((2, 2, 3), np.uint8)
    now = 0
    frames = []
    for index, step in enumerate(steps_ms):
        now += step
        frames.append(Frame(pixels, index, now))
        ring.push(frames[-1])
    kept = ring.before(frames[-1])
    assert len(kept) <= ROLL_PICTURES
    assert all(frame.index < frames[-1].index and now - frame.captured_ns <= 900 for frame in kept)
    times = [frame.captured_ns for frame in kept]
    assert all(later - earlier >= 300 for earlier, later in itertools.pairwise(times))
    ring.clear()
    assert ring.before(frames[-1]) == []


def test_a_ring_of_no_time_keeps_nothing() -> None:
    ring = PictureRing(0)
    frame = Frame(np.zeros((2, 2, 3), np.uint8), 0, 0)
    ring.push(frame)
    assert ring.before(Frame(frame.pixels, 1, 0)) == []
