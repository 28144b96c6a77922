"""Judges the records of a replay by what was expected of it, while they come."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, get_args

from galago_edge.contract.errors import CallerError, Reason
from galago_edge.contract.known_names import known_names
from galago_edge.contract.manifest import Label
from galago_edge.contract.records import EventRecord, GapRecord, Record, StateRecord, told_ns
from galago_edge.contract.status import Liveness
from galago_edge.contract.streams import NS_PER_S
from galago_edge.sources.faults.fault_tables import ExpectedTable
from galago_edge.sources.faults.faulted_source import FORGIVEN_NS

SOURCE_STATES = (
    *get_args(Liveness),
    *("implausible", "plausible", "view_learning", "view_learned", "view_unjudged", "view_judged"),
    *("view_unsaved", "converted", "truncated", "unreadable", "unfinished", "unclaimed", "odd_byte"),
    *("offset", "rate", "stamps", "rotation", "stray_files", "not_numbered", "too_short", "ahead"),
)
"""What records of subject ``source`` can say (docs/events.md); another word would never be met."""
_STATES = {
    "source": SOURCE_STATES,
    "stream": ("started", "ended", "failed"),
    "gate": ("open", "closed"),
}
"""Subjects of a replay, and what is said of each. Of the others (docs/events.md) the service alone speaks."""
_LABEL, _LABEL_STATES = "label:", ("off",)
_SHOWN = 3
"""So many of what was found are named."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """One expectation, and what there was."""

    number: int
    """In the file's expectations of this stream, from 1."""
    expected: str
    """In words."""
    met: bool
    found: str
    """In words."""

    def __str__(self) -> str:
        """Return one line."""
        return f"{'met' if self.met else 'NOT met'}: {self.expected}; found {self.found}"

    def data(self) -> dict[str, Any]:
        """Return it for programs."""
        return {"number": self.number, "expected": self.expected, "met": self.met, "found": self.found}


class Expectations:
    """What must be in the records of one stream. Takes records in their order and keeps counts alone."""

    def __init__(self, expected: Sequence[ExpectedTable], labels: Sequence[Label]) -> None:
        """Expect all of it of a bundle with these labels.

        Raises:
            CallerError: CONFIG_BAD; a label never makes events, or a state is said by no replay: it would be
                met never, or always.
        """
        for number, one in enumerate(expected, 1):
            _check_names(number, one, labels)
        self._judges = [_Judge(one) for one in expected]
        self._end_ns = 0

    def take(self, records: Iterable[Record]) -> None:
        """Count what is expected, and what is expected not to be."""
        for record in records:
            self._end_ns = max(self._end_ns, told_ns(record))
            for judge in self._judges:
                judge.take(record)

    def judged(self) -> list[Judgement]:
        """Return every expectation with what was found, when all records were taken."""
        return [judge.judged(number, self._end_ns) for number, judge in enumerate(self._judges, 1)]


