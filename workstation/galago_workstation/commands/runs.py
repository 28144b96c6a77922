"""``galago runs``: list, show, compare."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from galago_edge.commands.cli import json_option, say, say_data, show_error
from galago_edge.commands.options import PATH

if TYPE_CHECKING:
    from galago_workstation.run_catalogue import RunSummary


@click.group()
def runs() -> None:
    """Look at what training left."""


@runs.command("list")
@click.argument("folder", type=PATH, default="runs")
@json_option
@click.pass_context
def list_runs(ctx: click.Context, folder: Path, as_json: bool) -> None:
    """List the runs in FOLDER (runs), oldest first.

    Accuracies are of the int8 model on the run's own test part, as galago evaluate found them.

    \b
    Example:
        galago runs list
    """
    from galago_edge.contract.errors import GalagoError
    from galago_edge.contract.printable import on_one_line
    from galago_workstation.run_catalogue import RunSummary, interrupted, runs_in, share

    found = list(runs_in(folder))
    good = [one for one in found if isinstance(one, RunSummary)]
    bad = [one for one in found if isinstance(one, GalagoError)]
    if as_json:
        damaged = [error.as_data() for error in bad]
        say_data({"runs": [msgspec.to_builtins(one) for one in good], "damaged": damaged})
    else:
        names = [on_one_line(Path(one.path).name) for one in good]
        width = max(map(len, names), default=0)
        for name, one in zip(names, good, strict=True):
            best = f"best {one.best_epoch} of {one.epochs}{interrupted(one)}"
            say(
                f"{name:<{width}}  {one.created_utc}  {one.network:<18} {len(one.labels):>3} labels  "
                f"{one.samples['train']:>6} to train  {best}  "
                f"validation {share(one.validation_accuracy)}  test {share(one.test_accuracy)}"
            )
        if not found:
            say(f"no runs in {folder}")
        for error in bad:
            show_error(error)
    ctx.exit(1 if bad else 0)


@runs.command()
@click.argument("run", type=PATH)
@json_option
def show(run: Path, as_json: bool) -> None:
    """Show what RUN is made of and came to.

    \b
    Example:
        galago runs show runs/digits
    """
    from galago_workstation.run_catalogue import summarised

    found = summarised(run)
    if as_json:
        say_data(msgspec.to_builtins(found))
        return
    for what, value in _rows(found):
        say(f"{what:<22} {value}")


@runs.command()
@click.argument("runs_", metavar="RUN RUN...", type=PATH, nargs=-1, required=True)
@json_option
def compare(runs_: tuple[Path, ...], as_json: bool) -> None:
    """Show in what runs differ: settings, data and results.

    \b
    Example:
        galago runs compare runs/digits runs/digits-wide
    """
    from galago_edge.contract.errors import CallerError, Reason
    from galago_edge.contract.printable import on_one_line
    from galago_workstation.run_catalogue import differences, one_test_set

    if len(runs_) < 2:
        raise CallerError(Reason.USAGE, "one run was named, expected two or more", hint="name another one")
    found = differences(runs_)
    same = one_test_set(runs_)
    if as_json:
        rows = [msgspec.to_builtins(one) for one in found]
        say_data({"runs": [str(path) for path in runs_], "differences": rows, "one_test_set": same})
        return
    table = [("", *(on_one_line(path.name) for path in runs_))]
    table += [tuple(map(on_one_line, (one.what, *one.values))) for one in found]
    widths = [max(len(row[column]) for row in table) for column in range(len(table[0]))]
    for row in table:
        say("  ".join(f"{value:<{width}}" for value, width in zip(row, widths, strict=True)).rstrip())
    if not found:
        say("they do not differ")
    if not same:
        say("note: their test samples are not the same, so their accuracies say little beside each other")


def _rows(found: RunSummary) -> list[tuple[str, str]]:
    from galago_edge.contract.printable import on_one_line
    from galago_workstation.run_catalogue import ABSENT, interrupted, share, streams_text
    from galago_workstation.training.progress import duration

    latency = ABSENT if found.latency_us is None else f"{found.latency_us / 1000:.2f} ms on this machine"
    return [
        ("run", found.path),
        ("trained", f"{found.created_utc}, {duration(found.seconds)}"),
        ("network", f"{found.network}, {found.parameters} parameters"),
        ("begins with", found.begins_with or "chance"),
        ("labels", ", ".join(map(on_one_line, found.labels))),
        ("samples", ", ".join(f"{count} {part}" for part, count in found.samples.items())),
        ("best epoch", f"{found.best_epoch} of {found.epochs}{interrupted(found)}"),
        ("validation accuracy", share(found.validation_accuracy)),
        ("validation, balanced", share(found.validation_balanced)),
        ("validation streams", streams_text(found)),
        ("test accuracy, Keras", share(found.test_accuracy_keras)),
        ("test accuracy, int8", share(found.test_accuracy)),
        ("int8 file", ABSENT if found.int8_bytes is None else f"{found.int8_bytes} bytes"),
        ("int8 latency", latency),
    ]
