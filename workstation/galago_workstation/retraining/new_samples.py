"""Labelled samples that are new to a run: read, compared with what it has, and what is left out of them."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote

from galago_edge.contract.count_words import count_of
from galago_edge.contract.errors import GalagoError, InputError, Reason
from galago_edge.contract.printable import printable
from galago_edge.recording.sample_layout import CONTEXT
from galago_edge.sources.address import AUDIO_SUFFIXES, IMAGE_SUFFIXES
from galago_workstation.data.class_folders import file_sha256
from galago_workstation.data.class_tree import class_tree
from galago_workstation.data.cut_folder import TABLE_FILE
from galago_workstation.data.data_inspection import looks_of
from galago_workstation.data.listing import check_labels
from galago_workstation.data.near_copies import PICTURE_ALIKE, SOUND_ALIKE, near_copies
from galago_workstation.data.sample import PARTS, Part, Sample
from galago_workstation.data.sample_manifest import ManifestRow, manifest_rows
from galago_workstation.files import named_path
from galago_workstation.progress_lines import Report
from galago_workstation.run_folder import Run

TABLES = (".csv", ".jsonl", ".ndjson")
HELD: tuple[Part, ...] = ("validation", "test")
"""Parts of which training must see nothing."""


@dataclass(frozen=True, slots=True)
class NewSample:
    """One labelled picture or clip that the run does not have."""

    path: Path
    sha256: str
    label: str
    group: str = ""
    part: Part | None = None
    """What its table gives it."""


@dataclass(slots=True)
class NewSamples:
    """What there is to learn from, and what was left out and why."""

    samples: list[NewSample] = field(default_factory=list)
    alike: list[tuple[int, int]] = field(default_factory=list)
    """Positions of samples that are nearly the same: they stay in one part."""
    copies: int = 0
    """Files of the same content as another new one."""
    known: Counter[Part] = field(default_factory=Counter)
    """Files that the run has already, by its part."""
    near_held: dict[str, str] = field(default_factory=dict)
    """Files that are nearly the same as a sample of the run's validation or test part, and that sample."""
    failed: dict[str, GalagoError] = field(default_factory=dict)
    """What cannot be read."""
    strays: int = 0
    """Files in class folders that are no samples."""
    unreviewed: list[str] = field(default_factory=list)
    """Folders of a device, whose labels are its own answers unless somebody has sorted them."""

    def left_out(self) -> Iterator[str]:
        """Yield what is not learned from and why, a line each."""
        for part in PARTS:
            if count := self.known[part]:
                yield f"left out, in the run's {part} part already: {count}"
        if self.near_held:
            first, like = next(iter(self.near_held.items()))
            yield (
                "left out, nearly the same as what the run is tested or validated with: "
                f"{len(self.near_held)}, such as {first} ~ {like}"
            )
        if self.copies:
            yield f"left out as copies of other new ones: {self.copies}"
        if self.failed:
            first_error = next(iter(self.failed.values()))
            yield f"left out, cannot be read: {len(self.failed)}, the first: {first_error}"
        if self.strays:
            yield f"left out, no samples: {count_of(self.strays, 'file')}"
        for folder in self.unreviewed:
            yield (
                f"note: the labels of {folder} are the device's own answers, unless somebody sorted them; "
                "galago data review is for that"
            )


def find_new_samples(places: Sequence[Path], run: Run, report: Report) -> NewSamples:
    """Read labelled samples for a run.

    Args:
        places: Folders that ``galago data review`` wrote, tables of samples, folders with one sub-folder per
            class.
        run: The run that shall learn from them.
        report: Is told how far it is.

    Raises:
        InputError: DATA_BAD; a place is none of these, or nothing new is in them. LABELS_REPEAT; one content
            has two labels, also one here and another in the run.
        LinkError: Something cannot be read.
    """
    found = NewSamples()
    had = {sample.sha256: (sample, part) for part in PARTS for sample in run.samples(part)}
    sounds = run.modality == "microphone"
    first: dict[str, NewSample] = {}
    for place in places:
        for path, row in _rows(place, sounds, found):
            label = unicodedata.normalize("NFC", row.label)
            try:
                sha256 = file_sha256(path, pictures=not sounds)
            except GalagoError as error:
                found.failed[printable(str(path))] = error
                continue
            new = NewSample(path, sha256, label, row.group, row.given_part)
            twin = first.setdefault(sha256, new)
            if twin is not new:
                _refuse_other_label(new, twin.label, printable(str(twin.path)))
                found.copies += 1
            elif sha256 in had:
                old, part = had[sha256]
                _refuse_other_label(new, run.labels[old.label], f"{run.path}'s {part} part, {old.id},")
                found.known[part] += 1
            else:
                found.samples.append(new)
    _leave_out_alike(found, run, sounds, report)
    if not found.samples:
        raise InputError(
            Reason.DATA_BAD,
            "; ".join(["there is nothing new to learn from", *found.left_out()]),
            hint="label more samples: galago data review",
        )
    check_labels(sorted({*run.labels, *(sample.label for sample in found.samples)}), "run and new samples")
    return found


