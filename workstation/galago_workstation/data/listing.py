"""What a data set holds, checked: labels, samples, no sample twice, no sample under two labels."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from galago_edge.contract.errors import InputError, Reason
from galago_edge.contract.printable import hidden_character, printable
from galago_workstation.data.sample import Sample


@dataclass(frozen=True, slots=True)
class Listing:
    """Everything a configuration's ``[data]`` names."""

    labels: tuple[str, ...]
    pool: tuple[Sample, ...]
    """What may be split, ordered by id."""
    test: tuple[Sample, ...] | None
    """The official test set, when there is one."""
    duplicates_left_out: int
    """Files of the same content as one that is kept."""
    strays: Mapping[str, int] = field(default_factory=dict)
    """Files in class folders that are no samples, by suffix."""


def check_labels(labels: Sequence[str], where: str) -> None:
    """Check that the labels can be told apart and are at least two.

    Raises:
        InputError: CLASS_SINGLE, LABELS_REPEAT (also labels that differ only in case or Unicode form),
            or DATA_BAD for a name that a bundle cannot hold.
    """
    seen: dict[str, str] = {}
    for label in labels:
        if label != label.strip() or not 1 <= len(label) <= 64 or "\n" in label:
            raise InputError(
                Reason.DATA_BAD,
                f"{where}: {label!r} cannot be a label; expected 1 to 64 characters, no blank at either end",
                hint="rename it",
            )
        if printable(label) != label:
            raise InputError(
                Reason.DATA_BAD,
                f"{where}: {printable(label)} cannot be a label: it is not UTF-8",
                hint="rename it",
            )
        if hidden := hidden_character(label):
            raise InputError(
                Reason.DATA_BAD,
                f"{where}: {label!a} cannot be a label: it holds the character {hidden}, which nobody sees",
                hint="rename it",
            )
        twin = seen.setdefault(unicodedata.normalize("NFKC", label).casefold(), label)
        if twin is not label:
            raise InputError(
                Reason.LABELS_REPEAT,
                f"{where}: labels repeat: {twin!r} and {label!r}",
                hint="give every class one name; case alone does not make a difference",
            )
    if len(labels) < 2:
        found = f"only one class, {labels[0]!r}" if labels else "no class"
        raise InputError(
            Reason.CLASS_SINGLE,
            f"{where} has {found}; expected at least two",
            hint="one sub-folder per class; what is in none of them needs a class too, such as background",
        )


def make_listing(labels: Sequence[str], pool: Iterable[Sample], test: Iterable[Sample] | None) -> Listing:
    """Keep every content once; what is also in the official test set stays there only.

    Raises:
        InputError: LABELS_REPEAT when one content has two labels, CLASS_EMPTY when a label has no sample,
            DATA_BAD when a group is on both sides of an official split.
    """
    kept_test, twice_in_test = _once(test or (), labels, {})
    taken = {sample.sha256: sample for sample in kept_test}
    kept_pool, twice_in_pool = _once(pool, labels, taken)
    for part in (kept_pool, kept_test) if test is not None else (kept_pool,):
        _check_filled(labels, part)
    _check_groups(kept_pool, kept_test)
    return Listing(
        tuple(labels),
        tuple(kept_pool),
        None if test is None else tuple(kept_test),
        twice_in_test + twice_in_pool,
    )


def _once(
    samples: Iterable[Sample], labels: Sequence[str], taken: dict[str, Sample]
) -> tuple[list[Sample], int]:
    first = dict(taken)
    kept: list[Sample] = []
    left_out = 0
    for sample in sorted(samples, key=lambda sample: sample.id):
        twin = first.setdefault(sample.sha256, sample)
        if twin.label != sample.label:
            raise InputError(
                Reason.LABELS_REPEAT,
                f"{twin.id} is labelled {labels[twin.label]!r} and {sample.id}, of the same content, "
                f"{labels[sample.label]!r}",
                hint="remove one of the two",
            )
        if twin is sample:
            kept.append(sample)
        else:
            left_out += 1
    return kept, left_out


def _check_filled(labels: Sequence[str], samples: Sequence[Sample]) -> None:
    counts = Counter(sample.label for sample in samples)
    for index, label in enumerate(labels):
        if counts[index] == 0:
            raise InputError(
                Reason.CLASS_EMPTY, f"label {label!r} has no sample of its own", hint="add some, or drop it"
            )


def _check_groups(pool: Sequence[Sample], test: Sequence[Sample]) -> None:
    groups = {sample.group for sample in pool} & {sample.group for sample in test} - {None}
    if groups:
        raise InputError(
            Reason.DATA_BAD,
            f"group {min(map(str, groups))!r} is both in the training folder and in the test folder",
            hint="move its files to one side",
        )
