"""``galago qa``: the group. Its commands are entry points ``qa.NAME``, as those of ``galago bundle``."""

from __future__ import annotations

import click

from galago_edge.commands.cli import GalagoGroup


@click.group(cls=GalagoGroup, prefix="qa.")
def qa() -> None:
    """Judge what bundles say to recorded streams."""
