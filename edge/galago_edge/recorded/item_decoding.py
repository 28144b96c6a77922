"""Messages of a recording become items of a stream: Galago's own, and those of other programs."""

from __future__ import annotations

import numpy as np

from galago_edge.contract.decoding import from_json
from galago_edge.contract.modality import Modality
from galago_edge.contract.streams import GAP_CAUSES, LATEST_NS, AudioBlock, Gap, Notice, samples_to_ns
from galago_edge.recorded.about import GAPS
from galago_edge.recorded.record_walk import StoredMessage
from galago_edge.recorded.stored_items import MarkMessage, Stored, StoredPicture, UnrecordedGap, is_key_unit
from galago_edge.recorded.well_known import (
    AUDIO,
    HIDDEN,
    KEY,
    KINDS,
    VIDEO,
    MessageError,
    WireMessage,
    decode_message,
)


def own_item(message: StoredMessage) -> Stored:
    """Return the item of a message that Galago wrote.

    Raises:
        MessageError: It makes no sense.
        msgspec.DecodeError: The same.
    """
    if message.channel.topic.startswith(GAPS):
        return _mark_item(from_json(message.data, type=MarkMessage))
    kind = KINDS.get(message.channel.schema)
    if kind is None:
        raise MessageError("of an unknown kind")
    wire = decode_message(kind, message.data)
    index, ns = wire.index, wire.time_ns
    if index is None or ns is None or not 0 <= index < LATEST_NS or not 0 <= ns < LATEST_NS:
        raise MessageError("it has no place in the stream")
    if kind is AUDIO:
        return _block(wire, index, ns)
    still = kind is not VIDEO
    return StoredPicture(
        index, ns, wire.format, wire.data, bool(wire.flags & HIDDEN), still or bool(wire.flags & KEY)
    )


def _mark_item(mark: MarkMessage) -> Stored:
    if not 0 <= mark.from_ns <= mark.to_ns < LATEST_NS or not 0 <= mark.ns < LATEST_NS:
        raise MessageError("its times cannot be")
    if mark.kind == "gap":
        if mark.cause not in GAP_CAUSES:
            raise MessageError("a gap without a cause")
        gap = Gap(mark.from_ns, mark.to_ns, mark.cause)
        return UnrecordedGap(gap, mark.lost_items) if mark.lost_items else gap
    if mark.kind != "notice" or not mark.state:
        raise MessageError("neither gap nor notice")
    return Notice(mark.state, mark.index, mark.ns, dict(mark.detail))


def _block(wire: WireMessage, first: int, ns: int) -> AudioBlock:
    """Return samples; those of several channels are their mean, as everywhere."""
    channels = wire.channels or 1
    if wire.format != "pcm-s16" or not 1 <= channels <= 64 or len(wire.data) % (2 * channels):
        raise MessageError("no 16-bit samples")
    if not 1_000 <= wire.rate_hz <= 1_000_000:
        raise MessageError("no rate of sound")
    samples = np.frombuffer(wire.data, "<i2").astype(np.int16)
    if channels > 1:
        total = samples.reshape(-1, channels).sum(axis=1, dtype=np.int64)
        samples = ((2 * total + channels) // (2 * channels)).astype(np.int16)  # pcm/2, step 2
    return AudioBlock(samples, first, ns, wire.rate_hz)


class ForeignClock:
    """Places the messages of another program by their log times, counted from the first."""

    def __init__(self, modality: Modality) -> None:
        self._modality = modality
        self._from_ns: int | None = None
        self._next = 0
        self._end_ns = 0
        self._rate_hz = 0

    def item(self, message: StoredMessage) -> list[Stored]:
        """Return the message's item, with the gap before it, if samples are missing there.

        Raises:
            MessageError: It makes no sense.
        """
        wire = decode_message(KINDS[message.channel.schema], message.data)
        if self._from_ns is None:
            self._from_ns = message.log_ns
        at_ns = message.log_ns - self._from_ns
        if at_ns >= LATEST_NS:
            raise MessageError("its time cannot be")
        if self._modality == "microphone":
            return self._sound(wire, at_ns)
        index, self._next = self._next, self._next + 1
        told: list[Stored] = []
        if at_ns < self._end_ns:  # told once for each: stream time never goes back
            told.append(Notice("stamps", index, self._end_ns, {"fault": "went back"}))
        self._end_ns = max(self._end_ns, at_ns)
        key = message.channel.schema != VIDEO.name or is_key_unit(wire.data)
        return [*told, StoredPicture(index, self._end_ns, wire.format, wire.data, key=key)]

    def _sound(self, wire: WireMessage, at_ns: int) -> list[Stored]:
        block = _block(wire, 0, 0)
        told: list[Stored] = []
        if self._rate_hz and self._rate_hz != block.rate_hz:
            self._next = -(-self._end_ns * block.rate_hz // 1_000_000_000)
        self._rate_hz = block.rate_hz
        by_clock = at_ns * block.rate_hz // 1_000_000_000
        if by_clock - self._next > max(len(block.samples) // 2, block.rate_hz // 50):
            from_ns = self._end_ns
            self._next = by_clock
            told.append(Gap(from_ns, samples_to_ns(by_clock, block.rate_hz), "missing"))
        first = self._next
        self._next += len(block.samples)
        self._end_ns = samples_to_ns(self._next, block.rate_hz)
        return [*told, AudioBlock(block.samples, first, samples_to_ns(first, block.rate_hz), block.rate_hz)]
