"""``galago recording``: look into recording files; and its first command, ``info``."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from galago_edge.commands.cli import GalagoGroup, json_option, say, say_data
from galago_edge.commands.options import PATH

if TYPE_CHECKING:
    from galago_edge.editing.file_check import FileReport, SourceReport
    from galago_edge.recorded.about import AboutRecording

_NS_PER_S = 1_000_000_000


@click.group(cls=GalagoGroup, prefix="recording.")
def recording() -> None:
    """Import, check, cut, recover and export recordings."""


@click.command()
@click.argument("path", metavar="RECORDING", type=PATH)
@json_option
def info(path: Path, as_json: bool) -> None:
    """Show what RECORDING holds.

    Its sources with their formats, times and gaps, the streams that decided while it was recorded, and what
    of the file is damaged. Every chunk is read, so it takes as long as reading the file.

    \b
    Example:
      galago recording info night.mcap
    """
    from galago_edge.editing.file_check import check_file

    report = check_file(path, thorough=False)
    if as_json:
        say_data(report.data())
        return
    for line in report_lines(report):
        say(line)
    for fault in report.faults():
        say(f"{'wrong':<12}{fault}")


def report_lines(report: FileReport) -> list[str]:
    """Return what a recording holds, for people."""
    state = "whole" if report.whole else "ends early"
    lines = [f"{'file':<12}{report.path.name}: {report.bytes} bytes, {report.chunks} chunks, {state}"]
    if report.about_lost:
        lines.append(f"{'made by':<12}not known any more")
    elif report.about is None:
        lines.append(f"{'made by':<12}another program")
    else:
        lines += _about_lines(report.about)
    lines += [f"{'source':<12}{name}: {_source(source)}" for name, source in report.sources.items()]
    lines += [f"{'records':<12}{name}: {count}" for name, count in report.records.items()]
    lines += [f"{'drops':<12}{name}: {count} told" for name, count in report.drops.items()]
    return [*lines, *(f"{'not read':<12}{topic}: {count} messages" for topic, count in report.others.items())]


def _about_lines(about: AboutRecording) -> list[str]:
    by = {"device": f"recorded by {about.device or 'a device'}", "import": "imported from a file"}
    lines = [f"{'made by':<12}{by.get(about.origin, about.origin)}, format {about.format}"]
    if about.series:
        lines.append(f"{'series':<12}{about.series}, file {about.part}")
    if about.wall_ns is not None:
        moment = datetime.datetime.fromtimestamp(about.wall_ns / _NS_PER_S, datetime.UTC)
        trust = "" if about.clock_synced else " (the clock was not synchronized)"
        lines.append(f"{'began':<12}{moment.isoformat(timespec='milliseconds')}{trust}")
    for stream in about.streams:
        changed = f", thresholds of {', '.join(stream.overrides)} changed" if stream.overrides else ""
        seen = ", with a view" if stream.view else ""
        bundle = f", bundle {stream.bundle[:16]}" if stream.bundle else ""
        lines.append(f"{'stream':<12}{stream.name}: source {stream.source}{bundle}{changed}{seen}")
    return lines


def _source(source: SourceReport) -> str:
    unit = "frames" if source.modality == "camera" else "samples"
    formats = ", ".join(f"{count} {unit} {key}" for key, count in source.formats.items()) or f"no {unit}"
    from_s, to_s = (source.from_ns or 0) / _NS_PER_S, source.to_ns / _NS_PER_S
    text = f"{source.modality}, {formats}, {from_s:.3f} s to {to_s:.3f} s"
    if source.gaps:
        gaps = ", ".join(f"{count} {cause}" for cause, count in source.gaps.items())
        text += f"; gaps: {gaps}, {source.gap_ns / _NS_PER_S:.3f} s"
    if source.unrecorded:
        text += f"; {source.unrecorded} items could not be recorded"
    return text
