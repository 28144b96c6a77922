"""Nothing of the product writes to a terminal but through one place, which makes it fit for one."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

REPO = Path(__file__).parents[2]
THE_PLACE = REPO / "edge/galago_edge/commands/cli.py"
PRODUCT = [
    path for part in ("edge", "workstation", "converters", "devices") for path in (REPO / part).rglob("*.py")
]
WRITERS = {"echo", "secho", "echo_via_pager", "print"}


def writers_of(path: Path) -> Iterator[str]:
    """Yield where this module takes hold of something that writes text to a terminal as it is."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        where = f"{path.relative_to(REPO)}:{getattr(node, 'lineno', 0)}"
        if isinstance(node, ast.Attribute) and node.attr in WRITERS - {"print"}:
            yield where
        if isinstance(node, ast.Name) and node.id == "print":
            yield where
        if isinstance(node, ast.ImportFrom) and node.module == "click":
            yield from (where for name in node.names if name.name in WRITERS)


def test_only_the_command_line_writes_to_a_terminal() -> None:
    assert len(PRODUCT) > 300
    found = [
        where
        for path in PRODUCT
        if path != THE_PLACE and "build" not in path.parts
        for where in writers_of(path)
    ]
    assert not found, "write with say, say_data or say_json of galago_edge.commands.cli"


def test_a_writer_would_be_found() -> None:
    assert list(writers_of(THE_PLACE))
