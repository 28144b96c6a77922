"""``galago gc``: remove bundles that nobody needs."""

from __future__ import annotations

from pathlib import Path

import click

from galago_edge.commands.cli import json_option, say, say_data
from galago_edge.commands.store_options import root_option


@click.command()
@root_option
@json_option
def gc(root: Path, as_json: bool) -> None:
    """Remove the bundles that this device no longer needs.

    Kept are those that are active, staged or in use, and those that a rollback goes back to. Each
    install does the same before it checks the free space.

    \b
    Example:
      galago gc --root /var/lib/galago
    """
    from galago_edge.store import collect
    from galago_edge.store.inventory import existing_store

    removed = collect(existing_store(root))
    size = sum(bundle.size_bytes for bundle in removed)
    if as_json:
        ids = [{"id": bundle.id, "size_bytes": bundle.size_bytes} for bundle in removed]
        say_data({"removed": ids, "size_bytes": size})
        return
    say(f"{len(removed)} bundles removed, {size} bytes free again")
