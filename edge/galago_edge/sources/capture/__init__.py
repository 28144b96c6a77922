"""Capture: one connection to a live camera, microphone or pipe, where nothing that hangs can hang us.

Cameras and microphones are read in a process of their own, because a driver's ``read`` may never return:
a process can be killed, a thread cannot. Such a child imports this package, so nothing heavy is
imported here.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from galago_edge.contract.errors import CallerError, Reason

if TYPE_CHECKING:
    from galago_edge.contract.settings import SourceSettings
    from galago_edge.sources.source import Capture
    from galago_edge.sources.source_kind import Address


def open_capture(
    address: Address, settings: SourceSettings, *, rate_hz: int | None = None, packets: bool = False
) -> Capture:
    """Connect to the live source that ``address`` names, in at most ``settings.open_s``.

    User and password of ``settings`` are read now, and put into the URL. No error shows them.

    ``rate_hz`` is the rate that its bundles want; a microphone that offers it and declares no other
    (``?rate=``) is opened at it, a pipe that declares none is taken to be at it.

    ``packets``: frames of a stream bring along what they were decoded from (``Frame.coded``).

    Raises:
        LinkError: SOURCE_MISSING, SOURCE_MISMATCH; not there, or not what it should be. To be tried again.
        DeviceError: EXTRA_MISSING; a library is not installed. Later, by what it returns: PLUGIN_BAD; another
            distribution's device does not tell the time by the monotonic clock.
        CallerError: CONFIG_BAD; ``address`` is a recording or standard input, a pipe's rate is not known, or
            there is no password where the settings say.
    """
    from galago_edge.host.credentials import Secrets, login_of, with_login
    from galago_edge.sources.foreign_source import ForeignCapture  # here: a capture child needs no numpy
    from galago_edge.sources.source_kind import SOURCES

    capture = address.described.capture
    if capture is None or not address.reopens:
        raise CallerError(
            Reason.CONFIG_BAD,
            f"{address.shown} is a recording or standard input, expected what can be reopened",
            hint="galago replay takes recordings",
        )
    if packets:
        from galago_edge.sources.capture.connection import connect, is_stream

        if is_stream(address):
            return connect(address, settings, rate_hz, packets=True)
    if address.kind in SOURCES.own():
        return capture(address, settings, rate_hz)
    address = replace(address, target=with_login(address.target, login_of(settings)))
    secrets = Secrets(address.target)
    return ForeignCapture(address.kind, lambda: capture(address, settings, rate_hz), secrets)
