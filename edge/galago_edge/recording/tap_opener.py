"""Which writer makes the recordings of taps."""

from __future__ import annotations

from galago_edge.recorded.recording_library import mcap_records
from galago_edge.recording.tap_writer import OpenTap


def tap_opener() -> OpenTap:
    """Return what begins a recording.

    Raises:
        DeviceError: EXTRA_MISSING; what writes recordings is not installed.
    """
    mcap_records("recording")
    from galago_edge.recording.mcap_tap import McapTap

    return McapTap
