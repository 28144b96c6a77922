"""A tap records everything of its source in its order, holds nobody up, and says what it lost."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from galago_edge.contract.errors import LinkError, Reason
from galago_edge.contract.records import EventRecord, GapRecord, Record, StateRecord
from galago_edge.contract.settings import RecordingSettings
from galago_edge.contract.streams import NS_PER_S, Coded, Frame, Gap, Notice
from galago_edge.recording.source_tap import SourceTap
from galago_edge.recording.tap_folder import TapFolder
from galago_edge.recording.tap_writer import Drop
from real_parts import wait_for
from test_kit.taps import RATE_HZ, MemoryTap, MemoryTaps, coded_frame, jpeg_frame, sound_block


class Desk:
    """A tap with its disk."""

    def __init__(self, root: Path) -> None:
        self.root, self.disk = root, MemoryTaps()
        self.told: list[StateRecord] = []
        self.now_s = 0.0
        self.taps: list[SourceTap] = []
        self.folder: TapFolder

    def tap(self, mode: str = "always", **settings: Any) -> SourceTap:
        table = RecordingSettings(mode=mode, keep_free_mb=0, **settings)  # type: ignore[arg-type]
        self.folder = TapFolder(table, self.root)

        def tell(records: Sequence[Record]) -> None:
            self.told += [record for record in records if isinstance(record, StateRecord)]

        tap = SourceTap(
            "yard",
            table,
            self.folder,
            self.disk,
            tell,
            lambda: {"device": "porch"},
            clock_s=lambda: self.now_s,
        )
        self.taps.append(tap)
        return tap

    @property
    def only(self) -> MemoryTap:
        (one,) = self.disk.recordings
        return one


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    made = Desk(tmp_path)
    yield made
    made.disk.going.set()
    for tap in made.taps:
        tap.close()


def event(start_ns: int, end_ns: int, *, label: str = "dog", stream: str = "hall") -> EventRecord:
    return EventRecord(
        stream=stream, seq=0, label=label, score=0.9, start_index=0, end_index=1, start_ns=start_ns,
        end_ns=end_ns, bundle="b", backend="cpu",
    )  # fmt: skip


def indexes(recording: MemoryTap) -> list[int | None]:
    """The frames of a recording."""
    return [call[1] for call in recording.calls if call[0] in ("picture", "coded")]


def test_everything_of_a_source_is_recorded_in_its_order(desk: Desk) -> None:
    tap = desk.tap()
    gap, notice = Gap(0, 5, "connecting"), Notice("healthy", 0, 5, {})
    missing = GapRecord(stream="hall", from_ns=0, to_ns=5, cause="connecting")
    frames = [jpeg_frame(index) for index in range(3)]
    for item in (gap, notice, *frames):
        tap.item(item)
    tap.told([missing])
    tap.missed("hall", 1, 2, 10, 20, "drop")
    tap.close()
    assert desk.only.closed and desk.only.path.exists()
    assert desk.only.calls == [
        ("gap", gap),
        ("notice", notice),
        *(("picture", frame.index, frame.captured_ns, "jpeg", frame.encoded) for frame in frames),
        ("record", missing),
        ("drop", Drop("hall", "drop", 1, 2, 10, 20)),
    ]
    assert not tap.lost and not tap.fault and tap.finished == 1


def test_sound_is_recorded_at_the_rate_of_the_device(desk: Desk) -> None:
    tap = desk.tap()
    blocks = [sound_block(0), sound_block(1_600), sound_block(9_000)]
    for block in blocks:
        tap.item(block)
    tap.close()
    assert all(one is other for one, other in zip(desk.only.all("sound"), blocks, strict=True))


def test_raw_pictures_become_png_without_loss(desk: Desk) -> None:
    tap = desk.tap()
    pixels = np.random.default_rng(5).integers(0, 256, (6, 8, 3), np.uint8)
    tap.item(Frame(pixels, 4, 40))
    tap.close()
    ((index, ns, form, data),) = desk.only.all("picture")
    assert (index, ns, form) == (4, 40, "png")
    np.testing.assert_array_equal(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR), pixels)


def test_a_recording_says_which_bundles_decided_and_when_its_time_began(desk: Desk) -> None:
    tap = desk.tap()
    tap.decides("hall", {"bundle": "old", "overrides": {}, "view": {"rotate": 90}})
    started = {"bundle": "abc", "overrides": {"dog": {}}, "runtime": "x"}
    tap.told([StateRecord(stream="hall", subject="stream", state="started", index=0, ns=0, detail=started)])
    tap.close()
    about = desk.only.about
    assert about["device"] == "porch" and about["streams"] == {
        "hall": {"bundle": "abc", "overrides": {"dog": {}}, "view": {"rotate": 90}}
    }
    assert about["from_ns"] == 0


def test_a_slow_disk_holds_nobody_up_and_what_it_does_not_take_is_told(desk: Desk) -> None:
    desk.disk.going.clear()
    tap = desk.tap(memory_mb=1)
    tap.item(jpeg_frame(0))
    desk.disk.entered.wait()
    for index in range(1, 4):  # each holds 400 kB: two fit
        tap.item(jpeg_frame(index, size=400_000))
    tap.item(Gap(1, 2, "stall"))  # what is small always has room
    assert tap.lost == {"busy": 1}
    desk.disk.going.set()
    wait_for(lambda: desk.disk.recordings and desk.only.all("gap"), "what had room is written")
    tap.item(jpeg_frame(4))
    tap.close()
    assert indexes(desk.only) == [0, 1, 2, 4]
    assert desk.only.all("drop") == [Drop("", "busy", 3, 4, 300_000_000, 300_000_000)]
    assert [record.detail for record in desk.told] == [{"source": "yard", "lost": {"busy": 1}}]
    assert desk.told[0].state == "incomplete" and desk.told[0].subject == "recording"


def test_behind_a_hole_coded_frames_are_left_out_up_to_the_next_key_frame(desk: Desk) -> None:
    tap = desk.tap()
    for index in (0, 1, 3, 4, 5):  # the packet of 2 is lost
        tap.item(coded_frame(index, key=index in (0, 5), begins=index == 0))
    tap.close()
    assert indexes(desk.only) == [0, 1, 5]
    assert [(drop.cause, drop.from_index) for drop in desk.only.all("drop")] == [
        ("undecodable", 3),
        ("undecodable", 4),
    ]
    assert tap.lost == {"undecodable": 2}


def test_a_new_connection_begins_a_new_row_of_packets(desk: Desk) -> None:
    tap = desk.tap()
    for index, number in ((0, 0), (1, 1), (9, 0), (10, 1)):
        tap.item(coded_frame(index, key=number == 0, begins=number == 0, number=number))
    tap.close()
    assert indexes(desk.only) == [0, 1, 9, 10]


def test_a_recording_ends_after_its_time_and_the_next_begins_at_a_key_frame(desk: Desk) -> None:
    tap = desk.tap(minutes=0.01)  # 0.6 s: behind frame 6
    for index in range(12):
        tap.item(coded_frame(index, key=index % 5 == 0, begins=index == 0))
    tap.close()
    assert [indexes(one) for one in desk.disk.recordings] == [list(range(10)), [10, 11]]
    assert all(one.closed for one in desk.disk.recordings) and not tap.lost
    first = desk.disk.recordings[1].all("coded")[0][2]
    assert isinstance(first, Coded) and first.packets[0].key


def test_a_disk_that_fails_costs_the_recording_alone_and_is_tried_again(desk: Desk) -> None:
    tap = desk.tap()
    tap.item(jpeg_frame(0))
    wait_for(lambda: desk.disk.recordings, "it is open")
    desk.disk.fault = OSError(5, "Input/output error")
    tap.item(jpeg_frame(1))
    wait_for(lambda: tap.fault, "the disk fails")
    assert tap.fault == f"could not record to {desk.folder.path}: Input/output error"
    tap.item(jpeg_frame(2))
    wait_for(lambda: tap.lost == {"failed": 2}, "nothing is tried at once")
    desk.disk.fault, desk.now_s = None, 100.0
    tap.item(jpeg_frame(3))
    tap.close()
    assert [indexes(one) for one in desk.disk.recordings] == [[0], [3]]
    assert [record.state for record in desk.told][:2] == ["failed", "incomplete"] and not tap.fault
    assert sum(record.detail.get("lost", {}).get("failed", 0) for record in desk.told) == 2


def test_a_full_disk_is_a_reason_of_its_own(desk: Desk) -> None:
    desk.disk.fault = LinkError(Reason.NO_SPACE, "full", hint="")
    tap = desk.tap()
    tap.item(jpeg_frame(0))
    tap.close()
    assert tap.lost == {"disk": 1}


def test_what_waits_for_a_hanging_disk_is_counted_at_the_end(desk: Desk) -> None:
    tap = desk.tap()
    desk.disk.going.clear()
    for index in range(3):
        tap.item(jpeg_frame(index))
    desk.disk.entered.wait()
    tap.close(wait_s=0.0)
    assert tap.lost == {"stopped": 2}
    tap.item(jpeg_frame(9))
    assert tap.lost == {"stopped": 3}


# around events


def feed(tap: SourceTap, count: int, make: Callable[[int], Frame], at: dict[int, EventRecord]) -> None:
    """Ten frames a second, and records behind some of them."""
    for index in range(count):
        tap.item(make(index))
        if index in at:
            tap.told([at[index]])
    tap.close()


def test_around_an_event_the_seconds_before_and_after_it_are_recorded(desk: Desk) -> None:
    tap = desk.tap("events", before_s=1.0, after_s=0.5)
    decided = event(3 * NS_PER_S, 3_500_000_000)
    feed(tap, 60, jpeg_frame, {35: decided})
    assert indexes(desk.only) == list(range(20, 41)) and desk.only.closed
    assert desk.only.all("record") == [decided] and not tap.lost and not tap.short


def test_nothing_is_recorded_without_an_event_that_is_wanted(desk: Desk) -> None:
    tap = desk.tap("events", labels=("cat",), streams=("hall",))
    feed(tap, 20, jpeg_frame, {5: event(0, 1), 6: event(0, 1, label="cat", stream="door")})
    assert not desk.disk.recordings


def test_an_event_soon_after_another_extends_its_recording(desk: Desk) -> None:
    tap = desk.tap("events", before_s=0.2, after_s=1.0)
    feed(tap, 60, jpeg_frame, {20: event(NS_PER_S, 2 * NS_PER_S), 25: event(2 * NS_PER_S, 2_500_000_000)})
    assert indexes(desk.only) == list(range(8, 36))


def test_no_frame_is_in_two_recordings_of_events(desk: Desk) -> None:
    tap = desk.tap("events", before_s=2.0, after_s=0.2)
    feed(tap, 60, jpeg_frame, {20: event(2 * NS_PER_S, 2 * NS_PER_S), 30: event(3 * NS_PER_S, 3 * NS_PER_S)})
    assert [indexes(one) for one in desk.disk.recordings] == [list(range(23)), list(range(23, 33))]


def test_a_recording_of_an_h264_camera_begins_with_the_key_frame_before(desk: Desk) -> None:
    tap = desk.tap("events", before_s=1.0, after_s=0.2)

    def make(index: int) -> Frame:
        return coded_frame(index, key=index % 8 == 0, begins=index == 0)

    at = {30: event(3 * NS_PER_S, 3 * NS_PER_S), 36: event(3_600_000_000, 3_600_000_000)}
    feed(tap, 60, make, at)
    first, second = desk.disk.recordings
    assert indexes(first) == list(range(16, 33))  # 20 is a second before
    # the packets of the key frame 24 come again, for those behind it lean on them, and no frame of them
    assert indexes(second) == [None] * 9 + list(range(33, 39))
    assert second.all("coded")[0][2].packets[0].number == 24 and not tap.lost


def test_what_came_before_an_event_is_as_long_as_there_is_room_for(desk: Desk) -> None:
    tap = desk.tap("events", memory_mb=1, before_s=100.0, after_s=0.1)  # 500 kB of them

    def make(index: int) -> Frame:
        return jpeg_frame(index, size=99_000)

    for index in range(20):
        tap.item(make(index))
        wait_for(lambda: tap._held_bytes == 0, "it has been taken")
    tap.told([event(2 * NS_PER_S, 2 * NS_PER_S)])
    tap.close()
    assert indexes(desk.only) == [15, 16, 17, 18, 19] and tap.short == 1


def test_the_sound_around_an_event_is_recorded(desk: Desk) -> None:
    tap = desk.tap("events", before_s=0.5, after_s=0.3)
    for at in range(40):
        tap.item(sound_block(at * 1_600))
        if at == 20:
            tap.told([event(2 * NS_PER_S, 2 * NS_PER_S + 100_000_000)])
    tap.close()
    firsts = [block.first_sample / RATE_HZ for block in desk.only.all("sound")]
    assert firsts[0] <= 1.5 and firsts[-1] >= 2.2 and len(firsts) <= 11


def test_two_threads_may_feed_one_tap(desk: Desk) -> None:
    tap = desk.tap()
    threads = [
        threading.Thread(target=lambda: [tap.item(jpeg_frame(index)) for index in range(200)]),
        threading.Thread(target=lambda: [tap.told([event(0, at)]) for at in range(200)]),
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    tap.close()
    assert indexes(desk.only) == list(range(200))
    assert [record.end_ns for record in desk.only.all("record")] == list(range(200))


def late(ns: int) -> GapRecord:
    """A record of a stream that was slow, about what was then."""
    return GapRecord(stream="hall", from_ns=ns - 1, to_ns=ns, cause="drop")


def test_what_a_slow_stream_says_is_in_the_recording_that_it_is_about(desk: Desk) -> None:
    tap = desk.tap(minutes=0.01)  # 0.6 s
    for index in range(9):
        tap.item(jpeg_frame(index))
    tap.told([late(500_000_000), late(750_000_000)])
    tap.missed("hall", 3, 5, 200_000_000, 500_000_000, "")
    for index in range(60, 63):  # more than five seconds behind the first
        tap.item(jpeg_frame(index))
    tap.told([late(400_000_000)])
    tap.close()
    first, second, third = desk.disk.recordings
    assert [indexes(one) for one in (first, second, third)] == [list(range(6)), [6, 7, 8], [60, 61, 62]]
    assert first.all("record") == [late(500_000_000)] and len(first.all("drop")) == 1
    assert second.all("record") == [late(750_000_000)]
    assert third.all("record") == [late(400_000_000)], "too late: the first is closed"
    assert all(one.closed for one in desk.disk.recordings) and tap.finished == 3


def test_what_a_slow_stream_says_of_an_event_is_in_its_recording_and_in_no_other(desk: Desk) -> None:
    tap = desk.tap("events", before_s=0.2, after_s=0.3)
    for index in range(30):
        tap.item(jpeg_frame(index))
        if index == 10:
            tap.told([event(NS_PER_S, NS_PER_S)])
        if index == 20:
            tap.told([late(1_200_000_000), late(1_900_000_000)])
            wait_for(lambda: desk.disk.recordings and not tap.writing, "it has ended")
            assert not desk.only.closed, "it waits for what is still to be said"
        if index == 25:
            tap.told([event(1_500_000_000, 2_500_000_000)])
    tap.close()
    first, second = desk.disk.recordings
    assert indexes(first) == list(range(8, 14)) and indexes(second) == list(range(14, 29))
    assert [one for one in first.all("record") if isinstance(one, GapRecord)] == [late(1_200_000_000)]
    assert [one for one in second.all("record") if isinstance(one, GapRecord)] == [late(1_900_000_000)]
