"""What every source is: something that gives frames or audio blocks in stream order."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, Protocol

from galago_edge.contract.modality import Modality
from galago_edge.contract.streams import NS_PER_S, AudioBlock, Frame, Gap, Item

AHEAD_NS = 5 * NS_PER_S
"""How far stream time may be ahead of the monotonic clock in a live source: its recorder may hand over what
it had buffered, and a pipe holds two seconds of sound. What is further ahead is a recording."""


class Source(Protocol):
    """A camera, a microphone or a recording, already opened, to be walked through once."""

    modality: Modality
    live: bool
    """Live sources keep the newest and lose the oldest when nobody keeps up; the others lose nothing.

    What :attr:`galago_edge.sources.address.Address.live` says, of what was opened.
    """

    def description(self) -> dict[str, Any]:
        """Return what is known before the first item, for the stream's first record.

        Holds no folder, no credentials and no time, so that it is the same in every replay.
        """
        ...

    def conversion(self) -> dict[str, Any] | None:
        """Return how the samples are converted to what the bundle needs; None when they are not."""
        ...

    def __iter__(self) -> Generator[Item, None, None]:
        """Yield everything up to the end, then say what was wrong with it, if anything was.

        Raises:
            InputError: The recording is damaged; what could be read was yielded before.
            LinkError: SOURCE_LOST; a live source went away.
        """
        ...

    def summary(self) -> dict[str, Any]:
        """Return the counts that are known afterwards, for the stream's last record."""
        ...

    def stop(self) -> None:
        """End the iteration soon, from any thread; what is captured already is still yielded."""
        ...


class Capture(Protocol):
    """One connection to a live camera or microphone, until it breaks. Used by one thread.

    What it gives counts from its own beginning: index 0 and ``captured_ns`` of the monotonic clock.
    ``galago_edge.sources.supervised_source`` opens one after another and makes them one stream.
    """

    def description(self) -> dict[str, Any]:
        """Return what the device says of itself, without credentials."""
        ...

    def read(self, timeout_s: float) -> Frame | AudioBlock | Gap | None:
        """Return what is next, or None when nothing came in time.

        Audio is at the device's own rate. A Gap ``overrun`` says that the device itself lost samples.

        Raises:
            LinkError: SOURCE_LOST; it gives nothing more.
        """
        ...

    def close(self) -> None:
        """End it within a second or two, by force if it hangs. May be called twice."""
        ...
