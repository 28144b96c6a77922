"""Every hint of flash, provision and keys names what to type, and what it names is there."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from galago_edge.commands.cli import main
from galago_workstation.flashing import links

REPO = Path(__file__).parents[2]
EDGE, FLASHING = REPO / "edge/galago_edge", REPO / "workstation/galago_workstation/flashing"
MODULES = [
    *FLASHING.glob("*.py"),
    *(EDGE / "intake").glob("*.py"),
    *(EDGE / "bundle" / name for name in ("keys.py", "trust.py", "signature.py")),
    EDGE / "store/trust_folder.py",
    EDGE / "commands/keys.py",
]
COMMAND = re.compile(
    r"\bgalago [a-z-]+"
    r"|\b(ssh|ssh-copy-id|ssh-keygen|ping|systemctl|apt|mount|mkdir|chmod|rm|curl|ulimit|visudo)\b"
    r"|root@|--[a-z-]+|(run|command) (it )?again|same command"
)
GALAGO = re.compile(r"\bgalago (?P<words>[a-z][a-z-]+(?: [a-z-]+)?)(?! lies)")
OPTION = re.compile(r"(?<![\w-])--[a-z][a-z-]*")


def text_of(node: ast.expr) -> str:
    """The hint's text; what is put in at run time stands as X. Of a choice, both."""
    if isinstance(node, ast.Constant):
        return str(node.value or "")
    if isinstance(node, ast.JoinedStr):
        return "".join(text_of(part) if isinstance(part, ast.Constant) else "X" for part in node.values)
    if isinstance(node, ast.BinOp):
        return text_of(node.left) + text_of(node.right)
    if isinstance(node, ast.IfExp):
        return f"{text_of(node.body)} {text_of(node.orelse)}"
    return ""  # a name or an attribute: it is checked where it comes from


def hints() -> Iterator[tuple[str, str]]:
    for path in MODULES:
        for node in ast.walk(ast.parse(path.read_text())):
            for keyword in node.keywords if isinstance(node, ast.Call) else ():
                if keyword.arg == "hint" and (text := text_of(keyword.value)):
                    yield f"{path.name}:{keyword.value.lineno}", text
            if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) in ("hint", "_HINT"):
                yield f"{path.name}:{node.lineno}", text_of(node.value)
    yield from ((f"links.py:{sign.text}", sign.hint) for sign in links._SIGNS)


HINTS = {where: hint for where, hint in hints() if hint}


def command_of(words: str) -> click.Command | None:
    context = click.Context(main)
    first, _, second = words.partition(" ")
    command = main.get_command(context, first)
    if isinstance(command, click.Group) and second:
        return command.get_command(click.Context(command), second)
    return command


@pytest.mark.parametrize(("where", "hint"), HINTS.items(), ids=HINTS)
def test_a_hint_says_what_to_type_and_what_it_names_is_there(where: str, hint: str) -> None:
    assert COMMAND.search(hint), hint
    known = {option for words in ("flash", "provision", "receive") for option in options_of(words)}
    for found in GALAGO.finditer(hint):
        command = command_of(found["words"])
        assert command is not None, f"galago {found['words']}"
        known |= {o for parameter in command.params for o in (*parameter.opts, *parameter.secondary_opts)}
    for option in OPTION.findall(hint):
        assert option in known | {"--key", "--version", "--allow-in-use", "--now"}, option


def options_of(words: str) -> list[str]:
    command = command_of(words)
    assert command is not None
    return [o for parameter in command.params for o in (*parameter.opts, *parameter.secondary_opts)]


def test_there_are_hints_to_look_at() -> None:
    assert len(HINTS) > 60
