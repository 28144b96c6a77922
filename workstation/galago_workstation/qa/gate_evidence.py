"""What the recordings say about each gate, as counts for the e-processes of ``e_process``."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from galago_edge.contract.count_words import count_of
from galago_edge.contract.records import EventRecord
from galago_edge.contract.streams import NS_PER_S
from galago_workstation.qa.e_process import Tally
from galago_workstation.qa.event_diff import ReplayPair, matched, tolerance_of
from galago_workstation.qa.gate_rules import BoundGate
from galago_workstation.qa.matching import MatchingRule
from galago_workstation.qa.replayed import Truth
from galago_workstation.qa.report_words import hours_text
from galago_workstation.qa.stretches import clipped, length_ns
from galago_workstation.qa.truth_outcomes import TruthOutcome, common_rule, outcomes

NS_PER_HOUR = 3_600 * NS_PER_S
CLOSE_S = 60.0
"""False alarms that are closer than this more often than chance allows are not independent."""
_CHANCE = 0.001
_ROUNDING = 1e-9
"""Relative: a weight that is less by so little is only not written exactly."""


@dataclass(frozen=True, slots=True)
class JudgedPair:
    """One recording, judged with both bundles."""

    pair: ReplayPair
    truths: tuple[tuple[TruthOutcome, TruthOutcome], ...]
    """What was there and judged with both: the old bundle's outcome and the new one's."""
    alarms: tuple[tuple[EventRecord | None, EventRecord | None], ...]
    """False alarms of old and new, those of one cause as one pair."""
    old_events: tuple[tuple[EventRecord, bool], ...]
    """Events of the old bundle, and whether the new one has lost them."""
    hours: float
    """Judged with both bundles; of a recording without labels: watched."""
    hours_by_label: Mapping[str, float]
    """Judged for each label: smoothing takes its part. Empty without labels."""
    labelled: bool
    unwatched: int = 0
    """Truths of what is compared that neither found nor missed: one bundle at least could decide nothing."""

    def hours_of(self, label: str) -> float:
        """Return the hours of a label, or for an empty name those of any."""
        return self.hours_by_label.get(label, self.hours)


@dataclass(frozen=True, slots=True)
class GateEvidence:
    """Everything that decides one gate."""

    gate: BoundGate
    tally: Tally
    bound: float
    """What ``tally`` is compared with."""
    old: float
    """The measure, of OLD alone: a share, an hour, seconds; NaN where there is none. Where whole recordings
    are the units, each has the same weight in it."""
    new: float
    units: int
    """What was judged: recordings with something to judge where they are the units, otherwise ``things``."""
    count: int
    """Of the units, those that count against NEW."""
    recordings: int
    notes: tuple[str, ...] = ()
    """What was left out, and what speaks against the assumptions."""
    clustered: bool = False
    """False alarms come in clusters: nothing can be promised."""
    hits: Mapping[str, int] = field(default_factory=dict)
    """By recording: things that count against NEW, for people who look for them."""
    things: int = 0
    """Things that were there, events of OLD, or false alarms of NEW."""

    @property
    def by_recording(self) -> bool:
        """Whether whole recordings are the units."""
        return self.gate.rule.unit == "recording"


def judge(
    pairs: Sequence[ReplayPair],
    rule: MatchingRule,
    *,
    tolerance_ns: int | None = None,
    burst_s: float = 0.0,
    labels: Iterable[str] | None = None,
) -> list[JudgedPair]:
    """Judge every recording with both bundles.

    ``labels``: of what is compared; None: all. ``burst_s`` as in the file of gates. The hours of a recording
    are the smaller of the two, which differ by warm-up at most.
    """  # fmt: skip
    keep = None if labels is None else set(labels)
    return [_judge(pair, rule, tolerance_of(pair, tolerance_ns), burst_s, keep) for pair in pairs]


def _judge(
    pair: ReplayPair, rule: MatchingRule, tolerance_ns: int, burst_s: float, keep: set[str] | None
) -> JudgedPair:
    def kept(events: Iterable[EventRecord]) -> list[EventRecord]:
        return [each for each in events if keep is None or each.label in keep]

    both = matched(kept(pair.old.events), kept(pair.new.events), tolerance_ns)
    old_events = tuple((old, new is None) for old, new in both if old is not None)
    if pair.new.truth is None:
        gaps = clipped(((gap.from_ns, gap.to_ns) for gap in pair.new.gaps), pair.new.duration_ns)
        watched = pair.new.duration_ns - length_ns(gaps)
        return JudgedPair(pair, (), (), old_events, watched / NS_PER_HOUR, {}, labelled=False)
    rule = common_rule(rule, (pair.old, pair.new))
    old, new = outcomes(pair.old, rule), outcomes(pair.new, rule)
    of_old: dict[Truth, list[TruthOutcome]] = {}
    for each in old.outcomes:
        of_old.setdefault(each.truth, []).append(each)
    truths = tuple(
        (of_old[each.truth].pop(0), each)
        for each in new.outcomes
        if of_old.get(each.truth) and (keep is None or each.truth.label in keep)
    )
    before, after = (_bursts(kept(side.false_alarms), burst_s) for side in (old, new))
    hours = min(old.valid_ns, new.valid_ns) / NS_PER_HOUR
    by_label = {
        label: min(old.valid_ns_by_label[label], valid_ns) / NS_PER_HOUR
        for label, valid_ns in new.valid_ns_by_label.items()
        if label in old.valid_ns_by_label
    }
    alarms = tuple(matched(before, after, tolerance_ns))
    unwatched = Counter(old.unwatched) | Counter(new.unwatched)  # a truth may be there twice
    count = sum(n for truth, n in unwatched.items() if keep is None or truth.label in keep)
    return JudgedPair(pair, truths, alarms, old_events, hours, by_label, labelled=True, unwatched=count)


def _bursts(alarms: Sequence[EventRecord], burst_s: float) -> list[EventRecord]:
    """Return the first alarm of each burst."""
    last: dict[str, int] = {}
    found = []
    for alarm in sorted(alarms, key=lambda each: each.end_ns):
        before = last.get(alarm.label)
        if before is None or burst_s == 0.0 or alarm.end_ns - before > burst_s * NS_PER_S:
            found.append(alarm)
        last[alarm.label] = alarm.end_ns
    return found


def gather(gate: BoundGate, judged: Sequence[JudgedPair]) -> GateEvidence:
    """Return what the recordings say about one gate."""
    chosen = [each for each in judged if gate.tags.items() <= each.pair.new.tags.items()]
    notes = []
    if gate.rule.measure == "lost":
        return _lost(gate, chosen)
    labelled = [each for each in chosen if each.labelled]
    if len(labelled) < len(chosen):
        hours = sum(each.hours for each in chosen if not each.labelled)
        bare = count_of(len(chosen) - len(labelled), "recording")
        notes.append(f"{bare} without labels left out ({hours_text(hours)})")
    if gate.rule.measure == "false_alarms":
        return _false_alarms(gate, labelled, notes)
    return _of_truths(gate, labelled, notes)


def _lost(gate: BoundGate, chosen: Sequence[JudgedPair]) -> GateEvidence:
    rows = [
        [(0.0, 0.0, float(lost)) for event, lost in each.old_events if gate.label in ("", event.label)]
        for each in chosen
    ]
    return _of_units(gate, chosen, rows, gate.rule.bound[1], [])


def _of_truths(gate: BoundGate, chosen: Sequence[JudgedPair], notes: list[str]) -> GateEvidence:
    rows = [
        [_values(gate, old, new) for old, new in each.truths if gate.label in ("", new.truth.label)]
        for each in chosen
    ]
    kind, bound = gate.rule.bound
    delay = gate.rule.measure == "delay"
    found = _of_units(gate, chosen, rows, 1.0 - gate.rule.delay_quantile if delay else bound, notes)
    if not delay:
        return found
    old_s, new_s = _delays(gate, chosen, 0), _delays(gate, chosen, 1)
    share, weights = gate.rule.delay_quantile, _weights(gate, rows)
    if kind == "above_old_at_most":
        later = [after - before if np.isfinite(after) else np.inf if np.isfinite(before) else 0.0
                 for before, after in zip(old_s, new_s, strict=True)]  # fmt: skip
        return replace(found, old=0.0 if later else np.nan, new=_quantile(later, share, weights))
    return replace(found, old=_quantile(old_s, share, weights), new=_quantile(new_s, share, weights))


def _values(gate: BoundGate, old: TruthOutcome, new: TruthOutcome) -> tuple[float, float, float]:
    """Return what one thing that was there counts: with OLD, with NEW, and for the gate."""
    measure = gate.rule.measure
    kind, bound = gate.rule.bound
    before, after = float(not old.found), float(not new.found)
    if measure == "regressed":
        return 0.0, 0.0, float(old.found and not new.found)
    if measure == "missed":
        return before, after, after - before if kind == "above_old_at_most" else after
    limit_ns = bound * NS_PER_S
    if kind == "at_most":
        return before, after, float(new.delay_ns is None or new.delay_ns > limit_ns)
    if new.delay_ns is None or old.delay_ns is None:
        return before, after, float(old.found and not new.found)
    return before, after, float(new.delay_ns - old.delay_ns > limit_ns)


def _of_units(
    gate: BoundGate,
    chosen: Sequence[JudgedPair],
    rows: Sequence[Sequence[tuple[float, float, float]]],
    bound: float,
    notes: Sequence[str],
) -> GateEvidence:
    """``rows``: for each recording its units, with their value for OLD, for NEW and for the gate."""
    flat = np.array([unit for row in rows for unit in row], np.float64).reshape(-1, 3)
    paired = gate.rule.measure == "missed" and gate.rule.bound[0] == "above_old_at_most"
    values = np.array([-1.0, 0.0, 1.0] if paired else [0.0, 1.0])
    hours = np.array(sum(each.hours_of(gate.label) for each in chosen))
    tally = Tally("unit", values, np.array([np.sum(flat[:, 2] == value) for value in values], np.float64),
                  hours, -1.0 if paired else 0.0)  # fmt: skip
    units = flat
    if gate.rule.unit == "recording":
        units = np.array([np.mean(row, axis=0) for row in rows if row], np.float64).reshape(-1, 3)
        tally = Tally("unit", units[:, 2], np.ones(len(units)), hours, tally.low, prior=0.0)
    old, new, judged = (float(units[:, side].mean()) if len(units) else np.nan for side in range(3))
    if gate.rule.measure in ("lost", "regressed"):
        old, new = np.nan, judged
    hits = {each.pair.name: round(sum(unit[2] for unit in row if unit[2] > 0.0))
            for each, row in zip(chosen, rows, strict=True)}  # fmt: skip
    hits = {name: count for name, count in hits.items() if count}
    against = len(hits) if gate.rule.unit == "recording" else int(np.sum(flat[:, 2] > 0.0))
    return GateEvidence(
        gate, tally, bound, old, new, len(units), against, len(chosen), tuple(notes), hits=hits,
        things=len(flat),
    )  # fmt: skip


def _weights(gate: BoundGate, rows: Sequence[Sequence[object]]) -> list[float]:
    """Return the weight of each event of each recording: all the same, or all of a recording together 1."""
    whole = gate.rule.unit == "recording"
    return [1.0 / len(row) if whole else 1.0 for row in rows for _ in row]


def _delays(gate: BoundGate, chosen: Sequence[JudgedPair], side: int) -> list[float]:
    """Seconds, infinite for what was missed."""
    outcomes = [
        both[side] for each in chosen for both in each.truths if gate.label in ("", both[side].truth.label)
    ]
    return [np.inf if each.delay_ns is None else each.delay_ns / NS_PER_S for each in outcomes]


def _quantile(values: Sequence[float], share: float, weights: Sequence[float]) -> float:
    """Smallest value that at least ``share`` of the weight does not exceed; NaN of none."""
    if not values:
        return float("nan")
    order = np.argsort(values)
    reached = np.cumsum(np.array(weights)[order])
    enough = reached >= share * reached[-1] * (1.0 - _ROUNDING)
    return float(np.array(values)[order][np.argmax(enough)])


def _false_alarms(gate: BoundGate, chosen: Sequence[JudgedPair], notes: list[str]) -> GateEvidence:
    rows = [[both for both in each.alarms if gate.label in ("", _label(both))] for each in chosen]
    flat = [both for row in rows for both in row]
    common = sum(old is not None and new is not None for old, new in flat)
    only_new = sum(old is None for old, _ in flat)
    only_old = len(flat) - common - only_new
    hours = sum(each.hours_of(gate.label) for each in chosen)
    kind, bound = gate.rule.bound
    marks, counts = {
        "above_old_at_most": ([1.0, -1.0], [only_new, only_old]),
        "times_old_at_most": ([1.0, -bound, 1.0 - bound], [only_new, only_old, common]),
    }.get(kind, ([1.0], [common + only_new]))
    seen = np.array(counts, np.float64)
    tally = Tally("hour", np.array(marks), seen, np.array(hours), min(0.0, *marks))
    clusters = _cluster_notes(rows, kind, hours)
    hits = {each.pair.name: sum(new is not None for _, new in row)
            for each, row in zip(chosen, rows, strict=True)}  # fmt: skip
    rates = [(common + each) / hours if hours else np.nan for each in (only_old, only_new)]
    return GateEvidence(
        gate, tally, 0.0 if kind == "times_old_at_most" else bound, rates[0], rates[1], common + only_new,
        common + only_new, len(chosen), (*notes, *clusters), bool(clusters),
        hits={name: count for name, count in hits.items() if count}, things=common + only_new,
    )  # fmt: skip


def _label(both: tuple[EventRecord | None, EventRecord | None]) -> str:
    event = both[0] or both[1]
    assert event is not None
    return event.label


def _cluster_notes(
    rows: Sequence[Sequence[tuple[EventRecord | None, EventRecord | None]]], kind: str, hours: float
) -> list[str]:
    """Say so of each bundle whose alarms count for the gate and come in clusters."""
    notes = []
    for side, name in ((1, "NEW"),) if kind == "at_most" else ((0, "OLD"), (1, "NEW")):
        counted = [
            [both[side] for both in row if kind != "above_old_at_most" or both[1 - side] is None]
            for row in rows
        ]
        alarms = [[each.end_ns for each in row if each is not None] for row in counted]
        if text := _clusters([sorted(row) for row in alarms], hours):
            notes.append(f"{text} (of {name}): set burst_s in the file of gates, or a longer refractory time")
    return notes


def _clusters(moments: Sequence[Sequence[int]], hours: float) -> str:
    """Say so when alarms follow one another within ``CLOSE_S`` more often than independent ones would.

    Gaps of a Poisson process are exponential: each is shorter with probability ``1 - exp(-rate * CLOSE_S)``.
    ``moments``: of each recording, ascending.
    """
    gaps = [after - before for row in moments for before, after in itertools.pairwise(row)]
    close = sum(gap <= CLOSE_S * NS_PER_S for gap in gaps)
    if close < 2 or hours <= 0.0:
        return ""
    from scipy.stats import binom

    alarms = sum(len(row) for row in moments)
    chance = -np.expm1(-alarms / hours * CLOSE_S / 3600.0)
    if binom.sf(close - 1, len(gaps), chance) >= _CHANCE:
        return ""
    told = count_of(alarms, "false alarm")
    return f"{close} of {told} come within {CLOSE_S:g} s of the one before: no chance"
