"""``galago qa score``: what a bundle is worth on recordings that somebody has labelled.

Every result says by which rule events count, over which time, and with which refractory times: a rate without
these means nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

import msgspec

from galago_edge.contract.count_words import count_of
from galago_edge.contract.errors import CallerError, InputError, Reason
from galago_edge.contract.known_names import known_names
from galago_edge.contract.manifest import Label
from galago_workstation.qa.det_curve import DetCurve, det_curve
from galago_workstation.qa.judged_recording import JudgedRecording, deciding, judge, refuse_mixed
from galago_workstation.qa.label_score import ALL, LabelScore, label_score, watched_by
from galago_workstation.qa.matching import MatchingRule
from galago_workstation.qa.recording_losses import RecordingLosses
from galago_workstation.qa.replayed import Replayed
from galago_workstation.qa.segment_measures import SegmentCounts, segment_counts
from galago_workstation.qa.valid_time import WatchedTime
from galago_workstation.qa.window_measures import WindowMeasures, window_measures
from galago_workstation.qa.window_truth import labelled_windows

NOTHING, MISSED = "(nothing)", "(missed)"
"""What was there when nothing was; what was said when nothing was."""


class StatedRule(msgspec.Struct, frozen=True, kw_only=True):
    """The matching rule in words and numbers."""

    text: str
    pre_ns: int
    post_ns_least: int
    post_ns_most: int
    """Over the recordings; both are the same when ``post`` was given, or all have one hop."""
    most_delay_ns: int | None = None
    """Bound on the delay; None: none but ``post``."""
    refractory_ms: dict[str, int]
    """By label: for so long after an event it gives no other. It decides how many false alarms there are."""


class GroupScore(msgspec.Struct, frozen=True, kw_only=True):
    """The figures of some recordings."""

    recordings: int
    without_events: int
    """Recordings in which nothing is to be found: they count for false alarms alone."""
    watched: WatchedTime
    total: LabelScore
    labels: tuple[LabelScore, ...]


class SegmentMeasures(msgspec.Struct, frozen=True, kw_only=True):
    """Activity in segments of one second."""

    counts: SegmentCounts
    error_rate: float | None
    f1_micro: float | None
    f1_macro: float | None


class EventConfusion(msgspec.Struct, frozen=True, kw_only=True):
    """What was there, down, and what was said, across."""

    truths: tuple[str, ...]
    """The labels, and ``(nothing)``."""
    told: tuple[str, ...]
    """The labels, and ``(missed)``."""
    counts: tuple[tuple[int, ...], ...]


class CorpusScore(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that is known of one bundle on one corpus."""

    v: int = 1
    bundle: str
    rule: StatedRule
    overall: GroupScore
    unlabelled: tuple[str, ...]
    """Recordings that nobody has labelled: they are not in any figure."""
    confusion: EventConfusion
    segments: SegmentMeasures
    windows: WindowMeasures
    by_recording: dict[str, GroupScore]
    by_tag: dict[str, dict[str, GroupScore]]
    """By the tag's name and value; recordings without the tag are under an empty value."""
    det: tuple[DetCurve, ...] = ()
    losses: RecordingLosses = RecordingLosses()
    """What failed and is in no figure, and what was read in part."""


