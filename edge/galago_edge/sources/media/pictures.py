"""Decoded planes become BGR: integer arithmetic only, so the same bytes on every CPU.

How a pixel is made, whatever decoded it:

1. *Depth.* Samples of more than 8 bits are rounded to the nearest of 8: ``(v + half) >> shift``, at most 255.
2. *Chroma* is repeated: every pixel takes the sample that covers it.
3. *Matrix and range* are those that the stream states. A matrix that is not stated is BT.601, a range that is
   not stated is the limited one (16 to 235), but the full one of gray pictures and of the ``yuvj`` formats:
   what OpenCV and swscale do.

   =======================  ==========================================================================
   BT.601, limited, 4:2:0   ``cv2.cvtColor`` with ``COLOR_YUV2BGR_I420``
   BT.601, limited, 4:2:2   ``cv2.cvtColor`` with ``COLOR_YUV2BGR_YUYV``
   BT.601, full             ``cv2.cvtColor`` with ``COLOR_YCrCb2BGR``
   everything else          the matrix of its standard as tables in 1/64 steps, summed and rounded half up
   =======================  ==========================================================================

4. *RGB* keeps its levels; transparent pictures are laid over white.

BT.601, 709, 2020 and SMPTE 240M name ``Kr`` and ``Kb``, from which their matrix follows (ITU-T H.273, 8.3).
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from galago_edge.contract.errors import InputError, Reason
from galago_edge.sources.opencv import import_cv2

Plane = npt.NDArray[np.uint8]
"""Shape ``(height, width)``; of chroma fewer of both."""

_BT601 = (Fraction(299, 1000), Fraction(114, 1000))
_MATRICES = {
    1: (Fraction(2126, 10000), Fraction(722, 10000)),  # BT.709
    2: _BT601,  # not stated
    3: _BT601,  # reserved
    4: (Fraction(30, 100), Fraction(11, 100)),  # FCC
    5: _BT601,
    6: _BT601,
    7: (Fraction(212, 1000), Fraction(87, 1000)),  # SMPTE 240M
    9: (Fraction(2627, 10000), Fraction(593, 10000)),  # BT.2020
    10: (Fraction(2627, 10000), Fraction(593, 10000)),
}
"""``Kr`` and ``Kb`` by the number that H.273 gives a matrix, which FFmpeg uses too."""
_RGB_MATRIX = 0
_LIMITED, _FULL = 1, 2
"""FFmpeg's numbers of the ranges; 0 is not stated."""
_STEPS = 64
"""The tables of a matrix count in 1/64 levels: sums of three fit int16, or saturate far outside 0 to 255."""

_SEMI_PLANAR = {"nv12": (0, 1), "nv21": (1, 0), "nv16": (0, 1), "nv24": (0, 1), "nv42": (1, 0)}
"""Where Cb and Cr are in the second plane."""
_SEMI_PLANAR_DEEP = {"p010le": 6, "p210le": 6, "p012le": 4, "p016le": 0}
"""How far the sample is shifted up in its 16 bits."""
_PACKED_422 = {"yuyv422": (0, 1, 3), "yvyu422": (0, 3, 1), "uyvy422": (1, 0, 2)}
"""Where the first Y, Cb and Cr are among the four bytes of two pixels."""
_INTERLEAVED = {
    **{name + "24": name for name in ("bgr", "rgb")},
    **{name: name for name in ("bgra", "rgba", "argb", "abgr", "bgr0", "rgb0", "0rgb", "0bgr")},
    **{name + "48le": name for name in ("bgr", "rgb")},
    **{name + "64le": name for name in ("bgra", "rgba")},
}
_SHORT_RGB = {"rgb555le": (10, 5, 5), "rgb565le": (11, 6, 5)}
"""Where red begins, and the bits of green and of the other two."""


