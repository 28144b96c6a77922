"""The pictures of a recording with their time stamps, and what its header says of them."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from galago_edge.contract.errors import InputError, Reason, disk_error
from galago_edge.contract.streams import NS_PER_S, Coded
from galago_edge.sources.media.access_units import KEPT_CODECS, PictureUnits
from galago_edge.sources.media.container_end import is_cut_off
from galago_edge.sources.media.container_rest import ContainerRest, rest_behind
from galago_edge.sources.media.ogg_pages import ogg_damage, ogg_links
from galago_edge.sources.media.picture_decoder import Damage, Picture, PictureDecoder
from galago_edge.sources.media.presentation_times import JUMP_INTERVALS, usual_interval
from galago_edge.sources.media.recording_container import BARE, RecordingContainer
from galago_edge.sources.media.transport_losses import TransportLosses

LARGEST_PIXELS = 1 << 26
"""64 megapixels: a larger picture is not taken from a file."""
_OPENING_PACKETS = 64
"""So many packets tell the usual interval."""
_STATING = ("avi", "matroska,webm", "mov,mp4,m4a,3gp,3g2,mj2", "flv", "asf")
"""Formats whose header says how long they are; FFmpeg guesses it for the others."""
_RATED = ("avi", "matroska,webm", "flv")
"""Formats whose header states a rate; for the others it is the codec's, if that states one."""
_CLOCKED = ("h263", "mpjpeg")
"""Formats without a rate: what FFmpeg gives is the clock of the stream, or a guess."""
_OVERHEAD_BYTES = 256
"""More than a container needs between two packets: what lies there could not be read as one."""
_CHAINED = ("avi", "matroska,webm")
"""Formats whose packets lie one behind the other, and that look for the next one behind damage."""
_FLV_UNKNOWN_US = 86_400_000_000
"""GStreamer writes a day where it does not know yet how long a recording becomes."""
_EMPTY_CHUNK_BYTES = 8
_SHORT_BY_NS = 2 * NS_PER_S
"""A recording whose structure is whole may be so much shorter than its header says."""


@dataclass(frozen=True, slots=True)
class Shown:
    """One picture of a recording, or what should have been one."""

    outcome: Picture | Damage
    stamp: int | None
    """In ticks of the stream; None when it has none."""
    behind_hole: bool = False
    """Bytes before it could not be read as packets, so pictures may be missing."""
    begins: bool = False
    """It is the first one of another recording, behind the one before."""
    coded: Coded | None = None
    """What it was decoded from, when that is kept."""


