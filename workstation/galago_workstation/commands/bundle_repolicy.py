"""``galago bundle repolicy``: the same model with other policies."""

from __future__ import annotations

from pathlib import Path

import click

from galago_edge.commands.cli import json_option, say, say_data
from galago_edge.commands.options import PATH, key_option, opened_bundle, trust_option
from galago_workstation.commands.release_options import release_options


@click.command()
@click.argument("path", metavar="BUNDLE", type=PATH)
@click.argument("policy", metavar="POLICY.toml", type=PATH)
@key_option
@trust_option
@release_options(
    version="the last number one higher",
    counter="Must be higher than that of BUNDLE.  [default: one higher]",
    description="that of BUNDLE",
)
@json_option
def repolicy(
    path: Path,
    policy: Path,
    keys: tuple[Path, ...],
    trusted: tuple[Path, ...],
    version: str | None,
    release_counter: int | None,
    description: str | None,
    out: Path | None,
    replace: bool,
    as_json: bool,
) -> None:
    """Make a new bundle with other decision policies.

    Model, preprocessing, golden samples and figures stay as they are to the last byte; only the policies
    that POLICY.toml names differ, and the manifest says from which bundle it was made and what was changed.
    POLICY.toml is written by galago qa tune, or by hand: a table [label.NAME] with on, off,
    smoothing_windows, min_count and refractory_ms, each of which may be left out.

    \b
    Example:
      galago bundle repolicy alarms-1.4.0.galago policy.toml --key release.key
    """
    from galago_workstation.packing.repolicy import NewRelease, repolicy

    release = NewRelease(version=version, release_counter=release_counter, description=description)
    with opened_bundle(path, trusted) as old:
        made = repolicy(old, policy, keys, out, release, replace=replace)
        before = {"path": str(path), "id": old.id, "version": old.version}
    new = made.bundle
    if as_json:
        data = {
            "path": str(made.path),
            "bytes": made.path.stat().st_size,
            "id": new.id,
            "name": new.name,
            "version": new.version,
            "release_counter": new.release_counter,
            "signers": list(new.signers),
            "lost_signers": list(made.lost_signers),
            "made_from": before,
            "changes": [
                {"label": one.label, "field": one.field, "old": one.old, "new": one.new}
                for one in made.changes
            ],
            "attacks_refused": made.attacks,
        }
        say_data(data)
        return
    say(f"{made.path}: {new}, release counter {new.release_counter}, made from {before['version']}")
    say(f"id {new.id}")
    for one in made.changes:
        say(f"{one.label}: {one.field} {one.old:g} -> {one.new:g}")
    say(f"{made.attacks} altered copies of it were refused")
    for signer in made.lost_signers:
        say(f"not signed by {signer}, which signed {path}: a device that trusts only this key refuses it")
