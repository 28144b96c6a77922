"""``galago classify``: what a bundle says to single files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

import galago_edge
from galago_edge.commands.cli import json_option, say, say_data
from galago_edge.commands.options import PATH, bundle_options, opened_bundle, own_opencv
from galago_edge.contract.errors import InputError, LinkError

if TYPE_CHECKING:
    from galago_edge import Bundle, Classification, RankedLabel

_TOP = 3
_NS_PER_S = 1e9


@click.command()
@click.argument("files", nargs=-1, required=True, type=PATH, metavar="FILES...")
@bundle_options
@json_option
@click.pass_context
def classify(
    ctx: click.Context, files: tuple[Path, ...], bundle: Path, trusted: tuple[Path, ...], as_json: bool
) -> None:
    """Classify image or sound files with a bundle.

    Prints the best label of each file with its score, and the next two. A sound is taken window by
    window; each label counts where it is strongest, and a background label is the answer only if it wins
    everywhere. A sound shorter than a window is padded with zeros. Thresholds and smoothing play no part
    here: they are for streams (galago replay).

    \b
    Example:
      galago classify --bundle digits-1.0.0.galago scans/*.png
    """
    opened = opened_bundle(bundle, trusted)
    own_opencv([opened.modality])
    classifier = galago_edge.Classifier(opened)
    rows: list[dict[str, Any]] = []
    failed = False
    for path in files:
        try:
            found = classifier.classify_file(path)
        except (InputError, LinkError) as error:  # this file's own trouble: the others are still shown
            failed = True
            rows.append({"file": str(path), "error": error.as_data()})
            say(f"Error: {error.line}", err=True)
            continue
        rows.append(_row(path, found))
        if not as_json:
            say(_line(path, found))
    if as_json:
        say_data({**_identity(opened), "files": rows})
    if failed:
        ctx.exit(1)


def _line(path: Path, found: Classification) -> str:
    best, *others = found.ranked[:_TOP]
    text = f"{path}: {best.label} {best.score:.3f}"
    if found.windows > 1:
        text += f" at {best.span.start_ns / _NS_PER_S:.2f}-{best.span.end_ns / _NS_PER_S:.2f} s"
    text += " (" + ", ".join(f"{other.label} {other.score:.3f}" for other in others) + ")"
    if found.padded_samples:
        text += f" [shorter than a window: {found.padded_samples} zeros added]"
    return text


def _row(path: Path, found: Classification) -> dict[str, Any]:
    top = [_ranked(entry) for entry in found.ranked[:_TOP]]
    row = {"file": str(path), "label": top[0]["label"], "score": top[0]["score"], "top": top}
    row |= {"windows": found.windows, "padded_samples": found.padded_samples}
    if found.conversion is not None:
        row["conversion"] = found.conversion
    return row


def _ranked(entry: RankedLabel) -> dict[str, Any]:
    return {
        "label": entry.label,
        "score": round(entry.score, 6),
        "start_ns": entry.span.start_ns,
        "end_ns": entry.span.end_ns,
    }


def _identity(bundle: Bundle) -> dict[str, str]:
    return {"bundle": bundle.id, "name": bundle.name, "version": bundle.version}
