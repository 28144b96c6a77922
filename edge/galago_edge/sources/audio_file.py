"""Recorded sound: uncompressed files by our own readers, everything else by PyAV, told apart by content."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from galago_edge.contract.errors import GalagoError, LinkError, Reason, disk_error
from galago_edge.contract.modality import Modality
from galago_edge.contract.streams import NS_PER_S, AudioBlock, Gap, Item, Notice, samples_to_ns
from galago_edge.sources.file_content import check_plain
from galago_edge.sources.pcm_header import PcmHeaderError, PcmLayout, read_header
from galago_edge.sources.pcm_reader import PcmReader
from galago_edge.sources.recording_damage import DamagedError
from galago_edge.sources.sample_conversion import Converter, PcmFormat, check_channel
from galago_edge.sources.sound_reader import Hole, Remark, SoundPiece, SoundReader, unreadable_sound

DEFAULT_BLOCK_SAMPLES = 65_536
"""The more windows a block completes, the less each costs: with a quarter of it, at 16 kHz and ten windows a
second, 2 % more (``python -m benchmarks.qa_replay``)."""
_LONGEST_HOLE_S = 366 * 24 * 3600
"""Damaged or invented stamps and lengths claim ages, which no time in nanoseconds can hold."""


class AudioFile:
    """A sound file as a stream of blocks, int16 mono at the bundle's rate."""

    modality: Modality = "microphone"
    live = False

    def __init__(
        self,
        path: Path,
        rate_hz: int,
        block_samples: int = DEFAULT_BLOCK_SAMPLES,
        *,
        channel: int | None = None,
        raw: PcmFormat | None = None,
    ) -> None:
        """Open ``path``; blocks hold ``block_samples`` samples, fewer before a gap and at the end.

        ``channel`` is the one to take, from 1; the mean of all when not given. ``raw`` says that the file has
        no header, and what its samples are: signed, little-endian.

        Raises:
            InputError: AUDIO_UNREADABLE. SOURCE_MISMATCH; there is no such channel, or it is no file.
            LinkError: SOURCE_MISSING, or the disk fails.
            DeviceError: EXTRA_MISSING.
        """
        check_plain(path)
        self._path = path
        self._rate_hz = rate_hz
        self._block_samples = block_samples
        self._channel = channel
        self._reader = open_sound(path, raw)
        try:
            check_channel(channel, self._reader.format.channels, str(path))
            self._converter = Converter(self._reader.format, rate_hz, channel)
        except GalagoError:
            self._reader.close()
            raise
        self._frames = 0
        self._stopped = False

    def description(self) -> dict[str, Any]:
        """Return name and format."""
        found = self._reader.format
        return {
            "kind": "audio",
            "name": self._path.name,
            "encoding": found.encoding,
            "channels": found.channels,
            "rate_hz": found.rate_hz,
            "promised_frames": self._reader.promised,
        } | self._reader.description()

    def conversion(self) -> dict[str, Any] | None:
        """Return the declared conversion, if the samples need one."""
        return self._converter.declaration()

    def __iter__(self) -> Generator[Item, None, None]:
        """Yield the blocks; where something is missing, a notice and a gap; at the end what was wrong.

        Raises:
            InputError: AUDIO_TRUNCATED, AUDIO_UNREADABLE; everything that could be read was yielded.
            LinkError: The disk fails.
        """
        holes: list[Hole] = []
        try:
            for item in self._items(holes):
                if self._stopped:
                    return
                yield item
        finally:
            self._reader.close()
        self._judge(holes)

    def summary(self) -> dict[str, Any]:
        """Return how many frames (samples per channel) the file held and how many it promised."""
        return {"frames": self._frames, "promised_frames": self._reader.promised}

    def stop(self) -> None:
        """End after the current block."""
        self._stopped = True

    def _items(self, holes: list[Hole]) -> Iterator[Item]:
        """Yield everything, and add what is missing to ``holes``."""
        course = _Course(self._reader.format, self._rate_hz, self._block_samples)
        for piece in self._reader.pieces():
            if isinstance(piece, Hole):
                holes.append(piece)
            yield from self._told(piece, course)
        yield from course.rest(self._converter)

    def _told(self, piece: SoundPiece, course: _Course) -> Iterator[Item]:
        if isinstance(piece, np.ndarray):
            self._frames += len(piece)
            yield from course.go(self._converter.convert(piece), len(piece))
            return
        if isinstance(piece, Remark):
            yield course.notice(piece.state, piece.detail)
            return
        yield from course.rest(self._converter)
        if isinstance(piece, PcmFormat):
            course.change(piece)
            check_channel(self._channel, piece.channels, f"{self._path} from here on")
            self._converter = Converter(piece, self._rate_hz, self._channel)
            if (declared := self._converter.declaration()) is not None:
                yield course.notice("converted", declared)
            return
        self._converter = Converter(course.format, self._rate_hz, self._channel)
        if piece.cause == "truncated":
            counts = {"frames": self._frames, "promised_frames": self._reader.promised}
            yield course.notice("truncated", counts | piece.detail)
        elif piece.cause == "unreadable":
            yield course.notice("unreadable", {"frames": piece.frames} | piece.detail)
        yield course.gap(piece)

    def _judge(self, holes: list[Hole]) -> None:
        """Say what was wrong with the whole file."""
        damaged = [hole for hole in holes if hole.cause == "unreadable"]
        if any(hole.cause == "truncated" for hole in holes):
            promised = self._reader.promised
            found = f"it holds {self._frames} of the {promised} samples its header promises"
            if promised is None or promised <= self._frames:
                found = f"it holds {self._frames} samples, and its end is missing"
            also = f", and is damaged in {_places(damaged)}" if damaged else ""
            raise DamagedError(
                Reason.AUDIO_TRUNCATED,
                f"{self._path} is cut off: {found}{also}",
                hint="record or copy it again; galago replay decides on what is there",
            )
        if damaged:
            lost = sum(hole.frames for hole in damaged)
            raise DamagedError(
                Reason.AUDIO_UNREADABLE,
                f"{self._path} is damaged in {_places(damaged)}: {lost} samples cannot be read",
                hint="copy it again; galago replay decides on the rest",
            )


