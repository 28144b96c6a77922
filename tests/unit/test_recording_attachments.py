"""Pictures and sounds of events: what is kept, what is not, and that no stream ever feels it."""

from __future__ import annotations

import errno
import hashlib
import io
import os
import stat
import threading
import wave
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import msgspec
import numpy as np
import numpy.typing as npt
import pytest

from galago_edge.contract.attachment import TEMPORARY, attachment_name, is_attachment
from galago_edge.contract.records import AttachmentRecord, EventRecord, Record, decode_record, encode_record
from galago_edge.contract.settings import AttachmentsSettings, ViewSettings
from galago_edge.contract.streams import NS_PER_S, AudioBlock, Frame, Gap, Item, samples_to_ns
from galago_edge.host.file_replacement import FileEffects
from galago_edge.recording import Attacher, AttachmentFolder, attachment_folder
from galago_edge.sources.picture_view import PictureViewer
from galago_edge.sources.view_options import view_of
from real_parts import wait_for
from test_kit import TINY_AUDIO, TINY_IMAGE, changed

NOON = 1_795_348_800_000_000_000  # 2026-11-22T12:00:00Z
RATE = TINY_AUDIO.sample_rate_hz
WINDOW = TINY_AUDIO.window_samples
MS = 1_000_000


class Bench:
    """One folder, with a wall clock that can be set, and streams that attach to their events."""

    def __init__(self, root: Path, effects: FileEffects | None = None, **changes: Any) -> None:
        self.root = root
        self.wall_ns = NOON
        self.records: list[AttachmentRecord] = []
        self.settings = AttachmentsSettings(**{"keep_free_mb": 0} | changes)
        self.folder = AttachmentFolder(
            self.settings, root, self.take, wall_ns=lambda: self.wall_ns, effects=effects
        )

    def take(self, records: Sequence[Record]) -> None:
        for record in records:
            assert isinstance(record, AttachmentRecord)
            assert (self.root / "attachments" / record.file).exists(), "told before it was written"
            self.records.append(record)

    def camera(self, name: str = "hall") -> Attacher:
        return Attacher(self.folder, name, lambda: TINY_IMAGE)

    def microphone(self, spec: Callable[[], Any] = lambda: TINY_AUDIO) -> Attacher:
        return Attacher(self.folder, "door", spec)

    def settled(self) -> Any:
        """Wait until nothing waits; return the status."""
        wait_for(lambda: self.folder.status().waiting == 0, "the folder to be done")
        return self.folder.status()

    def content(self, record: AttachmentRecord) -> bytes:
        return (self.root / "attachments" / record.file).read_bytes()

    def files(self) -> list[str]:
        return sorted(path.name for path in (self.root / "attachments").iterdir())


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Callable[..., Bench]]:
    made: list[Bench] = []

    def make(**changes: Any) -> Bench:
        made.append(Bench(tmp_path, **changes))
        return made[-1]

    yield make
    for one in made:
        one.folder.close(60.0)


def event(number: int = 0, end_index: int = 1, end_ns: int = 0, label: str = "smoke") -> EventRecord:
    return EventRecord(
        stream="hall", seq=number, label=label, score=0.9, start_index=0, end_index=end_index, start_ns=0,
        end_ns=end_ns, bundle="b", backend="cpu",
    )  # fmt: skip


def pixels(number: int = 0, width: int = 64, height: int = 48) -> npt.NDArray[np.uint8]:
    cells = np.random.default_rng(number).integers(0, 255, (6, 8, 3), np.uint8)
    return cv2.resize(cells, (width, height), interpolation=cv2.INTER_LINEAR).astype(np.uint8)


def show(attacher: Attacher, frame: Frame, *events: EventRecord) -> None:
    """Let a frame lead to events."""
    attacher.item(frame)
    attacher.told(events)


def shown(bench: Bench, frame: Frame) -> npt.NDArray[np.uint8]:
    """The picture that an event on this frame carries."""
    show(bench.camera(), frame, event(0, frame.index + 1, frame.captured_ns))
    assert bench.settled().made == 1
    picture = cv2.imdecode(np.frombuffer(bench.content(bench.records[-1]), np.uint8), cv2.IMREAD_COLOR)
    assert picture is not None
    return picture.astype(np.uint8)


