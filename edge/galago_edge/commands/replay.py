"""``galago replay``: what a bundle would have said to a recording."""

from __future__ import annotations

import contextlib
import datetime
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

import galago_edge
from galago_edge.commands.cli import say, show_read_in_part
from galago_edge.commands.extension import ExtendedCommand, asked_for, extension_of
from galago_edge.commands.options import (
    PATH,
    bundle_options,
    opened_bundle,
    own_opencv,
    records_to,
    refuse_own_inputs,
)
from galago_edge.commands.output_places import check_outputs
from galago_edge.commands.replay_faults import check_verdict, planned, tell_verdict, unmet, write_verdict
from galago_edge.contract.count_words import count_of
from galago_edge.contract.errors import CallerError, DeviceError, InputError, Reason
from galago_edge.host.former_output import EVENTS, refuse_other_kind

if TYPE_CHECKING:
    from galago_edge.bundle import Bundle
    from galago_edge.contract.records import Record
    from galago_edge.sources.faults.fault_file import StreamFaults


def read_by(read: Callable[[str], Any]) -> Callable[[click.Context, click.Parameter, str | None], Any]:
    """Return the callback of an option whose text ``read`` reads; what it refuses is a wrong call."""

    def callback(ctx: click.Context, param: click.Parameter, text: str | None) -> Any:
        try:
            return None if text is None else read(text)
        except ValueError as error:
            raise click.BadParameter(str(error), ctx, param) from None

    return callback


def _position(text: str) -> int:
    from galago_edge.sources.stream_position import read_position

    return read_position(text)


def _name(text: str) -> str:
    from galago_edge.api.arguments import checked_name

    return checked_name(text)


def _moment(text: str) -> datetime.datetime:
    from galago_edge.api.replayed_part import unix_ns

    moment: datetime.datetime | None = None
    with contextlib.suppress(ValueError):
        moment = datetime.datetime.fromisoformat(text)
    if moment is None or moment.utcoffset() is None:
        raise ValueError(f"{text[:40]!r} is no ISO 8601 time with a zone, such as 2026-05-01T22:00:00+02:00")
    unix_ns(moment)
    return moment


