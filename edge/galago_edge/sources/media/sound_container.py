"""Compressed sound, and sound in any container, by PyAV: packets with their own time stamps.

One packet after the other is decoded on one thread. What a packet's decoder, its checksum or its container
calls damaged is a hole and never a guess. Where the decoder has a variant in integers (MP3, AAC, AC-3) that
one is taken, for it gives the same samples on every CPU; the others compute in floating point.
"""

from __future__ import annotations

import os
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from galago_edge.sources.media.container_end import is_cut_off
from galago_edge.sources.media.container_faults import WHOLE_FILE, why_not_opened
from galago_edge.sources.media.container_rest import rest_behind
from galago_edge.sources.media.library import import_av
from galago_edge.sources.media.ogg_pages import OggLink, ogg_links
from galago_edge.sources.media.ogg_sound import OggSound, counts_samples
from galago_edge.sources.media.recording_container import OPTIONS
from galago_edge.sources.media.sound_packets import SoundPackets
from galago_edge.sources.media.sound_promise import promised_frames, sound_bytes, sound_end, stated_frames
from galago_edge.sources.media.stamped_samples import SoundSupply, StampedSamples
from galago_edge.sources.pcm_header import CompressedLayout
from galago_edge.sources.sample_conversion import PcmFormat
from galago_edge.sources.sound_reader import Hole, Remark, SoundPiece, unclaimed, unreadable_sound

_CHUNK_FRAMES = 16_384
_WITHOUT_LAST = frozenset({"mlp", "truehd"})
"""Formats whose last packet FFmpeg leaves out when only its beginning is there."""
_SHORT_S, _SHORT_SHARE = 2, 10
"""Two seconds, or a tenth, less than a container states is no matter of rounding or of filling."""
_LATE_S = 0.1
"""Sound that begins so much later than its container is told; most begin a few milliseconds later."""


class SoundContainer:
    """The sound of one file. One that is chained (Ogg) is read link by link, each in its own format."""

    def __init__(self, path: Path, header: CompressedLayout | None = None) -> None:
        """Open ``path`` and decode its first samples; ``header`` is what a WAV or AIFF says of itself.

        Raises:
            InputError: AUDIO_UNREADABLE.
            DeviceError: EXTRA_MISSING.
            OSError: The disk fails.
        """
        self._av = import_av(f"reading {path.name}")
        self._path = path
        self._file: BinaryIO = path.open("rb")
        weakref.finalize(self, self._file.close)  # not everybody walks through what was opened
        self._open: _Link | None = None
        try:
            ogg = self._file.read(4) == b"OggS"
            self._links = ogg_links(self._file) if ogg else []
            size = os.fstat(self._file.fileno()).st_size
            stated = None if header is None else header.end_byte
            self._unclaimed = 0 if header is None else header.unclaimed
            self._recording = header is not None and header.recording
            self._rest = rest_behind(path) if header is None else None
            self._cut = stated > size if stated is not None else is_cut_off(path)
            link = self._link(0)
            self._described = link.description()
            self.format: PcmFormat = link.samples.format
            self._stated = stated_frames(path, link.container, link.stream, self.format.rate_hz)
            self.promised: int | None = promised_frames(
                path, link.container, link.stream, self.format.rate_hz, cut=self._cut, header=header
            )
        except BaseException:  # whatever it was, nothing may stay open
            self.close()
            raise

    def description(self) -> dict[str, Any]:
        """Return the container, and which of several sounds it is."""
        return self._described

    def pieces(self) -> Iterator[SoundPiece]:
        """Yield the samples of all links, and what is missing.

        Raises:
            InputError: AUDIO_UNREADABLE; a later link holds no sound.
        """
        yield from _joined(self._all())

    def close(self) -> None:
        """Close the file."""
        if self._open is not None:
            self._open.container.close()
            self._open = None
        self._file.close()

    def _all(self) -> Iterator[SoundPiece]:
        known = self.format
        for number in range(max(1, len(self._links))):
            link = self._link(number)
            if link.samples.format != known:
                known = link.samples.format
                yield known
            if (late := link.late_ns()) >= _LATE_S * 1e9:
                yield Remark("offset", {"offset_ns": late})
            for piece in link.samples.pieces():
                known = piece if isinstance(piece, PcmFormat) else known
                yield piece
            yield from self._end(number, link)

    def _end(self, number: int, link: _Link) -> Iterator[SoundPiece]:
        """Yield what is missing behind the last samples."""
        samples = link.samples
        if link.container.format.name == "aac":
            # FFmpeg passes over what is no ADTS frame, and nothing tells where it did
            lost_s = link.packets.seconds_of(sound_bytes(self._file) - link.packets.bytes)
            if lost := round(lost_s * samples.format.rate_hz):
                yield Hole(lost, "unreadable", {"place": "unknown"})
        cut = samples.lost_at_end > 0
        if link.container.format.name in _WITHOUT_LAST:
            cut = cut or (link.packets.end_byte or 0) < sound_end(self._file)
        missing = samples.lost_at_end
        if self._links:
            cut = cut or not self._links[number].ends
        elif self.promised is None and self._much_less(samples.position):
            self.promised, cut = self._stated, True
            missing = max(missing, (self._stated or 0) - samples.position)
        elif self.promised is not None:
            short = self.promised - samples.position
            cut = cut or self._cut or short > samples.slack
            missing = max(missing, short) if cut else missing
        if cut or self._cut:
            yield Hole(max(0, missing), "truncated")
        if self._unclaimed:
            yield unclaimed(self._unclaimed, recording=self._recording)
        rest = self._rest
        if rest is not None and link.packets.last_byte <= rest.start:
            yield unclaimed(rest.bytes, recording=rest.recording)

    def _much_less(self, found: int) -> bool:
        """Tell whether the sound ends long before it should: FFmpeg does not always find on behind damage."""
        short = (self._stated or 0) - found
        return short > _SHORT_S * self.format.rate_hz or short * _SHORT_SHARE > (self._stated or 0)

    def _link(self, number: int) -> _Link:
        """Return the open link; another one is closed first."""
        if self._open is None or self._open.number != number:
            if self._open is not None:
                self._open.container.close()
                self._open = None
            part = self._links[number] if self._links else None
            self._open = _Link(self._av, self._path, self._file, number, part)
        return self._open


