"""What a program may hand in as pictures and samples: looked at before anything is decided with it."""

from __future__ import annotations

import operator
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from galago_edge.contract.streams import LATEST_NS

ColorOrder = Literal["bgr", "rgb"]

_LEAST_HZ, _MOST_HZ = 1_000, 1_000_000


def checked_pixels(pixels: Any, color: ColorOrder) -> npt.NDArray[np.uint8]:
    """Return a picture as uint8, shape ``(height, width, 3)``, BGR, contiguous.

    Raises:
        TypeError: Not a numpy array, or not of uint8.
        ValueError: Another shape, nothing in it, or ``color`` is no order that is known.
    """
    wanted = "a numpy array of uint8 with shape (height, width, 3)"
    if color not in ("bgr", "rgb"):
        raise ValueError(f"color is {color!r}, expected 'bgr' or 'rgb'")
    _check_array("pixels", pixels, np.uint8, wanted)
    if pixels.ndim != 3 or pixels.shape[2] != 3 or not pixels.size:
        raise ValueError(f"pixels have shape {pixels.shape}, expected {wanted}")
    ordered = pixels[:, :, ::-1] if color == "rgb" else pixels
    return np.ascontiguousarray(ordered)


def checked_samples(samples: Any) -> npt.NDArray[np.int16]:
    """Return samples as int16 of shape ``(n,)``, copied: the caller may use the buffer again.

    Raises:
        TypeError: Not a numpy array, or not of int16.
        ValueError: Not one channel.
    """
    wanted = "a numpy array of int16 with shape (n,), one channel"
    _check_array("samples", samples, np.int16, wanted)
    if samples.ndim != 1:
        raise ValueError(f"samples have shape {samples.shape}, expected {wanted}")
    return np.array(samples, np.int16)


def checked_rate(rate_hz: Any) -> int:
    """Return samples per second.

    Raises:
        TypeError: Not an integer.
        ValueError: No rate of sound.
    """
    rate = checked_integer("rate_hz", rate_hz)
    if not _LEAST_HZ <= rate <= _MOST_HZ:
        raise ValueError(f"rate_hz is {rate}, expected {_LEAST_HZ} to {_MOST_HZ} samples per second")
    return rate


def checked_integer(what: str, given: Any) -> int:
    """Return an integer, which numpy's may be too.

    Raises:
        TypeError: Something else.
        ValueError: It is so large that times would not fit 64 bits.
    """
    try:
        number = operator.index(given)
    except TypeError:
        raise TypeError(f"{what} is {given!r}, expected an integer") from None
    if not -LATEST_NS < number < LATEST_NS:
        raise ValueError(f"{what} is beyond {LATEST_NS}, expected less")
    return number


def _check_array(what: str, given: Any, dtype: type[np.generic], wanted: str) -> None:
    if not isinstance(given, np.ndarray):
        raise TypeError(f"{what} are of type {type(given).__name__}, expected {wanted}")
    if given.dtype != dtype:
        raise TypeError(f"{what} are {given.dtype}, expected {wanted}")
