"""What two bundles said to the same recordings: events lost, gained, moved, rescored."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from galago_edge.contract.count_words import count_of
from galago_edge.contract.errors import CallerError, InputError, Reason
from galago_edge.contract.manifest import Label
from galago_edge.contract.records import EventRecord
from galago_edge.contract.streams import NS_PER_S
from galago_workstation.qa.event_matching import match_moments
from galago_workstation.qa.replayed import Replayed

LEAST_TOLERANCE_NS = NS_PER_S
"""Two events of one label are one event that moved when they are at most so far apart, or one window."""


@dataclass(frozen=True, slots=True)
class ReplayPair:
    """One recording, and what each of the two bundles said to it. Both have one truth and one set of tags."""

    old: Replayed
    new: Replayed

    @property
    def name(self) -> str:
        """The recording's name in the corpus."""
        return self.new.recording


@dataclass(frozen=True, slots=True)
class EventChange:
    """An event of one label in one recording that is not the same with both bundles."""

    recording: str
    label: str
    old: EventRecord | None
    new: EventRecord | None
    old_truth: str = ""
    """What the event of OLD was: ``right``, ``false alarm``, or ``repeat``, as is what is not judged; empty
    without such an event, and in a recording without labels."""
    new_truth: str = ""
    """The same of the event of NEW."""
    same_truth_ns: int | None = None
    """Of an event lost or gained: when the other bundle decided the same truth by one that is gained or lost;
    it is further away than an event may move. None where it did not."""

    @property
    def truth(self) -> str:
        """Both outcomes in a word where they are one, otherwise ``right -> repeat``; empty without labels."""
        told = dict.fromkeys(one for one in (self.old_truth, self.new_truth) if one)
        return " -> ".join(told)

    @property
    def kind(self) -> str:
        """``lost``, ``gained``, ``moved`` (its score may differ, too) or ``rescored``."""
        if self.new is None:
            return "lost"
        return "gained" if self.old is None else "moved" if self.shift_ns else "rescored"

    @property
    def at_ns(self) -> int:
        """Stream time of its decision: by the old bundle, if it had one."""
        event = self.old or self.new
        assert event is not None
        return event.end_ns

    @property
    def shift_ns(self) -> int:
        """How much later the new bundle decided it; 0 where only one did."""
        return self.new.end_ns - self.old.end_ns if self.old and self.new else 0

    @property
    def score_change(self) -> float:
        """How much higher the new bundle's score is; 0 where only one decided it."""
        return self.new.score - self.old.score if self.old and self.new else 0.0


@dataclass(frozen=True, slots=True)
class EventDiff:
    """All events of two bundles on the same recordings."""

    changes: tuple[EventChange, ...]
    """By recording, time, label."""
    same: int
    """Events that both have at the same moment with the same score."""
    moved_only: int
    """Of the moved ones, those with the same score."""
    tolerance_ns: Mapping[str, int]
    """By recording: how far an event may move and is still the same."""
    only_old: tuple[str, ...] = ()
    """Labels that only the old bundle has, left out (``--common``)."""
    only_new: tuple[str, ...] = ()

    @property
    def of_same_truths(self) -> int:
        """How many of the lost ones are of the same truth as one of the gained."""
        return sum(change.kind == "lost" and change.same_truth_ns is not None for change in self.changes)

    @property
    def counts(self) -> dict[str, int]:
        """How many of each kind, and ``same``."""
        kinds = Counter(change.kind for change in self.changes)
        return {kind: kinds[kind] for kind in ("lost", "gained", "moved", "rescored")} | {"same": self.same}


