"""The documents: how they are written, and that what they name exists."""

from __future__ import annotations

import ast
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LONGEST_PARAGRAPH = 900
"""Characters of one paragraph or one item of a list: what a screen shows without scrolling."""

ITEM = re.compile(r"\s*([-*]|\d+\.)\s")
HEADING = re.compile(r"#{1,6} ")


def markdown_files() -> list[Path]:
    listed = subprocess.check_output(
        ["git", "-C", str(ROOT), "ls-files", "--cached", "--others", "--exclude-standard", "*.md"], text=True
    )
    return [ROOT / name for name in listed.splitlines() if (ROOT / name).exists()]


FILES = markdown_files()
IDS = [str(path.relative_to(ROOT)) for path in FILES]


def prose(text: str) -> Iterator[tuple[int, str]]:
    """Number and text of each line that is no code; a line of code is given as an empty one."""
    fenced = False
    for number, line in enumerate(text.splitlines(), 1):
        if line.lstrip().startswith("```"):
            fenced = not fenced
            yield number, ""
        else:
            yield number, "" if fenced else line


def wrapped(text: str) -> list[int]:
    """Lines that go on with the paragraph, or the item of a list, of the line before."""
    found, inside = [], False
    for number, line in prose(text):
        own = not line.strip() or line.lstrip().startswith("|") or bool(HEADING.match(line))
        item = bool(ITEM.match(line))
        if inside and not own and not item:
            found.append(number)
        inside = not own
    return found


def too_long(text: str) -> list[int]:
    return [
        number
        for number, line in prose(text)
        if len(line) > LONGEST_PARAGRAPH and not line.lstrip().startswith("|")
    ]


def anchors(text: str) -> set[str]:
    """The anchors that GitHub makes of the headings."""
    titles = [HEADING.sub("", line) for _, line in prose(text) if HEADING.match(line)]
    plain = [re.sub(r"[^\w\- ]", "", title.replace("`", "").lower()) for title in titles]
    return {title.strip().replace(" ", "-") for title in plain}


def test_the_documents_are_found() -> None:
    assert {"README.md", "docs/commands.md", "edge/README.md"} <= set(IDS)
    assert len(FILES) > 30


@pytest.mark.parametrize("path", FILES, ids=IDS)
def test_one_paragraph_is_one_line_and_no_longer_than_a_screen(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert wrapped(text) == [], "write each paragraph and each item of a list in one line"
    assert too_long(text) == [], f"split what is longer than {LONGEST_PARAGRAPH} characters"


def test_the_check_of_paragraphs_sees_wrapped_and_long_ones() -> None:
    text = "# A\none\n\ntwo\nthree\n\n- four\n  five\n- six\n```\na\nb\n```\n| a |\n| b |\n"
    assert wrapped(text) == [5, 8]
    assert too_long(f"short\n\n{'x' * 901}\n| {'x' * 901} |\n") == [3]


@pytest.mark.parametrize("path", FILES, ids=IDS)
def test_links_and_their_anchors_lead_somewhere(path: Path) -> None:
    text = "\n".join(line for _, line in prose(path.read_text(encoding="utf-8")))
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if "://" in link:
            continue
        name, _, anchor = link.partition("#")
        target = path.parent / name if name else path
        assert target.exists(), link
        if anchor:
            assert anchor in anchors(target.read_text(encoding="utf-8")), link


PACKAGES = {
    "galago_edge": "edge",
    "galago_workstation": "workstation",
    "galago_converters": "converters",
    "galago_devices": "devices",
    "test_kit": "tests/support",
    "real_parts": "tests/support",
    "power_cuts": "tests/support",
    "campaigns": ".",
}
ROOMS = sorted(path.name for path in (ROOT / "edge/galago_edge").iterdir() if (path / "__init__.py").exists())
FOLDERS = ("edge", "workstation", "converters", "devices", "tests", "campaigns", "benchmarks", "docs", ".ci")


def exists(dotted: str) -> bool:
    """Whether a dotted name is a package, a module, or a name in one of them."""
    parts = dotted.split(".")
    base = ROOT / PACKAGES[parts[0]]
    for depth in range(len(parts), 0, -1):
        below = base.joinpath(*parts[:depth])
        for file in (below.with_suffix(".py"), below / "__init__.py"):
            if file.exists():
                rest = parts[depth:]
                return all(re.search(rf"\b{name}\b", file.read_text(encoding="utf-8")) for name in rest)
    return False


@pytest.mark.parametrize("path", [path for path in FILES if path.name != "CHANGELOG.md"], ids=str)
def test_modules_and_files_that_a_document_names_exist(path: Path) -> None:
    """The changelog may name what was there once."""
    text = path.read_text(encoding="utf-8")
    for dotted in re.findall(rf"\b(?:{'|'.join(PACKAGES)})(?:\.\w+)+", text):
        if dotted.rpartition(".")[2] not in ("py", "md", "toml", "service"):
            assert exists(dotted), dotted
    for module, names in re.findall(r"^from ([\w.]+) import ([\w, ]+)", text, re.MULTILINE):
        if module.partition(".")[0] in PACKAGES:
            assert all(exists(f"{module}.{name.strip()}") for name in names.split(",")), (module, names)
    for name in re.findall(rf"`((?:{'|'.join(map(re.escape, FOLDERS))})/[\w./-]+)`", text):
        assert (ROOT / name).exists() or "/out/" in name, name
    for name in re.findall(rf"`((?:{'|'.join(ROOMS)})/[\w/]+\.\w+)`", text):
        assert (ROOT / "edge/galago_edge" / name).exists(), name


def test_nothing_cites_a_document_that_is_not_here() -> None:
    """Neither in documents nor in code: a reader could not follow."""
    listed = subprocess.check_output(["git", "-C", str(ROOT), "ls-files"], text=True).splitlines()
    for name in listed:
        path = ROOT / name
        if path.suffix not in (".py", ".md", ".toml", ".cfg", ".html", ".c") or not path.exists():
            continue
        if path == Path(__file__):
            continue
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"\bDESIGN\b|\bSTYLE\.md|\bresearch/\w", text), name
        for cited in re.findall(r"(?<![\w/])docs/[\w/.-]*\w", text):
            target = ROOT / cited
            near = path.parent / cited
            # an ADR may be cited by its number alone
            assert target.exists() or near.exists() or list(target.parent.glob(f"{target.name}-*")), (
                f"{name}: {cited}"
            )


