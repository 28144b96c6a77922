"""Taps write MCAP files: one source in one file, every packet of H.264 in a message of its own."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from galago_edge.contract.errors import InputError, LinkError, Reason
from galago_edge.contract.records import Record, encode_record
from galago_edge.contract.streams import AudioBlock, Coded, Gap, Notice
from galago_edge.recorded.about import SUFFIX, AboutRecording, RecordedStream, SourceMark, described_json
from galago_edge.recorded.stored_items import DropMessage, StoredPicture
from galago_edge.recorded.well_known import VIDEO_FORMATS
from galago_edge.recording.recording_writer import RecordingWriter
from galago_edge.recording.tap_things import end_ns_of
from galago_edge.recording.tap_writer import Drop, PictureForm
from galago_edge.recording.writer_account import WriterLimits

_ONE_FILE = WriterLimits(chunk_s=0.8, file_bytes=1 << 62, file_s=1e12)
"""When a recording ends is the tap's business. What a source gave a second ago survives a kill: that leaves
a fifth of it for the queue and the disk."""


class McapTap:
    """A :class:`galago_edge.recording.tap_writer.TapWriter`."""

    def __init__(self, path: Path, about: Mapping[str, Any]) -> None:
        """Begin ``path`` (``NAME.mcap``), which is ``NAME.mcap.part`` until it is whole.

        ``about`` is what ``galago_edge.service.live_taps`` says.

        Raises:
            CallerError: EXISTS.
            LinkError: The disk refuses.
            DeviceError: EXTRA_MISSING.
        """
        name = str(about["name"])
        self._name, self._start_ns = name, int(about["zero_ns"])
        self._writer = RecordingWriter(
            path.parent, path.name.removesuffix(SUFFIX), _told(name, about), limits=_ONE_FILE, single=True
        )
        mark = SourceMark(
            name=name,
            modality=about["modality"],
            start_ns=self._start_ns,
            conceal=about["damaged"] == "conceal",
            described=described_json(about["source"]),
        )
        self._writer.source(mark)
        self._failures = 0
        self._end_ns = 0

    @property
    def lost(self) -> int:
        """Messages that the writer took, and the disk did not."""
        return self._writer.account.lost.total()

    def picture(self, index: int, ns: int, form: PictureForm, data: bytes) -> None:
        """Write one frame."""
        self._writer.picture(self._name, StoredPicture(index, ns, form, data))
        self._check()

    def coded(self, index: int | None, ns: int, coded: Coded) -> None:
        """Write packets; those of which the stream had no frame are hidden.

        Raises:
            InputError: SOURCE_MISMATCH; the frame is not of the last packet. Whoever reads a recording takes
                pictures in the order in which they were sent.
        """
        packets = coded.packets
        if index is not None and (not packets or packets[-1].number != coded.shown):
            raise InputError(
                Reason.SOURCE_MISMATCH,
                f"{self._name} sends pictures in another order than they are shown in",
                hint="switch B-frames off in the camera: they cost delay, too",
            )
        for packet in packets:
            shown = index is not None and packet.number == coded.shown
            self._end_ns = ns if shown else max(self._end_ns, ns - packet.before_ns)
            self._writer.picture(
                self._name,
                StoredPicture(
                    index or 0,
                    self._end_ns,
                    VIDEO_FORMATS[coded.format.codec],
                    packet.data,
                    hidden=not shown,
                    key=packet.key,
                ),
            )
        self._check()

    def sound(self, block: AudioBlock) -> None:
        """Write samples."""
        self._writer.sound(self._name, block)
        self._check()

    def gap(self, gap: Gap) -> None:
        """Write a gap."""
        self._writer.mark(self._name, gap)
        self._check()

    def notice(self, notice: Notice) -> None:
        """Write a notice."""
        self._writer.mark(self._name, notice)
        self._check()

    def drop(self, drop: Drop) -> None:
        """Write what a stream did not take; what is not here itself becomes a gap before the next item."""
        if not drop.stream:
            self._writer.lost(self._name, drop.to_index - drop.from_index, drop.to_ns)
            self._known_lost(drop.to_index - drop.from_index)
            return
        message = DropMessage(
            stream=drop.stream,
            first=drop.from_index,
            end=drop.to_index,
            from_ns=drop.from_ns,
            to_ns=drop.to_ns,
            cause=drop.cause,
        )
        self._writer.drop(self._name, message)
        self._check()

    def record(self, record: Record) -> None:
        """Write a record of a stream on this source."""
        log_ns = self._start_ns + end_ns_of(record)
        self._writer.out(record.stream, encode_record(record).rstrip(b"\n"), log_ns)
        self._check()

    def tick(self) -> float | None:
        """Write the chunk that is due, as :meth:`RecordingWriter.tick`."""
        again_s = self._writer.tick()
        self._check()
        return again_s

    def close(self) -> None:
        """Make the file whole.

        Raises:
            LinkError: The disk refuses: it stays ``.part``.
        """
        try:
            self._writer.close()
            self._check()
        except BaseException:  # raised again; the descriptor must not stay
            self._writer.abandon()
            raise

    def _known_lost(self, items: int) -> None:
        """Take from the writer's account what the tap has counted itself."""
        self._writer.account.lost[self._name] -= items

    def _check(self) -> None:
        account = self._writer.account
        if account.failures > self._failures:
            self._failures = account.failures
            raise LinkError(account.fault_reason, account.fault, hint="look at the disk")


def _told(name: str, about: Mapping[str, Any]) -> AboutRecording:
    streams = tuple(
        RecordedStream(
            name=stream,
            source=name,
            bundle=str(told.get("bundle", "")),
            overrides=msgspec.to_builtins(told.get("overrides", {})),
            view=msgspec.to_builtins(told.get("view", {})),
        )
        for stream, told in about["streams"].items()
    )
    return AboutRecording(
        device=str(about["device"]),
        wall_ns=about["wall_ns"],
        wall_at_ns=about["monotonic_ns"],
        clock_synced=about["clock_synced"],
        streams=streams,
        environment=dict(about["environment"]),
    )
