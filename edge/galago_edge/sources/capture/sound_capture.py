"""The parent's side of a microphone's child."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
from msgspec import UNSET

from galago_edge.contract.streams import AudioBlock, Gap
from galago_edge.sources.capture.capture_messages import MicrophoneDescription, Overrun, Sound
from galago_edge.sources.capture.capture_process import CaptureLink
from galago_edge.sources.sample_conversion import check_channel, to_mono


class SoundCapture:
    """An open microphone. The child sends as samples come and keeps the newest 10 s when nobody reads.

    ``AudioBlock.captured_ns`` is the system's monotonic clock (``time.monotonic_ns``) at the first sample.
    Samples are int16, the mean of the channels or one of them (step 2 of the conversion), at the device's
    rate.
    """

    def __init__(
        self, process: CaptureLink, description: MicrophoneDescription, channel: int | None = None
    ) -> None:
        """Take over a process whose microphone is open; ``channel`` is the one to take, from 1.

        Raises:
            InputError: SOURCE_MISMATCH; there is no such channel.
        """
        check_channel(channel, description.channels)
        self._process = process
        self._description = description
        self._channel = channel

    @property
    def pid(self) -> int:
        """Process id of the child."""
        return self._process.pid

    def description(self) -> dict[str, Any]:
        """Return name, rate and channels of the device, and the channel that is taken, if it is one."""
        described: dict[str, Any] = msgspec.to_builtins(self._description)
        return described if self._channel is None else described | {"channel": self._channel}

    def read(self, timeout_s: float) -> AudioBlock | Gap | None:
        """Return the next samples, a Gap ``overrun`` where some were lost, or None when none came in time.

        Raises:
            LinkError: SOURCE_LOST.
        """
        packet = self._process.receive(timeout_s)
        if packet is None:
            return None
        message = packet.message
        if isinstance(message, Overrun):
            return Gap(message.from_ns, message.to_ns, "overrun")
        if not isinstance(message, Sound):
            raise self._process.confused()
        channels = self._description.channels
        if message.channels is not UNSET:
            channels = message.channels
            check_channel(self._channel, channels)
        rate_hz = self._description.rate_hz if message.rate_hz is UNSET else message.rate_hz
        raw = np.frombuffer(packet.payload, "<i2").astype(np.int16, copy=False)
        samples = to_mono(raw.reshape(-1, channels), self._channel)
        return AudioBlock(samples, message.first_sample, message.captured_ns, rate_hz)

    def close(self) -> None:
        """End the child, by force if it hangs."""
        self._process.close()
