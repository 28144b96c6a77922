"""The messages of a recording file are Foxglove's, as their own library reads and writes them."""

from __future__ import annotations

import importlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from galago_edge.recorded.about import AboutRecording, RecordedStream, about_metadata, read_about
from galago_edge.recorded.well_known import (
    AUDIO,
    IMAGE,
    KEY,
    VIDEO,
    MessageError,
    WellKnown,
    WireMessage,
    decode_message,
    encode_message,
    schema_of,
)

LARGE = (1 << 63) - 1
messages = st.builds(
    WireMessage,
    data=st.binary(max_size=200),
    format=st.sampled_from(["jpeg", "png", "h264", "pcm-s16", "größe"]),
    timestamp_ns=st.integers(0, LARGE),
    index=st.none() | st.integers(0, LARGE),
    time_ns=st.none() | st.integers(-(1 << 62), 1 << 62),
    flags=st.integers(0, 3),
)


def of_foxglove(kind: WellKnown) -> Any:
    name = kind.name.partition(".")[2]
    return getattr(importlib.import_module(f"foxglove_schemas_protobuf.{name}_pb2"), name)


@pytest.mark.parametrize("kind", [IMAGE, VIDEO, AUDIO], ids=lambda kind: kind.name)
@given(message=messages, rate_hz=st.integers(1, 1 << 31))
def test_foxgloves_own_library_reads_what_we_write_and_we_what_it_writes(
    kind: WellKnown, message: WireMessage, rate_hz: int
) -> None:
    if kind is AUDIO:
        message = WireMessage(
            message.data, message.format, message.timestamp_ns, message.index, message.time_ns,
            message.flags, rate_hz, 2,
        )  # fmt: skip
    raw = encode_message(kind, message, "door")

    theirs = of_foxglove(kind)()
    theirs.ParseFromString(raw)
    assert theirs.data == message.data and theirs.format == message.format
    assert theirs.timestamp.seconds * 10**9 + theirs.timestamp.nanos == message.timestamp_ns
    if kind is AUDIO:
        assert (theirs.sample_rate, theirs.number_of_channels) == (rate_hz, 2)
    else:
        assert theirs.frame_id == "door"

    assert decode_message(kind, raw) == message
    assert decode_message(kind, theirs.SerializeToString()) == message  # it keeps what it does not know


@pytest.mark.parametrize("kind", [IMAGE, VIDEO, AUDIO], ids=lambda kind: kind.name)
def test_the_schema_that_viewers_decode_by_is_foxgloves(kind: WellKnown) -> None:
    from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet

    files = {file.name: file for file in FileDescriptorSet.FromString(schema_of(kind)).file}
    expected = FileDescriptorProto()
    of_foxglove(kind).DESCRIPTOR.file.CopyToProto(expected)
    found = files[expected.name]
    assert (found.package, found.syntax, list(found.dependency)) == (
        expected.package, expected.syntax, list(expected.dependency),
    )  # fmt: skip
    assert set(expected.dependency) <= set(files)
    ((ours,), (theirs,)) = found.message_type, expected.message_type
    assert ours.name == theirs.name
    assert {(f.name, f.number, f.type, f.label, f.type_name) for f in ours.field} == {
        (f.name, f.number, f.type, f.label, f.type_name) for f in theirs.field
    }


@given(st.binary(max_size=60))
def test_any_bytes_are_a_message_or_refused_in_words(raw: bytes) -> None:
    for kind in (IMAGE, VIDEO, AUDIO):
        try:
            decode_message(kind, raw)
        except MessageError as error:
            assert str(error)


def test_flags_and_integers_are_exact_where_floats_are_not() -> None:
    message = WireMessage(b"x", "h264", 1, index=2**53 + 1, time_ns=-(2**53) - 1, flags=KEY)
    assert decode_message(VIDEO, encode_message(VIDEO, message)) == message


def test_what_a_file_says_of_itself_is_believed_only_if_its_checksum_matches() -> None:
    stream = RecordedStream(name="door", source="cam", bundle="ab", overrides={"bell": {"on": 0.7}})
    about = AboutRecording(device="porch", wall_ns=5, clock_synced=True, streams=(stream,))
    written = about_metadata(about)
    assert read_about(written) == about
    assert read_about({**written, "about": written["about"].replace("porch", "barns")}) is None
    assert read_about({"of": "another program"}) is None
