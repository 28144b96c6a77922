"""A recording file gives back what was put into it, whatever becomes of the file: galago_edge.recorded."""

from __future__ import annotations

import random
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from galago_edge.contract.errors import InputError, Reason
from galago_edge.contract.streams import AudioBlock, Frame, Gap, Item, Notice
from galago_edge.editing.file_check import check_file
from galago_edge.recorded.record_walk import DamagedBytes, RecordWalk, StoredMessage
from galago_edge.sources.recorded_camera import RecordedCamera
from galago_edge.sources.recorded_microphone import RecordedMicrophone
from galago_edge.sources.recording_damage import DamagedError
from test_kit.recorded import RATE_HZ, block, jpeg_frame, write_recording

STEP_NS = 100_000_000
gaps = st.builds(
    lambda at, length, cause: Gap(at, at + length, cause),
    st.integers(0, 1 << 50), st.integers(0, 1 << 50), st.sampled_from(["stall", "disconnect", "drop"]),
)  # fmt: skip
notices = st.builds(
    Notice,
    st.sampled_from(["healthy", "alarmed", "plausible"]),
    st.integers(0, 1 << 50),
    st.integers(0, 1 << 50),
    st.dictionaries(st.text(max_size=5), st.integers(-(1 << 40), 1 << 40) | st.text(max_size=5), max_size=3),
)


def walked(source: Any) -> tuple[list[Item], InputError | None]:
    items: list[Item] = []
    try:
        items.extend(source)
    except InputError as error:
        return items, error
    return items, None


def same(one: Item, other: Item) -> bool:
    if isinstance(one, Frame) and isinstance(other, Frame):
        return (one.index, one.captured_ns, one.encoded) == (
            other.index, other.captured_ns, other.encoded,
        ) and np.array_equal(one.pixels, other.pixels)  # fmt: skip
    if isinstance(one, AudioBlock) and isinstance(other, AudioBlock):
        return (one.first_sample, one.captured_ns, one.rate_hz) == (
            other.first_sample, other.captured_ns, other.rate_hz,
        ) and np.array_equal(one.samples, other.samples)  # fmt: skip
    return one == other


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(data=st.data(), chunk_bytes=st.integers(100, 5_000))
def test_frames_gaps_and_notices_come_back_as_they_were_in_their_order(
    tmp_path: Path, data: st.DataObject, chunk_bytes: int
) -> None:
    items: list[Item] = [Gap(0, 7, "connecting")]
    for index in range(data.draw(st.integers(1, 8))):
        items += data.draw(st.lists(gaps | notices, max_size=2))
        items.append(jpeg_frame(3 * index, 7 + index * STEP_NS + index, level=40 * index))
    path = tmp_path / "r.mcap"
    path.unlink(missing_ok=True)
    write_recording(path, {"door": ("camera", items)}, chunk_bytes=chunk_bytes, start_ns=1 << 40)
    found, error = walked(RecordedCamera(path, None))
    assert error is None
    assert len(found) == len(items) and all(map(same, found, items))


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    lengths=st.lists(st.tuples(st.integers(1, 50), st.integers(0, 3)), min_size=1, max_size=8),
    chunk_bytes=st.integers(50, 2_000),
)
def test_samples_come_back_exactly_with_what_is_missing_between_them(
    tmp_path: Path, lengths: list[tuple[int, int]], chunk_bytes: int
) -> None:
    items: list[Item] = []
    at = 0
    for length, missing in lengths:
        items.append(block(at, range(at, at + length)))
        end, at = at + length, at + length + missing * 160
        if missing:
            items.append(Gap(end * 62_500, at * 62_500, "overrun"))
    path = tmp_path / "r.mcap"
    path.unlink(missing_ok=True)
    write_recording(path, {"mic": ("microphone", items)}, chunk_bytes=chunk_bytes)
    found, error = walked(RecordedMicrophone(path, RATE_HZ))
    assert error is None
    assert len(found) == len(items) and all(map(same, found, items))