def product_files() -> list[Path]:
    roots = ("edge/galago_edge", "workstation", "converters", "devices")
    return [path for root in roots for path in (ROOT / root).rglob("*.py") if "build" not in path.parts]


def test_every_versioned_format_has_its_rules() -> None:
    page = (ROOT / "docs/compatibility.md").read_text(encoding="utf-8")
    found = {
        name
        for path in product_files()
        for name in re.findall(r"galago[.-][a-z.]+/\d", path.read_text(encoding="utf-8"))
    }
    assert len(found) >= 12
    for name in sorted(found):
        assert f"`{name}`" in page, name


WORDS = re.findall(
    r"\w+",
    """
    bundle, manifest, profile, stream, source, window, hop, frontend, engine, backend, delegate,
    fallback, decision, event, record, gap, coverage, recording, replay, trial, commit, rollback, floor,
    spool, frame, release, scrub, sink, flash, pull, provision, label, policy, score, governor,
    liveness, store, history, segment, board
    """,
)
PHRASES = ["golden sample", "activity gate", "quality gate", "threshold override", "install override"]
PHRASES += ["boot attempt", "quantization step", "ground truth", "disagreement (flip)", "in shadow"]


def test_the_glossary_defines_each_word_in_one_line_and_the_readme_points_to_it() -> None:
    page = (ROOT / "docs/words.md").read_text(encoding="utf-8")
    lines = [line for line in page.splitlines() if line.startswith("- **")]
    for word in (*WORDS, *PHRASES):
        assert any(re.match(rf"- (\*\*[^*]+\*\*, )*\*\*{re.escape(word)}\*\*", line) for line in lines), word
    assert "](docs/words.md)" in (ROOT / "README.md").read_text(encoding="utf-8")


BASES = ("", "edge/galago_edge", "workstation/galago_workstation", "converters", "devices")


def is_there(name: str) -> bool:
    return any((ROOT / base / name).exists() for base in BASES)


def test_every_file_that_the_architecture_page_names_exists() -> None:
    page = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
    names = set(re.findall(r"(?<![\w/.-])[\w-]+(?:/[\w-]+)*\.(?:py|toml|md)\b", page))
    names |= set(re.findall(r"`([\w/]+/)`", page))
    names -= {"CONFIG.toml", "galago.toml"}
    linked = set(re.findall(r"\]\(([^)#]+)", page))
    assert len(names) > 60
    missing = [
        name for name in sorted(names) if not is_there(name) and not any(name in link for link in linked)
    ]
    assert missing == []


def test_the_architecture_page_shows_the_floors_that_are_enforced() -> None:
    tree = ast.parse((ROOT / "tests/unit/test_house_imports.py").read_text(encoding="utf-8"))
    (floors,) = (
        ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "FLOORS"
    )
    page = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (\d+) \| ([^|]+) \|", page, re.MULTILINE)
    assert [int(number) for number, _ in rows] == list(range(len(floors), 0, -1))
    assert [set(re.findall(r"`(\w+)`", rooms)) for _, rooms in reversed(rows)] == floors


ADDITIONS = ["command", "source", "sink", "board", "network"]


def test_the_checklists_of_contributing_name_what_exists() -> None:
    """Links are checked as in every document; here lists, entry-point groups, make targets and files."""
    page = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    parts = re.split(r"^## (.+)$", page, flags=re.MULTILINE)
    sections = dict(zip(parts[1::2], parts[2::2], strict=True))
    for kind in ADDITIONS:
        items = [line for line in sections[f"Add a {kind}"].splitlines() if line.startswith("- [ ] ")]
        assert len(items) >= 4, kind
        assert any("test" in item.lower() for item in items), kind
    known = "\n".join(
        [(ROOT / name).read_text(encoding="utf-8") for name in ("setup.cfg", "edge/setup.cfg")]
        + [path.read_text(encoding="utf-8") for path in product_files()]
    )
    groups = set(re.findall(r"`(galago\.(?!toml)\w+)`", page))
    assert "galago.commands" in groups
    for group in groups:
        assert re.search(rf"""["'\n]{re.escape(group)}["'\s]""", known), group
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in re.findall(r"\bmake (\w[\w-]*)", page):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
    for name in re.findall(r"\b(?:tests|edge|workstation|devices)/[\w./-]*\w", page):
        assert (ROOT / name).exists(), name


def test_the_new_names_in_the_changelog_exist() -> None:
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `galago_[^|]+\| ([^|]+) \|$", text, re.MULTILINE)
    assert len(rows) > 5
    for row in rows:
        package = ""
        for name in re.findall(r"`([\w.]+)`", row):
            if not name.startswith("."):
                package = name.rpartition(".")[0]
            assert exists(package + name if name.startswith(".") else name), (row, name)
