"""Sounds that are heard around and over others: recordings of noise, clips of background."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from galago_edge.contract.errors import InputError, Reason
from galago_edge.contract.streams import AudioBlock
from galago_edge.sources.audio_file import AudioFile
from galago_workstation.data.augmentation.own_material import OwnFile, OwnFolder
from galago_workstation.data.augmentation.scratch_file import ScratchFile
from galago_workstation.data.class_folders import file_sha256

Sound = npt.NDArray[np.float32]

_INT16_BYTES = 2


class NoiseRecordings:
    """Random pieces of recordings."""

    def __init__(self, folder: OwnFolder, rate_hz: int, scratch: Path | None = None) -> None:
        """Take pieces at ``rate_hz``; decoded sound lies on the disk of ``scratch``."""
        self._files = folder.files
        self._rate_hz = rate_hz
        self._scratch = ScratchFile(scratch)
        self._places: dict[int, tuple[int, int]] = {}  # where each begins, in bytes, and its samples
        self._lock = threading.Lock()

    def piece(self, rng: np.random.Generator, count: int) -> Sound:
        """Return ``(count,)`` in int16 steps, from anywhere in any of them; a short one is repeated.

        Raises:
            InputError: AUDIO_UNREADABLE, AUDIO_TRUNCATED; DATA_BAD when a file has changed.
            LinkError: The disk fails, or is full.
        """
        which, where = rng.random(2)
        number = int(which * len(self._files))
        start, length = self._place(number)
        taken = min(count, length)
        offset = int(where * (length - taken + 1))
        content = self._scratch.read(start + offset * _INT16_BYTES, taken * _INT16_BYTES)
        found = np.frombuffer(content, np.int16).astype(np.float32)
        return found if taken == count else repeated(found, count, where)

    def _place(self, number: int) -> tuple[int, int]:
        with self._lock:
            if number not in self._places:
                self._places[number] = self._decoded(self._files[number])
            return self._places[number]

    def _decoded(self, file: OwnFile) -> tuple[int, int]:
        file.check(file_sha256(file.path, pictures=False))
        start: int | None = None
        length = 0
        try:
            for item in AudioFile(file.path, self._rate_hz):
                if isinstance(item, AudioBlock):
                    place = self._scratch.append(item.samples.tobytes())
                    start = place if start is None else start
                    length += len(item.samples)
        except InputError as error:
            raise InputError(
                error.reason, f"[augment] noise_folder: {error}", hint="remove it from the folder"
            ) from error
        if start is None:
            raise InputError(
                Reason.AUDIO_UNREADABLE,
                f"[augment] noise_folder: {file.path} holds no sound",
                hint="remove it from the folder",
            )
        return start, length


def repeated(sound: Sound, count: int, where: float) -> Sound:
    """Return ``(count,)`` of a shorter sound again and again, beginning at the share ``where`` of it.

    >>> repeated(np.array([1.0, 2.0, 3.0], np.float32), 5, 0.4).tolist()
    [2.0, 3.0, 1.0, 2.0, 3.0]
    """
    return np.resize(np.roll(sound, -int(where * len(sound))), count)


class ManyClips(Protocol):
    """Clips by their position, none of them empty."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> npt.NDArray[np.int16]: ...


class SoundClips:
    """Random pieces of clips: training samples with a background label."""

    def __init__(self, clips: ManyClips) -> None:
        self._clips = clips

    def __bool__(self) -> bool:
        return len(self._clips) > 0

    def piece(self, rng: np.random.Generator, count: int) -> Sound:
        """Return ``(count,)`` in int16 steps, from anywhere in any of them; a short one is repeated."""
        which, where = rng.random(2)
        clip = self._clips[int(which * len(self._clips))]
        offset = int(where * (max(0, len(clip) - count) + 1))
        found = clip[offset : offset + count].astype(np.float32)
        return found if len(found) == count else repeated(found, count, where)
