"""``galago pull``: the device fetches its bundles itself."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from galago_edge.commands.cli import json_option, say, say_data
from galago_edge.commands.store_options import notify_service, root_option

if TYPE_CHECKING:
    from galago_edge.intake.pull import PullOutcome


_SEVERITY = (0, 5, 3, 2, 1)
"""Exit codes, the worst last, as galago flash has them."""


@click.command()
@click.argument("url")
@root_option
@click.option("--name", "names", multiple=True, help="Bundle to fetch.  [default: those that are installed]")
@click.option("--channel", default="stable", show_default=True, help="Channel to fetch from.")
@click.option("--stage-only", is_flag=True, help="Install it, but do not make it active.")
@json_option
@click.pass_context
def pull(
    ctx: click.Context,
    url: str,
    root: Path,
    names: tuple[str, ...],
    channel: str,
    stage_only: bool,
    as_json: bool,
) -> None:
    """Update this device's bundles from the web folder URL.

    The folder's signed list says what there is. List and bundles are trusted for their signatures, not
    for where they come from; a list older than the last one is refused. What arrived of an interrupted
    download is kept. Made for a timer: without news nothing is fetched and nothing is written. The exit
    code is that of the bundle that fared worst.

    \b
    Example:
      galago pull https://example.org/galago/ --root /var/lib/galago
    """
    from galago_edge.intake.pull import pull

    index, outcomes = pull(url, root, names=names, channel=channel, stage_only=stage_only)
    told = None
    if any(done.receipt and done.receipt.phase == "on trial" for done in outcomes):
        told = notify_service(root)
    if as_json:
        data = {
            "sequence": index.sequence,
            "created_utc": index.created_utc,
            "service": told,
            "bundles": [_data(done) for done in outcomes],
        }
        say_data(data)
    else:
        say(f"list {index.sequence} of {index.created_utc}")
        for done in outcomes:
            say(_line(done))
            if done.fault is not None and done.fault.hint:
                say(f"  Hint: {done.fault.hint}")
    faults = [done.fault.exit_code for done in outcomes if done.fault is not None]
    ctx.exit(max(faults, key=_SEVERITY.index, default=0))


def _line(done: PullOutcome) -> str:
    active = f"{done.version} is active" if done.version else "none is active"
    if done.fault is not None:
        return f"{done.name}: {done.state}, {active}: {done.fault.line}"
    if done.receipt is not None:
        return f"{done.name}: {done.receipt.bundle.version} is {done.receipt.phase}, {active}"
    return f"{done.name}: {done.state}, {active}" + (f": {done.note}" if done.note else "")


def _data(done: PullOutcome) -> dict[str, Any]:
    fault = done.fault
    return {
        "name": done.name,
        "state": done.state,
        "active": done.version,
        "phase": done.receipt.phase if done.receipt else None,
        "note": done.note,
        "fault": fault.as_data(with_exit=True) if fault else None,
    }
