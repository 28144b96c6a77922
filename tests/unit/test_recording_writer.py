"""The recorder's promises: chunks by bytes and time, .part until whole, losses counted: recording_writer."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from galago_edge.contract.errors import CallerError, InputError, Reason
from galago_edge.contract.streams import AudioBlock, Frame, Gap, Item
from galago_edge.editing.file_check import check_file
from galago_edge.recorded.about import AboutRecording, SourceMark
from galago_edge.recorded.stored_items import StoredPicture
from galago_edge.recording.recording_writer import RecordingWriter
from galago_edge.recording.writer_account import WriterLimits
from galago_edge.sources.recorded_camera import RecordedCamera
from galago_edge.sources.recorded_microphone import RecordedMicrophone
from test_kit.recorded import RATE_HZ, block, jpeg_frame, put

STEP_NS = 100_000_000
CAMERA = SourceMark(name="door", modality="camera")
MICROPHONE = SourceMark(name="mic", modality="microphone")


class Seconds:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def begin(folder: Path, clock: Seconds, **limits: Any) -> RecordingWriter:
    writer = RecordingWriter(folder, "night", AboutRecording(), limits=WriterLimits(**limits), clock=clock)
    writer.source(CAMERA)
    writer.source(MICROPHONE)
    return writer


def frames_of(path: Path) -> list[Item]:
    items: list[Item] = []
    with contextlib.suppress(InputError):
        items.extend(RecordedCamera(path, None))
    return items


def test_a_chunk_ends_by_time_so_that_quiet_sources_are_not_lost_either(tmp_path: Path) -> None:
    clock = Seconds()
    writer = begin(tmp_path, clock, chunk_s=1.0)
    writer.sound("mic", block(0, range(320)))
    size = writer.part.stat().st_size
    clock.now = 0.9
    writer.tick()
    assert writer.part.stat().st_size == size
    clock.now = 1.0
    writer.tick()
    assert writer.part.stat().st_size > size
    writer.abandon()  # as a crash would
    items = RecordedMicrophone(writer.part, RATE_HZ)
    found: list[Item] = []
    with pytest.raises(InputError) as caught:
        found.extend(items)
    assert caught.value.reason is Reason.AUDIO_TRUNCATED
    assert isinstance(found[0], AudioBlock) and len(found[0].samples) == 320


def test_it_is_a_part_until_it_is_whole_and_its_sha256_lies_beside_it(tmp_path: Path) -> None:
    writer = begin(tmp_path, Seconds())
    put(writer, "door", jpeg_frame(0, 0))
    assert [path.name for path in tmp_path.iterdir()] == ["night-000.mcap.part"]
    (path,) = writer.close()
    assert sorted(one.name for one in tmp_path.iterdir()) == ["night-000.mcap", "night-000.mcap.sha256"]
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert path.with_name("night-000.mcap.sha256").read_text() == f"{digest}  night-000.mcap\n"
    report = check_file(path)
    assert (report.sha256, report.checksum, report.faults()) == ("ok", "ok", [])


def test_nothing_is_written_over(tmp_path: Path) -> None:
    begin(tmp_path, Seconds()).close()
    with pytest.raises(CallerError) as caught:
        begin(tmp_path, Seconds())
    assert caught.value.reason is Reason.EXISTS
    begun = RecordingWriter(tmp_path, "other", AboutRecording())
    with pytest.raises(CallerError) as caught:
        RecordingWriter(tmp_path, "other", AboutRecording())
    assert caught.value.reason is Reason.EXISTS and "recover" in caught.value.hint
    begun.abandon()


def test_files_end_by_time_and_bytes_and_each_is_whole_by_itself(tmp_path: Path) -> None:
    clock = Seconds()
    writer = begin(tmp_path, clock, file_s=10.0)
    for index in range(30):
        clock.now = float(index)
        put(writer, "door", jpeg_frame(index, index * STEP_NS))
    files = writer.close()
    assert [path.name for path in files] == ["night-000.mcap", "night-001.mcap", "night-002.mcap"]
    found = [item for path in files for item in frames_of(path) if isinstance(item, Frame)]
    assert [frame.index for frame in found] == list(range(30))
    abouts = [check_file(path) for path in files]
    assert [report.about.part if report.about else None for report in abouts] == [0, 1, 2]
    assert all(report.faults() == [] for report in abouts)


def test_a_file_with_pictures_that_lean_on_others_ends_before_a_key_frame(tmp_path: Path) -> None:
    clock = Seconds()
    writer = begin(tmp_path, clock, file_s=10.0)
    for index in range(30):
        clock.now = float(index)
        unit = StoredPicture(index, index * STEP_NS, "h264", b"\0\0\1x", key=index % 8 == 0)
        writer.picture("door", unit)
    files = writer.close()
    report = [check_file(path).sources["door"].formats for path in files]
    assert report == [{"h264": 16}, {"h264": 14}]  # begun at 0 and 16; the next key frame after 26 is 32


def test_pictures_before_the_first_key_frame_are_counted_and_told(tmp_path: Path) -> None:
    writer = begin(tmp_path, Seconds())
    for index in range(4):
        unit = StoredPicture(index, index * STEP_NS, "h264", b"\0\0\1x", key=index == 2)
        writer.picture("door", unit)
    (path,) = writer.close()
    source = check_file(path).sources["door"]
    assert (source.formats, source.unrecorded, source.missing) == ({"h264": 2}, 2, 0)
    assert writer.account.lost == {"door": 2}


@pytest.mark.parametrize("failing", [(1,), (2, 3), (1, 2, 3, 4)], ids=str)
def test_what_a_full_disk_refuses_is_counted_and_a_gap_and_the_file_is_whole(
    tmp_path: Path, failing: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = begin(tmp_path, Seconds())
    real = os.pwrite
    for chunk in range(6):
        for index in range(chunk * 3, chunk * 3 + 3):
            put(writer, "door", jpeg_frame(index, index * STEP_NS))
            writer.sound("mic", block(index * 1600, range(1600)))
        full = chunk in failing
        before = writer.part.stat().st_size

        def short(fd: int, data: bytes, at: int, free_to: int = before + 50) -> int:
            if at > free_to:
                raise OSError(errno.ENOSPC, "No space left on device")
            return real(fd, data[:60], at)

        monkeypatch.setattr(os, "pwrite", short if full else real)
        writer.flush()
        assert bool(writer.account.fault) is full
        assert not full or writer.part.stat().st_size == before
    monkeypatch.setattr(os, "pwrite", real)
    (path,) = writer.close()
    lost = 3 * len(failing)
    assert writer.account.failures == len(failing)
    assert writer.account.lost["/cam/door"] == writer.account.lost["/mic/mic"] == lost
    report = check_file(path)
    assert report.faults() == []
    assert report.sources["door"].unrecorded == lost and report.sources["door"].missing == 0
    found = frames_of(path)
    first, end = 3 * failing[0], 3 * (failing[-1] + 1)
    expected = Gap((first - 1) * STEP_NS, end * STEP_NS, "missing")
    assert [item for item in found if isinstance(item, Gap)] == [expected]
    heard = list(RecordedMicrophone(path, RATE_HZ))
    assert [one for one in heard if isinstance(one, Gap)] == [Gap(first * STEP_NS, end * STEP_NS, "missing")]


def test_what_a_queue_did_not_take_is_counted_and_a_gap(tmp_path: Path) -> None:
    writer = begin(tmp_path, Seconds())
    put(writer, "door", jpeg_frame(0, 0))
    writer.lost("door", 5, 5 * STEP_NS)
    put(writer, "door", jpeg_frame(6, 6 * STEP_NS))
    (path,) = writer.close()
    found = frames_of(path)
    assert found[1] == Gap(0, 6 * STEP_NS, "missing") and len(found) == 3
    assert check_file(path).faults() == []


def test_a_frame_without_the_cameras_own_bytes_is_not_encoded_here(tmp_path: Path) -> None:
    writer = begin(tmp_path, Seconds())
    assert not writer.item("door", Frame(np.zeros((2, 2, 3), np.uint8), 0, 0))
    assert writer.item("door", jpeg_frame(0, 0))
    writer.close()


_CHILD = """
import sys
from pathlib import Path
from test_kit.recorded import block, jpeg_frame, put
from galago_edge.recorded.about import AboutRecording, SourceMark
from galago_edge.recording.recording_writer import RecordingWriter
from galago_edge.recording.writer_account import WriterLimits
writer = RecordingWriter(Path(sys.argv[1]), "night", AboutRecording(), limits=WriterLimits(chunk_bytes=3000))
writer.source(SourceMark(name="door", modality="camera"))
for index in range(1_000_000):
    put(writer, "door", jpeg_frame(index, index * 100_000_000))
    print(writer.account.messages, index + 1, flush=True)
