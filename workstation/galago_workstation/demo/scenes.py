"""A small room seen by a fixed camera: cards, light and sensor noise, rendered with OpenCV.

All positions are shares of the frame (0 to 1), so the same scene renders at any resolution.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]
"""Shape ``(height, width, 3)``, BGR."""

_Floats = npt.NDArray[np.float32]

CARD_PX = (144, 128)
"""Height and width of a card's texture."""

_INK_PX = 104  # the digit's square on the card
_INK_LEFT = (CARD_PX[1] - _INK_PX) // 2
_INK_TOP = (CARD_PX[0] - _INK_PX) // 2

# 12 x 12 points spread over the digit's square, homogeneous: shape (3, 144)
_INK_POINTS = np.stack(
    [
        _INK_LEFT + np.tile((np.arange(12) + 0.5) / 12 * _INK_PX, 12),
        _INK_TOP + np.repeat((np.arange(12) + 0.5) / 12 * _INK_PX, 12),
        np.ones(144),
    ]
)


@dataclass(frozen=True, slots=True)
class Pose:
    """Where a card is."""

    x: float
    """Centre, share of the frame's width; below 0 or above 1 it is (partly) outside."""
    y: float
    """Centre, share of the frame's height."""
    height: float
    """Height of the card, share of the frame's height."""
    angle_deg: float
    """Counter-clockwise."""

    def matrix(self, shape: tuple[int, int]) -> npt.NDArray[np.float64]:
        """Return the affine map, shape ``(2, 3)``, from texture pixels to a frame of ``(height, width)``."""
        scale = self.height * shape[0] / CARD_PX[0]
        cos = scale * math.cos(math.radians(self.angle_deg))
        sin = scale * math.sin(math.radians(self.angle_deg))
        x0, y0 = CARD_PX[1] / 2, CARD_PX[0] / 2
        return np.array(
            [
                [cos, sin, self.x * shape[1] - cos * x0 - sin * y0],
                [-sin, cos, self.y * shape[0] + sin * x0 - cos * y0],
            ]
        )

    def moved(self, dx: float, dy: float) -> Pose:
        """Return the pose shifted by shares of the frame."""
        return replace(self, x=self.x + dx, y=self.y + dy)


@dataclass(frozen=True, slots=True)
class Light:
    """How the room is lit at one moment."""

    gain: float = 1.0
    """Factor on every pixel."""
    lamp_x: float = 0.5
    lamp_y: float = 0.0
    """Where the lamp is, shares of the frame."""
    lamp: float = 0.0
    """Extra brightness at the lamp, 0 to 1; falls to nothing one frame away."""
    tint: tuple[float, float, float] = (1.0, 1.0, 1.0)
    """Factors on blue, green and red."""


def visible_ink(pose: Pose, shape: tuple[int, int] = (240, 320)) -> float:
    """Return the share, 0 to 1, of the digit's square that lies in the middle square of the frame.

    That square is what the model sees.
    """
    at = pose.matrix(shape) @ _INK_POINTS
    left = (shape[1] - shape[0]) / 2
    inside = (at[0] >= left) & (at[0] < left + shape[0]) & (at[1] >= 0) & (at[1] < shape[0])
    return float(inside.mean())


def is_inside(pose: Pose, shape: tuple[int, int] = (240, 320)) -> bool:
    """Tell whether the whole card lies inside the frame."""
    height, width = CARD_PX
    corners = np.array([[0, width, 0, width], [0, 0, height, height], [1, 1, 1, 1]], np.float64)
    at = pose.matrix(shape) @ corners
    return bool((at >= 0).all() and (at[0] <= shape[1]).all() and (at[1] <= shape[0]).all())


