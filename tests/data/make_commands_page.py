"""Write docs/commands.md: every command's own help text. Run it after changing a help text.

.venv/bin/python tests/data/make_commands_page.py
"""

from __future__ import annotations

from pathlib import Path

import click

from galago_edge.commands.cli import main

PAGE = Path(__file__).parents[2] / "docs" / "commands.md"

HEAD = """\
# Commands

Made by `tests/data/make_commands_page.py` from the commands' own help texts. `bundle`, `classify`, `doctor`,
`install`, `keys`, `replay`, `run` and `status` are on every device; `bundle build`, `convert`, `demo`,
`demo-data`, `devices`, `evaluate` and `train` come with the workstation.
Exit codes: [reason-codes.md](reason-codes.md).
"""


def help_of(command: click.Command, path: str) -> list[str]:
    """Return the sections of ``command`` and of everything below it."""
    ctx = click.Context(
        command, info_name=path, terminal_width=100, max_content_width=100, **main.context_settings
    )
    sections = [f"## `{path}`\n\n```text\n{command.get_help(ctx)}\n```\n"]
    if isinstance(command, click.Group):
        for name in command.list_commands(ctx):
            found = command.get_command(ctx, name)
            if found is not None:
                sections += help_of(found, f"{path} {name}")
    return sections


def page() -> str:
    """Return the whole page."""
    return "\n".join([HEAD, *help_of(main, "galago")])


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