@dataclass(slots=True)
class _Judge:
    table: ExpectedTable
    count: int = 0
    missed_ns: int = 0
    """Of the time between from and to, what is in gaps."""
    shown: list[str] = field(default_factory=list)

    def take(self, record: Record) -> None:
        from_ns, to_ns = self.table.span_ns
        if isinstance(record, GapRecord):
            begin_ns = max(record.from_ns, from_ns)
            end_ns = record.to_ns if to_ns is None else min(record.to_ns, to_ns)
            self.missed_ns += max(0, end_ns - begin_ns)
        if (said := self._counts(record)) is not None:
            self.count += 1
            if len(self.shown) < _SHOWN:
                self.shown.append(said)

    def judged(self, number: int, end_ns: int) -> Judgement:
        from_ns, to_ns = self.table.span_ns
        expected = _in_words(self.table)
        if max(from_ns, (to_ns or 0) - FORGIVEN_NS) >= end_ns > 0 or not end_ns:
            found = f"the end of the recording already at {_seconds(end_ns)}"
            return Judgement(number, expected, False, found)
        if self.table.kind == "watched":
            return self._watched(number, expected, max(0, min(to_ns or end_ns, end_ns) - from_ns))
        found = f"{self.count}"
        if self.shown:
            more = self.count - len(self.shown)
            found += f" ({', '.join(self.shown)}{f' and {more} more' if more else ''})"
        wanted = self.table.count
        met = self.count >= 1 if wanted is None else self.count == wanted
        return Judgement(number, expected, met, found if self.count else "none")

    def _watched(self, number: int, expected: str, length_ns: int) -> Judgement:
        watched_s = max(0, length_ns - self.missed_ns) / NS_PER_S
        low, high = self.table.min_s, self.table.max_s
        met = (low is None or watched_s >= low) and (high is None or watched_s <= high)
        return Judgement(number, expected, met, f"{watched_s:g} s of {length_ns / NS_PER_S:g} s")

    def _counts(self, record: Record) -> str | None:
        """Return in a few words what of the record is counted; None when it is not."""
        table = self.table
        from_ns, to_ns = table.span_ns
        if isinstance(record, EventRecord) and table.kind == "event":
            fits = table.label in (None, record.label) and _between(record.end_ns, from_ns, to_ns)
            return f"{record.label} at {_seconds(record.end_ns)}" if fits else None
        if isinstance(record, StateRecord) and table.kind == "state":
            fits = (table.subject or "source", table.state) == (record.subject, record.state)
            fits = fits and table.what in (None, record.detail.get("what"))
            return f"at {_seconds(record.ns)}" if fits and _between(record.ns, from_ns, to_ns) else None
        if not isinstance(record, GapRecord) or table.kind != "gap":
            return None
        length_s = (record.to_ns - record.from_ns) / NS_PER_S
        fits = (
            table.cause in (None, record.cause)
            and from_ns <= record.from_ns
            and (to_ns is None or record.to_ns <= to_ns)
            and (table.min_s is None or length_s >= table.min_s)
            and (table.max_s is None or length_s <= table.max_s)
        )
        return f"{record.cause} {_seconds(record.from_ns)} to {_seconds(record.to_ns)}" if fits else None


def _between(at_ns: int, from_ns: int, to_ns: int | None) -> bool:
    return from_ns <= at_ns and (to_ns is None or at_ns <= to_ns)


def _check_names(number: int, table: ExpectedTable, labels: Sequence[Label]) -> None:
    if problem := _wrong_label(table, labels) or _wrong_state(table):
        raise CallerError(
            Reason.CONFIG_BAD, f"expectation {number} names {problem}", hint="see docs/replay-faults.md"
        )


def _wrong_label(table: ExpectedTable, labels: Sequence[Label]) -> str:
    """Return why no event is of the label that is named; empty for nothing."""
    subject = table.subject or ""
    name = subject.removeprefix(_LABEL) if subject.startswith(_LABEL) else table.label
    if name is None:
        return ""
    what = f"label {name}" if table.label is not None else f"subject {subject}"
    eventful = [label.name for label in labels if not label.background]
    if name in eventful:
        return ""
    if any(label.name == name for label in labels):
        there = known_names("", eventful)
        return f"{what}, a background label, which never becomes an event: {there}"
    return f"{what}: {known_names(name, eventful)}"


def _wrong_state(table: ExpectedTable) -> str:
    """Return why no replay has a record of such a state; empty for nothing."""
    if table.kind != "state" or table.state is None:
        return ""
    subject = table.subject or "source"
    of_label = subject.startswith(_LABEL)
    if not of_label and subject not in _STATES:
        there = known_names(subject, [*_STATES, f"{_LABEL}NAME"])
        return f"subject {subject}, of which no replay has a record: {there}"
    states = _LABEL_STATES if of_label else _STATES[subject]
    if table.state in states:
        return ""
    whose = "" if subject == "source" else f" of {subject}"
    return f"state {table.state}{whose}: {known_names(table.state, states)}"


def _in_words(table: ExpectedTable) -> str:
    from_ns, to_ns = table.span_ns
    number = {None: "", 0: "no "}.get(table.count, f"{table.count} ")
    what = {
        "event": f"event {table.label or 'of any label'}",
        "gap": f"gap {table.cause or 'of any cause'}",
        "state": f"state {table.subject or 'source'} {table.state}{f' ({table.what})' if table.what else ''}",
        "watched": "watched",
    }[table.kind]
    given = (("at least", table.min_s), ("at most", table.max_s))
    bounds = [f"{which} {seconds:g} s" for which, seconds in given if seconds is not None]
    end = "the end" if to_ns is None else _seconds(to_ns)
    return f"{number}{what}{' '.join(['', *bounds])} between {_seconds(from_ns)} and {end}"


def _seconds(ns: int) -> str:
    return f"{round(ns / NS_PER_S, 3):g} s"
