"""What a companion adds to a command of the device: more options, and what is done where they are needed.

The device must not know its companions. One that is installed offers a :class:`CommandExtension` through the
entry-point group ``galago.extensions``, under the command's name.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import entry_points
from typing import Any

import click

_GROUP = "galago.extensions"


@dataclass(frozen=True, slots=True)
class CommandExtension:
    """What a companion adds to one command."""

    options: tuple[click.Option, ...]
    """Beside the command's own."""
    takes: Callable[[Sequence[str]], bool]
    """Tells of the command's arguments whether they are for the companion, whatever options are given."""
    run: Callable[..., None]
    """Does it: called with everything that the command was given, the companion's options too."""


class ExtendedCommand(click.Command):
    """A command to which a companion may add."""

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        """Return the command's own parameters and behind them the companion's, before ``--help``."""
        own = super().get_params(ctx)
        found = extension_of(self.name or "")
        if found is None:
            return own
        return [*self.params, *found.options, *own[len(self.params) :]]


def extension_of(command: str) -> CommandExtension | None:
    """Return what a companion adds to the command; None when there is none."""
    for point in entry_points(group=_GROUP, name=command):
        found: CommandExtension = point.load()
        return found
    return None


def asked_for(options: dict[str, Any]) -> bool:
    """Tell whether one of the companion's options was given."""
    return any(value not in (None, False) for value in options.values())