"""


@pytest.mark.parametrize("lines", [2, 20, 45, 70, 99])
def test_after_sigkill_every_flushed_message_is_read_and_the_end_is_told(tmp_path: Path, lines: int) -> None:
    command = [sys.executable, "-c", _CHILD, str(tmp_path)]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=env) as child:
        assert child.stdout is not None
        try:
            told = [child.stdout.readline() for _ in range(lines)]
            child.send_signal(signal.SIGKILL)
            told += child.stdout.read().splitlines()
        finally:
            child.kill()
    flushed, handed = max(tuple(map(int, line.split())) for line in told[:lines])
    (part,) = tmp_path.iterdir()
    assert part.name == "night-000.mcap.part"
    if not flushed:
        return
    found = frames_of(part)
    indexes = [item.index for item in found if isinstance(item, Frame)]
    assert indexes == list(range(len(indexes)))
    assert flushed <= len(indexes)
    assert handed - flushed < 10  # a chunk of 3,000 bytes
    assert isinstance(found[-1], Gap) and found[-1].cause == "truncated"


def test_what_was_lost_last_is_told_when_the_file_ends(tmp_path: Path) -> None:
    clock = Seconds()
    writer = begin(tmp_path, clock, file_s=10.0)
    put(writer, "door", jpeg_frame(0, 0))
    writer.lost("door", 2, 2 * STEP_NS)
    clock.now = 11.0
    writer.tick()  # the next file begins
    put(writer, "door", jpeg_frame(3, 3 * STEP_NS))
    writer.lost("door", 4, 7 * STEP_NS)
    first, second = writer.close()
    assert frames_of(first)[-1] == Gap(0, 2 * STEP_NS, "missing")
    assert frames_of(second)[-1] == Gap(3 * STEP_NS, 7 * STEP_NS, "missing")
    assert [check_file(path).sources["door"].unrecorded for path in (first, second)] == [2, 4]
    assert check_file(first).faults() == check_file(second).faults() == []


def test_the_next_file_takes_the_next_free_number_and_a_full_disk_lets_the_old_one_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Seconds()
    (tmp_path / "night-001.mcap").write_text("mine")
    writer = begin(tmp_path, clock, file_s=10.0)
    real = os.open

    def full(path: str | Path, flags: int, mode: int = 0o777) -> int:
        if str(path).endswith(".part"):
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(path, flags, mode)

    put(writer, "door", jpeg_frame(0, 0))
    clock.now = 11.0
    monkeypatch.setattr(os, "open", full)
    put(writer, "door", jpeg_frame(1, STEP_NS))
    assert writer.part.name == "night-000.mcap.part" and "No space" in writer.account.fault
    monkeypatch.setattr(os, "open", real)
    clock.now = 22.0
    put(writer, "door", jpeg_frame(2, 2 * STEP_NS))
    assert [path.name for path in writer.close()] == ["night-000.mcap", "night-002.mcap"]
    assert (tmp_path / "night-001.mcap").read_text() == "mine"
    found = [item.index for item in frames_of(tmp_path / "night-000.mcap") if isinstance(item, Frame)]
    assert found == [0, 1, 2]
