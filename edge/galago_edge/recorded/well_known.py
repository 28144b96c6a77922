"""Messages that public viewers know, as protobuf: foxglove.CompressedImage, CompressedVideo and RawAudio.

They are three, with five fields at most, so they are written and read here and no protobuf library is needed
on a device (the encoding: https://protobuf.dev/programming-guides/encoding/; the fields: foxglove/schemas on
GitHub, ``schemas/proto``). Behind their own fields stand Galago's integers, under numbers that Foxglove does
not use: whoever does not know them passes over them, as protobuf prescribes.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

NS_PER_S = 1_000_000_000
INDEX, TIME_NS, FLAGS = 1001, 1002, 1003
"""Numbers of Galago's own fields: frame index or first sample; stream time, zigzag; flags."""
HIDDEN, KEY = 1, 2
"""Flags: seen by no stream, for what follows leans on it; it leans on nothing before."""

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_LONGEST_VARINT = 10


class MessageError(ValueError):
    """These bytes are no such message."""


@dataclass(frozen=True, slots=True)
class WellKnown:
    """One kind of message: where its fields are. 0: it has no such field."""

    name: str
    data: int
    format: int
    frame_id: int = 0
    rate: int = 0
    channels: int = 0


IMAGE = WellKnown("foxglove.CompressedImage", data=2, format=3, frame_id=4)
VIDEO = WellKnown("foxglove.CompressedVideo", data=3, format=4, frame_id=2)
AUDIO = WellKnown("foxglove.RawAudio", data=2, format=3, rate=4, channels=5)
KINDS = {kind.name: kind for kind in (IMAGE, VIDEO, AUDIO)}
VIDEO_FORMATS = {"h264": "h264", "hevc": "h265"}
"""What is recorded as packets: FFmpeg's names of codecs, and those of ``foxglove.CompressedVideo``."""


@dataclass(frozen=True, slots=True)
class WireMessage:
    """What one message says."""

    data: bytes
    format: str
    timestamp_ns: int
    """As viewers see it: the file's clock."""
    index: int | None = None
    """Galago's own: frame index, or index of the first sample; None in files of other programs."""
    time_ns: int | None = None
    """Galago's own: stream time."""
    flags: int = 0
    rate_hz: int = 0
    channels: int = 0


