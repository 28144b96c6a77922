"""Packets of one picture stream become pictures, or damage where there is no picture that can be relied on.

What a decoder makes of damaged data depends on its threads and on the CPU. So one thread decodes, and every
picture from a damaged one up to the next key frame counts as damaged too. Whole H.264, HEVC, VP9 and the like
give the same bytes on every CPU; JPEG does when OpenCV decodes it, so FFmpeg does not.
"""

from __future__ import annotations

import contextlib
import errno
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from galago_edge.contract.errors import InputError, Reason
from galago_edge.sources.media.library import import_av
from galago_edge.sources.media.mpeg_numbers import MpegNumbers
from galago_edge.sources.media.picture_numbers import PictureNumbers
from galago_edge.sources.media.pictures import is_quarter_turn, to_bgr
from galago_edge.sources.still_image import decode_picture

_SHOW_DAMAGED = {"flags": "+output_corrupt"}
_CHECKED = {"ffv1": {"err_detect": "explode"}}
"""FFV1 has a checksum for each slice, and hides the slices that fail unless it is told not to."""
_IN_GROUPS = frozenset({"mpeg1video", "mpeg2video"})
_THEORA_HEAD = b"\x80"
"""Packets that begin so, or higher, describe the stream (Theora I, 6.1)."""
_ENTERED_ANYWHERE = frozenset({"h264", "hevc", "vvc", "vp9", "av1", "libdav1d"})
"""Codecs whose key frames may be other than pictures that lean on nothing (a gradual refresh)."""
_INTRA = 1
"""FFmpeg's ``AV_PICTURE_TYPE_I``; 0 is unknown."""
_HIDING = frozenset({"vp8", "vp9", "av1", "libdav1d"})
"""Codecs of which a packet may hold nothing to be shown."""
_TINY_BYTES = 16
_MOST_REORDERED = 16
"""So many pictures of later packets may be shown before one: as many as a decoder of H.264 or HEVC may hold
(ITU-T H.264, A.3.1; H.265, A.4.2). What the stream says is how many *earlier* ones may be shown after it."""
_MOST_DELAYED = 64
"""So many packets may wait for a verdict."""


@dataclass(frozen=True, slots=True)
class Rotation:
    """How a recording says that its pictures are to be turned: telephones do."""

    degrees: int
    """Counter-clockwise; 0 where it says nothing."""
    applied: bool
    """Whether the pixels are turned so."""


@dataclass(frozen=True, slots=True)
class Picture:
    """One decoded picture. It becomes pixels only where they are asked for: a camera's are mostly not."""

    converted: Callable[[], npt.NDArray[np.uint8]]
    """Makes :attr:`pixels`."""
    pts: int | None
    """Presentation time stamp in the stream's time base; None where the stream has none."""
    encoded: bytes | None = None
    """The JPEG that it was, if it was one."""
    damaged: bool = False
    """It may show something else than what was recorded; only with ``conceal``."""
    rotation: Rotation | None = None
    packet: int = 0
    """Number of the packet that it was decoded from, from 0; of JPEGs nobody asks."""

    @property
    def pixels(self) -> npt.NDArray[np.uint8]:
        """Shape ``(height, width, 3)``, BGR. To be asked for once.

        Raises:
            InputError: VIDEO_UNREADABLE; they have no exact way to BGR.
        """
        return self.converted()


@dataclass(frozen=True, slots=True)
class Damage:
    """A picture that was in the stream and cannot be relied on."""

    pts: int | None
    """As of a picture."""


@dataclass(slots=True, eq=False)
class _Sent:
    """A packet that the decoder was given, until it is known what it was worth."""

    number: int
    pts: int | None
    key: bool
    bad: bool
    behind_hole: bool = False
    """Packets before it are lost."""
    done: bool = False
    """Its picture came, or will not come."""
    given_up: bool = False
    judged: bool = False
    tiny: bool = False
    """It may just say that there is no picture, as MPEG-4 does behind two in one packet."""
    passed: int = 0
    """Pictures of later packets that came meanwhile."""


