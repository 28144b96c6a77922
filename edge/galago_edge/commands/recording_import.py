"""``galago recording import``: any recording becomes a recording file."""

from __future__ import annotations

from pathlib import Path

import click

from galago_edge.commands.cli import json_option, say, say_data, show_read_in_part
from galago_edge.commands.options import PATH
from galago_edge.commands.replay import read_by
from galago_edge.contract.errors import CallerError, Reason


def _name(text: str) -> str:
    from galago_edge.api.arguments import checked_name

    return checked_name(text)


@click.command("import")
@click.argument("source")
@click.argument("target", metavar="RECORDING", type=PATH)
@click.option("--name", callback=read_by(_name), help="What its source is called.  [default: cam, mic]")
@json_option
@click.pass_context
def import_(ctx: click.Context, source: str, target: Path, name: str | None, as_json: bool) -> None:
    """Make RECORDING of any file or folder that replay takes.

    Times, gaps and notices are those of SOURCE, so a replay says the same. JPEG pictures keep their bytes,
    H.264 and HEVC their packets where these say it all, other pictures become PNG, sound stays at its rate.
    What is damaged is told, and what is whole is taken.

    \b
    Examples:
      galago recording import night.wav night.mcap
      galago recording import "frames/?fps=10" frames.mcap --name door
    """
    from galago_edge.editing.source_import import import_recording
    from galago_edge.sources.address import parse_source

    address = parse_source(source)
    if name is not None and address.gives("camera") and address.gives("microphone"):
        text = f"{address.shown} holds pictures and sound, which cannot both be called {name}"
        raise CallerError(Reason.CONFIG_BAD, text, hint="leave --name out: they are cam and mic")
    report = import_recording(source, target, name)
    damage = [error.as_data() for error in report.damage]
    if as_json:
        say_data({"file": target.name, "sources": report.sources, "damage": damage})
    else:
        for label, counts in report.sources.items():
            say(f"{label}: {', '.join(f'{count} {what}' for what, count in counts.items())} -> {target}")
    for failure in report.damage:
        show_read_in_part(failure)
    if report.damage:
        ctx.exit(max(failure.exit_code for failure in report.damage))
