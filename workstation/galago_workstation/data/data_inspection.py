"""Every problem of a data set at once: read whole, as training would, and judged."""

from __future__ import annotations

import multiprocessing
import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TypeAlias

import numpy as np

from galago_edge.contract.errors import CallerError, GalagoError, InputError, Reason, disk_error
from galago_edge.contract.manifest import AudioPreprocess, ImagePreprocess
from galago_edge.contract.printable import printable
from galago_workstation.data.data_finding import FindingLevel, FindingList
from galago_workstation.data.folder_survey import BACKGROUND_NAMES, survey
from galago_workstation.data.idx import IdxSet
from galago_workstation.data.listing import Listing, Met
from galago_workstation.data.look_rules import judge_formats, judge_looks
from galago_workstation.data.near_copies import PICTURE_ALIKE, SOUND_ALIKE, NearCopy, near_copies
from galago_workstation.data.sample import PARTS, Part, Sample
from galago_workstation.data.sample_look import (
    SampleLook,
    look_at_picture,
    look_at_pixels,
    look_at_sound,
)
from galago_workstation.data.sample_reader import files_listing
from galago_workstation.data.splits import split
from galago_workstation.progress_lines import Report
from galago_workstation.training_config import AudioFolders, IdxFiles, ImageFolders, read_config

Data: TypeAlias = ImageFolders | AudioFolders | IdxFiles

UNEQUAL = 5
"""Times as many samples of one label as of another that are worth a warning."""
FEW = 10
"""Samples of a label: with fewer, neither training nor the test says much."""
_AT_ONCE = 64
"""Samples that a process looks at before it answers."""
WORTH_A_PROCESS = 256


_COPIES: tuple[tuple[str, FindingLevel, bool, str, str], ...] = (
    ("copies_of_groups", "warning", False, "files of one content in two groups", "is [data] group right?"),
    ("copies", "note", True, "files of the same content as another, which count once", ""),
)


@dataclass(slots=True)
class InspectedData:
    """What was looked at, and what was found."""

    kind: str
    labels: dict[str, int] = field(default_factory=dict)
    """Samples of each label, copies left out, the test set's among them."""
    parts: dict[Part, dict[str, int]] = field(default_factory=dict)
    """Samples of each label by part; empty while errors keep the data from being divided."""
    findings: FindingList = field(default_factory=FindingList)

    @property
    def usable(self) -> bool:
        """Whether training would take it."""
        return not any(finding.level == "error" for finding in self.findings.all())


def inspect_data(
    data: Data, root: Path, spec: ImagePreprocess | AudioPreprocess | None, report: Report
) -> InspectedData:
    """Look at all samples of a data set.

    Args:
        data: What a configuration's ``[data]`` says.
        root: The folder that its paths are relative to.
        spec: How a device would preprocess them; None when nobody has said.
        report: Is told how far it is.
    """
    return _Inspection(data, root, spec, report).inspected()


def inspect_path(path: Path, report: Report) -> InspectedData:
    """Look at all samples that a configuration names, or those of a folder of classes.

    Raises:
        CallerError: CONFIG_BAD; it is neither.
        InputError: The folder holds nothing that could be classes.
    """
    options, root, spec = _data_of(path)
    return inspect_data(options, root, spec, report)


def _data_of(path: Path) -> tuple[Data, Path, ImagePreprocess | AudioPreprocess | None]:
    """Return what is to be checked, the folder that it starts at, and how a device would take it."""
    if not path.is_dir():
        _refuse_no_text(path)
        config = read_config(path)
        return config.data, path.parent, config.preprocess
    kind = survey(path).kind
    return (ImageFolders if kind == "images" else AudioFolders)(folder="."), path, None


def _refuse_no_text(path: Path) -> None:
    """Refuse a picture, a sound or whatever else is no text; what cannot be read is refused by who reads it.

    Raises:
        CallerError: CONFIG_BAD.
    """
    try:
        with path.open("rb") as file:
            head = file.read(4096) if path.is_file() else b""
    except OSError:
        return
    if b"\0" in head:
        text = f"{path} is no configuration and no folder"
        raise CallerError(Reason.CONFIG_BAD, text, hint="give a configuration (.toml) or a folder of classes")