def to_bgr(frame: Any, name: str) -> Plane:
    """Return a decoded ``av.VideoFrame`` as BGR, shape ``(height, width, 3)``; ``name`` is for messages.

    A rotation by quarter turns, which the stream states, is applied.

    Raises:
        InputError: VIDEO_UNREADABLE; pixels of a format or matrix that have no exact way here.
    """
    bgr = _convert(frame, name)
    turns = int(frame.rotation) // 90 % 4  # counter-clockwise
    return np.ascontiguousarray(np.rot90(bgr, turns)) if turns and is_quarter_turn(frame) else bgr


def is_quarter_turn(frame: Any) -> bool:
    """Tell whether the rotation that the stream states is one of quarter turns."""
    return int(frame.rotation) % 90 == 0


def _convert(frame: Any, name: str) -> Plane:
    kind = str(frame.format.name)
    if kind in _INTERLEAVED:
        return _interleaved(frame, _INTERLEAVED[kind])
    if kind == "pal8":
        palette = np.frombuffer(frame.planes[1], np.uint8).reshape(256, 4)[:, :3]
        return np.ascontiguousarray(palette[_rows(frame, 0)[:, : frame.width]])
    if kind in _SHORT_RGB:
        return _short(_rows(frame, 0, "<u2")[:, : frame.width], *_SHORT_RGB[kind])
    planes = _planes(frame, kind)
    if planes is None:
        raise _unknown(name, f"pixels of the format {kind}")
    *colours, alpha = planes
    if kind.startswith("gbr"):
        return _over_white(_merge(colours[1], colours[0], colours[2]), alpha)
    full = frame.color_range == _FULL or (
        frame.color_range != _LIMITED and kind.startswith(("yuvj", "gray", "ya"))
    )
    if len(colours) == 1:
        gray = colours[0] if full else _stretched(colours[0])
        return _over_white(_merge(gray, gray, gray), alpha)
    if frame.colorspace not in _MATRICES:
        raise _unknown(name, f"a colour matrix (number {frame.colorspace})")
    y, cb, cr = (np.ascontiguousarray(plane) for plane in colours)
    return _over_white(_from_yuv(y, cb, cr, _MATRICES[frame.colorspace], full), alpha)


def _rows(frame: Any, index: int, dtype: str = "u1") -> npt.NDArray[Any]:
    """Return a plane with what pads its lines, top line first."""
    plane = frame.planes[index]
    data = np.frombuffer(plane, dtype).reshape(plane.height, -1)
    return data[::-1] if plane.line_size < 0 else data


def _planes(frame: Any, kind: str) -> list[Any] | None:
    """Return the planes of colour (one is gray), 8 bits each, and that of opacity or None."""
    width = frame.width
    half = (width + 1) // 2
    if kind in _PACKED_422:
        luma, cb, cr = _PACKED_422[kind]
        data = _rows(frame, 0)[:, : 4 * half]
        return [data[:, luma::2][:, :width], data[:, cb::4], data[:, cr::4], None]
    if kind in _SEMI_PLANAR:
        cb, cr = _SEMI_PLANAR[kind]
        pairs = _rows(frame, 1)[:, : 2 * frame.format.components[1].width]
        return [_rows(frame, 0)[:, :width], pairs[:, cb::2], pairs[:, cr::2], None]
    if kind in _SEMI_PLANAR_DEEP:
        up, bits = _SEMI_PLANAR_DEEP[kind], 16 - _SEMI_PLANAR_DEEP[kind]
        luma_16 = _rows(frame, 0, "<u2")[:, :width] >> up
        pairs = _rows(frame, 1, "<u2")[:, : 2 * frame.format.components[1].width] >> up
        return [_to_8_bits(data, bits) for data in (luma_16, pairs[:, 0::2], pairs[:, 1::2])] + [None]
    return _planar(frame, kind)


def _planar(frame: Any, kind: str) -> list[Any] | None:
    """Return the planes of a format that has one for each component."""
    components = frame.format.components
    apart = len({part.plane for part in components}) == len(components)
    if not apart or not kind.startswith(("yuv", "gray", "gbr")):
        return None
    planes: list[Any] = []
    for part in components:
        if not 8 <= part.bits <= 16 or kind.endswith(("f16be", "f16le")):
            return None
        dtype = "u1" if part.bits == 8 else ">u2" if frame.format.is_big_endian else "<u2"
        planes.append((part.plane, _to_8_bits(_rows(frame, part.plane, dtype)[:, : part.width], part.bits)))
    ordered = [plane for _, plane in sorted(planes, key=lambda pair: pair[0])]
    return ordered if len(ordered) in (2, 4) else [*ordered, None]