class PictureDecoder:
    """Decodes the packets of one stream, in their order, on one thread."""

    def __init__(
        self, stream: Any, name: str, *, largest_pixels: int, conceal: bool = False, prompt: bool = False
    ) -> None:
        """Prepare for ``stream``, an ``av.VideoStream`` of which nothing was decoded yet.

        ``name`` is for messages. With ``conceal``, damaged pictures are given too, as the decoder makes them,
        and marked: they differ between CPUs. With ``prompt``, for live streams, no picture waits for those
        that it may rely on and that are shown after it: pictures come one by one and not in bursts, and the
        few that are shown before a damaged one that they rely on are not noticed.

        Raises:
            InputError: VIDEO_UNREADABLE; a codec that cannot be decoded, or pictures of more than
                ``largest_pixels``.
        """
        self._name = name
        self._conceal = conceal
        self._prompt = prompt
        self._largest = largest_pixels
        context = stream.codec_context
        if context is None:
            raise _unreadable(name, "is of a codec that FFmpeg here cannot decode")
        self.codec: str = context.codec.canonical_name
        self._context = context
        self._errors: tuple[type[Exception], ...] = (import_av("reading video").error.FFmpegError,)
        self._jpeg = self.codec == "mjpeg"
        self._rotation: int | None = None
        """What the container of JPEGs states, once that is known."""
        self._check_size()
        if not self._jpeg:
            context.thread_count = 1
            context.thread_type = "NONE"
            context.copy_opaque = True
            options = {"max_pixels": str(largest_pixels), **_CHECKED.get(self.codec, {})}
            context.options = {**options, **(_SHOW_DAMAGED if conceal else {})}
        self._count = 0
        self._sent: deque[_Sent] = deque()
        self._frames: deque[tuple[_Sent, Any]] = deque()
        """Decoded pictures in the order in which they are shown."""
        self._lost: list[_Sent] = []
        """Packets without a picture, which belong between those that are shown."""
        self._chain = _Chain()
        self._hole = False
        self._numbers = PictureNumbers(context.extradata) if self.codec == "h264" else None
        self._groups = MpegNumbers() if self.codec in _IN_GROUPS else None
        self._shown_pts: int | None = None
        self._interlaced = False
        """Two packets may hold the two fields of one picture."""

    def decode(self, packet: Any, *, damaged: bool = False) -> Iterator[Picture | Damage]:
        """Take one packet; yield what is known by now, in the order of presentation.

        With ``damaged`` its container knows that some of it is missing or wrong.

        Raises:
            InputError: VIDEO_UNREADABLE; pixels that have no exact way to BGR, or too many of them.
        """
        if self._jpeg:
            yield self._jpeg_of(packet, damaged)
            return
        if self.codec == "theora" and bytes(memoryview(packet)[:1]) >= _THEORA_HEAD:
            self._learn(packet)
            return
        sent = _Sent(self._count, packet.pts, bool(packet.is_keyframe), damaged)
        sent.tiny = packet.size < _TINY_BYTES
        sent.behind_hole, self._hole = self._hole, False
        sent.done = bool(packet.is_discard)  # what an edit list leaves out is decoded and not shown
        if self._numbers is not None:
            sent.bad |= not self._numbers.follows(packet)
        if self._groups is not None:
            sent.bad |= not self._groups.follows(packet, delayed=bool(self._context.has_b_frames))
            if self._groups.reference_too:
                for other in self._sent:
                    other.bad |= not other.done
        packet.opaque = sent
        self._count += 1
        self._sent.append(sent)
        try:
            frames = self._context.decode(packet)
        except self._errors as error:
            if getattr(error, "errno", None) == errno.ENOMEM:
                raise MemoryError from None
            sent.bad = True  # its picture may come all the same, as far as it could be decoded
            frames = []
        self._take(frames)
        yield from self._known()

    def _learn(self, packet: Any) -> None:
        """Take the heads of another stream, chained behind the one before: they are no pictures."""
        with contextlib.suppress(*self._errors):  # the pictures behind them will show
            self._take(self._context.decode(packet))

    def expect_damage(self) -> None:
        """Tell it that packets before the next one are lost: what relies on them is damaged."""
        self._hole = True

    def flush(self) -> Iterator[Picture | Damage]:
        """Yield what is left when the stream has ended.

        Raises:
            InputError: As :meth:`decode`.
        """
        if self._jpeg:
            return
        try:
            frames = self._context.decode(None)
        except self._errors:
            frames = []
        self._take(frames)
        for sent in self._sent:
            self._give_up(sent)
        yield from self._known()
        yield from self._lost_before(None)

    def begin_again(self) -> None:
        """Prepare for another recording behind the one that was flushed: nothing in it leans on that."""
        if not self._jpeg:
            self._context.flush_buffers()
        self._chain = _Chain()
        self._shown_pts = None
        self._hole = False
        for numbers in (self._numbers, self._groups):
            if numbers is not None:
                numbers.begin_again()

    def _jpeg_of(self, packet: Any, damaged: bool) -> Picture | Damage:
        data = bytes(packet)
        if self._rotation is None:
            self._rotation = self._stated_rotation(packet)
        try:
            pixels, whole = decode_picture(data, self._name, largest_pixels=self._largest)
        except InputError:
            return Damage(packet.pts)
        damaged |= not whole
        if damaged and not self._conceal:
            return Damage(packet.pts)
        return Picture(lambda: pixels, packet.pts, data, damaged, Rotation(self._rotation, applied=False))

    def _stated_rotation(self, packet: Any) -> int:
        """Return what the container states of a JPEG: FFmpeg tells only with a picture that it decoded."""
        try:
            frames = self._context.decode(packet)
        except self._errors:
            return 0
        return int(frames[0].rotation) if frames else 0

    def _take(self, frames: list[Any]) -> None:
        for frame in frames:
            sent = frame.opaque
            if not isinstance(sent, _Sent):  # the decoder lost the mark
                sent = next((sent for sent in self._sent if not sent.done), None)
            if sent is None or sent.given_up:
                continue  # it was called lost already
            sent.done = True
            self._interlaced |= bool(frame.interlaced_frame)
            if frame.is_corrupt and sent.judged:
                self._chain.spoil(sent)
            sent.bad |= bool(frame.is_corrupt)
            sent.key |= bool(frame.key_frame)
            if self.codec not in _ENTERED_ANYWHERE and int(frame.pict_type) > _INTRA:
                sent.key = False  # some containers call every picture a key frame
            if self._prompt:
                self._judge(sent.number)
            self._frames.append((sent, frame))
            for other in self._sent:
                if self._is_between(other.pts, sent.pts):
                    self._give_up(other)  # it should have been shown before
                other.passed += other.number < sent.number
            self._shown_pts = sent.pts

    def _is_between(self, pts: int | None, shown: int | None) -> bool:
        """Tell whether a stamp lies between the last picture and the one that is shown now."""
        if pts is None or shown is None:
            return False
        return pts < shown and (self._shown_pts is None or pts > self._shown_pts)

    def _known(self) -> Iterator[Picture | Damage]:
        """Yield what needs no later packet to be judged."""
        most_passed = _MOST_REORDERED if self._context.reorder_depth else 0
        while self._sent:
            sent = self._sent[0]
            if not sent.done and (sent.passed > most_passed or len(self._sent) > _MOST_DELAYED):
                self._give_up(sent)
            if not sent.done:
                break
            self._judge(sent.number)
            self._sent.popleft()
        waiting = self._sent[0].number if self._sent and not self._prompt else self._count
        while self._frames and self._frames[0][0].number < waiting:
            sent, frame = self._frames.popleft()
            yield from self._lost_before(frame.pts)
            if sent.bad and not self._conceal:
                yield Damage(frame.pts)
                continue
            self._check_size()
            rotation = Rotation(int(frame.rotation), applied=is_quarter_turn(frame))
            converted = partial(to_bgr, frame, self._name)
            yield Picture(converted, frame.pts, None, sent.bad, rotation, sent.number)

    def _judge(self, number: int) -> None:
        """Say of every picture up to this one, in the order of decoding, whether it can be relied on."""
        for sent in self._sent:
            if sent.number > number:
                break
            if not sent.judged:
                sent.judged = True
                sent.bad = self._chain.bad(sent)

    def _give_up(self, sent: _Sent) -> None:
        """Say that a packet has no picture; without an error it does not make the following ones bad."""
        if not sent.done:
            sent.done = sent.given_up = True
            if sent.bad or not (sent.tiny or self.codec in _HIDING or self._interlaced):
                self._lost.append(sent)

    def _lost_before(self, pts: int | None) -> Iterator[Damage]:
        """Yield the damage that is shown before ``pts``; all of it with None."""
        gone = [sent for sent in self._lost if pts is None or sent.pts is None or sent.pts < pts]
        self._lost = [sent for sent in self._lost if not (pts is None or sent.pts is None or sent.pts < pts)]
        # those without a stamp stay in the order of decoding
        gone.sort(key=lambda sent: sent.number if sent.pts is None else sent.pts)
        for sent in gone:
            yield Damage(sent.pts)

    def _check_size(self) -> None:
        width, height = self._context.width, self._context.height
        if width * height > self._largest:
            raise _unreadable(
                self._name,
                f"has pictures of {width} x {height} pixels, expected at most {self._largest}",
            )


