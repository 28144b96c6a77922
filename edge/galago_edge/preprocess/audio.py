"""The audio frontend: int16 samples become int8 log-mel codes, exactly the same ones everywhere.

A frame of ``frame_samples`` starts at every multiple of ``frame_hop_samples``, from the first sample
on, without padding or centring. Its magnitude spectrum (Hann window), or in ``logmel/2`` its power, goes
through a triangular mel filterbank, and every band's sum becomes ``code = round(2 * level) + 108``, clipped
to int8 and to the specification's floor, where level is the sum in dB relative to a full-scale sine at a
bin's centre (and at the peak of the narrowest band, where bands are of equal area). How that is computed
without any rounding that could differ between computers: :mod:`galago_edge.preprocess.matrices`; which
numbers it starts from: :mod:`galago_edge.preprocess.tables`.

Only sums of integers are left to BLAS. The other steps (multiply, square, square root, round) are
single elementwise IEEE 754 operations, which are correctly rounded on every processor. No logarithm is
computed: the code is the number of table levels that the sum reaches.

Against the same definition in double precision, the level (code - 108) / 2 is off by at most 0.28 dB, and in
99.9 % of bands by at most 0.265 dB, where bands lie above -85 dB and less than 60 dB below the frame's
loudest one; 0.25 dB of that is the rounding to half decibels, 0.017 dB the rounding of the levels to nine
bits. In all bands above -100 dB it is off by at most 0.45 dB. ``tests/parity/test_preprocess_float.py``
compares with librosa and numpy, and asserts these figures. So of magnitudes; of powers up to 3800 Hz all
bands above -92 dB are off by at most 0.35 dB, because low bits are dropped from squares.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import as_strided

from galago_edge.contract.errors import InputError, Reason
from galago_edge.contract.manifest import AudioPreprocess
from galago_edge.preprocess.matrices import LEADING_SHIFT, Floats, build_matrices, built_matrices, split
from galago_edge.preprocess.tables import FrontendTables, fft_length

FEATURE_SCALE = 1 / 64
"""Every audio model's input: ``real = FEATURE_SCALE * (code - FEATURE_ZERO_POINT)``, from -2 to 127/64."""

FEATURE_ZERO_POINT = 0

_BLOCK_VALUES = 16_384  # spectrum values computed at once: three such arrays stay in a small board's L2 cache

Samples = npt.NDArray[np.int16]
Codes = npt.NDArray[np.int8]