def blank_card(rng: np.random.Generator) -> Pixels:
    """Return paper with a border and nothing on it."""
    height, width = CARD_PX
    paper = rng.uniform(205, 250) * np.array([rng.uniform(0.88, 1.0), rng.uniform(0.94, 1.0), 1.0])
    card = np.empty((height, width, 3), np.float32)
    card[:] = paper
    grain = rng.normal(0.0, 3.0, (height // 4, width // 4)).astype(np.float32)
    card += cv2.resize(grain, (width, height), interpolation=cv2.INTER_CUBIC)[..., None]
    border = tuple(float(v) for v in paper * rng.uniform(0.35, 0.8))
    cv2.rectangle(card, (4, 4), (width - 5, height - 5), border, int(rng.integers(1, 4)))
    return card.clip(0, 255).astype(np.uint8)


def digit_card(scan: npt.NDArray[np.float64], rng: np.random.Generator) -> Pixels:
    """Return a card that shows ``scan``, shape ``(8, 8)``, ink 0 to 16 as scikit-learn ships it."""
    size = (_INK_PX, _INK_PX)
    soft = cv2.resize((scan / 16.0).astype(np.float32), size, interpolation=cv2.INTER_CUBIC)
    strength = soft.clip(0, 1) ** rng.uniform(0.8, 1.2)
    ink = rng.uniform(5, 70) * np.array([rng.uniform(0.8, 1.8), 1.0, rng.uniform(0.6, 1.2)])
    card = blank_card(rng).astype(np.float32)
    top = _INK_TOP + int(rng.integers(-8, 9))
    left = _INK_LEFT + int(rng.integers(-5, 6))
    part = card[top : top + _INK_PX, left : left + _INK_PX]
    part += (ink - part) * strength[..., None]
    return card.clip(0, 255).astype(np.uint8)


def scribble_card(rng: np.random.Generator) -> Pixels:
    """Return a card with a picture that is no digit: bars, dots or a chequered field."""
    card = blank_card(rng)
    height, width = CARD_PX
    ink = tuple(float(v) for v in rng.uniform(10, 120, 3))
    kind = int(rng.integers(3))
    if kind == 0:
        for top in range(24, height - 24, int(rng.integers(14, 22))):
            cv2.rectangle(card, (20, top), (int(rng.integers(70, width - 18)), top + 5), ink, -1)
    elif kind == 1:
        for _ in range(int(rng.integers(8, 16))):
            centre = (int(rng.integers(20, width - 20)), int(rng.integers(24, height - 24)))
            cv2.circle(card, centre, int(rng.integers(4, 9)), ink, -1)
    else:
        step = int(rng.integers(16, 28))
        for row, top in enumerate(range(20, height - 20 - step, step)):
            for left in range(16 + step * (row % 2), width - 16 - step, 2 * step):
                cv2.rectangle(card, (left, top), (left + step, top + step), ink, -1)
    return card


class Room:
    """One background with its furniture; renders frames."""

    def __init__(self, rng: np.random.Generator, shape: tuple[int, int] = (240, 320)) -> None:
        self.shape = shape
        self._background = _furnish(rng, shape)
        y, x = np.mgrid[0 : shape[0], 0 : shape[1]].astype(np.float32)
        self._x, self._y = x / shape[1], y / shape[0]

    def render(
        self,
        card: Pixels | None,
        pose: Pose | None,
        light: Light,
        noise: _Floats,
        *,
        shake_px: tuple[float, float] = (0.0, 0.0),
    ) -> Pixels:
        """Return one frame. ``noise``: shape ``(height, width, 3)``, added last."""
        frame = self._background.copy()
        if card is not None and pose is not None:
            self._paste(frame, card, pose)
        if any(shake_px):
            frame = _warp(frame, np.array([[1.0, 0.0, shake_px[0]], [0.0, 1.0, shake_px[1]]]), self.shape)
        far = np.hypot(self._x - light.lamp_x, self._y - light.lamp_y)
        gain = light.gain + light.lamp * np.maximum(0.0, 1.0 - far)
        frame *= gain[..., None] * np.array(light.tint, np.float32)
        frame += noise
        return frame.clip(0, 255).astype(np.uint8)

    def _paste(self, frame: _Floats, card: Pixels, pose: Pose) -> None:
        solid = np.ones(CARD_PX, np.float32)
        shadow = cv2.warpAffine(solid, pose.moved(0.012, 0.02).matrix(self.shape), self.shape[::-1])
        frame *= (1.0 - 0.45 * cv2.GaussianBlur(shadow, (0, 0), self.shape[0] / 80))[..., None]
        matrix = pose.matrix(self.shape)
        shrink = CARD_PX[0] / (pose.height * self.shape[0])
        # when it becomes smaller, blur first, or thin strokes break up
        texture = _warp(_blur(card, 0.45 * shrink) if shrink > 1 else card, matrix, self.shape)
        alpha = cv2.warpAffine(solid, matrix, self.shape[::-1])
        frame += (texture - frame) * alpha[..., None]


def _warp(image: npt.NDArray[Any], matrix: npt.NDArray[np.float64], shape: tuple[int, int]) -> _Floats:
    warped = cv2.warpAffine(image, matrix, shape[::-1], borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(warped, np.float32)


def _blur(image: npt.NDArray[Any], sigma_px: float) -> _Floats:
    return np.asarray(cv2.GaussianBlur(image, (0, 0), sigma_px), np.float32)


def _furnish(rng: np.random.Generator, shape: tuple[int, int]) -> _Floats:
    """Return a wall, a table and some things, float BGR, shape ``(*shape, 3)``."""
    height, width = shape
    ramp = np.linspace(0.0, 1.0, height, dtype=np.float32)[:, None, None]
    wall = _colour(rng) * (1 - ramp) + _colour(rng) * ramp
    frame = np.ascontiguousarray(np.broadcast_to(wall, (height, width, 3)), np.float32)
    table = int(height * rng.uniform(0.55, 0.95))
    frame[table:] = _colour(rng)
    for _ in range(int(rng.integers(4, 11))):
        colour = tuple(float(v) for v in _colour(rng))
        x, y = int(rng.integers(width)), int(rng.integers(height))
        w, h = (int(side * rng.uniform(0.04, 0.3)) for side in (width, height))
        kind = int(rng.integers(4))
        if kind == 0:
            cv2.ellipse(frame, (x, y), (w, h), float(rng.uniform(0, 180)), 0, 360, colour, -1)
        elif kind == 1:
            cv2.line(frame, (x, y), (x + 3 * w, y + h), colour, int(rng.integers(1, 4)), cv2.LINE_AA)
        else:
            cv2.rectangle(frame, (x - w, y - h), (x + w, y + h), colour, -1 if kind == 2 else 2)
    texture = rng.normal(0.0, rng.uniform(0.0, 8.0), (height // 4, width // 4, 1)).astype(np.float32)
    frame += cv2.resize(texture, (width, height), interpolation=cv2.INTER_LINEAR)[..., None]
    return _blur(frame, height / 240 + 0.2)


def _colour(rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """Return a muted BGR colour, as rooms have them."""
    return (rng.uniform(35, 215) + rng.uniform(-35, 35, 3)).clip(10, 245)


def easing(share: float) -> float:
    """Return a smooth 0 to 1 for a linear 0 to 1: slow start, slow end."""
    return 0.5 - 0.5 * math.cos(math.pi * min(1.0, max(0.0, share)))
