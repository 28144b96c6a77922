"""The samples folder: what is kept, what is not, and that no stream ever feels it."""

from __future__ import annotations

import errno
import json
import os
import threading
import time
import wave
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from galago_edge.contract.manifest import Label, Manifest
from galago_edge.contract.settings import SamplesSettings
from galago_edge.contract.streams import AudioBlock, Frame, Gap, Notice, Span, WindowSeen, samples_to_ns
from galago_edge.decision import ONE
from galago_edge.host.time_zone import TimeZone
from galago_edge.recording import SampleCollector, SampleFolder, sample_folder
from galago_edge.recording.sample_layout import CONTEXT, class_folder, look, read_stem
from real_parts import small_disk, wait_for
from test_kit import TINY_AUDIO, changed, hollow_manifest

MS = 1_000_000
DAY_NS = 86_400_000 * MS
NOON = 1_795_348_800_000 * MS  # 2026-11-22T12:00:00Z
RATE = TINY_AUDIO.sample_rate_hz


@dataclass
class Loaded:
    manifest: Manifest
    id: str = "b" * 64


def seen(span: Span, scores: npt.NDArray[np.int64], **fields: Any) -> WindowSeen:
    others = {"smoothed": q16(0, 0, 0), "skipped": False, "warm_up": False, "fired": ()}
    return WindowSeen(span, np.zeros(len(scores), np.int8), scores, **others | fields)


def q16(*scores: float) -> npt.NDArray[np.int64]:
    return np.array([round(score * ONE) for score in scores], np.int64)


def manifest(**changes: Any) -> Manifest:
    labels = (Label(name="none", background=True), Label(name="cat"), Label(name="dog"))
    return changed(hollow_manifest(labels=labels, name="pets")[0], **changes)


def picture(number: int) -> npt.NDArray[np.uint8]:
    """Pictures that differ from each other in at least one cell, except where the numbers are equal."""
    cells = np.random.default_rng(number).integers(0, 255, (6, 8, 3), np.uint8)
    return cv2.resize(cells, (64, 48), interpolation=cv2.INTER_NEAREST)


def settings(folder: Path, **changes: Any) -> SamplesSettings:
    given: dict[str, Any] = {"pre_roll_s": 0.0, "post_roll_s": 0.0, "min_interval_s": 0.0, "keep_free_mb": 0}
    return SamplesSettings(dir=str(folder), **given | changes)


class Bench:
    """One samples folder and one camera stream, with a wall clock that can be set."""

    def __init__(self, folder: Path, **changes: Any) -> None:
        self.wall_ns = NOON
        self.clock_ns = 0
        self.root = folder
        self.folder = SampleFolder(
            settings(folder, **changes),
            device="porch",
            wall_ns=lambda: self.wall_ns,
            clock_ns=lambda: self.clock_ns,
            synced=lambda: True,
        )
        self.collector = SampleCollector(self.folder, "door", Loaded(manifest()))
        self.index = 0

    def frame(self, pixels: npt.NDArray[np.uint8], encoded: bytes | None) -> Span:
        frame = Frame(pixels, self.index, self.index * 200 * MS, encoded)
        self.index += 1
        self.collector.item(frame)
        return Span(frame.index, frame.index + 1, frame.captured_ns, frame.captured_ns)

    def see(
        self,
        scores: npt.NDArray[np.int64],
        pixels: npt.NDArray[np.uint8] | None = None,
        *,
        encoded: bytes | None = None,
        **fields: Any,
    ) -> None:
        pixels = picture(self.index) if pixels is None else pixels
        self.collector.window(seen(self.frame(pixels, encoded), scores, **fields))

    def settled(self) -> dict[str, Any]:
        """Wait until nothing waits; return the status."""
        self.folder.close(60.0)
        assert not self.folder._thread.alive
        return self.folder.status()

    def kept(self) -> list[Path]:
        return sorted(path for path in self.root.glob("*/[!.]*/*") if path.is_file())

    def sidecars(self) -> list[dict[str, Any]]:
        return [json.loads(path.read_text()) for path in sorted(self.root.glob(f"*/{CONTEXT}/*.json"))]


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Callable[..., Bench]]:
    made: list[Bench] = []

    def make(folder: Path = tmp_path / "samples", **changes: Any) -> Bench:
        made.append(Bench(folder, **changes))
        return made[-1]

    yield make
    for one in made:
        one.folder.close()


