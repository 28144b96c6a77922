from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from galago_edge.contract.errors import InputError, LinkError, Reason
from galago_edge.contract.streams import AudioBlock, Gap, Item, Notice
from galago_edge.sources import PcmPipe
from galago_edge.sources.live_buffer import NewestBuffer

RATE_HZ = 16_000


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    read, write = os.pipe()
    yield read, write
    for fd in (read, write):
        with contextlib.suppress(OSError):  # the test closed it
            os.close(fd)


def noise(samples: int) -> npt.NDArray[np.int16]:
    return np.random.default_rng(1).integers(-30_000, 30_000, samples, dtype=np.int16)


def samples_of(items: list[Item]) -> npt.NDArray[np.int16]:
    return np.concatenate([item.samples for item in items if isinstance(item, AudioBlock)])


def write_and_close(fd: int, data: bytes, chunk: int = 1 << 30) -> threading.Thread:
    def run() -> None:
        for at in range(0, len(data), chunk):
            rest = data[at : at + chunk]
            while rest:
                rest = rest[os.write(fd, rest) :]
        os.close(fd)

    thread = threading.Thread(target=run)
    thread.start()
    return thread


@pytest.mark.parametrize("live", [True, False])
@pytest.mark.parametrize("chunk", [1, 333, 100_000])
def test_every_sample_arrives_until_end_of_file(pipe: tuple[int, int], live: bool, chunk: int) -> None:
    samples = noise(5_001)
    writer = write_and_close(pipe[1], samples.tobytes(), chunk)
    items = list(PcmPipe(pipe[0], RATE_HZ, RATE_HZ, live=live))
    writer.join()
    np.testing.assert_array_equal(samples_of(items), samples)
    blocks = [item for item in items if isinstance(item, AudioBlock)]
    assert all(block.captured_ns == block.first_sample * 62_500 for block in blocks)
    assert len(blocks) == len(items)


@pytest.mark.parametrize("live", [True, False])
def test_an_odd_last_byte_is_told_and_ignored(pipe: tuple[int, int], live: bool) -> None:
    samples = noise(100)
    writer = write_and_close(pipe[1], samples.tobytes() + b"\x7f")
    items = list(PcmPipe(pipe[0], RATE_HZ, RATE_HZ, live=live))
    writer.join()
    np.testing.assert_array_equal(samples_of(items), samples)
    assert items[-1] == Notice("odd_byte", 100, 6_250_000, {"ignored_bytes": 1})


def test_another_rate_is_converted_and_declared(pipe: tuple[int, int]) -> None:
    writer = write_and_close(pipe[1], noise(48_000).tobytes())
    source = PcmPipe(pipe[0], 48_000, RATE_HZ, live=False, block_samples=999)
    conversion = source.conversion()
    items = list(source)
    writer.join()
    assert conversion is not None and conversion["from"]["rate_hz"] == 48_000
    assert len(samples_of(items)) == RATE_HZ


@pytest.mark.parametrize("head", [b"RIFF\x24\x00\x00\x00WAVE", b"fLaC\x00", b"OggS\x00"])
@pytest.mark.parametrize("live", [True, False])
def test_a_file_format_in_the_pipe_is_refused(pipe: tuple[int, int], head: bytes, live: bool) -> None:
    writer = write_and_close(pipe[1], head + bytes(1_000))
    with pytest.raises(InputError, match="expected raw signed 16-bit") as caught:
        list(PcmPipe(pipe[0], RATE_HZ, RATE_HZ, live=live))
    writer.join()
    assert caught.value.reason is Reason.SOURCE_MISMATCH


def test_a_closed_standard_input_is_a_missing_source(pipe: tuple[int, int]) -> None:
    os.close(pipe[0])
    with pytest.raises(LinkError) as caught:
        PcmPipe(pipe[0], RATE_HZ, RATE_HZ, live=True)
    assert caught.value.reason is Reason.SOURCE_MISSING


def test_a_file_that_is_redirected_is_not_live(tmp_path: Path) -> None:
    (tmp_path / "a.raw").write_bytes(noise(200_000).tobytes())
    with (tmp_path / "a.raw").open("rb") as file:
        source = PcmPipe(file.fileno(), RATE_HZ, RATE_HZ, live=True)
        assert not source.live
        np.testing.assert_array_equal(samples_of(list(source)), noise(200_000))


