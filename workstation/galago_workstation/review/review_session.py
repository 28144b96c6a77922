"""One review: samples in their order, what was answered, and what may be answered."""

from __future__ import annotations

import contextlib
import datetime
import os
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from galago_edge.contract.errors import CallerError, GalagoError, InputError, Reason
from galago_edge.contract.printable import on_one_line, printable
from galago_workstation.data.class_folders import file_sha256
from galago_workstation.data.listing import check_labels
from galago_workstation.progress_lines import Report
from galago_workstation.review.field_samples import FieldSample, FieldSamples
from galago_workstation.review.proposing_model import ProposingModel
from galago_workstation.review.review_file import ReviewAnswer, ReviewFile
from galago_workstation.review.review_order import RULE, SampleProposal, propose, review_order
from galago_workstation.review.sample_sight import SampleSight

NS_PER_S = 1_000_000_000


class ShownSample(msgspec.Struct, frozen=True, kw_only=True):
    """One sample as the page shows it."""

    id: str
    sha256: str
    proposed: str
    score: float | None
    scores: tuple[tuple[str, float], ...]
    disagrees: bool
    noted: str
    """What the device noted as its label."""
    about: str
    """Device, stream, trigger and time, as far as they are known."""
    pictures: tuple[int, ...]
    """Numbers of the pictures before and after it."""
    sound: int | None
    """Number of the sound around it."""


class ShownAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """An answer that stands."""

    label: str | None


