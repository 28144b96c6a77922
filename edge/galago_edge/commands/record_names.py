"""The names of streams and labels that ``galago events`` may be asked for."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from pathlib import Path

import click

from galago_edge.commands.cli import say
from galago_edge.contract.errors import GalagoError
from galago_edge.contract.known_names import known_names


def bundle_labels(root: Path | None) -> frozenset[str]:
    """Return what the bundles of a store can report; nothing where one cannot be read, or there is none."""
    from galago_edge.bundle.manifest_bytes import parse_manifest
    from galago_edge.store import Store

    found: set[str] = set()
    if root is not None:
        with contextlib.suppress(GalagoError, OSError):
            store = Store(root)
            for slot in store.state().slots.values():
                for release in slot.releases().values():
                    file = store.folder(release.id) / "manifest.json"
                    manifest = parse_manifest(file.read_bytes(), str(file))
                    found |= {label.name for label in manifest.labels}
            return frozenset(found)
    return frozenset()


def check_names(option: str, asked: Iterable[str], known: Iterable[str], *, all_known: bool) -> None:
    """Refuse a name that nothing bears, or say which ones were met where others may exist.

    Raises:
        BadParameter: A name is none of ``known``, and these are ``all_known``.
    """
    names = {name for name in known if name}
    for name in asked:
        if name in names:
            continue
        told = f"nothing here is called {name!r}: {known_names(name, names)}"
        if all_known:
            raise click.BadParameter(told, param_hint=option)
        if names:
            say(f"{option}: {told}", err=True)
