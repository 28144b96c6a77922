"""The import rule of the design, proven on the source and on a running interpreter."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

import galago_edge

ROOT = Path(__file__).parents[2]
SOURCE_ROOTS = {
    "galago_edge": ROOT / "edge",
    "galago_devices": ROOT / "devices",
    "galago_converters": ROOT / "converters",
    "galago_workstation": ROOT / "workstation",
}
COMPANIONS = set(SOURCE_ROOTS) - {"galago_edge"}
MAY_IMPORT = {
    "galago_edge": set(),
    "galago_devices": {"galago_edge"},
    "galago_converters": {"galago_edge", "galago_devices"},
    "galago_workstation": {"galago_edge", "galago_devices", "galago_converters"},
}
TRAINING = {"tensorflow", "keras", "tf_keras", "sklearn", "scipy", "matplotlib", "rich", "jinja2"}

FLOORS = [  # lowest first; docs/architecture.md draws them
    {"contract"},
    {"host"},
    {"preprocess", "decision", "bundle", "children", "recorded"},
    {"sources", "sinks", "recording", "store", "engine"},
    {"pipeline"},
    {"service", "intake", "api", "editing"},
    {"doctor"},
    {"commands"},
]
OUTSIDE_THE_HOUSE = {"__main__", "__init__"}
"""``__main__`` hands over to commands, ``__init__`` is the front door."""
FRONT_DOOR = set(galago_edge.__all__) - {"__version__"}
"""What programs find in galago_edge itself stands on the floor of api, wherever it is defined."""
BESIDE_THE_PRODUCT = {"tests": "tests", "campaigns": "campaigns", "benchmarks": "benchmarks"}
"""Folders of code that is not shipped. Tests run small pieces of campaigns; nobody else looks next door."""
SUPPORT = {"test_kit", "real_parts", "power_cuts"}
"""tests/support: a distribution of its own, for tests, campaigns and benchmarks."""


def modules(package: str) -> list[Path]:
    return sorted((SOURCE_ROOTS[package] / package).rglob("*.py"))


@cache
def imported_names(path: Path) -> frozenset[str]:
    """Every module named by an import statement, inside functions too, or by import_module("...")."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names.add(node.module or "")
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Call):
            called = getattr(node.func, "id", getattr(node.func, "attr", ""))
            given = [
                *node.args[:1],
                *(word.value for word in node.keywords if word.arg in ("name", "module")),
            ]
            if called in ("import_module", "__import__", "import_extra"):
                names.update(str(one.value) for one in given if isinstance(one, ast.Constant))
    return frozenset(names)


def search_path_changes(path: Path) -> list[str]:
    """Return the statements by which a file would find modules elsewhere, or run a file of a neighbour."""
    found: list[str] = []
    text = path.read_text(encoding="utf-8")
    if "sys" not in text and "run_path" not in text:  # in each of them there is one of both
        return found
    for node in ast.walk(ast.parse(text)):
        targets: list[ast.expr] = []
        if isinstance(node, ast.Assign | ast.Delete):
            targets = node.targets
        elif isinstance(node, ast.AugAssign):
            targets = [node.target]
        elif isinstance(node, ast.ImportFrom) and node.module == "sys":
            if any(alias.name == "path" for alias in node.names):
                found.append(ast.unparse(node))
        elif isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            runs = called.endswith("run_path") and "benchmarks" in ast.unparse(node)
            if called.startswith("sys.path.") or runs:
                found.append(ast.unparse(node))
        if any(ast.unparse(target).startswith("sys.path") for target in targets):
            found.append(ast.unparse(node))
    return found


@pytest.mark.parametrize(
    "line",
    [
        "sys.path.append('benchmarks')",
        "sys.path.insert(0, 'benchmarks')",
        "sys.path += ['benchmarks']",
        "sys.path[:0] = ['benchmarks']",
        "from sys import path",
        "runpy.run_path('benchmarks/frontend.py')",
    ],
)
def test_a_way_round_by_path_is_seen(tmp_path: Path, line: str) -> None:
    file = tmp_path / "file.py"
    file.write_text(f"import runpy, sys\n{line}\n")
    assert len(search_path_changes(file)) == 1


