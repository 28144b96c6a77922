"""Pictures of backgrounds that somebody brings."""

from __future__ import annotations

import hashlib
import threading
from pathlib import Path

import numpy as np
import numpy.typing as npt

from galago_edge.contract.errors import disk_error
from galago_edge.contract.manifest import ImagePreprocess
from galago_edge.preprocess.image import ImagePreprocessor, crop_box
from galago_edge.sources.still_image import decode_image
from galago_workstation.data.augmentation.own_material import OwnFile, OwnFolder
from galago_workstation.data.augmentation.random_draws import between
from galago_workstation.data.augmentation.scratch_file import ScratchFile

Pixels = npt.NDArray[np.uint8]

_KEPT_SIDES = 2
"""A background is kept at so many times the size of the model's input; larger parts are shrunk anyway."""
_SMALLEST_PART = 0.3


class BackgroundPictures:
    """Random parts of pictures, of the size and colours of the model's input."""

    def __init__(self, folder: OwnFolder, spec: ImagePreprocess, scratch: Path | None = None) -> None:
        """Shape parts as ``spec`` has it; shrunken pictures lie on the disk of ``scratch``."""
        self._files = folder.files
        self._preprocess = ImagePreprocessor(spec)
        self._scratch = ScratchFile(scratch)
        self._places: dict[int, tuple[int, int, int]] = {}  # where each begins, its height and width
        self._lock = threading.Lock()

    def part(self, rng: np.random.Generator) -> Pixels:
        """Return ``(height, width, channels)`` of any of them, from 30 % of its size to all of it.

        Raises:
            InputError: IMAGE_UNREADABLE; DATA_BAD when a file has changed.
            LinkError: The disk fails, or is full.
        """
        import cv2

        which, size, down, right = rng.random(4)
        out_height, out_width, _ = self._preprocess.shape
        with self._lock:  # the preprocessor is not for two threads at once
            start, height, width = self._place(int(which * len(self._files)))
            whole = np.frombuffer(self._scratch.read(start, height * width * 3), np.uint8)
            largest = crop_box(height, width, out_height, out_width)
            share = between(size, (_SMALLEST_PART, 1.0))
            rows, columns = max(1, round(largest.height * share)), max(1, round(largest.width * share))
            top, left = int(down * (height - rows + 1)), int(right * (width - columns + 1))
            part = whole.reshape(height, width, 3)[top : top + rows, left : left + columns]
            sized = cv2.resize(part, (out_width, out_height), interpolation=cv2.INTER_AREA)
            return self._preprocess(np.asarray(sized, np.uint8))

    def _place(self, number: int) -> tuple[int, int, int]:
        if number not in self._places:
            picture = self._shrunken(self._files[number])
            start = self._scratch.append(picture.tobytes())
            self._places[number] = (start, *picture.shape[:2])
        return self._places[number]

    def _shrunken(self, file: OwnFile) -> Pixels:
        import cv2

        try:
            content = file.path.read_bytes()
        except OSError as error:
            raise disk_error(error, f"read {file.path}") from error
        file.check(hashlib.sha256(content).hexdigest())
        picture = decode_image(content, str(file.path))
        out_height, out_width, _ = self._preprocess.shape
        factor = _KEPT_SIDES * max(out_height / picture.shape[0], out_width / picture.shape[1])
        if factor >= 1.0:
            return picture
        sides = (max(1, round(picture.shape[1] * factor)), max(1, round(picture.shape[0] * factor)))
        return np.asarray(cv2.resize(picture, sides, interpolation=cv2.INTER_AREA), np.uint8)
