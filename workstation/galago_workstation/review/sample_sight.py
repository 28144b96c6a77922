"""Samples as a person sees and hears them: pictures, sounds, and spectrograms of these."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from galago_edge.contract.errors import InputError, Reason, disk_error
from galago_edge.contract.manifest import AudioPreprocess
from galago_edge.contract.streams import Frame
from galago_edge.preprocess import LogMelFrontend
from galago_edge.preprocess.audio import log_mel
from galago_edge.recording.sample_media import bare_jpeg_bytes, wav_bytes
from galago_edge.sources.audio_file import read_audio
from galago_edge.sources.still_image import decode_image
from galago_workstation.data.clip_window import middle_window
from galago_workstation.evaluation.page.report_samples import spectrogram

MOST_SECONDS = 60
"""A longer sound is a recording, of which nobody can say one label."""
WIDEST = 1280
"""Pixels; a wider picture is shown smaller."""


class SampleSight:
    """Opens samples of one kind."""

    def __init__(self, sounds: bool, frontend: LogMelFrontend | None = None) -> None:
        """Open pictures, or sounds as ``frontend`` hears them; without one as the usual one does."""
        self._sounds = sounds
        self._frontend = frontend or (LogMelFrontend(AudioPreprocess()) if sounds else None)
        self._lock = threading.Lock()  # a frontend holds the frames of one sound

    def raw(self, path: Path) -> npt.NDArray[Any]:
        """Return pixels ``(height, width, 3)`` uint8 BGR, or samples ``(n,)`` int16 mono at the model's rate.

        Raises:
            InputError: IMAGE_UNREADABLE, IMAGE_TOO_BIG, AUDIO_UNREADABLE, AUDIO_TRUNCATED. DATA_BAD; the
                sound is too long.
            LinkError: It cannot be read.
        """
        if self._frontend is None:
            try:
                return decode_image(path.read_bytes(), str(path))
            except OSError as error:
                raise disk_error(error, f"read {path}") from error
        rate_hz = self._frontend.spec.sample_rate_hz
        clip = read_audio(path, rate_hz)
        if len(clip) > MOST_SECONDS * rate_hz:
            raise InputError(
                Reason.DATA_BAD,
                f"{path} has {len(clip) / rate_hz:.0f} s, expected a sample of at most {MOST_SECONDS} s",
                hint="label it as a recording with galago qa label; galago data cut cuts samples out of it",
            )
        return clip

    def picture(self, path: Path) -> bytes:
        """Return a JPEG: the picture, or the spectrogram of a sound, high bands at the top.

        Raises:
            InputError: As :meth:`raw`.
            LinkError: Likewise.
        """
        raw = self.raw(path)
        if self._frontend is None:
            return bare_jpeg_bytes(Frame(raw, 0, 0), WIDEST)
        least = self._frontend.spec.window_samples
        with self._lock:
            codes = log_mel(self._frontend, raw if len(raw) >= least else middle_window(raw, least))
        return bare_jpeg_bytes(Frame(spectrogram(codes), 0, 0))

    def sound(self, path: Path) -> bytes:
        """Return a sound as WAV, mono at the model's rate: what the model hears.

        Raises:
            InputError: As :meth:`raw`.
            LinkError: Likewise.
        """
        assert self._frontend is not None
        return wav_bytes(self.raw(path).astype(np.int16, copy=False), self._frontend.spec.sample_rate_hz)