def test_stop_ends_a_silent_pipe(pipe: tuple[int, int]) -> None:
    os.write(pipe[1], noise(400).tobytes())
    source = PcmPipe(pipe[0], RATE_HZ, RATE_HZ, live=True)
    items = iter(source)
    first = next(items)  # the writer stays open: only stop can end this
    assert isinstance(first, AudioBlock)
    source.stop()
    np.testing.assert_array_equal(samples_of([first, *items]), noise(400))


def test_when_a_recorder_is_not_kept_up_with_the_oldest_become_a_gap(pipe: tuple[int, int]) -> None:
    """The clock says that the writer is not ahead, so 12 s that nobody takes lose the oldest 2 s."""
    samples = noise(12 * RATE_HZ)
    source = PcmPipe(pipe[0], RATE_HZ, RATE_HZ, live=True, clock_ns=iter(range(0, 10**15, 10**12)).__next__)
    captured = threading.Event()
    close = source._buffer.close
    source._buffer.close = lambda error=None: (close(error), captured.set())[0]  # type: ignore[method-assign, assignment]
    thread = threading.Thread(target=source._capture)
    thread.start()
    write_and_close(pipe[1], samples.tobytes()).join()
    assert captured.wait(60)
    thread.join()
    source._captured = lambda: iter(source._buffer)  # type: ignore[method-assign]
    items = list(source)
    assert items[0] == Gap(0, 2_000_000_000, "overrun")
    np.testing.assert_array_equal(samples_of(items), samples[2 * RATE_HZ :])
    assert source.summary() == {"samples": 12 * RATE_HZ, "dropped_samples": 2 * RATE_HZ}
    assert source.dropped == 2 * RATE_HZ  # as the status says


def test_a_writer_that_is_ahead_of_the_clock_waits_and_loses_nothing(pipe: tuple[int, int]) -> None:
    """The clock stands still: 30 s of sound come at once through a buffer of 10 s, as from a file."""
    samples = noise(30 * RATE_HZ)
    asked = threading.Semaphore(0)

    def clock_ns() -> int:
        asked.release()
        return 0

    writer = write_and_close(pipe[1], samples.tobytes())
    source = PcmPipe(pipe[0], RATE_HZ, RATE_HZ, live=True, clock_ns=clock_ns)
    walk = iter(source)
    first = next(walk)
    for _ in range(253):  # the start, each block up to the notice ``ahead``, and: the buffer is full
        assert asked.acquire(timeout=60)
    items = [first, *walk]
    writer.join()
    assert not [item for item in items if isinstance(item, Gap)]
    np.testing.assert_array_equal(samples_of(items), samples)


@pytest.mark.parametrize(("seconds", "told"), [(4, 0), (30, 1)], ids=["was buffered", "is a recording"])
def test_a_writer_that_is_far_ahead_of_the_clock_hands_over_a_recording_which_is_said_once(
    pipe: tuple[int, int], seconds: int, told: int
) -> None:
    samples = noise(seconds * RATE_HZ)
    writer = write_and_close(pipe[1], samples.tobytes())
    items = list(PcmPipe(pipe[0], RATE_HZ, RATE_HZ, live=True, clock_ns=lambda: 0))
    writer.join()
    notices = [item for item in items if isinstance(item, Notice)]
    assert [notice.state for notice in notices] == ["ahead"] * told
    assert all(notice.detail == {"ahead_s": 5.02} for notice in notices)
    np.testing.assert_array_equal(samples_of(items), samples)


def test_a_recorder_that_keeps_pace_with_the_clock_is_never_ahead(pipe: tuple[int, int]) -> None:
    """A clock that every look moves by one block, as a recorder that gives one block after another would."""
    writer = write_and_close(pipe[1], noise(30 * RATE_HZ).tobytes())
    clock_ns = iter(range(0, 10**15, 20_000_000)).__next__
    items = list(PcmPipe(pipe[0], RATE_HZ, RATE_HZ, live=True, clock_ns=clock_ns))
    writer.join()
    assert not [item for item in items if isinstance(item, Notice)]


def test_the_buffer_keeps_the_newest_and_counts_the_rest() -> None:
    buffer: NewestBuffer[int] = NewestBuffer(3)
    for number in range(10):
        buffer.put(number)
    buffer.close()
    assert list(buffer) == [7, 8, 9]
    assert buffer.dropped == 7


def test_the_buffer_gives_what_it_has_before_it_says_what_went_wrong() -> None:
    buffer: NewestBuffer[int] = NewestBuffer(3)
    buffer.put(1)
    buffer.close(LinkError(Reason.SOURCE_LOST, "gone"))
    items = iter(buffer)
    assert next(items) == 1
    with pytest.raises(LinkError, match="gone"):
        next(items)
