"""``galago provision``: make a device."""

from __future__ import annotations

from pathlib import Path

import click

from galago_edge.commands.cli import json_option, say, say_data
from galago_edge.commands.options import PATH
from galago_workstation.commands.target_options import target_options


@click.command()
@click.argument("target")
@click.option("--profile", required=True, metavar="NAME", help="What board it is: galago devices list.")
@click.option(
    "--trust",
    "keys",
    multiple=True,
    type=PATH,
    metavar="PUB",
    help="Public key whose bundles it takes; may be given several times.",
)
@click.option("--replace-profile", is_flag=True, help="Write the profile even if it holds another one.")
@click.option("--unit/--no-unit", default=True, help="Write the service's unit file too.  [default: unit]")
@target_options
@json_option
def provision(
    target: str,
    profile: str,
    keys: tuple[Path, ...],
    replace_profile: bool,
    unit: bool,
    fleet: Path | None,
    root: str | None,
    galago: str | None,
    user: str | None,
    ssh_config: Path | None,
    as_json: bool,
) -> None:
    """Prepare TARGET as a device: profile, trusted keys, unit file.

    TARGET is written as for galago flash. On a mounted disk that holds a system, the store is
    var/lib/galago and the service is enabled; any other folder becomes the store itself. What is there
    already stays, so the command may be repeated; keys are only ever added (galago keys revoke).

    \b
    Example:
      galago provision pi@porch --profile raspberry-pi-5 --trust release.key.pub
      galago provision /media/rootfs --profile raspberry-pi-5 --trust release.key.pub
    """
    from galago_workstation.flashing.device_provisioning import provision_target
    from galago_workstation.flashing.flash_run import Choice

    choice = Choice.of(
        [target], bundle_id="", fleet=fleet, root=root, galago=galago, user=user, ssh_config=ssh_config
    )
    done = {}
    for found in choice.targets:
        done[found.name] = provision_target(found, profile, keys, replace=replace_profile, unit=unit)
        for line in () if as_json else done[found.name]:  # at once: the next one may fail
            say(f"{found.name}: {line}")
    if as_json:
        say_data(done)
