"""A recording that is made to keep a reader busy: what is done for it is in proportion to its size."""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import lz4.frame
import pytest
import zstandard
from click.testing import CliRunner

from galago_edge.commands.cli import main
from galago_edge.contract.errors import InputError, Reason
from galago_edge.editing import file_check
from galago_edge.editing.file_check import check_file
from galago_edge.recorded import walk_budget
from galago_edge.recorded.chunk_file import MAGIC
from galago_edge.recorded.record_walk import DamagedBytes, RecordWalk
from galago_edge.recorded.recorded_items import drops_of
from galago_edge.sources.recorded_camera import RecordedCamera
from test_kit.recorded import jpeg_frame, write_recording

KIB = 1 << 10
NOTHING = b"\x80" + bytes(8)
"""An empty record of a kind that is anybody's."""


def record(opcode: int, body: bytes) -> bytes:
    return bytes([opcode]) + struct.pack("<Q", len(body)) + body


def chunk(data: bytes, packed: bytes, how: bytes) -> bytes:
    head = struct.pack("<QQQI", 0, 0, len(data), zlib.crc32(data)) + struct.pack("<I", len(how)) + how
    return record(6, head + struct.pack("<Q", len(packed)) + packed)


def mcap(path: Path, content: bytes) -> Path:
    path.write_bytes(MAGIC + record(1, bytes(8)) + content + record(15, bytes(4)) + MAGIC)
    return path


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> int:
    """The least that any file may cause."""
    monkeypatch.setattr(walk_budget, "AT_LEAST", 1024 * KIB)
    return 1024 * KIB


PACKED: dict[str, Callable[[bytes], bytes]] = {
    "zstd": zstandard.ZstdCompressor().compress,
    "lz4": lz4.frame.compress,
}


@pytest.mark.parametrize("how", PACKED)
def test_chunks_that_unpack_to_far_more_than_the_file_are_refused_before_all_are_unpacked(
    how: str, small: int, tmp_path: Path
) -> None:
    data = record(0x80, bytes(256 * KIB))
    bomb = mcap(tmp_path / "bomb.mcap", chunk(data, PACKED[how](data), how.encode()) * 40)
    limit = small + walk_budget.PER_BYTE * bomb.stat().st_size
    assert limit < 40 * len(data)
    with RecordWalk(bomb) as walk, pytest.raises(InputError, match="claims to hold more than") as caught:
        list(walk.messages())
    assert caught.value.reason is Reason.RECORDING_UNREADABLE
    assert walk.chunks == limit // (len(data) + walk_budget.OF_A_RECORD)
    for refused in (check_file, drops_of_camera, lambda path: RecordedCamera(path, None)):
        with pytest.raises(InputError, match="claims to hold more than"):
            refused(bomb)
    told = CliRunner().invoke(main, ["recording", "check", str(bomb)])
    assert (told.exit_code, told.stdout) == (1, "")
    assert "[RECORDING_UNREADABLE]" in told.stderr and "write it without compression" in told.stderr


def drops_of_camera(path: Path) -> object:
    from galago_edge.recorded.recorded_items import RecordedSource

    return drops_of(path, RecordedSource("cam", "camera", frozenset(), None))


def test_short_records_in_a_packed_chunk_count_as_the_work_that_they_are(small: int, tmp_path: Path) -> None:
    data = NOTHING * (2 * small // walk_budget.OF_A_RECORD)
    assert len(data) < small
    path = mcap(tmp_path / "short.mcap", chunk(data, PACKED["zstd"](data), b"zstd"))
    with pytest.raises(InputError, match="claims to hold more than"):
        check_file(path)


def test_the_same_records_unpacked_are_read_for_the_file_is_as_large(small: int, tmp_path: Path) -> None:
    data = NOTHING * (2 * small // walk_budget.OF_A_RECORD)
    assert check_file(mcap(tmp_path / "plain.mcap", chunk(data, data, b""))).chunks == 1


def test_many_short_records_are_read_in_few_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, read = mcap(tmp_path / "many.mcap", NOTHING * 30_000), []
    pread = os.pread

    def counted(fd: int, count: int, at: int) -> bytes:
        read.append(count)
        return pread(fd, count, at)

    monkeypatch.setattr(os, "pread", counted)
    with RecordWalk(path) as walk:
        assert list(walk.messages()) == [] and walk.whole
    assert len(read) < 30


def test_claims_within_claims_behind_damage_are_not_read_again_and_again(
    small: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each place claims a chunk up to the end of the file, whose checksum does not match."""
    count, size = 2_000, 49
    nested = b"".join(
        b"\x06" + struct.pack("<QQQQIIQ", rest := (count - at) * size - 9, 0, 0, rest - 40, 1, 0, rest - 40)
        for at in range(count)
    )
    path, read, pread = tmp_path / "nested.mcap", [0], os.pread
    path.write_bytes(b"no head!" + nested)

    def counted(fd: int, count: int, at: int) -> bytes:
        found = pread(fd, count, at)
        read[0] += len(found)
        return found

    monkeypatch.setattr(os, "pread", counted)
    with RecordWalk(path) as walk, pytest.raises(InputError, match="claims to hold more than"):
        list(walk.messages())
    assert read[0] < 2 * (small + walk_budget.PER_BYTE * len(nested)) < sum(range(count)) * size


def test_a_length_that_its_chunk_contradicts_is_seen_without_reading_the_chunk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_recording(tmp_path / "r.mcap", {"door": ("camera", [jpeg_frame(0, 0, size=64)])})
    claim = b"\x06" + struct.pack("<QQQQI", 1 << 20, 0, 0, 7, 1) + struct.pack("<IQ", 0, 7)
    path.write_bytes(MAGIC + claim + bytes(1 << 20) + path.read_bytes()[len(MAGIC) :])
    longest, pread = [0], os.pread

    def counted(fd: int, count: int, at: int) -> bytes:
        longest[0] = max(longest[0], count)
        return pread(fd, count, at)

    with RecordWalk(path) as walk:
        monkeypatch.setattr(os, "pread", counted)
        found = next(walk.messages())
    assert isinstance(found, DamagedBytes) and "contradicts itself" in found.why
    assert longest[0] <= 1 << 20  # what is looked through, piece by piece


def test_of_many_damaged_places_and_unknown_topics_the_first_are_named_and_the_others_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file_check, "_NAMED", 3)
    good = chunk(NOTHING, NOTHING, b"")
    topics = b"".join(
        record(4, struct.pack("<HHI", number, 0, 2) + b"/%c" % (97 + number) + bytes(8))
        + record(5, struct.pack("<HIQQ", number, 0, 0, 0))
        for number in range(5)
    )
    content = chunk(topics, topics, b"") + (good[:-1] + b"\x01") * 5 + good
    report = check_file(mcap(tmp_path / "torn.mcap", content))
    assert (len(report.damaged), report.damaged_more) == (3, 2)
    assert "bytes behind: 2 more places that cannot be read" in report.faults()
    assert report.data()["damaged_more"] == 2
    assert report.others == {"/a": 1, "/b": 1, "/c": 1, "more": 2}
