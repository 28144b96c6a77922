"""What is to be shown of a comparison or of a score: events that differ, and what labels say against them."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

from galago_edge.contract.records import EventRecord, event_identity
from galago_workstation.qa.comparison_report import change_text
from galago_workstation.qa.event_diff import EventChange
from galago_workstation.qa.gate_evidence import JudgedPair
from galago_workstation.qa.judged_recording import JudgedRecording
from galago_workstation.qa.matching import AppliedRule, MatchingRule
from galago_workstation.qa.replay_comparison import BundleComparison
from galago_workstation.qa.replayed import Replayed, Stretch, Truth
from galago_workstation.qa.report_words import label_text
from galago_workstation.qa.truth_outcomes import common_rule

T = TypeVar("T")
MISSED, FALSE, UNWATCHED = "missed", "false alarm", "unwatched"
KINDS = (
    "lost",
    MISSED,
    FALSE,
    "gained",
    "cross-trigger",
    "moved",
    "rescored",
    "late",
    "repeat",
    UNWATCHED,
    "found",
)
"""The most interesting first."""
_FATES = {"found": "found", "late": "late", "repeat": "repeat", "cross": "cross-trigger", "false": FALSE}


@dataclass(frozen=True, slots=True)
class ShownEvent:
    """One event, or one truth that nobody found, and who said what of it."""

    kind: str
    """One of ``KINDS``."""
    replays: tuple[Replayed, ...]
    """Of its recording, one for each bundle."""
    label: str
    events: tuple[EventRecord | None, ...]
    """What each bundle decided."""
    asked: tuple[Stretch, ...]
    """Decisions of each bundle in this time, both ends included, are what its reason is about."""
    what: str
    truth: str = ""
    """What it was against the labels; empty in a recording without."""
    missing: Truth | None = None
    """What was there and was not found by the newest bundle."""
    outcomes: tuple[str, ...] = ()
    """What the event of each bundle was; empty: each as ``truth`` says."""

    @property
    def recording(self) -> str:
        """Name of the recording."""
        return self.replays[-1].recording

    @property
    def at_ns(self) -> int:
        """When it was decided, first by the oldest bundle that has it; of a truth, when it began."""
        return next((one.end_ns for one in self.events if one), self.missing.start_ns if self.missing else 0)

    @property
    def marks(self) -> tuple[str, ...]:
        """Return what it is found under."""
        newest = self.outcomes[-1] if self.outcomes else self.truth
        false = newest == FALSE and self.events[-1] is not None
        missed = self.missing is not None and self.kind != UNWATCHED  # nobody could have found that
        marks = [self.kind, *[MISSED] * missed, *[FALSE] * false]
        return tuple(dict.fromkeys(marks))

    @property
    def shown_ns(self) -> Stretch:
        """Return from when to when something is to be seen of it."""
        times = [time for one in self.events if one for time in (one.start_ns, one.end_ns)]
        if self.missing is not None:
            times += [self.missing.start_ns, self.missing.end_ns]
        return min(times), max(times)


def compared_events(found: BundleComparison, rule: MatchingRule) -> list[ShownEvent]:
    """Return what differs between two bundles, and what NEW misses or says wrongly as OLD did.

    By recording and time. ``rule``: by which ``found`` was judged.
    """
    changes: dict[str, list[EventChange]] = {}
    for change in found.diff.changes:
        changes.setdefault(change.recording, []).append(change)
    shown: list[ShownEvent] = []
    for judged in found.judged:
        tolerance_ns = found.diff.tolerance_ns[judged.pair.name]
        shown += _of_pair(judged, changes.get(judged.pair.name, []), tolerance_ns, rule)
    return sorted(shown, key=_place)


def _of_pair(
    judged: JudgedPair, changes: Sequence[EventChange], tolerance_ns: int, rule: MatchingRule
) -> Iterator[ShownEvent]:
    replays = (judged.pair.old, judged.pair.new)
    missing = {
        event_identity(old.event): old.truth
        for old, new in judged.truths
        if old.event is not None and not new.found
    }
    told: set[tuple[str | int, ...]] = set()
    for change in changes:
        truth = (
            missing.pop(event_identity(change.old), None) if change.kind == "lost" and change.old else None
        )
        told.update(event_identity(one) for one in (change.old, change.new) if one)
        yield ShownEvent(
            change.kind,
            replays,
            change.label,
            (change.old, change.new),
            _asked((change.old, change.new), tolerance_ns),
            change_text(change).replace("->", "\u2192"),  # one character is not broken over two lines
            change.truth,
            truth,
            (change.old_truth, change.new_truth),
        )
    for old, new in judged.truths:
        if new.found or (old.event is not None and event_identity(old.event) not in missing):
            continue
        window = common_rule(rule, replays).applied(judged.pair.new).window(new.truth)
        what = "both bundles missed it" if old.event is None else "OLD found it"
        yield ShownEvent(
            *(MISSED, replays, new.truth.label, (old.event, None), (window, window), what, MISSED, new.truth)
        )
    for before, after in judged.alarms:
        if before and after and not {event_identity(before), event_identity(after)} & told:
            asked = _asked((before, after), tolerance_ns)
            yield ShownEvent(
                *(FALSE, replays, after.label, (before, after), asked, "the same with both bundles", FALSE)
            )


def _asked(events: Sequence[EventRecord | None], tolerance_ns: int) -> tuple[Stretch, ...]:
    """Return when each bundle's event was decided; where it has none, when it would be the same one."""
    at_ns = next(one.end_ns for one in events if one)
    missing = (at_ns - tolerance_ns, at_ns + tolerance_ns)
    return tuple((one.end_ns, one.end_ns) if one else missing for one in events)


