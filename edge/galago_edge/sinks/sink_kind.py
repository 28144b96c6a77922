"""What a sink says of itself, and all sinks there are.

A sink is one module: its settings, which are its table in ``galago.toml``, and a description under the name
``SINK``. Ours stand in ``galago_edge.sinks.kinds``; other distributions bring theirs through the
entry-point group ``galago.sinks``, under the name of the table. How to add one: docs/extending.md.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Protocol

import msgspec

from galago_edge.contract.findings import Finding
from galago_edge.host.extras import Extra
from galago_edge.host.plugins import Registry
from galago_edge.sinks.attached_file import AttachedFiles
from galago_edge.sinks.clocks import Clocks
from galago_edge.sinks.delivery_thread import DeliveryThread
from galago_edge.sinks.disk import Disk
from galago_edge.sinks.record_filter import RecordFilter
from galago_edge.sinks.record_sorts import Wanted
from galago_edge.sinks.spool import Spool

USUAL_KINDS = ("event", "state", "gap")
"""Kinds of records that a sink gets unless it says otherwise."""
SPOOLED_KINDS = (*USUAL_KINDS, "attachment")
"""Kinds of records that are delivered. Scores are not: they go to the log."""


@dataclass(frozen=True, slots=True)
class ReceiverParts:
    """What a sink that delivers from the spool is built with."""

    name: str
    """Its own: in the spool, in the status and as a table of ``galago.toml``."""
    device: str
    """The device's name, which begins every key."""
    version: str
    """Of galago-edge, for receivers that show it."""
    spool: Spool
    """Where its records wait for it, under its name."""
    folder: Path = Path()
    """Where it may keep a small file of its own, under its name: the spool's folder."""
    streams: tuple[str, ...] = ()
    """The names of all streams that are configured; those that run are described to it."""
    attached: AttachedFiles = field(default_factory=AttachedFiles)
    """Reads the file that the record of an attachment names."""
    attachments: str = ""
    """Under which name its attachments wait beside everything else; empty: they do not."""


@dataclass(frozen=True, slots=True)
class WriterParts:
    """What a sink that writes at once is built with."""

    disk: Disk | None
    clocks: Clocks


class RecordWriter(Protocol):
    """Takes every record as soon as it is in the spool. Used by one thread; must not wait for anybody."""

    fault: str
    """What is wrong, in one line; empty while everything is taken."""
    written: int
    """Lines, since the start; as ``lost``."""
    lost: int

    def write(self, lines: bytes) -> None:
        """Take whole lines, or count those that cannot be taken."""
        ...

    def close(self) -> None:
        """Give back what is held."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class SinkKind:
    """What every sink says of itself."""

    settings: type[msgspec.Struct]
    """Its table: a frozen struct that forbids unknown fields."""
    extra: Extra | None = None
    """The extra of galago-edge that it needs; a plug-in requires what it needs itself."""
    check: Callable[[Any], Iterator[Finding]] | None = None
    """Given the settings, what ``galago doctor`` says about it; the findings bear the sink's name."""
    anchor: Callable[[Any, Path], Any] | None = None
    """Given the settings and the folder of ``galago.toml``, the settings with what else starts there."""
    several: bool = False
    """There may be several, as ``[[NAME]]``: its settings have a ``name``, of the type ``ReceiverName``."""
    paths: tuple[str, ...] = ()
    """Settings that are files it writes: relative ones start at the folder of ``galago.toml``."""
    reads: tuple[str, ...] = ()
    """Settings that are files it reads: the same holds for them."""

    def __post_init__(self) -> None:
        """Refuse settings that would let a misspelt key pass, and several that bear no name.

        Raises:
            ValueError: ``settings`` is no struct that forbids unknown fields, or has no ``name``.
        """
        if not issubclass(self.settings, msgspec.Struct) or not (
            self.settings.__struct_config__.forbid_unknown_fields
        ):
            raise ValueError(f"{self.settings.__name__} is no msgspec.Struct with forbid_unknown_fields=True")
        if self.several and "name" not in self.settings.__struct_fields__:
            raise ValueError(f"{self.settings.__name__} has no name, by which several can be told apart")


