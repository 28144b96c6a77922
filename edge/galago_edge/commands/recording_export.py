"""``galago recording export``: pictures and sound as files that every program opens."""

from __future__ import annotations

from pathlib import Path

import click

from galago_edge.commands.cli import json_option, say, say_data, show_read_in_part
from galago_edge.commands.options import PATH


@click.command()
@click.argument("path", metavar="RECORDING", type=PATH)
@click.argument("target", type=PATH)
@click.option("--source", help="Which source.  [default: the only one]")
@json_option
@click.pass_context
def export(ctx: click.Context, path: Path, target: Path, source: str | None, as_json: bool) -> None:
    """Write a source of RECORDING as WAV, or to a folder.

    TARGET is a new FILE.wav, or the name of a new folder: of pictures with a times.csv, which is a source
    again, or of a WAV for each stretch of sound without a gap.

    \b
    Examples:
      galago recording export night.mcap night.wav
      galago recording export night.mcap door-frames --source door
    """
    from galago_edge.editing.media_export import export_source

    report = export_source(path, target, source)
    damage = None if report.damage is None else report.damage.as_data()
    if as_json:
        data = {"target": target.name, "source": report.source, "files": report.count, "gaps": report.gaps}
        say_data(data | {"damage": damage})
    else:
        say(f"{report.source}: {report.count} files, {report.gaps} gaps -> {target}")
    if report.damage is not None:
        show_read_in_part(report.damage)
        ctx.exit(report.damage.exit_code)