def _rows(place: Path, sounds: bool, found: NewSamples) -> Iterator[tuple[Path, ManifestRow]]:
    table = place / TABLE_FILE if place.is_dir() else place
    if table.is_file() and table.suffix.lower() in TABLES:
        for _, row in manifest_rows(table):
            yield named_path(table.parent, row.path), row
        return
    if not place.is_dir():
        raise InputError(
            Reason.DATA_BAD,
            f"{place} is no folder and no table of samples ({', '.join(TABLES)})",
            hint="name what galago data review wrote",
        )
    tree = class_tree(place, AUDIO_SUFFIXES if sounds else IMAGE_SUFFIXES)
    if any((place / name / CONTEXT).is_dir() for name in tree.classes):
        raise InputError(
            Reason.DATA_BAD,
            f"{place} holds folders of bundles, as a device keeps samples, expected folders of labels",
            hint=f"galago data review {place}, and give what that writes",
        )
    found.strays += sum(tree.strays.values()) + len(tree.beside)
    if kept_by_device := (place / CONTEXT).is_dir():
        found.unreviewed.append(printable(str(place)))
    for name, paths in tree.classes.items():
        label = printable(unquote(name) if kept_by_device else name)
        yield from ((path, ManifestRow(path=printable(path.name), label=label)) for path in paths)


def _refuse_other_label(new: NewSample, label: str, where: str) -> None:
    if new.label != label:
        raise InputError(
            Reason.LABELS_REPEAT,
            f"{printable(str(new.path))} is labelled {new.label!r}, and in {where} the same is {label!r}",
            hint="correct one of the two; where it is the run's, correct its data and train it anew",
        )


def _leave_out_alike(found: NewSamples, run: Run, sounds: bool, report: Report) -> None:
    """Leave out what cannot be read or is nearly a held-out sample; note what is alike among the new.

    Raises:
        InputError: DATA_BAD; a held-out sample of the run has changed or cannot be read.
    """
    held = [sample for part in HELD for sample in run.samples(part)]
    for sample in held:
        _check_unchanged(sample, sounds)
    paths = [sample.path for sample in found.samples] + [sample.path for sample in held if sample.path]
    readable: list[NewSample] = []
    prints, new_places = [], []
    with report.track("comparing", len(paths)) as advance:
        for place, look in enumerate(looks_of(paths, sounds=sounds)):
            if isinstance(look, GalagoError):
                if place >= len(found.samples):
                    raise look
                found.failed[printable(str(paths[place]))] = look
            else:
                prints.append(look.thumbprint)
                if place < len(found.samples):
                    readable.append(found.samples[place])
                    new_places.append(len(prints) - 1)
            advance(place)
    count = len(readable)
    sides = [0] * count + [1] * len(held)
    alike = near_copies(prints, [0] * len(prints), sides, SOUND_ALIKE if sounds else PICTURE_ALIKE)
    gone = {one.sample: held[one.like - count].id for one in alike.other_part if one.sample < count}
    found.near_held = {printable(str(readable[place].path)): like for place, like in gone.items()}
    kept = [place for place in range(count) if place not in gone]
    found.samples = [readable[place] for place in kept]
    new_place = {place: number for number, place in enumerate(kept)}
    found.alike = [
        (new_place[one.sample], new_place[one.like])
        for one in alike.same
        if one.sample in new_place and one.like in new_place
    ]


def _check_unchanged(sample: Sample, sounds: bool) -> None:
    assert sample.path is not None  # idx files are refused before
    if not sample.path.is_file() or file_sha256(sample.path, pictures=not sounds) != sample.sha256:
        raise InputError(
            Reason.DATA_BAD,
            f"{sample.id}, which the run is tested or validated with, is gone or has changed",
            hint="bring the old content back: old and new could not be compared",
        )
