"""``galago history``: what was done to a store, and why."""

from __future__ import annotations

import json
from pathlib import Path

import click

from galago_edge.commands.cli import json_option
from galago_edge.commands.store_options import root_option


@click.command()
@root_option
@json_option
def history(root: Path, as_json: bool) -> None:
    """Show the last changes of the store, the newest first.

    Installs, trials, commits, rollbacks and findings. Times are by the device's own clock, which may
    have been wrong.

    \b
    Example:
      galago history --root /var/lib/galago
    """
    from galago_edge.store.inventory import existing_store

    events = tuple(reversed(existing_store(root).state().history))
    if as_json:
        data = [{field: getattr(event, field) for field in event.__struct_fields__} for event in events]
        click.echo(json.dumps({"history": data}, indent=2, ensure_ascii=False))
        return
    for event in events:
        what = " ".join(filter(None, (event.name, event.version)))
        which = f" ({event.id[:16]}…)" if event.id else ""
        why = f": {event.reason}" if event.reason else ""
        click.echo(f"{event.seq:>5}  {event.at_utc}  {event.action:<9} {what}{which}{why}")
    if not events:
        click.echo("nothing was ever installed")
