"""What a stream's records still tell about one label: enough to decide again why it gave an event or none.

A log that holds a record for every window (``galago run --scores``) holds the scores before smoothing, to
the last Q16 step, the gaps, and with each start the bundle and the overrides of this device.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from galago_edge.contract.manifest import Label
from galago_edge.contract.records import EventRecord, GapRecord, Record, ScoresRecord, StateRecord
from galago_edge.contract.streams import Gap
from galago_edge.decision import ONE
from galago_edge.decision.explanation import LabelHeard
from galago_edge.decision.label_track import LabelTrack
from galago_edge.pipeline.threshold_overrides import override_thresholds

LabelsOf = Callable[[str | None], Sequence[Label] | None]
"""Returns the labels of a bundle by its id, as its manifest has them; None where they are not known."""


@dataclass(slots=True)
class HeardStretch:
    """What one stream was given and decided from one start, or one change of its bundle, to the next."""

    bundle: str | None
    """Id; None where the start is not in the records any more."""
    overrides: Mapping[str, Any]
    """By label: what this device decides otherwise than the manifest, as records show it."""
    windows: int = 0
    missing: int = 0
    """Windows that were decided and are not in the records: before the first one, or between two."""
    scores: array[int] = field(default_factory=lambda: array("i"))
    """Q16, of the label that is asked for."""
    end_ns: array[int] = field(default_factory=lambda: array("q"))
    skipped: bytearray = field(default_factory=bytearray)
    restart: bytearray = field(default_factory=bytearray)
    gaps: list[Gap] = field(default_factory=list)
    offset_ns: int = 0
    """Add it to stream time for the wall clock as it was at the window nearest to the moment asked for."""
    distance_ns: int | None = None
    """How far that window is from that moment."""
    _next_window: int | None = None
    _behind_gap: bool = True

    def gap(self, record: GapRecord) -> None:
        """Take a gap: smoothing begins anew behind it."""
        self.gaps.append(Gap(record.from_ns, record.to_ns, record.cause))
        self._behind_gap = True

    def window(self, record: ScoresRecord, index: int, wall_ns: int) -> None:
        """Take a window, and remember the one nearest to ``wall_ns``."""
        if self._next_window is None and self.bundle is not None:
            self._next_window = record.window  # a bundle that takes over counts on
        self.missing += max(0, record.window - (self._next_window or 0))
        self._next_window = record.window + 1
        self.windows += 1
        is_skipped = not record.scores
        self.scores.append(0 if is_skipped else round(record.scores[index] * ONE))
        self.end_ns.append(record.end_ns)
        self.skipped.append(is_skipped)
        self.restart.append(self._behind_gap)
        self._behind_gap = False
        if isinstance(record.wall_ns, int):
            distance = abs(record.wall_ns - wall_ns)
            if self.distance_ns is None or distance < self.distance_ns:
                self.distance_ns, self.offset_ns = distance, record.wall_ns - record.end_ns

    def heard(self, label: Label) -> LabelHeard:
        """Return what the label's policy had before it; ``label`` is as the manifest has it.

        Raises:
            CallerError: CONFIG_BAD; the overrides are for another label.
        """
        given = {
            key: value["device"]
            for key, value in dict(self.overrides.get(label.name, {})).items()
            if isinstance(value, Mapping) and "device" in value
        }
        [decided], _ = override_thresholds([label], {label.name: given} if given else {})
        track = LabelTrack(
            np.array(self.scores, np.int32),
            np.array(self.end_ns, np.int64),
            np.frombuffer(bytes(self.restart), np.bool_),
        )
        skipped = np.frombuffer(bytes(self.skipped), np.bool_)
        return LabelHeard(decided, track, skipped, tuple(self.gaps), label.policy if given else None)


@dataclass(slots=True)
class HeardStream:
    """What was found in the records of one stream."""

    stretch: HeardStretch | None = None
    """The one with the window nearest to the moment; None: there is no window with scores at all."""
    streams: set[str] = field(default_factory=set)
    """Every stream that has windows with scores."""
    unknown_bundles: set[str] = field(default_factory=set)
    """Ids whose labels nobody could say; their windows were left out."""


def hear(
    records: Iterable[Record], stream: str | None, label: str, wall_ns: int, labels_of: LabelsOf
) -> HeardStream:
    """Go through records of all streams, the oldest first, and return what one stream heard around a moment.

    ``stream``: None takes each stream that has scores; whoever asks looks at ``streams`` afterwards.
    """
    found = HeardStream()
    current: dict[str, HeardStretch] = {}
    places: dict[str, int | None] = {}
    for record in records:
        name = record.stream
        if isinstance(record, ScoresRecord):
            found.streams.add(name)
        if stream is not None and name != stream:
            continue
        if isinstance(record, StateRecord) and (record.subject, record.state) == ("stream", "started"):
            bundle = record.detail.get("bundle")
            overrides = record.detail.get("overrides", {})
            current[name] = HeardStretch(bundle, overrides if isinstance(overrides, Mapping) else {})
            places.pop(name, None)
        elif isinstance(record, GapRecord) and name in current:
            current[name].gap(record)
        elif isinstance(record, EventRecord) and name in current and current[name].bundle is None:
            current[name].bundle = record.bundle
        elif isinstance(record, ScoresRecord):
            stretch = current.setdefault(name, HeardStretch(None, {}))
            if name not in places:
                places[name] = _place(labels_of(stretch.bundle), label)
            place = places[name]
            if place is None:
                found.unknown_bundles.add(stretch.bundle or "unknown")
                continue
            stretch.window(record, place, wall_ns)
            best = found.stretch.distance_ns if found.stretch is not None else None
            distance = stretch.distance_ns
            if distance is not None and (best is None or distance <= best):
                found.stretch = stretch
    return found


def _place(labels: Sequence[Label] | None, name: str) -> int | None:
    names = [label.name for label in labels or ()]
    return names.index(name) if name in names else None
