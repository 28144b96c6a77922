"""What a release must not break: gates as a TOML file says them, checked against labels and tags that exist.

```toml
wrong_pass = 0.05            # how often a gate may pass though it is broken
wrong_fail = 0.05            # how often it may fail though it holds

[[gate]]
measure = "missed"           # missed, regressed, false_alarms, delay or lost
label = "*"                  # one gate for each label; without it one for all labels together
tags = { site = "barn" }     # only these recordings; "*" makes one gate for each value
above_old_at_most = 0.05     # or at_most, times_old_at_most, at_most_count
```
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from galago_edge.contract.errors import CallerError, Reason
from galago_edge.contract.known_names import known_names
from galago_edge.host.toml_file import load_toml
from galago_workstation.qa.report_words import label_text

Measure = Literal["missed", "regressed", "false_alarms", "delay", "lost"]
EACH = "*"
"""One gate for each label, or for each value of a tag."""
BOUNDS = ("at_most", "above_old_at_most", "times_old_at_most", "at_most_count")
_DOCS = "docs/qa-diff.md"
_MOST_S, _MOST_RATE, _MOST_COUNT = 86_400.0, 1_000_000.0, 1_000_000_000
"""What no bound is above, so that a slip of the pen is no gate that always passes: a day, so many an hour (or
times as many as OLD), so many in a corpus."""
_Level = Annotated[float, msgspec.Meta(ge=1e-6, le=0.5)]

_MAY: Mapping[str, tuple[str, ...]] = {
    "missed": ("at_most", "above_old_at_most", "at_most_count"),
    "regressed": ("at_most", "at_most_count"),
    "false_alarms": BOUNDS,
    "delay": ("at_most", "above_old_at_most"),
    "lost": ("at_most", "at_most_count"),
}
"""Bounds that each measure can have. What compares with OLD by itself needs no other comparison."""


class GateRule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One table ``[[gate]]``. Exactly one of ``BOUNDS`` is given."""

    measure: Measure
    """``missed``: share of what was there that NEW does not find. ``regressed``: share that OLD finds and
    NEW does not. ``false_alarms``: an hour. ``delay``: seconds, a quantile over what was there; what is
    missed is later than any bound. ``lost``: share of OLD's events that NEW does not have, labels or not."""
    label: str = ""
    tags: dict[str, str] = {}
    at_most: float | None = None
    """Of NEW: a share, false alarms an hour, or seconds."""
    above_old_at_most: float | None = None
    """NEW less OLD: shares, false alarms an hour, or seconds by which an event is decided later."""
    times_old_at_most: float | None = None
    """False alarms of NEW, as a multiple of OLD's."""
    at_most_count: Annotated[int, msgspec.Meta(ge=0, le=_MOST_COUNT)] | None = None
    """How many in this corpus: a fact about it, decided without statistics."""
    quantile: Annotated[float, msgspec.Meta(gt=0.0, lt=1.0)] | None = None
    """Of the delay, and of nothing else; see ``delay_quantile``."""
    unit: Literal["event", "recording"] = "event"
    """What is independent of each other: events, or only whole recordings, each of which then counts the
    same. Not for false alarms, whose hours are independent."""
    name: str = ""

    @property
    def delay_quantile(self) -> float:
        """The quantile that is asked for; 0.9 where none is."""
        return 0.9 if self.quantile is None else self.quantile

    @property
    def bound(self) -> tuple[str, float]:
        """Which bound is given, and its value."""
        ((kind, value),) = ((kind, getattr(self, kind)) for kind in BOUNDS if getattr(self, kind) is not None)
        return kind, float(value)


