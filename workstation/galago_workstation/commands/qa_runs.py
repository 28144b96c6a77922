"""How the commands of ``galago qa`` get replays: from a run that is there, or by replaying a corpus."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from galago_edge.commands.cli import read_in_part_line, say, show_error
from galago_edge.contract.count_words import count_of
from galago_edge.contract.errors import CallerError, Reason

if TYPE_CHECKING:
    from galago_edge.bundle import Bundle
    from galago_edge.contract.manifest import Label
    from galago_workstation.qa.content_hashes import ContentHashes
    from galago_workstation.qa.corpus import Corpus
    from galago_workstation.qa.corpus_replay import CorpusReplay
    from galago_workstation.qa.recording_losses import RecordingLoss, RecordingLosses
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
    more_labels: Sequence[Label] | None = ()
    """Labels that a truth may have beside the bundle's own; None: any, for what else it says is left out."""
    asked: str | None = None
    """The one recording that is asked about, or None: whoever asks raises its failure, which is not told
    before, and of no other it is told that it was read in part."""
    places: dict[str, RecordingPlace] = field(default_factory=dict)
    """Where the recordings lie that were asked about, by their SHA-256."""
    _losses: RecordingLosses | None = None
    _bundles: dict[Path, Bundle] = field(default_factory=dict)
    _told: set[str] = field(default_factory=set)
    _corpora: dict[Path, Corpus] = field(default_factory=dict)
    """Two bundles meet the same corpus, which is read once."""

    @property
    def losses(self) -> RecordingLosses:
        """What failed, and what was read in part, of everything that was asked for so far."""
        from galago_workstation.qa.recording_losses import RecordingLosses

        return self._losses or RecordingLosses()

    @property
    def exit_code(self) -> int:
        """That of the recording that fared worst; 0 when none failed."""
        return self.losses.exit_code

    def of(self, place: Path, bundle: Path | None) -> list[Replayed]:
        """Return the replays of a run, or of a corpus with a bundle, that can be judged.

        Raises:
            CallerError: USAGE; a corpus without a bundle, or a run with one.
            GalagoError: See ``read_run``, ``read_corpus`` and ``replay_corpus``. Every recording failed.
        """
        from galago_workstation.qa.replay_run import RUN, read_run

        if not (place / RUN).is_file():
            if bundle is None:
                text = f"{place} is no run, and nobody says which bundle it is to be replayed with"
                raise CallerError(
                    Reason.USAGE, text, hint="give --bundle BUNDLE, or a folder of galago replay --out"
                )
            corpus, opened = self.corpus(place), self.opened(bundle)
            if self.more_labels is not None:  # before hours of replaying
                known = (*opened.manifest.labels, *self.more_labels)
                self._refuse_unknown_truths(corpus.of_modality(opened.modality), known)
            return self.replayed(corpus, bundle)
        if bundle is not None:
            text = f"{place} is a run, which has its bundle, and --bundle is given too"
            raise CallerError(Reason.USAGE, text, hint="leave --bundle out, or give the corpus")
        from galago_workstation.qa.recording_place import places_of_run

        found, missing = read_run(place, read_truth)
        self.places |= places_of_run(place)
        for faults in sorted({one.faults for one in found if one.faults}):
            self._tell(f"{place}: replayed with faults ({faults[:12]}), which its figures are of")
        return self._judgeable(found, missing)

    def one(self, recording: str, bundle: Path) -> Replayed:
        """Return the replay of one recording.

        Raises:
            GalagoError: It cannot be replayed.
        """
        return self._judged(self._replay(self.single(recording), self.opened(bundle)))[0]

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

    def opened(self, bundle: Path) -> Bundle:
        """Open a bundle, once, as ``opened_bundle`` does.

        Raises:
            GalagoError: See ``opened_bundle``.
        """
        from galago_edge.commands.options import opened_bundle

        if bundle not in self._bundles:
            self._bundles[bundle] = opened_bundle(bundle, self.trusted)
        return self._bundles[bundle]

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
        opened = self.opened(bundle)
        fitting = corpus.of_modality(opened.modality)
        for one in fitting.recordings:  # before hours of replaying; where it ends nobody knows yet
            if one.labels is not None:
                _check_labels(one.labels, one.sha256)
        return self._judged(self._replay(fitting, opened))

    def refuse_unknown_label(self, bundle: Path, names: Iterable[str]) -> None:
        """Refuse labels that a bundle does not have, before hours of replaying.

        Raises:
            InputError: LABELS_MISMATCH.
            GalagoError: The bundle cannot be opened.
        """
        from galago_workstation.qa.redecision import refuse_no_label

        for name in names:
            refuse_no_label(name, self.opened(bundle).manifest.labels, bundle.name)

    @staticmethod
    def _refuse_unknown_truths(corpus: Corpus, labels: Sequence[Label]) -> None:
        """Refuse a truth of a label that nothing can find.

        Raises:
            InputError: LABELS_MISMATCH.
            GalagoError: A file of labels cannot be used.
        """
        from galago_workstation.qa.label_file import read_labels
        from galago_workstation.qa.label_rows import refuse_unknown

        for one in corpus.recordings:
            if one.labels is not None:
                truth = read_labels(one.labels, sha256=one.sha256).truth
                refuse_unknown(truth, labels, name=f"labels of {one.name}")

    def _replay(self, corpus: Corpus, bundle: Bundle) -> CorpusReplay:
        from galago_workstation.progress_lines import command_report
        from galago_workstation.qa.corpus_replay import ReplayPlan, replay_corpus

        plan = ReplayPlan(jobs=self.jobs, scheduler=self.scheduler)
        report = command_report(self.note, as_json=self.as_json)
        return replay_corpus(corpus, bundle, self.results, plan, report=report)

    def _judged(self, found: CorpusReplay) -> list[Replayed]:
        from galago_workstation.qa.recording_losses import RecordingLoss
        from galago_workstation.qa.recording_place import places_of
        from galago_workstation.qa.replay_run import run_of

        self.places |= places_of(found)
        for note in found.notes:
            self._tell(note)
        missing = [
            RecordingLoss.of(one.recording.name, one.error, sha256=one.recording.sha256)
            for one in found.replays
            if one.stored is None and one.error is not None
        ]
        return self._judgeable(run_of(found, read_truth), missing)

    def _judgeable(self, found: Sequence[Replayed], missing: Sequence[RecordingLoss]) -> list[Replayed]:
        """Return what can be judged; tell and count the rest, and what was read in part.

        Raises:
            GalagoError: Nothing can; that of the recording that fared worst.
        """
        from galago_workstation.qa.recording_losses import RecordingLosses

        kept = [one for one in found if not one.failed]
        failed = (*missing, *(one.loss for one in found if one.failed and one.loss is not None))
        in_part = tuple(one.loss for one in kept if one.loss is not None)
        self._losses = self.losses | RecordingLosses(failed=failed, read_in_part=in_part)
        if failed and not kept:
            worst = max(failed, key=lambda loss: loss.exit)
            told = f"none of {count_of(len(failed), 'recording')} can be judged; "
            raise worst.error(told if len(failed) > 1 else "")
        for loss in failed:
            if str(loss.error()) not in self._told and loss.recording != self.asked:
                self._told.add(str(loss.error()))
                show_error(loss.error())
        for loss in in_part:
            if self.asked not in (None, loss.recording):
                continue
            self._tell(read_in_part_line(loss.error()))
        return kept

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


def read_truth(path: Path, sha256: str, duration_ns: int | None) -> TruthList:
    """Return what a file of labels says of a recording.

    Raises:
        GalagoError: See ``read_labels``.
    """
    from galago_workstation.qa.label_file import read_labels

    return read_labels(path, sha256=sha256, duration_ns=duration_ns).truth
