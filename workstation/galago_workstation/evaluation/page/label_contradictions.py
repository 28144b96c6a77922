"""Samples that are nearly the same and have different labels: one of the two is wrong, or the labels are."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from galago_edge.contract.errors import GalagoError
from galago_edge.contract.manifest import AudioPreprocess
from galago_workstation.data.near_copies import PICTURE_ALIKE, SOUND_ALIKE, near_copies
from galago_workstation.data.sample import PARTS, Part, Sample
from galago_workstation.data.sample_look import Thumbprint, look_at_pixels, window_thumbprint
from galago_workstation.run_folder import Run

MOST_COMPARED = 10_000
"""Samples of a run; of more, as many are taken evenly, and ``galago data check`` compares all."""
MOST_SHOWN = 12


@dataclass(frozen=True, slots=True)
class Contradiction:
    """Two samples that are alike."""

    samples: tuple[Sample, Sample]
    parts: tuple[Part, Part]
    alike: float
    """Correlation of their thumbprints."""


@dataclass(frozen=True, slots=True)
class Contradictions:
    """What was found in a run."""

    pairs: tuple[Contradiction, ...]
    """The most alike first."""
    compared: int
    """Samples that could be compared."""
    of: int
    """Samples that there are."""


def contradictions(run: Run) -> Contradictions:
    """Compare the samples of all parts of a run; those that cannot be read are left out."""
    every = [(part, sample) for part in PARTS for sample in run.samples(part)]
    places = np.unique(np.linspace(0, len(every) - 1, min(len(every), MOST_COMPARED)).round().astype(int))
    looked: list[tuple[Part, Sample, Thumbprint]] = []
    for place in places.tolist() if every else []:
        part, sample = every[place]
        if (found := _thumbprint(run, sample)) is not None:
            looked.append((part, sample, found))
    alike = SOUND_ALIKE if isinstance(run.preprocess, AudioPreprocess) else PICTURE_ALIKE
    near = near_copies(
        [thumbprint for _, _, thumbprint in looked],
        [sample.label for _, sample, _ in looked],
        [PARTS.index(part) for part, _, _ in looked],
        alike,
    )
    pairs: dict[tuple[int, int], float] = {}
    for copy in sorted(near.other_label, key=lambda one: (-one.alike, one.sample)):
        first, second = sorted((copy.sample, copy.like))
        pairs.setdefault((first, second), copy.alike)
    return Contradictions(
        pairs=tuple(
            Contradiction(
                samples=(looked[first][1], looked[second][1]),
                parts=(looked[first][0], looked[second][0]),
                alike=alike,
            )
            for (first, second), alike in pairs.items()
        ),
        compared=len(looked),
        of=len(every),
    )


def _thumbprint(run: Run, sample: Sample) -> Thumbprint | None:
    try:
        raw, spec = run.raw(sample), run.preprocess
        if isinstance(spec, AudioPreprocess):
            return window_thumbprint(raw.astype(np.int16, copy=False), spec.sample_rate_hz)
        return look_at_pixels(raw.astype(np.uint8, copy=False)).thumbprint
    except GalagoError:
        return None
