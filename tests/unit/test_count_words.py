"""Numbers before nouns: one of something is no plural, in all that QA and replays say."""

from __future__ import annotations

import ast
import itertools
import re
from collections.abc import Iterator
from pathlib import Path

from galago_edge.contract.count_words import count_of, noun_of

REPO = Path(__file__).parents[2]
WORKSTATION = REPO / "workstation/galago_workstation"
PLACES = [
    *(WORKSTATION / "qa").rglob("*.py"),
    *(WORKSTATION / "commands").glob("qa*.py"),
    *(WORKSTATION / "commands").glob("replay*.py"),
    *(REPO / "edge/galago_edge/commands").glob("replay*.py"),
]
PLURAL = re.compile(
    r" (?:labelled |true |other )?(?:recordings|truths|events|windows|gaps|stretches|proposals|results"
    r"|policies|bundles|gates|flips|lines|columns|outputs|runs|workers|hours|times|tasks|places)\b"
)


def written_out(tree: ast.AST) -> Iterator[int]:
    """Yield the lines in which a plural stands behind a number that may be one."""
    for node in ast.walk(tree):
        for number, behind in itertools.pairwise(node.values if isinstance(node, ast.JoinedStr) else ()):
            text = behind.value if isinstance(behind, ast.Constant) else ""
            if isinstance(number, ast.FormattedValue) and PLURAL.match(str(text)):
                constant = isinstance(number.value, ast.Name) and number.value.id.isupper()
                if not constant:
                    yield node.lineno


def test_one_of_something_is_no_plural() -> None:
    assert [count_of(number, "event") for number in (0, 1, 2)] == ["0 events", "1 event", "2 events"]
    assert count_of(1, "policy", "policies") == "1 policy" and count_of(3, "truth") == "3 truths"
    assert (noun_of(-1, "false alarm"), noun_of(0.5, "hour")) == ("false alarm", "hours")


def test_nothing_that_qa_says_has_a_plural_written_out_behind_a_number() -> None:
    found = [
        f"{path.relative_to(REPO)}:{line}"
        for path in PLACES
        for line in written_out(ast.parse(path.read_text(encoding="utf-8")))
    ]
    assert len(PLACES) > 80
    assert not found, "say it with galago_edge.contract.count_words.count_of"


def test_a_plural_that_is_written_out_would_be_found() -> None:
    assert [*written_out(ast.parse("f'{len(found)} recordings, {MOST} windows'"))] == [1]