@click.command(cls=ExtendedCommand)
@click.argument("sources", nargs=-1, required=True, metavar="SOURCE...")
@bundle_options
@click.option(
    "--out",
    type=PATH,
    help="Write the records here, not to standard output; of several recordings, a folder.",
)
@click.option("--scores", is_flag=True, help="Add a record for every window.")
@click.option(
    "--block-samples",
    type=click.IntRange(1, 1 << 24),
    help="Cut sound into blocks of this length; changes no record.",
)
@click.option(
    "--from",
    "from_ns",
    callback=read_by(_position),
    metavar="TIME",
    default="0",
    help="Begin here: seconds, MM:SS or HH:MM:SS of the recording.",
)
@click.option("--to", "to_ns", callback=read_by(_position), metavar="TIME", help="End before here.")
@click.option(
    "--start-time",
    callback=read_by(_moment),
    metavar="MOMENT",
    help="When the first frame or sample was taken, in ISO 8601 with a zone: adds wall times.",
)
@click.option(
    "--config",
    type=PATH,
    help="Take thresholds, view and frame rate from a stream of this galago.toml.",
)
@click.option(
    "--drops",
    type=click.Choice(["none", "recorded"]),
    default="none",
    show_default=True,
    help="Leave out what the device did not take in time when it was recorded.",
)
@click.option(
    "--faults",
    "fault_file",
    type=PATH,
    metavar="FILE",
    help="Let go wrong what this file says, and check what it expects.",
)
@click.option(
    "--verdict",
    type=PATH,
    metavar="FILE",
    help="With --faults: write what was expected and found here too, as .json or .xml (JUnit).",
)
@click.option(
    "--stream",
    "name",
    callback=read_by(_name),
    help="Name of the stream in the records, and in --config.  [default: replay, or the only one]",
)
def replay(
    sources: tuple[str, ...],
    bundle: Path,
    trusted: tuple[Path, ...],
    out: Path | None,
    scores: bool,
    block_samples: int | None,
    from_ns: int,
    to_ns: int | None,
    start_time: datetime.datetime | None,
    config: Path | None,
    drops: str,
    fault_file: Path | None,
    verdict: Path | None,
    name: str | None,
    **more: Any,
) -> None:
    """Run a bundle on a recording, exactly as a device would.

    The records are written as JSON lines. SOURCE is a recording, a folder of images, a video, a
    sound file, or pipe:- with raw samples. It is decided as fast as this computer can, in stream time: the
    same source and bundle always give the same bytes.

    With the workstation installed it takes many: several recordings, a folder of them, or a list in TOML
    or CSV. They are replayed by one process for each core, or on a Dask cluster, and --out is a folder that
    keeps the results: what is in it already is not computed again.

    With --faults the recording plays the camera or microphone of a device: stalls, lost connections, drops,
    overruns, damaged pictures and a wrong clock, at times of the stream. What the file expects of events,
    gaps and states is told, met or not; ends with 1 if anything is not.

    \b
    Examples:
      galago replay night.wav --bundle alarms-1.0.0.galago
      galago replay "frames/?fps=10" --bundle digits-1.0.0.galago --scores --out events.jsonl
      galago replay door.mkv --bundle digits-1.0.0.galago --from 1:30:00 --to 1:35:00
      galago replay door.mkv --bundle digits-1.0.0.galago --config galago.toml --stream door
      galago replay corpus/ --bundle alarms-1.0.0.galago --out runs/alarms-1.0.0
      galago replay door.mkv --bundle digits-1.0.0.galago --faults storm.toml --out events.jsonl
      ffmpeg -i night.ogg -f s16le -ac 1 -ar 16000 - | galago replay pipe:- --bundle alarms-1.0.0.galago
    """
    many = _many(sources, more)
    if many is None:
        _refuse_live(sources[0])
    if to_ns is not None and to_ns <= from_ns:
        text = f"--to, {to_ns / 1e9:g} s, is not later than --from, {from_ns / 1e9:g} s"
        raise CallerError(Reason.CONFIG_BAD, text, hint="choose a later end")
    check_verdict(verdict, fault_file)
    refuse_own_inputs((out, verdict), (*sources, bundle, config, fault_file))
    if many is None:  # of many, the output is a folder, which is checked by what keeps it
        refuse_other_kind(out, EVENTS)
    overrides: dict[str, Any] = {"name": name or "replay"}
    if config is not None:
        overrides = _overrides(config, name)
    supervised = overrides.pop("supervised", None)
    faults = None if fault_file is None else _faults(fault_file, overrides["name"])
    opened = opened_bundle(bundle, trusted)
    if config is not None:
        _check_thresholds(config, opened, overrides)
    what = {
        "scores": scores,
        "block_samples": block_samples,
        "from_ns": from_ns,
        "to_ns": to_ns,
        "start_time": start_time,
        "faults": None if faults is None else planned(faults, supervised),
        **overrides,
    }
    if many is not None:
        many(sources, opened, out, expected=faults, verdict=verdict, drops=drops, **what, **more)
        return
    check_outputs({"--out": None if out is None or _is_special(out) else out, "--verdict": verdict})
    _one(_without_drops(sources[0], drops, opened, overrides["name"]), opened, out, faults, verdict, what)


def _is_special(out: Path) -> bool:
    """Tell whether records go to a pipe or a device, which is written as it is."""
    return out.exists() and not out.is_file() and not out.is_dir()


