"""``galago replay``: what a bundle would have said to a recording."""

from __future__ import annotations

from pathlib import Path

import click

import galago_edge
from galago_edge.commands.options import bundle_options, opened_bundle, own_opencv, records_to
from galago_edge.contract.errors import CallerError, Reason


@click.command()
@click.argument("source")
@bundle_options
@click.option(
    "--out", type=click.Path(path_type=Path), help="Write the records here, not to standard output."
)
@click.option("--scores", is_flag=True, help="Add a record for every window.")
@click.option(
    "--block-samples",
    type=click.IntRange(1, 1 << 24),
    help="Cut sound into blocks of this length; changes no record.",
)
@click.option(
    "--stream", "name", default="replay", show_default=True, help="Name of the stream in the records."
)
def replay(
    source: str,
    bundle: Path,
    trusted: tuple[Path, ...],
    out: Path | None,
    scores: bool,
    block_samples: int | None,
    name: str,
) -> None:
    """Run a bundle on a recording, exactly as a device would.

    The records are written as JSON lines. SOURCE is a folder of images, a video, a sound file, or pipe:-
    with raw samples. It is decided as fast as this computer can, in stream time: the same source and
    bundle always give the same bytes.

    \b
    Examples:
      galago replay night.wav --bundle alarms-1.0.0.galago
      galago replay "frames/?fps=10" --bundle digits-1.0.0.galago --scores --out events.jsonl
      ffmpeg -i night.ogg -f s16le -ac 1 -ar 16000 - | galago replay pipe:- --bundle alarms-1.0.0.galago
    """
    from galago_edge.sources import parse_source

    if parse_source(source).kind == "camera":
        raise CallerError(
            Reason.CONFIG_BAD, "a camera cannot be replayed", hint="galago run decides on live cameras"
        )
    opened = opened_bundle(bundle, trusted)
    own_opencv([opened.modality])
    recording = galago_edge.replay(source, opened, name=name, scores=scores, block_samples=block_samples)
    with records_to(out) as sink:
        failure = recording.write(sink.emit)
    if out is not None:
        told = f"{recording.windows} windows, {recording.events} events, {recording.gaps} gaps"
        click.echo(f"{opened}: {told} -> {out}")
    if failure is not None:
        raise failure
