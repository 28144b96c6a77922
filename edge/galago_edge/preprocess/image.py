"""The camera's preprocessing: a BGR frame becomes the model's uint8 input, the same bytes everywhere.

1. The region: the whole frame (``stretch``, ``letterbox``) or its centre in the model's aspect ratio
   (``crop``).
2. Resize with ``cv2.INTER_LINEAR_EXACT`` to the model's size, or for ``letterbox`` to the largest size of
   the frame's aspect ratio that fits, between bars of ``pad_value``. This interpolation is integer
   arithmetic and gives equal bytes on x86-64 and Arm; ``INTER_LINEAR`` and ``INTER_AREA`` do not.
3. BGR to RGB, or to gray as ``(3735 B + 19235 G + 9798 R + 2^14) >> 15`` (ITU-R BT.601 weights), after
   the resize because there are fewer pixels then.

Lengths are rounded to the nearest pixel, halves upwards, and are at least 1; offsets are rounded down.
Scaling pixel values to floats is the model's own first layer. Results do not depend on OpenCV's number of
threads, which is a setting of the whole process and left to whoever owns that (:func:`use_one_thread`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from galago_edge.contract.manifest import ImagePreprocess
from galago_edge.contract.streams import check_pixels
from galago_edge.host.extras import import_extra

Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle of pixels."""

    top: int
    left: int
    height: int
    width: int

    def of(self, pixels: Pixels) -> Pixels:
        """Return this part of an image, as a view."""
        return pixels[self.top : self.top + self.height, self.left : self.left + self.width]


def crop_box(height: int, width: int, out_height: int, out_width: int) -> Box:
    """Return the largest centred box of the output's aspect ratio.

    >>> crop_box(480, 640, 96, 96)
    Box(top=0, left=80, height=480, width=480)
    """
    if width * out_height >= height * out_width:  # wider than the output
        inner = _ratio(height * out_width, out_height)
        return Box(0, (width - inner) // 2, height, inner)
    inner = _ratio(width * out_height, out_width)
    return Box((height - inner) // 2, 0, inner, width)


def letterbox_box(height: int, width: int, out_height: int, out_width: int) -> Box:
    """Return where the whole frame lies in the output.

    >>> letterbox_box(480, 640, 96, 96)
    Box(top=12, left=0, height=72, width=96)
    """
    if width * out_height >= height * out_width:
        inner = _ratio(height * out_width, width)
        return Box((out_height - inner) // 2, 0, inner, out_width)
    inner = _ratio(width * out_height, height)
    return Box(0, (out_width - inner) // 2, out_height, inner)


def _ratio(numerator: int, denominator: int) -> int:
    return max(1, (2 * numerator + denominator) // (2 * denominator))


@dataclass(frozen=True, slots=True)
class _Plan:
    """What to do with frames of one size."""

    size: tuple[int, ...]
    source: Box
    target: Box
    scratch: Pixels
    """BGR, the size of ``target``."""

    bars: tuple[Box, ...]


class ImagePreprocessor:
    """Preprocesses the frames of one camera. Not for use by two threads at once.

    Raises:
        DeviceError: EXTRA_MISSING; OpenCV is not installed.
    """

    def __init__(self, spec: ImagePreprocess) -> None:
        self._cv2 = import_extra("cv2", "camera", "image preprocessing")
        self.spec = spec
        self.shape = (spec.height, spec.width, 3 if spec.color == "rgb" else 1)
        self._code = self._cv2.COLOR_BGR2RGB if spec.color == "rgb" else self._cv2.COLOR_BGR2GRAY
        self._plan: _Plan | None = None

    def __call__(self, pixels: Pixels) -> Pixels:
        """Return the preprocessed frame as a new array; otherwise as :meth:`into`."""
        out = np.empty(self.shape, dtype=np.uint8)
        self.into(pixels, out)
        return out

    def into(self, pixels: Pixels, out: Pixels) -> None:
        """Write the preprocessed frame to ``out``.

        Args:
            pixels: uint8, shape ``(height, width, 3)``, BGR, of any size.
            out: uint8, shape ``self.shape``, contiguous, such as the model's input tensor.

        Raises:
            InputError: SOURCE_MISMATCH; ``pixels`` is something else.
            ValueError: ``out`` is something else.
        """
        if out.shape != self.shape or out.dtype != np.uint8 or not out.flags.c_contiguous:
            raise ValueError(f"out is {out.dtype} {out.shape}, expected contiguous uint8 {self.shape}")
        plan = self._plan
        if plan is None or plan.size != pixels.shape or pixels.dtype != np.uint8:
            plan = self._plan = self._make_plan(pixels)
        for bar in plan.bars:
            bar.of(out)[...] = self.spec.pad_value
        small, target = plan.source.of(pixels), plan.target.of(out)
        if small.shape != plan.scratch.shape:
            size = (plan.target.width, plan.target.height)
            small = self._cv2.resize(
                small, size, dst=plan.scratch, interpolation=self._cv2.INTER_LINEAR_EXACT
            )
        # OpenCV writes to dst itself because its type and size fit; a gray target has no channel axis for it
        self._cv2.cvtColor(small, self._code, dst=target if self.shape[2] == 3 else target[:, :, 0])

    def _make_plan(self, pixels: Pixels) -> _Plan:
        check_pixels(pixels)
        height, width, _ = pixels.shape
        out_height, out_width, _ = self.shape
        source, target = Box(0, 0, height, width), Box(0, 0, out_height, out_width)
        if self.spec.resize == "crop":
            source = crop_box(height, width, out_height, out_width)
        elif self.spec.resize == "letterbox":
            target = letterbox_box(height, width, out_height, out_width)
        scratch = np.empty((target.height, target.width, 3), dtype=np.uint8)
        return _Plan(pixels.shape, source, target, scratch, _bars(target, out_height, out_width))


def _bars(inner: Box, height: int, width: int) -> tuple[Box, ...]:
    """Return what ``inner`` leaves free: above, below, left and right of it."""
    bottom, right = inner.top + inner.height, inner.left + inner.width
    bars = (
        Box(0, 0, inner.top, width),
        Box(bottom, 0, height - bottom, width),
        Box(inner.top, 0, inner.height, inner.left),
        Box(inner.top, right, inner.height, width - right),
    )
    return tuple(bar for bar in bars if bar.height and bar.width)


def use_one_thread() -> None:
    """Make OpenCV work in the calling thread, in this whole process.

    For the command that owns the process: frames are too small to share among threads, whose pool would only
    compete with the model. Does nothing where OpenCV is not installed.
    """
    try:
        import cv2
    except ModuleNotFoundError:
        return
    cv2.setNumThreads(1)
