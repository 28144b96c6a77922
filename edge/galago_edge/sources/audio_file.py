"""Recorded sound: WAV by the standard library, everything else by libsndfile."""

from __future__ import annotations

import wave
from collections.abc import Generator, Iterable, Iterator
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from galago_edge.contract.errors import InputError, LinkError, Reason, disk_error
from galago_edge.contract.modality import Modality
from galago_edge.contract.streams import NS_PER_S, AudioBlock, Gap, Item, Notice, samples_to_ns
from galago_edge.host.extras import import_extra
from galago_edge.sources.sample_conversion import Converter, PcmFormat, Raw

DEFAULT_BLOCK_SAMPLES = 16_384
_READ_FRAMES = 65_536
_WIDEST_BYTES = 4
_UNKNOWN_BYTES = 0x7FFF_F000
"""Programs that write WAV to a pipe put this (sox) or more (ffmpeg, arecord) where the length belongs."""


class _Reader(Protocol):
    """An opened sound file."""

    format: PcmFormat
    promised: int | None
    """Frames (one sample of every channel) that the header promises; None when it does not know."""

    def read(self, frames: int) -> Raw:
        """Return up to ``frames`` frames, fewer only at the end; shape ``(n, channels)``."""
        ...

    def close(self) -> None: ...


class _WavReader:
    """Integer PCM in RIFF, by :mod:`wave`."""

    def __init__(self, path: Path) -> None:
        self._wave = wave.open(str(path), "rb")  # noqa: SIM115 - closed by close()
        self._width = self._wave.getsampwidth()
        if self._width > _WIDEST_BYTES:
            self._wave.close()
            raise wave.Error(f"its samples have {8 * self._width} bits, expected at most 32")
        encoding = "u8" if self._width == 1 else f"s{8 * self._width}"
        self.format = PcmFormat(encoding, self._wave.getnchannels(), self._wave.getframerate())
        promised = self._wave.getnframes()
        whole = promised * self._width * self.format.channels
        self.promised = None if whole >= _UNKNOWN_BYTES > path.stat().st_size else promised

    def read(self, frames: int) -> Raw:
        data = self._wave.readframes(frames)
        per_frame = self._width * self.format.channels
        data = data[: len(data) // per_frame * per_frame]  # a file may be cut inside a frame
        return _decode(data, self._width).reshape(-1, self.format.channels)

    def close(self) -> None:
        self._wave.close()


class _SndfileReader:
    """FLAC, OGG, float WAV and more, by libsndfile."""

    def __init__(self, path: Path) -> None:
        soundfile = import_extra("soundfile", "recording", f"reading {path.name}")
        self._error: type[Exception] = soundfile.LibsndfileError
        try:
            self._file = soundfile.SoundFile(str(path))
        except self._error as error:
            raise _unreadable(path, str(error).partition(": ")[2] or str(error)) from None
        subtype = str(self._file.subtype)
        encoding, self._dtype = _SUBTYPES.get(subtype, (subtype.lower(), "float64"))
        self.format = PcmFormat(encoding, self._file.channels, self._file.samplerate)
        # lossy formats only estimate their length
        self.promised = int(self._file.frames) if subtype in _SUBTYPES else None

    def read(self, frames: int) -> Raw:
        try:
            data: Raw = self._file.read(frames, dtype=self._dtype, always_2d=True)
        except self._error:  # a damaged FLAC block: what follows is lost, as if the file ended here
            return np.empty((0, self.format.channels), np.int16)
        return data

    def close(self) -> None:
        self._file.close()


_SUBTYPES = {
    "PCM_16": ("s16", "int16"),
    "PCM_U8": ("u8", "int32"),
    "PCM_S8": ("s8", "int32"),
    "PCM_24": ("s24", "int32"),
    "PCM_32": ("s32", "int32"),
}


def _decode(data: bytes, width: int) -> npt.NDArray[Any]:
    """Return little-endian samples of ``width`` bytes as a flat array of a type that Raw names."""
    if width == 1:
        return np.frombuffer(data, np.uint8)
    if width == 2:
        return np.frombuffer(data, "<i2").astype(np.int16, copy=False)
    if width == 4:
        return np.frombuffer(data, "<i4").astype(np.int32, copy=False)
    wide = np.zeros((len(data) // 3, 4), np.uint8)  # 24 bits, left-justified in 32
    wide[:, 1:] = np.frombuffer(data, np.uint8).reshape(-1, 3)
    return wide.view("<i4")[:, 0].astype(np.int32, copy=False)


def _open(path: Path) -> _Reader:
    """Open a sound file with what can read it.

    Raises:
        InputError: AUDIO_UNREADABLE.
        LinkError: SOURCE_MISSING, or the disk fails.
        DeviceError: EXTRA_MISSING.
    """
    try:
        if path.suffix.lower() != ".wav":
            path.stat()  # libsndfile does not say whether the file is missing or bad
            return _checked(_SndfileReader(path), path)
        try:
            return _checked(_WavReader(path), path)
        except (EOFError, RuntimeError):  # RuntimeError: a chunk says that it ends behind the file
            raise _unreadable(path, "it ends inside its header") from None
        except wave.Error as error:
            return _other_wav(path, str(error))
    except FileNotFoundError:
        raise LinkError(Reason.SOURCE_MISSING, f"{path} does not exist", hint="check the path") from None
    except OSError as error:
        raise disk_error(error, f"read {path}") from error


def _other_wav(path: Path, why: str) -> _Reader:
    """Open what :mod:`wave` refuses: float and extensible WAV are fine, other files are not."""
    with path.open("rb") as file:
        head = file.read(12)
    if not (head.startswith((b"RIFF", b"RF64")) and head[8:] == b"WAVE"):
        raise _unreadable(path, "it does not begin as a WAV file does")
    if "unknown format" not in why:
        raise _unreadable(path, why)
    return _checked(_SndfileReader(path), path)


def _checked(reader: _Reader, path: Path) -> _Reader:
    if reader.promised != 0 and reader.format.channels and 1_000 <= reader.format.rate_hz <= 1_000_000:
        return reader
    reader.close()
    if reader.promised == 0:
        raise _unreadable(path, "its header says that it holds no samples")
    raise _unreadable(path, f"{reader.format.channels} channels at {reader.format.rate_hz} Hz is no sound")


def _unreadable(path: Path, why: str) -> InputError:
    return InputError(
        Reason.AUDIO_UNREADABLE,
        f"{path} cannot be read as sound: {why.rstrip('.')}",
        hint="expected a whole WAV, FLAC or other file that libsndfile reads",
    )


class AudioFile:
    """A sound file as a stream of blocks, int16 mono at the bundle's rate."""

    modality: Modality = "microphone"
    live = False

    def __init__(self, path: Path, rate_hz: int, block_samples: int = DEFAULT_BLOCK_SAMPLES) -> None:
        """Open ``path``; blocks hold ``block_samples`` samples, the last one what is left.

        Raises:
            InputError: AUDIO_UNREADABLE.
            LinkError: SOURCE_MISSING, or the disk fails.
            DeviceError: EXTRA_MISSING.
        """
        self._path = path
        self._rate_hz = rate_hz
        self._block_samples = block_samples
        self._reader = _open(path)
        self._converter = Converter(self._reader.format, rate_hz)
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
        }

    def conversion(self) -> dict[str, Any] | None:
        """Return the declared conversion, if the samples need one."""
        return self._converter.declaration()

    def __iter__(self) -> Generator[Item, None, None]:
        """Yield the blocks; a file that is cut off ends with a notice, a gap and an error."""
        position = 0
        try:
            for samples in _blocks(self._converted(), self._block_samples):
                if self._stopped:
                    return
                yield AudioBlock(samples, position, samples_to_ns(position, self._rate_hz), self._rate_hz)
                position += len(samples)
        finally:
            self._reader.close()
        promised, found_hz = self._reader.promised, self._reader.format.rate_hz
        if promised is None or self._frames >= promised:
            return
        from_ns, to_ns = samples_to_ns(position, self._rate_hz), promised * NS_PER_S // found_hz
        counts = {"frames": self._frames, "promised_frames": promised}
        yield Notice("truncated", position, from_ns, counts)
        yield Gap(from_ns, max(from_ns, to_ns), "truncated")
        raise InputError(
            Reason.AUDIO_TRUNCATED,
            f"{self._path} is cut off: it holds {self._frames} of the {promised} samples its header promises",
            hint="record or copy it again; galago replay decides on what is there",
        )

    def summary(self) -> dict[str, Any]:
        """Return how many frames (samples per channel) the file held and how many it promised."""
        return {"frames": self._frames, "promised_frames": self._reader.promised}

    def stop(self) -> None:
        """End after the current block."""
        self._stopped = True

    def _converted(self) -> Iterator[npt.NDArray[np.int16]]:
        more = True
        while more:
            raw = self._reader.read(_READ_FRAMES)
            self._frames += len(raw)
            more = len(raw) == _READ_FRAMES
            yield self._converter.convert(raw, last=not more)


def _blocks(chunks: Iterable[npt.NDArray[np.int16]], size: int) -> Iterator[npt.NDArray[np.int16]]:
    """Cut the concatenation of ``chunks`` into pieces of ``size``, the last one shorter."""
    rest = np.empty(0, np.int16)
    for chunk in chunks:
        rest = np.concatenate((rest, chunk))
        whole = len(rest) // size * size
        for start in range(0, whole, size):
            yield rest[start : start + size]
        rest = rest[whole:]
    if len(rest):
        yield rest


def read_audio(path: Path, rate_hz: int) -> npt.NDArray[np.int16]:
    """Return a whole sound file, converted as a stream of it would be; shape ``(n,)``.

    Raises:
        InputError: AUDIO_UNREADABLE, AUDIO_TRUNCATED.
        LinkError: SOURCE_MISSING, or the disk fails.
        DeviceError: EXTRA_MISSING.
    """
    blocks = [item.samples for item in AudioFile(path, rate_hz) if isinstance(item, AudioBlock)]
    return np.concatenate(blocks) if blocks else np.empty(0, np.int16)
