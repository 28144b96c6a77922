"""``galago run``: the installed bundles on this device's cameras and microphones."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from galago_edge.commands.cli import say, show_error
from galago_edge.commands.options import PATH, own_opencv, records_to
from galago_edge.commands.service_signals import signals_to
from galago_edge.commands.store_options import root_option
from galago_edge.contract.errors import CallerError, DeviceError, GalagoError, Reason
from galago_edge.host.early_end import EarlyEnd
from galago_edge.host.former_output import refuse_other_log

if TYPE_CHECKING:
    from galago_edge.contract.settings import Settings
    from galago_edge.contract.status import SinkStatus
    from galago_edge.service.prepared_stream import PreparedStream
    from galago_edge.service.slots import Slots
    from galago_edge.sinks import JsonlSink


@click.command()
@root_option
@click.option(
    "--stream",
    "options",
    multiple=True,
    metavar="NAME[:BUNDLE]=SOURCE",
    help="One stream; may be given several times. BUNDLE is the name of an installed bundle.",
)
@click.option("--config", type=PATH, help="Take everything from this galago.toml.")
@click.option(
    "--out",
    type=PATH,
    help="Append the records here, to a new file or one of records.  "
    "[default: standard output, unless the configuration has a log]",
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
    """Run installed bundles on cameras and microphones.

    Several streams run at once, until the command is told to stop. A camera or microphone that is away
    is waited for and reopened, for ever. SIGINT or SIGTERM let every stream finish what it has
    captured; SIGHUP loads the bundles that are active now beside those that run. A stream that fails
    reports it and leaves the others alone; the exit code tells at the end.

    \b
    Examples:
      galago run --root /var/lib/galago --config /etc/galago/galago.toml
      galago run --root /var/lib/galago --stream door=camera:/dev/video0
      arecord -q -t raw -f S16_LE -r 16000 -c 1 | galago run --root DIR --stream "hall=pipe:-?rate=16000"
    """
    from galago_edge.service.configuration import told_with_file
    from galago_edge.service.live_slots import LiveSlots
    from galago_edge.service.prepared_stream import is_live
    from galago_edge.service.service import Service
    from galago_edge.service.slots import RecordingSlots
    from galago_edge.store.running_service import check_free

    early_end = ctx.find_object(EarlyEnd) or EarlyEnd()
    settings = _configured(options, config)
    refuse_other_log(out)
    slots: Slots = RecordingSlots(root)
    if any(is_live(stream, settings.source) for stream in settings.stream):
        named = [stream.bundle for stream in settings.stream if stream.bundle is not None]
        slots = LiveSlots(root, used=named if len(named) == len(settings.stream) else None)
    check_free(root)
    with contextlib.ExitStack() as stack:
        stack.enter_context(told_with_file(config))
        stack.enter_context(_loads_back(slots, early_end))
        with early_end.held():  # a boot attempt that is counted must be known, to be given back
            slots.load()
        streams, absent = _prepared(settings, slots, scores, config)
        own_opencv(stream.bundle.modality for stream in streams)
        sink: JsonlSink | None = None
        if out is not None or "log" not in settings.sinks:
            sink = stack.enter_context(records_to(out, append=True))
        service = Service(settings, root, streams, out=sink, scores=scores, absent=absent, slots=slots)
        _tell_idle(settings, service.idle)
        stack.enter_context(signals_to(service.stop, service.reload, early_end))
        failures = service.run(_report, started=_started)
        slots.stopped()
        _tell_waiting(service.sinks)
        _tell_unwritten(service.unwritten)
    failures = [*service.absent, *failures]
    if failures:
        ctx.exit(failures[0].exit_code)


def _configured(options: tuple[str, ...], config: Path | None) -> Settings:
    from galago_edge.contract.settings import LimitsSettings, Settings
    from galago_edge.service.configuration import checked, read_config, read_option
    from galago_edge.service.source_names import with_named_sources

    if bool(options) == (config is not None):
        raise CallerError(
            Reason.CONFIG_BAD,
            "galago run needs streams, from the command line or from a file",
            hint="give either --stream NAME=SOURCE or --config FILE",
        )
    if config is not None:
        settings = read_config(config)
        _tell_unusable(settings)
        return settings
    # nobody restarts a command that ends itself
    streams = checked(map(read_option, options))
    return with_named_sources(Settings(stream=streams, limits=LimitsSettings(memory_mb=0)))


def _tell_unusable(settings: Settings) -> None:
    """Say which sinks the service goes on without; its status goes on saying so."""
    from galago_edge.sinks.sink_kind import kind_of

    for name, table in settings.sinks.items():
        if table is None:
            try:
                kind_of(name)
            except DeviceError as failure:
                show_error(failure)


def _tell_idle(settings: Settings, idle: Sequence[str]) -> None:
    """Say what is configured and does nothing: it will be waited for in vain."""
    from galago_edge.service.idle_settings import unused_sources

    for line in (*idle, *(f"[source.{name}] is used by no stream" for name in unused_sources(settings))):
        say(f"Warning: {line}", err=True)


def _prepared(
    settings: Settings, slots: Slots, scores: bool, config: Path | None
) -> tuple[list[PreparedStream], list[tuple[str, GalagoError]]]:
    """Load the bundle of every stream.

    From a file, streams that can run do so when another one's bundle is damaged: a device that is half
    awake is better than one that is not. What the caller wrote must be right all the same.
    """
    from galago_edge.service.prepared_stream import prepare

    streams: list[PreparedStream] = []
    absent: list[tuple[str, GalagoError]] = []
    for stream in settings.stream:
        try:
            streams.append(
                prepare(
                    stream,
                    slots,
                    sources=settings.source,
                    accelerator=settings.accelerator,
                    scores=scores,
                )
            )
        except GalagoError as failure:
            if config is None or isinstance(failure, CallerError):
                raise
            absent.append((stream.name, failure))
    if not streams and not (config is not None and slots.live):
        raise absent[0][1]
    for name, reason in absent:
        _report(name, reason)
    return streams, absent


def _tell_waiting(sinks: Sequence[SinkStatus]) -> None:
    """Say which sinks have not got their records: who looks at the exit code alone would never know."""
    for sink in sinks:
        if sink.name == "spool":  # its loss is that of its receivers
            continue
        why = f": {sink.fault}" if sink.fault else ""
        if sink.fault and sink.pending:
            waiting = "1 record waits" if sink.pending == 1 else f"{sink.pending} records wait"
            say(f"sink {sink.name}: {waiting} in the spool{why}", err=True)
        if sink.lost:
            lost = "1 record is lost" if sink.lost == 1 else f"{sink.lost} records are lost"
            say(f"sink {sink.name}: {lost}{why}", err=True)


def _tell_unwritten(unwritten: Mapping[str, int]) -> None:
    """Say what is lost because the disk was too slow for it at the end."""
    for kind, count in unwritten.items():
        if count:
            were = "1 was" if count == 1 else f"{count} were"
            say(f"{kind}: {were} not written before the end and lost: the disk is too slow", err=True)


def _started(page_url: str | None) -> None:
    if page_url is not None:
        say(f"status page: {page_url}", err=True)


def _report(name: str, failure: BaseException) -> None:
    if not isinstance(failure, GalagoError):
        say(f"Error: stream {name}: {failure!r}, a fault of galago itself; the others go on", err=True)
        return
    show_error(failure, f"stream {name}: ")


@contextlib.contextmanager
def _loads_back(slots: Slots, early_end: EarlyEnd) -> Iterator[None]:
    """Give the boot attempts back that a service has used up which was ended before it could do anything."""
    try:
        yield
    finally:
        if early_end.asked:
            slots.stopped()
