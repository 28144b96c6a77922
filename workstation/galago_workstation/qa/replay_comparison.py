"""Two bundles on the same recordings: the whole of ``galago qa diff``, from replays to an exit code."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from galago_edge.contract.count_words import count_of
from galago_edge.contract.errors import InputError, Reason
from galago_edge.contract.manifest import Label
from galago_edge.contract.records import event_identity
from galago_workstation.qa.event_diff import (
    EventChange,
    EventDiff,
    ReplayPair,
    diff_events,
    differing_labels,
    labels_of,
    names_of,
    one_sided,
    pair_recordings,
)
from galago_workstation.qa.gate_evidence import JudgedPair, gather, judge
from galago_workstation.qa.gate_rules import GateRules, bind_gates
from galago_workstation.qa.label_rows import refuse_unknown
from galago_workstation.qa.matching import MatchingRule
from galago_workstation.qa.recording_losses import RecordingLosses
from galago_workstation.qa.release_verdict import ReleaseVerdict, decide
from galago_workstation.qa.replayed import Replayed
from galago_workstation.qa.report_words import label_text, unlabelled_text, unwatched_text
from galago_workstation.qa.window_agreement import WindowAgreement, window_agreement

_Said = tuple[str, int, tuple[str | int, ...]]
"""An event: its recording, 0 for OLD and 1 for NEW, and what it is told by."""


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
    notes: tuple[str, ...]
    """What else is to be known of what was compared, in lines."""
    losses: RecordingLosses
    """What failed and is not compared, and what was read in part."""

    @property
    def exit_code(self) -> int:
        """0 pass or no gates, 1 fail, 7 inconclusive; where that is 0, that of the recording that failed."""
        verdict = 0 if self.verdict is None else self.verdict.stance.exit_code
        return verdict or self.losses.exit_code


def refuse_before(
    old: Sequence[Label],
    new: Sequence[Label],
    tags: Sequence[Mapping[str, str]],
    *,
    gates: GateRules | None,
    gates_file: Path | str = "gates",
    common: bool = False,
) -> None:
    """Refuse what :func:`compare_bundles` would, as far as it is known before hours of replaying.

    ``old``, ``new``: the bundles' labels; ``tags``: of each recording.

    Raises:
        InputError: LABELS_MISMATCH; the bundles' labels differ, see :func:`differing_labels`.
        CallerError: CONFIG_BAD; a gate names a label, a tag or a value of one that there is not.
    """
    _, came = differing_labels(names_of(old), names_of(new), common=common)
    if gates is not None:
        bind_gates(gates, [name for name in names_of(new) if name not in came], tags, file=str(gates_file))


def compare_bundles(
    old: Sequence[Replayed],
    new: Sequence[Replayed],
    *,
    gates: GateRules | None = None,
    gates_file: Path | str = "gates",
    common: bool = False,
    tolerance_ns: int | None = None,
    rule: MatchingRule | None = None,
    losses: RecordingLosses | None = None,
) -> BundleComparison:
    """Compare what two bundles said to the same recordings.

    Args:
        old: What OLD said, or what a baseline says that it did.
        new: What NEW said.
        gates: What NEW must not break.
        gates_file: For messages.
        common: Compare the recordings and labels that both have, and say what that leaves out.
        tolerance_ns: How far an event may move and is still the same; None: one window, at least 1 s.
        rule: When an event counts for what was there; None: as in a score. See :func:`common_rule`.
        losses: What of the corpus failed and is not among the replays, and what was read in part.

    Raises:
        InputError: SOURCE_MISMATCH, DATA_BAD, LABELS_MISMATCH; see :func:`pair_recordings`,
            :func:`differing_labels`. LABELS_MISMATCH; a truth has a label that neither bundle has, and
            ``common`` is not asked for.
        CallerError: CONFIG_BAD; a gate names a label or tag that there is not. USAGE; a negative tolerance,
            or nobody knows how late an event may come.
    """  # fmt: skip
    for name, replays in (("OLD", old), ("NEW", new)):
        if len(bundles := {each.bundle for each in replays}) > 1:
            raise InputError(
                Reason.SOURCE_MISMATCH,
                f"what {name} said comes from {count_of(len(bundles), 'bundle')}, one is needed",
                hint="replay the corpus with one bundle",
            )
    pairs, left_out = pair_recordings(old, new, common=common)
    diff = diff_events(pairs, tolerance_ns=tolerance_ns, common=common)
    labels = tuple(name for name in labels_of(pair.new for pair in pairs) if name not in diff.only_new)
    left_out += [f"left out: label {label_text(name)} only in {which}" for which, names in
                 (("OLD", diff.only_old), ("NEW", diff.only_new)) for name in names]  # fmt: skip
    unknown = sorted(
        {each.label for pair in pairs if pair.new.truth for each in pair.new.truth.events} - {*labels}
    )
    left_out += [
        f"left out: label {label_text(name)} of what was there, which is not compared" for name in unknown
    ]
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
        (*_one_bundle(pairs[0]), *one_sided(old, new), *_not_judged(judged)), losses or RecordingLosses(),
    )  # fmt: skip


def _one_bundle(pair: ReplayPair) -> list[str]:
    """Say it when a bundle is compared with itself: that is allowed, and mostly a mistake."""
    if pair.old.bundle != pair.new.bundle:
        return []
    alike = "" if pair.old.labels == pair.new.labels else ", with other overrides of the policy"
    return [f"OLD and NEW are the same bundle{alike}"]


def _not_judged(judged: Sequence[JudgedPair]) -> list[str]:
    """Say what of the recordings is in no figure of what was there."""
    bare = [each.pair.name for each in judged if not each.labelled]
    unwatched = sum(each.unwatched for each in judged)
    return [unlabelled_text(bare)] * bool(bare) + [unwatched_text(unwatched)] * bool(unwatched)


def _refuse_unknown_to_both(pairs: Sequence[ReplayPair]) -> None:
    """Refuse a truth that no bundle could find: its label is misspelt, or of another corpus."""
    for pair in pairs:
        if pair.new.truth is not None:
            known = (*pair.old.labels, *pair.new.labels)
            refuse_unknown(pair.new.truth, known, name=f"labels of {pair.name}")


def _told(diff: EventDiff, judged: Sequence[JudgedPair]) -> EventDiff:
    """Say of each change what the event was, where there are labels, and what is two changes of one truth."""
    told: dict[_Said, str] = {}
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
        if change.recording in labelled:
            old, new = (
                "" if event is None else told.get((change.recording, side, event_identity(event)), "repeat")
                for side, event in enumerate((change.old, change.new))
            )
            change = replace(change, old_truth=old, new_truth=new)
        changes.append(change)
    return replace(diff, changes=tuple(_linked(changes, judged)))


def _linked(changes: Sequence[EventChange], judged: Sequence[JudgedPair]) -> Iterator[EventChange]:
    """Yield the changes; of one lost and one gained that found one truth, each says when the other was."""
    alone = {key for change in changes if (key := _alone(change)) is not None}
    others: dict[_Said | None, int] = {}
    for each in judged:
        for old, new in each.truths:
            if old.event is None or new.event is None:
                continue
            lost, gained = (
                (each.pair.name, n, event_identity(one)) for n, one in enumerate((old.event, new.event))
            )
            if lost in alone and gained in alone:
                others |= {lost: new.event.end_ns, gained: old.event.end_ns}
    for change in changes:
        yield replace(change, same_truth_ns=others.get(_alone(change)))


def _alone(change: EventChange) -> _Said | None:
    """Return the event that only one of the two bundles has; None where both have it."""
    if change.old is not None and change.new is not None:
        return None
    event, side = (change.old, 0) if change.old is not None else (change.new, 1)
    assert event is not None
    return change.recording, side, event_identity(event)


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
