"""The sound of a stream from the network, in the child: packets become samples that are sent as they come."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import numpy.typing as npt
from msgspec import UNSET

from galago_edge.children.channel import MAX_PAYLOAD
from galago_edge.sources.capture.capture_messages import MicrophoneDescription, Overrun, Sound
from galago_edge.sources.capture.frame_server import ParentLink
from galago_edge.sources.media.sound_packets import raw_samples
from galago_edge.sources.sample_conversion import to_int16

_NS_PER_S = 1_000_000_000
_SAMPLE_BYTES = 2
_LEAST_HOLE_NS = 10_000_000
"""Stamps jitter by a millisecond where a container counts in them, and where a camera's clocks are set."""
_HOLE_SLACK_NS = 100_000_000
"""A hole in what arrives as it is made takes its time; what came early may hide so much of it."""


class SoundTrack:
    """Decodes one track and sends ``Sound``, and ``Overrun`` where its stamps show that samples are missing.

    Samples are counted; the stamps are only asked whether a packet follows on the one before. So clocks that
    drift lose nothing, and a lost packet is never taken for none.
    """

    def __init__(self, av: Any, link: ParentLink, track: Any, name: str, *, real_time: bool) -> None:
        """Send what ``track`` (``av.AudioStream``) gives; ``real_time``: as it is made, not ahead of it."""
        self._damaged: type[Exception] = av.FFmpegError
        self._link, self._name, self._real_time = link, name, real_time
        self._next = 0
        self._expected_ns: int | None = None
        self._end_ns = 0
        self._described = (0, 0)
        self.begin_again(track)

    def description(self) -> MicrophoneDescription:
        """Return how the stream describes it."""
        rate_hz, channels = self._described = self._format
        return MicrophoneDescription(name=self._name, rate_hz=rate_hz, channels=channels)

    def begin_again(self, track: Any) -> None:
        """Go on with the track of a file that begins again: nothing is missing in between."""
        self._context = track.codec_context
        self._context.thread_count = 1
        self._format = (int(self._context.sample_rate), int(self._context.layout.nb_channels))
        self._expected_ns = None

    def take(self, packet: Any, now_ns: int | None = None) -> None:
        """Send what a packet holds that came at ``now_ns``; one that cannot be decoded is a hole.

        Raises:
            ParentGoneError: Nobody listens.
        """
        now_ns = time.monotonic_ns() if now_ns is None else now_ns
        try:
            frames = packet.decode()
        except self._damaged:
            return
        for frame in frames:
            samples = samples_of(frame)
            if len(samples):
                self._send(samples, int(frame.sample_rate), _stamp_ns(frame), now_ns)

    def _send(self, samples: npt.NDArray[np.int16], rate_hz: int, stamp_ns: int | None, now_ns: int) -> None:
        duration_ns = len(samples) * _NS_PER_S // rate_hz
        captured_ns = max(now_ns - duration_ns, self._end_ns if not self._real_time else 0)
        lost = self._lost(stamp_ns, rate_hz, duration_ns, now_ns)
        if lost:
            self._next += lost
            self._link.tell(Overrun(from_ns=self._end_ns, to_ns=max(self._end_ns, captured_ns)))
        changed: dict[str, Any] = {"rate_hz": UNSET, "channels": UNSET}
        if (rate_hz, samples.shape[1]) != self._described:
            changed = {"rate_hz": rate_hz, "channels": samples.shape[1]}
        most = MAX_PAYLOAD // (_SAMPLE_BYTES * samples.shape[1])
        for at in range(0, len(samples), most):
            piece = samples[at : at + most]
            ns = captured_ns + at * _NS_PER_S // rate_hz
            self._link.tell(Sound(first_sample=self._next, captured_ns=ns, **changed), piece.tobytes())
            self._next += len(piece)
        self._end_ns = captured_ns + duration_ns
        if stamp_ns is None:  # only the first of those that came together has one
            stamp_ns = self._expected_ns
        if stamp_ns is not None:
            self._expected_ns = stamp_ns + duration_ns

    def _lost(self, stamp_ns: int | None, rate_hz: int, duration_ns: int, now_ns: int) -> int:
        """Return how many samples are missing before those of this stamp."""
        if stamp_ns is None or self._expected_ns is None:
            return 0
        hole_ns = stamp_ns - self._expected_ns
        if hole_ns < max(_LEAST_HOLE_NS, duration_ns // 2):
            return 0
        if self._real_time and hole_ns > now_ns - self._end_ns + _HOLE_SLACK_NS:
            return 0  # its clock was set
        return hole_ns * rate_hz // _NS_PER_S


def samples_of(frame: Any) -> npt.NDArray[np.int16]:
    """Return the samples of an ``av.AudioFrame`` as int16, shape ``(n, channels)``: step 1 of ``pcm/1``."""
    return np.ascontiguousarray(to_int16(raw_samples(frame, int(frame.layout.nb_channels))), "<i2")


def _stamp_ns(frame: Any) -> int | None:
    if frame.pts is None or frame.time_base is None:
        return None
    return int(frame.pts * frame.time_base * _NS_PER_S)
