"""``galago bundle build``: pack and sign a run."""

from __future__ import annotations

from pathlib import Path

import click

from galago_edge.commands.cli import json_option, say, say_data
from galago_edge.commands.options import PATH, key_option
from galago_workstation.commands.release_options import release_options


@click.command()
@click.argument("run", type=PATH)
@key_option
@click.option("--name", help="Name of the bundle.  [default: the run folder's name]")
@release_options(
    version="1.0.0",
    counter="Must grow with every release; devices never go back.  [default: 1004012 for version 1.4.12]",
    description="none",
)
@click.option("--channel", help="Channel of the release.  [default: stable]")
@click.option("--build-id", help="What you call this build, such as a git commit or a CI run.")
@click.option(
    "--allow",
    metavar="REASON",
    help="Why it shall be built although something grave speaks against the model; stands in the bundle.",
)
@click.option(
    "--device",
    "devices",
    multiple=True,
    metavar="NAME",
    help="Board it must run on; may be given several times.  [default: every board that can]",
)
@click.option(
    "--accelerated",
    multiple=True,
    metavar="NAME[=FILE]",
    help="Model for an accelerator, compiled from this run's int8 model; without FILE it takes that one.",
)
@json_option
def build(
    run: Path,
    keys: tuple[Path, ...],
    name: str | None,
    version: str | None,
    release_counter: int | None,
    channel: str | None,
    description: str | None,
    build_id: str | None,
    allow: str | None,
    devices: tuple[str, ...],
    accelerated: tuple[str, ...],
    out: Path | None,
    replace: bool,
    as_json: bool,
) -> None:
    """Pack the converted run folder RUN into one signed bundle.

    RUN must have been evaluated too. The bundle holds the int8 model, labels, decision policy,
    preprocessing, and a few test samples with their answers, which every device repeats before it
    accepts the bundle. The same run, options and keys give the same bytes.

    \b
    Example:
      galago bundle build runs/alarms --key release.key --version 1.4.0
    """
    from galago_workstation.packing.bundle_build import build_bundle, build_options

    options = build_options(
        run,
        name=name,
        version=version,
        release_counter=release_counter,
        channel=channel,
        description=description,
        build_id=build_id,
        allow=allow,
        devices=devices or None,
    )
    out = out or Path(f"{options.name}-{options.version}.galago")
    packed = build_bundle(run, options, keys, out, accelerated=accelerated, replace=replace)
    size, manifest = packed.path.stat().st_size, packed.bundle.manifest
    boards = manifest.compat.device_profiles
    if as_json:
        data = {
            "path": str(packed.path),
            "bytes": size,
            "id": packed.bundle.id,
            "name": options.name,
            "version": options.version,
            "release_counter": options.release_counter,
            "signers": list(packed.bundle.signers),
            "devices": list(boards),
            "not_for": packed.not_for,
            "golden": [golden.label for golden in manifest.golden],
            "backends": [model.backend for model in manifest.model],
            "attacks_refused": packed.attacks,
            "doubts": [{"code": doubt.code, "text": doubt.text} for doubt in packed.doubts],
        }
        say_data(data)
        return
    say(f"{packed.path}: {size} bytes, {len(manifest.labels)} labels, {len(manifest.golden)} golden samples")
    say(f"id {packed.bundle.id}")
    say(f"{packed.attacks} altered copies of it were refused")
    say(f"for {', '.join(boards)}")
    if len(manifest.model) > 1:
        say(f"models for {', '.join(model.backend for model in manifest.model)}")
    for doubt in packed.doubts:
        say(f"{'allowed' if doubt.refuses else 'note'}: {doubt.text}")
    for board, why in packed.not_for.items():
        say(f"not for {board}: {why}")
