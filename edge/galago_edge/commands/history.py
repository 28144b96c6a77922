"""``galago history``: what was done to a store, and why."""

from __future__ import annotations

from pathlib import Path

import click

from galago_edge.commands.cli import json_option, say, say_data
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

    entries = tuple(reversed(existing_store(root).state().history))
    if as_json:
        data = [{field: getattr(entry, field) for field in entry.__struct_fields__} for entry in entries]
        say_data({"history": data})
        return
    for entry in entries:
        what = " ".join(filter(None, (entry.name, entry.version)))
        which = f" ({entry.id[:16]}…)" if entry.id else ""
        why = f": {entry.reason}" if entry.reason else ""
        say(f"{entry.seq:>5}  {entry.at_utc}  {entry.action:<9} {what}{which}{why}")
    if not entries:
        say("nothing was ever installed")