def encode_message(kind: WellKnown, message: WireMessage, frame_id: str = "") -> bytes:
    """Return the message as protobuf; ``frame_id`` is a name for viewers."""
    stamp = _number(1, message.timestamp_ns // NS_PER_S) + _number(2, message.timestamp_ns % NS_PER_S)
    fields = [(1, stamp), (kind.data, message.data), (kind.format, message.format.encode())]
    if kind.frame_id:
        fields.append((kind.frame_id, frame_id.encode()))
    parts = [_tag(number, _BYTES) + _varint(len(value)) + value for number, value in sorted(fields)]
    for number, value in ((kind.rate, message.rate_hz), (kind.channels, message.channels)):
        if number:
            parts.append(_tag(number, _FIXED32) + struct.pack("<I", value))
    if message.index is not None:
        parts.append(_number(INDEX, message.index))
    if message.time_ns is not None:
        parts.append(_number(TIME_NS, _zigzag(message.time_ns)))
    if message.flags:
        parts.append(_number(FLAGS, message.flags))
    return b"".join(parts)


def decode_message(kind: WellKnown, raw: bytes) -> WireMessage:
    """Return what ``encode_message``, or any other program, wrote.

    Raises:
        MessageError: It is none.
    """
    numbers: dict[int, int] = {}
    texts: dict[int, bytes] = {}
    for number, value in _fields(raw):
        if isinstance(value, bytes):
            texts[number] = value
        else:
            numbers[number] = value
    stamp = {number: value for number, value in _fields(texts.get(1, b"")) if isinstance(value, int)}
    try:
        written = texts.get(kind.format, b"").decode()
    except UnicodeDecodeError:
        raise MessageError("its format is no text") from None
    time_ns = numbers.get(TIME_NS)
    return WireMessage(
        data=texts.get(kind.data, b""),
        format=written,
        timestamp_ns=stamp.get(1, 0) * NS_PER_S + stamp.get(2, 0),
        index=numbers.get(INDEX),
        time_ns=None if time_ns is None else (time_ns >> 1) ^ -(time_ns & 1),
        flags=numbers.get(FLAGS, 0),
        rate_hz=numbers.get(kind.rate, 0) if kind.rate else 0,
        channels=numbers.get(kind.channels, 0) if kind.channels else 0,
    )


def schema_of(kind: WellKnown) -> bytes:
    """Return the FileDescriptorSet by which a viewer decodes the message: its file, and Timestamp's."""
    stamp = _message("Timestamp", [("seconds", 1, 3, ""), ("nanos", 2, 5, "")])
    stamp_file = _file("google/protobuf/timestamp.proto", "google.protobuf", (), stamp)
    fields = [("timestamp", 1, 11, ".google.protobuf.Timestamp")]
    for name, number, kind_of_field in (
        ("data", kind.data, 12),
        ("format", kind.format, 9),
        ("frame_id", kind.frame_id, 9),
        ("sample_rate", kind.rate, 7),
        ("number_of_channels", kind.channels, 7),
    ):
        if number:
            fields.append((name, number, kind_of_field, ""))
    package, _, name = kind.name.partition(".")
    own = _message(name, fields)
    file = _file(f"{package}/{name}.proto", package, ("google/protobuf/timestamp.proto",), own)
    return _text(1, stamp_file) + _text(1, file)


def _file(path: str, package: str, needs: tuple[str, ...], message: bytes) -> bytes:
    """Return a FileDescriptorProto (google/protobuf/descriptor.proto)."""
    head = _text(1, path.encode()) + _text(2, package.encode())
    return (
        head + b"".join(_text(3, need.encode()) for need in needs) + _text(4, message) + _text(12, b"proto3")
    )


def _message(name: str, fields: list[tuple[str, int, int, str]]) -> bytes:
    """Return a DescriptorProto; fields: name, number, type, name of the type."""
    encoded = [
        _text(1, field.encode())
        + _number(3, number)
        + _number(4, 1)  # optional
        + _number(5, kind)
        + (_text(6, type_name.encode()) if type_name else b"")
        for field, number, kind, type_name in sorted(fields, key=lambda one: one[1])
    ]
    return _text(1, name.encode()) + b"".join(_text(2, one) for one in encoded)


def _fields(raw: bytes) -> Iterator[tuple[int, int | bytes]]:
    at = 0
    while at < len(raw):
        tag, at = _read_varint(raw, at)
        number, wire = tag >> 3, tag & 7
        if wire == _VARINT:
            value, at = _read_varint(raw, at)
            yield number, value
            continue
        if wire == _BYTES:
            length, at = _read_varint(raw, at)
        elif wire in (_FIXED32, _FIXED64):
            length = 4 if wire == _FIXED32 else 8
        else:
            raise MessageError(f"it has a field of the unknown kind {wire}")
        if at + length > len(raw):
            raise MessageError("it ends within a field")
        piece = raw[at : at + length]
        yield number, piece if wire == _BYTES else int.from_bytes(piece, "little")
        at += length


def _read_varint(raw: bytes, at: int) -> tuple[int, int]:
    value = 0
    for place in range(_LONGEST_VARINT):
        if at + place >= len(raw):
            break
        byte = raw[at + place]
        value |= (byte & 0x7F) << 7 * place
        if byte < 0x80:
            return value & 0xFFFF_FFFF_FFFF_FFFF, at + place + 1
    raise MessageError("it ends within a number")


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _zigzag(value: int) -> int:
    return value << 1 if value >= 0 else (-value << 1) - 1


def _tag(number: int, wire: int) -> bytes:
    return _varint(number << 3 | wire)


def _number(number: int, value: int) -> bytes:
    return _tag(number, _VARINT) + _varint(value)


def _text(number: int, value: bytes) -> bytes:
    return _tag(number, _BYTES) + _varint(len(value)) + value
