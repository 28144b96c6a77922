"""Why each bundle gave an event or none, as ``galago qa why`` says it; and its scores on the time line."""

from __future__ import annotations

import msgspec
import numpy as np
import numpy.typing as npt

from galago_edge.contract.printable import on_one_line
from galago_edge.contract.records import EventRecord
from galago_edge.decision import ONE
from galago_edge.decision.explanation import LabelHeard, explain
from galago_edge.decision.explanation_words import proposal_words, reason_words
from galago_edge.decision.policy_proposals import proposals
from galago_workstation.qa.comparison_report import stream_time
from galago_workstation.qa.page.page_content import NS_PER_MS, PageSide, PageTrace
from galago_workstation.qa.replayed import Replayed, Stretch
from galago_workstation.qa.why import heard_of

MOST_WINDOWS = 600
"""Of one trace; of more, every second or third ... is taken."""
_STEPS = 10_000
_MOST_KEPT = 32
"""The track of a long night is large."""


class HeardLabels:
    """What the policies of labels had before them in replays, read once as long as they come together."""

    def __init__(self) -> None:
        self._kept: dict[tuple[int, str], tuple[Replayed, LabelHeard]] = {}

    def of(self, replayed: Replayed, label: str) -> LabelHeard | None:
        """Return what a label's policy had; None where scores are not stored or there is no such label."""
        if replayed.scores is None or label not in [one.name for one in replayed.labels]:
            return None
        key = (id(replayed), label)  # the object is kept, so nothing else has its id
        if key not in self._kept:
            if len(self._kept) >= _MOST_KEPT:
                self._kept.clear()
            self._kept[key] = replayed, heard_of(replayed, label)
        return self._kept[key][1]


def page_side(
    heard: LabelHeard | None,
    event: EventRecord | None,
    asked: Stretch,
    shown: Stretch,
    *,
    change: bool,
) -> PageSide:
    """Return what a bundle said.

    Args:
        heard: What the label's policy had before it; None where that is not stored.
        event: What it decided, if it did.
        asked: The decisions that the reason is about.
        shown: The part of the time line whose scores are shown.
        change: Whether the smallest change of policy is to be sought, which takes time.
    """
    said = _event_side(event)
    if heard is None:
        return said
    found = explain(heard, max(0, asked[0]), max(0, *asked))
    changes = proposals(heard, found)[:1] if change and event is None else ()
    return msgspec.structs.replace(
        said,
        reason=on_one_line(reason_words(found, stream_time)),
        cause=str(found.cause),
        change=on_one_line(proposal_words(changes[0], stream_time)) if changes else "",
        trace=score_trace(heard, shown),
    )


def _event_side(event: EventRecord | None) -> PageSide:
    """Return what is known without scores."""
    if event is None:
        return PageSide(reason="there was no event; no scores are stored that would say why")
    return PageSide(
        reason="there was an event; no scores are stored that would say why",
        at_ms=event.end_ns // NS_PER_MS,
        since_ms=event.start_ns // NS_PER_MS,
        score=round(event.score, 4),
    )


def score_trace(heard: LabelHeard, shown: Stretch) -> PageTrace:
    """Return the scores of the windows that end from ``shown[0]`` to ``shown[1]``, both included."""
    track, length = heard.track, heard.label.policy.smoothing_windows
    first = int(np.searchsorted(track.end_ns, shown[0]))
    stop = int(np.searchsorted(track.end_ns, shown[1], "right"))
    every = max(1, -(-(stop - first) // MOST_WINDOWS))
    windows = np.arange(first, stop, every)
    sums = track.sums(length)[windows]
    kept = windows.tolist()
    begins = track.begins[(track.begins >= first) & (track.begins < stop)]
    return PageTrace(
        ms=tuple(((track.end_ns[windows] - shown[0]) // NS_PER_MS).tolist()),
        raw=_levels(track.q16[windows], ONE),
        smooth=tuple(
            None if warm else level
            for warm, level in zip((sums < 0).tolist(), _levels(sums, ONE * length), strict=True)
        ),
        begins=tuple(
            sorted({place for place in np.searchsorted(windows, begins).tolist() if place < len(kept)})
        ),
        skipped=tuple(place for place, window in enumerate(kept) if heard.skipped[window]),
        every=every,
    )


def _levels(values: npt.NDArray[np.integer], one: int) -> tuple[int, ...]:
    """Return values, of which ``one`` is 1.0, in steps of 0.0001, rounded half up."""
    return tuple(((values.astype(np.int64) * 2 * _STEPS + one) // (2 * one)).tolist())
