"""Writes recording files: the camera's own bytes, samples, what is missing, and what the device decided.

Costs no decode and no encode: pictures are taken as the bytes that the camera sent. One thread at a time uses
a writer; nothing in it waits but the disk, so who must not wait for a disk hands over through a bounded queue
of its own and calls :meth:`RecordingWriter.lost` for what the queue did not take.

What is promised:

* A chunk is written at the latest ``chunk_s`` after its first message (when :meth:`RecordingWriter.tick` is
  called when it says so), or at ``chunk_bytes``: then it survives SIGKILL. It is on the disk after
  ``sync_s``, and survives a power cut.
* A file is called ``NAME.mcap.part`` until it is whole; then it is ``NAME.mcap``, with ``NAME.mcap.sha256``.
* A disk that is full, or fails, loses whole chunks. Their messages are counted, and as soon as the disk takes
  chunks again every source has a gap ``missing`` where it lost some.
* Memory: one chunk, and an index of some hundred bytes for each chunk of a file. A file ends at
  ``file_bytes`` or after ``file_s``.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import msgspec

from galago_edge.contract.errors import LinkError, disk_error
from galago_edge.contract.streams import NS_PER_S, AudioBlock, Gap, Item, Notice
from galago_edge.recorded.about import (
    CAM,
    DROPS,
    GAPS,
    MIC,
    OUT,
    AboutRecording,
    SourceMark,
    channel_metadata,
)
from galago_edge.recorded.chunk_file import ChannelSpec
from galago_edge.recorded.stored_items import DropMessage, MarkMessage, StoredPicture
from galago_edge.recorded.well_known import (
    AUDIO,
    HIDDEN,
    IMAGE,
    KEY,
    VIDEO,
    WellKnown,
    WireMessage,
    encode_message,
    schema_of,
)
from galago_edge.recording.file_series import FileSeries
from galago_edge.recording.writer_account import SourceTrack, WriterAccount, WriterLimits

_STILL = ("jpeg", "png", "webp")
_NUMBERS = 1 << 32
_KEY_PATIENCE_S = 60.0
"""So long a file that is to end waits for a picture that leans on nothing; a camera may be gone."""
_RETRY_S = 10.0
_JSON_SCHEMA = b'{"type":"object"}'


class RecordingWriter:
    """One recording: a file, or a series of files with a number each."""

    def __init__(
        self,
        folder: Path,
        name: str,
        about: AboutRecording,
        *,
        limits: WriterLimits | None = None,
        single: bool = False,
        part: Path | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Begin ``FOLDER/NAME-000.mcap.part``; with ``single`` one file, ``FOLDER/NAME.mcap.part``.

        ``part``: where a single file is written before it is whole, in the same folder. ``clock`` counts
        seconds.

        Raises:
            CallerError: EXISTS; there is such a file.
            LinkError: The disk refuses.
            DeviceError: EXTRA_MISSING.
        """
        self._series = FileSeries(folder, name, about, single=single, part=part)
        self._limits = limits or WriterLimits()
        self._clock = clock
        self._tracks: dict[str, SourceTrack] = {}
        self._numbers: Counter[str] = Counter()
        """Of ``/out`` and ``/drops``: the next message."""
        self.account = WriterAccount()
        self._part = about.part
        self._roll_due = False
        self._not_before_s = 0.0
        """When another file may be tried: the disk refused the last one."""
        self._file = self._series.begin(self._part)
        self._began_s = self._chunk_s = self._synced_s = clock()
        self._synced_bytes = 0
        """Of the file, when the disk was waited for last."""

    @property
    def part(self) -> Path:
        """The file that is being written."""
        return self._file.path

    def source(self, mark: SourceMark) -> None:
        """Declare a source, before its first item; again when it says other things of itself."""
        known = self._tracks.get(mark.name)
        if known is None:
            self._tracks[mark.name] = SourceTrack(mark)
        else:
            known.mark = mark

    def picture(self, source: str, picture: StoredPicture) -> None:
        """Take one picture as the camera sent it; hidden ones before a key frame are left out.

        Raises:
            KeyError: ``source`` was not declared.
        """
        track = self._tracks[source]
        still = picture.format in _STILL
        track.leaning |= not still
        if self._roll_due and track.leaning and picture.key:
            self._roll()
        if not (still or picture.key or track.keyed):
            self.lost(source, 1, picture.captured_ns)
            return
        track.keyed = True
        kind = IMAGE if still else VIDEO
        wire = WireMessage(
            data=picture.data,
            format=picture.format,
            timestamp_ns=track.mark.start_ns + picture.captured_ns,
            index=picture.index,
            time_ns=picture.captured_ns,
            flags=(HIDDEN if picture.hidden else 0) | (0 if still or not picture.key else KEY),
        )
        self._tell_lost(track, picture.captured_ns)
        track.end_ns = max(track.end_ns, picture.captured_ns)
        self._item(track, CAM + source, kind, encode_message(kind, wire, source), picture.captured_ns)

    def item(self, source: str, item: Item) -> bool:
        """Take what a live source gave; False: a frame without the JPEG that its camera sent, not taken.

        Pictures of a camera that sends none (H.264, raw pixels) come by :meth:`picture`, from whoever has
        their bytes. Raises KeyError: ``source`` was not declared.
        """
        if isinstance(item, AudioBlock):
            self.sound(source, item)
        elif isinstance(item, Gap | Notice):
            self.mark(source, item)
        elif item.encoded is None or not item.encoded.startswith(b"\xff\xd8"):
            return False
        else:
            self.picture(source, StoredPicture(item.index, item.captured_ns, "jpeg", item.encoded))
        return True

    def sound(self, source: str, block: AudioBlock) -> None:
        """Take samples. Raises KeyError: ``source`` was not declared."""
        track = self._tracks[source]
        wire = WireMessage(
            data=block.samples.astype("<i2").tobytes(),
            format="pcm-s16",
            timestamp_ns=track.mark.start_ns + block.captured_ns,
            index=block.first_sample,
            time_ns=block.captured_ns,
            rate_hz=block.rate_hz,
            channels=1,
        )
        self._tell_lost(track, block.captured_ns)
        end = block.first_sample + len(block.samples)
        track.end_ns = max(track.end_ns, end * NS_PER_S // block.rate_hz)
        self._item(track, MIC + source, AUDIO, encode_message(AUDIO, wire), block.captured_ns)

    def mark(self, source: str, item: Gap | Notice) -> None:
        """Take a gap or a notice. Raises KeyError: ``source`` was not declared."""
        track = self._tracks[source]
        if isinstance(item, Gap):
            message = MarkMessage(kind="gap", from_ns=item.from_ns, to_ns=item.to_ns, cause=item.cause)
            at_ns = item.from_ns
        else:
            message = MarkMessage(
                kind="notice", state=item.state, index=item.index, ns=item.ns, detail=item.detail
            )
            at_ns = item.ns
        self._tell_lost(track, at_ns)
        if isinstance(item, Gap):
            track.end_ns = max(track.end_ns, item.to_ns)
        self._item(track, GAPS + source, None, msgspec.json.encode(message), at_ns)

    def drop(self, source: str, drop: DropMessage) -> None:
        """Take what a stream did not take in time."""
        mark = self._tracks[source].mark
        spec = ChannelSpec(DROPS + source, "json", _schema("galago.Drop"), channel_metadata(mark))
        self._side(spec, mark.start_ns + drop.from_ns, msgspec.json.encode(drop))

    def out(self, stream: str, line: bytes, log_ns: int) -> None:
        """Take a record as the log has it, byte for byte; ``log_ns`` on the file's clock."""
        self._side(ChannelSpec(OUT + stream, "json", _schema("galago.Record")), log_ns, line)

    def lost(self, source: str, items: int, to_ns: int) -> None:
        """Count items of a source that never came here, up to a stream time."""
        track = self._tracks[source]
        track.lost_items += items
        track.lost_to_ns = max(track.lost_to_ns, to_ns)
        track.number = (track.number + items) % _NUMBERS
        self.account.lost[source] += items

    def tick(self) -> float | None:
        """End chunk and file when it is time; to be called every second or so, if nothing comes, too.

        Returns:
            In how many seconds a chunk is due, or the disk; None when nothing waits for either.
        """
        now_s = self._clock()
        limits = self._limits
        if self._file.waiting_bytes and now_s - self._chunk_s >= limits.chunk_s:
            self.flush()
        if now_s - self._synced_s >= limits.sync_s:
            self._synced_s, self._synced_bytes = now_s, self._file.size
            self._try(self._file.sync)
        over_s = now_s - self._began_s - limits.file_s
        if (self._file.size >= limits.file_bytes or over_s >= 0) and not self._series.single:
            self._roll_due = True
            leaning = any(track.leaning for track in self._tracks.values())
            if not leaning or over_s >= _KEY_PATIENCE_S or self._file.size >= 2 * limits.file_bytes:
                self._roll()
        waits = []
        if self._file.waiting_bytes:
            waits.append(self._chunk_s + limits.chunk_s)
        if self._file.size > self._synced_bytes:
            waits.append(self._synced_s + limits.sync_s)
        return max(0.0, min(waits) - now_s) if waits else None

    def flush(self) -> None:
        """Write the chunk now; what the disk refuses is lost, and counted."""
        waiting = self._file.waiting.total()
        self._chunk_s = self._clock()
        if self._try(self._file.flush):
            self.account.messages += waiting
            for track in self._tracks.values():
                track.counted.clear()
                track.told = track.own = 0
                track.kept_ns = track.end_ns
            return
        for track in self._tracks.values():
            waiting -= track.counted.total()
            track.counted[GAPS + track.mark.name] -= track.own
            track.number = (track.number - track.own) % _NUMBERS
            track.lost_items += track.counted.total() + track.told
            self.account.lost.update(+track.counted)
            track.counted.clear()
            track.told = track.own = 0
            track.lost_to_ns = max(track.lost_to_ns, track.end_ns)
            track.end_ns = track.kept_ns
        if waiting:
            self.account.lost["records"] += waiting

    def close(self) -> list[Path]:
        """End the recording; return its whole files.

        Raises:
            LinkError: The disk refuses the end: the last file stays ``.part``, whole up to its last chunk.
        """
        self._tell_rest()
        self._finish()
        return self.account.files

    def abandon(self) -> None:
        """Let go of the file as it is, as a crash would."""
        self._file.close()

    def _item(self, track: SourceTrack, topic: str, kind: WellKnown | None, data: bytes, at_ns: int) -> None:
        schema = _schema("galago.Mark") if kind is None else (kind.name, "protobuf", schema_of(kind))
        encoding = "json" if kind is None else "protobuf"
        channel = self._file.channel(ChannelSpec(topic, encoding, schema, channel_metadata(track.mark)))
        self._put(channel, track.number, track.mark.start_ns + at_ns, data)
        track.number = (track.number + 1) % _NUMBERS
        track.counted[topic] += 1
        self._full()

    def _side(self, spec: ChannelSpec, log_ns: int, data: bytes) -> None:
        """Take a message that is no item of a source."""
        self._put(self._file.channel(spec), self._numbers[spec.topic] % _NUMBERS, log_ns, data)
        self._numbers[spec.topic] += 1
        self._full()

    def _put(self, channel: int, number: int, log_ns: int, data: bytes) -> None:
        if not self._file.waiting_bytes:
            self._chunk_s = self._clock()
        self._file.put(channel, number, log_ns, data)

    def _full(self) -> None:
        if self._file.waiting_bytes >= self._limits.chunk_bytes:
            self.flush()
        self.tick()

    def _tell_lost(self, track: SourceTrack, at_ns: int) -> None:
        """Say what the recorder lost, now that something comes again."""
        if not track.lost_items:
            return
        lost, track.lost_items = track.lost_items, 0
        track.told, track.own = track.told + lost, track.own + 1
        gap = MarkMessage(
            kind="gap",
            from_ns=min(track.end_ns, at_ns),
            to_ns=at_ns,
            cause="missing",
            lost_items=lost,
        )
        self._item(track, GAPS + track.mark.name, None, msgspec.json.encode(gap), gap.from_ns)

    def _tell_rest(self) -> None:
        """Say what was lost last, and write what there is: the file ends."""
        for track in self._tracks.values():
            self._tell_lost(track, max(track.end_ns, track.lost_to_ns))
        self.flush()

    def _roll(self) -> None:
        """Go on in the next file; if none can be made, in this one."""
        if self._clock() < self._not_before_s:
            return
        number = self._series.free_number(self._part)
        try:
            following = self._series.begin(number)
        except LinkError as error:
            self.account.refused(error)
            self._not_before_s = self._clock() + _RETRY_S
            return
        self._roll_due, self._not_before_s = False, math.inf  # what is told last rolls no file
        self._tell_rest()
        with contextlib.suppress(LinkError):  # counted; it stays .part, whole up to its last chunk
            self._finish()
        self._part, self._file, self._not_before_s = number, following, 0.0
        self._synced_bytes = 0
        self._began_s = self._chunk_s = self._clock()
        for track in self._tracks.values():
            track.keyed, track.number = False, track.lost_items
        self._numbers.clear()

    def _finish(self) -> None:
        try:
            self.account.files.append(self._series.finish(self._file, self._part))
        except OSError as error:
            self._fail(error)
            raise disk_error(error, f"finish {self._file.path}") from error
        finally:
            self._file.close()

    def _try(self, act: Callable[[], None]) -> bool:
        try:
            act()
        except OSError as error:
            self._fail(error)
            return False
        self.account.fault = ""
        return True

    def _fail(self, error: OSError) -> None:
        self.account.refused(disk_error(error, f"write {self._file.path}"))


def _schema(name: str) -> tuple[str, str, bytes]:
    return name, "jsonschema", _JSON_SCHEMA
