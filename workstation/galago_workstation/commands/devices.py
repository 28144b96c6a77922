"""``galago devices``: the catalogue of boards."""

from __future__ import annotations

from pathlib import Path

import click

from galago_edge.commands.cli import json_option, say, say_data, show_error
from galago_edge.commands.options import PATH
from galago_edge.commands.output_places import check_outputs
from galago_edge.contract.errors import DeviceError


@click.group()
def devices() -> None:
    """Show the boards that bundles can be built for."""


@devices.command("list")
@json_option
def list_(as_json: bool) -> None:
    """List every board: its id, machine, TFLite runtime and name."""
    import msgspec

    from galago_devices import names, profile

    profiles = []
    for name in names():
        try:
            profiles.append(profile(name))
        except DeviceError as error:  # another distribution's; the others are listed all the same
            show_error(error)
    if as_json:
        say_data([msgspec.to_builtins(found) for found in profiles])
        return
    for found in profiles:
        runtime = f"{found.runtime.package} {found.runtime.min_version}"
        say(f"{found.id:<22}{found.arch:<10}{runtime:<24}{found.title}")


@devices.command()
@click.argument("name")
@click.option("-o", "--out", type=PATH, help="Write the profile to this file.")
def show(name: str, out: Path | None) -> None:
    """Print the profile of the board NAME, as a device keeps it.

    \b
    Example:
      galago devices show raspberry-pi-5 -o /media/card/galago/profile.toml
    """
    from galago_devices import profile_text
    from galago_edge.host.former_output import refuse_other_kind
    from galago_workstation.files import write_bytes
    from galago_workstation.output_kinds import PROFILE

    text = profile_text(name)
    if out is None:
        for line in text.splitlines():
            say(line)
        return
    check_outputs({"--out": out})
    refuse_other_kind(out, PROFILE)
    write_bytes(out, text.encode())
    say(f"{out}: {name}")
