"""``galago model diff``."""

from __future__ import annotations

from pathlib import Path

import click

from galago_edge.commands.cli import json_option, say, say_data
from galago_edge.commands.options import PATH

MOST_LISTED = 20


@click.command()
@click.argument("first", metavar="A", type=PATH)
@click.argument("second", metavar="B", type=PATH)
@click.option(
    "--random",
    "samples",
    type=click.IntRange(1, 10_000),
    default=100,
    show_default=True,
    help="Random inputs that both are asked.",
)
@json_option
def diff(first: Path, second: Path, samples: int, as_json: bool) -> None:
    """Show in what two .tflite files differ.

    Nodes are matched in order, by operator and shape; constants by name, and compared in real values, so that
    a quantized file can be held against its float one. Both are asked the same random inputs.

    \b
    Example:
        galago model diff float.tflite int8.tflite
    """
    import msgspec

    from galago_edge.contract.count_words import count_of
    from galago_workstation.looking.model_diff import compare_models

    found = compare_models(first, second, samples)
    if as_json:
        say_data({"files": [str(first), str(second)], **msgspec.to_builtins(found)})
        return
    structure, answers = found.structure, found.answers
    say(f"nodes: {structure.nodes[0]} and {structure.nodes[1]}, {structure.same_nodes} the same")
    for sign, lines in (("-", structure.removed), ("+", structure.added)):
        for line in lines[:MOST_LISTED]:
            say(f"  {sign} {line}")
        if len(lines) > MOST_LISTED:
            say(f"  {sign} and {len(lines) - MOST_LISTED} more: --json has all")
    say(
        f"constants: {len(structure.weights)} in both, {structure.same_weights} of them the same; "
        f"without a counterpart: {structure.unmatched[0]} and {structure.unmatched[1]}"
    )
    changed = [one for one in structure.weights if one.largest]
    for one in changed[:MOST_LISTED]:
        ratio = "" if one.snr_db is None else f", {one.snr_db:.1f} dB"
        say(f"  {one.name[:70]}: largest {one.largest:.3g}, mean {one.mean:.3g}{ratio}")
    if len(changed) > MOST_LISTED:
        say(f"  and {len(changed) - MOST_LISTED} more: --json has all")
    if answers.why_not:
        say(f"answers were not compared: {answers.why_not}")
        return
    say(
        f"answers: the same best value for {answers.same_best} of "
        f"{count_of(answers.samples, 'random input')}, "
        f"largest difference {answers.largest:.3g}"
    )
