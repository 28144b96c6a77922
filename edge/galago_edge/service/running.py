"""Runs several streams side by side until they end or somebody says stop."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from queue import SimpleQueue

from galago_edge.contract.errors import GalagoError
from galago_edge.pipeline.driving import Emit, drive
from galago_edge.service.preparing import PreparedStream
from galago_edge.sources import Source

Report = Callable[[str, GalagoError], None]
"""Told the name and the failure of a stream, as soon as it has failed."""

_Outcome = Future[GalagoError | None]


class Service:
    """One thread for each stream. A stream that fails does not stop the others; a sink that fails does."""

    def __init__(self, streams: Sequence[PreparedStream], emit: Emit) -> None:
        """Prepare to run ``streams``; ``emit`` is called by several threads and takes turns itself."""
        self._streams = streams
        self._emit = emit
        self._messages: SimpleQueue[_Outcome | None] = SimpleQueue()
        self._turn = threading.Lock()
        self._sources: list[Source] = []
        self._stopping = False

    def run(self, report: Report) -> list[GalagoError]:
        """Run every stream to its end and return the failures of those that failed.

        Raises:
            LinkError, BrokenPipeError: The sink failed; all streams were stopped then.
        """
        failures: list[GalagoError] = []
        broken: BaseException | None = None
        with ThreadPoolExecutor(len(self._streams), thread_name_prefix="stream") as pool:
            names = {pool.submit(self._run_one, stream): stream.config.name for stream in self._streams}
            for future in names:
                future.add_done_callback(self._messages.put)
            left = len(names)
            while left:
                outcome = self._messages.get()
                if outcome is None:
                    self._stop_sources()
                    continue
                left -= 1
                if (error := outcome.exception()) is not None:
                    broken = broken or error
                    self._stop_sources()
                elif (failure := outcome.result()) is not None:
                    failures.append(failure)
                    report(names[outcome], failure)
        if broken is not None:
            raise broken
        return failures

    def stop(self) -> None:
        """Let every stream finish what it has and end. May be called from a signal handler."""
        self._messages.put(None)  # SimpleQueue.put is reentrant

    def _run_one(self, prepared: PreparedStream) -> GalagoError | None:
        try:
            source = prepared.open_source()
        except GalagoError as failure:
            self._emit(prepared.stream.absent(failure))
            return failure
        with self._turn:
            self._sources.append(source)
            stopping = self._stopping
        if stopping:
            source.stop()
        return drive(source, prepared.stream, self._emit)

    def _stop_sources(self) -> None:
        with self._turn:
            self._stopping = True
            sources = tuple(self._sources)
        for source in sources:
            source.stop()
