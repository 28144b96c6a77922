"""Samples of any format become int16 mono at the rate that a bundle needs: declared, exact, in any chunks.

Version ``pcm/2``:

1. Sample format. 8-bit unsigned: ``(x - 128) << 8``. Wider integers: to the nearest of 16 bits (half up,
   saturating). Floats: ``rint(x * 32768)``, saturating.
2. Channels. The mean over the channels, to the nearest integer (half up), or one of them: ``channel``.
3. Rate. The exact filter of :mod:`galago_edge.sources.polyphase_filter`. A ratio that is too odd for it
   (47,999 to 16,000) goes through soxr, quality HQ, in float64 (its own int16 output is dithered, so it
   depends on how the input is cut into chunks; in float64 it does not), then ``rint``, saturating.

What is int16 mono at the right rate already passes unchanged.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from galago_edge.contract.errors import InputError, Reason
from galago_edge.host.extras import import_extra
from galago_edge.sources.polyphase_filter import PolyphaseResampler, is_exact

VERSION = "pcm/2"
_QUALITY = "HQ"
_LOW, _HIGH = -32768, 32767

Raw = npt.NDArray[np.uint8] | npt.NDArray[np.int16] | npt.NDArray[np.int32] | npt.NDArray[np.float64]
"""Shape ``(n, channels)``; int32 is left-justified (full scale is 2^31), float64 has full scale 1.0."""


@dataclass(frozen=True, slots=True)
class PcmFormat:
    """What a microphone recording holds."""

    encoding: str
    """For people and records: ``u8``, ``s16``, ``s24``, ``s32``, ``float`` ..."""
    channels: int
    rate_hz: int


class Converter:
    """Turns consecutive chunks of one recording into int16 mono at ``rate_hz``."""

    def __init__(self, source: PcmFormat, rate_hz: int, channel: int | None = None) -> None:
        """Prepare for one recording; ``channel`` is the one to take, from 1, and the mean when not given.

        Raises:
            DeviceError: EXTRA_MISSING; an odd rate needs soxr, which is not installed.
            InputError: SOURCE_MISMATCH; there is no such channel.
        """
        check_channel(channel, source.channels)
        self._source = source
        self._rate_hz = rate_hz
        self._channel = channel
        self._resampler: PolyphaseResampler | _SoxrResampler | None = None
        if source.rate_hz != rate_hz:
            kind = PolyphaseResampler if is_exact(source.rate_hz, rate_hz) else _SoxrResampler
            self._resampler = kind(source.rate_hz, rate_hz)

    def declaration(self) -> dict[str, Any] | None:
        """Return what is done to the samples, for a state record; None when nothing is."""
        source = self._source
        if (source.encoding, source.channels, source.rate_hz) == ("s16", 1, self._rate_hz):
            return None
        declared: dict[str, Any] = {
            "version": VERSION,
            "from": {"encoding": source.encoding, "channels": source.channels, "rate_hz": source.rate_hz},
            "to": {"encoding": "s16", "channels": 1, "rate_hz": self._rate_hz},
        }
        if self._channel is not None:
            declared["channel"] = self._channel
        if self._resampler is not None:
            declared["resampler"] = self._resampler.name
        return declared

    def convert(self, raw: Raw, *, last: bool = False) -> npt.NDArray[np.int16]:
        """Return the samples that are ready; ``last`` gives the rest of them. Output shape ``(n,)``."""
        mono = to_mono(to_int16(raw), self._channel)
        return mono if self._resampler is None else self._resampler.convert(mono, last=last)

    def rest(self) -> npt.NDArray[np.int16]:
        """Return what is still being converted, when nothing follows."""
        return self.convert(np.empty((0, self._source.channels), np.int16), last=True)


class _SoxrResampler:
    """The rates that the exact filter does not know."""

    def __init__(self, source_hz: int, rate_hz: int) -> None:
        need = f"converting {source_hz} Hz to {rate_hz} Hz"
        soxr = import_extra("soxr", "recording", need)
        self._stream = soxr.ResampleStream(source_hz, rate_hz, 1, dtype="float64", quality=_QUALITY)
        self.name = f"soxr {soxr.__version__} ({soxr.__libsoxr_version__}) {_QUALITY}"

    def convert(self, samples: npt.NDArray[np.int16], *, last: bool = False) -> npt.NDArray[np.int16]:
        resampled: npt.NDArray[np.float64] = self._stream.resample_chunk(
            samples.astype(np.float64), last=last
        )
        return np.rint(resampled).clip(_LOW, _HIGH).astype(np.int16)


def check_channel(channel: int | None, channels: int, name: str = "the sound") -> None:
    """Refuse a channel that is not there; ``name`` is what has the ``channels``.

    Raises:
        InputError: SOURCE_MISMATCH.
    """
    if channel is not None and channel > channels:
        raise InputError(
            Reason.SOURCE_MISMATCH,
            f"channel {channel} is asked for, but {name} has {channels}",
            hint=f"channel=1 to channel={channels}, or none for the mean of all",
        )


def to_int16(raw: Raw) -> npt.NDArray[np.int16]:
    """Return the samples as int16, same shape.

    >>> to_int16(np.array([[0], [128], [255]], np.uint8))[:, 0].tolist()
    [-32768, 0, 32512]
    >>> to_int16(np.array([[32767], [32768], [2**31 - 1]], np.int32))[:, 0].tolist()
    [0, 1, 32767]
    """
    if raw.dtype == np.int16:
        return raw.astype(np.int16, copy=False)
    if raw.dtype == np.uint8:
        return ((raw.astype(np.int16) - 128) << 8).astype(np.int16)
    if raw.dtype == np.int32:
        return ((raw.astype(np.int64) + 0x8000) >> 16).clip(_LOW, _HIGH).astype(np.int16)
    return np.rint(np.nan_to_num(raw * 32768.0)).clip(_LOW, _HIGH).astype(np.int16)


def to_mono(samples: npt.NDArray[np.int16], channel: int | None = None) -> npt.NDArray[np.int16]:
    """Return the mean over channels, or one channel, from 1; shape ``(n,)``.

    >>> to_mono(np.array([[1, 2], [-1, -2], [32767, 32767]], np.int16)).tolist()
    [2, -1, 32767]
    >>> to_mono(np.array([[1, 20], [2, 30]], np.int16), channel=2).tolist()
    [20, 30]
    """
    channels = samples.shape[1]
    if channels == 1 or channel is not None:
        return samples[:, (channel or 1) - 1]
    total = samples.sum(axis=1, dtype=np.int64)
    mean: npt.NDArray[np.int64] = (2 * total + channels) // (2 * channels)
    return mean.astype(np.int16)
