"""``galago activate``: make a staged bundle the active one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from galago_edge.commands.cli import json_option
from galago_edge.commands.store_options import change_slot, name_argument, root_option, wish_options

if TYPE_CHECKING:
    from galago_edge.store import Store, Transition


@click.command()
@name_argument
@root_option
@click.option("--id", "given", metavar="ID|VERSION", help="Only if this bundle is the staged one.")
@wish_options
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
    from galago_edge.contract.wishes import Wishes
    from galago_edge.store import activate

    wishes = Wishes(commit=commit, allow_downgrade=allow_downgrade, trial_s=trial_s)

    def change(store: Store, name: str, bundle_id: str | None) -> Transition:
        return activate(store, name, bundle_id=bundle_id, wishes=wishes)

    def said(done: Transition) -> str:
        on_trial = " on trial" if done.now.trial else ""
        return f"{done.name} {done.version} is active{on_trial} in {root}"

    change_slot(root, name, given, change, said, as_json=as_json)
