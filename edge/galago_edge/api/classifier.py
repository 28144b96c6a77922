"""Single images and clips: what ``galago classify`` says, for programs."""

from __future__ import annotations

from pathlib import Path
from typing import Self

import numpy as np
import numpy.typing as npt

from galago_edge.api.arguments import checked_bundle
from galago_edge.api.arrays import ColorOrder, checked_pixels, checked_rate, checked_samples
from galago_edge.api.sole_user import SoleUser
from galago_edge.api.trusted_bundle import FilePath
from galago_edge.bundle import Bundle
from galago_edge.pipeline import Classification, classify, classify_clip, classify_image, load

MOST_THREADS = 256
"""Far beyond any board; the interpreter ends the process when it cannot start so many."""


class Classifier:
    """Says what single images or clips are, with one bundle, on the CPU. To be closed, best by ``with``.

    Answers do not depend on what was classified before. Thresholds and smoothing play no part: they are for
    streams. One thread at a time may use it; threads that want to work side by side take one each.
    """

    def __init__(self, bundle: Bundle, *, threads: int = 1) -> None:
        """Load the model of ``bundle``, which may be closed afterwards; ``threads`` are the model's.

        Raises:
            BundleError: PREPROCESS_MISMATCH, TENSOR_MISMATCH or MODEL_BAD; it cannot be run here.
            DeviceError: EXTRA_MISSING, a camera's bundle without OpenCV; RUNTIME_MISSING, OP_UNSUPPORTED.
            TypeError: ``bundle`` is none.
            ValueError: ``threads`` is not from 1 to 256, or the bundle is closed.
        """
        checked_bundle(bundle)
        if isinstance(threads, bool) or not isinstance(threads, int):
            raise TypeError(f"threads is a {type(threads).__name__}, expected an int")
        if not 1 <= threads <= MOST_THREADS:
            raise ValueError(f"threads is {threads}, expected 1 to {MOST_THREADS}")
        self._loaded = load(bundle, threads=threads)
        self._use = SoleUser(f"the classifier of {bundle}")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def classify_file(self, path: FilePath) -> Classification:
        """Classify one image file or one sound file, as the bundle is for a camera or a microphone.

        WAV and images need nothing more than the bundle itself needs; other sound files, and sound at
        another rate than the bundle's, need ``galago-edge[recording]``.

        Raises:
            InputError: SOURCE_MISMATCH; or the file cannot be read as what it should be, or is cut off.
            LinkError: SOURCE_MISSING, or the disk fails.
            DeviceError: EXTRA_MISSING.
            BundleError: MODEL_BAD; the model failed.
            ValueError: The classifier is closed.
        """
        with self._use():
            return classify(Path(path), self._loaded)

    def classify_image(self, pixels: npt.NDArray[np.uint8], *, color: ColorOrder = "bgr") -> Classification:
        """Classify one image of any size.

        Args:
            pixels: numpy array of uint8, shape ``(height, width, 3)``.
            color: Order of the last axis: ``bgr`` as OpenCV gives it, or ``rgb``.

        Raises:
            TypeError: ``pixels`` is no array of uint8.
            ValueError: Another shape or order, or the classifier is closed.
            InputError: SOURCE_MISMATCH; the bundle is for a microphone.
            BundleError: MODEL_BAD; the model failed.
        """
        checked = checked_pixels(pixels, color)
        with self._use():
            return classify_image(checked, self._loaded)

    def classify_clip(self, samples: npt.NDArray[np.int16], rate_hz: int) -> Classification:
        """Classify one clip of any length, window by window.

        Args:
            samples: numpy array of int16, shape ``(n,)``: one channel, at least one sample.
            rate_hz: Samples per second. Another rate than the bundle's is converted as in a file, which
                needs ``galago-edge[recording]``.

        Raises:
            TypeError: ``samples`` is no array of int16, or ``rate_hz`` no integer.
            ValueError: Another shape, no sample, no rate of sound, or the classifier is closed.
            InputError: SOURCE_MISMATCH; the bundle is for a camera.
            DeviceError: EXTRA_MISSING.
            BundleError: MODEL_BAD; the model failed.
        """
        checked, rate = checked_samples(samples), checked_rate(rate_hz)
        if not len(checked):
            raise ValueError("samples hold nothing, expected at least one sample")
        with self._use():
            return classify_clip(checked, rate, self._loaded)

    def close(self) -> None:
        """Let go of the model; a second time is fine."""
        if self._use.closed:
            return
        with self._use():
            self._use.closed = True
            self._loaded.close()
