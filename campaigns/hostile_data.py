"""Asks ``galago data check`` about folders of everything that goes wrong with training data.

    .venv/bin/python -m campaigns.hostile_data

Makes a folder of pictures and one of sounds (tests/support/test_kit/hostile_data.py), prints what the command
says, and a table of what is in them and what was found. The exit code is 1 when something was not told of.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from click.testing import CliRunner

from galago_edge.contract.decoding import from_json
from galago_workstation.commands.data_check import check
from test_kit.hostile_data import HostileThing, hostile_pictures, hostile_sounds, is_told

SPEC = {
    "images": '[preprocess]\nkind = "image"\nwidth = 32\nheight = 32\n[model]\nkind = "resnet"\n',
    "audio": '[preprocess]\nkind = "logmel"\n[model]\nkind = "ds_cnn"\n',
}


def main() -> int:
    missed = 0
    with tempfile.TemporaryDirectory() as folder:
        for kind, make in (("images", hostile_pictures), ("audio", hostile_sounds)):
            missed += asked(Path(folder) / kind, kind, make)
    return 1 if missed else 0


def asked(folder: Path, kind: str, make: Callable[[Path], list[HostileThing]]) -> int:
    """Print what is said of one folder; return how much of it was not told of."""
    things = make(folder)
    config = folder.parent / f"{kind}.toml"
    config.write_text(f'[data]\nkind = "{kind}"\nfolder = "{kind}"\n{SPEC[kind]}')
    print(CliRunner().invoke(check, [str(config)]).output)
    findings = from_json(CliRunner().invoke(check, [str(config), "--json"]).output)["findings"]
    missed = 0
    print(f"{'what is there':<42}{'expected':<20}told")
    for thing in things:
        told = not thing.code or is_told(thing, findings)
        missed += not told
        print(f"{thing.what:<42}{thing.code or 'a sample as any':<20}{'yes' if told else 'NO'}")
    print(f"{len(things)} kinds of {kind}, {missed} not told of\n")
    return missed


if __name__ == "__main__":
    sys.exit(main())
