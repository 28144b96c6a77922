"""Whether a replay of today is the golden one, as exactly as the tier asks for."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from galago_edge.contract.count_words import count_of, noun_of
from galago_edge.contract.errors import InputError, Reason
from galago_edge.contract.manifest import Label
from galago_workstation.qa.baseline import BaselineEvent
from galago_workstation.qa.corpus import Corpus
from galago_workstation.qa.event_fragility import EventPlace, LabelMargin, fragile_of
from galago_workstation.qa.event_matching import match_moments
from galago_workstation.qa.exactness_tiers import (
    T1_BEYOND,
    T1_FEW_STEPS,
    T1_STEPS,
    T2_STEPS,
    OutputSteps,
    Tier,
    TierChoice,
)
from galago_workstation.qa.golden_difference import (
    ENDING,
    StageDifference,
    ending_text,
    event_text,
    first_stage,
)
from galago_workstation.qa.golden_file import GoldenFile, GoldenRecording
from galago_workstation.qa.golden_replay import FreshReplay
from galago_workstation.qa.release_verdict import Stance
from galago_workstation.qa.replay_job import ordered_query
from galago_workstation.qa.valid_time import hop_ns

_DECODED = ("items", "decoded")
"""What decoders give."""
_OWN = ("tensors", "scores", "smoothed", "events", ENDING)
"""What Galago alone computes, in integers: from equal input comes equal output on every machine."""
_SHOWN_LABELS = 12


@dataclass(frozen=True, slots=True)
class StepTally:
    """How far int8 outputs lie from the golden ones."""

    outputs: int = 0
    """Compared: one for each label and run."""
    most: int = 0
    """The largest distance in quantization steps."""
    beyond: int = 0
    """Outputs further away than ``T1_FEW_STEPS``."""

    def __add__(self, other: StepTally) -> StepTally:
        """Return that of both."""
        return StepTally(self.outputs + other.outputs, max(self.most, other.most), self.beyond + other.beyond)

    @property
    def beyond_allowed(self) -> int:
        """So many may be further away at T1."""
        return max(1, int(self.outputs * T1_BEYOND))


@dataclass(frozen=True, slots=True)
class RecordingFinding:
    """One recording against its golden."""

    recording: str
    first: StageDifference | None
    """None: every stage is equal to the byte."""
    broken: tuple[str, ...] = ()
    """What the tier does not allow, in words; empty: it holds."""
    fragile: tuple[str, ...] = ()
    """Events that are different and may be, in words."""
    steps: StepTally = field(default_factory=StepTally)


@dataclass(frozen=True, slots=True)
class GoldenFinding:
    """A golden, verified."""

    golden: str
    """As it was given."""
    choice: TierChoice
    recordings: tuple[RecordingFinding, ...] = ()
    broken: tuple[str, ...] = ()
    """Of all recordings together."""

    @property
    def stance(self) -> Stance:
        """``inconclusive`` where nothing compares."""
        if self.choice.tier is Tier.T3:
            return Stance.INCONCLUSIVE
        wrong = self.broken or any(one.broken for one in self.recordings)
        return Stance.FAIL if wrong else Stance.PASS


def check_corpus(golden: GoldenFile, name: str, corpus: Corpus) -> None:
    """Refuse a corpus that does not hold the golden's recordings, each of them and no other.

    Raises:
        InputError: SOURCE_MISMATCH; one is missing, was changed, or is not in the golden.
    """
    here = {(one.sha256, ordered_query(one.query)): one.name for one in corpus.recordings}
    known = {one.key for one in golden.recordings}
    names = set(here.values())
    missing = [one for one in golden.recordings if one.key not in here]
    changed = [one.recording for one in missing if one.recording in names]
    gone = [one.recording for one in missing if one.recording not in names]
    new = [each for key, each in here.items() if key not in known and each not in changed]
    parts = [
        f"{word} {', '.join(found[:3])}{f' and {len(found) - 3} more' if len(found) > 3 else ''}"
        for word, found in (("changed:", changed), ("missing:", gone), ("not in the golden:", new))
        if found
    ]
    if parts:
        raise InputError(
            Reason.SOURCE_MISMATCH,
            f"{corpus.name} does not hold the recordings of {name}: {'; '.join(parts)}",
            hint="bring the recordings back, or record the golden again: galago qa golden rerecord",
        )


def check_labels(golden: GoldenFile, name: str, labels: Sequence[Label]) -> None:
    """Refuse a bundle whose outputs are not those of the golden's labels.

    Raises:
        InputError: LABELS_MISMATCH.
    """
    if golden.labels != tuple(one.name for one in labels):
        raise InputError(
            Reason.LABELS_MISMATCH,
            f"{name} is of the labels {', '.join(golden.labels[:_SHOWN_LABELS])}, the bundle has "
            f"{', '.join(one.name for one in labels[:_SHOWN_LABELS])}",
            hint="verify it with a bundle of the same labels, in the same order",
        )


def compare_golden(
    golden: GoldenFile, name: str, fresh: Sequence[FreshReplay], choice: TierChoice, steps: OutputSteps
) -> GoldenFinding:
    """Compare what was replayed with the golden; :func:`check_corpus` has passed.

    Raises:
        InputError: A replay has no scores.
    """
    expected = {one.key: one for one in golden.recordings}
    found = tuple(
        compare_recording(expected[one.said.key], one, choice.tier, steps, len(golden.labels))
        for one in fresh
    )
    total = sum((one.steps for one in found), StepTally())
    broken: tuple[str, ...] = ()
    if choice.tier is Tier.T1 and total.beyond > total.beyond_allowed:
        broken = (
            f"{total.beyond} of {count_of(total.outputs, 'output')} {noun_of(total.beyond, 'is', 'are')} "
            f"more than {T1_FEW_STEPS} steps off, {total.beyond_allowed} may be",
        )
    return GoldenFinding(name, choice, found, broken)


def compare_recording(
    expected: GoldenRecording, fresh: FreshReplay, tier: Tier, steps: OutputSteps, labels: int
) -> RecordingFinding:
    """Compare one recording.

    Raises:
        InputError: The replay has no scores.
    """
    found = fresh.said
    first = first_stage(expected, fresh, labels)
    if first is None:
        return RecordingFinding(found.recording, None)
    wrong = []
    if _must_be_equal(first.stage, tier, same_windows=expected.skipped == found.skipped):
        wrong.append(f"{first.stage} must be equal to the byte")
    if expected.failure != found.failure:
        wrong.append(f"it ended with {ending_text(found)}, {ending_text(expected)} is expected")
    if tier is Tier.T0:
        return RecordingFinding(found.recording, first, tuple(wrong))
    tally = _tally(expected, found, labels)
    if tier is Tier.T1 and tally.most > T1_STEPS:
        wrong.append(f"outputs are up to {tally.most} steps off, {T1_STEPS} may be")
    off_by = T1_STEPS if tier is Tier.T1 else T2_STEPS
    unlike, fragile = compare_events(expected.events, fresh, steps, off_by)
    return RecordingFinding(found.recording, first, (*wrong, *unlike), tuple(fragile), tally)


def _must_be_equal(stage: str, tier: Tier, *, same_windows: bool) -> bool:
    """Tell whether the first stage that differs may not, at this tier."""
    if tier is Tier.T0:
        return True
    if stage == "tensors" and not same_windows:  # other outputs moved the gate: the model was asked elsewhere
        return False
    return stage in _OWN or (tier is Tier.T1 and stage in _DECODED)


def _tally(expected: GoldenRecording, found: GoldenRecording, labels: int) -> StepTally:
    """Compare the outputs of the windows that the model was run on both times."""
    _, one, other = np.intersect1d(expected.runs(), found.runs(), assume_unique=True, return_indices=True)
    steps = np.abs(expected.outputs(labels)[one].astype(np.int16) - found.outputs(labels)[other])
    return StepTally(steps.size, int(steps.max(initial=0)), int(np.count_nonzero(steps > T1_FEW_STEPS)))


def compare_events(
    expected: Sequence[BaselineEvent], fresh: FreshReplay, steps: OutputSteps, off_by: int
) -> tuple[list[str], list[str]]:
    """Return which events are different, in words: those that may not be, and the fragile ones that may.

    An event is the same when one of its label was decided at most one hop away, one to one, and, where it was
    decided at the same moment, with a score that ``off_by`` steps of the outputs can explain.

    Raises:
        InputError: The replay has no scores.
    """
    sides: dict[str, tuple[list[BaselineEvent], list[BaselineEvent]]] = defaultdict(lambda: ([], []))
    for side, events in enumerate((expected, fresh.said.events)):
        for event in sorted(events, key=lambda one: one.end_ns):
            sides[event.label][side].append(event)
    broken: list[tuple[int, str]] = []
    fragile: list[tuple[int, str]] = []
    labels = {label.name: label for label in fresh.replayed.labels}
    for name, (olds, news) in sides.items():
        margin = LabelMargin(fresh.replayed, labels[name], steps, off_by)
        pairs = match_moments(
            [one.end_ns for one in olds], [one.end_ns for one in news], hop_ns(fresh.replayed)
        )
        paired = {row for row, _ in pairs}, {column for _, column in pairs}
        alone = [(one, "lost") for at, one in enumerate(olds) if at not in paired[0]]
        alone += [(one, "gained") for at, one in enumerate(news) if at not in paired[1]]
        places = [EventPlace(one.start_ns, one.end_ns) for one, _ in alone]
        both = [
            EventPlace(one.start_ns, one.end_ns) for row, column in pairs for one in (olds[row], news[column])
        ]
        for (event, word), weak in zip(alone, fragile_of(margin, places, both), strict=True):
            (fragile if weak else broken).append((event.end_ns, f"{word}: {event_text(event)}"))
        for row, column in pairs:
            old, new = olds[row], news[column]
            if old.end_ns == new.end_ns and not margin.allows(old.end_ns, old.score):
                broken.append((old.end_ns, f"rescored: {event_text(old)}, now {new.score:g}"))
    return [text for _, text in sorted(broken)], [text for _, text in sorted(fragile)]
