"""``galago model``: the group. Its commands are entry points ``model.NAME``, as those of ``bundle``."""

from __future__ import annotations

import click

from galago_edge.commands.cli import GalagoGroup


@click.group(cls=GalagoGroup, prefix="model.")
def model() -> None:
    """Look at model files, whoever made them."""
