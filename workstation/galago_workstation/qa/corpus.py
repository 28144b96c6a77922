"""A corpus: recordings with what people know of them, by which bundles are judged."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from galago_edge.contract.count_words import count_of
from galago_edge.contract.errors import CallerError, InputError, LinkError, Reason
from galago_edge.contract.modality import Modality
from galago_edge.sources.address import parse_source
from galago_edge.sources.source_kind import Address, split_query
from galago_workstation.progress_lines import Report
from galago_workstation.qa.content_hashes import ContentHashes
from galago_workstation.qa.corpus_manifest import (
    is_manifest,
    read_corpus_manifest,
)
from galago_workstation.qa.corpus_rows import CorpusRecording, CorpusRow, read_rows, without_dots
from galago_workstation.qa.corpus_scan import Scan, holds_pictures, scan_folder
from galago_workstation.qa.label_file import labels_path

_NAMED = 3
"""So many names stand in a note, the others are counted."""


@dataclass(frozen=True, slots=True)
class Corpus:
    """Recordings, each content once, in the order of their names; of a manifest, in its order."""

    name: str
    """As it was given."""
    recordings: tuple[CorpusRecording, ...]
    notes: tuple[str, ...] = ()
    """What was left out and why, one line each."""

    def of_modality(self, modality: Modality) -> Corpus:
        """Return what of it a bundle of this modality can be asked about, with a note about the others.

        A recording of which nobody can read what it holds is not of another modality: it stays, and fails.

        Raises:
            InputError: DATA_BAD; nothing is left.
            GalagoError: A recording cannot be opened.
        """
        fitting = tuple(one for one in self.recordings if _may_give(one.parsed(), modality))
        left_out = [one.name for one in self.recordings if one not in fitting]
        if not fitting:
            raise InputError(
                Reason.DATA_BAD,
                f"{self.name}: none of {count_of(len(self.recordings), 'recording')} is of a {modality}, "
                "which the bundle is for",
                hint="give a corpus of the bundle's modality, or another bundle",
            )
        notes = self.notes
        if left_out:
            notes += (f"not of a {modality}, left out: {_named(left_out)}",)
        return Corpus(self.name, fitting, notes)


def _may_give(address: Address, modality: Modality) -> bool:
    return address.gives(modality) or address.unreadable


def is_corpus(path: Path) -> bool:
    """Tell whether a path is a corpus rather than one recording: a manifest, or a folder without pictures.

    Raises:
        LinkError: The folder cannot be read.
    """
    if path.is_dir():
        return not holds_pictures(path)
    return is_manifest(path) and path.is_file()


def read_corpus(path: Path, *, report: Report | None = None, hashes: ContentHashes | None = None) -> Corpus:
    """Read the corpus that a folder or a manifest is; every recording is read once, for its hash.

    ``report`` shows how far that is; ``hashes`` may know recordings that need not be read again.

    Raises:
        InputError: DATA_BAD; it is empty, or a recording is there twice or is not the one that is listed.
        CallerError: CONFIG_BAD; the manifest has an unknown key, or lists a recording twice.
        LinkError: SOURCE_MISSING; there is no such folder or file, or a listed recording or label file is
            missing. Something cannot be read.
    """
    hashes = hashes or ContentHashes()
    if path.is_dir():
        return _of_folder(path, report, hashes)
    if not path.exists():
        hint = "give a folder of recordings, or a list of them in TOML or CSV: docs/qa-replay.md"
        raise LinkError(Reason.SOURCE_MISSING, f"the corpus {path} does not exist", hint=hint)
    if not is_manifest(path):
        raise CallerError(
            Reason.CONFIG_BAD,
            f"{path} is no corpus, expected a folder, or a list of recordings called .toml or .csv",
            hint="put it into a folder or a list of recordings (docs/qa-replay.md); galago replay takes one",
        )
    return _of_manifest(path, report, hashes)


def corpus_of(
    sources: Sequence[str], *, report: Report | None = None, hashes: ContentHashes | None = None
) -> Corpus:
    """Return the corpus of recordings that are named one by one, as on the command line.

    ``report`` and ``hashes`` as for :func:`read_corpus`.

    Raises:
        GalagoError: As :func:`read_corpus`, and as ``parse_source`` for what is no recording.
    """
    found = []
    for text in sources:
        address = parse_source(text)
        if not address.described.is_path:
            raise CallerError(
                Reason.CONFIG_BAD,
                f"{text} is no file, expected recordings",
                hint="standard input and cameras are taken one at a time",
            )
        path = Path(address.target).absolute()
        if is_corpus(path):
            raise CallerError(
                Reason.CONFIG_BAD,
                f"{text} is a corpus, and others are given beside it",
                hint="give one corpus, or recordings alone",
            )
        found.append((without_dots(path), path, text[len(address.target) + 1 :]))
    common = Path(os.path.commonpath([shown.parent for shown, _, _ in found]))
    listed = [(shown.relative_to(common).as_posix(), path, query, None) for shown, path, query in found]
    hashes = hashes or ContentHashes()
    _refuse_results_among(listed, common, hashes)
    return _hashed("the recordings", listed, report, hashes, where="the call")


def _of_folder(folder: Path, report: Report | None, hashes: ContentHashes) -> Corpus:
    top = folder.absolute()
    scan = scan_folder(top)
    listed = [(_below(top, path), path, "", None) for path in scan.recordings]
    listed.sort(key=lambda row: os.fsencode(row[0]))
    if not listed:
        raise _empty(str(folder), scan)
    _refuse_results_among(listed, top, hashes)
    return _hashed(str(folder), listed, report, hashes, notes=_notes(top, scan))


def _of_manifest(path: Path, report: Report | None, hashes: ContentHashes) -> Corpus:
    folder = path.absolute().parent
    listed = []
    for row in read_corpus_manifest(path):
        # a question mark is a legal file name: the whole text counts when it exists
        text = row.said.path
        target, query = (text, "") if (folder / text).exists() else split_query(text)
        listed.append((target, folder / target, query, row))
    if not listed:
        raise _empty(str(path), Scan())
    _refuse_results_among(listed, folder, hashes)
    inside = without_dots(folder)
    outside = [name for name, where, _, _ in listed if not without_dots(where).is_relative_to(inside)]
    notes = [f"outside the folder of {path.name}: {_named(outside)}"] if outside else []
    return _hashed(str(path), listed, report, hashes, notes=notes)


def _hashed(
    name: str,
    listed: Sequence[CorpusRow],
    report: Report | None,
    hashes: ContentHashes,
    *,
    where: str | None = None,
    notes: Iterable[str] = (),
) -> Corpus:
    """Return the corpus ``name`` of these rows; errors call it ``where``, if not by its name."""
    with hashes.kept():
        found = read_rows(listed, where or name, report, hashes)
    return Corpus(name, tuple(found), (*notes, *hashes.notes()))


def _refuse_results_among(listed: Sequence[CorpusRow], top: Path, hashes: ContentHashes) -> None:
    """Refuse a folder of results among the recordings of a corpus that lies at ``top``.

    Raises:
        CallerError: USAGE; it is ``top``, or one below that holds a recording of it.
    """
    if (results := hashes.folder) is None:
        return
    place = results.resolve()
    if not place.is_relative_to(top.resolve()):
        return
    for name, path, _, _ in listed:
        if path.resolve().is_relative_to(place):
            raise CallerError(
                Reason.USAGE,
                f"the results would lie among recordings: {name} is in {results}, which is to keep them",
                hint="give --results a folder of its own",
            )


def _notes(top: Path, scan: Scan) -> Iterable[str]:
    """Say what of a folder is not used."""
    if scan.hidden:
        yield f"hidden, left out: {_named([_below(top, path) for path in scan.hidden])}"
    if scan.others:
        yield f"no recordings, left out: {_named(sorted(_below(top, path) for path in scan.others))}"
    if scan.written:
        named = _named(sorted(_below(top, path) for path in scan.written))
        yield f"written by Galago, left out: {named}"
    if scan.raw:
        named = _named([_below(top, path) for path in scan.raw])
        yield f"raw samples, whose rate only a list of recordings can say, left out: {named}"
    labelled = {labels_path(path) for path in scan.recordings}
    if strays := [_below(top, path) for path in scan.labels if path not in labelled]:
        yield f"labels without a recording, left out: {_named(strays)}"


def _below(top: Path, path: Path) -> str:
    """Return a recording's name; that of a corpus which is one recording is its folder's."""
    return path.relative_to(top).as_posix() if path != top else top.name


def _named(names: Sequence[str]) -> str:
    more = len(names) - _NAMED
    return f"{len(names)} ({', '.join(names[:_NAMED])}{f' and {more} more' if more > 0 else ''})"


def _empty(where: str, scan: Scan) -> InputError:
    met = scan.hidden + scan.others + scan.written + scan.raw
    also = f"; {_named([path.name for path in met])} there are none" if met else ""
    return InputError(
        Reason.DATA_BAD,
        f"{where} holds no recordings{also}",
        hint="a recording is a video, a sound file or a folder of images: docs/qa-replay.md",
    )
