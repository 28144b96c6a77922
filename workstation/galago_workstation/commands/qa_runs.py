"""How the commands of ``galago qa`` get replays: from a run that is there, or by replaying a corpus."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from galago_edge.commands.cli import say, show_error
from galago_edge.contract.errors import CallerError, Reason

if TYPE_CHECKING:
    from galago_edge.bundle import Bundle
    from galago_workstation.qa.corpus import Corpus
    from galago_workstation.qa.corpus_replay import CorpusReplay
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
    exit_code: int = 0
    """Not 0 when a recording has no result."""
    _told: set[str] = field(default_factory=set)

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
            return self._replayed(self._corpus(place), self._opened(bundle))
        if bundle is not None:
            text = f"{place} is a run, which has its bundle, and --bundle is given too"
            raise CallerError(Reason.USAGE, text, hint="leave --bundle out, or give the corpus")
        found, missing = read_run(place, read_truth)
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
        from galago_workstation.progress_lines import command_report
        from galago_workstation.qa.corpus import corpus_of

        corpus = corpus_of([recording], report=command_report(self._note, as_json=self.as_json))
        found = self._replay(corpus, self._opened(bundle))
        (only,) = found.replays
        if only.stored is None and only.error is not None:
            raise only.error
        return self._judged(found)[0]

    def _opened(self, bundle: Path) -> Bundle:
        from galago_edge.commands.options import opened_bundle

        return opened_bundle(bundle, self.trusted)

    def _corpus(self, place: Path) -> Corpus:
        from galago_workstation.progress_lines import command_report
        from galago_workstation.qa.corpus import read_corpus

        return read_corpus(place, report=command_report(self._note, as_json=self.as_json))

    def _replayed(self, corpus: Corpus, bundle: Bundle) -> list[Replayed]:
        return self._judged(self._replay(corpus.of_modality(bundle.modality), bundle))

    def _replay(self, corpus: Corpus, bundle: Bundle) -> CorpusReplay:
        from galago_workstation.progress_lines import command_report
        from galago_workstation.qa.corpus_replay import ReplayPlan, replay_corpus

        plan = ReplayPlan(jobs=self.jobs, scheduler=self.scheduler)
        report = command_report(self._note, as_json=self.as_json)
        return replay_corpus(corpus, bundle, self.results, plan, report=report)

    def _judged(self, found: CorpusReplay) -> list[Replayed]:
        from galago_workstation.qa.replay_run import run_of

        for one in found.replays:
            if one.error is not None:
                show_error(one.error, f"{one.recording.name}: ")
                if one.stored is None:
                    self.exit_code = max(self.exit_code, one.error.exit_code)
        for note in found.notes:
            self._tell(note)
        return run_of(found, read_truth)

    @staticmethod
    def _note(line: str) -> None:
        """Progress is not the answer, which may be read by a program."""
        say(line, err=True)

    def _tell(self, note: str) -> None:
        """Say something once: two bundles meet the same corpus."""
        if note not in self._told:
            self._told.add(note)
            say(note, err=True)


def read_truth(path: Path, sha256: str, duration_ns: int) -> TruthList:
    """Return what a file of labels says of a recording.

    Raises:
        GalagoError: See ``read_labels``.
    """
    from galago_workstation.qa.label_file import read_labels

    return read_labels(path, sha256=sha256, duration_ns=duration_ns).truth
