"""``galago run``: the installed bundles on this device's cameras and microphones."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from galago_edge.commands.options import own_opencv, records_to
from galago_edge.contract.errors import CallerError, GalagoError, Reason

if TYPE_CHECKING:
    from galago_edge.service.config import StreamConfig


@click.command()
@click.option(
    "--root",
    type=click.Path(path_type=Path),
    required=True,
    help="Folder of the device's store.",
)
@click.option(
    "--stream",
    "options",
    multiple=True,
    metavar="NAME[:BUNDLE]=SOURCE",
    help="One stream; may be given several times. BUNDLE is the name of an installed bundle.",
)
@click.option("--config", type=click.Path(path_type=Path), help="Read the streams from this galago.toml.")
@click.option(
    "--out", type=click.Path(path_type=Path), help="Append the records here, not to standard output."
)
@click.option("--scores", is_flag=True, help="Add a record for every window.")
@click.pass_context
def run(
    ctx: click.Context,
    root: Path,
    options: tuple[str, ...],
    config: Path | None,
    out: Path | None,
    scores: bool,
) -> None:
    """Run installed bundles on cameras and microphones, several streams at once, until told to stop.

    SIGINT or SIGTERM let every stream finish what it has captured. A stream that fails says so and
    leaves the others alone; the exit code tells at the end.

    \b
    Examples:
      galago run --root /var/lib/galago --stream door=camera:/dev/video0
      arecord -q -t raw -f S16_LE -r 16000 -c 1 | galago run --root DIR --stream hall=pipe:-?rate=16000
      galago run --root DIR --config galago.toml --out events.jsonl
    """
    from galago_edge.service.preparing import prepare
    from galago_edge.service.running import Service
    from galago_edge.sinks import LiveSink
    from galago_edge.store import Store

    streams = [prepare(stream, Store(root), scores=scores) for stream in _configured(options, config)]
    own_opencv(stream.bundle.manifest.modality for stream in streams)
    with records_to(out, append=True) as sink:
        service = Service(streams, LiveSink(sink).emit)
        with _signals(service.stop):
            failures = service.run(_report)
    if failures:
        ctx.exit(failures[0].exit_code)


def _configured(options: tuple[str, ...], config: Path | None) -> tuple[StreamConfig, ...]:
    from galago_edge.service.config import checked, read_config, read_option

    if bool(options) == (config is not None):
        raise CallerError(
            Reason.CONFIG_BAD,
            "galago run needs streams, from the command line or from a file",
            hint="give either --stream NAME=SOURCE or --config FILE",
        )
    return read_config(config) if config is not None else checked(map(read_option, options))


def _report(name: str, failure: BaseException) -> None:
    if not isinstance(failure, GalagoError):
        click.echo(f"Error: stream {name}: {failure!r}, a fault of galago itself; the others go on", err=True)
        return
    click.echo(f"Error: stream {name}: {failure} [{failure.reason}]", err=True)
    if failure.hint:
        click.echo(f"Hint: {failure.hint}", err=True)


@contextlib.contextmanager
def _signals(stop: Callable[[], None]) -> Iterator[None]:
    """Call ``stop`` at the first SIGINT or SIGTERM; a second one ends the process as usual."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    def first(number: int, frame: object) -> None:
        restore()
        stop()

    for number in before:
        signal.signal(number, first)
    try:
        yield
    finally:
        restore()
