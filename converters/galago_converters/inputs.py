"""What a Galago model is fed: one tensor per modality whose quantization never changes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from galago_edge.contract.manifest import ImagePreprocess, Preprocess
from galago_edge.preprocess.audio import FEATURE_SCALE, FEATURE_ZERO_POINT

Codes = npt.NDArray[np.uint8] | npt.NDArray[np.int8]


@dataclass(frozen=True, slots=True)
class InputSpec:
    """The input tensor of a model: ``real = scale * (code - zero_point)``."""

    shape: tuple[int, ...]
    """Without the batch axis: ``(height, width, channels)`` or ``(window_frames, mel_bands)``."""

    dtype: Literal["uint8", "int8"]
    scale: float
    layout: Literal["NHWC", "NTF"]
    zero_point: int = 0

    @property
    def numpy_dtype(self) -> np.dtype[Any]:
        """The dtype as numpy names it."""
        return np.dtype(self.dtype)

    @property
    def code_range(self) -> tuple[int, int]:
        """Smallest and largest code."""
        info = np.iinfo(self.numpy_dtype)
        return int(info.min), int(info.max)

    def real(self, codes: Codes) -> npt.NDArray[np.float32]:
        """Return what the codes stand for: exact in float32, because the scale is a power of two."""
        return (codes.astype(np.float32) - np.float32(self.zero_point)) * np.float32(self.scale)


def input_spec(preprocess: Preprocess) -> InputSpec:
    """Return the input tensor that ``preprocess`` fills.

    Pictures are uint8 with scale 1 (the network rescales them itself); log-mel windows are int8 with scale
    1/64.
    """
    if isinstance(preprocess, ImagePreprocess):
        channels = 1 if preprocess.color == "gray" else 3
        return InputSpec((preprocess.height, preprocess.width, channels), "uint8", 1.0, "NHWC")
    shape = (preprocess.window_frames, preprocess.mel_bands)
    return InputSpec(shape, "int8", FEATURE_SCALE, "NTF", FEATURE_ZERO_POINT)
