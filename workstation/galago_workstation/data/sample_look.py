"""What one sample is like: read whole, as training would, and described in a few numbers and a thumbprint.

The thumbprint is what near copies are found by: a vector of unit length whose product with another's is their
correlation. Of a picture it is 16 x 16 grey means, of a sound the level in 8 bands at 16 times of it.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from galago_edge.contract.streams import AudioBlock
from galago_edge.sources.audio_file import AudioFile, open_sound
from galago_edge.sources.opencv import import_cv2
from galago_edge.sources.picture_header import picture_header
from galago_edge.sources.still_image import decode_image

Thumbprint = npt.NDArray[np.float32]
"""Shape ``(256,)`` of a picture, ``(128,)`` of a sound; all zeros where there is nothing to compare."""

PRINT_SIDE = 16
PRINT_TIMES, PRINT_BANDS = 16, 8
_RATE_HZ = 8_000
_FRAME = 256
"""Samples of 32 ms."""
_BAND_EDGES_HZ = (80, 160, 300, 500, 800, 1_300, 2_000, 2_800, 3_900)
_NO_LEVELS = np.empty((0, PRINT_BANDS), np.float32)
_FULL_SCALE = 32_767
_NOTHING = 1e-3
"""Length of what differs nowhere from its mean."""


@dataclass(frozen=True, slots=True)
class PictureLook:
    """One picture."""

    width: int
    height: int
    alpha: bool
    """Whether it may be transparent somewhere."""
    deep: bool
    """Whether its samples have more than 8 bits, or another maximum than 255."""
    low: int
    high: int
    """Darkest and brightest grey value."""
    deviation: float
    """Standard deviation of the grey values."""
    thumbprint: Thumbprint


@dataclass(frozen=True, slots=True)
class SoundLook:
    """One clip."""

    seconds: float
    rate_hz: int
    channels: int
    peak: int
    """Largest absolute value, of 32768."""
    clipped: float
    """Share of the samples that are at full scale."""
    thumbprint: Thumbprint


SampleLook = PictureLook | SoundLook


def look_at_picture(content: bytes, name: str) -> PictureLook:
    """Return what an encoded picture is like. ``name`` is for messages.

    Raises:
        InputError: IMAGE_UNREADABLE, IMAGE_TOO_BIG.
    """
    pixels = decode_image(content, name)
    header = picture_header(content)
    assert header is not None  # else it could not be decoded
    return look_at_pixels(pixels, alpha=header.alpha, deep=header.maximum != 255)


def look_at_pixels(pixels: npt.NDArray[np.uint8], *, alpha: bool = False, deep: bool = False) -> PictureLook:
    """Return what a picture ``(height, width, 3)`` is like."""
    cv2 = import_cv2("looking at pictures")
    grey = cv2.cvtColor(pixels, cv2.COLOR_BGR2GRAY)
    small = cv2.resize(grey, (PRINT_SIDE, PRINT_SIDE), interpolation=cv2.INTER_AREA)
    height, width = grey.shape
    return PictureLook(
        width=width,
        height=height,
        alpha=alpha,
        deep=deep,
        low=int(grey.min()),
        high=int(grey.max()),
        deviation=float(grey.std()),
        thumbprint=_unit(small.astype(np.float32).ravel()),
    )


def look_at_sound(path: Path) -> SoundLook:
    """Return what a clip is like; memory is bounded for a recording of any length.

    Raises:
        InputError: AUDIO_UNREADABLE, AUDIO_TRUNCATED.
        LinkError: SOURCE_MISSING, or the disk fails.
    """
    reader = open_sound(path)
    found = reader.format
    reader.close()
    levels: list[npt.NDArray[np.float32]] = []
    rest = np.empty(0, np.int16)
    count = peak = clipped = 0
    for item in AudioFile(path, _RATE_HZ):
        if not isinstance(item, AudioBlock):
            continue
        loud = np.abs(item.samples.astype(np.int32))
        count += len(loud)
        peak = max(peak, int(loud.max(initial=0)))
        clipped += int((loud >= _FULL_SCALE).sum())
        rest = np.concatenate([rest, item.samples])
        frames = len(rest) // _FRAME
        levels.append(_band_levels(rest[: frames * _FRAME].reshape(frames, _FRAME)))
        rest = rest[frames * _FRAME :]
    return SoundLook(
        seconds=count / _RATE_HZ,
        rate_hz=found.rate_hz,
        channels=found.channels,
        peak=peak,
        clipped=clipped / max(count, 1),
        thumbprint=_sound_thumbprint(
            np.concatenate(levels) if levels else np.empty((0, PRINT_BANDS), np.float32)
        ),
    )


def window_thumbprint(samples: npt.NDArray[np.int16], rate_hz: int) -> Thumbprint:
    """Return the thumbprint of a sound ``(n,)`` that is at hand, which need not be resampled for it.

    Frames last as long as those of :func:`look_at_sound`, so bands have the same bins; the thumbprints of the
    two are alike, not equal. Below 8000 Hz the bands that the sound cannot have are silent.
    """
    frame = round(rate_hz * _FRAME / _RATE_HZ)
    count = len(samples) // frame
    return _sound_thumbprint(_band_levels(samples[: count * frame].reshape(count, frame)))


def _band_levels(frames: npt.NDArray[np.int16]) -> npt.NDArray[np.float32]:
    """Return the power of each frame of 32 ms in each band, ``(n, 8)``."""
    window = np.hanning(frames.shape[1]).astype(np.float32)
    power = np.abs(np.fft.rfft(frames * window, axis=1)) ** 2
    edges = [round(edge * _FRAME / _RATE_HZ) for edge in _BAND_EDGES_HZ]
    silent = np.zeros(len(power))
    bands = [
        power[:, low:high].mean(axis=1) if low < power.shape[1] else silent
        for low, high in itertools.pairwise(edges)
    ]
    return np.stack(bands, axis=1).astype(np.float32)


def _sound_thumbprint(levels: npt.NDArray[np.float32]) -> Thumbprint:
    if len(levels) < PRINT_TIMES:  # shorter than half a second: each frame is a time or two
        levels = np.repeat(levels, -(-PRINT_TIMES // max(len(levels), 1)), axis=0)
    if not levels.size:
        return np.zeros(PRINT_TIMES * PRINT_BANDS, np.float32)
    bounds = np.linspace(0, len(levels), PRINT_TIMES + 1).astype(int)[:-1]
    pooled = np.add.reduceat(levels, bounds, axis=0)
    return _unit(np.log(pooled + 1.0).ravel())  # a power of 1 is far below one step of int16


def _unit(values: npt.NDArray[np.float32]) -> Thumbprint:
    centred = values - values.mean()
    length = float(np.linalg.norm(centred))
    unit: Thumbprint = np.zeros(len(centred), np.float32)
    if length > _NOTHING:
        unit[:] = centred / length
    return unit
