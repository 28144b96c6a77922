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

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    middle = b"".join(chunk(kind.encode(), data) for kind, data in chunks.items())
    return b"\x89PNG\r\n\x1a\n" + head + middle + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def claimed_png(side: int) -> bytes:
    """A whole PNG of one bit a pixel: some kilobytes, and gigabytes when it is decoded."""
    return made_png(side, side, 1, 0, bytes((1 + -(-side // 8)) * side))
