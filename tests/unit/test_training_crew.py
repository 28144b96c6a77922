"""Processes that prepare samples: same batches whoever makes them, and one line when one of them dies."""

from __future__ import annotations

import contextlib
import hashlib
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from galago_edge.contract.errors import DeviceError, InputError, Reason
from galago_edge.contract.manifest import ImagePreprocess
from galago_edge.recording.sample_media import wav_bytes
from galago_workstation.data import decoded_samples
from galago_workstation.data.augmentation.augment_options import ImageAugment
from galago_workstation.data.augmentation.own_material import own_folders
from galago_workstation.data.batches import Batches, Witness
from galago_workstation.data.decoded_samples import DecodedSamples
from galago_workstation.data.feed import ClipFeed, Feed, PictureFeed, open_feed
from galago_workstation.data.sample import Part, Sample
from galago_workstation.data.sample_preparation import SamplePreparation, WantedBatch
from galago_workstation.data.sample_reader import ImageReader, open_reader
from galago_workstation.data.worker_crew import MOST_WORKERS, Begin, WorkerCrew, usual_workers
from galago_workstation.training_config import ImageFolders, read_config
from test_kit.hostile_data import RATE, encoded, picture, tone

pytestmark = pytest.mark.filterwarnings(
    "ignore:.*multi-threaded, use of fork:DeprecationWarning"  # of Python 3.12; nothing here holds a lock
)


@pytest.fixture
def crews() -> Iterator[Callable[..., WorkerCrew[int, int]]]:
    made: list[WorkerCrew[int, int]] = []

    def make(work: Callable[[int, Begin | None], int], count: int) -> WorkerCrew[int, int]:
        made.append(WorkerCrew(work, count, lambda position: f"pictures/{position}.png"))
        return made[-1]

    yield make
    for crew in made:
        crew.close()


def told(number: int, begin: Begin | None) -> int:
    assert begin is not None
    begin(number)
    return number


def test_results_come_in_the_order_of_the_jobs_and_workers_never_run_far_ahead(
    crews: Callable[..., WorkerCrew[int, int]],
) -> None:
    crew = crews(lambda number, begin: number * number, 3)
    asked: list[int] = []

    def jobs() -> Iterator[int]:
        for number in range(40):
            asked.append(number)
            yield number

    results = crew.results(jobs())
    assert next(results) == (0, 0)
    assert len(asked) == 6  # two for each worker
    assert list(results) == [(number, number * number) for number in range(1, 40)]


def test_a_new_series_ends_one_that_was_left_in_the_middle(
    crews: Callable[..., WorkerCrew[int, int]],
) -> None:
    crew = crews(lambda number, begin: -number, 2)
    left = crew.results(iter(range(100, 200)))
    next(left)
    assert [result for _, result in crew.results(iter(range(9)))] == [-number for number in range(9)]
    assert list(left) == []


def test_what_a_worker_refuses_is_refused_here_with_its_code(
    crews: Callable[..., WorkerCrew[int, int]],
) -> None:
    def refuse(number: int, begin: Begin | None) -> int:
        raise InputError(Reason.IMAGE_UNREADABLE, "a.png is cut off", hint="leave it out")

    with pytest.raises(InputError, match=r"^a.png is cut off$") as caught:
        list(crews(refuse, 1).results([1]))
    assert caught.value.reason == Reason.IMAGE_UNREADABLE
    assert (caught.value.exit_code, caught.value.hint) == (InputError.exit_code, "leave it out")


def test_a_worker_that_dies_or_fails_is_one_line_with_the_sample_that_it_was_at(
    crews: Callable[..., WorkerCrew[int, int]],
) -> None:
    def die(number: int, begin: Begin | None) -> int:
        if told(number, begin) == 7:
            os.kill(os.getpid(), signal.SIGKILL)
        return number

    def fail(number: int, begin: Begin | None) -> int:
        raise ZeroDivisionError(f"what is 1 / {told(number, begin)}?")

    with pytest.raises(DeviceError) as caught:
        list(crews(die, 2).results(range(20)))
    assert caught.value.reason == Reason.TRAIN_CRASHED
    assert str(caught.value) == (
        "a process that prepares samples was ended by SIGKILL; it was at pictures/7.png"
    )
    with pytest.raises(
        DeviceError, match=r"failed \(ZeroDivisionError: what is 1 / 3\?\); it was at pictures/3.png"
    ):
        list(crews(fail, 2).results([3]))


def test_workers_end_with_their_crew(crews: Callable[..., WorkerCrew[int, int]]) -> None:
    crew = crews(lambda number, begin: os.getpid(), 2)
    pids = {pid for _, pid in crew.results(range(4))}
    assert len(pids) == 2 and os.getpid() not in pids
    crew.close()
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_a_crew_that_is_closed_ends_what_was_asked_of_it(
    crews: Callable[..., WorkerCrew[int, int]],
) -> None:
    crew = crews(lambda number, begin: number, 2)
    left = crew.results(range(100))
    assert next(left) == (0, 0)
    crew.close()
    assert list(left) == []


