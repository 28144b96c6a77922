"""Help texts are whole, and docs/commands.md names every command and every option there is."""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib.metadata import entry_points
from pathlib import Path

import click
import pytest

from galago_edge.commands.cli import main

PAGE = Path(__file__).parents[2] / "docs" / "commands.md"


def context(command: click.Command, path: str, width: int = 80) -> click.Context:
    return click.Context(
        command, info_name=path, terminal_width=width, max_content_width=width, **main.context_settings
    )


def walk(command: click.Command, path: str) -> Iterator[tuple[str, click.Command]]:
    yield path, command
    if isinstance(command, click.Group):
        ctx = context(command, path)
        for name in command.list_commands(ctx):
            found = command.get_command(ctx, name)
            assert found is not None, f"{path} {name}"
            yield from walk(found, f"{path} {name}")


COMMANDS = dict(walk(main, "galago"))
GROUPS = {path: command for path, command in COMMANDS.items() if isinstance(command, click.Group)}


@pytest.mark.parametrize("path", GROUPS)
def test_a_group_shows_a_whole_sentence_for_each_command_at_80_columns(path: str) -> None:
    group = GROUPS[path]
    ctx = context(group, path)
    lines = group.get_help(ctx).partition("Commands:\n")[2].splitlines()
    assert len(lines) == len(group.list_commands(ctx))  # none is wrapped either
    for line in lines:
        assert "..." not in line and line.endswith("."), line


@pytest.mark.parametrize("path", COMMANDS)
def test_no_path_is_refused_by_click_itself_which_has_neither_code_nor_hint(path: str) -> None:
    paths = [one for one in COMMANDS[path].params if isinstance(one.type, click.Path)]
    asked = ("exists", "readable", "writable", "executable")
    assert [one.name for one in paths if any(getattr(one.type, what) for what in asked)] == []


def sections() -> dict[str, str]:
    """The page's sections by their headings."""
    parts = re.split(r"^## `(.+)`$", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def test_the_commands_page_has_a_section_for_every_command_and_for_no_other() -> None:
    assert set(sections()) == set(COMMANDS)


@pytest.mark.parametrize("path", COMMANDS)
def test_the_commands_page_names_every_option_and_argument(path: str) -> None:
    text = sections()[path]
    command = COMMANDS[path]
    for parameter in command.get_params(context(command, path)):
        names = [*parameter.opts, *parameter.secondary_opts]
        if isinstance(parameter, click.Argument):
            names = [(parameter.metavar or (parameter.name or "").upper()).strip("[].")]
            if isinstance(parameter.type, click.Choice):
                names = list(parameter.type.choices)
        for name in names:
            assert re.search(rf"(?<![\w-]){re.escape(name)}(?![\w-])", text), f"{path}: {name}"


def test_the_head_of_the_commands_page_says_which_commands_a_device_has() -> None:
    head = PAGE.read_text(encoding="utf-8").partition("\n## ")[0]
    device, _, workstation = head.partition("With the workstation")
    offered = {point.name.replace(".", " ") for point in entry_points(group="galago.commands")}
    for path, command in COMMANDS.items():
        name = path.removeprefix("galago ")
        if isinstance(command, click.Group):
            continue
        comes_with = name in offered or name.partition(" ")[0] in offered
        assert (f"`{name}`" in workstation) == comes_with, name
        assert (f"`{name}`" in device) == (not comes_with), name
