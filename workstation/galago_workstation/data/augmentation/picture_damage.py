"""What lenses, sensors, motion, cables and things in the way do to a picture."""

from __future__ import annotations

import functools
import math
import statistics

import numpy as np
import numpy.typing as npt

from galago_workstation.data.augmentation.random_draws import between

Pixels = npt.NDArray[np.uint8]

_BEST_JPEG = 95
_LEAST_BLUR = 0.25
"""Pixels. Less than this leaves a picture as it is, to the code."""


def covered(picture: Pixels, rng: np.random.Generator, largest: float) -> Pixels:
    """Return the picture with one rectangle of one colour, each side up to the share ``largest`` of its side.

    The rectangle's middle lies anywhere in the picture, so that part of it may lie outside.
    """
    height, width, channels = picture.shape
    tall, wide, down, right = rng.random(4)
    rows = _stretch(down * height, tall * largest * height, height)
    columns = _stretch(right * width, wide * largest * width, width)
    changed = picture.copy()
    changed[rows, columns] = rng.integers(0, 256, channels)
    return changed


def _stretch(middle: float, length: float, count: int) -> slice:
    return slice(max(0, round(middle - length / 2.0)), min(count, round(middle + length / 2.0)))


def blurred(picture: Pixels, rng: np.random.Generator, largest: float) -> Pixels:
    """Return the picture out of focus: a Gaussian blur whose deviation is up to ``largest`` pixels."""
    import cv2

    deviation = rng.random() * largest
    if deviation < _LEAST_BLUR:
        return picture
    found = cv2.GaussianBlur(picture, (0, 0), deviation, borderType=cv2.BORDER_REPLICATE)
    return np.asarray(found, np.uint8).reshape(picture.shape)


def smeared(picture: Pixels, rng: np.random.Generator, longest: float) -> Pixels:
    """Return the picture as if the camera had moved by up to ``longest`` pixels in any one direction."""
    import cv2

    length, angle = rng.random() * longest, rng.random() * math.pi
    kernel = motion_kernel(length, angle)
    if kernel.size == 1:
        return picture
    found = cv2.filter2D(picture, -1, kernel, borderType=cv2.BORDER_REPLICATE)
    return np.asarray(found, np.uint8).reshape(picture.shape)


def motion_kernel(length: float, angle: float) -> npt.NDArray[np.float32]:
    """Return the square of odd side, of sum 1, along which a motion of ``length`` pixels spreads a point.

    >>> motion_kernel(2.0, 0.0)[1].round(2).tolist()
    [0.25, 0.5, 0.25]
    """
    reach = math.ceil(length / 2.0 - 1e-9)
    kernel = np.zeros((2 * reach + 1, 2 * reach + 1))
    times = (np.arange(64 * (reach + 1)) + 0.5) / (64 * (reach + 1)) - 0.5
    x, y = times * length * math.cos(angle) + reach, times * length * math.sin(angle) + reach
    left, top = np.floor(x).astype(np.int64), np.floor(y).astype(np.int64)
    for right, below in ((0, 0), (0, 1), (1, 0), (1, 1)):  # each moment falls on the four pixels around it
        share = (1 - right - (x - left) * (1 - 2 * right)) * (1 - below - (y - top) * (1 - 2 * below))
        inside = share > 1e-12
        np.add.at(kernel, (top[inside] + below, left[inside] + right), share[inside])
    kernel /= kernel.sum()
    return kernel.astype(np.float32)


def noisy(picture: Pixels, rng: np.random.Generator, largest: float) -> Pixels:
    """Return the picture with Gaussian noise whose deviation is up to ``largest`` codes."""
    import cv2

    table = np.rint(_normal_quantiles() * rng.random() * largest).astype(np.int16)
    bytes_ = np.frombuffer(rng.bytes(picture.size), np.uint8).reshape(picture.shape[0], -1)
    # ten times as fast as normal numbers: each byte is one of their 256 quantiles
    found = cv2.add(picture.reshape(bytes_.shape), cv2.LUT(bytes_, table), dtype=cv2.CV_8U)
    return np.asarray(found, np.uint8).reshape(picture.shape)


@functools.cache
def _normal_quantiles() -> npt.NDArray[np.float64]:
    """Return 256 equally likely numbers of mean 0 and deviation 1, distributed as normal ones are."""
    normal = statistics.NormalDist()
    numbers = np.array([normal.inv_cdf((number + 0.5) / 256.0) for number in range(256)])
    numbers /= numbers.std()
    return numbers


def as_jpeg(picture: Pixels, rng: np.random.Generator, lowest: int) -> Pixels:
    """Return what a JPEG of a quality between ``lowest`` and 95 makes of it; three channels are RGB."""
    import cv2

    quality = round(between(rng.random(), (min(lowest, _BEST_JPEG), _BEST_JPEG)))
    colour = picture.shape[2] == 3
    given = cv2.cvtColor(picture, cv2.COLOR_RGB2BGR) if colour else picture
    done, data = cv2.imencode(".jpg", given, [cv2.IMWRITE_JPEG_QUALITY, quality])
    assert done
    found = cv2.imdecode(data, cv2.IMREAD_COLOR if colour else cv2.IMREAD_GRAYSCALE)
    assert found is not None
    found = cv2.cvtColor(found, cv2.COLOR_BGR2RGB) if colour else found
    return np.asarray(found, np.uint8).reshape(picture.shape)
