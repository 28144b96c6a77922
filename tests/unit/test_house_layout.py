"""Packages, versions, configuration and documents agree with each other."""

from __future__ import annotations

import ast
import configparser
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import click
import pytest

import galago_converters
import galago_devices
import galago_edge
import galago_workstation
from galago_edge.commands.cli import main
from galago_edge.contract.errors import Reason

ROOT = Path(__file__).parents[2]


def setup_cfg(folder: str = ".") -> configparser.ConfigParser:
    parser = configparser.ConfigParser(interpolation=None)
    parser.read(ROOT / folder / "setup.cfg", encoding="utf-8")
    return parser


def test_all_packages_have_one_version_and_the_workstation_requires_the_same_device_version() -> None:
    version = galago_edge.__version__
    assert {galago_workstation.__version__, galago_converters.__version__, galago_devices.__version__} == {
        version
    }
    assert f"galago-edge[all] == {version}" in setup_cfg()["options"]["install_requires"]


def test_every_folder_with_code_is_listed_as_a_package() -> None:
    found = {
        ".".join(path.parent.relative_to(ROOT / root).parts)
        for root in ("workstation", "converters", "devices")
        for path in (ROOT / root).rglob("__init__.py")
        if "build" not in path.parts
    }
    assert set(setup_cfg()["options"]["packages"].split()) == found


def test_each_tool_has_one_configuration_place() -> None:
    for name in ("mypy.ini", ".mypy.ini", "pytest.ini", "tox.ini", "ruff.toml", ".ruff.toml"):
        assert not (ROOT / name).exists()
    assert "[tool" not in (ROOT / "edge/pyproject.toml").read_text(encoding="utf-8")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("folder", "tops"),
    [("edge", {"galago_edge"}), (".", {"galago_workstation", "galago_converters", "galago_devices"})],
    ids=["device", "workstation"],
)
def test_each_wheel_holds_its_own_packages_and_nothing_else(
    folder: str, tops: set[str], tmp_path: Path
) -> None:
    source = tmp_path / "source"
    listed = subprocess.check_output(["git", "-C", str(ROOT / folder), "ls-files"], text=True)
    for name in listed.splitlines():  # a copy, so that no build/ is left in the tree
        target = source / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes((ROOT / folder / name).read_bytes())
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*command, "-w", str(tmp_path), str(source)], check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    packages = {name.partition("/")[0] for name in names if ".dist-info/" not in name}
    assert packages == tops
    assert any(name.endswith("py.typed") for name in names)
    for name in names:  # a device gets no test code, and no key that everybody knows
        assert not {"test", "tests", "testing", "test_kit"} & {*Path(name).parts, Path(name).stem}, name
        assert not name.endswith((".pem", ".pub", ".tflite")), name
        assert b"from_private_bytes" not in zipfile.ZipFile(wheel).read(name), name
    if folder == ".":
        assert any(name.startswith("galago_devices/profiles/") for name in names)
        parts = {
            Path(name).suffix for name in names if name.startswith("galago_workstation/qa/page/qa_page.")
        }
        assert parts == {".html", ".css", ".js"}
        pages = {name for name in listed.splitlines() if name.endswith((".html", ".css", ".js"))}
        shipped = {name.removeprefix("workstation/") for name in pages if name.startswith("workstation/")}
        assert shipped and shipped <= {*names}


MANY = {"__init__.py", "__main__.py"}


def test_a_module_name_says_which_one_is_meant() -> None:
    """Commands are named by what is typed, so their modules may share a name with what they call."""
    homes: dict[str, list[str]] = {}
    for package in (galago_edge, galago_workstation, galago_converters, galago_devices):
        for path in Path(package.__path__[0]).rglob("*.py"):
            if path.name not in MANY and path.parent.name != "commands":
                homes.setdefault(path.name, []).append(str(path.relative_to(ROOT)))
    assert {name: paths for name, paths in homes.items() if len(paths) > 1} == {}


def test_a_class_name_says_which_one_is_meant() -> None:
    """Private bases may be called alike: nobody meets them outside their module."""
    homes: dict[str, list[str]] = {}
    for package in (galago_edge, galago_workstation, galago_converters, galago_devices):
        for path in Path(package.__path__[0]).rglob("*.py"):
            for node in ast.parse(path.read_text(encoding="utf-8")).body:
                if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                    homes.setdefault(node.name, []).append(str(path.relative_to(ROOT)))
    assert len(homes) > 300
    assert {name: paths for name, paths in homes.items() if len(paths) > 1} == {}


