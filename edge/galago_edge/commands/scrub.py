"""``galago scrub``: read everything that the device relies on."""

from __future__ import annotations

from pathlib import Path

import click

from galago_edge.commands.cli import json_option, say, say_data
from galago_edge.commands.store_options import root_option


@click.command()
@root_option
@json_option
@click.pass_context
def scrub(ctx: click.Context, root: Path, as_json: bool) -> None:
    """Read every byte of every bundle and repair the store's state.

    Every bundle that the device has or could go back to is read from the disk and checked. Both copies
    of the state are made whole again; where neither is, new state is made from the bundles that are
    there (docs/store.md). Exit code 1 when a bundle is damaged; installing the same one again repairs
    it.

    \b
    Example:
      galago scrub --root /var/lib/galago
    """
    from galago_edge.store import scrub
    from galago_edge.store.inventory import existing_store

    store = existing_store(root)
    report = scrub(store, store.trusted())
    if as_json:
        bundles = [
            {
                "name": found.name,
                "part": found.part,
                "id": found.id,
                "version": found.version,
                "fault": found.fault and found.fault.as_data(),
            }
            for found in report.bundles
        ]
        data = {"healthy": report.healthy, "bundles": bundles, "renewed": list(report.renewed)}
        say_data(data)
    else:
        for found in report.bundles:
            how = "whole" if found.fault is None else f"DAMAGED: {found.fault.line}"
            say(f"{found.name} {found.version} ({found.part}): {how}")
        for name in report.renewed:
            say(f"{name} was not whole and is written again")
        if not report.bundles:
            say("there is no bundle")
    if not report.healthy:
        ctx.exit(1)
