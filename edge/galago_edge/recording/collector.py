"""Watches one stream beside its decisions and hands what a human should label to the samples folder."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy.typing as npt

from galago_edge.contract.bundle_identity import BundleIdentity
from galago_edge.contract.manifest import AudioPreprocess, Label
from galago_edge.contract.streams import NS_PER_S, AudioBlock, Frame, Gap, Item, Notice, Span, WindowSeen
from galago_edge.decision import ONE
from galago_edge.host.plugins import fault_of
from galago_edge.recording.rings import ROLL_PICTURES, PictureRing, SoundRing
from galago_edge.recording.sample_folder import SampleCandidate, SampleFolder
from galago_edge.recording.sample_media import Media, PictureMedia, SoundMedia
from galago_edge.recording.triggers import Found, Triggers

_PENDING = 4
"""So many samples may wait for their post-roll; one more and the oldest goes without the rest of it."""
_BEST = 10
"""So many labels' scores stand in a sidecar."""
_DIGITS = 6


@dataclass(slots=True)
class _Pending:
    """A sample whose post-roll is still to come."""

    found: Found
    media: Media
    span: Span
    due: int
    """Nanoseconds of the last picture, or index behind the last sample."""


class SampleCollector:
    """The samples of one stream. Used by the stream's thread; ``item`` and ``window`` neither wait nor raise.

    For each item: first ``item``, then the stream decides and its windows go to ``window``.
    """

    def __init__(
        self,
        folder: SampleFolder,
        stream: str,
        bundle: BundleIdentity,
        *,
        labels: Sequence[Label] | None = None,
    ) -> None:
        """Collect for ``stream``, which decides with ``bundle``.

        ``labels``: the manifest's, with this device's thresholds, where they differ.
        """
        manifest = bundle.manifest
        self._folder = folder
        self._stream = stream
        self._bundle = bundle
        self._labels = tuple(labels if labels is not None else manifest.labels)
        self._triggers = Triggers(folder.settings, self._labels, manifest.decision.activation)
        self._firsts: set[tuple[str, int]] = set()
        spec = manifest.preprocess.spec
        pre_s, post_s = folder.settings.pre_roll_s, folder.settings.post_roll_s
        self._rolls: _PictureRolls | _SoundRolls = (
            _SoundRolls(spec, pre_s, post_s)
            if isinstance(spec, AudioPreprocess)
            else _PictureRolls(pre_s, post_s)
        )
        self._pending: deque[_Pending] = deque()
        self._implausible: set[str] = set()
        self._broken = False

    def item(self, item: Item) -> None:
        """Take the next item of the source, before the stream decides on it."""
        self._guarded(self._item, item)

    def window(self, seen: WindowSeen) -> None:
        """Take what the stream made of one window of the last item."""
        self._guarded(self._window, seen)

    def status(self) -> dict[str, Any]:
        """Return what the folder of all streams says; see :meth:`SampleFolder.status`."""
        return self._folder.status()

    def close(self) -> None:
        """Hand over what waits for its post-roll, as it is. The folder stays open."""
        self._guarded(lambda _: self._flush(), None)

    def _guarded(self, take: Any, what: Any) -> None:
        if self._broken:
            return
        try:
            take(what)
        except Exception as error:  # noqa: BLE001 - a sample is never worth a stream
            self._broken = True
            self._folder.failed(f"stream {self._stream} collects no more: {fault_of(error)}")

    def _item(self, item: Item) -> None:
        if isinstance(item, Gap):
            self._flush()
            self._rolls.clear()
            self._triggers.reset()
        elif isinstance(item, Notice):
            self._notice(item)
        else:
            if self._rolls.jumps(item):
                self._flush()
            self._rolls.push(item)
            for pending in tuple(self._pending):
                pending.media = self._rolls.extended(pending.media, pending.span, item)
                if self._rolls.reached(pending.due):
                    self._pending.remove(pending)
                    self._offer(pending)

    def _notice(self, notice: Notice) -> None:
        """Keep nothing while the source shows what is not believed: a covered lens is no sample."""
        what = str(notice.detail.get("what", ""))
        if notice.state == "implausible":
            self._implausible.add(what)
        elif notice.state == "plausible":
            self._implausible.discard(what)

    def _window(self, seen: WindowSeen) -> None:
        self._rolls.decided(seen.span)
        if self._implausible:
            self._triggers.reset()
            return
        found = self._triggers.see(seen, self._is_first)
        if found is None:
            return
        span = found.window.span
        media = self._rolls.media(span)
        if media is None:
            return  # what it is about is gone already
        pending = _Pending(found, media, span, self._rolls.due(span))
        if self._rolls.reached(pending.due):
            self._offer(pending)
            return
        self._pending.append(pending)
        if len(self._pending) > _PENDING:
            self._offer(self._pending.popleft())

    def _is_first(self, label: int) -> bool:
        key = (self._folder.today(), label)
        if key in self._firsts:
            return False
        self._firsts = {first for first in self._firsts if first[0] == key[0]} | {key}
        return True

    def _offer(self, pending: _Pending) -> None:
        found = pending.found
        media, more = self._rolls.finished(pending.media, pending.span)
        self._folder.offer(
            SampleCandidate(
                bundle=self._bundle.manifest.bundle.name,
                label=self._labels[found.label].name,
                stream=self._stream,
                trigger=found.trigger,
                media=media,
                about=self._about(found.window) | more,
            )
        )

    def _about(self, seen: WindowSeen) -> dict[str, Any]:
        manifest, span = self._bundle.manifest, seen.span
        return {
            "bundle": self._bundle.id,
            "name": manifest.bundle.name,
            "version": manifest.bundle.version,
            "preprocess": manifest.preprocess.sha256,
            "start_index": span.start_index,
            "end_index": span.end_index,
            "start_ns": span.start_ns,
            "end_ns": span.end_ns,
            "scores": self._best(seen.scores),
            "smoothed": {} if seen.warm_up else self._best(seen.smoothed),
            "events": list(seen.fired),
        }

    def _best(self, scores: npt.NDArray[Any]) -> dict[str, float]:
        best = scores.argsort(kind="stable")[::-1][:_BEST].tolist()
        return {self._labels[index].name: round(int(scores[index]) / ONE, _DIGITS) for index in best}

    def _flush(self) -> None:
        while self._pending:
            self._offer(self._pending.popleft())