class ShownReview(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that the page needs."""

    sounds: bool
    rule: str
    model: str
    reviewer: str
    out: str
    notes: tuple[str, ...]
    labels: tuple[str, ...]
    samples: tuple[ShownSample, ...]
    answers: dict[int, ShownAnswer]
    """By the number of the sample."""
    undoable: int | None
    """The sample whose answer would be taken back; None too where it is not among these samples."""


class ReviewChange(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one answer."""

    number: int | None
    """Of the sample; None: there was nothing to take back."""
    answer: ShownAnswer | None
    labels: tuple[str, ...]
    answered: int


class ReviewSession:
    """Samples and answers, for a page whose requests come in several threads."""

    def __init__(
        self,
        found: FieldSamples,
        file: ReviewFile,
        model: ProposingModel | None,
        labels: Sequence[str],
        report: Report,
    ) -> None:
        """Look at every sample, ask the model, and put them in order. What cannot be read is left out.

        ``labels``: further ones, beside those of the model and of the samples.

        Raises:
            InputError: LABELS_REPEAT or DATA_BAD; labels that no bundle could hold together. DATA_BAD; no
                sample can be read.
            BundleError: MODEL_BAD.
        """
        self._file = file
        self._model = model
        self.sight = SampleSight(found.sounds, None if model is None else model.frontend)
        self.found = found
        ordered = _ordered(found, model, self.sight, report)
        self.samples = [sample for sample, _ in ordered]
        self.proposals = [proposal for _, proposal in ordered]
        self._numbers = {sample.sha256: number for number, sample in enumerate(self.samples)}
        self.labels = _labels(self.samples, file, model, labels)
        self._lock = threading.Lock()
        file.place({sample.sha256: self._path(sample) for sample in self.samples})

    def shown(self, reviewer: str) -> ShownReview:
        """Return everything that the page needs."""
        with self._lock:
            return ShownReview(
                sounds=self.found.sounds,
                rule=RULE,
                model="" if self._model is None else on_one_line(self._model.name),
                reviewer=on_one_line(reviewer),
                out=on_one_line(str(self._file.folder)),
                notes=tuple(on_one_line(line) for line in self.found.left_out()),
                labels=self.labels,
                samples=tuple(map(_shown, self.samples, self.proposals)),
                answers={
                    number: ShownAnswer(label=self._file.answers[sample.sha256].label)
                    for number, sample in enumerate(self.samples)
                    if sample.sha256 in self._file.answers
                },
                undoable=self._numbers.get(self._file.undoable or ""),
            )

    def answer(self, number: int, sha256: str, label: str | None) -> ReviewChange:
        """Keep what somebody said of a sample; None: it is of no use. It is on the disk when this returns.

        Raises:
            CallerError: USAGE; there is no such sample.
            InputError: DATA_BAD; the file has changed, or the label is none. LABELS_REPEAT.
            LinkError: The disk.
        """
        with self._lock:
            if not 0 <= number < len(self.samples) or self.samples[number].sha256 != sha256:
                text = f"there is no sample {number} with the hash {sha256[:12]}"
                raise CallerError(Reason.USAGE, text, hint="load the page again")
            sample, proposal = self.samples[number], self.proposals[number]
            if file_sha256(sample.path, pictures=not self.found.sounds) != sha256:
                text = f"{sample.id} has changed since it was listed"
                raise InputError(Reason.DATA_BAD, text, hint="end the review and begin it again: it goes on")
            labels = self.labels
            if label is not None and label not in labels:
                labels = (*labels, label)
                _check(labels)
            told = self._file.answer(
                ReviewAnswer(
                    sha256=sha256,
                    path=self._path(sample),
                    label=label,
                    group=sample.group,
                    proposed=proposal.label,
                    score=proposal.score,
                )
            )
            self.labels = labels
            return self._change(number, ShownAnswer(label=told.label))

    def undo(self) -> ReviewChange:
        """Take the last answer back, unless it is about a sample that is not here.

        Raises:
            LinkError: The disk.
        """
        with self._lock:
            number = self._numbers.get(self._file.undoable or "")
            if number is None:
                return self._change(None, None)
            self._file.undo()
            before = self._file.answers.get(self.samples[number].sha256)
            return self._change(number, None if before is None else ShownAnswer(label=before.label))

    def answered(self) -> list[ReviewAnswer]:
        """Return the answers of these samples."""
        standing = self._file.answers
        return [standing[sample.sha256] for sample in self.samples if sample.sha256 in standing]

    def listed(self) -> Iterator[tuple[FieldSample, SampleProposal, bool]]:
        """Yield samples and proposals in their order, and whether they are answered."""
        for sample, proposal in zip(self.samples, self.proposals, strict=True):
            yield sample, proposal, sample.sha256 in self._file.answers

    def summary(self) -> dict[str, object]:
        """Return what came of it, ready for JSON."""
        answers = self.answered()
        labels = Counter(one.label for one in answers if one.label is not None)
        return {
            "out": str(self._file.folder),
            "samples": len(self.samples),
            "answered": len(answers),
            "unusable": sum(one.label is None for one in answers),
            "other_than_proposed": sum(one.label not in (None, one.proposed) for one in answers),
            "labels": dict(sorted(labels.items())),
            "left_out": list(self.found.left_out()),
        }

    def _path(self, sample: FieldSample) -> str:
        return printable(Path(os.path.relpath(sample.path, self._file.folder)).as_posix())

    def _change(self, number: int | None, answer: ShownAnswer | None) -> ReviewChange:
        answered = len(self.answered())
        return ReviewChange(number=number, answer=answer, labels=self.labels, answered=answered)


def _ordered(
    found: FieldSamples, model: ProposingModel | None, sight: SampleSight, report: Report
) -> list[tuple[FieldSample, SampleProposal]]:
    proposals: list[SampleProposal] = []
    with report.track("looking", len(found.samples)) as advance:
        for done, sample in enumerate(tuple(found.samples), 1):
            try:
                raw = sight.raw(sample.path)
            except GalagoError as error:
                found.drop(sample, error)
            else:
                scores = None if model is None else model.scores(raw)
                proposals.append(propose(sample, scores, sigmoid=model is not None and model.sigmoid))
            advance(done)
    if not found.samples:
        raise InputError(
            Reason.DATA_BAD,
            f"no sample can be read: {'; '.join(found.left_out())}",
            hint="fetch the samples from the device again",
        )
    return review_order(found.samples, proposals)


def _labels(
    samples: Sequence[FieldSample], file: ReviewFile, model: ProposingModel | None, more: Sequence[str]
) -> tuple[str, ...]:
    """Return the labels that may be answered: the model's in its order, then all others by their names.

    What a folder or a device calls a sample and no bundle could hold as a label is shown, and not offered.
    """
    own = () if model is None else model.labels
    wanted = {*more, *(one.label for one in file.answers.values() if one.label is not None)}
    labels = (*own, *sorted(wanted - {"", *own}))
    _check(labels)
    came = {sample.said for sample in samples}
    came |= {sample.note.label for sample in samples if sample.note is not None}
    for label in sorted(came - {"", *labels}):
        with contextlib.suppress(InputError):
            _check((*labels, label))
            labels = (*labels, label)
    return (*own, *sorted(set(labels) - {*own}))


def _check(labels: Sequence[str]) -> None:
    def met(error: GalagoError) -> None:
        if error.reason is not Reason.CLASS_SINGLE:  # one alone may be answered: others are trained already
            raise error

    check_labels(labels, "labels of the review", met)


def _shown(sample: FieldSample, proposal: SampleProposal) -> ShownSample:
    sounds = [number for number, path in enumerate(sample.context) if path.suffix == ".wav"]
    return ShownSample(
        id=on_one_line(sample.id),
        sha256=sample.sha256,
        proposed=proposal.label,
        score=proposal.score,
        scores=proposal.scores,
        disagrees=proposal.disagrees,
        noted="" if sample.note is None else sample.note.label,
        about=on_one_line(", ".join(_about(sample))),
        pictures=tuple(number for number, path in enumerate(sample.context) if path.suffix == ".jpg"),
        sound=sounds[0] if sounds else None,
    )


def _about(sample: FieldSample) -> Iterator[str]:
    note = sample.note
    if note is not None:
        yield from filter(None, (note.device, note.stream))
        if note.trigger:
            yield f"kept as {note.trigger}"
        if note.wall_ns:
            moment = datetime.datetime.fromtimestamp(note.wall_ns // NS_PER_S, datetime.UTC)
            yield moment.strftime("%Y-%m-%d %H:%M:%SZ")
