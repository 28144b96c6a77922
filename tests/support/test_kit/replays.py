"""Replays for the tests of QA: written down, or decided by the real Decider from given scores."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from galago_edge.contract.manifest import Label, LabelPolicy
from galago_edge.contract.records import EventRecord, GapRecord, StateRecord
from galago_edge.contract.streams import Span
from galago_edge.decision import Decider, Fired
from galago_workstation.qa.replayed import Replayed, Truth, TruthList, WindowScores

S, MS = 1_000_000_000, 1_000_000
BUNDLE = "b0" * 32
PLAIN: dict[str, Any] = {"on": 0.5, "off": 0.5, "smoothing_windows": 1, "min_count": 1, "refractory_ms": 0}


def plain_label(name: str, *, background: bool = False, **policy: Any) -> Label:
    """A label whose policy does nothing but compare, unless something else is said."""
    return Label(name=name, background=background, policy=LabelPolicy(**{**PLAIN, **policy}))


def truths(*events: tuple[float, float, str], ignored: Iterable[tuple[float, float]] = ()) -> TruthList:
    """Truths and stretches to be ignored in seconds."""
    found = [Truth(round(start * S), round(end * S), label) for start, end, label in events]
    found.sort(key=lambda truth: (truth.start_ns, truth.end_ns, truth.label))
    return TruthList(tuple(found), tuple((round(start * S), round(end * S)) for start, end in ignored))


def event(label: str, at_s: float, seq: int, start_s: float | None = None) -> EventRecord:
    """An event that was decided at a time in seconds."""
    at_ns = round(at_s * S)
    start_ns = at_ns if start_s is None else round(start_s * S)
    return EventRecord(
        stream="replay",
        seq=seq,
        label=label,
        score=1.0,
        start_index=start_ns,
        end_index=at_ns,
        start_ns=start_ns,
        end_ns=at_ns,
        bundle=BUNDLE,
        backend="cpu",
    )


def written(
    events: Iterable[tuple[str, float]] = (),
    truth: TruthList | None = TruthList(()),  # noqa: B008 - nothing changes it
    *,
    duration_s: float = 3600.0,
    hop_s: float = 0.5,
    receptive_s: float = 1.0,
    gaps: Sequence[tuple[float, float, str]] = (),
    labels: Sequence[Label] = (plain_label("a"), plain_label("b")),
    name: str = "porch.wav",
    tags: Mapping[str, str] | None = None,
    off: Iterable[tuple[str, float]] = (),
    starts: Mapping[int, float] | None = None,
) -> Replayed:
    """A replay whose events are written down, with windows that a microphone would have had.

    Events are (label, decision time in seconds); ``off``: when a label ended; ``starts``: where the on-period
    of the event with that number began.
    """
    holes = [(round(start * S), round(end * S)) for start, end, _ in gaps]
    spans, restart = [], []
    at = 0
    while at + round(receptive_s * S) <= round(duration_s * S):
        end = at + round(receptive_s * S)
        hole = next(((start, behind) for start, behind in holes if at < behind and end > start), None)
        if hole is not None:
            at = hole[1]
            continue
        restart.append(not spans or spans[-1][3] + round(hop_s * S) != end)
        spans.append((at, end, at, end))
        at += round(hop_s * S)
    return Replayed(
        recording=name,
        sha256=hashlib.sha256(name.encode()).hexdigest(),
        bundle=BUNDLE,
        labels=tuple(labels),
        receptive_ns=round(receptive_s * S),
        duration_ns=round(duration_s * S),
        events=tuple(
            event(label, at_s, seq, (starts or {}).get(seq)) for seq, (label, at_s) in enumerate(events)
        ),
        gaps=tuple(
            GapRecord(stream="replay", from_ns=round(start * S), to_ns=round(end * S), cause=cause)
            for start, end, cause in gaps
        ),
        states=tuple(
            StateRecord(stream="replay", subject=f"label:{label}", state="off", index=0, ns=round(at_s * S))
            for label, at_s in off
        ),
        scores=WindowScores(
            np.array(spans, np.int64).reshape(-1, 4),
            np.zeros((len(spans), len(labels)), np.int32),
            np.zeros(len(spans), np.bool_),
            np.array(restart, np.bool_),
        ),
        truth=truth,
        tags=tags or {},
    )


def decided(
    q16: Sequence[Sequence[int]],
    labels: Sequence[Label],
    *,
    truth: TruthList | None = TruthList(()),  # noqa: B008
    restart: Iterable[int] = (),
    skipped: Iterable[int] = (),
    hop_ns: int = 100 * MS,
    receptive_ns: int = 100 * MS,
    gap_ns: int = 1 * S,
    name: str = "porch.wav",
) -> Replayed:
    """A replay that the real Decider decides from Q16 scores; before each window of ``restart`` is a gap."""
    decider, breaks = Decider(labels), {*restart} - {0}
    spans: list[Span] = []
    events: list[EventRecord] = []
    gaps: list[GapRecord] = []
    states: list[StateRecord] = []
    at = 0
    for number, row in enumerate(q16):
        found: list[Any] = []
        if number in breaks:
            before = spans[-1].end_ns if spans else 0
            found += decider.reset()
            at = before + gap_ns
            gaps.append(GapRecord(stream="replay", from_ns=before, to_ns=at, cause="missing"))
        spans.append(Span(at, at + receptive_ns, at, at + receptive_ns))
        at += hop_ns
        found += decider.step(np.array(row, np.int64), spans[-1])
        for one in found:
            if isinstance(one, Fired):
                events.append(
                    EventRecord(
                        stream="replay",
                        seq=len(events),
                        label=one.label,
                        score=one.score,
                        start_index=one.span.start_index,
                        end_index=one.span.end_index,
                        start_ns=one.span.start_ns,
                        end_ns=one.span.end_ns,
                        bundle=BUNDLE,
                        backend="cpu",
                    )
                )
            else:
                subject = f"label:{one.label}"
                states.append(
                    StateRecord(stream="replay", subject=subject, state="off", index=0, ns=one.span.end_ns)
                )
    count = len(q16)
    return Replayed(
        recording=name,
        sha256=hashlib.sha256(name.encode()).hexdigest(),
        bundle=BUNDLE,
        labels=tuple(labels),
        receptive_ns=receptive_ns,
        duration_ns=spans[-1].end_ns if spans else 0,
        events=tuple(events),
        gaps=tuple(gaps),
        states=tuple(states),
        scores=WindowScores(
            np.array(
                [(span.start_index, span.end_index, span.start_ns, span.end_ns) for span in spans], np.int64
            ).reshape(-1, 4),
            np.array(q16, np.int32).reshape(count, len(labels)),
            np.isin(np.arange(count), [*skipped]),
            np.isin(np.arange(count), [0, *breaks]),
        ),
        truth=truth,
    )
