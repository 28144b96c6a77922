"""``galago mark-bad``: never take a bundle again."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from galago_edge.commands.cli import json_option
from galago_edge.commands.store_options import change_slot, root_option
from galago_edge.contract.errors import CallerError, Reason

if TYPE_CHECKING:
    from galago_edge.store import Store, Transition


@click.command("mark-bad")
@click.argument("bundle_id", metavar="ID")
@click.option("--name", help="Name of the bundle, where the device has several.")
@root_option
@json_option
def mark_bad(bundle_id: str, name: str | None, root: Path, as_json: bool) -> None:
    """Never take the bundle ID again on this device.

    If it is active, the bundle before it becomes active again.

    \b
    Example:
      galago mark-bad 5f1d…(64 digits) --root /var/lib/galago
    """
    from galago_edge.store import mark_bad

    if len(bundle_id) != 64 or set(bundle_id) - set("0123456789abcdef"):
        raise CallerError(
            Reason.TARGET_UNKNOWN,
            f"{bundle_id!r} is no bundle's id of 64 hexadecimal digits",
            hint="galago status --json and galago bundle inspect show ids",
        )

    def change(store: Store, name: str, _: str | None) -> Transition:
        return mark_bad(store, name, bundle_id=bundle_id)

    def said(done: Transition) -> str:
        active = done.version
        return f"{bundle_id[:16]}… is not taken again as {done.name}; {active} is active in {root}"

    change_slot(root, name, bundle_id, change, said, as_json=as_json)