# ---- pictures


def test_the_record_says_everything_of_the_file_and_of_its_event(bench: Callable[..., Bench]) -> None:
    one = bench()
    show(one.camera(), Frame(pixels(), 7, 700 * MS), event(3, 8, 700 * MS, "smoke"))
    assert one.settled().made == 1
    (record,) = one.records
    content = one.content(record)
    assert content.startswith(b"\xff\xd8") and record.media_type == "image/jpeg"
    assert (record.bytes, record.sha256) == (len(content), hashlib.sha256(content).hexdigest())
    assert (record.seq, record.label, record.start_index, record.end_index) == (3, "smoke", 0, 8)
    assert (record.start_ns, record.end_ns) == (0, 700 * MS)
    assert (record.from_ns, record.to_ns) == (700 * MS, 700 * MS)
    assert record.file == "20261122T120000000Z-hall-3.jpg" and is_attachment(record.file)
    assert decode_record(encode_record(record)) == record


def test_what_the_camera_itself_sent_is_kept_as_it_is(bench: Callable[..., Bench]) -> None:
    sent = cv2.imencode(".jpg", pixels(1))[1].tobytes()
    one = bench(max_width=64)
    show(one.camera(), Frame(pixels(1), 0, 0, sent), event())
    one.settled()
    assert one.content(one.records[0]) == sent


def test_nothing_but_the_picture_itself_goes_out_of_what_the_camera_sent(
    bench: Callable[..., Bench],
) -> None:
    jpeg = cv2.imencode(".jpg", pixels(1))[1].tobytes()
    place = b"Exif\0\0II*\0 52.5200N 13.4050E"
    sent = jpeg[:2] + b"\xff\xe1" + (len(place) + 2).to_bytes(2, "big") + place + jpeg[2:] + b"tail"
    one = bench()
    show(one.camera(), Frame(pixels(1), 0, 0, sent), event())
    one.settled()
    assert one.content(one.records[0]) == jpeg


def test_a_picture_that_is_too_wide_is_made_smaller_in_its_shape(bench: Callable[..., Bench]) -> None:
    sent = cv2.imencode(".jpg", pixels(1))[1].tobytes()
    assert shown(bench(max_width=32), Frame(pixels(1), 0, 0, sent)).shape == (24, 32, 3)


def test_a_picture_hides_what_the_streams_mask_hides(bench: Callable[..., Bench]) -> None:
    white = np.full((48, 64, 3), 255, np.uint8)
    sent = cv2.imencode(".jpg", white)[1].tobytes()
    view = view_of({}, ViewSettings(rotate=90, mask=((0.0, 0.0, 0.5, 1.0),)))
    seen = PictureViewer(view).frame(Frame(white, 0, 0, sent))
    picture = shown(bench(), seen)
    assert picture.shape == (64, 48, 3)
    assert picture[:, :16].max() < 10 and picture[:, 32:].min() > 245


def test_an_event_whose_frame_is_gone_goes_without_and_that_is_counted(bench: Callable[..., Bench]) -> None:
    one = bench()
    attacher = one.camera()
    attacher.told([event()])
    show(attacher, Frame(pixels(), 5, 0), event(1, 5))
    attacher.item(Gap(0, 1, "stall"))
    attacher.told([event(2, 6)])
    assert one.settled().skipped == {"missed": 3} and not one.records


def test_only_events_with_the_labels_asked_for_carry_something(bench: Callable[..., Bench]) -> None:
    one = bench(labels=("smoke",))
    show(one.camera(), Frame(pixels(), 0, 0), event(0, label="dog"), event(1, label="smoke"))
    status = one.settled()
    assert (status.made, status.skipped) == (1, {}) and one.records[0].seq == 1


def test_beyond_the_rate_of_a_minute_events_go_without_and_that_is_counted(
    bench: Callable[..., Bench],
) -> None:
    one = bench(per_minute=2)
    attacher, other = one.camera(), one.camera("yard")
    for number, second in enumerate((0, 30, 59, 60, 61, 90)):
        show(attacher, Frame(pixels(), number, 0), event(number, number + 1, second * NS_PER_S))
        one.settled()
    show(other, Frame(pixels(), 0, 0), event(9, 1, 59 * NS_PER_S))
    assert one.settled().skipped == {"rate": 2}
    assert [record.seq for record in one.records] == [0, 1, 3, 5, 9]


