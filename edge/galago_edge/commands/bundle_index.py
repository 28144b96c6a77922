"""``galago bundle index``: make a folder of bundles one that devices can pull from."""

from __future__ import annotations

from pathlib import Path

import click

from galago_edge.commands.cli import json_option, say, say_data
from galago_edge.commands.options import PATH, key_option


@click.command()
@click.argument("folder", type=PATH)
@key_option
@click.option(
    "--sequence",
    type=click.IntRange(min=0),
    help="Number of the list; devices never go back.  [default: one more than the last]",
)
@json_option
def index(folder: Path, keys: tuple[Path, ...], sequence: int | None, as_json: bool) -> None:
    """Write a signed list of the bundles in FOLDER.

    It names the highest release of each name and channel. Serve FOLDER with any web server, and galago
    pull on the devices does the rest. Put new bundles there first, then make the list.

    \b
    Example:
      galago bundle index /srv/www/galago --key release.key
    """
    import msgspec

    from galago_edge.bundle.index import write_index
    from galago_edge.bundle.keys import read_private_key

    made = write_index(folder, [read_private_key(key) for key in keys], sequence=sequence)
    if as_json:
        say_data(msgspec.to_builtins(made))
        return
    for entry in made.bundles:
        say(f"{entry.name} {entry.version} ({entry.channel}): {entry.file}, {entry.size} bytes")
    say(f"{folder}: list {made.sequence} of {len(made.bundles)} bundles")