def test_nobody_forks_beside_tensorflow_or_other_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threading, "active_count", lambda: 1)
    monkeypatch.setattr(os, "sched_getaffinity", lambda who: range(99))
    monkeypatch.delitem(sys.modules, "tensorflow", raising=False)
    assert usual_workers() == MOST_WORKERS
    monkeypatch.setitem(sys.modules, "tensorflow", sys)
    assert usual_workers() == 0
    monkeypatch.delitem(sys.modules, "tensorflow")
    monkeypatch.setattr(threading, "active_count", lambda: 2)
    assert usual_workers() == 0


def test_workers_use_opencv_after_their_parent_used_it_with_threads(
    crews: Callable[..., WorkerCrew[int, int]],
) -> None:
    large = np.zeros((1_500, 1_500), np.uint8)  # enough for OpenCV to share it among threads

    def blur(number: int, begin: Begin | None) -> int:
        return int(cv2.GaussianBlur(large + np.uint8(number), (0, 0), 3.0)[0, 0])

    before = cv2.getNumThreads()
    cv2.setNumThreads(4)
    try:
        assert blur(5, None) == 5
        crew = crews(blur, 2)
        assert [result for _, result in crew.results(range(4))] == [0, 1, 2, 3]
        assert cv2.getNumThreads() == 4
    finally:
        cv2.setNumThreads(before)


# ---- the batches of a training


PICTURES = """
[data]
kind = "images"
folder = "samples"
[preprocess]
kind = "image"
width = 12
height = 10
[model]
kind = "mobilenet_v1"
[augment]
strength = "strong"
"""
SOUNDS = """
[data]
kind = "audio"
folder = "samples"
background = ["dog"]
[preprocess]
kind = "logmel"
[model]
kind = "ds_cnn"
[augment]
strength = "strong"
noise_folder = "noise"
room_s = 0
codecs = []
"""


