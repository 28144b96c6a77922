"""``galago model bench``."""

from __future__ import annotations

from pathlib import Path
from typing import cast, get_args

import click

from galago_edge.commands.cli import json_option, say, say_data
from galago_edge.commands.options import PATH

BACKENDS = ("default", "builtin", "reference")


@click.command()
@click.argument("model", metavar="FILE", type=PATH)
@click.option(
    "--backend",
    "backends",
    type=click.Choice(BACKENDS),
    multiple=True,
    help="Which kernels; may be given several times.  [default: default and builtin]",
)
@click.option(
    "--threads",
    type=click.IntRange(1, 64),
    multiple=True,
    help="Threads of the interpreter; may be given several times.  [default: 1]",
)
@click.option(
    "--seconds",
    type=click.FloatRange(0.01, 300),
    default=3.0,
    show_default=True,
    help="Timed runs of each setting.",
)
@json_option
def bench(
    model: Path, backends: tuple[str, ...], threads: tuple[int, ...], seconds: float, as_json: bool
) -> None:
    """Time FILE.tflite on this machine.

    Settings take turns in three rounds, each in a process of its own. Inputs are random and stay the same.

    \b
    default     as the runtime loads it: with XNNPACK
    builtin     its optimized kernels, without a delegate
    reference   its plain kernels: slow, and nobody's choice but for comparing

    \b
    Example:
        galago model bench keyword.tflite --threads 1 --threads 2
    """
    import msgspec

    from galago_edge.contract.count_words import count_of
    from galago_workstation.looking.bench_child import BenchBackend
    from galago_workstation.looking.model_bench import bench_model

    chosen = dict.fromkeys(cast(tuple[BenchBackend, ...], backends or get_args(BenchBackend)[:2]))
    found = bench_model(model, tuple(chosen), tuple(dict.fromkeys(threads or (1,))), seconds)
    if as_json:
        say_data({"file": str(model), **msgspec.to_builtins(found)})
        return
    for row in found.rows:
        name = f"{row.backend:<10} {count_of(row.threads, 'thread'):<10}"
        if row.why_not:
            say(f"{name} does not run: {row.why_not}")
            continue
        say(
            f"{name} p50 {row.p50_us / 1000:.3f} ms  p90 {row.p90_us / 1000:.3f}  "
            f"p99 {row.p99_us / 1000:.3f}  "
            f"first {row.first_us / 1000:.3f}  init {row.init_us / 1000:.3f}  "
            f"memory {row.memory_bytes / 1e6:.1f} MB  {count_of(row.runs, 'run')}"
        )
    say(
        f"load of this machine: {found.load_before:g} before, {found.load_after:g} after, "
        f"{count_of(found.cpus, 'processor')}"
    )
    if max(found.load_before, found.load_after) > found.cpus:
        say("note: more was running than there are processors, so the times are too long")
