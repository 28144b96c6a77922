"""``galago events``: what a device has said, from its log and its spool."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from galago_edge.commands.cli import GalagoGroup, data_line, json_option, say, write
from galago_edge.commands.options import PATH
from galago_edge.commands.time_spans import read_span_ns

if TYPE_CHECKING:
    from galago_edge.contract.records import Record
    from galago_edge.host.time_zone import TimeZone
    from galago_edge.sinks.attached_events import AttachedRecord
    from galago_edge.sinks.record_history import KeptRecord, RecordHistory

_KINDS = ("event", "state", "gap", "attachment", "scores")


@click.group(cls=GalagoGroup, prefix="events.", invoke_without_command=True)
@click.option(
    "--root",
    type=PATH,
    help="Folder of the device's store, for its spool.",
)
@click.option(
    "--config",
    type=PATH,
    help="The galago.toml that says where the log is.",
)
@click.option("--since", metavar="TIME", help="From this time on: 90s, 15m, 2h, 3d ago, or a date or time.")
@click.option("--until", metavar="TIME", help="Before this time; the same forms.")
@click.option("--stream", "streams", multiple=True, metavar="NAME", help="Only this stream; repeatable.")
@click.option("--label", "labels", multiple=True, metavar="LABEL", help="Only this label; repeatable.")
@click.option(
    "--kind",
    "kinds",
    multiple=True,
    type=click.Choice([*_KINDS, "all"]),
    help="Only such records; repeatable.  [default: event]",
)
@click.option("--csv", "as_csv", is_flag=True, help="Print comma-separated values with a header.")
@json_option
@click.pass_context
def events(
    ctx: click.Context,
    root: Path | None,
    config: Path | None,
    since: str | None,
    until: str | None,
    streams: tuple[str, ...],
    labels: tuple[str, ...],
    kinds: tuple[str, ...],
    as_csv: bool,
    as_json: bool,
) -> None:
    """Show the events of a device, from log and spool.

    Reads the log that the configuration names, its renamed files too, and what waits in the spool; each
    record once, the oldest first. A service may run meanwhile. Dates and times are those of [device]
    timezone, unless they name a zone; one with ? behind it is by a clock that was not known to be right.
    Behind an event stands the file of its picture or sound, with --root its path, or "gone" when it is no
    longer kept. With --json one record a line, as it was written. A stream or a label that there is not
    is exit code 2, where all are known: streams with --config, labels with --root. Damaged lines are left
    out, counted on standard error, and make the exit code 1.

    \b
    Examples:
      galago events --config /etc/galago/galago.toml --root /var/lib/galago --since 2h
      galago events --config galago.toml --stream hall --label smoke --csv > smoke.csv
    """
    if ctx.invoked_subcommand is not None:
        _refuse_options(ctx)
        return
    if root is None and config is None:
        raise click.UsageError("galago events needs --root, --config or both")
    if as_csv and as_json:
        raise click.UsageError("--csv and --json exclude each other")
    from galago_edge.commands.record_names import bundle_labels, check_names
    from galago_edge.commands.record_rows import RecordRows
    from galago_edge.sinks.attached_events import with_attachments

    now_ns = time.time_ns()
    zone, history, configured = device_history(root, config)
    since_ns = None if since is None else moment_of(since, "--since", zone, now_ns)
    until_ns = None if until is None else moment_of(until, "--until", zone, now_ns)
    rows = RecordRows(zone, root)
    wanted = frozenset(_KINDS if "all" in kinds else kinds or ("event",))

    def matches(record: Record) -> bool:
        return (
            record.kind in wanted
            and (not streams or record.stream in streams)
            and (not labels or _label(record) in labels)
            and _within(record, since_ns, until_ns)
        )

    def show(row: AttachedRecord) -> None:
        if as_json:
            write(data_line(row.kept.line.decode()))
        elif as_csv:
            write(rows.csv(row))
        else:
            say(rows.table(row))

    if as_csv:
        write(rows.header)
    shown, early = 0, 0
    met_streams, met_labels = set[str](), set[str]()

    def within_reach() -> Iterator[KeptRecord]:
        nonlocal early
        for kept in history:
            met_streams.add(kept.record.stream)
            met_labels.add(_label(kept.record) or "")
            if since_ns is not None and not _within(kept.record, since_ns, None):
                early = history.damaged  # damage of another time is not this answer's
            else:
                yield kept

    for row in with_attachments(within_reach()):
        if matches(row.kept.record):
            show(row)
            shown += 1
    in_bundles = bundle_labels(root) if labels else frozenset()
    check_names("--stream", streams, {*configured, *met_streams}, all_known=bool(configured))
    check_names("--label", labels, met_labels | in_bundles, all_known=bool(in_bundles))
    if not shown and not as_json and not as_csv:
        say("no such record")
    _tell_damage(ctx, history, early)


def _refuse_options(ctx: click.Context) -> None:
    """Refuse options before the name of a command, which has its own."""
    default = click.core.ParameterSource.DEFAULT
    given = [name for name in ctx.params if ctx.get_parameter_source(name) is not default]
    if given:
        told = f"--{given[0].rstrip('s') if given[0] != 'as_csv' else 'csv'} belongs behind"
        raise click.UsageError(f"{told} {ctx.invoked_subcommand}")


def device_history(root: Path | None, config: Path | None) -> tuple[TimeZone, RecordHistory, list[str]]:
    """Return the zone of a device's times, what it has said, and its streams where they are known."""
    from galago_edge.host.time_zone import TimeZone
    from galago_edge.service.configuration import read_config, real_path
    from galago_edge.sinks.record_history import RecordHistory, history_of

    if config is None:
        assert root is not None
        say("only the spool is read; --config FILE says where the log is", err=True)
        return TimeZone(), RecordHistory(None, root / "spool"), []
    settings = read_config(config, None)  # whoever reads need not have the device's secrets
    history = history_of(settings, root, lambda text: real_path(text, os.environ, config))
    if "log" not in settings.sinks:
        say(f"{config} has no [log]: only what is in the spool can be shown", err=True)
    return TimeZone(settings.device.timezone), history, [stream.name for stream in settings.stream]