@pytest.fixture(scope="module", params=["pictures", "sounds"])
def data(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a configuration and a few samples."""
    root = tmp_path_factory.mktemp(request.param)
    (root / "c.toml").write_text(PICTURES if request.param == "pictures" else SOUNDS)
    (root / "noise").mkdir()
    (root / "noise" / "rain.wav").write_bytes(wav_bytes(tone(99, 2.0), RATE))
    for at, label in enumerate(("cat", "dog")):
        (root / "samples" / label).mkdir(parents=True)
        for number in range(4):
            seed = 100 * at + number
            place = root / "samples" / label / f"{number}"
            if request.param == "pictures":
                place.with_suffix(".jpg").write_bytes(encoded(".jpg", picture(seed)))
            else:
                place.with_suffix(".wav").write_bytes(wav_bytes(tone(seed, 0.3 + 0.2 * (number % 5)), RATE))
    return root


def opened(root: Path) -> PictureFeed | ClipFeed:
    config = read_config(root / "c.toml")
    reader = open_reader(config, root)
    samples = list(reader.listing().pool)
    parts: dict[Part, list[Sample]] = {"train": samples, "validation": [], "test": []}
    material = own_folders(config.augment, root, parts)
    return open_feed(config, reader, samples, root, background={1}, material=material)


def batches_of(feed: Feed, workers: int, epochs: range = range(2)) -> list[tuple[Any, Any]]:
    """Return all batches of two turns through the set for each epoch."""
    labels = [index % 2 for index in range(len(feed))]
    preparation = SamplePreparation(feed, workers)
    batches = Batches(
        feed,
        labels,
        classes=2,
        batch_size=8,
        least_steps=2,
        seed=3,
        witness=Witness(feed),
        preparation=preparation,
    )
    with contextlib.closing(preparation):
        return list(batches.of(epochs))


def is_same(some: list[tuple[Any, Any]], others: list[tuple[Any, Any]]) -> bool:
    return len(some) == len(others) and all(
        one.dtype == other.dtype and np.array_equal(one, other)
        for pair in zip(some, others, strict=True)
        for one, other in zip(*pair, strict=True)
    )


def test_the_number_of_workers_changes_no_bit_of_any_batch(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("galago_workstation.data.sample_preparation._PIECE", 4)  # so that a batch is shared
    feed = opened(data)
    three = batches_of(feed, 3)
    assert len(three) == 4 and not is_same(three[:1], three[1:2])
    assert is_same(batches_of(feed, 1), three)
    assert is_same(batches_of(feed, 0), three)
    assert is_same(batches_of(feed, 0, range(1, 2)), three[2:])  # goes on behind the first epoch


def test_what_does_not_fit_into_memory_gives_the_same_batches(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = opened(data)
    in_memory = batches_of(held, 0)
    third = sum(held.held[index].nbytes for index in range(len(held))) // 3
    monkeypatch.setattr(decoded_samples, "MEMORY_BYTES", third)
    monkeypatch.setattr(decoded_samples, "_free_share", lambda folder: third)
    feed = opened(data)
    assert 0 < feed.held.decodes_anew < len(feed)
    assert is_same(batches_of(feed, 2), in_memory)
    assert is_same(batches_of(feed, 0), in_memory)
    assert sorted(path.name for path in data.iterdir()) == ["c.toml", "noise", "samples"]


def test_a_sample_that_changes_midway_is_one_line_with_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decoded_samples, "MEMORY_BYTES", 0)
    monkeypatch.setattr(decoded_samples, "_free_share", lambda folder: 0)
    (tmp_path / "a").mkdir()
    samples = []
    for number in range(3):
        path = tmp_path / "a" / f"{number}.png"
        path.write_bytes(encoded(".png", picture(number, 10, 12)))
        samples.append(Sample(f"a/{number}.png", path, hashlib.sha256(path.read_bytes()).hexdigest(), 0))
    reader = ImageReader(ImageFolders(folder="."), ImagePreprocess(width=12, height=10), tmp_path)
    feed = PictureFeed(reader, samples, ImageAugment(noise=3.0), 1, None)
    preparation = SamplePreparation(feed, 2)
    batches = Batches(
        feed, [0, 0, 0], classes=1, batch_size=2, seed=1, witness=Witness(feed), preparation=preparation
    )
    with contextlib.closing(preparation):
        running = batches.of(range(100))
        next(running)
        (tmp_path / "a" / "1.png").write_bytes(encoded(".png", picture(77, 10, 12)))
        with pytest.raises(InputError, match=r"^a/1.png has changed: its hash was") as caught:
            list(running)
    assert caught.value.reason == Reason.DATA_BAD


def test_samples_of_one_batch_that_were_used_more_or_less_often_are_each_changed_in_their_own_way(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("galago_workstation.data.sample_preparation._PIECE", 2)
    feed = opened(data)
    indices, uses = np.array([3, 3, 1, 2, 3]), np.array([0, 1, 0, 0, 2])
    for workers in (2, 0):
        preparation = SamplePreparation(feed, workers)
        with contextlib.closing(preparation):
            ((_, changed),) = preparation.of([WantedBatch(0, 0, indices, uses)])
        for row, (index, use) in enumerate(zip(indices, uses, strict=True)):
            alone = feed.augmented(int(use), np.array([index]))
            assert np.array_equal(changed.inputs[row], alone.inputs[0])
            assert (changed.partners[row], changed.shares[row]) == (alone.partners[0], alone.shares[0])


# ---- where decoded samples are


def numbered(count: int) -> list[Sample]:
    return [Sample(f"{number}", None, "", 0) for number in range(count)]


def decoded(sample: Sample) -> npt.NDArray[np.int16]:
    return np.full(100 + int(sample.id), int(sample.id), np.int16)


def test_samples_are_kept_in_memory_then_on_the_disk_and_the_rest_is_decoded_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decoded_samples, "MEMORY_BYTES", 2 * (100 + 101) + 1)
    asked: list[str] = []

    def decode(sample: Sample) -> npt.NDArray[np.int16]:
        asked.append(sample.id)
        return decoded(sample)

    held = DecodedSamples(decode, numbered(6), np.int16, tmp_path, disk_bytes=2 * (102 + 103))

    assert asked == ["0", "1", "2", "3", "4", "5"]
    assert all(np.array_equal(held[index], decoded(sample)) for index, sample in enumerate(numbered(6)))
    assert asked[6:] == ["4", "5"]
    assert [held.length(index) for index in range(6)] == [100, 101, 102, 103, 104, 105]
    assert held.decodes_anew == 2
    assert held.said() == (
        "decoded training samples: 0.0 GiB in memory, 0.0 GiB in a file on the disk, "
        "0.0 GiB (2 samples) decoded anew in every epoch"
    )
    assert list(tmp_path.iterdir()) == []  # the file has no name
    assert DecodedSamples(decoded, numbered(2), np.int16, tmp_path).said() is None


def test_a_sample_that_no_worker_can_decode_is_told_before_training(tmp_path: Path) -> None:
    def decode(sample: Sample) -> npt.NDArray[np.int16]:
        if sample.id == "290":
            raise InputError(Reason.AUDIO_TRUNCATED, f"{sample.id} is cut off", hint="leave it out")
        return decoded(sample)

    with pytest.raises(InputError, match=r"^290 is cut off$"):
        DecodedSamples(decode, numbered(300), np.int16, tmp_path)
