"""``galago commit``: end a trial well, by hand."""

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

    def change(store: Store, name: str, bundle_id: str | None) -> Transition:
        return commit(store, name, bundle_id=bundle_id, reason="galago commit")

    def said(done: Transition) -> str:
        return f"{done.name} {done.version} is committed in {root}"

    change_slot(root, name, given, change, said, as_json=as_json)