def _to_8_bits(data: npt.NDArray[Any], bits: int) -> Plane:
    if bits == 8:
        return data.astype(np.uint8, copy=False)
    shift = bits - 8
    rounded = (data.astype(np.uint32) + (1 << shift >> 1)) >> shift
    levels: Plane = np.minimum(rounded, 255).astype(np.uint8)
    return levels


def _interleaved(frame: Any, order: str) -> Plane:
    """Return what has its components side by side in one plane; ``order`` names them."""
    deep = frame.format.components[0].bits == 16
    rows = _rows(frame, 0, "<u2" if deep else "u1")[:, : frame.width * len(order)]
    data = rows.reshape(frame.height, frame.width, len(order))
    if deep:
        data = _to_8_bits(data, 16)
    bgr = np.ascontiguousarray(data[:, :, [order.index(colour) for colour in "bgr"]])
    return _over_white(bgr, data[:, :, order.index("a")] if "a" in order else None)


def _short(data: npt.NDArray[np.uint16], red_at: int, green_bits: int, bits: int) -> Plane:
    """Return pixels of 15 or 16 bits; a level's highest bits fill up what it lacks of 8."""
    out = np.empty((*data.shape, 3), np.uint8)
    for colour, (start, size) in enumerate(((0, bits), (5, green_bits), (red_at, bits))):
        level = data >> start & ((1 << size) - 1)
        out[:, :, colour] = (level << (8 - size)) | (level >> (2 * size - 8))
    return out


