"""Samples that were decoded once: in memory, in a file on the disk, or decoded anew, within budgets.

What a set needs is not known before it is decoded. The first samples stay in memory, the next ones go to a
nameless file on the disk of the run, and what fits into neither is decoded again whenever it is asked for. So
a set of any size trains in bounded memory, and every sample has been decoded once before training begins.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt

from galago_edge.contract.errors import disk_error
from galago_workstation.data.augmentation.scratch_file import ScratchFile
from galago_workstation.data.sample import Sample
from galago_workstation.data.worker_crew import Begin, WorkerCrew, usual_workers

MEMORY_BYTES = 1 << 30
"""Of all training samples."""
DISK_SHARE = 0.5
"""Of the free space, which other programs need too."""
_CHUNK = 8
_WORTH_WORKERS = 256
"""Fewer samples are decoded before processes have started."""

Scalar = TypeVar("Scalar", bound=np.generic)
Decode: TypeAlias = Callable[[Sample], npt.NDArray[Scalar]]


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a sample lies in the file."""

    start: int
    shape: tuple[int, ...]


class DecodedSamples(Generic[Scalar]):
    """What ``decode`` makes of samples, by their position.

    Args:
        decode: Returns an array; always the same one for a sample.
        samples: All of them are decoded here once.
        kind: Type of the arrays.
        folder: On whose disk the file lies; None: the folder of temporary files.
        disk_bytes: Size of the file at most; half of the free space if not given.

    Raises:
        GalagoError: What ``decode`` raises.
        LinkError: The disk fails.
    """

    def __init__(
        self,
        decode: Decode[Scalar],
        samples: Sequence[Sample],
        kind: type[Scalar],
        folder: Path | None,
        *,
        disk_bytes: int | None = None,
    ) -> None:
        self._decode = decode
        self._samples = samples
        self._kind = kind
        self._scratch = ScratchFile(folder)
        self._memory_left = MEMORY_BYTES
        self._disk_left = _free_share(folder) if disk_bytes is None else disk_bytes
        self._kept: list[npt.NDArray[Scalar] | _Place | None] = []
        self._bytes = [0, 0, 0]  # in memory, on the disk, of neither
        self._lengths: list[int] = []
        for decoded in decoded_once(self._decode, samples):
            self._lengths.append(len(decoded))
            self._kept.append(self._keep(decoded))

    def _keep(self, decoded: npt.NDArray[Scalar]) -> npt.NDArray[Scalar] | _Place | None:
        size = decoded.nbytes
        if size <= self._memory_left:
            self._memory_left -= size
            self._bytes[0] += size
            return decoded
        self._memory_left = 0  # what comes first is what stays
        if size <= self._disk_left:
            self._disk_left -= size
            self._bytes[1] += size
            return _Place(self._scratch.append(decoded.tobytes()), decoded.shape)
        self._bytes[2] += size
        return None

    def __len__(self) -> int:
        return len(self._kept)

    def __getitem__(self, index: int) -> npt.NDArray[Scalar]:
        """Return the array of a sample, which must not be changed.

        Raises:
            GalagoError: What ``decode`` raises.
        """
        kept = self._kept[index]
        if isinstance(kept, np.ndarray):
            return kept
        if kept is None:
            return self._decode(self._samples[index])
        count = int(np.prod(kept.shape)) * np.dtype(self._kind).itemsize
        return np.frombuffer(self._scratch.read(kept.start, count), self._kind).reshape(kept.shape)

    def length(self, index: int) -> int:
        """Return the first dimension of a sample's array."""
        return self._lengths[index]

    @property
    def decodes_anew(self) -> int:
        """Number of samples that are decoded whenever they are asked for."""
        return sum(kept is None for kept in self._kept)

    def said(self) -> str | None:
        """Return where what is not in memory is; None where there is nothing of that kind."""
        memory, disk, anew = (f"{size / (1 << 30):.1f} GiB" for size in self._bytes)
        if not any(self._bytes[1:]):
            return None
        places = [f"{memory} in memory", f"{disk} in a file on the disk"]
        if count := self.decodes_anew:
            places.append(f"{anew} ({count} samples) decoded anew in every epoch")
        return f"decoded training samples: {', '.join(places)}"


@dataclass(frozen=True, slots=True)
class SomeSamples(Generic[Scalar]):
    """Some of them, by their position among these."""

    of: DecodedSamples[Scalar]
    positions: Sequence[int]

    def __len__(self) -> int:
        return len(self.positions)

    def __getitem__(self, index: int) -> npt.NDArray[Scalar]:
        return self.of[self.positions[index]]


def decoded_once(decode: Callable[[Sample], Any], samples: Sequence[Sample]) -> Iterator[Any]:
    """Yield what ``decode`` makes of each sample, in order, on all cores where there are many.

    Raises:
        GalagoError: What ``decode`` raises.
    """

    def chunk(positions: range, begin: Begin | None) -> list[Any]:
        found = []
        for position in positions:
            if begin is not None:
                begin(position)
            found.append(decode(samples[position]))
        return found

    count = usual_workers() if len(samples) >= _WORTH_WORKERS else 0
    crew = WorkerCrew(chunk, count, lambda position: samples[position].id)
    try:
        jobs = (range(start, min(start + _CHUNK, len(samples))) for start in range(0, len(samples), _CHUNK))
        for _, found in crew.results(jobs):
            yield from found
    finally:
        crew.close()


def _free_share(folder: Path | None) -> int:
    place = tempfile.gettempdir() if folder is None else folder
    try:
        return int(shutil.disk_usage(place).free * DISK_SHARE)
    except OSError as error:
        raise disk_error(error, f"look at the disk of {place}") from error
