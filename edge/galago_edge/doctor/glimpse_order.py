"""What the process is told that opens a source once."""

from __future__ import annotations

import msgspec

from galago_edge.contract.settings import SourceSettings, ViewSettings

MEASURE_S = 2.0
"""So long the rate of a camera is measured."""


class GlimpseOrder(msgspec.Struct, frozen=True, kw_only=True):
    """What to open."""

    settings: SourceSettings
    """May hold a password: it is told to nobody."""
    rate_hz: int | None
    """The rate that its bundles want of a microphone."""
    views: tuple[ViewSettings, ...] = ()
    """What its streams say of its pictures, beside what it says itself."""


_LATER_S = 2.0
"""What captures gives up after as long and says why, which is better than that nothing came."""


def patience_s(settings: SourceSettings) -> float:
    """Return how long an open source may take for its first frame or sample: longer than for the service."""
    return max(settings.open_s, settings.stall_s) + _LATER_S


def longest_s(settings: SourceSettings) -> float:
    """Return how long a look at a source takes at most."""
    return settings.open_s + patience_s(settings) + MEASURE_S + settings.stall_s
