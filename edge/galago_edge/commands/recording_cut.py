"""``galago recording cut`` and ``recover``: a whole file of a part, or of what is left."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from galago_edge.commands.cli import json_option, say, say_data
from galago_edge.commands.options import PATH
from galago_edge.commands.replay import read_by
from galago_edge.contract.errors import CallerError, Reason

if TYPE_CHECKING:
    from galago_edge.editing.file_cut import CopyReport


def _position(text: str) -> int:
    from galago_edge.sources.stream_position import read_position

    return read_position(text)


@click.command()
@click.argument("path", metavar="RECORDING", type=PATH)
@click.argument("target", metavar="NEW", type=PATH)
@click.option(
    "--from",
    "from_ns",
    callback=read_by(_position),
    metavar="TIME",
    default="0",
    help="Begin here: seconds, MM:SS or HH:MM:SS of stream time.",
)
@click.option("--to", "to_ns", callback=read_by(_position), metavar="TIME", help="End before here.")
@click.option("--source", help="Whose stream time counts.  [default: that of all, if it is one]")
@json_option
def cut(path: Path, target: Path, from_ns: int, to_ns: int | None, source: str | None, as_json: bool) -> None:
    """Make a recording NEW of a part of RECORDING.

    Indexes and times stay those of RECORDING. Pictures that lean on others come with their key frame, which
    no stream sees if it lies before.

    \b
    Example:
      galago recording cut night.mcap door.mcap --from 2:10:00 --to 2:11:00
    """
    from galago_edge.editing.file_cut import cut_file

    if to_ns is not None and to_ns <= from_ns:
        text = f"--to, {to_ns / 1e9:g} s, is not later than --from, {from_ns / 1e9:g} s"
        raise CallerError(Reason.CONFIG_BAD, text, hint="choose a later end")
    _tell(cut_file(path, target, from_ns, to_ns, source), target, as_json)


@click.command()
@click.argument("path", metavar="RECORDING", type=PATH)
@click.argument("target", metavar="NEW", type=PATH)
@json_option
@click.pass_context
def recover(ctx: click.Context, path: Path, target: Path, as_json: bool) -> None:
    """Make a whole recording NEW of what is left of one.

    RECORDING may be a .part of a recorder that was ended, cut off, or damaged: every chunk whose checksum
    matches is taken, and what is missing becomes a gap. Ends with 1 if anything is, or may be.

    \b
    Example:
      galago recording recover night.mcap.part night.mcap
    """
    from galago_edge.editing.file_cut import recover_file

    report = recover_file(path, target)
    _tell(report, target, as_json)
    if report.lossy:
        ctx.exit(1)


def _tell(report: CopyReport, target: Path, as_json: bool) -> None:
    data: dict[str, Any] = {
        "file": target.name,
        "items": report.items,
        "records": report.records,
        "missing": report.missing,
        "damaged_bytes": report.damaged_bytes,
        "ended_early": report.ended_early,
        "about_lost": report.about_lost,
    }
    if as_json:
        say_data(data)
        return
    for name, count in report.items.items():
        say(f"{name}: {count} items -> {target}")
    if report.records:
        say(f"{report.records} records of what was decided")
    if report.missing or report.damaged_bytes:
        say(f"missing: {report.missing} recorded items; {report.damaged_bytes} bytes cannot be read")
    if report.about_lost:
        say("what it says of itself cannot be read: device, streams and wall time are missing")
    if report.ended_early:
        say("it ended early: whatever was recorded last is missing")
