"""Which writer makes the recordings of taps."""

from __future__ import annotations

from galago_edge.contract.errors import DeviceError, Reason
from galago_edge.recording.tap_writer import OpenTap


def tap_opener() -> OpenTap:
    """Return what begins a recording.

    Raises:
        DeviceError: EXTRA_MISSING; what writes recordings is not installed.
    """
    raise DeviceError(
        Reason.EXTRA_MISSING,
        "recording needs a writer of MCAP files, which this version has not",
        hint="leave [recording] out",
    )