def pair_recordings(
    old: Sequence[Replayed], new: Sequence[Replayed], *, common: bool = False
) -> tuple[list[ReplayPair], list[str]]:
    """Pair what two bundles said by the recordings' content, and say in lines what was left out.

    ``common``: take what both have, recordings and labels, and say what that leaves out. Both are judged by
    one truth: where only one of the two says what is there, it is that one. Tags are those of ``new``. Both
    is said by :func:`one_sided`.

    Raises:
        InputError: SOURCE_MISMATCH; one has a recording that the other lacks, or one recording twice, or no
            recording is left. DATA_BAD; the labels of one recording contradict each other.
    """
    said: list[str] = []
    olds, news = _by_hash(old, "OLD"), _by_hash(new, "NEW")
    for mine, other, name in ((olds, news, "OLD"), (news, olds, "NEW")):
        missing = [each.recording for key, each in mine.items() if key not in other]
        if missing:
            said.append(f"{_some(missing)} only in {name}")
    if said and not common:
        raise InputError(
            Reason.SOURCE_MISMATCH,
            f"both must have the same recordings (by content): {', '.join(said)}",
            hint="replay the whole corpus with both bundles, or compare what both have with --common",
        )
    both = [(olds[key], each) for key, each in news.items() if key in olds]
    _refuse_contradiction(both)
    pairs = [_on_one_ground(*sides) for sides in both]
    if not pairs:
        raise InputError(
            Reason.SOURCE_MISMATCH, "no recording was heard or seen by both",
            hint="replay one corpus with both bundles",
        )  # fmt: skip
    if unlike := [pair.name for pair in pairs if pair.old.faults != pair.new.faults]:
        raise InputError(
            Reason.SOURCE_MISMATCH,
            f"OLD and NEW were replayed with other faults: {_some(unlike)}",
            hint="replay the corpus with both bundles and the same --faults, or with none",
        )
    return sorted(pairs, key=lambda pair: pair.name), [f"left out: {each}" for each in said]


def _refuse_contradiction(both: Sequence[tuple[Replayed, Replayed]]) -> None:
    """Refuse what cannot be judged by one truth.

    Raises:
        InputError: DATA_BAD; of one recording OLD's labels say something else than NEW's.
    """
    unlike = [new.recording for old, new in both if old.truth and new.truth and old.truth != new.truth]
    if unlike:
        raise InputError(
            Reason.DATA_BAD,
            f"the labels of OLD and NEW contradict each other in {count_of(len(unlike), 'recording')}: "
            f"{_some(unlike)}",
            hint="replay the corpus, with its labels as they are now, with both bundles: docs/qa-diff.md",
        )


def _on_one_ground(old: Replayed, new: Replayed) -> ReplayPair:
    truth = old.truth if new.truth is None else new.truth
    return ReplayPair(
        replace(old, truth=truth, tags=new.tags, recording=new.recording), replace(new, truth=truth)
    )


def one_sided(old: Sequence[Replayed], new: Sequence[Replayed]) -> list[str]:
    """Say what only one side knows of the recordings of both. A baseline has no truth, and needs none."""
    news = {each.sha256: each for each in new}
    both = [(each, news[each.sha256]) for each in old if each.sha256 in news]
    of_old = [new.recording for old, new in both if old.truth and not new.truth]
    tagged = [new.recording for old, new in both if dict(old.tags) != dict(new.tags)]
    return [f"judged by the labels of OLD, NEW has none: {_some(of_old)}"] * bool(of_old) + [
        f"the tags are those of NEW, OLD has others: {_some(tagged)}"
    ] * bool(tagged)


def _by_hash(replays: Sequence[Replayed], which: str) -> dict[str, Replayed]:
    found: dict[str, Replayed] = {}
    for each in replays:
        if (other := found.setdefault(each.sha256, each)) is not each:
            raise InputError(
                Reason.SOURCE_MISMATCH,
                f"{which} has one recording twice: {other.recording} and {each.recording} are the same bytes",
                hint="take one of them out of the corpus: it would count double",
            )
    return found


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(sorted(names)[:3])
    return shown if len(names) <= 3 else f"{shown} and {len(names) - 3} more"


def labels_of(replays: Iterable[Replayed]) -> tuple[str, ...]:
    """Return the names of all labels that can become events, in the order of the first bundle."""
    return tuple(dict.fromkeys(name for each in replays for name in names_of(each.labels)))


def names_of(labels: Iterable[Label]) -> tuple[str, ...]:
    """Return the names of those that can become events."""
    return tuple(label.name for label in labels if not label.background)


