"""``galago activate``: make a staged bundle the active one."""

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
@click.option("--id", "given", metavar="ID|VERSION", help="Only if this bundle is the staged one.")
@click.option("--commit", is_flag=True, help="Commit it at once, without a trial.")
@click.option("--allow-downgrade", is_flag=True, help="Take an older release than the active one.")
@click.option(
    "--trial-s",
    type=click.IntRange(1, 86_400),
    help="Length of its trial in seconds, instead of the manifest's.",
)
@json_option
def activate(
    name: str | None,
    root: Path,
    given: str | None,
    commit: bool,
    allow_downgrade: bool,
    trial_s: int | None,
    as_json: bool,
) -> None:
    """Make the staged bundle called NAME active.

    Every byte of it is checked again first. It is on trial where there is a bundle to go back to. NAME
    may be left out where the device has only one.

    \b
    Example:
      galago activate alarms --root /var/lib/galago
    """
    from galago_edge.store import TrialTerms, activate
    from galago_edge.store.inventory import existing_store, only_name

    store = existing_store(root)
    name = only_name(store, name)
    with telling_what_is_active(root):
        slot = activate(
            store,
            name,
            bundle_id=given_id(store, name, given),
            commit=commit,
            allow_downgrade=allow_downgrade,
            trial=TrialTerms(trial_s=trial_s),
        )
        told = notify_service(root)
    if as_json:
        click.echo(json.dumps({**slot_data(name, slot), "service": told}, indent=2))
        return
    click.echo(f"{name} {slot.active.version} is active{' on trial' if slot.trial else ''} in {root}")
