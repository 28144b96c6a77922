"""Where a picture's scene lies: flip, size, rotation, perspective and shift, composed into one warp."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from galago_workstation.data.augmentation.augment_options import NO_ZOOM, ImageAugment
from galago_workstation.data.augmentation.random_draws import spread

Pixels = npt.NDArray[np.uint8]
Matrix = npt.NDArray[np.float64]

_DRAWS = 14


def geometry_matrix(rng: np.random.Generator, options: ImageAugment, height: int, width: int) -> Matrix:
    """Return the homogeneous matrix ``(3, 3)`` that moves pixel positions ``(x, y, 1)`` of a picture.

    The scene is mirrored, sized and rotated about its middle, then its corners are moved, then all of it.
    """
    draws = rng.random(
        _DRAWS
    )  # always as many: each change reads its own, and leaves the others as they were
    matrix = np.eye(3)
    if options.flip and draws[0] < 0.5:
        matrix = np.array([[-1.0, 0.0, width - 1.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    if options.scale != NO_ZOOM or options.stretch > 0.0 or options.rotation_degrees > 0.0:
        matrix = _about_the_middle(draws[1:4], options, height, width) @ matrix
    if options.perspective > 0.0:
        matrix = _moved_corners(draws[4:12] * 2.0 - 1.0, options.perspective, height, width) @ matrix
    if options.shift > 0.0:
        matrix[:2] += np.outer(
            [
                round(spread(draws[12]) * options.shift * width),
                round(spread(draws[13]) * options.shift * height),
            ],
            matrix[2],
        )
    return matrix


def _about_the_middle(
    draws: npt.NDArray[np.float64], options: ImageAugment, height: int, width: int
) -> Matrix:
    lowest, highest = options.scale
    zoom = lowest * (highest / lowest) ** draws[0]  # half as often smaller as larger by the same factor
    ratio = (1.0 + options.stretch) ** spread(draws[1])
    angle = math.radians(options.rotation_degrees) * spread(draws[2])
    across, down = zoom * math.sqrt(ratio), zoom / math.sqrt(ratio)
    turned = np.array(
        [
            [across * math.cos(angle), -down * math.sin(angle), 0.0],
            [across * math.sin(angle), down * math.cos(angle), 0.0],
            [0.0, 0.0, 1.0],
        ]
    )
    middle = np.array([(width - 1) / 2.0, (height - 1) / 2.0])
    turned[:2, 2] = middle - turned[:2, :2] @ middle
    return turned


def _moved_corners(moves: npt.NDArray[np.float64], share: float, height: int, width: int) -> Matrix:
    import cv2

    right, bottom = width - 1.0, height - 1.0
    corners = np.array([[0.0, 0.0], [right, 0.0], [right, bottom], [0.0, bottom]])
    moved = corners + moves.reshape(4, 2) * share * np.array([width, height])
    found = cv2.getPerspectiveTransform(corners.astype(np.float32), moved.astype(np.float32))
    return np.asarray(found, np.float64)


def warped(picture: Pixels, matrix: Matrix, background: Pixels | None = None) -> Pixels:
    """Return a picture ``(height, width, channels)`` as the matrix moves it.

    Args:
        picture: Of 1 or 3 channels; not changed.
        matrix: From old to new positions.
        background: Of the same shape: what shows where the picture was moved away. Without one the pixels of
            its border are repeated.
    """
    import cv2

    if np.array_equal(matrix, np.eye(3)):
        return picture
    height, width, _ = picture.shape
    whole = np.array_equal(np.abs(matrix[:2, :2]), np.eye(2)) and np.array_equal(matrix, np.rint(matrix))
    flags = cv2.INTER_NEAREST if whole else cv2.INTER_LINEAR  # whole pixels stay as sharp as they are
    border = cv2.BORDER_REPLICATE if background is None else cv2.BORDER_TRANSPARENT
    below = None if background is None else background.copy()
    if np.array_equal(matrix[2], (0.0, 0.0, 1.0)):
        found = cv2.warpAffine(picture, matrix[:2], (width, height), below, flags, border)
    else:
        found = cv2.warpPerspective(picture, matrix, (width, height), below, flags, border)
    return np.asarray(found, np.uint8).reshape(picture.shape)
