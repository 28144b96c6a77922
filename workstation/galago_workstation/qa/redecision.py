"""What a bundle would have said with other policies: decided again from stored scores, without the model.

Exactly as :class:`galago_edge.decision.Decider` decides, by
:class:`~galago_edge.decision.label_track.LabelTrack`.

What stored scores cannot tell: an activity gate stays open while a label is on. With a gate another policy
could have had the model run on windows that were skipped, and the other way round; their scores are not
there. Such windows are counted (:func:`gate_doubt`), and events that rest on them are said to be in doubt.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
import numpy as np
import numpy.typing as npt

from galago_edge.contract.errors import InputError, Reason
from galago_edge.contract.known_names import known_names
from galago_edge.contract.manifest import Label, LabelPolicy
from galago_edge.contract.records import EventRecord
from galago_edge.decision import ONE
from galago_edge.decision.label_track import LabelTrack, OnPeriods
from galago_workstation.qa.replayed import Replayed, WindowScores

_SCORE_DIGITS = 6  # as records have them


@dataclass(frozen=True, slots=True)
class GateDoubt:
    """Windows of one replay whose scores other policies could have changed, because of the activity gate."""

    gated: bool
    """The bundle has a gate at all; without one nothing is ever in doubt."""
    windows: int
    """Of the replay."""
    skipped_now_run: int
    """The model was not run; a label that is on by the new policies would have had it run."""
    run_now_skipped: int
    """The model was run, perhaps only because a label was on that is not on by the new policies."""
    places: int
    """Stretches of such windows: in each of them an event may have come or gone."""
    events: int
    """Events by the new policies whose on-period, or whose smoothing, touches such a window."""

    @property
    def doubtful(self) -> int:
        """Windows in doubt."""
        return self.skipped_now_run + self.run_now_skipped


def scores_of(replayed: Replayed) -> WindowScores:
    """Return the stored scores.

    Raises:
        InputError: DATA_BAD; the replay was stored without them.
    """
    if replayed.scores is None:
        raise InputError(
            Reason.DATA_BAD,
            f"{replayed.recording}: the stored replay has no scores",
            hint="replay the recording again with its scores",
        )
    return replayed.scores


def index_of(replayed: Replayed, label: str) -> int:
    """Return the place of a label in the scores.

    Raises:
        InputError: LABELS_MISMATCH; the bundle has none of that name.
    """
    refuse_no_label(label, replayed.labels, replayed.recording)
    return [one.name for one in replayed.labels].index(label)


def refuse_no_label(name: str, labels: Sequence[Label], where: str) -> None:
    """Refuse a name that is no label. ``where``: what has these labels, for the message.

    Raises:
        InputError: LABELS_MISMATCH.
    """
    names = [one.name for one in labels]
    if name not in names:
        raise InputError(
            Reason.LABELS_MISMATCH,
            f"{where}: {name!r} is no label of the bundle",
            hint=known_names(name, names),
        )


def with_policy(labels: Sequence[Label], name: str, policy: LabelPolicy) -> tuple[Label, ...]:
    """Return the labels with another policy for one of them."""
    return tuple(
        msgspec.structs.replace(label, policy=policy) if label.name == name else label for label in labels
    )


def track_of(replayed: Replayed, label: str) -> LabelTrack:
    """Return one label's windows.

    Raises:
        InputError: DATA_BAD or LABELS_MISMATCH; no scores, or no such label.
    """
    scores = scores_of(replayed)
    index = index_of(replayed, label)
    return LabelTrack(np.ascontiguousarray(scores.q16[:, index]), scores.span[:, 3], scores.restart)


def redecide(replayed: Replayed, labels: Sequence[Label]) -> tuple[EventRecord, ...]:
    """Return the events by the policies of ``labels``, which are the bundle's labels in its order.

    Raises:
        InputError: DATA_BAD or LABELS_MISMATCH; no scores, or other labels.
    """
    _check_labels(replayed, labels)
    scores, (stream, backend) = scores_of(replayed), _ran(replayed)
    found: list[tuple[int, int, EventRecord]] = []
    for index, (label, periods) in enumerate(zip(labels, on_periods(replayed, labels), strict=True)):
        length = label.policy.smoothing_windows
        sums = track_of(replayed, label.name).sums(length) if len(periods.events()) else None
        for start, fired in zip(periods.start.tolist(), periods.fired.tolist(), strict=True):
            if fired < 0 or sums is None:
                continue
            first, last = scores.span[start].tolist(), scores.span[fired].tolist()
            smoothed = (2 * int(sums[fired]) + length) // (2 * length)
            record = EventRecord(
                stream=stream, seq=0, label=label.name, score=round(smoothed / ONE, _SCORE_DIGITS),
                start_index=first[0], end_index=last[1], start_ns=first[2], end_ns=last[3],
                bundle=replayed.bundle, backend=backend,
            )  # fmt: skip
            found.append((fired, index, record))
    found.sort(key=lambda one: one[:2])
    return tuple(msgspec.structs.replace(record, seq=seq) for seq, (_, _, record) in enumerate(found))


def on_periods(replayed: Replayed, labels: Sequence[Label]) -> list[OnPeriods]:
    """Return when each label is on; a background label never is.

    Raises:
        InputError: DATA_BAD or LABELS_MISMATCH; no scores, or other labels.
    """
    _check_labels(replayed, labels)
    nothing = np.zeros(0, np.int64)
    return [
        OnPeriods(nothing, nothing, nothing)
        if label.background
        else track_of(replayed, label.name).on_periods(label.policy)
        for label in labels
    ]


def is_gated(replayed: Replayed) -> bool:
    """Tell whether the bundle runs its model only while an activity gate is open."""
    scores = replayed.scores
    told = any(state.subject == "stream" and "gate" in state.detail for state in replayed.states)
    return told or (scores is not None and bool(scores.skipped.any()))


def gate_doubt(replayed: Replayed, labels: Sequence[Label]) -> GateDoubt:
    """Return what cannot be decided again with the policies of ``labels``.

    Raises:
        InputError: DATA_BAD or LABELS_MISMATCH; no scores, or other labels.
    """
    scores = scores_of(replayed)
    count = len(scores.skipped)
    if not is_gated(replayed):
        return GateDoubt(gated=False, windows=count, skipped_now_run=0, run_now_skipped=0, places=0, events=0)
    after = on_periods(replayed, labels)
    held_before = _held(scores, on_periods(replayed, replayed.labels))
    held_after = _held(scores, after)
    now_run = scores.skipped & held_after
    # what motion or loudness would have said of these is not stored either: it may have been open anyway
    now_skipped = ~scores.skipped & held_before & ~held_after
    doubtful = now_run | now_skipped
    before = np.concatenate(([0], np.cumsum(doubtful)))
    events = 0
    for label, periods in zip(labels, after, strict=True):
        fired = periods.fired >= 0
        first = np.maximum(periods.start[fired] - label.policy.smoothing_windows + 1, 0)
        events += int(np.count_nonzero(before[periods.stop[fired]] > before[first]))
    return GateDoubt(
        gated=True,
        windows=count,
        skipped_now_run=int(np.count_nonzero(now_run)),
        run_now_skipped=int(np.count_nonzero(now_skipped)),
        places=int(np.count_nonzero(doubtful[1:] & ~doubtful[:-1]) + np.count_nonzero(doubtful[:1])),
        events=events,
    )


def _held(scores: WindowScores, on: Sequence[OnPeriods]) -> npt.NDArray[np.bool_]:
    """Return before which windows a label was on, so that the gate stayed open; shape ``(n,)``."""
    count = len(scores.skipped)
    steps = np.zeros(count + 2, np.int64)
    for periods in on:
        np.add.at(steps, periods.start + 1, 1)
        np.add.at(steps, periods.stop + 1, -1)
    held: npt.NDArray[np.bool_] = np.cumsum(steps)[:count] > 0
    return held & ~scores.restart


def _check_labels(replayed: Replayed, labels: Sequence[Label]) -> None:
    names, wanted = [label.name for label in labels], [label.name for label in replayed.labels]
    if names != wanted:
        raise InputError(
            Reason.LABELS_MISMATCH,
            f"{replayed.recording}: policies are for {', '.join(names[:20])}; the bundle's labels are "
            f"{', '.join(wanted[:20])}",
            hint="give one policy for each label of the bundle, in its order",
        )


def _ran(replayed: Replayed) -> tuple[str, str]:
    """Return the stream's name and what ran the model, as the replay itself told."""
    for state in replayed.states:
        if state.subject == "stream" and isinstance(state.detail.get("backend"), str):
            return state.stream, str(state.detail["backend"])
    return "replay", "cpu"