UNSURE = q16(0.1, 0.48, 0.42)
SURE = q16(0.02, 0.9, 0.08)
OTHER = q16(0.02, 0.08, 0.9)


@pytest.mark.parametrize("umask", [0o000, 0o077])
def test_samples_are_for_user_and_group_whatever_the_umask(
    tmp_path: Path, bench: Callable[..., Bench], umask: int
) -> None:
    before = os.umask(umask)
    try:
        one = bench(tmp_path / "var" / "samples")
        one.see(UNSURE)
        one.settled()
    finally:
        os.umask(before)
    paths = [tmp_path / "var", *(tmp_path / "var").rglob("*")]
    assert {path.stat().st_mode & 0o777 for path in paths if path.is_file()} == {0o640}
    assert {path.stat().st_mode & 0o777 for path in paths if path.is_dir()} == {0o750}
    assert len(one.kept()) == 1


def test_a_window_whose_best_two_scores_are_close_is_kept_with_all_that_was_decided(
    bench: Callable[..., Bench],
) -> None:
    one = bench()
    one.see(SURE, smoothed=q16(0, 0.9, 0))
    one.see(UNSURE, smoothed=q16(0, 0.9, 0))
    status = one.settled()
    assert (status["kept"], status["by_trigger"], status["by_label"]) == (1, {"uncertain": 1}, {"cat": 1})
    (sample,) = one.kept()
    assert sample.parent == one.root / "pets" / "cat" and sample.suffix == ".png"
    assert read_stem(sample.stem, TimeZone())
    assert np.array_equal(cv2.imread(str(sample)), picture(1))  # every pixel as the model got it
    (about,) = one.sidecars()
    assert about["file"] == f"cat/{sample.name}" and about["trigger"] == "uncertain"
    assert about["scores"] == {"cat": 0.479996, "dog": 0.419998, "none": 0.100006}
    assert (about["bundle"], about["name"], about["stream"]) == ("b" * 64, "pets", "door")
    assert (about["device"], about["clock_synced"], about["wall_ns"]) == ("porch", True, NOON)
    assert (about["start_index"], about["end_index"], about["start_ns"]) == (1, 2, 200 * MS)
    assert about["preprocess"] == manifest().preprocess.sha256


def test_scores_near_a_threshold_of_this_device_are_kept_but_not_in_warm_up(
    bench: Callable[..., Bench],
) -> None:
    one = bench()
    one.see(SURE, smoothed=q16(0, 0.62, 0))  # on is 0.7, near is 0.1
    one.see(SURE, smoothed=q16(0, 0.59, 0))
    one.see(SURE, smoothed=q16(0.7, 0, 0))  # a background label has no threshold
    one.see(SURE, smoothed=q16(0, 0.62, 0), warm_up=True)
    here = [changed(label, policy__on=0.3, policy__off=0.2) for label in manifest().labels]
    one.collector = SampleCollector(one.folder, "door", Loaded(manifest()), labels=here)
    one.see(SURE, smoothed=q16(0, 0.62, 0.35))
    one.settled()
    assert [(about["trigger"], about["label"], about["start_index"]) for about in one.sidecars()] in (
        [("near", "cat", 0), ("near", "dog", 4)],
        [("near", "dog", 4), ("near", "cat", 0)],
    )


