"""Where packets of one stream of an MPEG transport stream are missing: by their own counters, from the file.

FFmpeg sees such a place too, but marks the picture before the damaged one, and calls the last picture damaged
where two recordings stand one behind the other (``cat a.ts b.ts``): the counters begin again there, and
nothing is missing.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
import numpy.typing as npt

from galago_edge.sources.file_content import TS_SYNC, transport_packet_bytes

_BLOCK_PACKETS = 4_096
_FIRST_BYTES = 1 << 16
"""So far from the beginning of a file its packets may begin."""
_PREFIX_BYTES = {192: 4}
"""Of M2TS: a time before each packet."""
_OPTIONAL_BYTES = ((0x10, 6), (0x08, 6), (0x04, 1))
"""Of an adaptation field: what is there with which flag (ISO/IEC 13818-1, 2.4.3.4)."""

_Rows = npt.NDArray[np.uint8]


class _Unit(NamedTuple):
    """One PES packet: a picture, mostly."""

    at: int
    damaged: bool
    """Some of it is missing, or was marked when it was received."""
    behind_loss: bool
    """Packets between it and the one before may be missing."""


class TransportLosses:
    """Looks at the packets of one stream, in step with whoever reads its pictures."""

    def __init__(self, path: Path, pid: int) -> None:
        """Prepare for the packets with the number ``pid``.

        Raises:
            OSError: The disk fails.
        """
        self._file: BinaryIO = path.open("rb")
        self._pid = pid
        self._units = self._read()
        self._next = next(self._units, None)
        self._now: _Unit | None = None

    def damage(self, at: int | None) -> tuple[bool, bool]:
        """Tell of the picture that begins in the packet at this byte whether it is damaged, and whether
        something before it is missing.

        One that begins inside a packet (``None``) shares the fate of the one before.

        Raises:
            OSError: The disk fails.
        """
        behind = False
        while at is not None and self._next is not None and self._next.at <= at:
            passed_over = self._now is not None and self._next.at < at and self._next.damaged
            self._now, self._next = self._next, next(self._units, None)
            behind |= self._now.behind_loss or passed_over
        return self._now is not None and self._now.damaged, behind

    def close(self) -> None:
        """Close the file. May be called twice."""
        self._file.close()

    def _read(self) -> Iterator[_Unit]:
        """Yield every unit of the stream."""
        at, damaged, behind = -1, False, False
        for begins, lost, marked, ended in self._events():
            if begins < 0:
                damaged = True
                continue
            if at >= 0:
                yield _Unit(at, damaged or (lost and not ended), behind)
            at, damaged, behind = begins, marked, lost
        if at >= 0:
            yield _Unit(at, damaged, behind)

    def _events(self) -> Iterator[tuple[int, bool, bool, bool]]:
        """Yield where a unit begins (-1: damage inside it), what is lost before it or marked in its first
        packet, and whether the packet before was the last one of its unit.
        """
        last, ended, torn = -1, False, False
        for at, rows, length in self._blocks():
            number = (rows[:, 1].astype(np.int32) & 0x1F) << 8 | rows[:, 2]
            kept = np.flatnonzero((number == self._pid) & (rows[:, 3] & 0x10 > 0))
            torn |= at < 0
            if not len(kept):
                continue
            ours = rows[kept]
            counters = (ours[:, 3] & 15).astype(np.int32)
            before = np.concatenate([[last], counters[:-1]])
            lost = ((before + 1) & 15 != counters) & ~_stated(ours)
            lost[0] = (lost[0] and last >= 0) or torn
            marked = ours[:, 1] & 0x80 > 0
            begins = ours[:, 1] & 0x40 > 0
            ends = np.concatenate([[ended], _filled(ours)])
            for index in np.flatnonzero(begins | lost | marked):
                where = abs(at) + int(kept[index]) * length if begins[index] else -1
                yield where, bool(lost[index]), bool(marked[index]), bool(ends[index])
            last, ended, torn = int(counters[-1]), bool(ends[-1]), False

    def _blocks(self) -> Iterator[tuple[int, _Rows, int]]:
        """Yield where packets begin, the packets in rows, and the bytes from one to the next.

        Where something else lies between the packets, the next ones begin at a negative place.
        """
        head = self._file.read(_FIRST_BYTES)
        found = ((skip, transport_packet_bytes(head[skip:])) for skip in range(len(head)))
        at, length = next((pair for pair in found if pair[1]), (0, 0))
        prefix, torn = _PREFIX_BYTES.get(length, 0), False
        while length:
            self._file.seek(at)
            data = np.frombuffer(self._file.read(_BLOCK_PACKETS * length), np.uint8)
            if len(data) < length:
                return
            rows = data[: len(data) // length * length].reshape(-1, length)[:, prefix:]
            wrong = np.flatnonzero(rows[:, 0] != TS_SYNC)
            good = int(wrong[0]) if len(wrong) else len(rows)
            if good:
                yield -at if torn else at, rows[:good], length
                torn = False
            at += good * length
            if good < len(rows):
                at += _next_sync(data[good * length :], length, prefix)
                torn = True


def _next_sync(data: _Rows, length: int, prefix: int) -> int:
    """Return where packets begin again: at two syncs in their distance; all of ``data`` without any."""
    synced = data[1 + prefix :] == TS_SYNC
    pairs = np.flatnonzero(synced[:-length] & synced[length:]) if len(synced) > length else synced[:0]
    return 1 + int(pairs[0]) if len(pairs) else max(1, len(data) - length)


def _stated(rows: _Rows) -> npt.NDArray[np.bool_]:
    """Tell which packets say themselves that the counter begins again."""
    stated: npt.NDArray[np.bool_] = (rows[:, 3] & 0x20 > 0) & (rows[:, 4] > 0) & (rows[:, 5] & 0x80 > 0)
    return stated


def _filled(rows: _Rows) -> npt.NDArray[np.bool_]:
    """Tell which packets are filled up, as the last ones of a unit are and no others."""
    size, flags = rows[:, 4].astype(np.int32), rows[:, 5]
    content = np.ones(len(rows), np.int32)
    for flag, count in _OPTIONAL_BYTES:
        content += count * (flags & flag > 0)
    with_more = flags & 0x03 > 0  # private data or an extension, of lengths of their own
    filled = (size == 0) | (~with_more & (size > content)) | ((size == 1) & (flags == 0))
    found: npt.NDArray[np.bool_] = (rows[:, 3] & 0x20 > 0) & filled
    return found