def moment_of(text: str, option: str, zone: TimeZone, now_ns: int) -> int:
    """Return a moment in Unix nanoseconds.

    Raises:
        BadParameter: It is none.
    """
    if (ago_ns := read_span_ns(text)) is not None:
        return now_ns - ago_ns
    try:
        return zone.read(text.strip())
    except ValueError:
        raise click.BadParameter(
            f"{text[:40]!r} is no time: expected 90s, 15m, 2h, 3d, 2026-05-01 or 2026-05-01T22:00",
            param_hint=option,
        ) from None


def _within(record: Record, since_ns: int | None, until_ns: int | None) -> bool:
    """Tell whether a record is of this span; one without a time, which no device writes, is of none."""
    if since_ns is None and until_ns is None:
        return True
    wall_ns = record.wall_ns
    if not isinstance(wall_ns, int):
        return False
    return (since_ns is None or wall_ns >= since_ns) and (until_ns is None or wall_ns < until_ns)


def _label(record: Record) -> str | None:
    from galago_edge.contract.records import AttachmentRecord, EventRecord, StateRecord

    if isinstance(record, EventRecord | AttachmentRecord):
        return record.label
    if isinstance(record, StateRecord) and record.subject.startswith("label:"):
        return record.subject.removeprefix("label:")
    return None


def _tell_damage(ctx: click.Context, history: RecordHistory, early: int) -> None:
    for count, what in ((history.damaged - early, "line"), (history.damaged_spooled, "spooled record")):
        if count:
            are = f"{what} is" if count == 1 else f"{what}s are"
            say(f"{count} {are} damaged and left out", err=True)
    if history.damaged - early or history.damaged_spooled:
        ctx.exit(1)