def _over_white(bgr: Plane, alpha: Any) -> Plane:
    """Lay a picture over white; ``alpha`` None is opaque. Rounded to the nearest level."""
    if alpha is None or (alpha == 255).all():
        return bgr
    opacity = alpha.astype(np.uint16)[:, :, np.newaxis]
    mixed: Plane = ((bgr * opacity + 255 * (255 - opacity) + np.uint16(127)) // 255).astype(np.uint8)
    return mixed


def _from_yuv(y: Plane, cb: Plane, cr: Plane, matrix: tuple[Fraction, Fraction], full: bool) -> Plane:
    cv2 = import_cv2("reading video")
    height, width = y.shape
    half_width, half_height = (width + 1) // 2, (height + 1) // 2
    if matrix == _BT601 and not full and cb.shape == (half_height, half_width):
        return _i420(cv2, y, cb, cr)
    if matrix == _BT601 and not full and cb.shape == (height, half_width):
        pairs = np.empty((height, 2 * half_width, 2), np.uint8)
        pairs[:, :width, 0], pairs[:, width:, 0] = y, y[:, -1:] if width % 2 else 0
        pairs[:, 0::2, 1], pairs[:, 1::2, 1] = cb, cr
        return np.ascontiguousarray(cv2.cvtColor(pairs, cv2.COLOR_YUV2BGR_YUYV)[:, :width])
    if matrix == _BT601 and full:
        cb, cr = _repeated(cv2, cb, y.shape), _repeated(cv2, cr, y.shape)
        bgr: Plane = cv2.cvtColor(cv2.merge([y, cr, cb]), cv2.COLOR_YCrCb2BGR)
        return bgr
    tables = _tables(*matrix, full)
    luma = cv2.LUT(y, tables["y"])
    parts = (
        cv2.LUT(cb, tables["b"]),
        cv2.LUT(cb, tables["gb"]) + cv2.LUT(cr, tables["gr"]),
        cv2.LUT(cr, tables["r"]),
    )
    return _merge(*(_level(cv2, luma, _repeated(cv2, part, y.shape)) for part in parts))


def _i420(cv2: Any, y: Plane, cb: Plane, cr: Plane) -> Plane:
    """Return BT.601, limited, 4:2:0. OpenCV wants even sizes: the last line and column are repeated."""
    (height, width), (half_height, half_width) = y.shape, cb.shape
    whole = np.empty((half_height * 3, 2 * half_width), np.uint8)
    whole[:height, :width] = y
    whole[:height, width:] = y[:, -1:]
    whole[height : 2 * half_height] = whole[height - 1]
    quarters = whole[2 * half_height :].reshape(2, half_height, half_width)
    quarters[0], quarters[1] = cb, cr
    bgr: Plane = cv2.cvtColor(whole, cv2.COLOR_YUV2BGR_I420)
    return bgr if bgr.shape[:2] == y.shape else np.ascontiguousarray(bgr[:height, :width])


def _repeated(cv2: Any, plane: npt.NDArray[Any], shape: tuple[int, ...]) -> npt.NDArray[Any]:
    """Repeat the samples of a plane of chroma until it covers ``shape``."""
    height, width = shape
    if plane.shape == shape:
        return plane
    across, down = _factor(width, plane.shape[1]), _factor(height, plane.shape[0])
    size = (plane.shape[1] * across, plane.shape[0] * down)
    wide: npt.NDArray[Any] = cv2.resize(plane, size, interpolation=cv2.INTER_NEAREST)
    return wide if wide.shape == shape else np.ascontiguousarray(wide[:height, :width])


def _factor(size: int, samples: int) -> int:
    """Return how many pixels a sample covers: 1, 2 or 4, of which the last may be cut.

    >>> _factor(7, 4), _factor(1, 1), _factor(9, 3)
    (2, 1, 4)
    """
    return next(factor for factor in (1, 2, 4, 8) if samples * factor >= size)


def _level(cv2: Any, luma: npt.NDArray[np.int16], part: npt.NDArray[np.int16]) -> Plane:
    """Return the levels of one colour. OpenCV's sum saturates, far outside what is left of it."""
    total = cv2.add(luma, part)
    total >>= 6
    level: Plane = cv2.add(total, 0, dtype=cv2.CV_8U)
    return level


@lru_cache(maxsize=8)
def _tables(kr: Fraction, kb: Fraction, full: bool) -> dict[str, npt.NDArray[np.int16]]:
    """Return what each value of a sample adds to each colour, in 1/64 levels; ``y`` rounds the sum too."""
    kg = 1 - kr - kb
    light, colour = (Fraction(1), Fraction(1)) if full else (Fraction(255, 219), Fraction(255, 224))
    black = 0 if full else 16

    def table(value: Callable[[int], Fraction], rounding: int = 0) -> npt.NDArray[np.int16]:
        steps = [(2 * _STEPS * value(x) + 1).__floor__() // 2 + rounding for x in range(256)]
        return np.array([steps], np.int16)

    return {
        "y": table(lambda x: light * (x - black), _STEPS // 2),
        "r": table(lambda x: colour * (x - 128) * 2 * (1 - kr)),
        "b": table(lambda x: colour * (x - 128) * 2 * (1 - kb)),
        "gr": table(lambda x: -colour * (x - 128) * 2 * kr * (1 - kr) / kg),
        "gb": table(lambda x: -colour * (x - 128) * 2 * kb * (1 - kb) / kg),
    }


def _stretched(gray: Plane) -> Plane:
    """Return gray of the limited range in the full one, to the nearest level."""
    wide = ((gray.astype(np.int32) - 16) * 510 + 219) // 438
    return wide.clip(0, 255).astype(np.uint8)


def _merge(blue: Plane, green: Plane, red: Plane) -> Plane:
    merged: Plane = import_cv2("reading video").merge([blue, green, red])
    return merged


def _unknown(name: str, what: str) -> InputError:
    return InputError(
        Reason.VIDEO_UNREADABLE,
        f"{name} has {what}, expected YUV, gray or RGB of 8 to 16 bits",
        hint="convert it: ffmpeg -i IN -pix_fmt yuv420p OUT",
    )
