"""Raw samples on a pipe that may close and be opened again."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from galago_edge.contract.errors import CallerError, LinkError, Reason
from galago_edge.contract.settings import SourceSettings
from galago_edge.contract.streams import AudioBlock, Gap
from galago_edge.sources import parse_source
from galago_edge.sources.capture import open_capture
from galago_edge.sources.capture.pipe_capture import PipeCapture
from galago_edge.sources.supervised_source import Supervised

RATE_HZ = 16_000
FOREVER_S = 60.0


def noise(samples: int) -> npt.NDArray[np.int16]:
    return np.random.default_rng(1).integers(-30_000, 30_000, samples, dtype=np.int16)


@pytest.fixture
def fifo(tmp_path: Path) -> Path:
    os.mkfifo(tmp_path / "hall")
    return tmp_path / "hall"


@pytest.fixture
def writer(fifo: Path) -> Iterator[int]:
    """A writing end that is there before the capture is."""
    fd = os.open(fifo, os.O_RDWR)
    yield fd
    os.close(fd)


def opened(fifo: Path, **settings: float) -> PipeCapture:
    capture = open_capture(
        parse_source(f"pipe:{fifo}"), SourceSettings(address="x", **settings), rate_hz=RATE_HZ
    )
    assert isinstance(capture, PipeCapture)
    return capture


def walk(capture: PipeCapture) -> list[AudioBlock]:
    """Every block up to the end that the writer makes."""
    blocks = []
    with pytest.raises(LinkError, match=r"the writer of pipe .* closed it") as caught:
        while True:
            block = capture.read(FOREVER_S)
            assert block is not None
            blocks.append(block)
    assert caught.value.reason is Reason.SOURCE_LOST
    capture.close()
    return blocks


@pytest.mark.parametrize("chunk", [1, 333, 60_000])
def test_every_sample_arrives_until_the_writer_closes(fifo: Path, chunk: int) -> None:
    data = noise(5_001).tobytes() + b"\x01"  # half a sample at the end is none

    def write() -> None:
        with fifo.open("wb", buffering=0) as file:
            for at in range(0, len(data), chunk):
                file.write(data[at : at + chunk])

    thread = threading.Thread(target=write)
    thread.start()
    capture = opened(fifo)
    assert capture.description() == {
        "kind": "pipe",
        "name": "hall",
        "encoding": "s16",
        "channels": 1,
        "rate_hz": RATE_HZ,
    }
    blocks = walk(capture)
    thread.join()
    np.testing.assert_array_equal(np.concatenate([block.samples for block in blocks]), noise(5_001))
    ends = np.cumsum([0] + [len(block.samples) for block in blocks])
    assert [block.first_sample for block in blocks] == ends[:-1].tolist()
    assert all(block.captured_ns <= time.monotonic_ns() for block in blocks)


def test_a_pipe_is_opened_again_after_its_writer_left(fifo: Path) -> None:
    for level in (5, 6):
        data = np.full(1_000, level, np.int16).tobytes()
        thread = threading.Thread(target=fifo.write_bytes, args=(data,))
        thread.start()
        blocks = walk(opened(fifo))
        thread.join()
        assert blocks[0].first_sample == 0
        assert {int(value) for block in blocks for value in block.samples} == {level}


def test_a_silent_writer_gives_none_and_a_little_is_kept_for_later(fifo: Path, writer: int) -> None:
    os.write(writer, noise(100).tobytes())
    capture = opened(fifo)
    assert capture.read(0.01) is None  # less than 20 ms
    os.write(writer, noise(400).tobytes())
    block = capture.read(FOREVER_S)
    assert block is not None and len(block.samples) == 500
    assert capture.read(0) is None
    capture.close()


@pytest.mark.parametrize("left", [False, True])
def test_a_pipe_that_nobody_writes_to_is_a_missing_source(fifo: Path, left: bool) -> None:
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    if left:  # one came and went without a word
        os.close(os.open(fifo, os.O_WRONLY))
    with pytest.raises(LinkError, match="nobody writes to pipe") as caught:
        opened(fifo, open_s=0.05)
    os.close(reader)
    assert caught.value.reason is Reason.SOURCE_MISSING and caught.value.hint


@pytest.mark.parametrize("head", [b"RIFF\x24\x00\x00\x00WAVE", b"fLaC\x00", b"OggS\x00"])
def test_a_file_format_in_the_pipe_is_refused(fifo: Path, writer: int, head: bytes) -> None:
    os.write(writer, head)
    with pytest.raises(LinkError, match="expected raw signed 16-bit") as caught:
        opened(fifo)
    assert caught.value.reason is Reason.SOURCE_MISMATCH


def test_what_is_not_there_or_no_pipe_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LinkError, match=r"nothing cannot be opened \(No such file") as caught:
        opened(tmp_path / "nothing")
    assert caught.value.reason is Reason.SOURCE_MISSING
    (tmp_path / "file").write_bytes(bytes(1_000))
    with pytest.raises(LinkError, match="file is no pipe") as caught:
        opened(tmp_path / "file")
    assert caught.value.reason is Reason.SOURCE_MISMATCH


def test_a_rate_must_be_known(fifo: Path) -> None:
    with pytest.raises(CallerError, match=r"rate of pipe .* is not known"):
        open_capture(parse_source(f"pipe:{fifo}"), SourceSettings(address="x"))


def test_a_writer_that_is_ahead_of_the_clock_waits(fifo: Path, writer: int) -> None:
    now = [0]
    os.write(writer, noise(30_000).tobytes())  # 1.9 s at once
    address = parse_source(f"pipe:{fifo}")
    capture = PipeCapture(address, SourceSettings(address="x"), RATE_HZ, clock_ns=lambda: now[0])
    first = capture.read(0)
    assert first is not None and len(first.samples) == 30_000
    os.write(writer, noise(30_000).tobytes())
    second = capture.read(0)  # two seconds ahead are allowed
    assert second is not None and second.first_sample == 30_000
    os.write(writer, noise(30_000).tobytes())
    assert capture.read(0) is None
    now[0] = 2_000_000_000
    third = capture.read(0)
    assert third is not None and third.first_sample == 60_000
    capture.close()


def test_a_stream_on_a_pipe_that_was_full_already_begins_with_its_samples_and_no_gap(
    fifo: Path, writer: int
) -> None:
    os.write(writer, noise(20_000).tobytes())
    settings = SourceSettings(address=f"pipe:{fifo}")
    source = Supervised("hall", lambda: opened(fifo), "microphone", settings)
    items = iter(source)
    first = next(item for item in items if isinstance(item, AudioBlock | Gap))
    assert isinstance(first, AudioBlock) and (first.first_sample, first.captured_ns) == (0, 0)
    source.stop()
    assert not [item for item in items if isinstance(item, Gap) and item.from_ns == item.to_ns]