def test_an_answer_that_stands_alone_between_two_equal_ones_is_kept_as_a_flip(
    bench: Callable[..., Bench],
) -> None:
    one = bench()
    for scores in (SURE, OTHER, SURE, SURE, OTHER, OTHER, SURE):
        one.see(scores, smoothed=q16(0, 0.95, 0))
    one.settled()
    (about,) = one.sidecars()
    assert (about["trigger"], about["label"], about["start_index"]) == ("flip", "dog", 1)
    (sample,) = one.kept()
    assert np.array_equal(cv2.imread(str(sample)), picture(1))  # the window before, not the last one


def test_a_gap_or_a_skipped_window_ends_what_is_compared(bench: Callable[..., Bench]) -> None:
    one = bench()
    one.see(SURE)
    one.see(OTHER)
    one.collector.item(Gap(0, 1, "drop"))
    one.see(SURE)
    one.see(OTHER)
    one.see(q16(0, 0, 0), skipped=True)  # scores of a skipped window are no doubt of the model
    one.see(SURE)
    assert one.settled()["kept"] == 0


def test_sigmoid_scores_are_uncertain_around_one_half_and_not_when_nothing_is_there(tmp_path: Path) -> None:
    folder = SampleFolder(settings(tmp_path))
    bundle = Loaded(manifest(decision__activation="sigmoid"))
    collector = SampleCollector(folder, "door", bundle)
    for index, scores in enumerate((q16(0.01, 0.02, 0.01), q16(0.9, 0.88, 0.0), q16(0.01, 0.55, 0.0))):
        collector.item(Frame(picture(index), index, index * MS))
        collector.window(seen(Span(index, index + 1, index * MS, index * MS), scores))
    folder.close(60.0)
    assert folder.status()["by_trigger"] == {"uncertain": 1} and folder.status()["by_label"] == {"cat": 1}


def test_the_first_event_of_each_label_and_day_is_kept_also_after_a_restart(
    bench: Callable[..., Bench],
) -> None:
    one = bench(min_interval_s=1_000.0)
    one.see(UNSURE)
    one.see(SURE, fired=("cat",))  # no interval holds back a first event
    one.see(SURE, fired=("cat",))
    one.see(SURE, fired=("cat", "dog"))
    assert one.settled()["by_trigger"] == {"first": 2, "uncertain": 1}
    two = bench(min_interval_s=1_000.0)
    two.index = 100
    two.see(SURE, fired=("cat",))
    assert two.settled()["refused"] == {"first": 1}
    three = bench(min_interval_s=1_000.0)
    three.index, three.wall_ns = 200, NOON + DAY_NS
    three.see(SURE, fired=("cat",))
    assert three.settled()["by_trigger"] == {"first": 1}
    assert len(one.kept()) == 4


def test_at_most_one_window_in_an_interval_is_looked_at(bench: Callable[..., Bench]) -> None:
    one = bench(min_interval_s=1.0)
    for _ in range(12):  # 200 ms apart
        one.see(UNSURE)
    assert one.settled()["kept"] == 3


def test_what_looks_like_a_kept_sample_is_not_kept_again_whatever_its_label(
    bench: Callable[..., Bench],
) -> None:
    one = bench()
    base = picture(7)
    noise = np.random.default_rng(1).integers(-6, 7, base.shape)
    noisy = (base.astype(np.int16) + noise).clip(0, 255).astype(np.uint8)
    moved = base.copy()
    moved[:12, :12] = 255 - moved[:12, :12]
    one.see(UNSURE, base)
    one.see(q16(0.0, 0.45, 0.5), noisy)
    one.see(UNSURE, moved)
    status = one.settled()
    assert (status["kept"], status["refused"]) == (2, {"duplicate": 1})
    again = bench()  # what was kept before a restart counts too
    again.see(UNSURE, noisy)
    assert again.settled()["refused"] == {"duplicate": 1}