def both(tmp_path: Path, count: int = 24, **options: Any) -> tuple[Path, dict[str, list[Item]]]:
    """Write a recording of a camera and a microphone in many chunks."""
    items: dict[str, list[Item]] = {
        "door": [jpeg_frame(index, index * STEP_NS, level=10 * index) for index in range(count)],
        "mic": [block(index * 160, range(index, index + 160)) for index in range(count)],
    }
    items["door"].insert(9, Gap(8 * STEP_NS, 9 * STEP_NS, "stall"))
    sources: Any = {"door": ("camera", items["door"]), "mic": ("microphone", items["mic"])}
    return write_recording(tmp_path / "r.mcap", sources, chunk_bytes=1_500, **options), items


def test_a_public_reader_opens_it_with_all_checksums_and_decodes_by_the_schemas_in_it(tmp_path: Path) -> None:
    from google.protobuf.descriptor_pb2 import FileDescriptorSet
    from google.protobuf.descriptor_pool import DescriptorPool
    from google.protobuf.message_factory import GetMessageClass
    from mcap.reader import make_reader

    path, items = both(tmp_path, lines={"s": [b'{"v":1}\n', b'{"v":2}\n']})
    with path.open("rb") as file:
        reader = make_reader(file, validate_crcs=True)
        summary = reader.get_summary()
        assert summary is not None and summary.statistics is not None
        assert [one.name for one in reader.iter_metadata()] == ["galago"]
        decoded: dict[str, list[Any]] = {}
        for schema, channel, message in reader.iter_messages():
            assert schema is not None
            if schema.encoding != "protobuf":
                decoded.setdefault(channel.topic, []).append(message.data)
                continue
            pool = DescriptorPool()
            for part in FileDescriptorSet.FromString(schema.data).file:
                pool.Add(part)
            kind = GetMessageClass(pool.FindMessageTypeByName(schema.name))
            decoded.setdefault(channel.topic, []).append(kind.FromString(message.data))
    assert summary.statistics.message_count == sum(map(len, decoded.values()))
    frames = [item for item in items["door"] if isinstance(item, Frame)]
    assert [one.data for one in decoded["/cam/door"]] == [frame.encoded for frame in frames]
    assert {one.format for one in decoded["/cam/door"]} == {"jpeg"}
    assert [(one.sample_rate, one.number_of_channels) for one in decoded["/mic/mic"]] == [(RATE_HZ, 1)] * 24
    assert len(decoded["/gaps/door"]) == 1
    assert decoded["/out/s"] == [b'{"v":1}\n', b'{"v":2}\n']


def given_parts(found: list[Item], items: list[Item]) -> Iterator[int]:
    """Yield the place of each frame or block that was given; each is one that was recorded, bit for bit."""
    for item in found:
        if isinstance(item, Frame | AudioBlock):
            places = [place for place, one in enumerate(items) if same(item, one)]
            assert places, f"invented: {item}"
            yield places[0]


def check_nothing_invented(path: Path, items: dict[str, list[Item]], *, changed: bool) -> int:
    """Read a damaged file; return how many items it gave. What is missing must be told."""
    given_items = 0
    for name, source in (
        ("door", RecordedCamera),
        ("mic", lambda path, name: RecordedMicrophone(path, RATE_HZ)),
    ):
        recorded = [item for item in items[name] if isinstance(item, Frame | AudioBlock)]
        try:
            opened: Any = source(path, None)
        except InputError as error:
            assert error.reason in (Reason.RECORDING_UNREADABLE, Reason.SOURCE_MISMATCH)
            continue
        found, error = walked(opened)
        places = list(given_parts(found, items[name]))
        assert places == sorted(set(places))
        assert {type(item).__name__ for item in found} <= {"Frame", "AudioBlock", "Gap", "Notice"}
        if len(places) < len(recorded):
            assert isinstance(error, DamagedError), (name, len(places), len(recorded))
            assert any(isinstance(item, Gap) and item.cause in ("truncated", "unreadable") for item in found)
        elif not changed:
            assert error is None
        given_items += len(places)
    return given_items


