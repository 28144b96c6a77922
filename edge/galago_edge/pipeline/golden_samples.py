"""The samples that travel in a bundle, prepared as the model gets them."""

from __future__ import annotations

import io
import wave
from typing import Any

import numpy as np
import numpy.typing as npt

from galago_edge.contract.errors import BundleError, InputError, Reason
from galago_edge.contract.manifest import AudioPreprocess
from galago_edge.preprocess import ImagePreprocessor, LogMelFrontend
from galago_edge.sources.still_image import decode_image


def prepare_sample(
    sample: bytes, preprocessor: ImagePreprocessor | LogMelFrontend, into: npt.NDArray[Any]
) -> None:
    """Write what the model gets for a PNG, or a 16-bit mono WAV at the model's rate, to ``into``.

    ``into``: shape and dtype of the model's input without the batch axis.

    Raises:
        BundleError: GOLDEN_FAIL; the sample cannot be decoded or does not fill one window.
    """
    if isinstance(preprocessor, ImagePreprocessor):
        preprocessor.into(_decode_image(sample), into)
    else:
        into[...] = _first_window(sample, preprocessor)


def golden_failure(text: str) -> BundleError:
    """Return the error of a golden run that does not give what it must."""
    return BundleError(
        Reason.GOLDEN_FAIL, text, hint="do not use this bundle here; tell who built it which device this is"
    )


def _decode_image(sample: bytes) -> npt.NDArray[np.uint8]:
    try:
        return decode_image(sample, "a golden sample")
    except InputError as error:  # not the caller's input: the bundle's own
        raise golden_failure(str(error)) from None


def _first_window(sample: bytes, frontend: LogMelFrontend) -> npt.NDArray[np.int8]:
    frontend.reset()
    samples = decode_wav(sample, frontend.spec)
    frames = frontend.push(samples)
    wanted = frontend.spec.window_frames
    if len(frames) < wanted:
        raise golden_failure(
            f"a sample has {len(samples)} samples, {frontend.spec.window_samples} are needed"
        )
    return frames[:wanted]


def decode_wav(sample: bytes, spec: AudioPreprocess) -> npt.NDArray[np.int16]:
    """Return the samples ``(n,)`` int16 of a 16-bit mono WAV at the model's rate.

    Raises:
        BundleError: GOLDEN_FAIL; it is something else.
    """
    try:
        with wave.open(io.BytesIO(sample)) as file:
            met = (file.getnchannels(), file.getsampwidth(), file.getframerate())
            data = file.readframes(file.getnframes())
    except (wave.Error, EOFError) as error:
        raise golden_failure(f"a golden sample is no WAV file ({error})") from None
    if met != (1, 2, spec.sample_rate_hz):
        raise golden_failure(
            f"a golden sample has {met[0]} channels of {8 * met[1]} bits at {met[2]} Hz, "
            f"one of 16 bits at {spec.sample_rate_hz} Hz is needed"
        )
    return np.frombuffer(data, "<i2").astype(np.int16)