def test_a_class_gets_its_quota_a_day_over_restarts_and_others_theirs(bench: Callable[..., Bench]) -> None:
    for start in (0, 100):
        one = bench(per_class_per_day=3)
        one.index = start
        for _ in range(2):
            one.see(UNSURE)
        one.see(q16(0.0, 0.45, 0.5))
        one.settled()
    assert [path.parent.name for path in one.kept()] == ["cat"] * 3 + ["dog"] * 2
    assert one.folder.status()["refused"] == {"quota": 1}
    assert one.folder.status()["kept_today"] == 5
    tomorrow = bench(per_class_per_day=3)
    tomorrow.index, tomorrow.wall_ns = 200, NOON + DAY_NS
    tomorrow.see(UNSURE)
    assert tomorrow.settled()["kept"] == 1


def noise_picture(number: int) -> npt.NDArray[np.uint8]:
    """About 450 kB as PNG, and never like another."""
    rng = np.random.default_rng(number)
    pixels = rng.integers(0, 256, (400, 380, 3), np.uint8)
    pixels[:50] = 25 * number
    return pixels


@pytest.mark.parametrize(("limits", "why"), [({"mb_per_day": 1}, "day_budget"), ({"max_mb": 1}, "budget")])
def test_bytes_a_day_and_in_all_hold_over_restarts_and_what_was_taken_away_is_room_again(
    bench: Callable[..., Bench], limits: dict[str, int], why: str
) -> None:
    one = bench(**limits)
    for number in range(3):
        one.see(UNSURE, noise_picture(number))
    assert one.settled()["refused"] == {why: 1}
    two = bench(**limits)
    two.see(UNSURE, noise_picture(3))
    while not (status := two.folder.status())["refused"]:
        time.sleep(0.005)
    assert status["bytes"] <= 1 << 20 and status["bytes_today"] <= 1 << 20 and not status["kept"]
    for path in two.kept():
        path.unlink()  # a human took them
    two.clock_ns = 3_600_000 * MS
    two.see(UNSURE, noise_picture(4))
    assert two.settled()["kept"] == 1
    later = bench(**limits)
    later.wall_ns = NOON + DAY_NS
    for number in (5, 6):
        later.see(UNSURE, noise_picture(number))
    assert later.settled()["kept"] == (2 if why == "day_budget" else 1)


def test_a_wall_clock_that_jumps_by_a_year_gives_no_second_quota_for_a_day(
    bench: Callable[..., Bench],
) -> None:
    one = bench(per_class_per_day=2)
    for jump in (0, 365, 0, -365, 0, -20_700):  # the last one: before 1970
        one.wall_ns = NOON + jump * DAY_NS
        for _ in range(2):
            one.see(UNSURE)
            deadline = time.monotonic() + 60
            while one.folder.status()["waiting"]:
                assert time.monotonic() < deadline
                time.sleep(0.001)
    one.settled()
    days: dict[str, int] = {}
    for path in one.kept():
        named = read_stem(path.stem, TimeZone())
        assert named is not None
        days[named.day] = days.get(named.day, 0) + 1
    assert sorted(days.values()) == [2, 2, 2, 2]


def test_pictures_before_and_after_lie_beside_the_classes_evenly_in_time(
    bench: Callable[..., Bench],
) -> None:
    one = bench(pre_roll_s=0.6, post_roll_s=0.6)
    for _ in range(5):
        one.see(SURE, smoothed=q16(0, 0.95, 0))
    one.see(UNSURE)
    for _ in range(5):
        one.see(SURE, smoothed=q16(0, 0.95, 0))
    one.settled()
    (sample,) = one.kept()
    (about,) = one.sidecars()
    assert about["context"] == [f"{sample.stem}-{roll}{n}.jpg" for roll in ("post", "pre") for n in (1, 2, 3)]
    folder = one.root / "pets" / CONTEXT
    for name, number in (("pre1", 2), ("pre3", 4), ("post1", 6), ("post3", 8)):
        shown = cv2.imread(str(folder / f"{sample.stem}-{name}.jpg")).astype(int)
        differences = [np.abs(shown - picture(other)).mean() for other in range(11)]
        assert int(np.argmin(differences)) == number