@pytest.mark.parametrize(
    "line", ["import a.b", "from a import b", "import_module('a.b')", "import_module(name='a.b')"]
)
def test_every_form_of_import_is_seen(tmp_path: Path, line: str) -> None:
    file = tmp_path / "file.py"
    file.write_text(f"def f():\n    {line}\n")
    assert "a.b" in imported_names(file)


def front_door_names(path: Path) -> set[str]:
    """Every name that is used as galago_edge.NAME."""
    return {
        f"galago_edge.{node.attr}"
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id == "galago_edge"
        and node.attr in FRONT_DOOR
    }


def tops(path: Path) -> set[str]:
    return {name.partition(".")[0] for name in imported_names(path)}


@pytest.mark.parametrize("package", SOURCE_ROOTS)
def test_each_package_imports_only_the_packages_it_may(package: str) -> None:
    for path in modules(package):
        strangers = (tops(path) & set(SOURCE_ROOTS)) - MAY_IMPORT[package] - {package}
        assert not strangers, f"{path.relative_to(ROOT)} imports {sorted(strangers)}"


def test_the_device_never_imports_training_libraries() -> None:
    for path in modules("galago_edge"):
        assert not tops(path) & TRAINING, f"{path.relative_to(ROOT)} imports {sorted(tops(path) & TRAINING)}"


def floor_of(part: str) -> int:
    for number, parts in enumerate(FLOORS):
        if part in parts or (part in FRONT_DOOR and "api" in parts):
            return number
    raise AssertionError(f"galago_edge.{part} has no floor: add it to docs/architecture.md and to FLOORS")


def test_lower_floors_of_the_device_never_import_higher_ones_nor_their_neighbours() -> None:
    seen = 0
    for path in modules("galago_edge"):
        parts = path.relative_to(SOURCE_ROOTS["galago_edge"] / "galago_edge").with_suffix("").parts
        if parts[0] in OUTSIDE_THE_HOUSE:
            continue
        for name in imported_names(path) | front_door_names(path):
            pieces = name.split(".")
            if pieces[0] != "galago_edge" or len(pieces) < 2 or pieces[1] in ("__version__", parts[0]):
                continue
            seen += 1
            assert floor_of(pieces[1]) < floor_of(parts[0]), f"{path.relative_to(ROOT)} imports {name}"
    assert seen > 50  # the walk really met the house's imports


def test_the_product_imports_neither_tests_nor_their_support_nor_campaigns_nor_benchmarks() -> None:
    for package in SOURCE_ROOTS:
        for path in modules(package):
            strangers = tops(path) & {*BESIDE_THE_PRODUCT, *SUPPORT}
            assert not strangers, f"{path.relative_to(ROOT)} imports {sorted(strangers)}"


def test_benchmarks_and_tests_do_not_import_each_other_and_nobody_finds_a_way_round_by_path() -> None:
    own = {path.stem for path in (ROOT / "benchmarks").rglob("*.py")}
    seen = 0
    for folder, may in (("tests", {"campaigns"}), ("campaigns", set()), ("benchmarks", {"campaigns"})):
        for path in sorted((ROOT / folder).rglob("*.py")):
            seen += 1
            met = tops(path) & ({*BESIDE_THE_PRODUCT} - may - {folder})
            assert not met, f"{path.relative_to(ROOT)} imports {sorted(met)}"
            if folder != "benchmarks":
                assert not tops(path) & (own - {"campaigns", "models"}), path
            assert not search_path_changes(path), f"{path.relative_to(ROOT)} changes sys.path"
    assert seen > 150


