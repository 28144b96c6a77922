"""Drops as recorded: a recording's address with which a replay leaves out what the device did not take."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from galago_edge.contract.errors import CallerError, Reason
from galago_edge.contract.modality import Modality
from galago_edge.recorded.record_walk import RecordWalk
from galago_edge.recorded.recorded_items import choose_source, recorded_sources
from galago_edge.sources.address import parse_source

Drops = Literal["none", "recorded"]
"""What a replay leaves out of a recording: nothing, or what the stream of the device did not take in time."""


def with_recorded_drops(text: str, modality: Modality, stream: str) -> str:
    """Return the address of a recording without what a stream of the device dropped.

    It is the stream called ``stream``, or the only one on the source that is replayed. What no device has
    decided on stays as it is: files that are no recording file, imported ones, those of other programs.

    Raises:
        CallerError: CONFIG_BAD; the recording has several sources. TARGET_UNKNOWN; several streams, and none
            of this name.
        InputError: RECORDING_UNREADABLE.
        LinkError: The disk fails.
        DeviceError: EXTRA_MISSING.
    """
    address = parse_source(text)
    if not address.kind.startswith("mcap") or "drops" in address.options:
        return text
    path = Path(address.target)
    with RecordWalk(path) as walk:
        source = choose_source(recorded_sources(walk), path, modality, address.options.get("source"))
        about = walk.about
    streams = [] if about is None else [one.name for one in about.streams if one.source == source.name]
    if not streams:
        return text
    if len(streams) > 1 and stream not in streams:
        raise CallerError(
            Reason.TARGET_UNKNOWN,
            f"{path} was decided on by several streams, and it is not said whose drops are meant",
            hint=f"--stream: one of {', '.join(streams)}",
        )
    name = stream if stream in streams else streams[0]
    query = text[len(address.target) + 1 :]
    return f"{address.target}?{query}&drops={name}" if query else f"{address.target}?drops={name}"
