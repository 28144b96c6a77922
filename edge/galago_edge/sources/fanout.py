"""One capture for all streams that look at the same camera or listen to the same microphone."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from typing import Any

from galago_edge.contract.errors import InputError, Reason
from galago_edge.contract.manifest import AudioPreprocess, Preprocess
from galago_edge.contract.modality import Modality
from galago_edge.contract.status import SourceStatus
from galago_edge.contract.streams import NS_PER_S, AudioBlock, Frame, Gap, Item, Notice, samples_to_ns
from galago_edge.sources.live_buffer import ItemBuffer
from galago_edge.sources.placed_conversion import PlacedConversion
from galago_edge.sources.supervised_source import Supervised

_KEPT_FRAMES = 2
"""The frame that is next, and the one that is being captured."""
_KEPT_NS = 10 * NS_PER_S
_NS_PER_MS = 1_000_000


class Fanout:
    """Gives everything that a supervised source gives to every stream that subscribed.

    ``run`` belongs to one thread, each subscription to another. A stream that does not keep up loses the
    oldest, for itself alone.
    """

    def __init__(self, supervised: Supervised) -> None:
        self._supervised = supervised
        self._subscriptions: list[Subscription] = []
        self._listeners: list[Callable[[Item], None]] = []
        self._latest: Frame | None = None

    def subscribe(self, spec: Preprocess) -> Subscription:
        """Return the source of one stream, for a bundle's preprocessing. To be called before ``run``.

        Raises:
            InputError: SOURCE_MISMATCH; the bundle is for the other kind of source.
        """
        wanted: Modality = "microphone" if isinstance(spec, AudioPreprocess) else "camera"
        modality = self._supervised.modality
        if wanted != modality:
            name = self._supervised.status().name
            raise InputError(
                Reason.SOURCE_MISMATCH,
                f"the bundle is for a {wanted}, but source {name} is a {modality}",
                hint=f"give the stream a {wanted}, or another bundle",
            )
        subscription: Subscription
        if isinstance(spec, AudioPreprocess):
            subscription = SampleSubscription(self._supervised, spec.sample_rate_hz)
        else:
            subscription = FrameSubscription(self._supervised)
        self._subscriptions.append(subscription)
        return subscription

    def listen(self, take: Callable[[Item], None]) -> None:
        """Let ``take`` have everything too, in the capturing thread: it must neither wait nor raise.

        To be called before ``run``.
        """
        self._listeners.append(take)

    def run(self) -> None:
        """Hand out what the source gives until ``stop``; then every subscription ends."""
        failure: BaseException | None = None
        try:
            with closing(iter(self._supervised)) as items:
                for item in items:
                    if isinstance(item, Frame):
                        self._latest = item
                    for subscription in self._subscriptions:
                        subscription.put(item)
                    for take in self._listeners:
                        take(item)
        except BaseException as error:  # told to every stream, and raised again
            failure = error
            raise
        finally:  # whatever happens here, no stream must wait for ever
            for subscription in self._subscriptions:
                subscription.close(failure)

    def stop(self) -> None:
        """End the capture soon; what is buffered is still given."""
        self._supervised.stop()

    def status(self) -> SourceStatus:
        """Return how the source is now."""
        return self._supervised.status()

    def open_gap(self) -> Gap | None:
        """Return what is missing now and is not told yet, in stream time."""
        return self._supervised.open_gap()

    def latest(self) -> Frame | None:
        """Return the newest frame, for a preview; None before the first one and for a microphone."""
        return self._latest


class Subscription:
    """One stream's view of a source that others may share. A :class:`galago_edge.sources.source.Source`."""

    live = True

    def __init__(self, supervised: Supervised) -> None:
        self.modality: Modality = supervised.modality
        self._supervised = supervised
        self._buffer = ItemBuffer(_KEPT_FRAMES, _KEPT_NS)
        self._taken = 0
        self.missed: Callable[[int, int, int, int, str], None] | None = None
        """Told, in the stream's thread, which frames or samples of the source it did not take in time: first
        index, index behind the last, stream times between which they lie, and the cause of the Gap that
        comes of it, if one does."""

    @property
    def dropped(self) -> int:
        """Frames or samples that this stream did not take in time."""
        return self._buffer.dropped

    def put(self, item: Item) -> None:
        """Take over an item from the capturing thread. Never waits."""
        self._buffer.put(item)

    def close(self, failure: BaseException | None = None) -> None:
        """Let the stream end when it has taken what is there; ``failure`` is raised there."""
        self._buffer.close(failure)

    def description(self) -> dict[str, Any]:
        """Return what is known of the source."""
        return self._supervised.description()

    def conversion(self) -> dict[str, Any] | None:
        """Return how samples are converted; None when they are not."""
        return None

    def __iter__(self) -> Generator[Item, None, None]:
        """Yield items as they come, with a Gap wherever this stream lost some. To be called once.

        Raises:
            DeviceError: EXTRA_MISSING; an odd rate needs soxr, which is not installed.
        """
        try:
            yield from self._walk()
        finally:  # a stream that has ended must not collect what it will never take
            self._buffer.abandon()

    def _walk(self) -> Iterator[Item]:
        raise NotImplementedError

    def summary(self) -> dict[str, Any]:
        """Return how much came to this stream and what it lost of that; ``capture``: the same of its source.

        These are the figures of the status: ``dropped`` of the stream and of the source.
        """
        unit = "frames" if self.modality == "camera" else "samples"
        own = {f"captured_{unit}": self._taken + self.dropped, f"dropped_{unit}": self.dropped}
        return own | {"capture": self._supervised.summary()}

    def stop(self) -> None:
        """End this stream alone, when it has taken what is there."""
        self._buffer.close()