class _PictureRolls:
    """The frames around the newest windows of a camera."""

    def __init__(self, pre_s: float, post_s: float) -> None:
        self._ring = PictureRing(round(pre_s * NS_PER_S))
        self._post_ns = round(post_s * NS_PER_S)
        self._now_ns = 0
        self._newest: Frame | None = None
        self._decided: deque[Frame] = deque(maxlen=2)  # a flip is about the window before the last one

    def push(self, item: Frame | AudioBlock) -> None:
        if isinstance(item, Frame):
            if self._newest is not None:
                self._ring.push(self._newest)
            self._newest, self._now_ns = item, item.captured_ns

    def decided(self, span: Span) -> None:
        if self._newest is not None and self._newest.index == span.start_index:
            self._decided.append(self._newest)

    def media(self, span: Span) -> PictureMedia | None:
        for frame in self._decided:
            if frame.index == span.start_index:
                return PictureMedia(frame, tuple(self._ring.before(frame)))
        return None

    def jumps(self, item: Frame | AudioBlock) -> bool:
        """Tell whether something is missing before ``item`` that no post-roll may bridge."""
        return False  # frames stand for themselves

    def extended(self, media: Media, span: Span, item: Frame | AudioBlock) -> Media:
        """Return the media with ``item`` in the post-roll, if it is time for another picture."""
        if not isinstance(item, Frame) or not isinstance(media, PictureMedia):
            return media
        wanted_ns = span.end_ns + (self._post_ns // ROLL_PICTURES) * (len(media.after) + 1)
        if len(media.after) == ROLL_PICTURES or item.captured_ns < wanted_ns:
            return media
        return replace(media, after=(*media.after, item))

    def finished(self, media: Media, span: Span) -> tuple[Media, dict[str, Any]]:
        """Return what is to be kept, and what to say about it."""
        return media, {}

    def due(self, span: Span) -> int:
        return span.end_ns + self._post_ns

    def reached(self, due: int) -> bool:
        return self._now_ns >= due

    def clear(self) -> None:
        self._ring.clear()
        self._decided.clear()
        self._newest = None


class _SoundRolls:
    """The samples around the newest windows of a microphone."""

    def __init__(self, spec: AudioPreprocess, pre_s: float, post_s: float) -> None:
        self._spec = spec
        self._pre = round(pre_s * spec.sample_rate_hz)
        self._post = round(post_s * spec.sample_rate_hz)
        hop = spec.hop_frames * spec.frame_hop_samples
        # everything from the pre-roll of the window before the last one to the end of its post-roll
        self._ring = SoundRing(self._pre + spec.window_samples + hop + self._post + spec.sample_rate_hz)

    def push(self, item: Frame | AudioBlock) -> None:
        if isinstance(item, AudioBlock):
            self._ring.push(item)

    def decided(self, span: Span) -> None:
        """Do nothing: the ring holds every window that may still be asked for."""

    def media(self, span: Span) -> SoundMedia | None:
        _, window = self._ring.cut(span.start_index, span.end_index)
        if len(window) < span.end_index - span.start_index:
            return None
        return SoundMedia(self._spec, window, window)

    def jumps(self, item: Frame | AudioBlock) -> bool:
        """Tell whether samples are missing before ``item``."""
        return isinstance(item, AudioBlock) and item.first_sample != self._ring.end

    def extended(self, media: Media, span: Span, item: Frame | AudioBlock) -> Media:
        """Return the media as it is: what comes is in the ring, and cut once in the end."""
        return media

    def finished(self, media: Media, span: Span) -> tuple[Media, dict[str, Any]]:
        """Return the window with all the sound around it that is there by now, and where that begins."""
        assert isinstance(media, SoundMedia)
        start, around = self._ring.cut(span.start_index - self._pre, span.end_index + self._post)
        if start > span.start_index or len(around) < len(media.window):
            return media, {"context_start_index": span.start_index}
        return replace(media, around=around), {"context_start_index": start}

    def due(self, span: Span) -> int:
        return span.end_index + self._post

    def reached(self, due: int) -> bool:
        return self._ring.end >= due

    def clear(self) -> None:
        """Forget what came before a gap: the next block's jump does the same, and there may be none."""
        self._ring.forget()
