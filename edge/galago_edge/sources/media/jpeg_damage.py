"""Whether a JPEG of a video is whole: it is decoded, and what its decoder says about it is heard."""

from __future__ import annotations

import re

import numpy as np
import numpy.typing as npt

from galago_edge.host.native_stderr import hold_stderr
from galago_edge.sources.still_image import decode_image

_WARNINGS = (b"Corrupt JPEG data", b"Premature end of JPEG", b"Invalid ", b"Unsupported ", b"Warning: ")
"""How libjpeg begins the lines that it writes about data that it decodes all the same."""
_END = b"\xff\xd9"
_EXTRANEOUS = re.compile(rb"Corrupt JPEG data: (\d+) extraneous bytes before marker 0xd9")
"""The picture was complete before its data ended: filled up, as many cameras do, or out of step."""


def decode_jpeg(data: bytes, name: str, *, largest_pixels: int) -> tuple[npt.NDArray[np.uint8], bool]:
    """Return the pixels of a JPEG as BGR, and whether they are not all that it was.

    Some cameras leave out its end marker: then it is whole if nothing else is missing, which its decoder says
    once it is given one. (Without, it complains of that and nothing more.)

    Raises:
        InputError: It cannot be decoded, or has more than ``largest_pixels``.
    """
    ended = data if data.endswith(_END) else data + _END
    with hold_stderr(_is_warning) as warnings:
        pixels = decode_image(ended, name, largest_pixels=largest_pixels)
    return pixels, not all(_is_filling(line, ended) for line in warnings)


def _is_filling(warning: bytes, jpeg: bytes) -> bool:
    """Tell whether libjpeg met nothing worse than one byte, repeated, between the picture and its end.

    >>> warning = b"Corrupt JPEG data: 3 extraneous bytes before marker 0xd9"
    >>> _is_filling(warning, b"data\\0\\0\\0\\xff\\xd9"), _is_filling(warning, b"data\\xff\\xd9")
    (True, False)
    """
    found = _EXTRANEOUS.search(warning)
    if found is None:
        return False
    end = jpeg.rfind(_END)
    filling = jpeg[max(0, end - int(found[1])) : end]
    return len(set(filling)) <= 1


def _is_warning(line: bytes) -> bool:
    return line.startswith(_WARNINGS)
