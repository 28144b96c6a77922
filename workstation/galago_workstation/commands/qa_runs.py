"""How the commands of ``galago qa`` get replays: from a run that is there, or by replaying a corpus."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from galago_edge.commands.cli import say, show_error
from galago_edge.contract.errors import CallerError, Reason

if TYPE_CHECKING:
    from galago_edge.bundle import Bundle
    from galago_workstation.qa.content_hashes import ContentHashes
    from galago_workstation.qa.corpus import Corpus
    from galago_workstation.qa.corpus_replay import CorpusReplay
    from galago_workstation.qa.recording_place import RecordingPlace
    from galago_workstation.qa.replayed import Replayed, TruthList

RESULTS = Path("galago-results")
"""Where results of replays are kept, unless somebody says otherwise."""


@dataclass(slots=True)
class Replaying:
    """Gets replays, and remembers what could not be replayed."""

    trusted: tuple[Path, ...]
    results: Path
    jobs: int | None
    scheduler: str | None
    as_json: bool
    rehash: bool = False
    """Whether recordings are read that are as when they were hashed."""
    exit_code: int = 0
    """Not 0 when a recording has no result."""
    places: dict[str, RecordingPlace] = field(default_factory=dict)
    """Where the recordings lie that were asked about, by their SHA-256."""
    _told: set[str] = field(default_factory=set)
    _corpora: dict[Path, Corpus] = field(default_factory=dict)
    """Two bundles meet the same corpus, which is read once."""

    def of(self, place: Path, bundle: Path | None) -> list[Replayed]:
        """Return the replays of a run, or of a corpus with a bundle.

        Raises:
            CallerError: USAGE; a corpus without a bundle, or a run with one.
            GalagoError: See ``read_run``, ``read_corpus`` and ``replay_corpus``.
        """
        from galago_workstation.qa.replay_run import RUN, read_run

        if not (place / RUN).is_file():
            if bundle is None:
                text = f"{place} is no run, and nobody says which bundle it is to be replayed with"
                raise CallerError(
                    Reason.USAGE, text, hint="give --bundle BUNDLE, or a folder of galago replay --out"
                )
            return self.replayed(self.corpus(place), bundle)
        if bundle is not None:
            text = f"{place} is a run, which has its bundle, and --bundle is given too"
            raise CallerError(Reason.USAGE, text, hint="leave --bundle out, or give the corpus")
        from galago_workstation.qa.recording_place import places_of_run

        found, missing = read_run(place, read_truth)
        self.places |= places_of_run(place)
        for name in missing:
            self._tell(f"{place}: {name} has no result and is not judged")
            self.exit_code = 1
        for faults in sorted({one.faults for one in found if one.faults}):
            self._tell(f"{place}: replayed with faults ({faults[:12]}), which its figures are of")
        return found

    def one(self, recording: str, bundle: Path) -> Replayed:
        """Return the replay of one recording.

        Raises:
            GalagoError: It cannot be replayed.
        """
        found = self._replay(self.single(recording), self._opened(bundle))
        (only,) = found.replays
        if only.stored is None and only.error is not None:
            raise only.error
        return self._judged(found)[0]

    def single(self, recording: str) -> Corpus:
        """Return the corpus of one recording, which is read once, for its hash.

        Raises:
            GalagoError: See ``corpus_of``.
        """
        from galago_workstation.progress_lines import command_report
        from galago_workstation.qa.corpus import corpus_of

        self._check_results()
        report = command_report(self.note, as_json=self.as_json)
        return corpus_of([recording], report=report, hashes=self._hashes())

    def _opened(self, bundle: Path) -> Bundle:
        from galago_edge.commands.options import opened_bundle

        return opened_bundle(bundle, self.trusted)

    def corpus(self, place: Path) -> Corpus:
        """Read a corpus; every recording is read once, for its hash.

        Raises:
            GalagoError: See ``read_corpus``.
        """
        from galago_workstation.progress_lines import command_report
        from galago_workstation.qa.corpus import read_corpus

        if place not in self._corpora:
            self._check_results()
            report = command_report(self.note, as_json=self.as_json)
            self._corpora[place] = read_corpus(place, report=report, hashes=self._hashes())
        return self._corpora[place]

    def _check_results(self) -> None:
        """Refuse a folder of results that cannot be written, before a corpus is read.

        Raises:
            GalagoError: See ``check_outputs``.
        """
        from galago_edge.commands.output_places import check_outputs

        check_outputs({}, {"--results": self.results})

    def _hashes(self) -> ContentHashes:
        from galago_workstation.qa.content_hashes import ContentHashes

        return ContentHashes(self.results, reread=self.rehash)

    def replayed(self, corpus: Corpus, bundle: Path) -> list[Replayed]:
        """Return the replays of the recordings that are of the bundle's kind.

        Raises:
            GalagoError: See ``replay_corpus``; a file of labels cannot be used.
        """
        opened = self._opened(bundle)
        fitting = corpus.of_modality(opened.modality)
        for one in fitting.recordings:  # before hours of replaying; where it ends nobody knows yet
            if one.labels is not None:
                _check_labels(one.labels, one.sha256)
        return self._judged(self._replay(fitting, opened))

    def _replay(self, corpus: Corpus, bundle: Bundle) -> CorpusReplay:
        from galago_workstation.progress_lines import command_report
        from galago_workstation.qa.corpus_replay import ReplayPlan, replay_corpus

        plan = ReplayPlan(jobs=self.jobs, scheduler=self.scheduler)
        report = command_report(self.note, as_json=self.as_json)
        return replay_corpus(corpus, bundle, self.results, plan, report=report)

    def _judged(self, found: CorpusReplay) -> list[Replayed]:
        from galago_workstation.qa.recording_place import places_of
        from galago_workstation.qa.replay_run import run_of

        self.places |= places_of(found)
        for one in found.replays:
            if one.error is not None:
                show_error(one.error, f"{one.recording.name}: ")
                if one.stored is None:
                    self.exit_code = max(self.exit_code, one.error.exit_code)
        for note in found.notes:
            self._tell(note)
        return run_of(found, read_truth)

    @staticmethod
    def note(line: str) -> None:
        """Say what is not the answer, which may be read by a program."""
        say(line, err=True)

    def _tell(self, note: str) -> None:
        """Say something once: two bundles meet the same corpus."""
        if note not in self._told:
            self._told.add(note)
            say(note, err=True)


def _check_labels(path: Path, sha256: str) -> None:
    """Refuse a file of labels that nothing can be judged by.

    Raises:
        GalagoError: See ``read_labels``.
    """
    from galago_workstation.qa.label_file import read_labels

    read_labels(path, sha256=sha256)


def read_truth(path: Path, sha256: str, duration_ns: int) -> TruthList:
    """Return what a file of labels says of a recording.

    Raises:
        GalagoError: See ``read_labels``.
    """
    from galago_workstation.qa.label_file import read_labels

    return read_labels(path, sha256=sha256, duration_ns=duration_ns).truth
