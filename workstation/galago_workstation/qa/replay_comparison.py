"""Two bundles on the same recordings: the whole of ``galago qa diff``, from replays to an exit code."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from galago_edge.contract.errors import InputError, Reason
from galago_edge.contract.records import event_identity
from galago_workstation.qa.event_diff import (
    EventDiff,
    ReplayPair,
    diff_events,
    labels_of,
    pair_recordings,
)
from galago_workstation.qa.gate_evidence import JudgedPair, gather, judge
from galago_workstation.qa.gate_rules import GateRules, bind_gates
from galago_workstation.qa.label_rows import refuse_unknown
from galago_workstation.qa.matching import MatchingRule
from galago_workstation.qa.release_verdict import ReleaseVerdict, decide
from galago_workstation.qa.replayed import Replayed
from galago_workstation.qa.window_agreement import WindowAgreement, window_agreement


@dataclass(frozen=True, slots=True)
class WhoWasRight:
    """Things that were there, by who found them; one label, or all together."""

    label: str
    both: int
    only_old: int
    only_new: int
    neither: int

    @property
    def there(self) -> int:
        """How many there were."""
        return self.both + self.only_old + self.only_new + self.neither

    @property
    def negative_flips(self) -> float:
        """Share that OLD found and NEW did not (NFR); 0 of none."""
        return self.only_old / self.there if self.there else 0.0

    @property
    def positive_flips(self) -> float:
        """Share that NEW found and OLD did not (PFR); 0 of none."""
        return self.only_new / self.there if self.there else 0.0

    @property
    def chance(self) -> float:
        """Exact McNemar: how often luck alone makes equal bundles differ so much, at one look; 1 of none."""
        differing = self.only_old + self.only_new
        if not differing:
            return 1.0
        from scipy.stats import binomtest

        return float(binomtest(self.only_old, differing).pvalue)


@dataclass(frozen=True, slots=True)
class BundleComparison:
    """Everything that can be said of two bundles on the same recordings."""

    old: str
    """Ids of the bundles."""
    new: str
    recordings: int
    hours: float
    """Recorded; of the recordings that both have."""
    labels: tuple[str, ...]
    """Compared, background left out."""
    diff: EventDiff
    windows: WindowAgreement
    right: tuple[WhoWasRight, ...]
    """All together first, then each label; empty without labelled recordings."""
    judged: tuple[JudgedPair, ...]
    verdict: ReleaseVerdict | None
    """None: there are no gates."""
    left_out: tuple[str, ...]
    """What was not compared, in lines."""

    @property
    def exit_code(self) -> int:
        """0 pass or no gates, 1 fail, 7 inconclusive."""
        return 0 if self.verdict is None else self.verdict.stance.exit_code


def compare_bundles(
    old: Sequence[Replayed],
    new: Sequence[Replayed],
    *,
    gates: GateRules | None = None,
    gates_file: Path | str = "gates",
    common: bool = False,
    tolerance_ns: int | None = None,
    rule: MatchingRule | None = None,
) -> BundleComparison:
    """Compare what two bundles said to the same recordings.

    Args:
        old: What OLD said, or what a baseline says that it did.
        new: What NEW said, with the truth that counts.
        gates: What NEW must not break.
        gates_file: For messages.
        common: Compare the recordings and labels that both have, and say what that leaves out.
        tolerance_ns: How far an event may move and is still the same; None: one window, at least 1 s.
        rule: When an event counts for what was there; None: as in a score. See :func:`common_rule`.

    Raises:
        InputError: SOURCE_MISMATCH, LABELS_MISMATCH; see :func:`pair_recordings`, :func:`differing_labels`.
        CallerError: CONFIG_BAD; a gate names a label or tag that there is not. LABELS_MISMATCH; a truth has a
            label that neither bundle has, and ``common`` is not asked for. USAGE; a negative tolerance,
            or nobody knows how late an event may come.
    """  # fmt: skip
    for name, replays in (("OLD", old), ("NEW", new)):
        if len(bundles := {each.bundle for each in replays}) > 1:
            raise InputError(
                Reason.SOURCE_MISMATCH, f"what {name} said comes from {len(bundles)} bundles, one is needed",
                hint="replay the corpus with one bundle",
            )  # fmt: skip
    pairs, left_out = pair_recordings(old, new, common=common)
    diff = diff_events(pairs, tolerance_ns=tolerance_ns, common=common)
    labels = tuple(name for name in labels_of(pair.new for pair in pairs) if name not in diff.only_new)
    left_out += [f"left out: label {name} only in {which}" for which, names in
                 (("OLD", diff.only_old), ("NEW", diff.only_new)) for name in names]  # fmt: skip
    unknown = sorted(
        {each.label for pair in pairs if pair.new.truth for each in pair.new.truth.events} - {*labels}
    )
    left_out += [f"left out: label {name} of what was there, which is not compared" for name in unknown]
    if not common:
        _refuse_unknown_to_both(pairs)
    burst_s = 0.0 if gates is None else gates.burst_s
    judged = judge(pairs, rule or MatchingRule(), tolerance_ns=tolerance_ns, burst_s=burst_s, labels=labels)
    if any(each.labelled for each in judged) and not any(each.hours for each in judged if each.labelled):
        left_out.append("left out: what was there, for no moment of the labelled recordings is valid")
    verdict = None
    if gates is not None:
        bound = bind_gates(gates, labels, [pair.new.tags for pair in pairs], file=str(gates_file))
        verdict = decide([gather(gate, judged) for gate in bound], gates.wrong_pass, gates.wrong_fail)
    hours = sum(pair.new.duration_ns for pair in pairs) / 3.6e12
    return BundleComparison(
        pairs[0].old.bundle, pairs[0].new.bundle, len(pairs), hours, labels, _told(diff, judged),
        window_agreement(pairs), _who_was_right(judged, labels), tuple(judged), verdict, tuple(left_out),
    )  # fmt: skip


def _refuse_unknown_to_both(pairs: Sequence[ReplayPair]) -> None:
    """Refuse a truth that no bundle could find: its label is misspelt, or of another corpus."""
    for pair in pairs:
        if pair.new.truth is not None:
            known = (*pair.old.labels, *pair.new.labels)
            refuse_unknown(pair.new.truth, known, name=f"labels of {pair.name}")


def _told(diff: EventDiff, judged: Sequence[JudgedPair]) -> EventDiff:
    """Say of each change what the event was, where there are labels."""
    told: dict[tuple[str, int, tuple[str | int, ...]], str] = {}
    for each in judged:
        for side in (0, 1):
            for truth in each.truths:
                if (event := truth[side].event) is not None:
                    told[each.pair.name, side, event_identity(event)] = "right"
            for alarm in each.alarms:
                if (event := alarm[side]) is not None:
                    told[each.pair.name, side, event_identity(event)] = "false alarm"
    labelled = {each.pair.name for each in judged if each.labelled}
    changes = []
    for change in diff.changes:
        side, event = (0, change.old) if change.new is None else (1, change.new)
        assert event is not None
        found = told.get((change.recording, side, event_identity(event)), "repeat")
        changes.append(replace(change, truth=found) if change.recording in labelled else change)
    return replace(diff, changes=tuple(changes))


def _who_was_right(judged: Sequence[JudgedPair], labels: Sequence[str]) -> tuple[WhoWasRight, ...]:
    truths = [both for each in judged for both in each.truths]
    if not any(each.labelled for each in judged):
        return ()
    rows = []
    for label in ("", *labels):
        found = [(old.found, new.found) for old, new in truths if label in ("", new.truth.label)]
        ways = [found.count(way) for way in ((True, True), (True, False), (False, True), (False, False))]
        rows.append(WhoWasRight(label, *ways))
    return tuple(rows)
