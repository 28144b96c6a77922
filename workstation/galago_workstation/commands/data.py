"""``galago data``: the group. Its commands are entry points ``data.NAME``, as those of ``galago bundle``."""

from __future__ import annotations

import click

from galago_edge.commands.cli import GalagoGroup


@click.group(cls=GalagoGroup, prefix="data.")
def data() -> None:
    """Look at training data, and make some."""