# ---- sounds


def block(start: int, end: int) -> AudioBlock:
    """Samples that say where they are."""
    numbers = np.arange(start, end, dtype=np.int64) % 30_000
    return AudioBlock(numbers.astype(np.int16), start, samples_to_ns(start, RATE), RATE)


def heard(content: bytes) -> npt.NDArray[np.int16]:
    with wave.open(io.BytesIO(content)) as file:
        assert (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (1, 2, RATE)
        return np.frombuffer(file.readframes(file.getnframes()), "<i2").astype(np.int16)


def sound_event(end: int, number: int = 0) -> EventRecord:
    return event(number, end, samples_to_ns(end, RATE))


def blocks(until: int, start: int = 0, length: int = 800) -> list[Item]:
    return [block(at, min(at + length, until)) for at in range(start, until, length)]


def test_a_sound_holds_its_window_and_the_seconds_around_it(bench: Callable[..., Bench]) -> None:
    one = bench(before_s=0.5, after_s=0.25)
    attacher = one.microphone()
    end = 3 * RATE
    for item in blocks(end):
        attacher.item(item)
    attacher.told([sound_event(end)])
    assert one.settled().made == 0  # what comes after it is still to be heard
    for item in blocks(4 * RATE, end):
        attacher.item(item)
    one.settled()
    (record,) = one.records
    start, stop = end - WINDOW - RATE // 2, end + RATE // 4
    assert np.array_equal(heard(one.content(record)), np.arange(start, stop) % 30_000)
    assert record.media_type == "audio/wav" and record.file.endswith(".wav")
    assert (record.from_ns, record.to_ns) == (samples_to_ns(start, RATE), samples_to_ns(stop, RATE))


@pytest.mark.parametrize("gap", [True, False], ids=["gap", "jump"])
def test_a_sound_ends_and_begins_where_something_is_missing(bench: Callable[..., Bench], gap: bool) -> None:
    one = bench(before_s=30.0, after_s=30.0)
    attacher = one.microphone()
    lost = RATE
    for item in blocks(2 * RATE):
        attacher.item(item)
    attacher.told([sound_event(2 * RATE)])
    after = 2 * RATE + lost
    if gap:
        attacher.item(Gap(samples_to_ns(2 * RATE, RATE), samples_to_ns(after, RATE), "stall"))
    for item in blocks(after + 2 * RATE, after):
        attacher.item(item)
    one.settled()
    attacher.told([sound_event(after + 2 * RATE, 1)])
    attacher.close()
    one.settled()
    first, second = (heard(one.content(record)) for record in one.records)
    assert np.array_equal(first, np.arange(2 * RATE) % 30_000)
    assert np.array_equal(second, np.arange(after, after + 2 * RATE) % 30_000)


def test_the_end_of_a_stream_hands_over_what_waits_for_the_seconds_behind_it(
    bench: Callable[..., Bench],
) -> None:
    one = bench(before_s=0.0, after_s=30.0)
    attacher = one.microphone()
    for item in blocks(2 * RATE):
        attacher.item(item)
    attacher.told([sound_event(RATE)])
    attacher.close()
    one.settled()
    assert len(heard(one.content(one.records[0]))) == WINDOW + RATE


def test_a_bundle_with_longer_windows_that_takes_over_finds_them_whole(bench: Callable[..., Bench]) -> None:
    spec = TINY_AUDIO
    one = bench(before_s=0.0, after_s=0.0)
    attacher = one.microphone(lambda: spec)
    spec = changed(TINY_AUDIO, window_frames=500)
    end = 2 * spec.window_samples
    for item in blocks(end):
        attacher.item(item)
    attacher.told([sound_event(end)])
    one.settled()
    assert len(heard(one.content(one.records[0]))) == spec.window_samples


def test_blocks_of_any_length_give_the_same_sound(bench: Callable[..., Bench]) -> None:
    one = bench(before_s=0.1, after_s=0.1, per_minute=100)
    for length in (37, 800, 5 * RATE):
        attacher = one.microphone()
        for item in blocks(5 * RATE, length=length):
            attacher.item(item)
            if isinstance(item, AudioBlock) and item.first_sample <= 4 * RATE < item.first_sample + length:
                attacher.told([sound_event(4 * RATE)])
        one.settled()
    assert len({record.sha256 for record in one.records}) == 1 and len(one.records) == 3


# ---- the folder


def test_files_are_for_the_services_user_and_group_alone(bench: Callable[..., Bench]) -> None:
    one = bench()
    before = os.umask(0)
    try:
        show(one.camera(), Frame(pixels(), 0, 0), event())
        one.settled()
    finally:
        os.umask(before)
    folder = one.root / "attachments"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o750
    assert [stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()] == [0o640]


def noisy(number: int) -> Frame:
    """A picture that no codec makes small: some 700 KB."""
    noise = np.random.default_rng(number).integers(0, 255, (600, 800, 3), np.uint8)
    return Frame(noise, number, 0)


def test_the_oldest_go_first_and_the_folder_never_grows_beyond_its_budget(
    bench: Callable[..., Bench],
) -> None:
    one = bench(max_mb=2)
    attacher = one.camera()
    for number in range(6):
        one.wall_ns = NOON + number * NS_PER_S
        show(attacher, noisy(number), event(number, number + 1))
        status = one.settled()
        files = one.root / "attachments"
        assert sum(path.stat().st_size for path in files.iterdir()) == status.bytes <= 2_000_000
    status = one.settled()
    assert status.deleted > 0 and status.deleted + status.files == 6
    assert one.files() == [record.file for record in one.records[-status.files :]]


def test_what_earlier_processes_left_counts_and_goes_first(
    tmp_path: Path, bench: Callable[..., Bench]
) -> None:
    folder = tmp_path / "attachments"
    folder.mkdir()
    old = attachment_name(NOON - NS_PER_S, "hall", 4, "image/jpeg")
    future = attachment_name(NOON + 10**18, "hall", 5, "image/jpeg")
    for name in (old, future):
        (folder / name).write_bytes(bytes(900_000))
    (folder / f"{TEMPORARY}abc").write_bytes(b"half")
    (folder / "notes.txt").write_bytes(bytes(5_000_000))  # nobody's business
    one = bench(max_mb=2)
    show(one.camera(), noisy(0), event(0, 1))
    one.settled()
    assert future not in one.files() and old in one.files(), (
        "a clock that was ahead must not keep files for ever"
    )
    for number in (1, 2):
        one.wall_ns += NS_PER_S
        show(one.camera(), noisy(number), event(number, number + 1))
        one.settled()
    assert old not in one.files() and "notes.txt" in one.files()
    assert not any(name.startswith(TEMPORARY) for name in one.files())


def test_a_clock_that_is_set_back_overwrites_no_file(bench: Callable[..., Bench]) -> None:
    one = bench()
    for _ in range(3):
        show(one.camera(), Frame(pixels(), 0, 0), event())
        one.settled()
    assert len({record.file for record in one.records}) == 3
    assert all(is_attachment(record.file) for record in one.records) and one.settled().files == 3


def test_one_that_is_larger_than_the_whole_budget_is_left_out(bench: Callable[..., Bench]) -> None:
    one = bench(max_mb=1)
    big = np.random.default_rng(1).integers(0, 255, (1_200, 1_600, 3), np.uint8)
    show(one.camera(), Frame(big, 0, 0), event())
    assert one.settled().skipped == {"budget": 1}


def test_nothing_is_kept_that_would_leave_too_little_of_the_disk(bench: Callable[..., Bench]) -> None:
    one = bench(keep_free_mb=1_000_000)
    show(one.camera(), Frame(pixels(), 0, 0), event())
    assert one.settled().skipped == {"disk": 1} and one.files() == []


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EIO, errno.EROFS])
def test_a_disk_that_refuses_costs_attachments_and_says_so_until_it_is_well(
    tmp_path: Path, bench: Callable[..., Bench], error: int
) -> None:
    class Effects(FileEffects):
        broken = True

        def fsync(self, fd: int) -> None:
            if self.broken:
                raise OSError(error, os.strerror(error))

    effects = Effects(tmp_path)
    one = bench(effects=effects)
    show(one.camera(), Frame(pixels(), 0, 0), event())
    status = one.settled()
    assert status.skipped == {"failed": 1} and status.fault and one.files() == [] and not one.records
    effects.broken = False
    show(one.camera(), Frame(pixels(), 1, 0), event(1, 2))
    status = one.settled()
    assert (status.made, status.fault) == (1, "")


