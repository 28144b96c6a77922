"""What every part of the workstation calls a sample."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Part = Literal["train", "validation", "test"]
PARTS: tuple[Part, ...] = ("train", "validation", "test")


@dataclass(frozen=True, slots=True)
class Sample:
    """One labelled picture or clip."""

    id: str
    """Path relative to the configuration file, made printable, or ``FILE#INDEX`` inside an idx file."""

    path: Path | None
    """The file, or None when the sample lies inside an idx file."""

    sha256: str
    """Of the file's bytes, or of the picture's pixels inside an idx file."""

    label: int
    """Position in the run's labels."""

    group: str | None = None
    """What the configuration's ``group`` captured: speaker, place, session."""

    part: Part | None = None
    """The part that the data itself gives it (a folder, a group, a manifest); None is for the hash to say."""


def samples_sha256(samples: Iterable[Sample]) -> str:
    """Return one hash over the samples' contents, independent of their order."""
    digest = hashlib.sha256()
    for sha256 in sorted(sample.sha256 for sample in samples):
        digest.update(bytes.fromhex(sha256))
    return digest.hexdigest()