class PictureReader:
    """One recording, read once from beginning to end."""

    def __init__(self, path: Path, *, conceal: bool, packets: bool = False) -> None:
        """Open ``path``; with ``packets``, pictures of H.264 and HEVC bring along what they are made of.

        Raises:
            InputError: VIDEO_UNREADABLE.
            LinkError: SOURCE_MISSING, or the disk fails.
            DeviceError: EXTRA_MISSING.
        """
        with RecordingContainer(path, "reading video") as opening:
            stamps = _opening_stamps(opening)
        self._container = RecordingContainer(path, "reading video")
        self._losses: TransportLosses | None = None
        self._torn: deque[int] = deque()
        """Bytes at which the container's own checks found something missing."""
        try:
            self._stream = _stream_of(self._container, path)
            self._decoder = PictureDecoder(
                self._stream, str(path), largest_pixels=LARGEST_PIXELS, conceal=conceal
            )
            kept = packets and self._decoder.codec in KEPT_CODECS
            self._units = PictureUnits(self._stream) if kept else None
            self.cut = is_cut_off(path)
            self._rest = rest_behind(path)
            if self._container.format == "mpegts":
                self._losses = TransportLosses(path, self._stream.id)
            if self._container.format == "ogg":
                with path.open("rb") as file:
                    links = ogg_links(file)
                    self._torn.extend(ogg_damage(file))
                self.cut = not (links and links[-1].ends)
        except OSError as error:
            self.close()
            raise disk_error(error, f"read {path}") from error
        except BaseException:  # whatever it was, nothing stays open
            self.close()
            raise
        self.tick: Fraction = self._stream.time_base
        self.usual = usual_interval(stamps)
        self.stamped = bool(stamps)
        """Whether it has time stamps at all; a bare H.264 stream has none."""
        self.stated = self._stated_rate()
        self.promised_frames: int | None = self._stream.frames or None
        self._avi = self._container.format == "avi"
        self.promised_ns = self._promise()
        """How long the header says that the recording is; None when it does not."""
        self._ticks = {stream.index: stream.time_base for stream in self._container.av.streams}
        self._spans: dict[int, tuple[int, int]] = {}
        """Of each stream: from and to in its ticks, so far."""
        self._chained = self._container.format in _CHAINED
        self._end_byte = 0
        self._last_byte = 0
        """Where the packet began that lies furthest behind."""
        self._dts: int | None = None
        self._stamps: tuple[int | None, int | None] = None, None
        """Of decoding the last, of presentation the highest."""
        self._before_last: int | None = None
        """Of decoding."""

    @property
    def unfinished(self) -> bool:
        """Whether its recorder was ended by force: the header holds what the real length would replace."""
        return self._container.format == "flv" and self._container.av.duration == _FLV_UNKNOWN_US

    @property
    def codec(self) -> str:
        """FFmpeg's name of the codec."""
        return self._decoder.codec

    @property
    def found(self) -> Fraction | None:
        """The rate of the first pictures, by their stamps."""
        return None if not self.usual else 1 / (self.usual * self.tick)

    @property
    def faults(self) -> int:
        """How often the container itself could not be read on."""
        return self._container.faults

    def pictures(self) -> Iterator[Shown]:
        """Yield everything in the order of presentation.

        Raises:
            InputError: VIDEO_UNREADABLE; pixels without an exact way, or too many of them.
            LinkError: The disk fails.
        """
        queue: deque[int | None] = deque()
        known = self._indexed()
        hole = begins = False

        def shown(outcomes: Iterator[Picture | Damage]) -> Iterator[Shown]:
            nonlocal hole, begins
            for outcome in outcomes:
                coded = None
                if self._units is not None and isinstance(outcome, Picture):
                    coded = self._units.of(outcome.packet)
                yield Shown(outcome, queue.popleft() if queue else outcome.pts, hole, begins, coded)
                hole = begins = False

        for packet in self._container.packets():
            self._note_end(packet)
            self._last_byte = max(self._last_byte, packet.pos or 0)
            hole |= self._is_behind_hole(packet)
            if packet.stream_index != self._stream.index:
                continue
            if self._is_other_recording(packet):
                yield from shown(self._decoder.flush())
                self._decoder.begin_again()
                hole, begins = False, True
            damaged, behind_loss = self._damage(packet)
            if hole or behind_loss:
                self._decoder.expect_damage()
            if self._avi:  # it states when a picture is decoded; the n-th that is shown has the n-th time
                queue.append(known.get(packet.pos, packet.dts))
                packet.pts = None  # it is guessed
            if self._units is not None:
                self._units.take(packet)
            yield from shown(self._decoder.decode(packet, damaged=damaged))
        yield from shown(self._decoder.flush())

    def is_short(self) -> bool:
        """Tell, at the end, whether the file was cut off or its header promised more than was found."""
        if self.cut or self.promised_ns is None:
            return self.cut
        # some headers count from the first picture, others from 0
        _, end_ns = self._span_ns()
        return self.promised_ns - max(self.length_ns, end_ns) > _SHORT_BY_NS

    @property
    def rest(self) -> ContainerRest | None:
        """What lies behind the recording and was not read; to be asked for at the end."""
        return None if self._rest is None or self._last_byte > self._rest.start else self._rest

    @property
    def length_ns(self) -> int:
        """How long what was read so far is, over all streams of the container."""
        start_ns, end_ns = self._span_ns()
        return end_ns - start_ns

    def _span_ns(self) -> tuple[int, int]:
        spans = [(_ns(a, self._ticks[i]), _ns(b, self._ticks[i])) for i, (a, b) in self._spans.items()]
        return min((a for a, _ in spans), default=0), max((b for _, b in spans), default=0)

    def close(self) -> None:
        """Close the file. May be called twice."""
        self._container.close()
        if self._losses is not None:
            self._losses.close()

    def _promise(self) -> int | None:
        if self._avi and self.promised_frames:
            return _ns(self.promised_frames, self.tick)
        duration = self._container.av.duration
        if duration is None or self.unfinished or self._container.format not in _STATING:
            return None
        return int(duration) * 1000

    def _is_behind_hole(self, packet: Any) -> bool:
        """Tell whether bytes before a packet were no packet, more than the container itself needs."""
        if not self._chained or packet.pos is None:
            return False
        before, self._end_byte = self._end_byte, max(self._end_byte, packet.pos + packet.size)
        before_dts, self._dts = (
            self._dts,
            packet.dts if packet.stream_index == self._stream.index else self._dts,
        )
        needed = _OVERHEAD_BYTES
        if self._avi and before_dts is not None and packet.dts is not None:
            needed += _EMPTY_CHUNK_BYTES * max(0, packet.dts - before_dts)  # one for each picture left out
        return before > 0 and bool(packet.pos > before + needed)

    def _damage(self, packet: Any) -> tuple[bool, bool]:
        """Tell whether a picture is damaged as its container knows, and whether some before it are lost."""
        if self._losses is not None:
            return self._losses.damage(packet.pos)
        torn = False  # FFmpeg guesses the stamp of what comes next
        while packet.pos is not None and self._torn and self._torn[0] <= packet.pos:
            self._torn.popleft()
            torn = True
        return torn or bool(packet.is_corrupt), False

    def _is_other_recording(self, packet: Any) -> bool:
        """Tell whether two files were joined here: stamps of both kinds go back, as in one they never do.

        Those of decoding alone do, too, where FFmpeg guesses them and packets are lost; and both, behind one
        damaged stamp.
        """
        dts, pts, (last, highest) = packet.dts, packet.pts, self._stamps
        if dts is None or pts is None or self._avi:
            return False
        before, self._before_last = self._before_last, last
        back = last is not None and highest is not None and dts < last and pts < highest
        if back and not packet.is_keyframe and (before is None or dts > before):  # that one was damaged
            self._stamps = dts, pts
            return False
        if back and (bool(packet.is_keyframe) or last - dts > JUMP_INTERVALS * (self.usual or 1)):
            self._stamps = dts, pts
            return True
        self._stamps = dts, pts if highest is None else max(pts, highest)
        return False

    def _note_end(self, packet: Any) -> None:
        stamp = packet.pts if packet.pts is not None and not self._avi else packet.dts
        if stamp is None:
            return
        end = stamp + (packet.duration or 0)
        first, last = self._spans.get(packet.stream_index, (stamp, end))
        self._spans[packet.stream_index] = (min(first, stamp), max(last, end))

    def _stated_rate(self) -> Fraction | None:
        if self._container.format in _CLOCKED:
            return None
        rate = self._stream.average_rate if self._container.format in _RATED else None
        rate = rate or self._stream.codec_context.framerate
        return rate if rate is not None and 0 < rate <= 1000 else None

    def _indexed(self) -> dict[int, int]:
        """Return the time of each packet of an AVI by its place, so that none is shifted by a lost one."""
        if not self._avi:
            return {}
        return {entry.pos + 8: entry.timestamp for entry in self._stream.index_entries}


def _stream_of(container: RecordingContainer, path: Path) -> Any:
    stream = container.pictures
    if stream is None:
        sound = bool(container.av.streams.audio)
        raise InputError(
            Reason.SOURCE_MISMATCH if sound else Reason.VIDEO_UNREADABLE,
            f"{path} holds {'sound and ' if sound else ''}no pictures, expected a video",
            hint="give a microphone's bundle" if sound else "check that the file is whole",
        )
    return stream


def _opening_stamps(container: RecordingContainer) -> list[int]:
    """Return the stamps of the first pictures."""
    stream = container.pictures
    if stream is None or container.format in BARE:
        return []
    avi = container.format == "avi"
    ours = (packet for packet in container.packets() if packet.stream_index == stream.index)
    stamps = (packet.dts if avi else packet.pts for packet in itertools.islice(ours, _OPENING_PACKETS))
    return [stamp for stamp in stamps if stamp is not None]


def _ns(ticks: int, tick: Fraction) -> int:
    return ticks * tick.numerator * NS_PER_S // tick.denominator
