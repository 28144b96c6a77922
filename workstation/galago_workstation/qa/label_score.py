"""One label's figures over some recordings: found, missed, false, how soon."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import msgspec

from galago_workstation.qa.detection_delay import DelayEstimate, delay_estimate
from galago_workstation.qa.exact_intervals import (
    RateClaim,
    RateEstimate,
    ShareEstimate,
    rate_claim,
    rate_estimate,
    share_estimate,
)
from galago_workstation.qa.judged_recording import JudgedRecording
from galago_workstation.qa.valid_time import WatchedTime

ALL = "(all)"
"""Name of the row of all labels together."""


class LabelScore(msgspec.Struct, frozen=True, kw_only=True):
    """What became of the truths and events of one label, or of all."""

    label: str
    found: ShareEstimate
    """Of the truths that were to be judged and could be found."""
    missed: int
    unwatched: int
    """Truths during which nothing could be decided."""
    ignored_truths: int
    repeats: int
    late: int
    """Events behind the bound on the delay of a truth that nothing found."""
    cross_triggers: int
    false_alarms: int
    ignored_events: int
    false_rate: RateEstimate
    """False alarms and cross-triggers over the label's valid time."""
    delay: DelayEstimate
    claim: RateClaim | None = None


def label_score(
    label: str, judged: Sequence[JudgedRecording], *, claim_per_hour: float | None = None
) -> LabelScore:
    """Return the figures of a label, or of all of them for the name ``(all)``."""
    truths = [one for recording in judged for one in recording.truths if label in (ALL, one.truth.label)]
    events = [one for recording in judged for one in recording.events if label in (ALL, one.event.label)]
    hours = watched_by(label, judged).valid_hours
    truth_fates, fates = Counter(one.fate for one in truths), Counter(one.fate for one in events)
    found, missed = truth_fates["found"], truth_fates["missed"]
    false = fates["false"] + fates["cross"]
    return LabelScore(
        label=label,
        found=share_estimate(found, found + missed),
        missed=missed,
        unwatched=truth_fates["unwatched"],
        ignored_truths=truth_fates["ignored"],
        repeats=fates["repeat"],
        late=fates["late"],
        cross_triggers=fates["cross"],
        false_alarms=fates["false"],
        ignored_events=fates["ignored"],
        false_rate=rate_estimate(false, hours),
        delay=delay_estimate([one.delay_ns for one in truths if one.delay_ns is not None], missed),
        claim=rate_claim(claim_per_hour, false, hours) if claim_per_hour is not None else None,
    )


def watched_by(label: str, judged: Sequence[JudgedRecording]) -> WatchedTime:
    """Return the time of the recordings as it was watched for a label, or for any."""
    times = (recording.watched if label == ALL else recording.watched_by_label[label] for recording in judged)
    return sum(times, start=WatchedTime())
