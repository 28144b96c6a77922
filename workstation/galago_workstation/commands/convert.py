"""``galago convert``."""

from __future__ import annotations

from pathlib import Path

import click

from galago_edge.commands.cli import json_option, say, say_json


@click.command()
@click.argument("run", type=click.Path(path_type=Path, readable=False))
@json_option
def convert(run: Path, as_json: bool) -> None:
    """Convert the trained run folder RUN to float and int8 TFLite.

    The files are written to RUN/converted, the int8 one only if it passes every quality gate: builtin int8
    operators throughout, the fixed input scale, int8 logits, and at most convert.max_loss_points lost
    against float on validation data.

    \b
    Example:
        galago convert runs/digits
    """
    from datetime import UTC, datetime

    from galago_converters.conversion_record import CONVERTED_FOLDER, INT8_FILE, encode
    from galago_workstation.conversion.conversion_run import convert_run
    from galago_workstation.progress_lines import command_report
    from galago_workstation.run_folder import Run

    opened = Run.open(run)
    result = convert_run(opened, now=datetime.now(UTC), report=command_report(say, as_json=as_json))
    if as_json:
        say_json(encode(result).decode())
        return
    held_out = result.held_out
    operators = ", ".join(f"{op.count} {op.name}" for op in result.ops)
    say(f"operators, all builtin int8: {operators}")
    say(
        f"validation accuracy ({held_out.samples} samples): float {held_out.accuracy_float:.2%},"
        f" int8 {held_out.accuracy_int8:.2%}, {held_out.flips} disagreements (flips)".replace("%", " %")
    )
    file = run / CONVERTED_FOLDER / INT8_FILE
    say(f"{file}: {file.stat().st_size} bytes")
