"""``galago data check``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from galago_edge.commands.cli import json_option, say, say_data
from galago_edge.commands.options import PATH

if TYPE_CHECKING:
    from galago_workstation.data.data_inspection import InspectedData

_SHOWN = 3
"""Of each finding; with --json all."""


@click.command()
@click.argument("data", metavar="CONFIG|FOLDER", type=PATH)
@json_option
@click.pass_context
def check(context: click.Context, data: Path, as_json: bool) -> None:
    """Look at all training data and list every problem at once.

    CONFIG.toml is a training configuration, FOLDER one that has a sub-folder per class. Every file is read
    whole, as training would. Exit 1 when training would refuse something.

    \b
    Example:
        galago data check birds.toml
    """
    from galago_workstation.data.data_inspection import inspect_path
    from galago_workstation.progress_lines import command_report

    found = inspect_path(data, command_report(say, as_json=as_json))
    if as_json:
        say_data(_as_data(found))
    else:
        for line in _lines(found):
            say(line)
    context.exit(0 if found.usable else 1)


def _as_data(found: InspectedData) -> dict[str, Any]:
    return {
        "kind": found.kind,
        "labels": found.labels,
        "parts": found.parts,
        "findings": [msgspec.to_builtins(finding) for finding in found.findings.all()],
        "usable": found.usable,
    }


def _lines(found: InspectedData) -> Iterator[str]:
    from galago_edge.contract.printable import on_one_line

    yield f"{sum(found.labels.values())} {found.kind} of {len(found.labels)} labels"
    for name, count in found.labels.items():
        parts = ", ".join(f"{part} {counts[name]}" for part, counts in found.parts.items())
        yield f"  {on_one_line(name)}: {count}{f' ({parts})' if parts else ''}"
    findings = found.findings.all()
    for finding in findings:
        yield f"{finding.level:<7} {finding.count:>6}  {finding.text} [{finding.code}]"
        for name in finding.names[:_SHOWN]:
            yield f"{'':>16}{name}"
        if finding.count > _SHOWN:
            yield f"{'':>16}and {finding.count - _SHOWN} more"
        if finding.fix:
            yield f"{'':>16}-> {finding.fix}"
    totals = {level: sum(f.level == level for f in findings) for level in ("error", "warning", "note")}
    if not findings:
        yield "nothing to say against it"
    elif found.usable:
        yield f"training would take it: {totals['warning']} kinds of warning, {totals['note']} of note"
    else:
        yield f"training would refuse it: {totals['error']} kinds of error, {totals['warning']} of warning"