class _Chain:
    """Which pictures rely on a damaged one; asked in the order of decoding."""

    def __init__(self) -> None:
        self._broken = False
        self._broken_before = False
        """The same of the pictures before the last key frame."""
        self._key_pts: int | None = None
        self._begun = False

    def spoil(self, sent: _Sent) -> None:
        """Note that a picture is damaged of which that was not known when it was asked for."""
        if sent.pts is None or self._key_pts is None or sent.pts >= self._key_pts:
            self._broken = True
        else:
            self._broken_before = True

    def bad(self, sent: _Sent) -> bool:
        """Tell whether the picture of ``sent`` is damaged, or relies on a damaged one."""
        if not self._begun:
            self._begun = True
            self._broken = not sent.key  # what it relies on is not there
        self._broken |= sent.behind_hole
        if sent.key:
            self._broken_before, self._broken = self._broken, sent.bad
            self._key_pts = sent.pts
            return self._broken
        if sent.pts is not None and self._key_pts is not None and sent.pts < self._key_pts:
            # shown before its key frame: it relies on the pictures before that too, and no later one on it
            self._broken_before |= sent.bad
            return self._broken or self._broken_before
        self._broken |= sent.bad
        return self._broken


def _unreadable(name: str, what: str) -> InputError:
    return InputError(Reason.VIDEO_UNREADABLE, f"{name} {what}", hint="convert it: ffmpeg -i IN OUT.mp4")
