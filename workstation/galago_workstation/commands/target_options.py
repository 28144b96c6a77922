"""Options of the commands that reach devices: how, and where the store is there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from galago_edge.commands.options import PATH

F = TypeVar("F", bound=Callable[..., Any])


def target_options(command: F) -> F:
    """Add ``--fleet``, ``--root``, ``--galago``, ``--user``, ``--ssh-config``, for ``Choice.of``."""
    options = (
        click.option(
            "--fleet", type=PATH, help="Fleet file that @names are looked up in.  [default: fleet.toml]"
        ),
        click.option("--root", help="Folder of the store on a device.  [default: /var/lib/galago]"),
        click.option("--galago", help="The galago command on a device.  [default: galago]"),
        click.option(
            "--user", help="The store's owner on a device, if somebody else logs in: sudo -n -u USER."
        ),
        click.option("--ssh-config", type=PATH, help="Use this file instead of ~/.ssh/config (ssh -F)."),
    )
    for option in reversed(options):
        command = option(command)
    return command
