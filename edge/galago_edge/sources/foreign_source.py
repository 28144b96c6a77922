"""Recordings and devices that another distribution's code reads: its mistakes are one line, as ours are."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from typing import Any

import msgspec

from galago_edge.contract.errors import DeviceError, Reason
from galago_edge.contract.modality import Modality
from galago_edge.contract.streams import NS_PER_S, AudioBlock, Frame, Gap, Item
from galago_edge.host.credentials import Secrets
from galago_edge.host.plugins import plugin_code
from galago_edge.sources.source import AHEAD_NS, Capture, Source


class ForeignSource:
    """Hands everything on."""

    def __init__(self, kind: str, source: Source) -> None:
        """Guard ``source``; ``kind`` names it in messages."""
        self._kind = kind
        self._source = source
        self.modality: Modality = source.modality
        self.live = source.live

    def description(self) -> dict[str, Any]:
        """Return what is known before the first item.

        Raises:
            DeviceError: PLUGIN_BAD, as everything here.
        """
        with plugin_code("source", self._kind):
            return _plain(self._source.description())

    def conversion(self) -> dict[str, Any] | None:
        """Return how the samples are converted; None when they are not."""
        with plugin_code("source", self._kind):
            return self._source.conversion()

    def __iter__(self) -> Generator[Item, None, None]:
        """Yield everything up to the end.

        Raises:
            GalagoError: As the source says.
            DeviceError: PLUGIN_BAD; it has made a mistake. What came before was yielded.
        """
        items = iter(self._source)
        while True:
            with plugin_code("source", self._kind):
                item = next(items, None)
                if item is not None and not isinstance(item, Item):
                    raise TypeError(f"it gave a {type(item).__name__}, expected a Frame or an AudioBlock")
            if item is None:
                return
            yield item

    def summary(self) -> dict[str, Any]:
        """Return the counts that are known afterwards."""
        with plugin_code("source", self._kind):
            return _plain(self._source.summary())

    def stop(self) -> None:
        """End the iteration soon, from any thread."""
        self._source.stop()


def _plain(told: dict[str, Any]) -> dict[str, Any]:
    """Return what a source tells, if a record can hold it.

    Raises:
        TypeError: It cannot.
    """
    msgspec.json.encode(told)
    return told


class ForeignCapture:
    """Hands everything on, but nothing that is timed by another clock: it would stand at the wrong place."""

    def __init__(
        self,
        kind: str,
        open: Callable[[], Capture],
        secrets: Secrets | None = None,
        *,
        clock_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        """Open what ``open`` opens, and guard it; ``kind`` names it in messages, which show no ``secrets``.

        Raises:
            Exception: As ``open`` says.
        """
        self._secrets = secrets or Secrets("")
        self._kind = kind
        self._clock_ns = clock_ns
        self._opened_ns = clock_ns()
        with self._secrets.kept():
            self._capture = open()

    def description(self) -> dict[str, Any]:
        """Return what the device says of itself."""
        return self._capture.description()

    def read(self, timeout_s: float) -> Frame | AudioBlock | Gap | None:
        """Return what is next, or None when nothing came in time.

        Raises:
            DeviceError: PLUGIN_BAD; it is timed seconds before the device was opened, or seconds after now.
            Exception: As the device's code says.
        """
        with self._secrets.kept():
            item = self._capture.read(timeout_s)
        if isinstance(item, Frame | AudioBlock):
            now_ns = self._clock_ns()
            if not self._opened_ns - AHEAD_NS <= item.captured_ns <= now_ns + AHEAD_NS:
                raise self._mistimed(item, now_ns)
        return item

    def close(self) -> None:
        """End it."""
        self._capture.close()

    def _mistimed(self, item: Frame | AudioBlock, now_ns: int) -> DeviceError:
        what, at_s = "frame" if isinstance(item, Frame) else "block", item.captured_ns / NS_PER_S
        opened_s, now_s = self._opened_ns / NS_PER_S, now_ns / NS_PER_S
        return DeviceError(
            Reason.PLUGIN_BAD,
            f"source {self._kind} gave a {what} with captured_ns at {at_s:.3f} s, expected "
            f"{opened_s:.3f} to {now_s:.3f} s, since its opening: take captured_ns from time.monotonic_ns()",
            hint="update or reinstall what brings this source, or do without it",
        )
