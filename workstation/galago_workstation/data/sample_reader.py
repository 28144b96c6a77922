"""Samples as a device would capture them, and the model inputs that its own code makes of them."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from galago_edge.contract.errors import InputError, Reason, disk_error
from galago_edge.contract.manifest import AudioPreprocess, ImagePreprocess
from galago_edge.preprocess.audio import FEATURE_SCALE, LogMelFrontend, log_mel
from galago_edge.preprocess.image import ImagePreprocessor
from galago_edge.sources.audio_file import read_audio
from galago_edge.sources.still_image import decode_image
from galago_workstation.data.class_folders import list_folders
from galago_workstation.data.clip_window import middle_window
from galago_workstation.data.idx import IdxSet, pixels_sha256
from galago_workstation.data.listing import Listing, Met, refuse
from galago_workstation.data.sample import Sample
from galago_workstation.data.sample_manifest import list_manifest
from galago_workstation.training_config import AudioFolders, Config, IdxFiles, ImageConfig, ImageFolders

Inputs = npt.NDArray[np.uint8] | npt.NDArray[np.int8]
Raw = npt.NDArray[np.uint8] | npt.NDArray[np.int16]

IN_MEMORY_BYTES = 1 << 30
"""Inputs above this size live in a file that is mapped into memory."""


class Reader(Protocol):
    """Reads the samples of one configuration."""

    input_shape: tuple[int, ...]
    """Of one model input, without batch."""

    def listing(self, met: Met = refuse) -> Listing:
        """List and check everything that ``[data]`` names; ``met`` is told what is wrong, each time."""
        ...

    def raw(self, sample: Sample) -> Raw:
        """Return what a device would capture; see ``Run.raw``."""
        ...

    def inputs(self, samples: Sequence[Sample], folder: Path | None = None) -> Inputs:
        """Return model inputs without augmentation; see ``Run.inputs``.

        ``folder`` takes the file behind the array when that is too large for memory.
        """
        ...


def open_reader(config: Config, root: Path) -> ImageReader | AudioReader:
    """Return the reader for a configuration whose paths are relative to ``root``."""
    if isinstance(config, ImageConfig):
        return ImageReader(config.data, config.preprocess, root)
    return AudioReader(config.data, config.preprocess, root)


def real_inputs(inputs: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    """Return what the Keras model takes: pixels as they are, feature codes times ``FEATURE_SCALE``.

    >>> real_inputs(np.array([-128, 64], np.int8))
    array([-2.,  1.], dtype=float32)
    """
    scale = FEATURE_SCALE if inputs.dtype == np.int8 else 1.0
    return inputs.astype(np.float32) * np.float32(scale)


class ImageReader:
    """Pictures from class folders or idx files."""

    def __init__(self, data: ImageFolders | IdxFiles, spec: ImagePreprocess, root: Path) -> None:
        self._data = data
        self._root = root
        self._idx = IdxSet(data, root) if isinstance(data, IdxFiles) else None
        self._preprocess = ImagePreprocessor(spec)
        self.input_shape: tuple[int, ...] = self._preprocess.shape

    def listing(self, met: Met = refuse) -> Listing:
        """List and check all pictures.

        Raises:
            InputError: DATA_BAD, CLASS_EMPTY, CLASS_SINGLE, LABELS_REPEAT.
        """
        if self._idx is not None:
            return self._idx.listing(met)
        assert isinstance(self._data, ImageFolders)
        return files_listing(self._data, self._root, met)

    def raw(self, sample: Sample) -> npt.NDArray[np.uint8]:
        """Return the picture as BGR, ``(height, width, 3)``.

        Raises:
            InputError: IMAGE_UNREADABLE, or DATA_BAD when the content has changed.
        """
        if self._idx is not None:
            gray = self._idx.picture(sample.id)
            _check_content(sample, pixels_sha256(gray))
            return np.repeat(gray[:, :, None], 3, axis=2)
        path, content = _content(sample)
        _check_content(sample, hashlib.sha256(content).hexdigest())
        return decode_image(content, str(path))

    def input(self, sample: Sample) -> npt.NDArray[np.uint8]:
        """Return ``(height, width, channels)`` uint8.

        Raises:
            InputError: As :meth:`raw`.
        """
        return self._preprocess(self.raw(sample))

    def inputs(self, samples: Sequence[Sample], folder: Path | None = None) -> npt.NDArray[np.uint8]:
        """Return ``(n, height, width, channels)`` uint8.

        Raises:
            InputError: As :meth:`raw`.
        """
        inputs = allocate((len(samples), *self.input_shape), np.uint8, folder)
        for index, sample in enumerate(samples):
            self._preprocess.into(self.raw(sample), inputs[index])
        return inputs


class AudioReader:
    """Clips from class folders."""

    def __init__(self, data: AudioFolders, spec: AudioPreprocess, root: Path) -> None:
        self._data = data
        self._root = root
        self._frontend = LogMelFrontend(spec)
        self.spec = spec
        self.input_shape: tuple[int, ...] = (spec.window_frames, spec.mel_bands)

    def listing(self, met: Met = refuse) -> Listing:
        """List and check all clips.

        Raises:
            InputError: DATA_BAD, CLASS_EMPTY, CLASS_SINGLE, LABELS_REPEAT.
        """
        return files_listing(self._data, self._root, met)

    def clip(self, sample: Sample) -> npt.NDArray[np.int16]:
        """Return the whole clip ``(n,)``, mono, at the model's rate.

        Raises:
            InputError: AUDIO_UNREADABLE, AUDIO_TRUNCATED, or DATA_BAD when the content has changed.
        """
        path, content = _content(sample)
        _check_content(sample, hashlib.sha256(content).hexdigest())
        return read_audio(path, self.spec.sample_rate_hz)

    def raw(self, sample: Sample) -> npt.NDArray[np.int16]:
        """Return the one window ``(window_samples,)`` that stands for the clip in calibration and tests.

        Raises:
            InputError: As :meth:`clip`.
        """
        return middle_window(self.clip(sample), self.spec.window_samples)

    def features(self, window: npt.NDArray[np.int16]) -> npt.NDArray[np.int8]:
        """Return the codes ``(window_frames, mel_bands)`` of one window."""
        return log_mel(self._frontend, window)

    def inputs(self, samples: Sequence[Sample], folder: Path | None = None) -> npt.NDArray[np.int8]:
        """Return ``(n, window_frames, mel_bands)`` int8.

        Raises:
            InputError: As :meth:`clip`.
        """
        inputs = allocate((len(samples), *self.input_shape), np.int8, folder)
        for index, sample in enumerate(samples):
            inputs[index] = self.features(self.raw(sample))
        return inputs


def allocate(shape: tuple[int, ...], dtype: type[Any], folder: Path | None) -> npt.NDArray[Any]:
    """Return an array of undefined content, in memory or, when large, in a nameless file below ``folder``.

    Raises:
        LinkError: NO_SPACE; the disk cannot hold it.
    """
    size = int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize
    if folder is None or size <= IN_MEMORY_BYTES:
        return np.empty(shape, dtype)
    path = folder / f"inputs-{os.urandom(4).hex()}.bin"
    try:
        with path.open("x+b") as file:
            # a mapped file that runs out of disk kills the process: take the space first
            os.posix_fallocate(file.fileno(), 0, size)
            array = np.memmap(file, dtype, "r+", shape=shape)
        path.unlink()  # the mapping keeps the content; nothing is left when the process ends
    except OSError as error:
        path.unlink(missing_ok=True)
        raise disk_error(error, f"keep {size >> 20} MiB of inputs in {folder}") from error
    return array


def files_listing(data: ImageFolders | AudioFolders, root: Path, met: Met = refuse) -> Listing:
    """List and check the files that ``[data]`` names by a folder or a manifest.

    Raises:
        InputError: As :func:`list_folders` and :func:`list_manifest`.
    """
    listed = list_folders if data.manifest is None else list_manifest
    return listed(data, root, met)


def _content(sample: Sample) -> tuple[Path, bytes]:
    if sample.path is None:
        raise InputError(Reason.DATA_BAD, f"{sample.id} is not a file of this data set", hint="check [data]")
    try:
        return sample.path, sample.path.read_bytes()
    except FileNotFoundError:
        raise InputError(
            Reason.DATA_BAD, f"{sample.path} is gone since the data was listed", hint="train again"
        ) from None
    except OSError as error:
        raise disk_error(error, f"read {sample.path}") from error


def _check_content(sample: Sample, sha256: str) -> None:
    if sha256 != sample.sha256:
        raise InputError(
            Reason.DATA_BAD,
            f"{sample.id} has changed: its hash was {sample.sha256[:12]}, now it is {sha256[:12]}",
            hint="bring the old content back, or train again",
        )
