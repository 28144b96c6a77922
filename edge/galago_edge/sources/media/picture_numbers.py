"""Whether an H.264 picture leans on one that never came.

Where a whole picture is lost (a camera over UDP, a recording of one), FFmpeg copies another in its place and
calls what is decoded from it whole. The stream itself says better: reference pictures are numbered
(``frame_num``, ITU-T H.264, 7.4.3), and the numbers follow one another unless the stream allows holes.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

_START = b"\x00\x00\x01"
_SLICE, _KEY_SLICE, _SPS, _PPS = 1, 5, 7, 8
_WITH_CHROMA = frozenset({100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135})
"""Profiles whose parameter sets say more of colour."""
_HEAD_BYTES = 4_096
"""Parameter sets and the first slice's head are mostly in so many; behind a long message all is read."""
_SLICE_HEAD_BYTES = 32


class PictureNumbers:
    """Follows the numbers of one stream's reference pictures, in the order of decoding.

    A picture that resets the numbers by a command (``memory_management_control_operation`` 5, which no camera
    known to us sends) is taken for a hole.
    """

    def __init__(self, extradata: bytes | None) -> None:
        """Begin; ``extradata`` are the codec's, with parameter sets if the container keeps them apart."""
        data = extradata or b""
        self._length_bytes = (data[4] & 3) + 1 if len(data) > 6 and data[0] == 1 else 0
        self._sets: dict[int, tuple[int, bool, bool]] = {}
        """By their number: bits of ``frame_num``, whether holes are allowed, whether colours are apart."""
        self._set_of: dict[int, int] = {}
        self._last: int | None = None
        for unit in _config_units(data) if self._length_bytes else _units(data, 0):
            self._learn(unit)

    def begin_again(self) -> None:
        """Forget the number of the last picture: what comes next does not lean on it."""
        self._last = None

    def follows(self, packet: Any) -> bool:
        """Take the next packet; False when reference pictures before it are missing."""
        view = memoryview(packet)
        for size in (_HEAD_BYTES, len(view)):
            for unit in _units(bytes(view[:size]), self._length_bytes):
                if unit[0] & 31 not in (_SLICE, _KEY_SLICE):
                    self._learn(unit)
                elif len(unit) >= _SLICE_HEAD_BYTES or size >= len(view):
                    return self._numbered(unit)
            if size >= len(view):
                break
        return True

    def _numbered(self, unit: bytes) -> bool:
        try:
            bits = _Bits(unit[1:_SLICE_HEAD_BYTES])
            bits.number()  # first macroblock
            bits.number()  # kind of slice
            width, holes, apart = self._sets[self._set_of[bits.number()]]
            bits.take(2 if apart else 0)
            number = bits.take(width)
        except (KeyError, ValueError):
            self._last = None  # the decoder will say what is wrong with it; what comes next has other numbers
            return True
        last, key = self._last, unit[0] & 31 == _KEY_SLICE
        if unit[0] >> 5 & 3:  # others may lean on it
            self._last = number
        return key or holes or last is None or (number - last) % (1 << width) <= 1

    def _learn(self, unit: bytes) -> None:
        kind = unit[0] & 31
        try:
            if kind == _SPS:
                number, *found = _parameters(_Bits(unit[1:]))
                self._sets[number] = found[0], bool(found[1]), bool(found[2])
            elif kind == _PPS:
                bits = _Bits(unit[1:_SLICE_HEAD_BYTES])
                number = bits.number()
                self._set_of[number] = bits.number()
        except ValueError:
            pass  # cut off: as above


def _parameters(bits: _Bits) -> tuple[int, int, int, int]:
    """Return of a sequence parameter set: number, bits of ``frame_num``, holes allowed, colours apart."""
    profile = bits.take(8)
    bits.take(16)
    number, apart = bits.number(), 0
    if profile in _WITH_CHROMA:
        chroma = bits.number()
        apart = bits.take(1) if chroma == 3 else 0
        bits.number(), bits.number()  # depths
        bits.take(1)
        if bits.take(1):
            for index in range(12 if chroma == 3 else 8):
                if bits.take(1):
                    _skip_scaling(bits, 16 if index < 6 else 64)
    width = bits.number() + 4
    order = bits.number()
    if order == 0:
        bits.number()
    elif order == 1:
        bits.take(1)
        bits.number(), bits.number()
        for _ in range(bits.number()):
            bits.number()
    bits.number()  # reference pictures
    return number, width, bits.take(1), apart


def _skip_scaling(bits: _Bits, size: int) -> None:
    last = after = 8
    for _ in range(size):
        if after:
            code = bits.number()
            after = (last + (-(code // 2) if code % 2 == 0 else code // 2 + 1)) % 256
        last = after or last


class _Bits:
    """Reads the bits of a unit, without the bytes that keep start codes out of it."""

    def __init__(self, data: bytes) -> None:
        data = data.replace(b"\x00\x00\x03", b"\x00\x00")
        self._value = int.from_bytes(data, "big")
        self._left = 8 * len(data)

    def take(self, count: int) -> int:
        if count > self._left:
            raise ValueError("no more bits")
        self._left -= count
        return self._value >> self._left & ((1 << count) - 1)

    def number(self) -> int:
        """Return the next Exp-Golomb code, unsigned."""
        zeros = 0
        while not self.take(1):
            zeros += 1
            if zeros > 32:
                raise ValueError("no number")
        return (1 << zeros) - 1 + self.take(zeros)


def _units(data: bytes, length_bytes: int) -> Iterator[bytes]:
    """Yield what lies between start codes, or behind lengths of so many bytes; the last may be cut off."""
    if length_bytes:
        at = 0
        while at + length_bytes < len(data):
            size = int.from_bytes(data[at : at + length_bytes], "big")
            at += length_bytes
            if size:
                yield data[at : at + size]
            at += size
        return
    at = data.find(_START)
    while at >= 0:
        end = data.find(_START, at + 3)
        unit = data[at + 3 : end if end >= 0 else len(data)]
        if unit:
            yield unit
        at = end


def _config_units(data: bytes) -> Iterator[bytes]:
    """Yield the parameter sets of ``avcC`` (ISO/IEC 14496-15)."""
    at, left = 6, data[5] & 31
    for _ in range(2):
        for _ in range(left):
            size = int.from_bytes(data[at : at + 2], "big")
            if size:
                yield data[at + 2 : at + 2 + size]
            at += 2 + size
        left = data[at] if at < len(data) else 0
        at += 1
