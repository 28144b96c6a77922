"""The parent's side of a microphone's child."""

from __future__ import annotations

from typing import Any

import numpy as np

from galago_edge.contract.streams import AudioBlock, Gap
from galago_edge.sources.capture.capture_process import Child
from galago_edge.sources.sample_conversion import to_mono


class SoundCapture:
    """An open microphone. The child sends as samples come and keeps the newest 10 s when nobody reads.

    ``AudioBlock.captured_ns`` is the system's monotonic clock (``time.monotonic_ns``) at the first sample.
    Samples are int16, the mean of the channels (step 2 of the conversion), at the device's rate.
    """

    def __init__(self, child: Child, description: dict[str, Any]) -> None:
        """Take over an open child."""
        self._child = child
        self._description = description
        self._rate_hz = int(description["rate_hz"])
        self._channels = int(description["channels"])

    @property
    def pid(self) -> int:
        """Process id of the child."""
        return self._child.pid

    def description(self) -> dict[str, Any]:
        """Return name, rate and channels of the device."""
        return self._description

    def read(self, timeout_s: float) -> AudioBlock | Gap | None:
        """Return the next samples, a Gap ``overrun`` where some were lost, or None when none came in time.

        Raises:
            LinkError: SOURCE_LOST.
        """
        message = self._child.receive(timeout_s)
        if message is None:
            return None
        head = message.head
        if head["t"] == "overrun":
            return Gap(head["from"], head["to"], "overrun")
        raw = np.frombuffer(message.payload, "<i2").astype(np.int16, copy=False)
        samples = to_mono(raw.reshape(-1, self._channels))
        return AudioBlock(samples, head["first"], head["ns"], self._rate_hz)

    def close(self) -> None:
        """End the child, by force if it hangs."""
        self._child.close()
