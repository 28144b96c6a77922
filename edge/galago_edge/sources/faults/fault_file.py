"""Reads a file of faults, and chooses what of it is about one stream."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from galago_edge.contract.errors import CallerError, Reason
from galago_edge.contract.known_names import known_names
from galago_edge.contract.settings import SourceSettings
from galago_edge.contract.streams import NS_PER_S
from galago_edge.host.toml_file import load_toml
from galago_edge.sources.faults.fault_tables import (
    CLOCKS,
    MODALITIES,
    Damage,
    ExpectedTable,
    FaultKind,
    FaultTable,
    FaultTables,
)

DOCS = "docs/replay-faults.md"
_SUPERVISING = (
    *("stall_s", "open_s", "backoff_s", "backoff_max_s", "retries", "breaker", "breaker_s", "steady_s"),
    *("gap_ms", "fps", "damaged", "plausibility"),
)
"""Settings of a source by which it is supervised; no other is kept: passwords may be among them."""


class PlannedFault(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One fault, in nanoseconds of stream time."""

    kind: FaultKind
    from_ns: int
    to_ns: int | None = None
    """None: to the end."""
    how: Damage | None = None
    step_ns: int = 0

    def __str__(self) -> str:
        """Return it in words."""
        what = self.kind.replace("_", " ") + (f" ({self.how})" if self.how else "")
        if self.kind == "clock_step":
            return f"{what} by {self.step_ns / NS_PER_S:+g} s at {self.from_ns / NS_PER_S:g} s"
        end = "the end" if self.to_ns is None else f"{self.to_ns / NS_PER_S:g} s"
        return f"{what} from {self.from_ns / NS_PER_S:g} s to {end}"


class FaultPlan(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What goes wrong with one stream's source, and how the source is supervised."""

    faults: tuple[PlannedFault, ...]
    settings: SourceSettings

    @property
    def digest(self) -> str:
        """SHA-256 of all that it says, in hexadecimal: what faulted replays are told apart by."""
        return hashlib.sha256(msgspec.json.encode(self, order="sorted")).hexdigest()

    def of_source(self) -> tuple[tuple[int, PlannedFault], ...]:
        """Return the faults of the source, each with its number in the stream's faults, from 1."""
        return tuple(
            (number, fault) for number, fault in enumerate(self.faults, 1) if fault.kind not in CLOCKS
        )

    def of_clock(self) -> tuple[PlannedFault, ...]:
        """Return the faults of the wall clock."""
        return tuple(fault for fault in self.faults if fault.kind in CLOCKS)

    def check(self, modality: str, *, dated: bool) -> None:
        """Refuse faults that this source cannot have; ``dated``: it is known when the recording began.

        Raises:
            CallerError: CONFIG_BAD.
        """
        for number, fault in enumerate(self.faults, 1):
            if modality != (needed := MODALITIES.get(fault.kind, modality)):
                raise CallerError(
                    Reason.CONFIG_BAD,
                    f"fault {number}, {fault}, is of a {needed}, and the source is a {modality}",
                    hint="leave it out, or name its stream: stream = ...",
                )
            if fault.kind in CLOCKS and not dated:
                raise CallerError(
                    Reason.CONFIG_BAD,
                    f"fault {number}, {fault}, is of the wall clock, and nobody says what it showed",
                    hint="give --start-time; of a corpus, write start_time in its list",
                )


@dataclass(frozen=True, slots=True)
class StreamFaults:
    """What a file says about one stream."""

    faults: tuple[PlannedFault, ...]
    expected: tuple[ExpectedTable, ...]
    others: tuple[str, ...]
    """Streams of which the file says more."""

    def plan(self, settings: SourceSettings | None = None) -> FaultPlan:
        """Return the faults for a source that is supervised by ``settings``; None: as usual."""
        return FaultPlan(faults=self.faults, settings=supervising(settings))


MOST_FAULTS = 2_000
"""Of one stream: more than one in each minute of a day."""


def supervising(settings: SourceSettings | None) -> SourceSettings:
    """Return the settings by which a source is supervised, without its address and secrets."""
    given = {} if settings is None else {key: getattr(settings, key) for key in _SUPERVISING}
    return SourceSettings(address="replay", **given)


def read_faults(path: Path, stream: str) -> StreamFaults:
    """Return what the file at ``path`` says about ``stream``.

    Raises:
        CallerError: CONFIG_BAD; it has an unknown key, a value out of bounds, faults out of order, or two at
            one time. TARGET_UNKNOWN; all of it is about other streams.
        LinkError: The file cannot be read.
    """
    tables = load_toml(path, FaultTables, docs=DOCS)
    if not tables.fault and not tables.expected:
        raise CallerError(
            Reason.CONFIG_BAD, f"{path} has no [[fault]] and no [[expected]]", hint=f"see {DOCS}"
        )
    found = tuple(one for one in tables.fault if one.stream in (None, stream))
    expected = tuple(one for one in tables.expected if one.stream in (None, stream))
    streams = [one.stream for one in tables.fault] + [one.stream for one in tables.expected]
    named = {one for one in streams if one is not None}
    if not found and not expected:
        raise CallerError(
            Reason.TARGET_UNKNOWN,
            f"{path} says nothing of stream {stream}; {known_names(stream, named)}",
            hint="--stream says which stream is replayed",
        )
    if (most := max(len(found), len(expected))) > MOST_FAULTS:
        raise CallerError(
            Reason.CONFIG_BAD,
            f"{path} has {most} faults or expectations of stream {stream}, expected at most {MOST_FAULTS}",
            hint="divide it into several files, one for each replay",
        )
    faults = tuple(_fault(one) for one in found)
    numbers = [number for number, one in enumerate(tables.fault, 1) if one.stream in (None, stream)]
    if problem := _problem(faults, numbers):
        raise CallerError(Reason.CONFIG_BAD, f"{path}: {problem}", hint=f"see {DOCS}")
    return StreamFaults(faults, expected, tuple(sorted(named - {stream})))


def _fault(table: FaultTable) -> PlannedFault:
    from_ns, to_ns = table.span_ns
    step_ns = 0 if table.by_s is None else round(table.by_s * NS_PER_S)
    return PlannedFault(kind=table.kind, from_ns=from_ns, to_ns=to_ns, how=table.how, step_ns=step_ns)


def _problem(faults: Sequence[PlannedFault], numbers: Sequence[int]) -> str:
    """Return what is wrong with faults side by side; empty for nothing. ``numbers``: in the file, from 1."""
    named = [f"{number}, {fault}," for number, fault in zip(numbers, faults, strict=True)]
    lasting: dict[bool, int] = {}
    for place, fault in enumerate(faults):
        if place and fault.from_ns < faults[place - 1].from_ns:
            return (
                f"[[fault]] {named[place]} stands behind {named[place - 1]} which is later: sort them by from"
            )
        if fault.kind == "clock_step":
            continue
        of_clock = fault.kind in CLOCKS
        if (other := lasting.get(of_clock)) is not None:
            to_ns = faults[other].to_ns
            if to_ns is None or fault.from_ns < to_ns:
                return f"[[fault]] {named[place]} overlaps {named[other]} and only one can be at a time"
        lasting[of_clock] = place
    return ""
