"""Write docs/commands.md: every command's own help text. Run it after changing a help text.

.venv/bin/python tests/data/make_commands_page.py
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click

from galago_edge.commands.cli import main

PAGE = Path(__file__).parents[2] / "docs" / "commands.md"

HEAD = """\
# Commands

Made by `tests/data/make_commands_page.py` from the commands' own help texts.

Exit codes: [reason-codes.md](reason-codes.md).

On every device (`galago-edge`): {device}.

With the workstation (`galago`) also: {workstation}.
"""

WIDTH = 100


def commands(command: click.Command, path: str) -> Iterator[tuple[str, click.Command, click.Context]]:
    """Give every command below and including ``command``: its words, itself and a context for its help."""
    ctx = click.Context(
        command, info_name=path, terminal_width=WIDTH, max_content_width=WIDTH, **main.context_settings
    )
    yield path, command, ctx
    if isinstance(command, click.Group):
        for name in command.list_commands(ctx):
            found = command.get_command(ctx, name)
            if found is not None:
                yield from commands(found, f"{path} {name}")


def owner(command: click.Command) -> str:
    """Return the package whose module defines ``command``."""
    return getattr(command.callback, "__module__", "").partition(".")[0]


def head() -> str:
    """Return the head of the page: which command comes with which distribution."""
    found: dict[str, list[str]] = {"galago_edge": [], "galago_workstation": []}
    for path, command, _ in commands(main, "galago"):
        if not isinstance(command, click.Group):
            found[owner(command)].append(f"`{path.removeprefix('galago ')}`")
    return HEAD.format(
        device=", ".join(found["galago_edge"]), workstation=", ".join(found["galago_workstation"])
    )


def page() -> str:
    """Return the whole page."""
    sections = [
        f"## `{path}`\n\n```text\n{command.get_help(ctx)}\n```\n"
        for path, command, ctx in commands(main, "galago")
    ]
    return "\n".join([head(), *sections])


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
