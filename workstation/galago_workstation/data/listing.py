"""What a data set holds, checked: labels, samples, no sample twice, no sample under two labels."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from galago_edge.contract.errors import GalagoError, InputError, Reason
from galago_edge.contract.printable import hidden_character, printable
from galago_workstation.data.class_tree import ClassTree
from galago_workstation.data.sample import Part, Sample

Met: TypeAlias = Callable[[GalagoError], None]
"""Is told what is wrong with data. Training refuses the first; ``galago data check`` collects all."""


def refuse(error: GalagoError) -> None:
    """Raise what was met."""
    raise error


@dataclass(frozen=True, slots=True)
class Copy:
    """Two files of one content."""

    kept: Sample
    left_out: Sample


@dataclass(frozen=True, slots=True)
class Listing:
    """Everything a configuration's ``[data]`` names."""

    labels: tuple[str, ...]
    pool: tuple[Sample, ...]
    """What may be split, ordered by id."""
    test: tuple[Sample, ...] | None
    """The official test set, when there is one."""
    copies: tuple[Copy, ...] = ()
    """Files of the same content as one that is kept."""
    trees: tuple[ClassTree, ...] = ()
    """The folders that were walked for it, with what was left out in each."""

    @property
    def duplicates_left_out(self) -> int:
        """Number of files that are left out as copies."""
        return len(self.copies)

    @property
    def strays(self) -> Counter[str]:
        """Files in class folders that are no samples, by suffix."""
        return sum((tree.strays for tree in self.trees), Counter())

    @property
    def ignored(self) -> int:
        """Number of files and folders that ``[data] pattern`` and ``ignore`` leave out."""
        return sum(len(tree.ignored) for tree in self.trees)


def check_labels(labels: Sequence[str], where: str, met: Met = refuse) -> None:
    """Check that the labels can be told apart and are at least two.

    Raises:
        InputError: CLASS_SINGLE, LABELS_REPEAT (also labels that differ only in case or Unicode form),
            or DATA_BAD for a name that a bundle cannot hold.
    """
    for error in _label_errors(labels, where):
        met(error)


def _label_errors(labels: Sequence[str], where: str) -> Iterator[InputError]:
    seen: dict[str, str] = {}
    for label in labels:
        if label != label.strip() or not 1 <= len(label) <= 64 or "\n" in label:
            yield InputError(
                Reason.DATA_BAD,
                f"{where}: {label!r} cannot be a label; expected 1 to 64 characters, no blank at either end",
                hint="rename it",
            )
        if printable(label) != label:
            yield InputError(
                Reason.DATA_BAD,
                f"{where}: {printable(label)} cannot be a label: it is not UTF-8",
                hint="rename it",
            )
        if hidden := hidden_character(label):
            yield InputError(
                Reason.DATA_BAD,
                f"{where}: {label!a} cannot be a label: it holds the character {hidden}, which nobody sees",
                hint="rename it",
            )
        twin = seen.setdefault(unicodedata.normalize("NFKC", label).casefold(), label)
        if twin is not label:
            yield InputError(
                Reason.LABELS_REPEAT,
                f"{where}: labels repeat: {twin!r} and {label!r}",
                hint="give every class one name; case alone does not make a difference",
            )
    if len(labels) < 2:
        found = f"only one class, {labels[0]!r}" if labels else "no class"
        yield InputError(
            Reason.CLASS_SINGLE,
            f"{where} has {found}; expected at least two",
            hint="one sub-folder per class; what is in none of them needs a class too, such as background",
        )


def make_listing(
    labels: Sequence[str], pool: Iterable[Sample], test: Iterable[Sample] | None, met: Met = refuse
) -> Listing:
    """Keep every content once; what is also in the official test set stays there only.

    Raises:
        InputError: LABELS_REPEAT when one content has two labels, CLASS_EMPTY when a label has no sample,
            DATA_BAD when a group is on both sides of an official split.
    """
    kept_test, copies = _once(test or (), labels, {}, met)
    taken = {sample.sha256: sample for sample in kept_test}
    kept_pool, copies_in_pool = _once(pool, labels, taken, met)
    for part in (kept_pool, kept_test) if test is not None else (kept_pool,):
        _check_filled(labels, part, met)
    _check_groups(kept_pool, kept_test, met)
    return Listing(
        tuple(labels),
        tuple(kept_pool),
        None if test is None else tuple(kept_test),
        (*copies, *copies_in_pool),
    )


def _once(
    samples: Iterable[Sample], labels: Sequence[str], taken: dict[str, Sample], met: Met
) -> tuple[list[Sample], list[Copy]]:
    """Keep one sample of each content: of a copy that the data gives to validation, that one."""
    first = dict(taken)
    kept: list[Sample] = []
    copies: list[Copy] = []
    for sample in sorted(samples, key=lambda sample: (_GIVEN_FIRST[sample.part], sample.id)):
        twin = first.setdefault(sample.sha256, sample)
        if twin is sample:
            kept.append(sample)
            continue
        copies.append(Copy(twin, sample))
        if twin.label != sample.label:
            met(
                InputError(
                    Reason.LABELS_REPEAT,
                    f"{twin.id} is labelled {labels[twin.label]!r} and {sample.id}, of the same content, "
                    f"{labels[sample.label]!r}",
                    hint="remove one of the two",
                )
            )
    return sorted(kept, key=lambda sample: sample.id), copies


_GIVEN_FIRST: dict[Part | None, int] = {"test": 0, "validation": 1, "train": 2, None: 3}
"""What is also in a test or validation set stays there only: training must not have seen it."""


def _check_filled(labels: Sequence[str], samples: Sequence[Sample], met: Met) -> None:
    counts = Counter(sample.label for sample in samples)
    for index, label in enumerate(labels):
        if counts[index] == 0:
            met(
                InputError(
                    Reason.CLASS_EMPTY,
                    f"label {label!r} has no sample of its own",
                    hint="add some, or drop it",
                )
            )


def _check_groups(pool: Sequence[Sample], test: Sequence[Sample], met: Met) -> None:
    """Check that no group is on two sides."""
    sides: dict[str, set[Part | None]] = {}
    given: list[tuple[Sample, Part | None]] = [(sample, sample.part) for sample in pool]
    given += [(sample, "test") for sample in test]
    for sample, part in given:
        if sample.group is not None:
            sides.setdefault(sample.group, set()).add(None if part == "train" else part)
    for group, parts in sorted(sides.items()):
        if len(parts) > 1:
            found = " and ".join(sorted("in training" if part is None else f"in {part}" for part in parts))
            met(
                InputError(
                    Reason.DATA_BAD,
                    f"group {group!r} is on two sides: {found}; expected all of a group in one part",
                    hint="move its files to one side",
                )
            )