class FrameSubscription(Subscription):
    """Frames: the newest wins, which is a Gap only where the stream saw none for long."""

    def __init__(self, supervised: Supervised) -> None:
        super().__init__(supervised)
        self._gap_ns = supervised.settings.gap_ms * _NS_PER_MS

    def _walk(self) -> Iterator[Item]:
        seen_ns = next_index = 0
        for item in self._buffer:
            if isinstance(item, Frame) and self._buffer.dropped_before and self.missed is not None:
                cause = "drop" if item.captured_ns - seen_ns >= self._gap_ns else ""
                self.missed(next_index, item.index, seen_ns, item.captured_ns, cause)
            if isinstance(item, Frame):
                next_index = item.index + 1
            if isinstance(item, Gap):
                if item.from_ns - seen_ns >= self._gap_ns:
                    if self.missed is not None:  # which frames, the next one shows
                        self.missed(next_index, next_index, seen_ns, item.from_ns, "drop")
                    yield Gap(seen_ns, item.from_ns, "drop")
                seen_ns = item.to_ns
            elif isinstance(item, Frame):
                if self._buffer.dropped_before and item.captured_ns - seen_ns >= self._gap_ns:
                    yield Gap(seen_ns, item.captured_ns, "drop")
                seen_ns = item.captured_ns
                self._taken += 1
            yield item


class SampleSubscription(Subscription):
    """Samples at the bundle's rate; those that the stream did not take in time are a Gap ``overrun``."""

    def __init__(self, supervised: Supervised, rate_hz: int) -> None:
        super().__init__(supervised)
        self._rate_hz = rate_hz
        self._declaration: dict[str, Any] | None = None

    def conversion(self) -> dict[str, Any] | None:
        """Return the declared conversion; None before the device's rate is known: a Notice tells it then."""
        return self._declaration

    def _walk(self) -> Iterator[Item]:
        conversion: PlacedConversion | None = None
        end_ns = end_index = next_sample = 0
        for item in self._buffer:
            if isinstance(item, AudioBlock):
                if self._buffer.dropped_before and self.missed is not None:
                    cause = "overrun" if item.captured_ns > end_ns else ""
                    self.missed(next_sample, item.first_sample, end_ns, item.captured_ns, cause)
                next_sample = item.first_sample + len(item.samples)
            if isinstance(item, Notice):
                yield item
                continue
            from_ns = item.from_ns if isinstance(item, Gap) else item.captured_ns
            if conversion is not None and (isinstance(item, Gap) or from_ns > end_ns):
                yield from conversion.rest()
                end_index, conversion = conversion.next_index, None
            if from_ns > end_ns:
                if isinstance(item, Gap) and self.missed is not None:  # which samples, the next block shows
                    self.missed(next_sample, next_sample, end_ns, from_ns, "overrun")
                yield Gap(end_ns, from_ns, "overrun")
            if isinstance(item, AudioBlock):
                if conversion is None:
                    conversion = PlacedConversion(item, self._rate_hz, end_index)
                    yield from self._declared(conversion, item)
                self._taken += len(item.samples)
                end_ns = samples_to_ns(item.first_sample + len(item.samples), item.rate_hz)
                yield from conversion.convert(item)
            elif isinstance(item, Gap):
                end_ns = item.to_ns
                yield item
        if conversion is not None:
            yield from conversion.rest()

    def _declared(self, conversion: PlacedConversion, block: AudioBlock) -> Iterator[Notice]:
        declaration = conversion.declaration()
        if declaration is not None and declaration != self._declaration:
            yield Notice("converted", conversion.next_index, block.captured_ns, declaration)
        self._declaration = declaration