def test_the_cameras_own_jpeg_is_kept_byte_for_byte(bench: Callable[..., Bench]) -> None:
    one = bench()
    jpeg = cv2.imencode(".jpg", picture(3))[1].tobytes()
    one.see(UNSURE, cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR), encoded=jpeg)
    one.settled()
    (sample,) = one.kept()
    assert sample.suffix == ".jpg" and sample.read_bytes() == jpeg


def test_end_or_gap_keeps_a_sample_whose_post_roll_is_not_complete(bench: Callable[..., Bench]) -> None:
    one = bench(post_roll_s=5.0)
    one.see(UNSURE)
    one.collector.item(Gap(0, 1, "disconnect"))
    one.see(UNSURE)
    one.collector.close()
    assert one.settled()["kept"] == 2


def test_nothing_is_kept_while_the_source_is_implausible(bench: Callable[..., Bench]) -> None:
    one = bench()
    one.collector.item(Notice("implausible", 0, 0, {"what": "dark"}))
    one.collector.item(Notice("implausible", 0, 0, {"what": "frozen"}))
    one.collector.item(Notice("plausible", 0, 0, {"what": "dark"}))
    one.see(UNSURE)
    one.collector.item(Notice("plausible", 0, 0, {"what": "frozen"}))
    one.see(UNSURE)
    assert one.settled()["kept"] == 1


# sound


def tone(hz: float, first: int, count: int, level: float = 6_000.0) -> npt.NDArray[np.int16]:
    time_s = np.arange(first, first + count) / RATE
    return np.rint(level * np.sin(2 * np.pi * hz * time_s)).astype(np.int16)


def sound_manifest() -> Manifest:
    return changed(manifest(), modality="microphone", preprocess__spec=TINY_AUDIO)


