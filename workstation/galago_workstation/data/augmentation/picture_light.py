"""What light and a camera's settings do to a picture's levels: one table and one matrix."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from galago_workstation.data.augmentation.augment_options import ImageAugment
from galago_workstation.data.augmentation.random_draws import spread

Pixels = npt.NDArray[np.uint8]

GAMMA = 2.2
"""A picture's codes are about light to the power of 1 / 2.2 (the sRGB curve, IEC 61966-2-1)."""
MIDDLE_GRAY = 128.0
FULL_SCALE = 255.0

LUMA = np.array([0.299, 0.587, 0.114])
"""Weights of red, green, blue (ITU-R BT.601)."""
_TO_YIQ = np.array([LUMA, [0.596, -0.274, -0.322], [0.211, -0.523, 0.312]])
"""RGB to brightness and two axes of colour, in which a hue is an angle (NTSC 1953)."""


def relit(picture: Pixels, rng: np.random.Generator, options: ImageAugment) -> Pixels:
    """Return ``(height, width, channels)`` with another exposure, white balance, contrast and brightness.

    Three channels are red, green, blue.
    """
    import cv2

    exposure, balance, contrast, gain, offset = (spread(draw) for draw in rng.random(5))
    channels = picture.shape[2]
    stops = np.full(channels, exposure * options.exposure_stops)
    if channels == 3:
        stops += np.array([0.5, 0.0, -0.5]) * balance * options.white_balance_stops
    codes = np.arange(256.0)[:, None] * 2.0 ** (stops / GAMMA)
    codes = codes.clip(0.0, FULL_SCALE)  # the sensor is full, whatever contrast makes of it
    codes = MIDDLE_GRAY + (codes - MIDDLE_GRAY) * (1.0 + contrast * options.contrast)
    codes = codes * (1.0 + gain * options.brightness) + offset * options.brightness * FULL_SCALE
    table = np.rint(codes).clip(0, 255).astype(np.uint8)
    return np.asarray(cv2.LUT(picture, table.reshape(1, 256, channels)), np.uint8).reshape(picture.shape)


def recoloured(picture: Pixels, rng: np.random.Generator, options: ImageAugment) -> Pixels:
    """Return ``(height, width, 3)`` RGB with another saturation and hue; grays stay as they are."""
    import cv2

    saturation, hue = (spread(draw) for draw in rng.random(2))
    matrix = colour_matrix(1.0 + saturation * options.saturation, hue * options.hue_degrees)
    return np.asarray(cv2.transform(picture, matrix), np.uint8)


def colour_matrix(saturation: float, hue_degrees: float) -> npt.NDArray[np.float64]:
    """Return the matrix ``(3, 3)`` that takes RGB to RGB of another saturation (1: the same) and hue.

    >>> bool(np.allclose(colour_matrix(1.0, 0.0), np.eye(3)))
    True
    """
    angle = math.radians(hue_degrees)
    turn = np.array(
        [
            [1.0, 0.0, 0.0],
            [0.0, saturation * math.cos(angle), -saturation * math.sin(angle)],
            [0.0, saturation * math.sin(angle), saturation * math.cos(angle)],
        ]
    )
    matrix: npt.NDArray[np.float64] = np.linalg.solve(_TO_YIQ, turn @ _TO_YIQ)
    return matrix
