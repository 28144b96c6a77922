"""``galago record``: what cameras and microphones give, as files that can be replayed."""

from __future__ import annotations

import re
import socket
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from galago_edge.commands.cli import json_option, say, say_data
from galago_edge.commands.options import PATH, opened_bundle, own_opencv, trust_option
from galago_edge.commands.service_signals import signals_to
from galago_edge.commands.time_spans import read_span_ns
from galago_edge.contract.errors import CallerError, LinkError, Reason
from galago_edge.host.early_end import EarlyEnd

if TYPE_CHECKING:
    from galago_edge.contract.settings import SourceSettings
    from galago_edge.contract.status import SourceStatus
    from galago_edge.service.tap_session import RecordedSoFar

_NS = 1_000_000_000
_NAMED = re.compile(r"([A-Za-z0-9][A-Za-z0-9_.-]{0,63})=(.+)", re.DOTALL)


def _span(ctx: click.Context, param: click.Parameter, text: str | None) -> float | None:
    if text is None:
        return None
    span_ns = read_span_ns(text)
    if not span_ns:
        raise click.BadParameter(f"{text[:40]!r} is no length of time: expected 90s, 15m or 2h", ctx, param)
    return span_ns / _NS


@click.command()
@click.argument("sources", nargs=-1, metavar="[[NAME=]SOURCE...]")
@click.option(
    "--config",
    type=PATH,
    metavar="FILE",
    help="Record sources of this galago.toml with its settings: those named, or all of its streams.",
)
@click.option(
    "--out",
    type=PATH,
    default=Path(),
    show_default="this folder",
    help="Folder for the recordings, one for each source; nothing in it is deleted.",
)
@click.option("--for", "seconds", callback=_span, metavar="TIME", help="End after 90s, 15m or 2h.")
@click.option(
    "--bundle",
    "bundles",
    multiple=True,
    type=PATH,
    metavar="BUNDLE",
    help="Record too what it decides on the sources of its kind; one for cameras, one for microphones.",
)
@trust_option
@click.option("--scores", is_flag=True, help="With a bundle, record the scores of every window too.")
@json_option
@click.pass_context
def record(
    ctx: click.Context,
    sources: tuple[str, ...],
    config: Path | None,
    out: Path,
    seconds: float | None,
    bundles: tuple[Path, ...],
    trusted: tuple[Path, ...],
    scores: bool,
    as_json: bool,
) -> None:
    """Record cameras and microphones as they are, to be replayed.

    A recording holds the camera's own bytes (JPEG, H.264), the samples of a microphone, when each was
    taken, and what was missing. Nothing is decoded or encoded for it; of cameras that send raw pixels
    the pictures are kept as PNG. Ends with Ctrl+C or SIGTERM, or after --for. A source that is away is
    waited for; one that never gave anything is exit code 3.

    \b
    Examples:
      galago record camera:/dev/video0 --for 2m
      galago record yard=camera:rtsp://10.0.0.7/live hall=microphone:default --out night
      galago record --config /etc/galago/galago.toml yard --for 2h
    """
    from galago_edge.recording.tap_opener import tap_opener
    from galago_edge.service.tap_session import TapSession

    named = _named(sources) if config is None else _of_config(config, sources)
    opened = [opened_bundle(path, trusted) for path in bundles]
    own_opencv(bundle.modality for bundle in opened)
    session = TapSession(
        named,
        out.absolute(),
        tap_opener(),
        device=socket.gethostname() or "galago",
        bundles=opened,
        scores=scores,
    )
    try:
        early_end = ctx.find_object(EarlyEnd) or EarlyEnd()
        with signals_to(session.stop, lambda: None, early_end):
            session.run(seconds, _tell)
    finally:
        results = session.results()
        _show(results, as_json)
    silent = [one.source for one in results if not one.source.items]
    if silent:
        raise LinkError(
            Reason.SOURCE_MISSING,
            f"source {silent[0].name} gave nothing: {silent[0].fault or 'it was not open in time'}",
            hint="galago doctor and docs/sources.md say what may be wrong",
        )


def _of_config(config: Path, names: tuple[str, ...]) -> dict[str, SourceSettings]:
    """Return sources of a device by their names.

    Raises:
        CallerError: CONFIG_BAD; the file is not right, or a mask hides what a recording would show.
            TARGET_UNKNOWN; there is no such source, or none that is live.
    """
    from galago_edge.service.configuration import read_config
    from galago_edge.service.recorded_sources import sources_to_record

    found, left_out = sources_to_record(read_config(config), names, str(config))
    if left_out:
        say(f"no live sources, left out: {', '.join(left_out)}", err=True)
    return found


def _named(sources: tuple[str, ...]) -> dict[str, SourceSettings]:
    """Return the sources by their names; those without one are called as their kind, with a number.

    Raises:
        CallerError: USAGE; there is none. CONFIG_BAD; two have one name.
    """
    from galago_edge.contract.settings import SourceSettings

    if not sources:
        text = "no source is given, expected at least one, or --config FILE"
        raise CallerError(Reason.USAGE, text, hint="galago record camera:/dev/video0")
    found: dict[str, SourceSettings] = {}
    kinds: Counter[str] = Counter()
    for text in sources:
        named = _NAMED.fullmatch(text)
        address = text if named is None else named[2]
        if named is None:
            kind = address.partition(":")[0] or "source"
            kinds[kind] += 1
            name = kind if kinds[kind] == 1 else f"{kind}-{kinds[kind]}"
        else:
            name = named[1]
        if name in found:
            raise CallerError(
                Reason.CONFIG_BAD, f"two sources are called {name}", hint="give each another NAME=SOURCE"
            )
        found[name] = SourceSettings(address=address)
    return found


def _tell(status: SourceStatus) -> None:
    fault = f": {status.fault}" if status.fault else ""
    if status.items or fault:
        say(f"{status.name} is {status.liveness}{fault}", err=True)


def _show(results: list[RecordedSoFar], as_json: bool) -> None:
    rows: list[dict[str, Any]] = [
        {
            "source": one.source.name,
            "files": [str(path) for path in one.files],
            "items": one.source.items,
            "lost": dict(one.lost),
        }
        for one in results
    ]
    if as_json:
        say_data(rows)
        return
    for one, row in zip(results, rows, strict=True):
        unit = "samples" if one.source.kind != "camera" else "frames"
        lost = ", ".join(f"{count} {why}" for why, count in one.lost.items())
        facts = f"{row['items']} {unit}" + (f", LOST {lost}" if lost else "")
        say(f"{one.source.name}: {', '.join(row['files']) or 'no recording'} ({facts})")
