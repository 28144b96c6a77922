"""``galago convert``."""

from __future__ import annotations

from pathlib import Path

import click

from galago_edge.commands.cli import json_option, say, say_json
from galago_edge.commands.options import PATH, FiniteRange


@click.command()
@click.argument("run", type=PATH)
@click.option(
    "--calibration-samples",
    type=click.IntRange(1, 100_000),
    help="Training samples that choose the int8 scales.  [default: the run's convert.calibration_samples]",
)
@click.option(
    "--max-loss-points",
    type=FiniteRange(0, 100),
    help="Points of accuracy that int8 may lose.  [default: the run's convert.max_loss_points]",
)
@click.option(
    "--aware-epochs",
    type=click.IntRange(0, 1000),
    help="Epochs of quantization-aware training, if int8 loses more than half a point.  [default: the run's"
    " convert.aware_epochs]",
)
@json_option
def convert(
    run: Path,
    calibration_samples: int | None,
    max_loss_points: float | None,
    aware_epochs: int | None,
    as_json: bool,
) -> None:
    """Convert the trained run folder RUN to float and int8 TFLite.

    The files are written to RUN/converted, the int8 one only if it passes every quality gate: builtin int8
    operators throughout, the fixed input scale, int8 logits, and at most convert.max_loss_points lost
    against float on validation data. A run whose config.toml or model.keras is not the one that training
    left is refused.

    \b
    Example:
        galago convert runs/digits
    """
    from datetime import UTC, datetime

    import msgspec

    from galago_converters.conversion_record import CONVERTED_FOLDER, INT8_FILE, encode
    from galago_workstation.conversion.conversion_run import convert_run
    from galago_workstation.progress_lines import command_report
    from galago_workstation.run_folder import Run

    opened = Run.open(run)
    given = {
        "calibration_samples": calibration_samples,
        "max_loss_points": max_loss_points,
        "aware_epochs": aware_epochs,
    }
    options = msgspec.structs.replace(
        opened.config.convert, **{key: value for key, value in given.items() if value is not None}
    )
    report = command_report(say, as_json=as_json)
    result = convert_run(opened, now=datetime.now(UTC), report=report, options=options)
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