def test_what_benchmarks_and_campaigns_import_of_the_product_is_there() -> None:
    """Nobody runs all of them in every change: a name that has moved would be found months later."""
    seen = 0
    for folder in ("benchmarks", "campaigns"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("galago_"):
                    module = importlib.import_module(node.module or "")
                    for name in (alias.name for alias in node.names):
                        seen += 1
                        there = hasattr(module, name) or importlib.util.find_spec(f"{node.module}.{name}")
                        assert there, f"{path.relative_to(ROOT)}: {node.module} has no {name}"
    assert seen > 300


def test_campaigns_are_started_as_their_first_lines_say_and_name_each_other_by_their_package() -> None:
    """Started with -m, a campaign finds its sisters under campaigns alone."""
    paths = [path for path in (ROOT / "campaigns").glob("*.py") if path.stem != "__init__"]
    own = {path.stem for path in paths}
    started = 0
    for path in paths:
        assert not tops(path) & own, f"{path.relative_to(ROOT)} imports {sorted(tops(path) & own)} by itself"
        text = path.read_text(encoding="utf-8")
        if '__name__ == "__main__"' in text:
            started += 1
            said = f".venv/bin/python -m campaigns.{path.stem}" in text
            assert said, f"{path.stem} says no way to start it"
    assert started > 10


@pytest.mark.parametrize("package", SOURCE_ROOTS)
def test_no_package_has_a_circle_of_imports(package: str) -> None:
    def dotted(path: Path) -> str:
        return ".".join(path.relative_to(SOURCE_ROOTS[package]).with_suffix("").parts)

    edges = {dotted(path).removesuffix(".__init__"): imported_names(path) for path in modules(package)}
    if package == "galago_edge":
        edges[package] = set()  # imports what it offers only when a program asks: see test_api_names.py
    graph = {
        name: {other for other in names if other in edges and other != name} for name, names in edges.items()
    }
    done: set[str] = set()

    def visit(name: str, trail: tuple[str, ...]) -> None:
        assert name not in trail, " -> ".join((*trail, name))
        if name not in done:
            for other in sorted(graph[name]):
                visit(other, (*trail, name))
            done.add(name)

    for name in graph:
        visit(name, ())


def test_only_the_engine_knows_the_tflite_runtimes() -> None:
    for path in modules("galago_edge"):
        text = path.read_text(encoding="utf-8")
        inside = path.relative_to(SOURCE_ROOTS["galago_edge"]).parts[1] == "engine"
        if not inside:
            assert "ai_edge_litert" not in text and "tflite_runtime" not in text, path


def loaded_after(script: str) -> set[str]:
    code = f"import sys\n{script}\nprint(*(name.partition('.')[0] for name in sys.modules))"
    return set(subprocess.check_output([sys.executable, "-c", code], text=True).split())


def test_the_command_line_loads_nothing_heavy() -> None:
    loaded = loaded_after("import galago_edge.commands.cli")
    assert not loaded & {"numpy", "cv2", "ai_edge_litert", "tensorflow", "cryptography", *COMPANIONS}


def test_a_process_that_replays_loads_no_store_no_delivery_and_no_supervision() -> None:
    code = "import sys, galago_workstation.qa.replay_child; print(*sys.modules)"
    loaded = subprocess.check_output([sys.executable, "-c", code], text=True).split()
    assert "galago_edge.api.replayed_recording" in loaded
    rooms = ("galago_edge.store", "galago_edge.service", "galago_edge.sinks.sink_set")
    unwanted = (*rooms, "galago_edge.sinks.outbox", "galago_edge.sources.supervised_source")
    assert [name for name in loaded if name.startswith(unwanted)] == []


def test_every_help_page_of_both_distributions_loads_nothing_heavy() -> None:
    script = """
import click
from galago_edge.commands.cli import main
def walk(group, ctx):
    for name in group.list_commands(ctx):
        command = group.get_command(ctx, name)
        assert command is not None, name
        command.get_help(click.Context(command))
        if isinstance(command, click.Group):
            walk(command, click.Context(command))
walk(main, click.Context(main))
"""
    loaded = loaded_after(script)
    assert not loaded & {"tensorflow", "keras", "cv2", "numpy", "matplotlib", "sklearn", "scipy"}


def test_every_module_of_the_device_imports_without_training_libraries_or_optional_ones() -> None:
    names = [
        ".".join(path.relative_to(SOURCE_ROOTS["galago_edge"]).with_suffix("").parts).removesuffix(
            ".__init__"
        )
        for path in modules("galago_edge")
        if path.name != "__main__.py"
    ]
    loaded = loaded_after("\n".join(f"import {name}" for name in names))
    assert "galago_edge" in loaded
    assert not loaded & {"tensorflow", "keras", "cv2", "av", "soxr", "sounddevice", *COMPANIONS}
