"""Which new samples are learned from and which are held out: whole groups, in a fixed order."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

from galago_edge.contract.errors import InputError, Reason
from galago_workstation.data.sample import PARTS, Part
from galago_workstation.retraining.new_samples import NewSample

_SALT = b"galago.retrain/1\0"


def divide_new(
    samples: Sequence[NewSample],
    alike: Sequence[tuple[int, int]],
    *,
    known_labels: Sequence[str],
    known_groups: Mapping[str, Part],
    hold_out: float,
    validation_share: float,
) -> list[Part]:
    """Return the part of each new sample.

    A unit, which is never torn apart, is what has one group or is nearly the same. Of the units of each
    label, and of those that hold several labels, the share ``hold_out`` is tested with and
    ``validation_share`` validated with, by chance that is fixed. Of three units the largest is learned from
    and the smallest validated with, of two the smaller one is held out, a single one is learned from. What a
    table gives a part keeps it, and so does a group that the run has already.

    Args:
        samples: The new samples.
        alike: Positions of samples that are nearly the same.
        known_labels: The run's labels: they are in all of its parts.
        known_groups: The run's groups and the part that each is in.
        hold_out: Share of the units that is tested with.
        validation_share: Share that chooses the weights to keep.

    Raises:
        InputError: CLASS_EMPTY; a label that the run does not have is not in every part.
    """
    units = _units(samples, alike)
    parts: dict[int, Part] = {}
    of_label: dict[str | None, list[int]] = {}
    for number, members in enumerate(units):
        given = _given([samples[member] for member in members], known_groups)
        if given is not None:
            parts[number] = given
        else:
            labels = {samples[member].label for member in members}
            of_label.setdefault(labels.pop() if len(labels) == 1 else None, []).append(number)
    for numbers in of_label.values():
        test, validation = _counts(len(numbers), hold_out, validation_share)
        for rank, number in enumerate(_ranked(samples, units, numbers)):
            parts[number] = "test" if rank < test else "validation" if rank < test + validation else "train"
    found: list[Part] = ["train"] * len(samples)
    for number, members in enumerate(units):
        for member in members:
            found[member] = known_groups.get(samples[member].group, parts[number])  # whatever it looks like
    _check_new_labels(samples, found, known_labels)
    return found


def _units(samples: Sequence[NewSample], alike: Sequence[tuple[int, int]]) -> list[list[int]]:
    """Return the positions of the samples of each unit."""
    above = list(range(len(samples)))

    def top(place: int) -> int:
        while above[place] != place:
            above[place] = above[above[place]]
            place = above[place]
        return place

    first: dict[str, int] = {}
    together = list(alike)
    together += [(n, first.setdefault(one.group, n)) for n, one in enumerate(samples) if one.group]
    for one, other in together:
        low, high = sorted((top(one), top(other)))
        above[high] = low
    units: dict[int, list[int]] = {}
    for place in range(len(samples)):
        units.setdefault(top(place), []).append(place)
    return list(units.values())


def _given(members: Sequence[NewSample], known_groups: Mapping[str, Part]) -> Part | None:
    """Return the part that a unit has already; of several the one that training sees least of."""
    given = {known_groups[one.group] for one in members if one.group in known_groups}
    given |= {one.part for one in members if one.part is not None}
    return max(given, key=PARTS.index) if given else None


def _ranked(
    samples: Sequence[NewSample], units: Sequence[Sequence[int]], numbers: Sequence[int]
) -> list[int]:
    """Return the numbers of units in the order in which test, validation and training get them."""
    ranked = sorted(numbers, key=lambda number: _place(samples, units[number]))
    if len(ranked) > len(PARTS):
        return ranked
    by_size = sorted(ranked, key=lambda number: len(units[number]))
    return [*by_size[-2:-1], *by_size[:-2], *by_size[-1:]]


def _place(samples: Sequence[NewSample], members: Sequence[int]) -> bytes:
    """Return what units are ordered by: neither the order nor the names of files matter."""
    return hashlib.sha256(_SALT + min(samples[member].sha256 for member in members).encode()).digest()


def _counts(units: int, hold_out: float, validation_share: float) -> tuple[int, int]:
    """Return how many units of a label are tested and validated with; one at least is learned from.

    >>> [_counts(units, 0.25, 0.15) for units in (1, 2, 3, 20)]
    [(0, 0), (1, 0), (1, 1), (5, 3)]
    >>> _counts(4, 0.5, 0.5)
    (2, 1)
    """
    test = max(1, round(units * hold_out)) if units > 1 else 0
    validation = max(1, round(units * validation_share)) if units > 2 else 0
    return test, min(validation, units - 1 - test) if units else 0


def _check_new_labels(samples: Sequence[NewSample], parts: Sequence[Part], known: Sequence[str]) -> None:
    for label in sorted({sample.label for sample in samples} - set(known)):
        there = {part for sample, part in zip(samples, parts, strict=True) if sample.label == label}
        if missing := [part for part in PARTS if part not in there]:
            raise InputError(
                Reason.CLASS_EMPTY,
                f"label {label!r}, which the run does not have, has no new sample for {missing[0]}",
                hint="a new label needs three samples of different groups, that do not look alike, at least",
            )
