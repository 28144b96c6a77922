"""``galago install``: take a bundle into a device's store."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from galago_edge.commands.cli import json_option

if TYPE_CHECKING:
    from galago_edge.service.receiver import Receipt


@click.command()
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option("--root", required=True, type=click.Path(path_type=Path), help="Folder of the device's store.")
@json_option
def install(bundle: Path, root: Path, as_json: bool) -> None:
    """Check BUNDLE, run its golden samples on this device, and make it the active one.

    Whatever fails, the bundle that was active before stays so. ROOT must trust the signer (galago keys
    trust); with a profile in ROOT (galago devices show NAME -o ROOT/profile.toml) board, runtime and
    operators are checked too.

    \b
    Example:
      galago install alarms-1.4.0.galago --root /var/lib/galago
    """
    from galago_edge.service.receiver import receive

    receipt = receive(bundle, root)
    if as_json:
        click.echo(json.dumps(_data(receipt), indent=2))
        return
    click.echo(f"{receipt.bundle} {_SAID[receipt.outcome]} in {root} (id {receipt.bundle.id[:16]}…)")
    if receipt.golden:
        worst = max(result.largest_difference for result in receipt.golden)
        click.echo(f"golden samples: {len(receipt.golden)} answered, at most {worst} steps off")
    if receipt.profile is None:
        click.echo(f"no profile in {root}: board and operators were not checked, machine and runtime were")


_SAID = {
    "installed": "is installed and active",
    "already installed": "was active already and is whole",
    "repaired": "was damaged and is repaired",
}


def _data(receipt: Receipt) -> dict[str, Any]:
    info = receipt.bundle.manifest.bundle
    return {
        "outcome": receipt.outcome,
        "name": info.name,
        "version": info.version,
        "id": receipt.bundle.id,
        "folder": str(receipt.folder),
        "profile": receipt.profile,
        "golden": [
            {"file": result.file, "label": result.label, "difference": result.largest_difference}
            for result in receipt.golden
        ],
    }