def record_ends(path: Path) -> list[int]:
    """Return where each record of the file ends."""
    data, at, ends = path.read_bytes(), 8, [8]
    while at + 9 <= len(data) - 8:
        at += 9 + struct.unpack_from("<Q", data, at + 1)[0]
        ends.append(at)
    return ends


def test_cut_off_behind_every_record_and_anywhere_it_gives_what_is_whole_and_tells_the_rest(
    tmp_path: Path,
) -> None:
    path, items = both(tmp_path)
    whole = path.read_bytes()
    random_places = random.Random(5).sample(range(len(whole)), 60)
    torn = tmp_path / "torn.mcap"
    before = 0
    for place in sorted({*record_ends(path)[:-1], *random_places}):
        torn.write_bytes(whole[:place])
        given_items = check_nothing_invented(torn, items, changed=True)
        assert given_items >= before, "a longer file gives no less"
        before = given_items
    assert before == 48  # cut within the index, everything is there


def test_a_flipped_bit_anywhere_never_invents_anything_nor_is_it_silent(tmp_path: Path) -> None:
    path, items = both(tmp_path)
    whole = path.read_bytes()
    chance = random.Random(7)
    flipped = tmp_path / "flipped.mcap"
    for _ in range(120):
        place = chance.randrange(len(whole))
        changed = bytearray(whole)
        changed[place] ^= 1 << chance.randrange(8)
        flipped.write_bytes(changed)
        assert check_nothing_invented(flipped, items, changed=True) >= 48 - 2 * 6  # a chunk or two


def test_a_length_that_claims_the_world_is_not_believed(tmp_path: Path) -> None:
    path, items = both(tmp_path)
    whole = bytearray(path.read_bytes())
    first_chunk = next(at for at in record_ends(path) if whole[at] == 6)
    for offset, size in ((1, 8), (9 + 16, 8), (9 + 28, 4), (9 + 32, 8)):
        for value in (0, 1, (1 << (8 * size - 1)) - 1, (1 << (8 * size)) - 1):
            changed = bytearray(whole)
            changed[first_chunk + offset : first_chunk + offset + size] = value.to_bytes(size, "little")
            path.write_bytes(changed)
            check_nothing_invented(path, items, changed=True)


def test_behind_damage_the_next_whole_chunk_is_found_without_the_index(tmp_path: Path) -> None:
    path, items = both(tmp_path)
    whole = path.read_bytes()
    chunks = [at for at in record_ends(path) if whole[at : at + 1] == b"\x06"]
    wiped = bytearray(whole[: chunks[-1]])  # no index, no end
    wiped[chunks[2] : chunks[2] + 20] = bytes(20)
    path.write_bytes(wiped)
    with RecordWalk(path) as walk:
        found = list(walk.messages())
        assert not walk.whole and walk.chunks == len(chunks) - 2
    holes = [one for one in found if isinstance(one, DamagedBytes)]
    assert [hole.at for hole in holes] == [chunks[2]] and holes[0].end == chunks[3]
    check_nothing_invented(path, items, changed=True)