class LogMelFrontend:
    """Turns one microphone's samples into log-mel frames as they come.

    The frames do not depend on how the samples are cut into pushes. Not for use by two threads at once.
    """

    def __init__(self, spec: AudioPreprocess, tables: FrontendTables | None = None) -> None:
        self.spec = spec
        self._matrices = built_matrices(spec) if tables is None else build_matrices(spec, tables)
        n = fft_length(spec.frame_samples)
        self._block = min(256, max(8, _BLOCK_VALUES // n))  # frames
        self._capacity = (self._block - 1) * spec.frame_hop_samples + spec.frame_samples
        # a frame is read in whole rows, so up to a row more than its samples: those are multiplied with zero
        self._buffer = np.zeros(self._capacity + n)
        # once for each frame of a block: numpy multiplies equal layouts fastest
        self._window = np.repeat(self._matrices.window[:, :, None], self._block, axis=2)
        self._scratch = [np.empty(n * self._block) for _ in range(2)]
        self._work: dict[int, _Work] = {}
        self._held = 0
        self._skip = 0

    def reset(self) -> None:
        """Forget the samples of unfinished frames: the next sample starts a frame."""
        self._held = 0
        self._skip = 0

    def push(self, samples: Samples) -> Codes:
        """Take the next samples; return the frames that they complete.

        Args:
            samples: int16, shape ``(n,)``, mono at ``spec.sample_rate_hz``; n may be 0.

        Returns:
            int8 codes, shape ``(frames, spec.mel_bands)``, a new array.

        Raises:
            InputError: SOURCE_MISMATCH; not one-dimensional int16.
        """
        if samples.dtype != np.int16 or samples.ndim != 1:
            raise InputError(
                Reason.SOURCE_MISMATCH,
                f"samples are {samples.dtype} of shape {samples.shape}, expected int16 of shape (n,)",
                hint="convert to 16-bit mono first",
            )
        hop, frame = self.spec.frame_hop_samples, self.spec.frame_samples
        codes = np.empty((self._frames_after(len(samples)), self.spec.mel_bands), dtype=np.int8)
        done = start = 0
        while start < len(samples):
            start, skipped = min(start + self._skip, len(samples)), start
            self._skip -= start - skipped
            stop = min(len(samples), start + self._capacity - self._held)
            held = self._held + stop - start
            self._buffer[self._held : held] = samples[start:stop]
            start = stop
            if held >= frame:
                ready = (held - frame) // hop + 1
                self._compute(codes[done : done + ready])
                done += ready
                left = max(0, held - ready * hop)
                self._skip = left + ready * hop - held  # frames may lie apart
                self._buffer[:left] = self._buffer[held - left : held]
                held = left
            self._held = held
        return codes

    def _frames_after(self, samples: int) -> int:
        """Return how many frames so many more samples complete."""
        held = self._held - self._skip + samples
        return max(0, (held - self.spec.frame_samples) // self.spec.frame_hop_samples + 1)

    def _compute(self, codes: Codes) -> None:
        """Compute the frames that start at the buffer's first samples; one for each row of ``codes``."""
        work = self._work.get(len(codes))
        if work is None:
            work = self._work[len(codes)] = self._views(len(codes))
        matrices = self._matrices
        windowed = np.multiply(work.framed, work.window, out=work.windowed)
        np.rint(windowed, out=windowed)
        halfway = np.matmul(matrices.first, work.first_in, out=work.first_out)
        np.rint(halfway, out=halfway)
        np.matmul(matrices.second, work.second_in, out=work.second_out)
        np.multiply(work.parts, work.parts, out=work.parts)
        spectrum = np.add(work.parts[0], work.parts[1], out=work.parts[0])
        if not matrices.power:
            np.sqrt(spectrum, out=spectrum)
        np.rint(spectrum, out=spectrum)
        for group in matrices.groups:
            np.matmul(spectrum[group.bins].T, group.weights, out=work.sums[:, group.bands])
        leading = np.right_shift(work.sum_bits, LEADING_SHIFT, out=work.sum_bits)
        np.subtract(leading, matrices.first_code, out=leading)
        np.take(matrices.codes, leading, mode="clip", out=codes)

    def _views(self, frames: int) -> _Work:
        """Lay the arrays of ``frames`` frames over the scratch memory. Frames are always the last axis."""
        n = fft_length(self.spec.frame_samples)
        n1, n2 = split(n)
        rows = len(self._matrices.window)
        item = self._buffer.itemsize
        strides = (item * n2, item, item * self.spec.frame_hop_samples)
        a, b = (scratch[: n * frames] for scratch in self._scratch)
        sums = np.empty((frames, self.spec.mel_bands))
        return _Work(
            framed=as_strided(self._buffer, (rows, n2, frames), strides, writeable=False),
            window=self._window[:, :, :frames],
            windowed=a[: rows * n2 * frames].reshape(rows, n2, frames),
            first_in=a[: rows * n2 * frames].reshape(rows, n2 * frames),
            first_out=b.reshape(n1, n2 * frames),
            second_in=b.reshape(n1 // 2, 2 * n2, frames),
            second_out=a.reshape(2 * n2, n1 // 2, frames).transpose(1, 0, 2),
            parts=a.reshape(2, n // 2, frames),
            sums=sums,
            sum_bits=sums.view(np.int64),
        )


@dataclass(frozen=True, slots=True)
class _Work:
    """Views for one number of frames; the steps read and write them in this order."""

    framed: Floats
    window: Floats
    windowed: Floats
    first_in: Floats
    first_out: Floats
    second_in: Floats
    second_out: Floats
    parts: Floats
    sums: Floats
    sum_bits: npt.NDArray[np.int64]


def log_mel(frontend: AudioPreprocess | LogMelFrontend, samples: Samples) -> Codes:
    """Return the codes of a whole recording: int8, shape ``(frames, mel_bands)``.

    Args:
        frontend: A specification, or a frontend to use (its unfinished frames are lost).
        samples: int16, shape ``(n,)``, mono at the specification's sample rate.

    Raises:
        CallerError: CONFIG_BAD; see :meth:`FrontendTables.build`.
        InputError: SOURCE_MISMATCH; not one-dimensional int16.
    """
    if isinstance(frontend, AudioPreprocess):
        frontend = LogMelFrontend(frontend)
    frontend.reset()
    codes = frontend.push(samples)
    frontend.reset()
    return codes
