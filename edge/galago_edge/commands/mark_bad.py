"""``galago mark-bad``: never take a bundle again."""

from __future__ import annotations

import json
from pathlib import Path

import click

from galago_edge.commands.cli import json_option
from galago_edge.commands.store_options import (
    notify_service,
    root_option,
    slot_data,
    telling_what_is_active,
)
from galago_edge.contract.errors import CallerError, Reason


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
    from galago_edge.store.inventory import existing_store, only_name

    if len(bundle_id) != 64 or set(bundle_id) - set("0123456789abcdef"):
        raise CallerError(
            Reason.TARGET_UNKNOWN,
            f"{bundle_id!r} is no bundle's id of 64 hexadecimal digits",
            hint="galago status --json and galago bundle inspect show ids",
        )
    store = existing_store(root)
    name = only_name(store, name)
    with telling_what_is_active(root):
        slot = mark_bad(store, name, bundle_id)
        told = notify_service(root)
    if as_json:
        click.echo(json.dumps({**slot_data(name, slot), "service": told}, indent=2))
        return
    click.echo(f"{bundle_id[:16]}… is not taken again as {name}; {slot.active.version} is active in {root}")
