"""What the header of a picture says, read before anything is decoded.

A file of one kilobyte may claim a billion pixels, and a decoder takes the memory for them before it finds out
that they are not there. So nothing decodes a picture whose header was not read here first.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass

from galago_edge.contract.errors import InputError, Reason
from galago_edge.sources.jpeg_parts import SIZES, SOS, jpeg_parts

LARGEST_CAMERA_PIXELS = 1 << 24
"""Of a picture from a camera: 16 megapixels, 4096 x 4096."""
LARGEST_FILE_PIXELS = 1 << 26
"""Of a picture from a file: 64 megapixels, 8192 x 8192."""

PICTURE_FORMATS = "JPEG, PNG, BMP, WebP, TIFF, GIF, PGM, PPM"
"""What may be decoded: those whose header is understood here."""


@dataclass(frozen=True, slots=True)
class PictureHeader:
    """What a decoder will make of a picture."""

    format: str
    """``jpeg``, ``png``, ``bmp``, ``webp``, ``pnm``, ``tiff`` or ``gif``."""
    width: int
    height: int
    maximum: int = 255
    """The value that is full brightness: above 255, the samples have 16 bits."""
    alpha: bool = False
    """Whether it may be transparent somewhere."""
    text: bool = False
    """Its values are written as decimal numbers (P1 to P3): OpenCV scales those to 8 bits itself."""
    orientation: int = 1
    """How it is to be turned, by EXIF (1 to 8); looked up where it may be transparent."""


def picture_size(data: bytes) -> tuple[int, int] | None:
    """Return the width and height in pixels that a picture claims; None when its header is not understood.

    >>> picture_size(b"P5 640 480 255 ...")
    (640, 480)
    """
    header = picture_header(data)
    return None if header is None else (header.width, header.height)


def picture_header(data: bytes) -> PictureHeader | None:
    """Return what the header says; None when it is none of :data:`PICTURE_FORMATS`, or is cut off."""
    for magic, read in _READERS:
        if data.startswith(magic):
            try:
                return read(data)
            except (struct.error, IndexError):  # it ends inside its header
                return None
    return None


def check_picture_size(name: str, width: int, height: int, largest_pixels: int) -> None:
    """Refuse a picture that would take too much memory. ``name`` is for the message.

    Raises:
        InputError: IMAGE_TOO_BIG.
    """
    if width * height > largest_pixels:
        raise InputError(
            Reason.IMAGE_TOO_BIG,
            f"{name} claims {width} x {height} pixels, expected at most {largest_pixels >> 20} megapixels",
            hint="if that is its real size, make it smaller; otherwise its header is damaged",
        )


def checked_header(data: bytes, name: str, largest_pixels: int) -> PictureHeader | None:
    """Return the header of a picture that may be decoded; None when it is not understood: then it may not.

    Raises:
        InputError: IMAGE_TOO_BIG.
    """
    header = picture_header(data)
    if header is not None:
        check_picture_size(name, header.width, header.height, largest_pixels)
    return header


def _jpeg(data: bytes) -> PictureHeader | None:
    for part in jpeg_parts(data):
        if part.marker == SOS:  # no size comes behind it
            return None
        if part.marker in SIZES:
            height, width = struct.unpack_from(">HH", data, part.start + 5)
            return PictureHeader("jpeg", width, height)
    return None


_TRANSPARENT_TYPES = (4, 6)


def _png(data: bytes) -> PictureHeader | None:
    length, kind, width, height, depth, colour = struct.unpack_from(">I4sIIBB", data, 8)
    if kind != b"IHDR" or length != 13:
        return None
    alpha = colour in _TRANSPARENT_TYPES or data.find(b"tRNS", 0, data.find(b"IDAT")) > 0
    turned = _orientation(data, b"eXIf") if alpha else 1
    return PictureHeader("png", width, height, 65_535 if depth == 16 else 255, alpha, orientation=turned)


def _bmp(data: bytes) -> PictureHeader | None:
    (size,) = struct.unpack_from("<I", data, 14)
    # the fourth byte of a pixel is no alpha in most files that have one
    width, height = struct.unpack_from("<HH" if size < 36 else "<ii", data, 18)
    return PictureHeader("bmp", abs(width), abs(height))


def _gif(data: bytes) -> PictureHeader | None:
    width, height = struct.unpack_from("<HH", data, 6)
    return PictureHeader("gif", width, height, alpha=True)


def _webp(data: bytes) -> PictureHeader | None:
    if data[8:12] != b"WEBP":
        return None
    kind = data[12:16]
    if kind == b"VP8X":
        flags, low_width, high_width, low_height, high_height = struct.unpack_from("<B3xHBHB", data, 20)
        width, height = high_width << 16 | low_width, high_height << 16 | low_height
        turned = _orientation(data, b"EXIF") if flags & 0x10 else 1
        return PictureHeader("webp", width + 1, height + 1, alpha=bool(flags & 0x10), orientation=turned)
    if kind == b"VP8L" and data[20] == 0x2F:
        (bits,) = struct.unpack_from("<I", data, 21)
        width, height = bits & 0x3FFF, bits >> 14 & 0x3FFF
        return PictureHeader("webp", width + 1, height + 1, alpha=bool(bits >> 28 & 1))
    if kind == b"VP8 " and data[23:26] == b"\x9d\x01\x2a":
        width, height = struct.unpack_from("<HH", data, 26)
        return PictureHeader("webp", width & 0x3FFF, height & 0x3FFF)
    return None


_NUMBER = rb"(?:\s|#[^\r\n]*[\r\n])+(\d{1,10})"
_BITMAP = re.compile(rb"P[14]" + _NUMBER * 2)
_PIXMAP = re.compile(rb"P[2356]" + _NUMBER * 3)
_PAM_FIELD = re.compile(rb"^\s*(WIDTH|HEIGHT|DEPTH|MAXVAL)\s+(\d{1,10})\s*$", re.MULTILINE)


def _pnm(data: bytes) -> PictureHeader | None:
    if found := _BITMAP.match(data):
        return PictureHeader("pnm", int(found[1]), int(found[2]), text=data[1:2] == b"1")
    if found := _PIXMAP.match(data):
        maximum = int(found[3])
        if not 1 <= maximum <= 65_535:
            return None
        return PictureHeader(
            "pnm", int(found[1]), int(found[2]), maximum=maximum, text=data[1:2] in (b"2", b"3")
        )
    return None


def _pam(data: bytes) -> PictureHeader | None:
    head, ended, _ = data.partition(b"ENDHDR")
    fields = {name: int(value) for name, value in _PAM_FIELD.findall(head)}
    if not ended or len(fields) < 4 or not 1 <= fields[b"MAXVAL"] <= 65_535:
        return None
    if fields[b"DEPTH"] not in (1, 3):  # with alpha: OpenCV 5.0 mixes its colours up
        return None
    return PictureHeader("pnm", fields[b"WIDTH"], fields[b"HEIGHT"], maximum=fields[b"MAXVAL"])


_WIDTH, _HEIGHT, _BITS, _TILE_WIDTH, _TILE_HEIGHT, _EXTRA = 256, 257, 258, 322, 323, 338
_ORIENTATION = 274
_UNASSOCIATED = 2
"""The extra sample is alpha, and the colours are not multiplied by it."""
_TIFF_FORMATS = {1: "B", 3: "H", 4: "I", 16: "Q"}
_MOST_TAGS = 4096


def _tiff(data: bytes) -> PictureHeader | None:
    """Read the first directory (TIFF 6.0, section 2; BigTIFF). A tiled picture counts at least one tile."""
    tags = _tiff_tags(data)
    width, height = tags.get(_WIDTH, 0), tags.get(_HEIGHT, 0)
    if not width or not height:
        return None
    return PictureHeader(
        "tiff",
        max(width, tags.get(_TILE_WIDTH, 0)),
        max(height, tags.get(_TILE_HEIGHT, 0)),
        maximum=65_535 if tags.get(_BITS, 1) == 16 else 255,
        alpha=tags.get(_EXTRA) == _UNASSOCIATED,
        orientation=tags.get(_ORIENTATION, 1),
    )


def _orientation(data: bytes, chunk: bytes) -> int:
    """Return what the EXIF data in a chunk of this name say (CIPA DC-008, 4.6.4); 1 without any."""
    for place in re.finditer(re.escape(chunk), data):
        exif = data[place.end() :]
        if chunk == b"EXIF":
            exif = exif[4:].removeprefix(b"Exif\0\0")
        if exif.startswith((b"II*\0", b"MM\0*")):
            try:
                return _tiff_tags(exif).get(_ORIENTATION, 1)
            except struct.error:  # it ends before what it says of itself
                return 1
    return 1


def _tiff_tags(data: bytes) -> dict[int, int]:
    """Return the first value of every integer tag of the first directory."""
    order = "<" if data.startswith(b"II") else ">"
    big = struct.unpack_from(f"{order}H", data, 2)[0] == 43
    word, count_format, entry_bytes = ("Q", "Q", 20) if big else ("I", "H", 12)
    (start,) = struct.unpack_from(f"{order}{word}", data, 8 if big else 4)
    (count,) = struct.unpack_from(f"{order}{count_format}", data, start)
    at = start + struct.calcsize(f"<{count_format}")
    room = struct.calcsize(f"<{word}")
    tags: dict[int, int] = {}
    for entry in range(at, at + min(count, _MOST_TAGS) * entry_bytes, entry_bytes):
        tag, kind, values = struct.unpack_from(f"{order}HH{word}", data, entry)
        if (letter := _TIFF_FORMATS.get(kind)) is None:
            continue
        place = entry + 4 + room
        if values * struct.calcsize(f"<{letter}") > room:
            (place,) = struct.unpack_from(f"{order}{word}", data, place)
        (value,) = struct.unpack_from(f"{order}{letter}", data, place)
        tags[tag] = max(value, tags.get(tag, 0))  # of a tag that is there twice, decoders may take either
    return tags


_READERS = (
    (b"\xff\xd8", _jpeg),
    (b"\x89PNG\r\n\x1a\n", _png),
    (b"BM", _bmp),
    (b"GIF8", _gif),
    (b"RIFF", _webp),
    ((b"P1", b"P2", b"P3", b"P4", b"P5", b"P6"), _pnm),
    (b"P7\n", _pam),
    ((b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"), _tiff),
)
