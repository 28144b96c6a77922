"""Walks a source through a stream, to the end of either."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from typing import Protocol

from galago_edge.contract.errors import GalagoError, InputError, Reason
from galago_edge.contract.records import Record
from galago_edge.contract.streams import NS_PER_S, Item, Notice
from galago_edge.pipeline.stream import TooShort
from galago_edge.sources import Source
from galago_edge.sources.recording_part import RecordingPart

Emit = Callable[[Sequence[Record]], None]
"""Where records go; what it raises ends the walk at once."""
Batches = Generator[list[Record], None, GalagoError | None]
"""Records as they come, some at a time; at the end, the failure that ended them."""


class Decides(Protocol):
    """A :class:`~galago_edge.pipeline.DecidingStream`, or what stands for several, one after another."""

    def start(self, source: Source) -> list[Record]:
        """Return the first records."""
        ...

    def push(self, item: Item) -> list[Record]:
        """Return what the next item leads to."""
        ...

    def too_short(self) -> TooShort | None:
        """Return what was missing when not a single window was full."""
        ...

    def finish(self, source: Source, failure: GalagoError | None = None) -> list[Record]:
        """Return the last records."""
        ...


def drive(
    source: Source, stream: Decides, emit: Emit, whole: Callable[[], bool] = lambda: True
) -> GalagoError | None:
    """Push everything that ``source`` gives through ``stream`` and hand the records to ``emit``.

    When the source or the stream fails half-way, what came before is decided, the failure becomes the
    stream's last record and is returned: the records are whole all the same. ``whole``: see :func:`batches`.
    """
    with closing(batches(source, stream, whole)) as walk:
        return hand_on(walk, emit)


def hand_on(walk: Batches, emit: Emit) -> GalagoError | None:
    """Hand what :func:`batches` yields to ``emit``; return the failure that ended them."""
    while True:
        try:
            records = next(walk)
        except StopIteration as end:
            failure: GalagoError | None = end.value
            return failure
        emit(records)


def batches(source: Source, stream: Decides, whole: Callable[[], bool] = lambda: True) -> Batches:
    """Yield the records that each item of ``source`` leads to; return the failure that ended them.

    As :func:`drive`, for those who would rather pull. Asked at the end, ``whole`` tells whether the source
    has ended by itself and not because somebody stopped it: one without a single window is too short then.
    """
    yield stream.start(source)
    failure: GalagoError | None = None
    with closing(_decided(source, stream)) as decided:
        while True:
            try:
                records = next(decided, None)
            except GalagoError as error:
                failure = error
                break
            if records is None:
                break
            yield records
    if failure is None and whole() and (short := stream.too_short()) is not None:
        unit = "frames" if source.modality == "camera" else "samples"
        detail = {"found": short.found, "needed": short.needed, "unit": unit}
        yield stream.push(Notice("too_short", short.index, short.ns, detail))
        failure = _too_short(source, short, unit)
    yield stream.finish(source, failure)
    return failure


def _too_short(source: Source, short: TooShort, unit: str) -> InputError:
    said = source.description()
    name = str(said.get("name", "the recording"))
    if said.get("kind") == "pipe":
        name = "standard input"
    hint = "record longer, or use a bundle with a shorter window"
    if isinstance(source, RecordingPart):
        name = source.shown or name
    if "from_ns" in said or "to_ns" in said:
        from_ns, to_ns = said.get("from_ns", 0), said.get("to_ns")
        end = "its end" if to_ns is None else f"{to_ns / NS_PER_S:g} s"
        name = f"the part of {name} from {from_ns / NS_PER_S:g} s to {end}"
        hint = "choose a longer part, or use a bundle with a shorter window"
        if not short.found and from_ns:
            hint = "it may begin behind the end of the recording, or lie in a gap: choose another part"
    return InputError(
        Reason.SOURCE_TOO_SHORT,
        f"{name} holds {short.found} {unit} without a gap, expected at least {short.needed}, for one window",
        hint=hint,
    )


def _decided(source: Source, stream: Decides) -> Generator[list[Record], None, None]:
    with closing(iter(source)) as items:
        for item in items:
            if records := stream.push(item):
                yield records
