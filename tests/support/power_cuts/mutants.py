"""Stores that lack one sync or one rename: each must break a promise, or the statement is of no use."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from power_cuts.campaign import Campaign, Violation
from power_cuts.recorder import STORE_FOLDER, Site

CALLS = ("fsync", "fsync_dir", "rename")
REPLACING = {
    "replace_file": {"NO": ("rename",), "WHOLE": ("fsync", "rename"), "LASTING": CALLS},
    "replacement": {"NO": ("rename",), "WHOLE": ("rename",), "LASTING": ("fsync_dir", "rename")},
}
"""What replacing a file does for the store, by what the call promises."""


@dataclass(frozen=True, slots=True)
class Mutant:
    """A store without one statement, and how that was noticed."""

    site: Site
    function: str
    violation: Violation | None
    """The first broken promise; None when there was none."""


def statements() -> dict[Site, str]:
    """Return every sync and rename in the source of the store, with the function in which it stands."""
    found: dict[Site, str] = {}
    for path in sorted(STORE_FOLDER.glob("*.py")):
        if path.name == "filesystem.py":
            continue  # what the statements call
        for function in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(function, ast.FunctionDef):
                for node in ast.walk(function):
                    if isinstance(node, ast.Call):
                        for call in _effects(node):
                            found[Site(path.name, node.lineno, call)] = function.name
    return found


def _effects(node: ast.Call) -> tuple[str, ...]:
    """Return the syncs and renames that a call is."""
    if isinstance(node.func, ast.Attribute):
        return (node.func.attr,) if node.func.attr in CALLS else ()
    if not isinstance(node.func, ast.Name) or node.func.id not in REPLACING:
        return ()
    durable = next(given.value for given in node.keywords if given.arg == "durable")
    assert isinstance(durable, ast.Attribute)
    return REPLACING[node.func.id][durable.attr]


def mutants(campaigns: Sequence[Campaign], *, kills: int) -> Iterator[Mutant]:
    """Take out one statement after the other and cut the power of every scenario that comes by it.

    ``kills``: what the cuts of the operations do not notice, is looked for among those after a kill too.
    """
    campaigns = sorted(campaigns, key=lambda campaign: campaign.effects)  # the quickest first
    for site, function in sorted(statements().items()):
        attempts = (
            campaign.first_violation(site, kills=after_kills)
            for after_kills in ((0, kills) if kills and site.call != "rename" else (0,))
            for campaign in campaigns
            if site in campaign.sites(killed=after_kills > 0)
        )
        yield Mutant(site, function, next((found for found in attempts if found is not None), None))
