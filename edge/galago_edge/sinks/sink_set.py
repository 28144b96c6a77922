"""The sinks that the settings ask for, built: what delivers from the spool, and what writes at once."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from galago_edge.contract.errors import DeviceError, GalagoError, Reason
from galago_edge.contract.modality import Modality
from galago_edge.contract.printable import on_one_line
from galago_edge.contract.records import Record
from galago_edge.contract.settings import Settings
from galago_edge.contract.status import SinkStatus
from galago_edge.host.plugins import fault_of
from galago_edge.sinks.attached_file import AttachedFiles
from galago_edge.sinks.clocks import Clocks
from galago_edge.sinks.consumer import BESIDE
from galago_edge.sinks.delivery_thread import DeliveryThread
from galago_edge.sinks.disk import Disk
from galago_edge.sinks.record_filter import RecordFilter, filter_of
from galago_edge.sinks.record_sorts import Wanted
from galago_edge.sinks.sink_kind import (
    USUAL_KINDS,
    ReceiverKind,
    ReceiverParts,
    RecordWriter,
    SinkKind,
    WriterKind,
    WriterParts,
    kind_of,
)
from galago_edge.sinks.spool import Spool
from galago_edge.sinks.unusable_sink import UnusableSink, UnusableWriter

_LOG = logging.getLogger(__name__)
_MEGABYTE = 1_000_000
_TOLD_AGAIN_S = 60.0
"""A disk that fails and works by turns is told so often at most."""


class NamedWriter:
    """A writer under its name, whose mistakes end with it."""

    def __init__(self, name: str, writer: RecordWriter, *, hopeless: bool = False) -> None:
        """Guard ``writer``; ``hopeless`` when it will never write."""
        self._name = name
        self._hopeless = hopeless
        self._writer = writer
        self._mistake = ""
        self._lost = 0
        self._failing = False
        self._tell_at = 0.0

    def write(self, lines: bytes) -> None:
        """Hand whole lines over."""
        try:
            self._writer.write(lines)
        except Exception as error:  # noqa: BLE001 (a device outlives any fault of one sink)
            self._lost += lines.count(b"\n")
            self._mistake = fault_of(error)
        else:
            self._mistake = ""
        self._tell()

    def _tell(self) -> None:
        """Say when records begin to be lost: who does not look at the status would never know."""
        fault = self._mistake or self._writer.fault
        if fault and not self._failing and time.monotonic() >= self._tell_at:
            self._tell_at = time.monotonic() + _TOLD_AGAIN_S
            _LOG.warning("%s", on_one_line(f"sink {self._name}: records are lost from now on: {fault}"))
        self._failing = bool(fault)

    def miss(self, lines: int) -> None:
        """Count lines that were lost before they came here."""
        self._lost += lines

    def retry(self) -> bool:
        """Let a writer that could not write try again without a new record; return whether it still cannot.

        What it has lost is known to this process alone until it has told it.
        """
        if self._hopeless or not self._writer.fault:
            return False
        self.write(b"")
        return bool(self._writer.fault)

    def status(self) -> SinkStatus:
        """Return where it stands."""
        fault = self._mistake or self._writer.fault
        return SinkStatus(
            name=self._name,
            state="failed" if self._hopeless else "retrying" if fault else "ok",
            fault=fault,
            delivered=self._writer.written,
            lost=self._writer.lost + self._lost,
        )

    def close(self) -> None:
        """Give back what is held."""
        try:
            self._writer.close()
        except Exception as error:  # noqa: BLE001 (the others have to be closed too)
            self._mistake = fault_of(error)


@dataclass(slots=True)
class SinkSet:
    """Everything that takes records, not started."""

    spool: Spool | None = None
    """None when nobody is there to deliver to."""
    senders: list[DeliveryThread] = field(default_factory=list)
    writers: list[NamedWriter] = field(default_factory=list)

    @property
    def empty(self) -> bool:
        """Whether nobody asked for records."""
        return self.spool is None and not self.writers

    def describe(self, stream: str, modality: Modality, labels: tuple[str, ...]) -> None:
        """Say which labels a stream can report."""
        for sender in self.senders:
            sender.describe(stream, modality, labels)

    def note(self, records: Sequence[Record]) -> None:
        """Let those know at once who tell what holds now, whatever waits for them in the spool."""
        for sender in self.senders:
            sender.told(records)


def build_sinks(
    settings: Settings,
    root: Path,
    device: str,
    version: str,
    *,
    disk: Disk | None,
    clocks: Clocks,
) -> SinkSet:
    """Build what ``settings`` ask for; ``root`` is the store's folder.

    A receiver whose plug-in cannot be used is there all the same: it says so, and its records wait.

    Raises:
        CallerError: CONFIG_BAD; a sink cannot work with its settings.
        DeviceError: EXTRA_MISSING.
    """
    built = SinkSet()
    receivers: dict[str, Wanted] = {}
    for name, table in settings.sinks.items():
        kind = _found(name, table)
        if isinstance(kind, WriterKind):
            built.writers.append(_writer(name, kind, table, WriterParts(disk, clocks)))
        else:
            receivers |= _rows(name, kind, _wanted(kind, table))
    if not receivers:
        return built
    folder = root / (settings.spool.dir or "spool")
    built.spool = spool = Spool(
        folder,
        device,
        receivers,
        max_bytes=settings.spool.max_mb * _MEGABYTE,
        sync_s=settings.spool.sync_s,
        disk=disk,
        clocks=clocks,
    )
    streams = tuple(stream.name for stream in settings.stream)
    attached = AttachedFiles(root, settings.attachments)
    for name in receivers:
        if BESIDE not in name:
            beside = _beside(name) if _beside(name) in receivers else ""
            parts = ReceiverParts(name, device, version, spool, folder, streams, attached, beside)
            built.senders.append(_sender(parts, settings.sinks[name]))
    return built


def _found(name: str, table: Any) -> SinkKind | str:
    """Return a sink's description, or why there is none."""
    try:
        kind = kind_of(name)
    except DeviceError as error:
        return error.line
    if kind is None or not isinstance(table, kind.settings):
        return f"sink {name}: its settings could not be read [{Reason.PLUGIN_BAD}]"
    return kind


