"""``galago commit``: end a trial well, by hand."""

from __future__ import annotations

import json
from pathlib import Path

import click

from galago_edge.commands.cli import json_option
from galago_edge.commands.store_options import (
    given_id,
    name_argument,
    notify_service,
    root_option,
    slot_data,
    telling_what_is_active,
)


@click.command()
@name_argument
@root_option
@click.option("--id", "given", metavar="ID|VERSION", help="Only if this bundle is the active one.")
@json_option
def commit(name: str | None, root: Path, given: str | None, as_json: bool) -> None:
    """Commit the active bundle NAME without waiting for its trial.

    From then on its floor holds, and what it replaced can be removed. A bundle that is already committed
    stays so. NAME may be left out where the device has only one.

    \b
    Example:
      galago commit alarms --root /var/lib/galago
    """
    from galago_edge.store import commit
    from galago_edge.store.inventory import existing_store, only_name

    store = existing_store(root)
    name = only_name(store, name)
    with telling_what_is_active(root):
        slot = commit(store, name, bundle_id=given_id(store, name, given), reason="galago commit")
        told = notify_service(root)
    if as_json:
        click.echo(json.dumps({**slot_data(name, slot), "service": told}, indent=2))
        return
    click.echo(f"{name} {slot.active.version} is committed in {root}")
