"""What a tap writes to an MCAP file is what the stream had: pictures, times, gaps, drops, records."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from galago_edge.contract.errors import InputError
from galago_edge.contract.records import GapRecord, decode_record
from galago_edge.contract.settings import RecordingSettings, SourceSettings
from galago_edge.contract.streams import AudioBlock, Frame, Gap, Item, Notice
from galago_edge.editing.file_check import check_file
from galago_edge.recorded.record_walk import RecordWalk, StoredMessage
from galago_edge.recorded.recorded_items import drops_of, recorded_sources
from galago_edge.recording.mcap_tap import McapTap
from galago_edge.recording.source_tap import SourceTap
from galago_edge.recording.tap_folder import TapFolder
from galago_edge.recording.tap_writer import Drop
from galago_edge.sources import open_capture, parse_source
from galago_edge.sources.recorded_camera import RecordedCamera
from galago_edge.sources.recorded_microphone import RecordedMicrophone
from real_parts import wait_for
from test_kit.taps import RATE_HZ, coded_frame, sound_block
from test_kit.videos import H264, REORDERED, make_video

FOREVER_S = 60.0


def about(modality: str = "camera") -> dict[str, Any]:
    return {
        "device": "porch",
        "environment": {"galago-edge": "0.1.0"},
        "name": "yard",
        "modality": modality,
        "source": {"kind": modality, "name": "yard"},
        "damaged": "skip",
        "zero_ns": 1_000,
        "monotonic_ns": 2_000,
        "wall_ns": 5,
        "clock_synced": True,
    }


def captured(video: Path, count: int, **settings: Any) -> list[Frame]:
    """Frames of a video that is played as an H.264 camera, with their packets."""
    text = f"camera:file:{video}"
    table = SourceSettings(address=text, open_s=FOREVER_S, stall_s=FOREVER_S, **settings)
    capture = open_capture(parse_source(text), table, packets=True)
    found: list[Frame] = []
    try:
        while len(found) < count:
            if isinstance(item := capture.read(FOREVER_S), Frame):
                found.append(item)
    finally:
        capture.close()
    return found


def recorded(folder: Path, items: list[Item], modality: str = "camera", **more: Any) -> Path:
    settings = RecordingSettings(mode="always", dir=str(folder), keep_free_mb=0)
    tap = SourceTap("yard", settings, TapFolder(settings, folder), McapTap, about=lambda: about(modality))
    tap.decides("gate", {"bundle": "b", "overrides": {"dog": {"on": 0.5}}, "view": {"rotate": 90}})
    for item in items:
        tap.item(item)
    for missed in more.get("missed", ()):
        tap.missed("gate", *missed)
    tap.told(more.get("records", ()))
    tap.close()
    assert not tap.fault and not tap.lost
    (path,) = tap.files
    return path


def test_frames_of_an_h264_camera_come_back_to_the_last_bit(tmp_path: Path) -> None:
    video = make_video(tmp_path / "a.mp4", *H264, source="testsrc2=size=96x64:rate=25:duration=2")
    frames = captured(video, 6, fps=5)  # several packets for each frame
    start_ns = frames[0].captured_ns
    gap, notice = Gap(0, start_ns, "connecting"), Notice("healthy", 0, start_ns, {})
    path = recorded(tmp_path / "out", [gap, notice, *frames])
    report = check_file(path)
    assert not report.faults() and report.sources["yard"].formats == {"h264": 6}
    again = list(RecordedCamera(path, None, None))
    assert again[:2] == [gap, notice]
    pictures = [item for item in again if isinstance(item, Frame)]
    for one, other in zip(pictures, frames, strict=True):
        assert (one.index, one.captured_ns) == (other.index, other.captured_ns)
        np.testing.assert_array_equal(one.pixels, other.pixels)


def test_a_camera_whose_pictures_are_shown_in_another_order_is_refused(tmp_path: Path) -> None:
    video = make_video(tmp_path / "a.mp4", *REORDERED, source="testsrc2=size=96x64:rate=25:duration=1")
    (tmp_path / "x").mkdir()
    writer = McapTap(tmp_path / "x/a.mcap", {**about(), "streams": {}})
    with pytest.raises(InputError, match="yard sends pictures in another order"):
        for frame in captured(video, 6):
            assert frame.coded is not None
            writer.coded(frame.index, frame.captured_ns, frame.coded)
    writer.close()


def test_samples_drops_and_records_come_back(tmp_path: Path) -> None:
    blocks = [sound_block(0), sound_block(1_600)]
    told = GapRecord(stream="gate", from_ns=0, to_ns=5, cause="overrun")
    missed = (100, 200, 10, 20, "overrun")
    path = recorded(tmp_path, [*blocks], "microphone", missed=[missed], records=[told])
    again = [one for one in RecordedMicrophone(path, RATE_HZ, name="yard") if isinstance(one, AudioBlock)]
    samples = np.concatenate([one.samples for one in again])
    np.testing.assert_array_equal(samples, np.concatenate([one.samples for one in blocks]))
    with RecordWalk(path) as walk:
        (source,) = recorded_sources(walk).values()
        assert walk.about is not None
        (stream,) = walk.about.streams
        lines = [
            message.data
            for message in walk.messages(lambda channel: channel.topic == "/out/gate")
            if isinstance(message, StoredMessage)
        ]
    (drop,) = drops_of(path, source, "gate")
    assert (drop.first, drop.end, drop.from_ns, drop.to_ns, drop.cause) == missed
    assert (stream.source, stream.overrides, stream.view) == ("yard", {"dog": {"on": 0.5}}, {"rotate": 90})
    assert [decode_record(line) for line in lines] == [told]


def test_what_the_queue_lost_is_a_gap_of_the_recording(tmp_path: Path) -> None:
    writer = McapTap(tmp_path / "a.mcap", {**about("microphone"), "streams": {}})
    writer.sound(sound_block(0))
    writer.drop(Drop("", "busy", 1_600, 3_200, 100_000_000, 200_000_000))
    writer.sound(sound_block(3_200))
    writer.close()
    assert writer.lost == 0, "the tap has counted it"
    found = list(RecordedMicrophone(tmp_path / "a.mcap", RATE_HZ, name="yard"))
    assert [one.cause for one in found if isinstance(one, Gap)] == ["missing"]


def test_packets_that_later_frames_lean_on_are_no_frames(tmp_path: Path) -> None:
    writer = McapTap(tmp_path / "a.mcap", {**about(), "streams": {}})
    for index in range(4):
        coded = coded_frame(index, key=index == 0, begins=index == 0).coded
        assert coded is not None
        writer.coded(index if index > 1 else None, index * 10, coded)
    writer.close()
    report = check_file(tmp_path / "a.mcap")
    assert not report.faults() and report.sources["yard"].formats == {"h264": 2}


def test_what_came_before_a_source_fell_silent_is_in_the_file_although_nothing_more_comes(
    tmp_path: Path,
) -> None:
    settings = RecordingSettings(mode="always", dir=str(tmp_path), keep_free_mb=0)
    tap = SourceTap(
        "yard", settings, TapFolder(settings, tmp_path), McapTap, about=lambda: about("microphone")
    )
    try:
        for number in range(3):
            tap.item(sound_block(number * 1_600))

        def written() -> int:
            """Of the three blocks, those that a kill would leave."""
            (path,) = tmp_path.glob("*.part")
            with RecordWalk(path) as walk:
                return sum(isinstance(message, StoredMessage) for message in walk.messages())

        wait_for(lambda: list(tmp_path.glob("*.part")), "a recording is open")
        wait_for(lambda: written() == 3, "the last chunk is written")
    finally:
        tap.close()
