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


SYSTEM_ERRORS = {
    "OSError", "ConnectionError", "TimeoutError", "PermissionError", "FileNotFoundError", "gaierror",
    "ProcessLookupError", "URLError",
}  # fmt: skip


def _caught(type_: ast.expr | None) -> set[str]:
    if isinstance(type_, ast.Tuple):
        return {name for each in type_.elts for name in _caught(each)}
    return {type_.attr if isinstance(type_, ast.Attribute) else getattr(type_, "id", "")}


def numbers_of(source: str) -> Iterator[int]:
    """Yield the lines where an error of the system is put into a text as it is: with its number."""
    for handler in ast.walk(ast.parse(source)):
        if not isinstance(handler, ast.ExceptHandler) or not _caught(handler.type) & SYSTEM_ERRORS:
            continue
        inside = list(ast.walk(handler))
        # error.strerror or error: the system's own words where there are some
        last = {id(each) for node in inside if isinstance(node, ast.BoolOp) for each in node.values}
        for node in inside:
            named = node.value if isinstance(node, ast.FormattedValue) and node.conversion == -1 else None
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "str" and node.args:
                named = node.args[0] if id(node) not in last else None
            if isinstance(named, ast.Name) and named.id == handler.name:
                yield handler.lineno


def test_no_message_has_a_number_of_the_systems_that_tells_people_nothing() -> None:
    found = [
        f"{path.relative_to(REPO)}:{line}"
        for path in PRODUCT
        if "build" not in path.parts
        for line in numbers_of(path.read_text(encoding="utf-8"))
    ]
    assert not found, "say it with system_words or disk_error of galago_edge.contract.errors"


def test_a_number_of_the_systems_would_be_found() -> None:
    bad = "try:\n    work()\nexcept (OSError, ValueError) as error:\n    say({})\n"
    assert [list(numbers_of(bad.format(how))) for how in ("f'{error}'", "str(error)")] == [[3], [3]]
    assert list(numbers_of(bad.format("error.strerror or str(error)"))) == []
