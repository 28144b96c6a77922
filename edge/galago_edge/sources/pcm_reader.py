"""Reads samples that are not compressed, from a file whose layout is known."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from galago_edge.contract.errors import disk_error
from galago_edge.sources.pcm_header import PcmLayout
from galago_edge.sources.sample_conversion import PcmFormat, Raw
from galago_edge.sources.sound_reader import Hole, Remark, SoundPiece, unclaimed

_READ_FRAMES = 65_536


class PcmReader:
    """Samples as they lie in the file."""

    def __init__(self, path: Path, layout: PcmLayout, *, raw: bool = False) -> None:
        """Prepare to read ``path``; ``raw`` says that it has no header, so nothing else notices an odd byte.

        Raises:
            OSError: The file is not there, or may not be read.
        """
        self._path, self._layout, self._raw = path, layout, raw
        self.format: PcmFormat = layout.format
        self.promised: int | None = layout.promised
        path.open("rb").close()
        self._file: BinaryIO | None = None  # opened when it is read: not everybody reads what was opened

    def description(self) -> dict[str, Any]:
        """Return nothing: the format is all there is."""
        return {}

    def pieces(self) -> Iterator[SoundPiece]:
        """Yield the samples, and at the end how many are missing.

        Raises:
            LinkError: The disk fails.
        """
        layout = self._layout
        try:
            file = self._file = self._path.open("rb")
            file.seek(layout.first_byte)
            behind = os.fstat(file.fileno()).st_size - layout.first_byte
        except OSError as error:
            raise disk_error(error, f"read {self._path}") from error
        if layout.stated is not None:
            frames = behind // layout.frame_bytes if layout.promised is None else layout.promised
            yield Remark("unfinished", {"frames": frames, "promised_frames": layout.stated})
        found, left = 0, layout.promised
        data = b""
        while left is None or left > 0:
            wanted = _READ_FRAMES if left is None else min(_READ_FRAMES, left)
            data = self._read(file, wanted * layout.frame_bytes)
            frames = len(data) // layout.frame_bytes
            if frames:
                yield decode(data[: frames * layout.frame_bytes], layout)
            found += frames
            left = None if left is None else left - frames
            if frames < wanted:
                break
        if self._raw and (odd := len(data) % layout.frame_bytes):
            yield Remark("odd_byte", {"ignored_bytes": odd})
        if left:
            yield Hole(left, "truncated")
        if layout.unclaimed:
            yield unclaimed(layout.unclaimed, recording=layout.recording)

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()

    def _read(self, file: BinaryIO, count: int) -> bytes:
        try:
            return file.read(count)
        except OSError as error:
            raise disk_error(error, f"read {self._path}") from error


def decode(data: bytes, layout: PcmLayout) -> Raw:
    """Return whole frames as they are, shape ``(n, channels)``."""
    encoding, mark = layout.format.encoding, "<" if layout.little else ">"
    flat: npt.NDArray[Any]
    if encoding == "u8":
        flat = np.frombuffer(data, np.uint8)
    elif encoding == "s8":
        flat = np.frombuffer(data, np.int8).astype(np.int16) << 8
    elif encoding == "s16":
        flat = np.frombuffer(data, f"{mark}i2").astype(np.int16, copy=False)
    elif encoding == "s24":
        wide = np.zeros((len(data) // 3, 4), np.uint8)  # left-justified in 32 bits
        wide[:, slice(1, 4) if layout.little else slice(0, 3)] = np.frombuffer(data, np.uint8).reshape(-1, 3)
        flat = wide.view(f"{mark}i4")[:, 0].astype(np.int32, copy=False)
    elif encoding == "s32":
        flat = np.frombuffer(data, f"{mark}i4").astype(np.int32, copy=False)
    elif encoding in ("float", "double"):
        flat = np.frombuffer(data, f"{mark}{'f4' if encoding == 'float' else 'f8'}").astype(np.float64)
    else:
        flat = _law(encoding)[np.frombuffer(data, np.uint8)]
    shaped: Raw = flat.reshape(-1, layout.format.channels)
    return shaped


@lru_cache(maxsize=2)
def _law(encoding: str) -> npt.NDArray[np.int16]:
    """Return what each byte stands for in 16 bits, by ITU-T G.711."""
    values = []
    for byte in range(256):
        code = byte ^ 0x55 if encoding == "alaw" else byte ^ 0xFF
        segment, step = code >> 4 & 7, code & 15
        if encoding == "alaw":
            value = (step << 4) + 8 if segment == 0 else ((step << 4) + 0x108) << (segment - 1)
            values.append(value if code & 0x80 else -value)
        else:
            value = (((step << 3) + 0x84) << segment) - 0x84
            values.append(-value if code & 0x80 else value)
    return np.array(values, np.int16)
