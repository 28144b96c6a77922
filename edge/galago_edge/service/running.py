"""Runs several streams side by side until they end or somebody says stop."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from queue import SimpleQueue

from galago_edge.contract.errors import GalagoError
from galago_edge.contract.records import Record
from galago_edge.pipeline.driving import Emit, drive
from galago_edge.service.preparing import PreparedStream
from galago_edge.sources import Source

Report = Callable[[str, BaseException], None]
"""Told name and failure of a stream as soon as it has failed; a fault of our own is no GalagoError."""

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
        self._broken: Exception | None = None

    def run(self, report: Report) -> list[GalagoError]:
        """Run every stream to its end and return the failures of those that failed.

        Raises:
            LinkError, BrokenPipeError: The sink failed; all streams were stopped then.
            Exception: A stream met a fault of our own; it was reported, and the others ran to their end.
        """
        failures: list[GalagoError] = []
        fault: BaseException | None = None
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
                if self._broken is not None:
                    self._stop_sources()
                elif (error := outcome.exception()) is not None:
                    fault = fault or error
                    report(names[outcome], error)
                elif (failure := outcome.result()) is not None:
                    failures.append(failure)
                    report(names[outcome], failure)
        if (raised := self._broken or fault) is not None:
            raise raised
        return failures

    def stop(self) -> None:
        """Let every stream finish what it has and end. May be called from a signal handler."""
        self._messages.put(None)  # SimpleQueue.put is reentrant

    def _run_one(self, prepared: PreparedStream) -> GalagoError | None:
        try:
            source = prepared.open_source()
        except GalagoError as failure:
            self._deliver(prepared.stream.absent(failure))
            return failure
        with self._turn:
            self._sources.append(source)
            stopping = self._stopping
        if stopping:
            source.stop()
        return drive(source, prepared.stream, self._deliver)

    def _deliver(self, records: Sequence[Record]) -> None:
        try:
            self._emit(records)
        except (GalagoError, OSError) as error:
            self._broken = self._broken or error
            raise

    def _stop_sources(self) -> None:
        with self._turn:
            self._stopping = True
            sources = tuple(self._sources)
        for source in sources:
            source.stop()
