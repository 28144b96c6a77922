"""What lies in a folder of results, what of it somebody still wants, and how the rest goes.

A result is removed as it was made, in one step: it is moved aside, and then its files go. Nothing is touched
that is neither a result nor the half of one whose process is gone. Links are neither, and are never followed.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from galago_edge.contract.count_words import count_of
from galago_edge.contract.errors import InputError, LinkError, Reason, disk_error
from galago_workstation.qa.content_hashes import HASHES
from galago_workstation.qa.replay_results import JOB, ReplayResults
from galago_workstation.qa.written_folders import DIGEST, HALF, SHELF

_NS_PER_DAY = 86_400_000_000_000


@dataclass(frozen=True, slots=True)
class KeptResult:
    """One result on the disk."""

    digest: str
    bytes: int
    """Of its files."""
    made_ns: int
    """Unix time at which it was finished."""
    bundle: str | None
    """Id of the bundle; None when nobody can say any more what it is of: it would be computed again."""
    recording: str | None
    """SHA-256 of the recording."""
    name: str
    """What the recording was called."""


@dataclass(frozen=True, slots=True)
class ResultsFolder:
    """Everything in a folder of results."""

    results: tuple[KeptResult, ...]
    """By digest."""
    halves: tuple[Path, ...]
    """What processes of this computer that are gone have left half-written."""
    others: tuple[str, ...]
    """Names of what is neither, which is left alone."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which results stay: those that a run lists, those of a corpus, of a bundle, or of both; young ones."""

    digests: frozenset[str] = frozenset()
    """Listed by runs."""
    recordings: frozenset[str] | None = None
    """SHA-256 of those of corpora; None: no corpus was named."""
    bundles: frozenset[str] | None = None
    """Ids; None: no bundle was named. Where corpora and bundles are named, a result must be of both."""
    made_after_ns: int | None = None
    """What was made since then stays, whatever it is of."""

    def keeps(self, result: KeptResult) -> bool:
        """Tell whether a result stays."""
        if self.made_after_ns is not None and result.made_ns >= self.made_after_ns:
            return True
        if result.digest in self.digests:
            return True
        named = [
            (self.recordings, result.recording),
            (self.bundles, result.bundle),
        ]
        asked = [(those, this) for those, this in named if those is not None]
        return bool(asked) and all(this in those for those, this in asked)


@dataclass(slots=True)
class Removal:
    """What goes, or has gone."""

    results: list[KeptResult] = field(default_factory=list)
    halves: list[Path] = field(default_factory=list)
    stays: list[KeptResult] = field(default_factory=list)
    failures: list[tuple[Path, LinkError]] = field(default_factory=list)
    """What could not be removed, and why; it is not among ``results`` and ``halves`` then."""


def since_days(days: float, now_ns: int) -> int:
    """Return the Unix time so many days before ``now_ns``.

    >>> since_days(0.5, 86_400_000_000_000)
    43200000000000
    """
    return now_ns - round(days * _NS_PER_DAY)


def results_in(folder: Path) -> ResultsFolder:
    """Return what lies in a folder of results; of each, only ``job.json`` is read.

    Raises:
        LinkError: SOURCE_MISSING; there is no such folder. The disk fails.
        InputError: DATA_BAD; it holds things, and none of them is a result.
    """
    results, found, halves, others = ReplayResults(folder), [], list[Path](), list[str]()
    try:
        for entry in sorted(folder.iterdir()):
            if not (SHELF.fullmatch(entry.name) and _is_folder(entry)):
                others += [] if entry.name == HASHES else [entry.name]
                continue
            for place in sorted(entry.iterdir()):
                if DIGEST.fullmatch(place.name) and place.name[:2] == entry.name and _is_folder(place):
                    found.append(_kept(results, place))
                elif not (HALF.fullmatch(place.name) and _is_folder(place)):
                    others.append(f"{entry.name}/{place.name}")
            halves += results.abandoned(entry)
    except FileNotFoundError:
        hint = "give the folder of --results, or a run"
        raise LinkError(Reason.SOURCE_MISSING, f"there are no results in {folder}", hint=hint) from None
    except OSError as error:
        raise disk_error(error, f"read {folder}") from error
    if others and not found and not halves:
        raise InputError(
            Reason.DATA_BAD,
            f"{folder} holds no results of replays, but {count_of(len(others), 'other thing')} "
            f"({others[0]} ...)",
            hint="give the folder of --results, or a run",
        )
    return ResultsFolder(tuple(found), tuple(halves), tuple(others))


def chosen(kept: ResultsFolder, wanted: Wanted) -> Removal:
    """Return what goes when that is wanted; halves always do."""
    removal = Removal(halves=list(kept.halves))
    for result in kept.results:
        (removal.stays if wanted.keeps(result) else removal.results).append(result)
    return removal


def remove(folder: Path, removal: Removal) -> Removal:
    """Remove what was chosen, and return what is gone; one that cannot be removed keeps no other one back.

    What could not be removed stands in ``failures``, and as a result in ``stays``.
    """
    results, done = ReplayResults(folder), Removal(stays=list(removal.stays))
    for half in removal.halves:
        try:
            shutil.rmtree(half)
        except FileNotFoundError:  # another process was quicker
            done.halves.append(half)
        except OSError as error:
            done.failures.append((half, disk_error(error, f"remove {half}")))
        else:
            done.halves.append(half)
    for result in removal.results:
        try:
            results.remove(result.digest)
        except OSError as error:
            place = results.place(result.digest)
            done.failures.append((place, disk_error(error, f"remove {place}")))
            done.stays.append(result)
        else:
            done.results.append(result)
    return done


def bytes_of(results: Iterable[KeptResult]) -> int:
    """Return how much room results take."""
    return sum(one.bytes for one in results)


def _is_folder(path: Path) -> bool:
    """Tell whether it is a folder, and no link to one: what a link leads to is somebody else's."""
    return path.is_dir() and not path.is_symlink()


def _kept(results: ReplayResults, place: Path) -> KeptResult:
    sizes = [file.lstat() for file in place.iterdir()]
    job = place / JOB
    made_ns = (job if job.is_file() else place).stat().st_mtime_ns
    stored, _ = results.described(place.name)
    return KeptResult(
        digest=place.name,
        bytes=sum(one.st_size for one in sizes),
        made_ns=made_ns,
        bundle=None if stored is None else stored.job.bundle,
        recording=None if stored is None else stored.job.recording,
        name="" if stored is None else stored.name,
    )