@pytest.mark.parametrize("compression", ["zstd", "lz4", "none"])
def test_files_of_other_programs_are_read_with_their_log_times(tmp_path: Path, compression: str) -> None:
    from foxglove_schemas_protobuf import CompressedImage_pb2 as foxglove
    from foxglove_schemas_protobuf.RawAudio_pb2 import RawAudio
    from mcap.writer import CompressionType, Writer

    path = tmp_path / "theirs.mcap"
    frames = [jpeg_frame(index, index * STEP_NS) for index in range(5)]
    with path.open("wb") as file:
        writer = Writer(file, chunk_size=2_000, compression=CompressionType[compression.upper()])
        writer.start()
        image = writer.register_schema("foxglove.CompressedImage", "protobuf", b"")
        audio = writer.register_schema("foxglove.RawAudio", "protobuf", b"")
        camera = writer.register_channel("/front/image", "protobuf", image)
        sound = writer.register_channel("/sound", "protobuf", audio)
        began_ns = 1_700_000_000_000_000_000
        for index, frame in enumerate(frames):
            at_ns = began_ns + index * STEP_NS
            picture = foxglove.CompressedImage(data=frame.encoded, format="jpeg")
            writer.add_message(camera, at_ns, picture.SerializeToString(), at_ns)
            block_sent = RawAudio(
                data=np.full(1_600, index, "<i2").tobytes(),
                format="pcm-s16", sample_rate=RATE_HZ, number_of_channels=1,
            )  # fmt: skip
            if index != 3:  # lost: 100 ms
                writer.add_message(sound, at_ns, block_sent.SerializeToString(), at_ns)
        writer.finish()
    pictures, error = walked(RecordedCamera(path, "/front/image"))
    assert error is None and len(pictures) == 5 and all(map(same, pictures, frames))
    heard_items, error = walked(RecordedMicrophone(path, RATE_HZ))
    assert error is None
    heard = [item.first_sample if isinstance(item, AudioBlock) else item for item in heard_items]
    assert heard == [0, 1600, 3200, Gap(3 * STEP_NS, 4 * STEP_NS, "missing"), 6400]


def test_what_is_no_recording_is_refused_in_one_line(tmp_path: Path) -> None:
    for name, data in (("empty.mcap", b""), ("text.mcap", b"hello" * 100), ("head.mcap", b"\x89MCAP0\r\n")):
        path = tmp_path / name
        path.write_bytes(data)
        with pytest.raises(InputError) as caught:
            RecordedCamera(path, None)
        assert caught.value.reason is Reason.RECORDING_UNREADABLE
        assert "\n" not in str(caught.value) and name in str(caught.value)


def test_messages_are_given_of_the_channels_that_are_wanted(tmp_path: Path) -> None:
    path, _ = both(tmp_path)
    with RecordWalk(path) as walk:
        found = list(walk.messages(lambda channel: channel.topic.startswith("/mic/")))
    assert {one.channel.topic for one in found if isinstance(one, StoredMessage)} == {"/mic/mic"}
    assert len(found) == 24


def messages_of(path: Path) -> list[tuple[str, int, int, bytes]]:
    with RecordWalk(path) as walk:
        return [
            (one.channel.topic, one.sequence, one.log_ns, one.data)
            for one in walk.messages()
            if isinstance(one, StoredMessage)
        ]


def test_a_record_whose_kind_has_flipped_becomes_no_message_and_hides_none(tmp_path: Path) -> None:
    """Indexes and the heads of records are protected by no checksum of a chunk."""
    lines = {"porch": [b'{"v":%d}\n' % number for number in range(9)]}
    path, _ = both(tmp_path, count=3, lines=lines)
    path.with_name("r.mcap.sha256").unlink()
    whole, written = path.read_bytes(), messages_of(path)
    flipped = tmp_path / "flipped.mcap"
    for at in record_ends(path)[:-1]:
        for bit in range(8):
            changed = bytearray(whole)
            changed[at] ^= 1 << bit
            flipped.write_bytes(changed)
            found = messages_of(flipped)
            assert [one for one in written if one in found] == found, (at, bit, "nothing is invented")
            if found != written:
                told = check_file(flipped, thorough=False).damaged
                assert told, (at, bit, "what is not given is told without the checksum of the whole")
            assert check_file(flipped).faults(), (at, bit)


def test_a_header_whose_length_has_flipped_swallows_no_chunk(tmp_path: Path) -> None:
    path, _ = both(tmp_path)
    written = messages_of(path)
    changed = bytearray(path.read_bytes())
    changed[10] ^= 0x20  # 8192 bytes more: several chunks
    path.write_bytes(changed)
    assert messages_of(path) == written and check_file(path).faults()
