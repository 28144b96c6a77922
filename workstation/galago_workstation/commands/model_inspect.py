"""``galago model inspect``."""

from __future__ import annotations

from pathlib import Path

import click

from galago_edge.commands.cli import json_option, say, say_data
from galago_edge.commands.options import PATH


@click.command()
@click.argument("model", metavar="FILE", type=PATH)
@json_option
def inspect(model: Path, as_json: bool) -> None:
    """Show what FILE.tflite really is.

    All is read from the file itself, in a process with bounded memory and time; names are not trusted. It is
    also loaded there, to see what the runtime of this machine makes of it. Multiply-adds are counted from
    shapes; what is not counted is said. A board is judged by operators and memory, not by speed.

    \b
    Example:
        galago model inspect keyword.tflite
    """
    import msgspec

    from galago_workstation.looking.look_words import look_rows
    from galago_workstation.looking.model_look import board_verdicts, look_at

    look = look_at(model)
    boards = tuple(board_verdicts(look.content, look.run.arena_bytes))
    if as_json:
        say_data({"file": str(model), **msgspec.to_builtins(look), "boards": msgspec.to_builtins(boards)})
        return
    for what, text in look_rows(look, boards):
        say(f"{what:<20}  {text}".rstrip())