def _one(
    source: str,
    bundle: Bundle,
    out: Path | None,
    faults: StreamFaults | None,
    verdict: Path | None,
    what: dict[str, Any],
) -> None:
    """Replay one recording; tell what was expected of it, if anything was."""
    from galago_edge.api.expectations import Expectations
    from galago_edge.contract.records import GapRecord
    from galago_edge.sources.recording_damage import read_in_part

    expectations = Expectations(() if faults is None else faults.expected, bundle.manifest.labels)
    own_opencv([bundle.modality])
    recording = galago_edge.replay(source, bundle, **what)
    causes: set[str] = set()
    with records_to(out) as sink:

        def emit(records: Sequence[Record]) -> None:
            sink.emit(records)
            expectations.take(records)
            causes.update(record.cause for record in records if isinstance(record, GapRecord))

        failure = recording.write(emit)
    if out is not None:
        counts = ((recording.windows, "window"), (recording.events, "event"), (recording.gaps, "gap"))
        told = ", ".join(count_of(*one) for one in counts)
        say(f"{bundle}: {told} -> {out}")
    judged = {"": expectations.judged()}
    if faults is not None:
        tell_verdict(judged, faults.others, err=out is None)
    if verdict is not None:
        write_verdict(verdict, judged, {} if failure is None else {"": failure}, what["faults"])
    if failure is not None:
        if not (isinstance(failure, InputError) and read_in_part(recording.windows, causes)):
            raise failure
        show_read_in_part(failure)
        click.get_current_context().exit(failure.exit_code)
    if unmet(judged):
        click.get_current_context().exit(1)


def _without_drops(source: str, drops: str, bundle: Bundle, stream: str) -> str:
    if drops == "none":
        return source
    from galago_edge.sources.recorded_drops import with_recorded_drops

    return with_recorded_drops(source, bundle.modality, stream)


def _faults(path: Path, stream: str) -> StreamFaults:
    from galago_edge.sources.faults.fault_file import read_faults

    return read_faults(path, stream)


def _many(sources: tuple[str, ...], more: dict[str, Any]) -> Callable[..., None] | None:
    """Return what replays several recordings, when that is asked for.

    Raises:
        DeviceError: EXTRA_MISSING; it is, and the workstation is not installed.
    """
    found = extension_of("replay")
    if found is not None:
        return found.run if asked_for(more) or found.takes(sources) else None
    if len(sources) > 1:
        raise DeviceError(
            Reason.EXTRA_MISSING,
            f"to replay {count_of(len(sources), 'recording')} at once needs the workstation, "
            "which is not installed",
            hint="pip install galago, or replay one at a time",
        )
    return None


def _refuse_live(source: str) -> None:
    from galago_edge.sources import parse_source

    if parse_source(source).kind == "camera":
        raise CallerError(
            Reason.CONFIG_BAD, "a camera cannot be replayed", hint="galago run decides on live cameras"
        )


def _check_thresholds(config: Path, bundle: Bundle, overrides: dict[str, Any]) -> None:
    """Refuse a label that is none, with the place where it stands."""
    from galago_edge.pipeline.threshold_overrides import override_thresholds

    try:
        override_thresholds(bundle.manifest.labels, overrides["thresholds"])
    except CallerError as error:
        text = f"{config}: stream {overrides['name']}: {error}"
        raise CallerError(error.reason, text, hint=error.hint) from None


def _overrides(config: Path, name: str | None) -> dict[str, Any]:
    """Return what a device's stream changes, as ``galago_edge.replay`` takes it.

    Raises:
        CallerError: CONFIG_BAD; the file is not right. TARGET_UNKNOWN; it has no such stream, or several.
    """
    from msgspec import UNSET

    from galago_edge.service.configuration import read_config, source_of

    settings = read_config(config, None)
    streams = {stream.name: stream for stream in settings.stream}
    chosen = name if name is not None else next(iter(streams)) if len(streams) == 1 else None
    if chosen not in streams:
        raise CallerError(
            Reason.TARGET_UNKNOWN,
            f"{config} has no stream {name}" if name is not None else f"{config} has {len(streams)} streams",
            hint=f"--stream: one of {', '.join(streams)}",
        )
    stream = streams[chosen]
    source = source_of(stream, settings.source)
    view = {
        key: next((found for table in (stream, source) if (found := getattr(table, key)) is not UNSET), None)
        for key in ("rotate", "region", "mask")
    }
    max_fps = None if source.fps is UNSET else source.fps
    changes = {"thresholds": stream.threshold_overrides(), "max_fps": max_fps, "supervised": source}
    return {"name": chosen} | changes | view
