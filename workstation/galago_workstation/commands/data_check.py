"""``galago data check``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from galago_edge.commands.cli import json_option, say, say_data
from galago_edge.commands.options import PATH
from galago_edge.contract.errors import CallerError, Reason

if TYPE_CHECKING:
    from galago_edge.contract.manifest import AudioPreprocess, ImagePreprocess
    from galago_workstation.data.data_inspection import Data, InspectedData

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
    from galago_workstation.data.data_inspection import inspect_data
    from galago_workstation.progress_lines import command_report

    options, root, spec = _data_of(data)
    found = inspect_data(options, root, spec, command_report(say, as_json=as_json))
    if as_json:
        say_data(_as_data(found))
    else:
        for line in _lines(found):
            say(line)
    context.exit(0 if found.usable else 1)


def _data_of(path: Path) -> tuple[Data, Path, ImagePreprocess | AudioPreprocess | None]:
    """Return what is to be checked, the folder that it starts at, and how a device would take it."""
    from galago_workstation.data.folder_survey import survey
    from galago_workstation.training_config import AudioFolders, ImageFolders, read_config

    if not path.is_dir():
        _refuse_no_text(path)
        config = read_config(path)
        return config.data, path.parent, config.preprocess
    kind = survey(path).kind
    return (ImageFolders if kind == "images" else AudioFolders)(folder="."), path, None


def _refuse_no_text(path: Path) -> None:
    """Refuse a picture, a sound or whatever else is no text; what cannot be read is refused by who reads it.

    Raises:
        CallerError: CONFIG_BAD.
    """
    try:
        with path.open("rb") as file:
            head = file.read(4096) if path.is_file() else b""
    except OSError:
        return
    if b"\0" in head:
        text = f"{path} is no configuration and no folder"
        raise CallerError(Reason.CONFIG_BAD, text, hint="give a configuration (.toml) or a folder of classes")


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