class GateRules(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The whole file."""

    gate: Annotated[tuple[GateRule, ...], msgspec.Meta(min_length=1, max_length=1000)]
    wrong_pass: _Level = 0.05
    wrong_fail: _Level = 0.05
    burst_s: Annotated[float, msgspec.Meta(ge=0.0, le=86_400.0)] = 0.0
    """False alarms of one label that follow the one before within so many seconds count as one with it."""


@dataclass(frozen=True, slots=True)
class BoundGate:
    """A gate for one label, or all, and one set of recordings."""

    rule: GateRule
    label: str
    """Empty: all labels together."""
    tags: Mapping[str, str]
    name: str


def load_gates(path: Path) -> GateRules:
    """Read a file of gates.

    Raises:
        CallerError: CONFIG_BAD; it is none, has an unknown key, or a gate without or with two bounds.
        LinkError: The file cannot be read.
    """
    rules = load_toml(path, GateRules, docs=_DOCS)
    for number, rule in enumerate(rules.gate, 1):
        if (problem := _problem(rule)) is not None:
            raise CallerError(
                Reason.CONFIG_BAD,
                f"{path}: [[gate]] number {number}{f' ({rule.name})' if rule.name else ''} {problem}",
                hint=f"see {_DOCS} for every key",
            )
    return rules


def _problem(rule: GateRule) -> str | None:
    given = [kind for kind in BOUNDS if getattr(rule, kind) is not None]
    may = _MAY[rule.measure]
    if len(given) != 1:
        met = f"has {' and '.join(given)}" if given else "has no bound"
        return f"{met}: exactly one is needed, of {', '.join(may)}"
    kind, value = rule.bound
    if kind not in may:
        return f"has {kind}, but {rule.measure} can have {', '.join(may)}"
    if rule.unit == "recording" and (rule.measure == "false_alarms" or kind == "at_most_count"):
        what = "false_alarms" if rule.measure == "false_alarms" else kind
        return f'has unit = "recording", which {what} cannot have'
    if rule.quantile is not None and rule.measure != "delay":
        return f"has quantile = {rule.quantile:g}, which {rule.measure} cannot have: it is of a delay"
    return _out_of_bounds(rule, kind, value)


def _out_of_bounds(rule: GateRule, kind: str, value: float) -> str | None:
    share = rule.measure in ("missed", "regressed", "lost")
    if kind == "at_most" and share and not 0.0 < value < 1.0:
        return f"has at_most = {value:g}: above 0 and below 1 is needed (none at all: at_most_count = 0)"
    most = 1.0 if share else _MOST_S if rule.measure == "delay" else _MOST_RATE
    if kind == "at_most" and not share and not 0.0 < value <= most:
        why = "for nothing can show that there is never one" if value == 0.0 else f"and at most {most:g}"
        return f"has at_most = {value:g}: more than 0 is needed, {why}"
    if kind == "above_old_at_most" and not (-1.0 < value < 1.0 if share else abs(value) <= most):
        needed = "a share is needed" if share else f"a number from {-most:g} to {most:g} is needed"
        return f"has above_old_at_most = {value:g}: {needed}"
    if kind == "times_old_at_most" and not 0.0 < value <= _MOST_RATE:
        return f"has times_old_at_most = {value:g}: more than 0 is needed, and at most {_MOST_RATE:g}"
    return None


def bind_gates(
    rules: GateRules, labels: Sequence[str], tags: Sequence[Mapping[str, str]], *, file: str = "gates"
) -> list[BoundGate]:
    """Return the gates for labels and tags that exist. ``tags``: of each recording.

    Raises:
        CallerError: CONFIG_BAD; there is no such label, tag or value, or two gates have one name.
    """
    found: list[BoundGate] = []
    for rule in rules.gate:
        if rule.label not in ("", EACH) and rule.label not in labels:
            raise _unknown(file, "label", rule.label, labels)
        names = labels if rule.label == EACH else (rule.label,)
        for label, chosen in itertools.product(names, _tag_sets(rule.tags, tags, file)):
            found.append(BoundGate(rule, label, chosen, _name(rule, label, chosen)))
    for gate in found:
        if sum(gate.name == other.name for other in found) > 1:
            text = f"{file}: two gates are called {gate.name}"
            raise CallerError(Reason.CONFIG_BAD, text, hint="give one of them another name")
    return found


def _tag_sets(
    asked: Mapping[str, str], tags: Sequence[Mapping[str, str]], file: str
) -> Iterable[dict[str, str]]:
    choices: list[list[str]] = []
    for key, value in asked.items():
        known = {each[key] for each in tags if key in each}
        if not known:
            raise _unknown(file, "tag", key, {name for each in tags for name in each})
        if value != EACH and value not in known:
            raise _unknown(file, f"value of the tag {key}", value, known)
        choices.append(sorted(known) if value == EACH else [value])
    return [dict(zip(asked, chosen, strict=True)) for chosen in itertools.product(*choices)]


def _unknown(file: str, what: str, met: str, known: Iterable[str]) -> CallerError:
    return CallerError(
        Reason.CONFIG_BAD, f"{file}: there is no {what} {met!r}; {known_names(met, known)}",
        hint="correct the name, or leave it out",
    )  # fmt: skip


def _name(rule: GateRule, label: str, tags: Mapping[str, str]) -> str:
    kind, value = rule.bound
    of = "".join(f" {key}={each}" for key, each in tags.items())
    if rule.name:
        return (
            f"{rule.name}{f' {label_text(label)}' * (rule.label == EACH)}{of * (EACH in rule.tags.values())}"
        )
    quantile = f" p{100 * rule.delay_quantile:g}" * (rule.measure == "delay")
    return f"{rule.measure}{quantile}{f' {label_text(label)}' if label else ''}{of} {kind} {value:g}"