def differing_labels(
    old: Sequence[str], new: Sequence[str], *, common: bool
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the labels that only the old bundle has, and those that only the new one has.

    Raises:
        InputError: LABELS_MISMATCH; there are some and ``common`` is not asked for, or none is common.
    """
    gone, came = tuple(_only_in(old, new)), tuple(_only_in(new, old))
    if (gone or came) and not common:
        parts = [f"only OLD has {_some(gone)}"] * bool(gone) + [f"only NEW has {_some(came)}"] * bool(came)
        raise InputError(
            Reason.LABELS_MISMATCH,
            f"the bundles' labels differ: {', '.join(parts)}",
            hint="compare bundles of the same labels, or the labels that both have with --common",
        )
    if len(gone) == len(old):
        raise InputError(
            Reason.LABELS_MISMATCH, "the bundles have no label in common",
            hint="compare bundles of the same labels",
        )  # fmt: skip
    return gone, came


def _only_in(mine: Sequence[str], other: Sequence[str]) -> list[str]:
    return [name for name in mine if name not in other]


def tolerance_of(pair: ReplayPair, asked_ns: int | None) -> int:
    """Return how far an event may move and is still the same: as asked, else one window, at least 1 s."""
    if asked_ns is not None:
        return asked_ns
    return max(LEAST_TOLERANCE_NS, pair.old.receptive_ns, pair.new.receptive_ns)


def matched(
    old: Iterable[EventRecord], new: Iterable[EventRecord], tolerance_ns: int
) -> list[tuple[EventRecord | None, EventRecord | None]]:
    """Return the events of one recording in pairs of one label each; None where one has no partner.

    One to one, as many as can be, then of least total shift of the decisions (``end_ns``). By time and label.
    """
    sides: dict[str, tuple[list[EventRecord], list[EventRecord]]] = defaultdict(lambda: ([], []))
    for side, events in enumerate((old, new)):
        for event in sorted(events, key=lambda each: (each.end_ns, each.start_ns, each.seq)):
            sides[event.label][side].append(event)
    found: list[tuple[EventRecord | None, EventRecord | None]] = []
    for olds, news in sides.values():
        pairs = match_moments([each.end_ns for each in olds], [each.end_ns for each in news], tolerance_ns)
        of_old, of_new = {row for row, _ in pairs}, {column for _, column in pairs}
        found += [(olds[row], news[column]) for row, column in pairs]
        found += [(each, None) for row, each in enumerate(olds) if row not in of_old]
        found += [(None, each) for column, each in enumerate(news) if column not in of_new]
    return sorted(found, key=_place)


def _place(pair: tuple[EventRecord | None, EventRecord | None]) -> tuple[int, str, int]:
    event = pair[0] or pair[1]
    assert event is not None
    return event.end_ns, event.label, 0 if pair[0] else 1


def diff_events(
    pairs: Sequence[ReplayPair], *, tolerance_ns: int | None = None, common: bool = False
) -> EventDiff:
    """Compare the events of two bundles.

    Raises:
        InputError: LABELS_MISMATCH, as of :func:`differing_labels`.
        CallerError: USAGE; the tolerance is negative.
    """
    if tolerance_ns is not None and tolerance_ns < 0:
        raise CallerError(Reason.USAGE, "the tolerance is negative", hint="give 0 s or more")
    gone, came = differing_labels(
        labels_of(pair.old for pair in pairs), labels_of(pair.new for pair in pairs), common=common
    )
    out = {*gone, *came}
    changes: list[EventChange] = []
    same = moved_only = 0
    for pair in pairs:
        olds, news = (
            [each for each in side.events if each.label not in out] for side in (pair.old, pair.new)
        )
        for old, new in matched(olds, news, tolerance_of(pair, tolerance_ns)):
            event = old or new
            assert event is not None
            change = EventChange(pair.name, event.label, old, new)
            if old and new and not change.shift_ns and not change.score_change:
                same += 1
            else:
                moved_only += change.kind == "moved" and not change.score_change
                changes.append(change)
    tolerances = {pair.name: tolerance_of(pair, tolerance_ns) for pair in pairs}
    return EventDiff(tuple(changes), same, moved_only, tolerances, gone, came)