def looks_of(paths: Sequence[Path], *, sounds: bool) -> Iterator[SampleLook | GalagoError]:
    """Yield what each file is like, in their order; what cannot be read is an error. Many go to all cores."""
    look = partial(_look, sound=sounds)
    if len(paths) < WORTH_A_PROCESS:
        yield from map(look, paths)
        return
    # a decoder's complaints are taken from standard error, of which a process has one
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(len(os.sched_getaffinity(0)), context) as pool:
        yield from pool.map(look, paths, chunksize=_AT_ONCE)


class _Inspection:
    def __init__(
        self, data: Data, root: Path, spec: ImagePreprocess | AudioPreprocess | None, report: Report
    ) -> None:
        self._data = data
        self._root = root
        self._spec = spec
        self._report = report
        self._found = FindingList()
        self._unreadable: dict[Sample, GalagoError] = {}

    def inspected(self) -> InspectedData:
        kind = "sounds" if isinstance(self._data, AudioFolders) else "pictures"
        result = InspectedData(kind, findings=self._found)
        try:
            idx = IdxSet(self._data, self._root) if isinstance(self._data, IdxFiles) else None
            listing = self._listing(idx, self._found.met)
        except GalagoError as error:
            self._found.met(error)
            return result
        samples = (*listing.pool, *(listing.test or ()))
        result.labels = _counts(listing.labels, samples)
        looks = self._looks(samples, idx)
        for copy in listing.copies:
            met = self._unreadable.get(copy.kept)
            if met is not None:  # else nobody knows until that one is mended
                text = f"{copy.left_out.id} has the content of {copy.kept.id}, which cannot be read"
                self._found.met(InputError(met.reason, text, hint=met.hint))
        part_of = self._part_of(listing, result)
        self._judge_listing(listing, result)
        judge_looks(looks, self._spec, self._found)
        judge_formats(looks, listing.labels, self._found)
        self._judge_alike(looks, listing.labels, part_of)
        return result

    def _listing(self, idx: IdxSet | None, met: Met) -> Listing:
        if idx is not None:
            return idx.listing(met)
        assert not isinstance(self._data, IdxFiles)
        return files_listing(self._data, self._root, met)

    def _looks(self, samples: Sequence[Sample], idx: IdxSet | None) -> dict[Sample, SampleLook]:
        """Return what every sample is like that can be read; what cannot is told."""
        looks: dict[Sample, SampleLook] = {}
        with self._report.track("looking", len(samples)) as advance:
            for sample, look in zip(samples, self._all_looks(samples, idx), strict=True):
                if isinstance(look, GalagoError):
                    self._found.met(look)
                    self._unreadable[sample] = look
                else:
                    looks[sample] = look
                advance(len(looks))
        return looks

    def _all_looks(self, samples: Sequence[Sample], idx: IdxSet | None) -> Iterator[SampleLook | GalagoError]:
        if idx is not None:
            for sample in samples:
                grey = idx.picture(sample.id)
                yield look_at_pixels(np.repeat(grey[:, :, None], 3, axis=2))
            return
        paths = [sample.path for sample in samples]
        yield from looks_of([path for path in paths if path], sounds=isinstance(self._data, AudioFolders))

    def _part_of(self, listing: Listing, result: InspectedData) -> Mapping[str, Part]:
        """Return the part of each sample by its id; empty when the data cannot be divided yet."""
        if self._found.errors:
            return {}
        data = self._data
        try:
            parts = split(listing, validation_share=data.validation_share, test_share=data.test_share)
        except GalagoError as error:
            self._found.met(error)
            return {}
        for part in PARTS:
            counts = Counter(sample.label for sample in parts[part])
            result.parts[part] = {
                printable(name): counts[number] for number, name in enumerate(listing.labels)
            }
        return {sample.id: part for part in PARTS for sample in parts[part]}

    def _judge_listing(self, listing: Listing, result: InspectedData) -> None:
        found, counts = self._found, result.labels
        if counts and max(counts.values()) >= UNEQUAL * max(1, min(counts.values())):
            most, least = max(counts, key=counts.__getitem__), min(counts, key=counts.__getitem__)
            found.add(
                "warning",
                "unequal",
                [f"{most} {counts[most]}", f"{least} {counts[least]}"],
                "labels of very unequal size",
                "[train] class_weights = true, or more samples of the small ones",
            )
        few = [f"{name} {count}" for name, count in counts.items() if count < FEW]
        found.add(
            "warning", "few", few, f"labels with fewer than {FEW} samples", "more samples, or a warm start"
        )
        if not any(name in self._data.background or name.casefold() in BACKGROUND_NAMES for name in counts):
            found.add(
                "warning",
                "no_background",
                [", ".join(counts)] if counts else [],
                "no label looks like background, and a stream shows it most of the time",
                "add a class of what is usually seen or heard, and name it in [data] background",
            )
        for code, level, of_one_group, text, fix in _COPIES:
            names = [
                f"{copy.left_out.id} = {copy.kept.id}"
                for copy in listing.copies
                if copy.kept.label == copy.left_out.label  # else it is an error
                and (copy.kept.group == copy.left_out.group) == of_one_group
            ]
            found.add(level, code, names, text, fix)
        self._judge_trees(listing, result.kind)
        escaped = [sample.id for sample in (*listing.pool, *(listing.test or ())) if "\\x" in sample.id]
        found.add("note", "escaped_names", escaped, "names that are not UTF-8, written with \\x")

    def _judge_trees(self, listing: Listing, kind: str) -> None:
        suffixes = ", ".join(f"{suffix or 'no suffix'} {n}" for suffix, n in sorted(listing.strays.items()))
        for code, paths, text in (
            ("strays", "stray_paths", f"files in class folders that are no {kind}, left out ({suffixes})"),
            ("ignored", "ignored", "left out by [data] pattern and ignore"),
            ("beside", "beside", "files beside the class folders, left out"),
            ("links", "links", "links to folders, which are not followed: copy the folder, or name it"),
        ):
            names = [
                os.path.relpath(path, self._root) for tree in listing.trees for path in getattr(tree, paths)
            ]
            self._found.add("note", code, names, text)

    def _judge_alike(
        self, looks: Mapping[Sample, SampleLook], labels: Sequence[str], part_of: Mapping[str, Part]
    ) -> None:
        samples = list(looks)
        with self._report.track("comparing", len(samples)) as advance:
            near = near_copies(
                [look.thumbprint for look in looks.values()],
                [sample.label for sample in samples],
                [PARTS.index(part_of.get(sample.id, "train")) for sample in samples],
                SOUND_ALIKE if isinstance(self._data, AudioFolders) else PICTURE_ALIKE,
                advance,
            )

        def names(copies: Sequence[NearCopy], told: Callable[[Sample], str]) -> list[str]:
            return [
                f"{samples[one.sample].id}{told(samples[one.sample])} ~ "
                f"{samples[one.like].id}{told(samples[one.like])}, {one.alike:.3f}"
                for one in copies
            ]

        self._found.add(
            "warning",
            "alike_other_label",
            names(near.other_label, lambda sample: f" ({labels[sample.label]})"),
            "samples that are nearly the same as one of another label",
            "is one of the two labels wrong?",
        )
        self._found.add(
            "warning",
            "alike_other_part",
            names(near.other_part, lambda sample: f" ({part_of[sample.id]})"),
            "samples that are nearly the same as one on another side of the split: the test is too easy",
            "[data] group, so that what was recorded together stays together",
        )
        same = names(near.same, lambda _: "")
        self._found.add("note", "alike", same, "samples that are nearly the same as another")


def _counts(labels: Sequence[str], samples: Sequence[Sample]) -> dict[str, int]:
    counts = Counter(sample.label for sample in samples)
    return {printable(name): counts[number] for number, name in enumerate(labels)}


def _look(path: Path, *, sound: bool) -> SampleLook | GalagoError:
    try:
        if sound:
            return look_at_sound(path)
        return look_at_picture(path.read_bytes(), str(path))
    except GalagoError as error:
        return error
    except OSError as error:
        return disk_error(error, f"read {path}")
