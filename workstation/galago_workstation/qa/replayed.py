"""What one bundle said to one recording: what every part of QA judges. Made by a replay, read by all."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from galago_edge.contract.manifest import Label
from galago_edge.contract.records import EventRecord, GapRecord, StateRecord
from galago_edge.sources.recording_damage import read_in_part
from galago_workstation.qa.recording_losses import RecordingLoss

Stretch = tuple[int, int]
"""Stream time from a moment to another, half-open, in nanoseconds."""
IGNORED = "(ignore)"
"""Label of a stretch that is not judged."""


@dataclass(frozen=True, slots=True)
class Truth:
    """Something that was really there."""

    start_ns: int
    end_ns: int
    """Half-open; equal to ``start_ns`` for a moment."""
    label: str


@dataclass(frozen=True, slots=True)
class TruthList:
    """What a person says of one recording: everything that is there, and what is not to be judged."""

    events: tuple[Truth, ...]
    """By start, then end, then label."""
    ignored: tuple[Stretch, ...] = ()
    """By start, not overlapping."""


@dataclass(frozen=True, slots=True)
class WindowScores:
    """Every window of a replay, in order: enough to decide again without the model. Arrays are read only."""

    span: npt.NDArray[np.int64]
    """Shape ``(n, 4)``: start index, end index, start ns, end ns: the fields of a ``Span``."""
    q16: npt.NDArray[np.int32]
    """Shape ``(n, labels)``: scores before smoothing, 65536 is 1.0; all 0 where the gate was closed."""
    skipped: npt.NDArray[np.bool_]
    """Shape ``(n,)``: the gate was closed, the model was not run."""
    restart: npt.NDArray[np.bool_]
    """Shape ``(n,)``: a gap lies before this window, so smoothing began anew (true for the first window)."""


@dataclass(frozen=True, slots=True)
class Replayed:
    """One recording and what a bundle said to it."""

    recording: str
    """Its name in the corpus: the path below the corpus' folder, with ``/``."""
    sha256: str
    """Of the recording."""
    bundle: str
    """Id of the bundle: sha256 of its manifest."""
    labels: tuple[Label, ...]
    """The bundle's, with the policy that decided: overrides are in it. In the order of the scores."""
    receptive_ns: int
    """Length of one window."""
    duration_ns: int
    """Stream time at which the recording ended, gaps included."""
    events: tuple[EventRecord, ...]
    gaps: tuple[GapRecord, ...]
    states: tuple[StateRecord, ...]
    scores: WindowScores | None = None
    truth: TruthList | None = None
    """None: nobody has labelled it."""
    tags: Mapping[str, str] = field(default_factory=dict)
    """Such as ``site``, ``speaker``, ``night``."""
    loss: RecordingLoss | None = None
    """What was wrong with the recording; None when it was read to its end."""

    @property
    def failed(self) -> bool:
        """Whether it cannot be judged: nothing was decided, or what could not be read is no gap."""
        if self.loss is None:
            return False
        windows = 0 if self.scores is None else len(self.scores.span)
        return not read_in_part(windows, (gap.cause for gap in self.gaps))

    @property
    def read_to_ns(self) -> int:
        """Stream time up to which it could be read: its end, or where it is cut off."""
        cut = (gap.from_ns for gap in self.gaps if gap.cause == "truncated")
        return min(cut, default=self.duration_ns)

    @property
    def faults(self) -> str:
        """What tells the faults apart with which it was replayed (``FaultPlan.digest``); empty for none."""
        started = (one for one in self.states if (one.subject, one.state) == ("stream", "started"))
        detail = next((one.detail for one in started), {})
        return str(detail.get("source", {}).get("faults", ""))
