"""A file of faults and of what is expected of them, as it is written; times become nanoseconds here.

```toml
[[fault]]
kind = "disconnect"          # FAULT_KINDS
from = "0:20"                # stream time: seconds, MM:SS or HH:MM:SS
to = 32.5                    # without it: to the end

[[expected]]
kind = "gap"                 # EXPECTED_KINDS
cause = "disconnect"
from = 19
to = 40
```
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Literal

import msgspec

from galago_edge.contract.settings import Name, Table
from galago_edge.contract.streams import GAP_CAUSES, LATEST_NS, NS_PER_S
from galago_edge.sources.doubt import What
from galago_edge.sources.stream_position import read_position

FaultKind = Literal["stall", "disconnect", "overrun", "drop", "damaged", "clock_step", "clock_unsure"]
ExpectedKind = Literal["event", "gap", "state", "watched"]
Damage = Literal["refused", "cut", "flipped", "garbage"]
Moment = Annotated[
    int | float | str,
    msgspec.Meta(description="a stream time: seconds, or a text such as 1:30 or 1:02:03.5"),
]
_Label = Annotated[str, msgspec.Meta(min_length=1)]
_Seconds = Annotated[float, msgspec.Meta(ge=0.0, le=1e9)]

CLOCKS = ("clock_step", "clock_unsure")
"""Faults of the wall clock, which decides nothing; the others are of the source."""
MODALITIES: Mapping[str, str] = {"drop": "camera", "damaged": "camera", "overrun": "microphone"}
"""Faults that only one kind of source has."""
_KEYS: Mapping[str, tuple[str, ...]] = {"damaged": ("how",), "clock_step": ("by_s",)}
"""What a kind of fault needs beside its times."""
_MAY: Mapping[str, tuple[str, ...]] = {
    "event": ("label", "count"),
    "gap": ("cause", "count", "min_s", "max_s"),
    "state": ("state", "subject", "what", "count"),
    "watched": ("min_s", "max_s"),
}
"""What each kind of expectation can have beside its times."""


class FaultTable(Table, frozen=True, kw_only=True):
    """One ``[[fault]]``."""

    kind: FaultKind
    from_: Moment = msgspec.field(name="from")
    to: Moment | None = None
    """None: to the end of the recording."""
    how: Damage | None = None
    """Of ``damaged``: see :mod:`galago_edge.sources.faults.frame_damage`."""
    by_s: Annotated[float, msgspec.Meta(ge=-1e9, le=1e9)] | None = None
    """Of ``clock_step``: seconds that the wall clock is put forward, or back if negative."""
    stream: Name | None = None
    """The stream that has it; None: every stream."""

    def __post_init__(self) -> None:
        """Refuse what makes no sense by itself.

        Raises:
            ValueError: As said, in words.
        """
        _span_ns(self.from_, self.to)
        for key in ("how", "by_s"):
            given, needed = getattr(self, key) is not None, key in _KEYS.get(self.kind, ())
            if given is not needed:
                raise ValueError(f"{self.kind} {'needs' if needed else 'has no'} {key}")
        if self.kind == "clock_step" and self.to is not None:
            raise ValueError("clock_step has no to: the clock stays where it was put")

    @property
    def span_ns(self) -> tuple[int, int | None]:
        """From and to."""
        return _span_ns(self.from_, self.to)


class ExpectedTable(Table, frozen=True, kw_only=True):
    """One ``[[expected]]``: what must be in the records, between two stream times."""

    kind: ExpectedKind
    from_: Moment = msgspec.field(name="from", default=0)
    to: Moment | None = None
    """None: to the end of the recording."""
    label: _Label | None = None
    """Of events; None: any."""
    cause: Literal[GAP_CAUSES] | None = None  # type: ignore[valid-type]
    """Of gaps; None: any."""
    subject: _Label | None = None
    """Of states; None: ``source``."""
    state: _Label | None = None
    what: What | None = None
    """Of ``implausible`` and ``plausible``; None: any."""
    count: Annotated[int, msgspec.Meta(ge=0, le=1_000_000)] | None = None
    """So many, exactly; 0: none at all; None: at least one."""
    min_s: _Seconds | None = None
    max_s: _Seconds | None = None
    """Of gaps: so long is each that counts. Of what is watched: so much between ``from`` and ``to``."""
    stream: Name | None = None

    def __post_init__(self) -> None:
        """Refuse what makes no sense by itself.

        Raises:
            ValueError: As said, in words.
        """
        _span_ns(self.from_, self.to)
        keys = ("label", "cause", "subject", "state", "what", "count", "min_s", "max_s")
        wrong = [key for key in keys if getattr(self, key) is not None and key not in _MAY[self.kind]]
        if wrong:
            raise ValueError(f"{self.kind} has no {wrong[0]}; it can have {', '.join(_MAY[self.kind])}")
        if self.kind == "state" and self.state is None:
            raise ValueError("state needs state, such as alarmed or healthy")
        if self.kind == "watched" and self.min_s is None and self.max_s is None:
            raise ValueError("watched needs min_s or max_s")
        if self.min_s is not None and self.max_s is not None and self.max_s < self.min_s:
            raise ValueError(f"max_s, {self.max_s:g}, is below min_s, {self.min_s:g}")

    @property
    def span_ns(self) -> tuple[int, int | None]:
        """From and to."""
        return _span_ns(self.from_, self.to)


class FaultTables(Table, frozen=True, kw_only=True):
    """The whole file."""

    fault: Annotated[tuple[FaultTable, ...], msgspec.Meta(max_length=10_000)] = ()
    expected: Annotated[tuple[ExpectedTable, ...], msgspec.Meta(max_length=10_000)] = ()


def moment_ns(name: str, given: Moment) -> int:
    """Return a stream time in nanoseconds.

    >>> moment_ns("from", "1:30"), moment_ns("to", 0.1)
    (90000000000, 100000000)

    Raises:
        ValueError: It is negative, later than any recording lasts, or no time at all.
    """
    if isinstance(given, str):
        try:
            return read_position(given)
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from None
    if not math.isfinite(given) or given < 0:
        raise ValueError(f"{name} is {given:g}, expected 0 or more: stream time begins at 0")
    # first as it was given: nanoseconds of 1e300 s are more than a float holds
    if given >= LATEST_NS / NS_PER_S or (at_ns := round(given * NS_PER_S)) >= LATEST_NS:
        raise ValueError(f"{name} is {given:g} s, later than any recording lasts")
    return at_ns


def _span_ns(from_: Moment, to: Moment | None) -> tuple[int, int | None]:
    from_ns = moment_ns("from", from_)
    to_ns = None if to is None else moment_ns("to", to)
    if to_ns is not None and to_ns <= from_ns:
        raise ValueError(f"to, {to_ns / NS_PER_S:g} s, is not later than from, {from_ns / NS_PER_S:g} s")
    return from_ns, to_ns