def test_a_file_is_whole_and_lasting_before_its_record_is_told(
    tmp_path: Path, bench: Callable[..., Bench], monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []

    class Effects(FileEffects):
        def fsync(self, fd: int) -> None:
            super().fsync(fd)
            done.append("file")

        def rename(self, source: Path, target: Path) -> None:
            super().rename(source, target)
            done.append("name")

        def fsync_dir(self, path: Path) -> None:
            super().fsync_dir(path)
            done.append("folder")

    one = bench(effects=Effects(tmp_path))
    monkeypatch.setattr(one.folder, "_tell", lambda records: done.append("told"))
    show(one.camera(), Frame(pixels(), 0, 0), event())
    one.settled()
    assert done == ["folder", "file", "name", "folder", "told"]


def test_a_disk_that_hangs_holds_no_stream_up(tmp_path: Path, bench: Callable[..., Bench]) -> None:
    goes_on = threading.Event()

    class Effects(FileEffects):
        def fsync(self, fd: int) -> None:
            goes_on.wait()

    one = bench(effects=Effects(tmp_path), per_minute=100)
    attacher = one.camera()
    try:
        for number in range(20):  # would stand still here
            show(attacher, Frame(pixels(number), number, 0), event(number, number + 1))
        assert one.folder.status().skipped["busy"] >= 15
    finally:
        goes_on.set()
    status = one.settled()
    assert status.made + status.skipped["busy"] == 20


class Hanging(FileEffects):
    """A disk that stands still until it is told to go on."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.hangs, self.goes_on = threading.Event(), threading.Event()

    def fsync(self, fd: int) -> None:
        self.hangs.set()
        self.goes_on.wait()


def test_what_is_not_written_at_the_end_is_counted_and_never_told_later(
    tmp_path: Path, bench: Callable[..., Bench]
) -> None:
    disk = Hanging(tmp_path)
    one = bench(effects=disk, per_minute=100)
    attacher = one.camera()
    try:
        for number in range(4):
            show(attacher, Frame(pixels(number), number, 0), event(number, number + 1))
        assert disk.hangs.wait(60.0)
        one.folder.close(0.1)
        status = one.folder.status()
        assert (status.waiting, status.skipped, one.folder.unwritten) == (0, {"stopped": 4}, 4)
        show(attacher, Frame(pixels(9), 9, 0), event(9, 10))
        assert one.folder.status().skipped == {"stopped": 5}, "one that comes later is counted, too"
    finally:
        disk.goes_on.set()
    one.folder.close(60.0)
    wait_for(lambda: not one.folder._thread.alive, "its thread to end")
    status = one.folder.status()
    assert (status.made, status.waiting, status.skipped) == (0, 0, {"stopped": 5})
    assert not one.records and one.files() == [], "a file that nobody is told of is not left either"


def test_what_can_be_written_before_the_end_is_told(tmp_path: Path, bench: Callable[..., Bench]) -> None:
    disk = Hanging(tmp_path)
    one = bench(effects=disk)
    for number in range(3):
        show(one.camera(), Frame(pixels(number), number, 0), event(number, number + 1))
    assert disk.hangs.wait(60.0)
    threading.Timer(0.1, disk.goes_on.set).start()
    one.folder.close(60.0)
    status = one.folder.status()
    assert (status.made, status.waiting, status.skipped) == (3, 0, {}) and len(one.records) == 3


def test_what_a_stopped_service_left_half_written_is_swept_at_the_next_start(
    tmp_path: Path, bench: Callable[..., Bench]
) -> None:
    left = tmp_path / "attachments" / f"{TEMPORARY}0123456789abcdef"
    left.parent.mkdir()
    left.write_bytes(b"half")
    bench()
    wait_for(lambda: not left.exists(), "what was left to be swept")


@pytest.mark.parametrize("whole", [True, False], ids=["folder", "some files"])
def test_what_somebody_removes_is_room_again(bench: Callable[..., Bench], whole: bool) -> None:
    one = bench(max_mb=2)
    for number in range(2):
        one.wall_ns += NS_PER_S
        show(one.camera(), noisy(number), event(number, number + 1))
        one.settled()
    for name in one.files()[: None if whole else 1]:
        (one.root / "attachments" / name).unlink()
    if whole:
        (one.root / "attachments").rmdir()
    one.wall_ns += NS_PER_S
    show(one.camera(), noisy(2), event(2, 3))
    status = one.settled()
    sizes = [path.stat().st_size for path in (one.root / "attachments").iterdir()]
    assert (status.files, status.bytes) == (len(sizes), sum(sizes))
    assert (len(sizes), status.deleted) == ((1 if whole else 2), 0), "nothing had to go for it"


@pytest.mark.parametrize("wall_ns", [-(10**30), -(10**18), 253_402_300_800 * NS_PER_S, 10**30])
def test_a_clock_beyond_every_calendar_costs_nothing(bench: Callable[..., Bench], wall_ns: int) -> None:
    one = bench()
    one.wall_ns = wall_ns
    for number in range(3):
        show(one.camera(), Frame(pixels(), number, 0), event(number, number + 1))
        one.settled()
    assert len({record.file for record in one.records}) == 3
    assert all(is_attachment(record.file) for record in one.records)


def test_a_fault_of_our_own_at_the_start_ends_no_thread(
    bench: Callable[..., Bench], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: Any) -> None:
        raise RuntimeError("a mistake")

    with monkeypatch.context() as patch:
        patch.setattr(attachment_folder, "entries_of", broken)
        one = bench()
        show(one.camera(), Frame(pixels(), 0, 0), event())
        assert one.settled().skipped == {"failed": 1} and "a mistake" in one.folder.status().fault
    assert "a mistake" in caplog.text
    show(one.camera(), Frame(pixels(), 1, 0), event(1, 2))
    assert (one.settled().made, one.folder.status().fault) == (1, "")


def test_a_folder_that_is_a_link_is_not_followed(tmp_path: Path, bench: Callable[..., Bench]) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (tmp_path / "attachments").symlink_to(elsewhere)
    one = bench()
    show(one.camera(), Frame(pixels(), 0, 0), event())
    status = one.settled()
    assert status.skipped == {"failed": 1} and "link" in status.fault and not list(elsewhere.iterdir())


def test_a_fault_of_our_own_ends_the_attachments_of_one_stream_and_nothing_else(
    bench: Callable[..., Bench], monkeypatch: pytest.MonkeyPatch
) -> None:
    one = bench()
    broken, other = one.camera(), one.camera("yard")
    monkeypatch.setattr(broken._media, "event", lambda _: 1 // 0)
    for number in range(2):
        show(broken, Frame(pixels(), number, 0), event(number, number + 1))
    show(other, Frame(pixels(), 0, 0), event())
    status = one.settled()
    assert (status.made, status.skipped) == (1, {"failed": 2})


def test_a_table_that_asks_for_nothing_is_refused() -> None:
    with pytest.raises(msgspec.ValidationError, match="neither pictures nor sounds"):
        msgspec.convert({"pictures": False, "sounds": False}, AttachmentsSettings)


@pytest.mark.parametrize(
    "name",
    [
        "../x.jpg",
        "20261122T120000000Z-a/b-3.jpg",
        "20261122T120000000Z-hall-3.png",
        "",
        ".part-1",
        "x\n",
        f"20261122T120000000Z-hall-3-{'1' * 300}.jpg",  # no file system holds it
    ],
)
def test_no_other_name_is_taken_for_an_attachment(name: str) -> None:
    assert not is_attachment(name)


def test_every_name_that_can_be_one_fits_into_a_folder() -> None:
    longest = attachment_name(NOON, "x" * 64, 2**63 - 1, "image/jpeg")
    assert is_attachment(longest) and len(longest) < 200
    assert is_attachment(f"{longest.removesuffix('.jpg')}-999999999.jpg")
    assert not is_attachment(f"{longest.removesuffix('.jpg')}-1000000000.jpg")
