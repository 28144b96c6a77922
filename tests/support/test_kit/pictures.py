"""Pictures that are not what they seem."""

from __future__ import annotations

import struct
import zlib

import cv2
import numpy as np


def claimed_jpeg(width: int, height: int) -> bytes:
    """A JPEG of a kilobyte whose frame header claims this size."""
    data = bytearray(cv2.imencode(".jpg", np.zeros((120, 160, 3), np.uint8))[1].tobytes())
    struct.pack_into(">HH", data, data.index(b"\xff\xc0") + 5, height, width)
    return bytes(data)


def made_png(width: int, height: int, depth: int, colour: int, rows: bytes, **chunks: bytes) -> bytes:
    """A PNG of these rows, each with its filter byte before it; ``chunks`` come before its data."""

    head = png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    middle = b"".join(png_chunk(kind.encode(), data) for kind, data in chunks.items())
    tail = png_chunk(b"IDAT", zlib.compress(rows)) + png_chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + head + middle + tail


def png_chunk(kind: bytes, data: bytes) -> bytes:
    """One chunk with its checksum."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def out_of_step_jpeg() -> bytes:
    """A JPEG whose data is wrong half-way: libjpeg makes something of it and writes a warning."""
    rng = np.random.default_rng(1)
    data = bytearray(cv2.imencode(".jpg", rng.integers(0, 255, (96, 128, 3), dtype=np.uint8))[1].tobytes())
    half = len(data) // 2
    data[half : half + 40] = bytes(40)
    return bytes(data)


def claimed_png(side: int) -> bytes:
    """A whole PNG of one bit a pixel: some kilobytes, and gigabytes when it is decoded."""
    return made_png(side, side, 1, 0, bytes((1 + -(-side // 8)) * side))