def test_what_catches_everything_says_why() -> None:
    """A device needs such places, and every one hides mistakes: its reason stands beside it."""
    broad = re.compile(r"except:|except .*\b(Base)?Exception\b|suppress\((Base)?Exception\b")
    found = [
        f"{path.name}:{number}: {line.strip()}"
        for package in (galago_edge, galago_workstation, galago_converters, galago_devices)
        for path in Path(package.__path__[0]).rglob("*.py")
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if broad.search(line)
    ]
    assert len(found) > 20
    why = re.compile(r"#( noqa: BLE001)?[ -]*\(?\w")
    assert [line for line in found if not why.search(line)] == []


LONGEST_CLASS, MOST_METHODS = 350, 25
"""What a reader can still hold in mind at once."""


def test_no_class_of_the_product_does_too_much() -> None:
    seen = 0
    for package in (galago_edge, galago_workstation, galago_converters, galago_devices):
        for path in Path(package.__path__[0]).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.ClassDef):
                    seen += 1
                    lines = (node.end_lineno or 0) - node.lineno + 1
                    methods = sum(isinstance(part, ast.FunctionDef) for part in node.body)
                    assert lines <= LONGEST_CLASS, f"{path}: {node.name} has {lines} lines"
                    assert methods <= MOST_METHODS, f"{path}: {node.name} has {methods} methods"
    assert seen > 300


def all_commands(group: click.Group, path: tuple[str, ...] = ()) -> list[tuple[str, click.Command]]:
    found = []
    ctx = click.Context(group)
    for name in group.list_commands(ctx):
        command = group.get_command(ctx, name)
        assert command is not None
        found.append((" ".join((*path, name)), command))
        if isinstance(command, click.Group):
            found += all_commands(command, (*path, name))
    return found


def test_every_command_has_help_and_is_in_the_documents() -> None:
    text = (ROOT / "docs/commands.md").read_text(encoding="utf-8")
    commands = all_commands(main)
    assert len(commands) > 10
    for name, command in commands:
        assert command.help, name
        assert f"`galago {name}" in text, f"docs/commands.md does not mention galago {name}"


def test_the_commands_page_is_what_its_script_makes() -> None:
    """Made by tests/data/make_commands_page.py; run it again after changing a help text."""
    # In a process of its own: click keeps a command's help option as its first caller in a process named it.
    code = "import runpy, sys; sys.stdout.write(runpy.run_path(sys.argv[1])['page']())"
    script = str(ROOT / "tests/data/make_commands_page.py")
    page = subprocess.check_output([sys.executable, "-c", code, script], text=True, encoding="utf-8")
    assert (ROOT / "docs/commands.md").read_text(encoding="utf-8") == page


def test_every_reason_code_is_documented_and_raised_somewhere() -> None:
    text = (ROOT / "docs/reason-codes.md").read_text(encoding="utf-8")
    sources = [
        path.read_text(encoding="utf-8")
        for root in ("edge", "workstation", "converters", "devices")
        for path in (ROOT / root).rglob("*.py")
    ]
    for reason in Reason:
        assert f"`{reason}`" in text, reason
        assert any(re.search(rf"\bReason\.{reason}\b", source) for source in sources), reason


def test_markdown_links_inside_the_repository_lead_somewhere() -> None:
    for path in [ROOT / "README.md", ROOT / "edge/README.md", *(ROOT / "docs").rglob("*.md")]:
        for link in re.findall(r"\]\(([^)#\s]+)", path.read_text(encoding="utf-8")):
            if "://" not in link:
                assert (path.parent / link).exists(), f"{path.relative_to(ROOT)} -> {link}"


def test_the_ci_script_runs_the_readmes_test_command() -> None:
    assert "make test" in (ROOT / ".ci/run").read_text(encoding="utf-8")
    assert "make test" in (ROOT / "README.md").read_text(encoding="utf-8")
    assert "make demo" in (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("folder", ["edge", "."], ids=["device", "workstation"])
def test_each_distribution_has_keywords_and_classifiers(folder: str) -> None:
    metadata = setup_cfg(folder)["metadata"]
    assert len(metadata["keywords"].split(",")) > 4
    classifiers = metadata["classifiers"].split("\n")
    assert len(classifiers) > 8
    oldest = setup_cfg(folder)["options"]["python_requires"].removeprefix(">=")
    assert f"Programming Language :: Python :: {oldest}" in classifiers


def test_pre_commit_runs_what_make_lint_runs() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    recipe = re.search(r"^lint:.*\n((?:\t.*\n)+)", makefile, re.MULTILINE)
    assert recipe is not None
    linted = [line.strip().replace("$(BIN)", ".venv/bin") for line in recipe[1].splitlines()]
    hooks = (ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8")
    assert re.findall(r"^ +entry: (.*)$", hooks, re.MULTILINE) == linted
    assert set(re.findall(r"repo: (\S+)", hooks)) == {"local"}  # no versions of their own
    assert hooks.count("language: system") == hooks.count("pass_filenames: false") == len(linted) == 3
