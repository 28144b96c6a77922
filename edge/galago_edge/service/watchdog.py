"""Whether there is progress: captured, decided and handed on. The process manager is told only then."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from galago_edge.contract.settings import LimitsSettings
from galago_edge.contract.streams import NS_PER_S

_STALLED_S = 60.0
"""How long a disk may take for one batch of records; slow cards take seconds."""


@dataclass(frozen=True, slots=True)
class SourceProgress:
    """What changes while a source is captured, or tried."""

    name: str
    mark: tuple[int, ...]
    """Items, connections and failures so far."""
    patience_s: float
    """How long it may stay the same; longer than every pause of the supervision."""


@dataclass(frozen=True, slots=True)
class StreamProgress:
    """What a stream's thread is doing, on the monotonic clock; None while it waits for its source."""

    name: str
    deciding_since_ns: int | None
    emitting_since_ns: int | None


@dataclass(frozen=True, slots=True)
class Hang:
    """One window that takes too long."""

    stream: str
    for_s: float


class Watchdog:
    """Looks at everything that must move. Used by one thread."""

    def __init__(self, limits: LimitsSettings, clock_ns: Callable[[], int] = time.monotonic_ns) -> None:
        self._hang_ns = int(limits.hang_s * NS_PER_S)
        self._clock_ns = clock_ns
        self._marks: dict[str, tuple[tuple[int, ...], int]] = {}

    def hang(self, streams: Iterable[StreamProgress]) -> Hang | None:
        """Return the first stream whose model hangs: a thread inside native code cannot be ended."""
        now_ns = self._clock_ns()
        for stream in streams:
            since = stream.deciding_since_ns
            if since is not None and now_ns - since >= self._hang_ns:
                return Hang(stream.name, (now_ns - since) / NS_PER_S)
        return None

    def standstill(
        self, sources: Iterable[SourceProgress], streams: Iterable[StreamProgress], writing_s: float
    ) -> str | None:
        """Return what does not move although it should; None when all is well.

        A source that is away is no standstill as long as it is tried: a process that was restarted
        would find it away, too. ``writing_s``: for how long the records' writer has not come forward.
        """
        now_ns = self._clock_ns()
        for source in sources:
            before = self._marks.get(source.name)
            if before is None or before[0] != source.mark:
                self._marks[source.name] = (source.mark, now_ns)
            elif now_ns - before[1] > source.patience_s * NS_PER_S:
                return f"source {source.name} is neither captured nor tried"
        for stream in streams:
            since = stream.emitting_since_ns
            if since is not None and now_ns - since > self._hang_ns:
                return f"the records of stream {stream.name} are not taken"
        if writing_s > _STALLED_S:
            return "records are not written"
        return None