def every_kind(settings: Any) -> Collection[str]:
    """Want every kind of record but attachments, whatever the settings."""
    return USUAL_KINDS


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceiverKind(SinkKind):
    """A sink that is delivered to: at least once, from the spool, by a thread of its own."""

    build: Callable[[Any, ReceiverParts], DeliveryThread]
    """Prepare it for its settings; connect later. A GalagoError that it raises ends ``galago run``."""
    records: Wanted | Callable[[Any], Wanted] = every_kind
    """Which records it wants: some of the kinds ``event``, ``state``, ``gap``, ``attachment``, or a filter;
    or what says so, given the settings."""
    attachments_apart: bool = False
    """Whether attachments are delivered from a row of their own: ``ReceiverParts.attachments``. Else they
    come in order with everything else."""

    def __post_init__(self) -> None:
        """Refuse settings that would let a misspelt key pass, and kinds of records that there are not.

        Raises:
            ValueError: ``settings`` is no struct that forbids unknown fields, or ``records`` neither a
                collection of kinds nor a callable.
        """
        SinkKind.__post_init__(self)
        if not callable(self.records):
            _filter(self.records)

    def wanted(self, settings: Any) -> RecordFilter:
        """Return which records it wants with these settings.

        Raises:
            ValueError: The plug-in's callable returned something else.
            Exception: As the plug-in's callable says.
        """
        return _filter(self.records(settings) if callable(self.records) else self.records)


def _filter(records: object) -> RecordFilter:
    """Return ``records`` as a filter; a text would be taken for its letters.

    Raises:
        ValueError: It is neither a filter nor a collection of kinds.
    """
    if isinstance(records, RecordFilter):
        _filter(records.kinds)
        return records
    if isinstance(records, Collection) and not isinstance(records, str | bytes):
        kinds = frozenset(records)
        if kinds <= frozenset(SPOOLED_KINDS):
            return RecordFilter(kinds)
    raise ValueError(f"records is {records!r}, expected some of {', '.join(SPOOLED_KINDS)}, as a tuple")


@dataclass(frozen=True, slots=True, kw_only=True)
class WriterKind(SinkKind):
    """A sink that takes every record at once, scores too, behind the spool."""

    build: Callable[[Any, WriterParts], RecordWriter]
    """Prepare it for its settings. A GalagoError that it raises ends ``galago run``."""


SINKS: Registry[SinkKind] = Registry(
    what="sink",
    group="galago.sinks",
    package="galago_edge.sinks.kinds",
    suffix="_sink",
    attribute="SINK",
    type=SinkKind,
)


ReceiverName = Annotated[
    str,
    msgspec.Meta(
        pattern=r"^([A-Za-z0-9][A-Za-z0-9_-]{0,31})?\Z",
        description="at most 32 letters, digits, _ and -, without spaces, the first a letter or a digit",
    ),
]
"""What one sink among several of a kind is called; empty for the one that bears the kind's name."""


def receiver_name(kind: str, settings: Any) -> str:
    """Return the name of a sink in spool, status and metrics: ``webhook``, or ``webhook.phone``."""
    name = getattr(settings, "name", "")
    return f"{kind}.{name}" if name else kind


def kind_of(name: str) -> SinkKind | None:
    """Return the description of a sink that is called ``name``, as :func:`receiver_name` says; None: none.

    Raises:
        DeviceError: PLUGIN_BAD; what another distribution brings cannot be used.
    """
    return SINKS.find(name.partition(".")[0])


def sink_files(tables: dict[str, Any]) -> dict[str, Path]:
    """Return the file that each of these sinks writes, by the sink's name."""
    found: dict[str, Path] = {}
    for name, settings in tables.items():
        kind = kind_of(name) if settings is not None else None
        for key in kind.paths if kind is not None else ():
            if getattr(settings, key):
                found[name] = Path(getattr(settings, key))
    return found
