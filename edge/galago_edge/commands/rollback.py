"""``galago rollback``: go back to the bundle before, by hand."""

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
@click.option(
    "--from",
    "--id",
    "given",
    metavar="VERSION|ID",
    help="Only if this bundle is the active one; no error if it was left before.",
)
@click.option("--why", default="", help="One line for the history.")
@json_option
def rollback(name: str | None, root: Path, given: str | None, why: str, as_json: bool) -> None:
    """Go back to the bundle before the active one called NAME.

    Without one, the factory's bundle becomes active. The bundle that was active is not taken again on
    this device (galago install --allow-bad). The one that becomes active is checked first, and must not
    be below the floor. NAME may be left out where the device has only one. Without --from, each call
    goes back once more.

    \b
    Example:
      galago rollback alarms --from 1.4.0 --root /var/lib/galago --why "too many false alarms"
    """
    from galago_edge.store import rollback
    from galago_edge.store.inventory import existing_store, only_name

    store = existing_store(root)
    name = only_name(store, name)
    bundle_id = given_id(store, name, given)
    before = store.state().slots.get(name)
    with telling_what_is_active(root):
        slot = rollback(store, name, f"galago rollback{': ' if why else ''}{why}", bundle_id=bundle_id)
        told = notify_service(root)
    if as_json:
        click.echo(json.dumps({**slot_data(name, slot), "service": told}, indent=2))
        return
    left = before is None or before.active.id != slot.active.id
    click.echo(f"{name} {slot.active.version} is active {'again' if left else 'already'} in {root}")
