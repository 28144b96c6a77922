"""The recordings of a corpus, one by one: that each is there, is what it is said to be, and is there once."""

from __future__ import annotations

import datetime
import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from galago_edge.api.replayed_part import unix_ns
from galago_edge.contract.errors import CallerError, GalagoError, InputError, LinkError, Reason
from galago_edge.sources.address import parse_source
from galago_edge.sources.source_kind import Address
from galago_workstation.progress_lines import PlainReport, Report
from galago_workstation.qa.content_hashes import ContentHashes
from galago_workstation.qa.corpus_manifest import ListedRecording, ListedRow
from galago_workstation.qa.label_file import is_label_file, labels_path

_HASH = ".sha256"
_OF_NOTHING = hashlib.sha256().hexdigest()
"""That of every empty file."""

CorpusRow = tuple[str, Path, str, ListedRow | None]
"""Name, place, options, and the row of a manifest that says it."""


@dataclass(frozen=True, slots=True)
class CorpusRecording:
    """One recording of a corpus."""

    name: str
    """The path below the corpus' folder, with ``/``; for one that lies elsewhere, as it is written."""
    path: Path
    """Absolute."""
    query: str
    """Its options, as they stand behind ``?`` of an address; empty for none."""
    sha256: str
    """Of its content, as ``recording_sha256`` gives it."""
    labels: Path | None = None
    """The file that says what is really in it; None when nobody has labelled it."""
    tags: Mapping[str, str] = field(default_factory=dict)
    started_ns: int | None = None
    """Unix time of its first frame or sample, in nanoseconds."""

    @property
    def address(self) -> str:
        """How it is opened: ``galago_edge.sources.open_source``."""
        return f"{self.path}?{self.query}" if self.query else str(self.path)

    def parsed(self) -> Address:
        """Return what the address names.

        Raises:
            GalagoError: As ``parse_source``.
        """
        return parse_source(self.address)


def read_rows(
    listed: Sequence[CorpusRow], where: str, report: Report | None, hashes: ContentHashes
) -> list[CorpusRecording]:
    """Return the recordings of these rows, in their order; each is read once, for its hash.

    ``where``: the corpus, for messages about a recording that no list names; a list's own path.

    Raises:
        InputError: DATA_BAD; one is there twice, is not the one that is listed, or two have the same labels.
            SOURCE_MISMATCH; one is a pipe or a device.
        CallerError: CONFIG_BAD; one is listed twice, or is no recording.
        LinkError: SOURCE_MISSING; a recording or its labels are missing. Something cannot be read.
    """
    names: set[str] = set()
    for name, _, _, row in listed:
        if name in names:
            raise CallerError(
                Reason.CONFIG_BAD,
                f"{where if row is None else row.place}: {name} is listed more than once, expected each "
                "recording once",
                hint="remove all but one of them",
            )
        names.add(name)
    found: list[CorpusRecording] = []
    contents: dict[tuple[str, str], str] = {}
    with (report or PlainReport()).track("reading", len(listed)) as advance:
        for number, (name, path, query, row) in enumerate(listed, 1):
            said, at = (None, where) if row is None else row
            sha256 = _sha256(name, path, at, hashes)
            _check_content(name, sha256, said, at)
            if (other := contents.setdefault((sha256, query), name)) != name:
                raise _twice(at, name, other, sha256)
            labels = _labels(name, path, None if said is None else said.labels, Path(where), at)
            tags = {} if said is None else said.tags
            one = CorpusRecording(name, path, query, sha256, labels, tags, _started_ns(name, said, at))
            if said is not None:
                _refuse_no_source(one, at)
            found.append(one)
            advance(number)
    _refuse_shared_labels(found, where)
    return found


def _refuse_shared_labels(found: Sequence[CorpusRecording], where: str) -> None:
    """Refuse a list in which one file of labels is said to be about two different recordings."""
    first: dict[Path, CorpusRecording] = {}
    for one in found:
        if one.labels is None:
            continue
        other = first.setdefault(without_dots(one.labels), one)
        if other.sha256 != one.sha256:
            raise InputError(
                Reason.DATA_BAD,
                f"{where}: {other.name} and {one.name} have the same labels, {one.labels}; expected "
                "a file of their own for each recording",
                hint="correct one of the two rows",
            )


def _twice(where: str, name: str, other: str, sha256: str) -> InputError:
    if sha256 == _OF_NOTHING:
        return InputError(
            Reason.DATA_BAD,
            f"{where}: {name} and {other} are empty, of 0 bytes, expected recordings",
            hint="remove them, or copy or record them again",
        )
    return InputError(
        Reason.DATA_BAD,
        f"{where}: {name} and {other} hold the same recording, which would count twice",
        hint="remove one of them",
    )


def _check_content(name: str, sha256: str, said: ListedRecording | None, where: str) -> None:
    if said is None or said.sha256 in (None, sha256):
        return
    raise InputError(
        Reason.DATA_BAD,
        f"{where}: {name} was changed: its SHA-256 is {sha256[:16]}…, expected {(said.sha256 or '')[:16]}…",
        hint="bring back the recording that was listed, or list the new one",
    )


def _labels(name: str, path: Path, said: str | None, listing: Path, at: str) -> Path | None:
    """Return the file of labels of a recording: the one that ``listing`` says, or the one beside it."""
    if said is None:
        beside = labels_path(path)
        return beside if is_label_file(beside) else None
    labels = listing.absolute().parent / said
    if not is_label_file(labels):
        raise LinkError(
            Reason.SOURCE_MISSING,
            f"{at}: the labels of {name}, {said}, do not exist",
            hint="correct the path, which begins at the list's folder, or leave it out",
        )
    return labels


def _refuse_no_source(one: CorpusRecording, at: str) -> None:
    """Refuse what is listed and can be no recording, as far as its name and first bytes tell it.

    Raises:
        GalagoError: As ``parse_source``, with the line.
    """
    if one.path.suffix == _HASH:
        text = f"{at}: {one.name} is the hash of a recording, expected the recording"
        raise CallerError(Reason.CONFIG_BAD, text, hint=f"list {one.name.removesuffix(_HASH)}")
    try:
        one.parsed()
    except GalagoError as error:
        raise type(error)(error.reason, f"{at}: {error}", hint=error.hint) from None


def _started_ns(name: str, said: ListedRecording | None, where: str) -> int | None:
    moment: datetime.datetime | None = None if said is None else said.start_time
    try:
        return None if moment is None else unix_ns(moment)
    except ValueError as error:
        raise CallerError(
            Reason.CONFIG_BAD, f"{where}: {name}: {error}", hint="correct its start_time"
        ) from None


def _sha256(name: str, path: Path, where: str, hashes: ContentHashes) -> str:
    if not path.exists():
        raise LinkError(
            Reason.SOURCE_MISSING,
            f"{where}: the recording {name} does not exist",
            hint="bring it back, or take it off the list",
        )
    sha256 = hashes.of(path)
    if sha256 is None:
        raise InputError(
            Reason.SOURCE_MISMATCH,
            f"{where}: {name} is a pipe or a device, expected a recording",
            hint="copy it to a file",
        )
    return sha256


def without_dots(path: Path) -> Path:
    """Return a path as people write it; not to open it: a folder may be a link."""
    return Path(os.path.normpath(path))