class _Link:
    """One container that is open."""

    def __init__(self, av: Any, path: Path, file: BinaryIO, number: int, part: OggLink | None) -> None:
        self.number = number
        part = part or OggLink(0, os.fstat(file.fileno()).st_size)
        try:  # given as an open file, so that nothing depends on its name
            self.container = av.open(_Part(file, part), options=OPTIONS, metadata_errors="replace")
        except (av.error.FFmpegError, ValueError):
            file.seek(0)
            why, known = why_not_opened(file.read(12))
            raise unreadable_sound(path, why, WHOLE_FILE if known else "") from None
        try:
            self.stream = self.container.streams.best("audio")
            if self.stream is None:
                raise unreadable_sound(path, "it holds no sound")
            self.packets = SoundPackets(av, self.container, self.stream, path)
            supply: SoundSupply = self.packets
            self._from_0 = counts_samples(self.stream, part)
            if self._from_0:
                supply = OggSound(av, file, part, self.stream, self.packets)
            self.samples = StampedSamples(supply)
        except BaseException:  # whatever it was, nothing may stay open
            self.container.close()
            raise

    def description(self) -> dict[str, Any]:
        described: dict[str, Any] = {"container": self.container.format.name.partition(",")[0]}
        if len(self.container.streams.audio) > 1:
            described |= {"sounds": len(self.container.streams.audio), "sound": self.stream.index}
        return described

    def late_ns(self) -> int:
        """Return how much later than the container its sound begins, in ns."""
        start_us = 0 if self._from_0 else self.container.start_time
        first = self.samples.first_stamp_s
        return 0 if start_us is None or first is None else round(first * 1e9) - start_us * 1000


class _Part:
    """Some bytes of a file, as a file."""

    def __init__(self, file: BinaryIO, part: OggLink) -> None:
        self._file, self._start, self._size, self._at = file, part.start, part.end - part.start, 0

    def read(self, count: int) -> bytes:
        self._file.seek(self._start + self._at)
        data = self._file.read(max(0, min(count, self._size - self._at)))
        self._at += len(data)
        return data

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size}[whence]
        self._at = min(max(0, base + offset), self._size)  # damaged files lead anywhere
        return self._at

    def tell(self) -> int:
        return self._at


def _joined(pieces: Iterator[SoundPiece]) -> Iterator[SoundPiece]:
    """Put short runs of samples together: a decoder gives some hundred at a time."""
    run: list[npt.NDArray[Any]] = []
    frames = 0
    for piece in pieces:
        if isinstance(piece, np.ndarray):
            if run and (piece.dtype != run[0].dtype or piece.shape[1] != run[0].shape[1]):
                yield np.concatenate(run)
                run, frames = [], 0
            run.append(piece)
            frames += len(piece)
        if run and (frames >= _CHUNK_FRAMES or not isinstance(piece, np.ndarray)):
            yield np.concatenate(run)
            run, frames = [], 0
        if not isinstance(piece, np.ndarray):
            yield piece
    if run:
        yield np.concatenate(run)
