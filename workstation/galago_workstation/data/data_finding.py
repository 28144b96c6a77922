"""What is wrong with data, or worth knowing of it, counted, with examples and what to do."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal

import msgspec

from galago_edge.contract.errors import GalagoError
from galago_edge.contract.printable import on_one_line

FindingLevel = Literal["error", "warning", "note"]
"""``error``: training refuses it. ``warning``: it trains, and the result is worse than it could be, or looks
better than it is. ``note``: what is done with it, said."""


class DataFinding(msgspec.Struct, frozen=True, kw_only=True):
    """One kind of thing, however often it is there."""

    code: str
    """Stable: a reason code of ``docs/reason-codes.md`` for errors, a word of ``docs/data.md`` else."""
    level: FindingLevel
    count: int
    text: str
    fix: str = ""
    names: tuple[str, ...] = ()
    """What it is true of: samples, files, labels; of errors, the messages."""


@dataclass(slots=True)
class FindingList:
    """Findings as they are made."""

    found: list[DataFinding] = field(default_factory=list)
    errors: list[GalagoError] = field(default_factory=list)

    def met(self, error: GalagoError) -> None:
        """Take an error that training would refuse."""
        self.errors.append(error)

    def add(self, level: FindingLevel, code: str, names: Sequence[str], text: str, fix: str = "") -> None:
        """Add what is true of so many names; nothing when there are none."""
        if names:
            shown = tuple(map(on_one_line, names))
            self.found.append(
                DataFinding(code=code, level=level, count=len(names), text=text, fix=fix, names=shown)
            )

    def all(self) -> tuple[DataFinding, ...]:
        """Return everything: errors, grouped by their code and what to do, warnings, notes."""
        order: tuple[FindingLevel, ...] = ("error", "warning", "note")
        findings = [*_grouped(self.errors), *self.found]
        return tuple(sorted(findings, key=lambda finding: order.index(finding.level)))


def _grouped(errors: Iterable[GalagoError]) -> list[DataFinding]:
    groups: dict[tuple[str, str], list[str]] = {}
    for error in errors:
        groups.setdefault((str(error.reason), error.hint or ""), []).append(on_one_line(str(error)))
    return [
        DataFinding(
            code=code,
            level="error",
            count=len(texts),
            text="training refuses this",
            fix=fix,
            names=tuple(texts),
        )
        for (code, fix), texts in groups.items()
    ]
