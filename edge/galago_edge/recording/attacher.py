"""Watches one stream beside its decisions, and hands the picture or the sound of each event to the folder."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from galago_edge.contract.manifest import AudioPreprocess, Preprocess
from galago_edge.contract.records import EventRecord, Record
from galago_edge.contract.streams import NS_PER_S, AudioBlock, Frame, Gap, Item, samples_to_ns
from galago_edge.recording.attachment_folder import AttachmentCandidate, AttachmentFolder
from galago_edge.recording.rings import SoundRing
from galago_edge.recording.sample_media import bare_jpeg_bytes, wav_bytes

_MINUTE_NS = 60 * NS_PER_S
_FAULT = "a fault of galago itself"


class Attacher:
    """The attachments of one stream. Used by the stream's thread; neither waits nor raises.

    For each item: first ``item``, then the stream decides, and when its records went out they go to ``told``.
    """

    def __init__(self, folder: AttachmentFolder, stream: str, spec: Callable[[], Preprocess]) -> None:
        """Attach to the events of ``stream``; ``spec`` says what the bundle that decides now sees."""
        self._folder = folder
        self._stream = stream
        media: _Pictures | _Sounds = (
            _Sounds(folder, spec) if isinstance(spec(), AudioPreprocess) else _Pictures(folder)
        )
        self._media = media
        self._recent: deque[int] = deque()
        """Stream times of the attachments of the last minute."""
        self._broken = False

    def item(self, item: Item) -> None:
        """Take the next item of the source, before the stream decides on it."""
        self._guarded(self._media.item, item)

    def told(self, records: Sequence[Record]) -> None:
        """Take the records that the last item led to, when they are on their way."""
        for record in records:
            if isinstance(record, EventRecord) and self._wanted(record):
                self._guarded(self._event, record)

    def close(self) -> None:
        """Hand over what waits for the seconds behind it, as it is."""
        self._guarded(lambda _: self._media.flush(), None)

    def _guarded(self, take: Callable[[Any], None], what: Any) -> None:
        if self._broken:
            if isinstance(what, EventRecord):
                self._folder.skip("failed")
            return
        try:
            take(what)
        except Exception as error:  # noqa: BLE001 - a picture is never worth a stream
            self._broken = True
            told = f"{type(error).__name__}: {error}, {_FAULT}"
            self._folder.skip("failed", f"stream {self._stream} attaches no more: {told}")

    def _wanted(self, event: EventRecord) -> bool:
        labels = self._folder.settings.labels
        return not labels or event.label in labels

    def _event(self, event: EventRecord) -> None:
        recent = self._recent
        while recent and event.end_ns - recent[0] >= _MINUTE_NS:
            recent.popleft()
        if len(recent) >= self._folder.settings.per_minute:
            self._folder.skip("rate")
            return
        recent.append(event.end_ns)
        self._media.event(event)


class _Pictures:
    """The newest frame of a camera."""

    def __init__(self, folder: AttachmentFolder) -> None:
        self._folder = folder
        self._newest: Frame | None = None

    def item(self, item: Item) -> None:
        if isinstance(item, Frame):
            self._newest = item
        elif isinstance(item, Gap):
            self._newest = None

    def event(self, event: EventRecord) -> None:
        frame = self._newest
        if frame is None or frame.index != event.end_index - 1:
            self._folder.skip("missed")
            return
        content = partial(bare_jpeg_bytes, frame, self._folder.settings.max_width)
        at_ns = frame.captured_ns
        self._folder.offer(AttachmentCandidate(event, "image/jpeg", content, at_ns, at_ns))

    def flush(self) -> None:
        """Do nothing: a picture is complete at once."""


@dataclass(frozen=True, slots=True)
class _Pending:
    """An event whose sound is not complete yet, all in samples."""

    event: EventRecord
    start: int
    window: int
    """Where its deciding window begins."""
    end: int
    """Behind the last sample that is wanted."""


class _Sounds:
    """The newest samples of a microphone, and the events that wait for those behind them."""

    def __init__(self, folder: AttachmentFolder, spec: Callable[[], Preprocess]) -> None:
        self._folder = folder
        self._spec = spec
        self._rate = self._now().sample_rate_hz
        self._before = round(folder.settings.before_s * self._rate)
        self._after = round(folder.settings.after_s * self._rate)
        self._capacity = self._needed()
        self._ring = SoundRing(self._capacity)
        self._pending: deque[_Pending] = deque()

    def item(self, item: Item) -> None:
        if isinstance(item, Gap):
            self.flush()
            self._ring.forget()
        elif isinstance(item, AudioBlock):
            if item.first_sample != self._ring.end:
                self.flush()
            self._grow()
            self._ring.push(item)
            while self._pending and self._pending[0].end <= self._ring.end:
                self._offer(self._pending.popleft())

    def event(self, event: EventRecord) -> None:
        window = event.end_index - self._now().window_samples
        self._pending.append(_Pending(event, window - self._before, window, event.end_index + self._after))
        if self._pending[0].end <= self._ring.end:
            self._offer(self._pending.popleft())

    def flush(self) -> None:
        """Hand over what there is: nothing more comes that belongs to it."""
        while self._pending:
            self._offer(self._pending.popleft())

    def _now(self) -> AudioPreprocess:
        spec = self._spec()
        assert isinstance(spec, AudioPreprocess)  # no bundle takes over on another kind of source
        return spec

    def _needed(self) -> int:
        """Return how many samples must be at hand: all of an event's, and some that came meanwhile."""
        spec = self._now()
        hop = spec.hop_frames * spec.frame_hop_samples
        return self._before + spec.window_samples + self._after + hop + self._rate

    def _grow(self) -> None:
        """Make room for the longer windows of a bundle that has taken over."""
        if (needed := self._needed()) > self._capacity:
            start, kept = self._ring.cut(0, self._ring.end)
            self._capacity, self._ring = needed, SoundRing(needed)
            self._ring.push(AudioBlock(kept, start, 0, self._rate))

    def _offer(self, pending: _Pending) -> None:
        event = pending.event
        start, samples = self._ring.cut(pending.start, pending.end)
        if not len(samples) or start > pending.window:
            self._folder.skip("missed")
            return
        behind = start + len(samples) - event.end_index
        self._folder.offer(
            AttachmentCandidate(
                event,
                "audio/wav",
                partial(wav_bytes, samples, self._rate),
                event.end_ns - samples_to_ns(event.end_index - start, self._rate),
                event.end_ns + samples_to_ns(behind, self._rate),
            )
        )