def _wanted(kind: SinkKind | str, table: Any) -> Wanted:
    """Return the records that a sink wants: the usual ones, when it cannot say so itself."""
    if not isinstance(kind, ReceiverKind):
        return USUAL_KINDS
    try:
        return kind.wanted(table)
    except (Exception, SystemExit):  # noqa: BLE001 (a plug-in's own code; what builds the sink tells of it)
        return USUAL_KINDS


def _rows(name: str, kind: SinkKind | str, wanted: Wanted) -> dict[str, Wanted]:
    """Return what a receiver wants, by the name of the row in which it waits."""
    if not isinstance(kind, ReceiverKind) or not kind.attachments_apart:
        return {name: wanted}
    found = wanted if isinstance(wanted, RecordFilter) else filter_of(wanted)
    attachments = found.kinds & {"attachment"}
    if not attachments:
        return {name: found}
    return {
        name: replace(found, kinds=found.kinds - attachments),
        _beside(name): replace(found, kinds=attachments),
    }


def _beside(name: str) -> str:
    return f"{name}{BESIDE}attachments"


def _writer(name: str, kind: WriterKind, table: Any, parts: WriterParts) -> NamedWriter:
    try:
        writer = kind.build(table, parts)
        if not callable(getattr(writer, "write", None)):
            raise TypeError(f"build gave a {type(writer).__name__}, which cannot write")
        return NamedWriter(name, writer)
    except GalagoError:
        raise
    except (Exception, SystemExit) as error:  # noqa: BLE001 (a device outlives any fault of one sink)
        unusable = UnusableWriter(f"{fault_of(error)} [{Reason.PLUGIN_BAD}]")
        return NamedWriter(name, unusable, hopeless=True)


def _sender(parts: ReceiverParts, table: Any) -> DeliveryThread:
    kind = _found(parts.name, table)
    if not isinstance(kind, ReceiverKind):
        return UnusableSink(parts.name, parts.spool, str(kind))
    try:
        sender = kind.build(table, parts)
        kind.wanted(table)  # a sink that cannot say what it wants would get what it does not
        if not isinstance(sender, DeliveryThread):
            raise TypeError(f"build gave a {type(sender).__name__}, expected a DeliveryThread")
    except GalagoError:
        raise
    except (Exception, SystemExit) as error:  # noqa: BLE001 (a device outlives any fault of one sink)
        return UnusableSink(parts.name, parts.spool, f"{fault_of(error)} [{Reason.PLUGIN_BAD}]")
    return sender
