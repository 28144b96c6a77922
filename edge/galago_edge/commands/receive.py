"""``galago receive``: the device's end of ``galago flash``."""

from __future__ import annotations

import os
from pathlib import Path

import click

from galago_edge.commands.store_options import root_option

_INTERRUPTED = 130


@click.command()
@root_option
@click.option("--stdio", is_flag=True, required=True, help="Speak over standard input and output.")
@click.option("--mounted", is_flag=True, help="The store belongs to another machine and is mounted here.")
@click.option("--provision", is_flag=True, help="Take profile and trusted keys instead of a bundle.")
@click.pass_context
def receive(ctx: click.Context, root: Path, stdio: bool, mounted: bool, provision: bool) -> None:
    """Receive a bundle from galago flash, verify and install it.

    This is what galago flash starts on a device by ssh; nobody types it. A key that may flash a device
    and do nothing else is a line of authorized_keys (docs/flashing.md):

    \b
    Example:
      restrict,command="galago receive --stdio --root /var/lib/galago" ssh-ed25519 AAAA...
    """
    from galago_edge.intake.flash_pipe import Pipe
    from galago_edge.intake.session import ProvisioningSession, ReceivingSession

    out = os.dup(1)
    os.dup2(2, 1)  # what a library prints must not stand between the frames
    pipe = Pipe(0, out)
    session = ProvisioningSession(pipe, root) if provision else ReceivingSession(pipe, root, mounted=mounted)
    try:
        ctx.exit(session.serve())
    except KeyboardInterrupt:
        ctx.exit(_INTERRUPTED)
    finally:
        os.close(out)
