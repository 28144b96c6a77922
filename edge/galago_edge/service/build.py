"""A bundle that is loaded for one stream: it takes the stream's items, under the eyes of whoever watches."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from galago_edge.contract.manifest import Manifest
from galago_edge.contract.records import Record
from galago_edge.contract.streams import AudioBlock, Frame, Item, WindowSeen
from galago_edge.pipeline import DecidingStream, LoadedBundle
from galago_edge.pipeline.failover import FailoverEngine
from galago_edge.service.trial import Judge


class Collector(Protocol):
    """Keeps samples for retraining; see ``galago_edge.recording``."""

    def item(self, item: Item) -> None:
        """Take what the stream gets."""

    def window(self, seen: WindowSeen) -> None:
        """Take what was decided."""

    def status(self) -> dict[str, Any]:
        """Return what was kept."""
        ...

    def close(self) -> None:
        """Hand over what is waiting."""


@dataclass(frozen=True, slots=True)
class Build:
    """A bundle that is loaded for one stream, and how to load it again."""

    loaded: LoadedBundle
    stream: DecidingStream
    again: Callable[[], Build]
    judge: Judge | None = None
    """While the bundle is on trial."""
    release: Callable[[], None] = lambda: None
    """Lets go of the bundle's folder, which nobody may remove before."""

    @property
    def bundle_id(self) -> str:
        """Sha256 of the manifest."""
        return self.loaded.id

    @property
    def manifest(self) -> Manifest:
        """What the bundle says of itself."""
        return self.loaded.manifest

    @property
    def engine(self) -> FailoverEngine:
        """What runs the model."""
        return self.loaded.engine

    def push(
        self,
        item: Item,
        doubts: frozenset[str] = frozenset(),
        clock_ns: Callable[[], int] = time.monotonic_ns,
    ) -> list[Record]:
        """Let the bundle take an item; ``doubts`` are the source's alarms, for the judge.

        Raises:
            Exception: Whatever went wrong in the model; the judge knows it already.
        """
        judge = self.judge
        if judge is None or judge.decided:
            return self.stream.push(item)
        judge.item(item, doubts)
        if not isinstance(item, Frame | AudioBlock):
            return self.stream.push(item)
        since_ns = clock_ns()
        try:
            with judge.memory.working():
                records = self.stream.push(item)
        except Exception as failure:  # any failure tells against a bundle on trial; raised again
            judge.failed(failure)
            raise
        judge.pushed(clock_ns() - since_ns)
        return records

    def observe(self, collector: Collector | None = None) -> None:
        """Show each window to the judge, and to ``collector``: what keeps samples of what really decides."""
        judge = self.judge

        def seen(window: WindowSeen) -> None:
            if collector is not None:
                collector.window(window)
            if judge is not None and not judge.decided:
                judge.window(window.logits, skipped=window.skipped, warm_up=window.warm_up)

        self.stream.observe = seen if judge is not None or collector is not None else None

    def close(self) -> None:
        """Give back what the engine holds, and the bundle's folder."""
        self.loaded.close()
        self.release()
