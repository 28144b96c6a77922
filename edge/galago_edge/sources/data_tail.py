"""What lies behind the samples that the header of a sound file states: chunks, padding, or samples.

Sizes of 32 bits begin anew at 4 GiB, recorders that are killed leave the size of a minute ago, and other
programs put tags and zeros behind the end. Nothing in a file says which of them it is, so what is taken for
samples, or might be some, is told.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import BinaryIO

WRAP_BYTES = 1 << 32
_READ_BYTES = 1 << 20
TAGS = (b"TAG", b"APETAGEX", b"ID3", b"LYRICSBEGIN")
"""How tags of other programs begin that know no chunks."""
_NO_SAMPLES = frozenset({b"LIST", b"id3 ", b"ID3 ", b"bext", b"iXML", b"axml", b"cue ", b"JUNK", b"_PMX"})
"""Chunks that may be cut off at the end of the file without any sample being lost."""
_RECORDINGS = frozenset({b"RIFF", b"RIFX", b"RF64", b"BW64", b"FORM"})
_CHUNK_HEAD_BYTES = 8

Chunks = Callable[[BinaryIO, int, int], Iterator[tuple[bytes, int, int]]]
"""Yields name, first byte and length of every chunk of a file from a place on; the third is its size."""


@dataclass(frozen=True, slots=True)
class DataTail:
    """Where the samples really end."""

    end: int
    """That of the stated length, or a multiple of 4 GiB behind it."""
    goes_on: bool
    """Whether samples follow up to the end of the file."""
    unclaimed: int
    """Bytes that might be samples, and are not taken for some."""
    recording: bool = False
    """Whether another recording is known to begin with them, or among them."""


def tail_of(
    file: BinaryIO,
    first: int,
    length: int,
    size: int,
    second_bytes: int,
    chunks: Chunks | None,
    *,
    wraps: bool,
) -> DataTail:
    """Look behind the ``length`` bytes from ``first`` on, which hold the samples.

    ``second_bytes`` is the size of a second of sound: less than that is not taken for a recording that goes
    on, unless no samples are stated at all. ``wraps`` says that the length has 32 bits.

    Raises:
        OSError: The disk fails.
    """
    end = first + length
    if wraps and size - end >= WRAP_BYTES:
        end += (size - end) // WRAP_BYTES * WRAP_BYTES
    at, others, recording = end, 0, False
    for start in (end + (end - first) % 2, end):  # some leave the padding byte out
        if chunks is not None:
            at, others, recording = _behind_chunks(file, start, size, chunks)
        if at > start:
            break
    if recording:
        return DataTail(end, False, others, True)
    rest = size - at
    if rest <= 1:  # padding
        return DataTail(end, False, others)
    if at > end + 1:
        return DataTail(end, False, others + (0 if _is_padding(file, at, rest, second_bytes) else rest))
    if length == 0:
        return DataTail(end, True, 0)
    if _is_padding(file, at, rest, second_bytes):
        return DataTail(end, False, 0)
    goes_on = rest >= second_bytes and not _all_zeros(file, at)
    return DataTail(end, goes_on, 0 if goes_on else rest)


def _behind_chunks(file: BinaryIO, at: int, size: int, chunks: Chunks) -> tuple[int, int, bool]:
    """Return where the last sensible chunk ends, how many bytes of samples are in them, and of what kind.

    Another recording is taken for one chunk, with everything behind it; the last value tells of it.
    """
    others = 0
    for name, first, length in chunks(file, at, size):
        fits = 0 <= length <= size + 1 - first
        if not (name.isascii() and name.decode("ascii").isprintable()) or not (fits or name in _NO_SAMPLES):
            break
        if name in _RECORDINGS:
            return size, others + size - first + _CHUNK_HEAD_BYTES, True
        at = min(size, first + length)
        if name in (b"data", b"SSND"):
            others += at - first
    return at, others, False


def _is_padding(file: BinaryIO, at: int, rest: int, second_bytes: int) -> bool:
    file.seek(at)
    head = file.read(16)
    return head.lstrip(b"\0").startswith(TAGS) or (rest < second_bytes and _all_zeros(file, at))


def _all_zeros(file: BinaryIO, at: int) -> bool:
    file.seek(at)
    while data := file.read(_READ_BYTES):
        if data.strip(b"\0"):
            return False
    return True
