"""``galago init``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from galago_edge.commands.cli import say
from galago_edge.commands.options import PATH

if TYPE_CHECKING:
    from galago_workstation.data.folder_survey import FolderSurvey

_SHOWN = 5


@click.command()
@click.argument("data", type=PATH)
@click.option(
    "--out", type=PATH, metavar="FILE", help="File to write.  [default: NAME.toml for the folder NAME]"
)
@click.option("--replace", is_flag=True, help="Write over a file that exists.")
def init(data: Path, out: Path | None, replace: bool) -> None:
    """Look at the folder DATA and write a configuration to train on it.

    DATA has one sub-folder per class, whose name is the label, or train and test with these.

    \b
    Example:
        galago init birds
        galago train birds.toml
    """
    from galago_workstation.data.folder_survey import survey
    from galago_workstation.training.proposal_file import proposal_path, write_proposal

    out = proposal_path(data, out, replace=replace)
    found = survey(data)
    for line in _lines(found):
        say(line)
    write_proposal(found, out)
    say(f"wrote {out}: look at it, then galago train {out}")


def _lines(found: FolderSurvey) -> Iterator[str]:
    from galago_edge.contract.printable import on_one_line

    what = "pictures" if found.kind == "images" else "sounds"
    yield f"{found.folder}: {found.samples} {what} in {len(found.classes)} classes"
    for name, count in found.classes.items():
        yield f"  {on_one_line(name)}: {count}{'' if count else ' (an empty class cannot be learned)'}"
    for part, path in found.parts.items():
        if part != "train":
            yield f"{path} is the {part} set"
    if found.strays:
        kinds = ", ".join(
            f"{suffix or 'no suffix'} {count}" for suffix, count in found.strays.most_common(_SHOWN)
        )
        yield f"left out, no {what}: {found.strays.total()} files ({kinds})"
    if found.beside:
        yield f"left out, beside the class folders: {found.beside} files"
    for what, names in (("links to folders, not followed", found.links), ("unreadable", found.unreadable)):
        if names:
            more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
            yield f"{what}: {', '.join(map(on_one_line, names[:_SHOWN]))}{more}"
    if not found.background:
        yield "no class looks like background: a stream needs one, of what is usually seen or heard there"
