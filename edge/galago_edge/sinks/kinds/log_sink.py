"""``[log]``: records as a JSONL file that never grows beyond its share of the disk."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import msgspec

from galago_edge.contract.settings import Megabytes, Table
from galago_edge.sinks.rotating_log import RotatingLog
from galago_edge.sinks.sink_kind import WriterKind, WriterParts

_MEGABYTE = 1_000_000


class LogSettings(Table, frozen=True, kw_only=True):
    """``[log]``: records as a JSONL file."""

    path: Annotated[str, msgspec.Meta(min_length=1)]
    max_mb: Megabytes = 8
    """The file is renamed to ``.1`` when it has reached this size, ``.1`` to ``.2`` ..."""
    keep: Annotated[int, msgspec.Meta(ge=0, le=1_000)] = 4
    """So many renamed files."""


def _build(settings: LogSettings, parts: WriterParts) -> RotatingLog:
    return RotatingLog(
        Path(settings.path),
        max_bytes=settings.max_mb * _MEGABYTE,
        keep=settings.keep,
        disk=parts.disk,
        monotonic=parts.clocks.monotonic,
        wall_ns=parts.clocks.wall_ns,
    )


SINK = WriterKind(settings=LogSettings, build=_build, paths=("path",))
