"""Whether an MPEG-1 or MPEG-2 picture leans on one that never came.

Where a whole picture is lost, FFmpeg decodes the next one from another and says nothing. But pictures are
numbered in the order in which they are shown, from each group of pictures on (``temporal_reference``, ISO/IEC
13818-2, 6.3.9), and those between two references (B) come right behind the second.
"""

from __future__ import annotations

from typing import Any

_START = b"\x00\x00\x01"
_PICTURE, _GROUP = 0x00, 0xB8
_I, _B = 1, 3
_NUMBERS = 1024
_HEAD_BYTES = 4_096
"""What stands before a picture's own header is seldom longer; behind long user data all is read."""
_LATE = 0.75
"""Of the time between two pictures: a film shown on television has pauses of half of it."""


class MpegNumbers:
    """Follows the numbers of one stream's pictures, in the order of decoding.

    A number that is missing counts as a lost reference, except between the beginning of a group and its first
    reference: where a recording was cut, those are often left out. What is missing at the end of a group is
    seen only by the stamps of the first pictures of the next one, if these lean on it.
    """

    def __init__(self) -> None:
        """Begin before the first picture."""
        self.begin_again()

    def begin_again(self) -> None:
        """Forget everything: what comes next does not lean on it."""
        self._base = 0
        """Counted number of the first picture of this group."""
        self._number: int | None = None
        """Of the last packet, as it is written."""
        self._last: int | None = None
        """Counted number of the last reference."""
        self._due = 0
        """Counted number that comes next, if it is a B."""
        self._leading = False
        """Whether the last reference is the first one of its group."""
        self._stamp: int | None = None
        """Of the last reference."""
        self._tail: tuple[int, int] | None = None
        """Counted number and stamp of the last reference of the group before."""
        self._tick: float | None = None
        """From one picture to the next."""
        self.reference_too = False
        """Whether the reference before the last packet leans on a lost picture, too."""

    def follows(self, packet: Any, *, delayed: bool) -> bool:
        """Take the next packet; False when reference pictures before it are missing.

        ``delayed`` says that B may follow a reference, so that a jump of the number alone says nothing yet.
        """
        self.reference_too = False
        found = _heading(packet)
        if found is None:
            return True  # the decoder will say what is wrong with it
        number, kind, group = found
        if group or (kind == _I and self._goes_back(number)):
            self._begin_group()
        elif number == self._number:
            return True  # the other field of one picture
        self._number = number
        counted = self._base + number
        if kind == _B:
            return self._is_due(counted, packet.pts)
        return self._is_reference(counted, packet.pts, delayed)

    def _goes_back(self, number: int) -> bool:
        return self._last is not None and self._base + number < self._last

    def _begin_group(self) -> None:
        if self._last is None:
            return
        self._tail = None if self._stamp is None else (self._last, self._stamp)
        self._base = self._last + 1

    def _is_reference(self, counted: int, pts: int | None, delayed: bool) -> bool:
        last = self._last
        if last is None:
            self._last, self._due, self._stamp, self._leading = counted, counted, pts, True
            return True
        first = counted >= self._base > last
        step = counted - last
        # a stream without groups counts on, beyond the last number
        if step < -_NUMBERS // 2:
            self._base += _NUMBERS
            counted, step = counted + _NUMBERS, step + _NUMBERS
        complete = self._leading or self._due == last
        whole = step > 0 and (first or (complete and (step == 1 or delayed)))
        self.reference_too = not complete
        if not first and step > 0 and pts is not None and self._stamp is not None:
            self._tick = (pts - self._stamp) / step
        self._last, self._due, self._stamp, self._leading = counted, last + 1, pts, first
        return whole

    def _is_due(self, counted: int, pts: int | None) -> bool:
        """Tell whether a B has the number that is due, and whether both its references are there."""
        due, last = self._due, self._last
        if last is None or due > last:
            return True
        self._due = counted + 1
        if not self._leading:
            self.reference_too = counted != due
            return counted == due
        if counted >= last:
            self.reference_too = True
            return False
        return not self._is_late(counted, pts)

    def _is_late(self, counted: int, pts: int | None) -> bool:
        """Tell by its stamp whether something is missing between the group before and this B."""
        if self._tail is None or self._tick is None or pts is None:
            return False
        number, stamp = self._tail
        return pts > stamp + (counted - number + _LATE) * self._tick


def _heading(packet: Any) -> tuple[int, int, bool] | None:
    """Return number and kind of a packet's picture, and whether a group begins with it."""
    view = memoryview(packet)
    found = _heading_in(bytes(view[:_HEAD_BYTES]))
    return found if found is not None or len(view) <= _HEAD_BYTES else _heading_in(bytes(view))


def _heading_in(data: bytes) -> tuple[int, int, bool] | None:
    group = False
    at = data.find(_START)
    while 0 <= at < len(data) - 5:
        code = data[at + 3]
        if code == _PICTURE:
            return data[at + 4] << 2 | data[at + 5] >> 6, data[at + 5] >> 3 & 7, group
        group |= code == _GROUP
        at = data.find(_START, at + 3)
    return None