def read_wav(path: Path) -> npt.NDArray[np.int16]:
    with wave.open(str(path), "rb") as file:
        assert (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (1, 2, RATE)
        return np.frombuffer(file.readframes(file.getnframes()), "<i2")


@pytest.mark.parametrize("block", [160, 320, 1_000, 50_000])
def test_a_sound_sample_is_the_window_alone_and_the_context_has_the_rolls(tmp_path: Path, block: int) -> None:
    folder = SampleFolder(settings(tmp_path, pre_roll_s=0.5, post_roll_s=0.25))
    collector = SampleCollector(folder, "hall", Loaded(sound_manifest()))
    sound = np.random.default_rng(5).integers(-9_000, 9_000, 5 * RATE).astype(np.int16)
    first, size = 1_000_003, TINY_AUDIO.window_samples  # long after the stream's start
    at = first + 2 * RATE
    decided = False
    for start in range(0, len(sound), block):
        part = sound[start : start + block]
        collector.item(AudioBlock(part, first + start, samples_to_ns(first + start, RATE), RATE))
        if not decided and first + start + len(part) >= at + size:
            decided = True
            span = Span(at, at + size, samples_to_ns(at, RATE), samples_to_ns(at + size, RATE))
            collector.window(seen(span, UNSURE))
    collector.close()
    folder.close(60.0)
    (sample,) = (tmp_path / "pets" / "cat").iterdir()
    assert np.array_equal(read_wav(sample), sound[2 * RATE : 2 * RATE + size])
    context = tmp_path / "pets" / CONTEXT
    wanted = sound[2 * RATE - RATE // 2 : 2 * RATE + size + RATE // 4]
    assert np.array_equal(read_wav(context / sample.name), wanted)
    about = json.loads((context / f"{sample.stem}.json").read_text())
    assert about["context_start_index"] == at - RATE // 2


def test_no_roll_reaches_over_a_gap(tmp_path: Path) -> None:
    folder = SampleFolder(settings(tmp_path, pre_roll_s=1.0, post_roll_s=1.0))
    collector = SampleCollector(folder, "hall", Loaded(sound_manifest()))
    size = TINY_AUDIO.window_samples

    def give(first: int, seconds: float, hz: float) -> None:
        count = round(seconds * RATE)
        collector.item(AudioBlock(tone(hz, first, count), first, samples_to_ns(first, RATE), RATE))

    def decide(end: int) -> None:
        collector.window(seen(Span(end - size, end, 0, samples_to_ns(end, RATE)), UNSURE))

    give(0, 0.5, 300.0)  # then samples are missing, without a word
    give(RATE, 1.0, 1_000.0)
    decide(2 * RATE)
    give(2 * RATE, 0.1, 1_000.0)
    collector.item(Gap(2 * RATE, 3 * RATE, "stall"))
    give(3 * RATE, 2.0, 3_000.0)
    folder.close(60.0)
    (sample,) = (tmp_path / "pets" / "cat").iterdir()
    around = read_wav(tmp_path / "pets" / CONTEXT / sample.name)
    assert np.array_equal(around, tone(1_000.0, RATE, RATE + RATE // 10))


def test_sounds_alike_are_told_by_what_sounds_not_by_when(tmp_path: Path) -> None:
    folder = SampleFolder(settings(tmp_path))
    collector = SampleCollector(folder, "hall", Loaded(sound_manifest()))
    size = TINY_AUDIO.window_samples

    def beep(at: int, hz: float, level: float) -> npt.NDArray[np.int16]:
        quiet = np.random.default_rng(at).integers(-30, 31, size).astype(np.int16)
        quiet[at : at + 1_200] += tone(hz, 0, 1_200, level)
        return quiet

    heard = [beep(300, 900, 8_000), beep(1_500, 900, 8_000), beep(300, 3_000, 8_000), beep(300, 900, 800)]
    for number, samples_ in enumerate(heard):
        first = number * size
        collector.item(AudioBlock(samples_, first, samples_to_ns(first, RATE), RATE))
        collector.window(seen(Span(first, first + size, 0, number), UNSURE))
    folder.close(60.0)
    assert (folder.status()["kept"], folder.status()["refused"]) == (3, {"duplicate": 1})


# the folder and the disk


@pytest.mark.parametrize(
    ("label", "name"),
    [
        ("..", "%2E."),
        (".hidden", "%2Ehidden"),
        ("on/off", "on%2Foff"),
        ("käse", "käse"),
        ("%41", "%2541"),
    ],
)
def test_any_label_becomes_one_visible_folder(
    tmp_path: Path, bench: Callable[..., Bench], label: str, name: str
) -> None:
    one = bench()
    labels = (Label(name="none", background=True), Label(name=label), Label(name="dog"))
    one.collector = SampleCollector(one.folder, "door", Loaded(changed(manifest(), labels=labels)))
    one.see(UNSURE)
    one.settled()
    assert class_folder(label) == name
    (sample,) = one.kept()
    assert sample.parent == one.root / "pets" / name


def test_strange_files_in_the_folder_are_counted_and_left_alone(
    bench: Callable[..., Bench], tmp_path: Path
) -> None:
    root = tmp_path / "samples"
    cats = root / "pets" / "cat"
    cats.mkdir(parents=True)
    strange = os.fsencode(cats) + b"/\xff\xfe not utf-8 \n.png"
    with open(strange, "wb") as file:  # noqa: PTH123 - a name that is no text
        file.write(bytes(1_000))
    (cats / ("long" * 60)).write_bytes(bytes(500))
    (cats / "loop").symlink_to(root)
    (cats / "nowhere").symlink_to(tmp_path / "nothing")
    os.mkfifo(root / "pets" / "pipe")
    (root / "stray.txt").write_bytes(bytes(24))
    context = root / "pets" / CONTEXT
    context.mkdir()
    (context / ".tmp-0123").write_bytes(bytes(9_000))  # left by a killed process
    (context / "20261122T110000000Z-door-near-aaaaaa.json").write_bytes(b"\xff no json")
    one = bench()
    one.see(UNSURE)
    status = one.settled()
    assert status["kept"] == 1 and not status["fault"]
    assert not (context / ".tmp-0123").exists() and Path(os.fsdecode(strange)).exists()
    on_disk = sum(
        entry.stat().st_size
        for entry in [*root.rglob("*"), *context.iterdir()]
        if entry.is_file() and not entry.is_symlink() and entry.parent != context
    ) + sum(path.stat().st_size for path in context.iterdir())
    assert status["bytes"] == on_disk == look(root, TimeZone()).total_bytes


def test_a_sample_that_a_human_sorts_into_another_class_counts_there(bench: Callable[..., Bench]) -> None:
    one = bench(per_class_per_day=1)
    one.see(UNSURE)
    one.settled()
    (sample,) = one.kept()
    (sample.parent.parent / "dog").mkdir()
    sample.rename(sample.parent.parent / "dog" / sample.name)
    two = bench(per_class_per_day=1)
    two.index = 50
    two.see(UNSURE)
    two.see(q16(0.0, 0.45, 0.5))
    status = two.settled()
    assert (status["by_label"], status["refused"]) == ({"cat": 1}, {"quota": 1})


def test_a_real_full_disk_costs_samples_and_nothing_else(
    tmp_path: Path, bench: Callable[..., Bench], monkeypatch: pytest.MonkeyPatch
) -> None:
    with small_disk(tmp_path / "disk", "1m") as disk:
        ballast = disk / "ballast"
        ballast.write_bytes(bytes(900_000))
        one = bench(disk / "samples")
        one.see(UNSURE, noise_picture(1))  # 450 kB do not fit: statvfs says so
        refused(one, {"disk": 1})
        real = os.statvfs
        monkeypatch.setattr(os, "statvfs", lambda _: real("/"))
        one.see(UNSURE, noise_picture(2))  # now the disk itself must refuse
        refused(one, {"disk": 1, "failed": 1})
        monkeypatch.undo()
        assert "No space left" in one.folder.status()["fault"]
        # no half file, and no class folder without a sample, which galago train would refuse
        assert [path.name for path in (disk / "samples").rglob("*")] == ["pets", CONTEXT]
        ballast.unlink()
        one.see(UNSURE, noise_picture(3))
        status = one.settled()
        assert (status["kept"], status["fault"]) == (1, "")


def refused(one: Bench, wanted: dict[str, int]) -> None:
    deadline = time.monotonic() + 60
    while one.folder.status()["refused"] != wanted:
        assert time.monotonic() < deadline, one.folder.status()
        time.sleep(0.005)


@pytest.mark.parametrize("error", [errno.EROFS, errno.EIO, errno.EACCES], ids=errno.errorcode.get)
def test_a_write_that_fails_halfway_leaves_nothing_and_the_next_one_is_kept(
    bench: Callable[..., Bench], monkeypatch: pytest.MonkeyPatch, error: int
) -> None:
    one = bench(pre_roll_s=1.0)
    real = os.fsync
    calls: list[int] = []

    def fsync(fd: int) -> None:
        calls.append(fd)
        if len(calls) == 3:  # pictures before, then the sidecar, then the sample
            raise OSError(error, os.strerror(error))
        real(fd)

    monkeypatch.setattr(os, "fsync", fsync)
    one.see(SURE)
    one.see(UNSURE)
    refused(one, {"failed": 1})
    assert os.strerror(error) in one.folder.status()["fault"]
    assert [path.name for path in one.root.rglob("*")] == ["pets", CONTEXT]
    one.see(UNSURE)
    assert one.settled()["kept"] == 1


def test_a_slow_disk_never_makes_the_stream_wait(
    bench: Callable[..., Bench], monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on = threading.Event()
    real = os.fsync

    def fsync(fd: int) -> None:
        go_on.wait(60)
        real(fd)

    monkeypatch.setattr(os, "fsync", fsync)
    one = bench()
    for _ in range(30):
        one.see(UNSURE)  # would wait here for ever
    assert not go_on.is_set()
    assert one.folder.status()["refused"]["busy"] >= 20
    go_on.set()
    assert 8 <= one.settled()["kept"] <= 10


def test_what_is_not_kept_at_the_end_is_counted(
    bench: Callable[..., Bench], monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on = threading.Event()
    hangs = threading.Event()

    def fsync(fd: int) -> None:
        hangs.set()
        go_on.wait(60)

    one = bench()
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fsync)
        for _ in range(3):
            one.see(UNSURE)
        assert hangs.wait(60.0)
        one.folder.close(0.1)
        one.see(UNSURE)
        status = one.folder.status()
        assert (status["waiting"], status["refused"]) == (0, {"stopped": 4})
        assert one.folder.unwritten == 4
        go_on.set()
        one.folder.close(60.0)
    assert one.folder.status()["refused"] == {"stopped": 4}


def test_samples_that_could_not_be_counted_at_the_start_are_counted_before_the_first_is_kept(
    bench: Callable[..., Bench], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> None:
        raise RuntimeError("a mistake")

    with monkeypatch.context() as patch:
        patch.setattr(sample_folder, "look", broken)
        one = bench()
        one.see(UNSURE)
        wait_for(lambda: one.folder.status()["waiting"] == 0, "the folder to be done")
        status = one.folder.status()
        assert status["refused"] == {"failed": 1} and "a mistake" in status["fault"]
    one.see(UNSURE)
    assert one.settled()["kept"] == 1


@pytest.mark.parametrize("wall_ns", [-(10**30), 253_402_300_800 * 10**9, 10**30])
def test_a_clock_beyond_every_calendar_costs_no_sample(bench: Callable[..., Bench], wall_ns: int) -> None:
    one = bench()
    one.wall_ns = wall_ns
    one.see(UNSURE)
    assert one.settled()["kept"] == 1


def test_a_fault_of_our_own_ends_collecting_and_not_the_stream(
    bench: Callable[..., Bench], monkeypatch: pytest.MonkeyPatch
) -> None:
    one = bench()

    def broken(*_: Any) -> None:
        raise RuntimeError("a mistake")

    monkeypatch.setattr(one.collector._triggers, "see", broken)
    for _ in range(3):
        one.see(UNSURE)
    status = one.settled()
    assert status["refused"] == {"failed": 1} and "a mistake" in status["fault"]


def test_two_streams_share_one_budget_and_keep_their_bundles_apart(tmp_path: Path) -> None:
    folder = SampleFolder(settings(tmp_path))
    pets = SampleCollector(folder, "door", Loaded(manifest()))
    sounds = SampleCollector(folder, "hall", Loaded(changed(sound_manifest(), bundle__name="sounds")))
    pets.item(Frame(picture(1), 0, 0))
    pets.window(seen(Span(0, 1, 0, 0), UNSURE))
    size = TINY_AUDIO.window_samples
    sounds.item(AudioBlock(tone(500, 0, size), 0, 0, RATE))
    sounds.window(seen(Span(0, size, 0, 1), UNSURE))
    folder.close(60.0)
    assert folder.status()["kept"] == 2
    assert {path.name for path in tmp_path.iterdir()} == {"pets", "sounds"}
    assert folder.status()["bytes"] == look(tmp_path, TimeZone()).total_bytes


def test_nothing_is_made_before_the_first_sample_and_closing_twice_does_no_harm(
    bench: Callable[..., Bench],
) -> None:
    one = bench()
    one.see(SURE)
    one.settled()
    one.folder.close()
    one.see(UNSURE)  # after the end: only counted
    assert not one.root.exists()
    assert one.collector.status() == one.folder.status()
