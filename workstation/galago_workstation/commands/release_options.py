"""Options of the commands that make a bundle: what the new one is called, and where it goes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from galago_edge.commands.options import PATH

F = TypeVar("F", bound=Callable[..., Any])


def release_options(*, version: str, counter: str, description: str) -> Callable[[F], F]:
    """Add ``--version``, ``--release-counter``, ``--description``, ``--out`` and ``--replace``.

    Args:
        version: What it is unless somebody says otherwise; so ``description``.
        counter: The help of ``--release-counter``.
    """

    def add(command: F) -> F:
        options = (
            click.option("--version", help=f"Version, three numbers.  [default: {version}]"),
            click.option("--release-counter", type=click.IntRange(min=0), help=counter),
            click.option("--description", help=f"One line for people.  [default: {description}]"),
            click.option("-o", "--out", type=PATH, help="File to write.  [default: NAME-VERSION.galago]"),
            click.option("--replace", is_flag=True, help="Write over another bundle."),
        )
        for option in reversed(options):
            command = option(command)
        return command

    return add