def _places(holes: list[Hole]) -> str:
    return f"{len(holes)} place{'s' * (len(holes) > 1)}"


class _Course:
    """Where the stream is: indexes at the bundle's rate, and the blocks up to there."""

    def __init__(self, format: PcmFormat, rate_hz: int, block_samples: int) -> None:
        self.format = format
        self._rate_hz = rate_hz
        self._size = block_samples
        self._next = 0  # index of the next sample that goes on
        self._origin = 0  # index of the first sample of ``format``
        self._source_frames = 0  # since then, missing ones included
        self._waiting = np.empty(0, np.int16)

    @property
    def now_ns(self) -> int:
        return samples_to_ns(self._next + len(self._waiting), self._rate_hz)

    def go(self, samples: npt.NDArray[np.int16], source_frames: int) -> Iterator[AudioBlock]:
        """Yield the blocks that are whole."""
        self._source_frames += source_frames
        whole = np.concatenate((self._waiting, samples))
        used = len(whole) // self._size * self._size
        self._waiting = whole[used:]
        for start in range(0, used, self._size):
            yield self._block(whole[start : start + self._size])

    def rest(self, converter: Converter) -> Iterator[AudioBlock]:
        """Yield what is still being converted, in a last short block."""
        yield from self.go(converter.rest(), 0)
        if len(self._waiting):
            last, self._waiting = self._waiting, self._waiting[:0]
            yield self._block(last)

    def notice(self, state: str, detail: dict[str, Any]) -> Notice:
        return Notice(state, self._next + len(self._waiting), self.now_ns, detail)

    def gap(self, hole: Hole) -> Gap:
        """Go over what is missing; to be called after ``rest``. What cannot be believed has no length."""
        from_ns = self.now_ns
        believed = hole.frames <= _LONGEST_HOLE_S * self.format.rate_hz
        self._source_frames += hole.frames if believed else 0
        if hole.cause == "truncated":
            started_ns = samples_to_ns(self._origin, self._rate_hz)
            to_ns = started_ns + self._source_frames * NS_PER_S // self.format.rate_hz
            return Gap(from_ns, max(from_ns, to_ns), hole.cause)
        behind = -(-self._source_frames * self._rate_hz // self.format.rate_hz)
        self._next = max(self._next, self._origin + behind)
        return Gap(from_ns, self.now_ns, hole.cause)

    def change(self, format: PcmFormat) -> None:
        """Go on with samples of another format."""
        self.format = format
        self._origin, self._source_frames = self._next, 0

    def _block(self, samples: npt.NDArray[np.int16]) -> AudioBlock:
        block = AudioBlock(samples, self._next, samples_to_ns(self._next, self._rate_hz), self._rate_hz)
        self._next += len(samples)
        return block


def open_sound(path: Path, raw: PcmFormat | None = None) -> SoundReader:
    """Open a sound file with what can read it, by its content; ``raw`` says that it has no header.

    Raises:
        InputError: AUDIO_UNREADABLE.
        LinkError: SOURCE_MISSING, or the disk fails.
        DeviceError: EXTRA_MISSING.
    """
    try:
        if raw is not None:
            return _checked(PcmReader(path, PcmLayout(raw, True, 0, None), raw=True), path)
        with path.open("rb") as file:
            header = read_header(file)
        if isinstance(header, PcmLayout):
            return _checked(PcmReader(path, header), path)
        from galago_edge.sources.media.sound_container import SoundContainer  # here: a WAV needs no PyAV

        return _checked(SoundContainer(path, header), path)
    except PcmHeaderError as error:
        raise unreadable_sound(path, str(error)) from None
    except FileNotFoundError:
        raise LinkError(Reason.SOURCE_MISSING, f"{path} does not exist", hint="check the path") from None
    except OSError as error:
        raise disk_error(error, f"read {path}") from error


_HEADS = (b"RIFF", b"RIFX", b"RF64", b"BW64", b"riff", b"FORM", b".snd", b"fLaC", b"OggS", b"caff", b"ID3")


def has_header(path: Path) -> bool:
    """Tell whether a file begins as one of the sound files that say what their samples are.

    Raises:
        LinkError: SOURCE_MISSING, or the disk fails.
    """
    try:
        with path.open("rb") as file:
            return file.read(4).startswith(_HEADS)
    except FileNotFoundError:
        raise LinkError(Reason.SOURCE_MISSING, f"{path} does not exist", hint="check the path") from None
    except OSError as error:
        raise disk_error(error, f"read {path}") from error


def _checked(reader: SoundReader, path: Path) -> SoundReader:
    if reader.promised != 0 and reader.format.channels and 1_000 <= reader.format.rate_hz <= 1_000_000:
        return reader
    reader.close()
    if reader.promised == 0:
        raise unreadable_sound(path, "its header says that it holds no samples")
    found = f"{reader.format.channels} channels at {reader.format.rate_hz} Hz"
    raise unreadable_sound(path, f"{found} is no sound")


def read_audio(path: Path, rate_hz: int) -> npt.NDArray[np.int16]:
    """Return a whole sound file, converted as a stream of it would be; shape ``(n,)``.

    Nothing may be missing in it: what is put together over a hole is not what was recorded.

    Raises:
        InputError: AUDIO_UNREADABLE, AUDIO_TRUNCATED.
        LinkError: SOURCE_MISSING, or the disk fails.
        DeviceError: EXTRA_MISSING.
    """
    blocks: list[npt.NDArray[np.int16]] = []
    holes: list[Gap] = []
    for item in AudioFile(path, rate_hz):
        if isinstance(item, AudioBlock):
            blocks.append(item.samples)
        elif isinstance(item, Gap):
            holes.append(item)
    if holes:  # cut off or damaged was raised before
        seconds = sum(gap.to_ns - gap.from_ns for gap in holes) / NS_PER_S
        first_s = holes[0].from_ns / NS_PER_S
        raise unreadable_sound(path, f"{seconds:g} s of it are missing, the first at {first_s:g} s")
    return np.concatenate(blocks) if blocks else np.empty(0, np.int16)
