"""``galago rollback``: go back to the bundle before, by hand."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from galago_edge.commands.cli import json_option
from galago_edge.commands.store_options import change_slot, name_argument, root_option

if TYPE_CHECKING:
    from galago_edge.store import Store, Transition


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

    def change(store: Store, name: str, bundle_id: str | None) -> Transition:
        reason = f"galago rollback{': ' if why else ''}{why}"
        return rollback(store, name, bundle_id=bundle_id, reason=reason)

    def said(done: Transition) -> str:
        return f"{done.name} {done.version} is active {'again' if done.replaced else 'already'} in {root}"

    change_slot(root, name, given, change, said, as_json=as_json)