def score(
    replays: Sequence[Replayed],
    rule: MatchingRule,
    *,
    claim_per_hour: float | None = None,
    det: Sequence[str] | None = (),
    losses: RecordingLosses | None = None,
) -> CorpusScore:
    """Judge a bundle by its replays of a corpus.

    Args:
        replays: By one bundle, each recording once. Those without truth are named and not counted.
        rule: When an event counts for a truth.
        claim_per_hour: A rate of false alarms that somebody wants to claim to stay below.
        det: Labels whose curve over all thresholds is wanted; None: all.
        losses: What of the corpus failed and is not among the replays, and what was read in part.

    Raises:
        CallerError: USAGE; no recording is labelled, or there are several bundles. TARGET_UNKNOWN; ``det``
            names no label.
        InputError: DATA_BAD; a recording is there twice, or nothing of the corpus was watched.
            LABELS_MISMATCH; a truth has a label that the bundle does not have.
    """
    labels = _labels(replays)
    labelled = [replayed for replayed in replays if replayed.truth is not None]
    wanted = [label.name for label in labels] if det is None else det
    for name in wanted:
        if name not in [label.name for label in labels]:
            text = f"no label {name!r} can become an event"
            raise CallerError(
                Reason.TARGET_UNKNOWN, text, hint=known_names(name, [label.name for label in labels])
            )
    judged = [judge(replayed, rule) for replayed in labelled]
    if not watched_by(ALL, judged).valid_ns:
        labelled_ones = count_of(len(judged), "labelled recording")
        text = f"of {labelled_ones} no moment is valid, expected time that is judged"
        hint = "gaps, warm-up and stretches to be ignored fill it: give longer recordings"
        raise InputError(Reason.DATA_BAD, text, hint=hint)
    segments = sum((segment_counts(one) for one in judged), start=SegmentCounts())
    return CorpusScore(
        bundle=replays[0].bundle,
        rule=_stated(rule, judged, labels),
        overall=_group(judged, labels, claim_per_hour),
        unlabelled=tuple(sorted(one.recording for one in replays if one.truth is None)),
        confusion=_confusion(judged, labels),
        segments=SegmentMeasures(
            counts=segments,
            error_rate=segments.error_rate,
            f1_micro=segments.f1_micro,
            f1_macro=segments.f1_macro,
        ),
        windows=window_measures(
            [labelled_windows(one) for one in labelled], [label.name for label in replays[0].labels]
        ),
        by_recording={
            name: _group(group, labels, None)
            for name, group in _grouped(judged, lambda one: one.replayed.recording).items()
        },
        by_tag={
            tag: {value: _group(group, labels, None) for value, group in _by_tag(judged, tag).items()}
            for tag in sorted({tag for one in labelled for tag in one.tags})
        },
        det=tuple(det_curve(labelled, name, rule) for name in wanted),
        losses=losses or RecordingLosses(),
    )


def _labels(replays: Sequence[Replayed]) -> list[Label]:
    """Return the labels that can become events, of replays that may be judged together."""
    if not any(replayed.truth is not None for replayed in replays):
        text = f"none of {count_of(len(replays), 'recording')} has labels, expected one at least"
        raise CallerError(Reason.USAGE, text, hint="put a .labels.tsv beside a recording: galago qa labels")
    refuse_mixed(replays)
    return deciding(replays[0].labels)


def _group(
    judged: Sequence[JudgedRecording], labels: Sequence[Label], claim_per_hour: float | None
) -> GroupScore:
    return GroupScore(
        recordings=len(judged),
        without_events=sum(not one.truths for one in judged),
        watched=watched_by(ALL, judged),
        total=label_score(ALL, judged, claim_per_hour=claim_per_hour),
        labels=tuple(label_score(label.name, judged, claim_per_hour=claim_per_hour) for label in labels),
    )


def _grouped(
    judged: Sequence[JudgedRecording], key: Callable[[JudgedRecording], str]
) -> dict[str, list[JudgedRecording]]:
    found: dict[str, list[JudgedRecording]] = {}
    for one in sorted(judged, key=key):
        found.setdefault(key(one), []).append(one)
    return found


def _by_tag(judged: Sequence[JudgedRecording], tag: str) -> dict[str, list[JudgedRecording]]:
    return _grouped(judged, lambda one: one.replayed.tags.get(tag, ""))


def _stated(rule: MatchingRule, judged: Sequence[JudgedRecording], labels: Sequence[Label]) -> StatedRule:
    posts = [one.grounds.rule.post_ns for one in judged]
    post = "receptive field and one hop" if rule.post_ns is None else f"{rule.post_ns / 1e9:g} s"
    span = f"from {rule.pre_ns / 1e9:g} s before the onset to {post} behind the end"
    if rule.most_delay_ns is not None:
        span += f", {rule.most_delay_ns / 1e9:g} s behind the onset at most"
    return StatedRule(
        text=(f"same label, decided {span}; one to one, as many as can be, and of these the soonest"),
        pre_ns=rule.pre_ns,
        most_delay_ns=rule.most_delay_ns,
        post_ns_least=min(posts),
        post_ns_most=max(posts),
        refractory_ms={label.name: label.policy.refractory_ms for label in labels},
    )


def _confusion(judged: Sequence[JudgedRecording], labels: Sequence[Label]) -> EventConfusion:
    names = [label.name for label in labels]
    counts: Counter[tuple[str, str]] = Counter()
    for recording in judged:
        for one in recording.events:
            if one.fate in ("found", "cross", "false"):
                counts[one.truth.label if one.truth is not None else NOTHING, one.event.label] += 1
        counts.update((one.truth.label, MISSED) for one in recording.truths if one.fate == "missed")
    truths, told = (*names, NOTHING), (*names, MISSED)
    return EventConfusion(
        truths=truths,
        told=told,
        counts=tuple(tuple(counts[truth, said] for said in told) for truth in truths),
    )
