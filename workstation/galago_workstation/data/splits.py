"""Which sample is for training, which for validation, which for the test.

A sample's part depends on the hash of its own content (or of its group's name) alone: adding files never
moves others, and training again with another seed keeps the test set. Labels of few samples, of which less
than five are expected in validation and test, get exactly their share, in the order of their hashes: adding
to those may move some. Where a label would have no sample in a part, the nearest ones move. What the data
gives a part itself keeps it, and then no other sample gets that part by its hash.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence, Set

from galago_edge.contract.errors import InputError, Reason
from galago_workstation.data.listing import Listing
from galago_workstation.data.sample import PARTS, Part, Sample

_SALT = b"galago.split/1\0"
TINY = 5
"""Samples that a label is expected to have in a part: below, its part is counted and not drawn."""


def split(listing: Listing, *, validation_share: float, test_share: float) -> dict[Part, tuple[Sample, ...]]:
    """Assign every sample of a listing to a part; with an official test set, ``test_share`` is unused.

    Raises:
        InputError: CLASS_EMPTY; a label has too few samples or groups for every part.
    """
    if listing.test is not None:
        parts = split_pool(listing.pool, listing.labels, validation_share, 0.0)
        return {**parts, "test": listing.test}
    return split_pool(listing.pool, listing.labels, validation_share, test_share)


def split_pool(
    pool: Sequence[Sample], labels: Sequence[str], validation_share: float, test_share: float
) -> dict[Part, tuple[Sample, ...]]:
    """Assign samples to parts by hash; shares are expectations, each label gets about its share.

    Raises:
        InputError: CLASS_EMPTY; a label has too few samples or groups for every part.
    """
    units: dict[str, list[Sample]] = {}
    for sample in pool:
        units.setdefault(_unit(sample), []).append(sample)
    given = {unit: part for unit, samples in units.items() if (part := _given(samples)) is not None}
    validation_share = 0.0 if "validation" in given.values() else validation_share
    test_share = 0.0 if "test" in given.values() else test_share
    drawn = {unit: _drawn(_place(unit), validation_share, test_share) for unit in units if unit not in given}
    shares: dict[Part, float] = {"train": 1.0, "validation": validation_share, "test": test_share}
    wanted = [part for part in PARTS if shares[part]]
    _even_out(units, drawn, validation_share, test_share)
    part_of = given | drawn
    _fill(units, part_of, labels, wanted, drawn.keys())
    _check_given(pool, labels, set(given.values()))
    return {part: tuple(sample for sample in pool if part_of[_unit(sample)] == part) for part in PARTS}


def _even_out(
    units: dict[str, list[Sample]], drawn: dict[str, Part], validation_share: float, test_share: float
) -> None:
    """Give labels of few samples exactly their share of each part, in the order of their places.

    Chance would leave some of them with twice their share, and others with none.
    """
    of_label: dict[int, list[str]] = {}
    for unit in drawn:
        labels = {sample.label for sample in units[unit]}
        if len(labels) == 1:  # a group of several labels goes where its hash says
            of_label.setdefault(labels.pop(), []).append(unit)
    for few in of_label.values():
        wanted = {"test": len(few) * test_share, "validation": len(few) * validation_share}
        if max(wanted.values()) >= TINY:
            continue
        # what is not wanted has a share of 0; what is wanted has one sample at least
        test, validation = (max(1, round(count)) if count else 0 for count in wanted.values())
        for rank, unit in enumerate(sorted(few, key=_place)):
            drawn[unit] = "test" if rank < test else "validation" if rank < test + validation else "train"


def _given(samples: Sequence[Sample]) -> Part | None:
    """Return the part that the data itself gives a unit."""
    parts = {sample.part for sample in samples if sample.part is not None}
    return min(parts) if parts else None  # that there is one only was checked when the data was listed


def _check_given(pool: Sequence[Sample], labels: Sequence[str], parts: set[Part]) -> None:
    """Check that every label is in each part that the data itself gives samples."""
    for part in PARTS:
        there = {sample.label for sample in pool if sample.part == part}
        if (
            part in parts
            and part != "train"
            and (missing := [n for i, n in enumerate(labels) if i not in there])
        ):
            raise InputError(
                Reason.CLASS_EMPTY,
                f"label {missing[0]!r} has no sample in {part}, as the data is divided",
                hint=f"add some to its {part}, or drop the label",
            )


def _unit(sample: Sample) -> str:
    """Return what must not be torn apart: a group, or one content."""
    return f"hash {sample.sha256}" if sample.group is None else f"group {sample.group}"


def _place(unit: str) -> float:
    """Return the unit's fixed place in [0, 1): test samples first, then validation, then training."""
    return int.from_bytes(hashlib.sha256(_SALT + unit.encode()).digest()[:8]) / 2**64


def _drawn(place: float, validation_share: float, test_share: float) -> Part:
    if place < test_share:
        return "test"
    return "validation" if place < test_share + validation_share else "train"


def _fill(
    units: dict[str, list[Sample]],
    part_of: dict[str, Part],
    labels: Sequence[str],
    wanted: Sequence[Part],
    movable: Set[str],
) -> None:
    """Move single units where a label has none in a part; few samples or few groups make that happen."""
    labels_of = {unit: {sample.label for sample in samples} for unit, samples in units.items()}

    def having(label: int, part: Part) -> list[str]:
        return sorted((u for u, p in part_of.items() if p == part and label in labels_of[u]), key=_place)

    for part in wanted:
        for label, name in enumerate(labels):
            if any(p == part and label in labels_of[u] for u, p in part_of.items()):
                continue
            spare = [
                unit
                for other in wanted
                if other != part
                for unit in having(label, other)
                if unit in movable and all(len(having(carried, other)) > 1 for carried in labels_of[unit])
            ]
            if not spare:
                raise _too_few(name, label, units, labels_of, part)
            # training lies at the upper end of the places, the test at the lower end
            part_of[max(spare, key=_place) if part == "train" else min(spare, key=_place)] = part


def _too_few(
    name: str, label: int, units: dict[str, list[Sample]], labels_of: dict[str, set[int]], part: Part
) -> InputError:
    count = sum(label in carried for carried in labels_of.values())
    grouped = any(sample.group is not None for samples in units.values() for sample in samples)
    what = "group" if grouped else "sample"
    return InputError(
        Reason.CLASS_EMPTY,
        f"label {name!r} has {count} {what}{'s' * (count != 1)}, and none is left for {part}",
        hint=f"add {what}s: every label needs at least one for training, validation and test each",
    )