def scored_events(judged: Iterable[JudgedRecording]) -> list[ShownEvent]:
    """Return every truth that was not found, and every event with its fate. By recording and time."""
    shown = []
    for one in judged:
        shown += [*_lacking(one, one.grounds.rule), *_decided(one)]
    return sorted(shown, key=_place)


def _lacking(judged: JudgedRecording, rule: AppliedRule) -> Iterator[ShownEvent]:
    for one in judged.truths:
        if one.fate in ("missed", "unwatched"):
            what = "nothing found it" if one.fate == "missed" else "nothing could be decided there"
            window = rule.window(one.truth)
            yield ShownEvent(
                *(
                    one.fate,
                    (judged.replayed,),
                    one.truth.label,
                    (None,),
                    (window,),
                    what,
                    one.fate,
                    one.truth,
                )
            )


def _decided(judged: JudgedRecording) -> Iterator[ShownEvent]:
    for one in judged.events:
        if (kind := _FATES.get(one.fate)) is None:
            continue
        event, what = one.event, f"score {one.event.score:.3f}"
        if one.truth is not None and kind == "found":
            what += f", {(event.end_ns - one.truth.start_ns) / 1e9:.2f} s after its start"
        elif one.truth is not None:
            what += f", in the time of {label_text(one.truth.label)}"
        asked = (event.end_ns, event.end_ns)
        yield ShownEvent(kind, (judged.replayed,), event.label, (event,), (asked,), what, kind)


def _place(one: ShownEvent) -> tuple[str, int, str, int]:
    return one.recording, one.at_ns, one.label, KINDS.index(one.kind)


def chosen(shown: Sequence[ShownEvent], count: int) -> list[int]:
    """Return the numbers of ``count`` of them, or fewer: of each kind in turn, of each recording in turn.

    The first of a long list would all be of one night.
    """
    numbers = range(len(shown))
    kinds = [
        list(_in_turns(_grouped(group, lambda number: shown[number].recording)))
        for group in sorted(
            _grouped(numbers, lambda number: shown[number].kind), key=lambda group: _rank(shown[group[0]])
        )
    ]
    return list(_in_turns(kinds))[:count]


def _rank(one: ShownEvent) -> int:
    return KINDS.index(one.kind)


def _grouped(values: Iterable[T], key: Callable[[T], Hashable]) -> list[list[T]]:
    groups: dict[Hashable, list[T]] = {}
    for value in values:
        groups.setdefault(key(value), []).append(value)
    return list(groups.values())


def _in_turns(groups: Sequence[Sequence[T]]) -> Iterator[T]:
    """Yield the first of each group, then the second of each.

    >>> "".join(_in_turns(["ad", "b", "cef"]))
    'abcdef'
    """
    for place in range(max(map(len, groups), default=0)):
        yield from (group[place] for group in groups if place < len(group))
