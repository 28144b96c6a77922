"""``galago events why``: why a device gave an event, or none, from the scores in its log."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from galago_edge.commands.cli import json_option, say, say_data
from galago_edge.commands.events import device_history, moment_of
from galago_edge.commands.options import PATH, FiniteRange, bundle_option
from galago_edge.contract.errors import CallerError, InputError, Reason

if TYPE_CHECKING:
    from galago_edge.contract.manifest import Label
    from galago_edge.host.time_zone import TimeZone
    from galago_edge.pipeline.heard_records import HeardStream, HeardStretch

_NS = 1_000_000_000


@click.command()
@click.option(
    "--root",
    type=PATH,
    help="Folder of the device's store, for its bundles and its spool.",
)
@click.option(
    "--config",
    required=True,
    type=PATH,
    help="The galago.toml that says where the log is.",
)
@bundle_option("The bundle that decided, where it is not in --root any more.")
@click.option("--stream", metavar="NAME", help="Stream.  [default: the only one with scores]")
@click.option("--label", required=True, metavar="LABEL", help="Label that gave an event, or should have.")
@click.option("--at", required=True, metavar="TIME", help="When: 90s, 15m, 2h, 3d ago, or a date and time.")
@click.option(
    "--within",
    type=FiniteRange(0, 3_600),
    default=2.0,
    show_default=True,
    help="Seconds before and after, in which an event would have been right.",
)
@json_option
def why(
    root: Path | None,
    config: Path,
    bundle: Path | None,
    stream: str | None,
    label: str,
    at: str,
    within: float,
    as_json: bool,
) -> None:
    """Say why there was an event at a time, or none.

    Needs a log that holds the scores of every window (galago run --scores) and the bundle that decided,
    from the store or by --bundle. Names what decided: threshold, count, refractory time, still on since an
    earlier event, warm-up, activity gate, gap or an override of this device, with its numbers; and for each
    part of the policy the nearest value that would have given the event.

    \b
    Example:
      galago events why --config galago.toml --root /var/lib/galago --label smoke --at 2026-05-01T22:14:03
    """
    if root is None and bundle is None:
        raise click.UsageError("galago events why needs --root, --bundle or both: for the bundle's policies")
    from galago_edge.decision.explanation import explain
    from galago_edge.decision.explanation_words import (
        explanation_data,
        no_change_words,
        proposal_words,
        reason_words,
    )
    from galago_edge.decision.policy_proposals import proposals
    from galago_edge.pipeline.heard_records import hear

    zone, history, _ = device_history(root, config)
    at_ns = moment_of(at, "--at", zone, time.time_ns())
    labels = _Labels(root, bundle)
    found = hear((kept.record for kept in history), stream, label, at_ns, labels.of)
    stretch = _chosen(found, stream, label, labels)
    heard = stretch.heard(labels.one(stretch.bundle, label))
    around_ns = round(within * _NS)
    here_ns = at_ns - stretch.offset_ns
    told = explain(heard, here_ns - around_ns, here_ns + around_ns)
    changes = proposals(heard, told)
    if as_json:
        data = {"stream": stream or next(iter(found.streams)), "at_wall_ns": at_ns, "bundle": stretch.bundle}
        data |= {"wall_offset_ns": stretch.offset_ns, "windows_missing": stretch.missing}
        say_data(data | explanation_data(told, changes))
        return
    when = _clock(zone, stretch.offset_ns)
    say(f"{label}, {zone.written(at_ns)}, {within:g} s around: {told.cause}")
    say(reason_words(told, when))
    for number, one in enumerate(changes):
        say(f"{'smallest change' if number == 0 else 'or'}: {proposal_words(one, when)}")
    if not changes and told.cause != "given":
        say(no_change_words(told))
    if stretch.missing:
        say(
            f"{stretch.missing} windows before or between these are not in the log: what smoothing and "
            f"refractory time had of them is not known",
            err=True,
        )


class _Labels:
    """The labels of the bundles that decided: from the store, or from the one that is given."""

    def __init__(self, root: Path | None, bundle: Path | None) -> None:
        self._root = root
        self._known: dict[str, Sequence[Label]] = {}
        self._only: str | None = None
        if bundle is not None:
            from galago_edge.commands.options import opened_bundle

            with opened_bundle(bundle, ()) as opened:
                self._known[opened.id] = opened.manifest.labels
                self._only = opened.id

    def of(self, bundle: str | None) -> Sequence[Label] | None:
        """Return the labels of a bundle by its id; None where nobody knows them."""
        bundle = bundle or self._only
        if bundle is None:
            return None
        if bundle not in self._known and self._root is not None:
            from galago_edge.bundle.manifest_bytes import parse_manifest
            from galago_edge.store import Store

            file = Store(self._root).folder(bundle) / "manifest.json"
            try:
                self._known[bundle] = parse_manifest(file.read_bytes(), str(file)).labels
            except OSError:
                self._known[bundle] = ()
        return self._known.get(bundle)

    def one(self, bundle: str | None, name: str) -> Label:
        return next(label for label in self.of(bundle) or () if label.name == name)

    def names(self) -> list[str]:
        """Return every label of the bundles that were asked for."""
        return [label.name for labels in self._known.values() for label in labels]


def _chosen(found: HeardStream, stream: str | None, label: str, labels: _Labels) -> HeardStretch:
    """Return the stretch to explain.

    Raises:
        BadParameter: ``--stream`` or ``--label`` is none.
        InputError: DATA_BAD; the log has no scores.
        CallerError: TARGET_UNKNOWN; the bundle that decided is not there, or several streams have scores.
    """
    from galago_edge.contract.known_names import known_names

    if not found.streams:
        raise InputError(
            Reason.DATA_BAD,
            "the log holds no scores: nothing but the events themselves is known",
            hint="galago run --scores keeps a record of every window",
        )
    if stream is None and len(found.streams) > 1:
        raise CallerError(
            Reason.TARGET_UNKNOWN,
            f"{len(found.streams)} streams have scores",
            hint=f"--stream: one of {', '.join(sorted(found.streams))}",
        )
    if stream is not None and stream not in found.streams:
        told = f"no stream with scores is called {stream!r}: {known_names(stream, found.streams)}"
        raise click.BadParameter(told, param_hint="--stream")
    if found.stretch is None and labels.names():
        told = f"no bundle that decided has {label!r}: {known_names(label, labels.names())}"
        raise click.BadParameter(told, param_hint="--label")
    if found.stretch is None:
        ids = ", ".join(sorted(one[:16] for one in found.unknown_bundles))
        raise CallerError(
            Reason.TARGET_UNKNOWN,
            f"the bundle that decided ({ids}) is not here, so its policies are not known",
            hint="give it with --bundle FILE",
        )
    return found.stretch


def _clock(zone: TimeZone, offset_ns: int) -> Callable[[int], str]:
    """Return how a stream time is written as the device's wall clock, to the tenth of a second."""

    def when(ns: int) -> str:
        wall_ns = ns + offset_ns
        return f"{zone.moment(wall_ns):%H:%M:%S}.{wall_ns % _NS // (_NS // 10)}"

    return when
