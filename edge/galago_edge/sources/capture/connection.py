"""Cameras and microphones, each read in a process of its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import msgspec
from msgspec import UNSET

from galago_edge.contract.errors import LinkError, Reason
from galago_edge.contract.settings import SourceSettings
from galago_edge.host.credentials import login_of, with_login
from galago_edge.sources.capture.capture_messages import (
    CameraDescription,
    MicrophoneDescription,
    Opened,
    Order,
)
from galago_edge.sources.capture.capture_process import PROGRAM, CaptureLink, CaptureProcess
from galago_edge.sources.capture.frame_capture import FrameCapture
from galago_edge.sources.capture.sound_capture import SoundCapture
from galago_edge.sources.source import Capture
from galago_edge.sources.source_kind import Address
from galago_edge.sources.stream_target import streams

Wanted = Literal["picture", "sound"]


def connect(
    address: Address,
    settings: SourceSettings,
    rate_hz: int | None,
    *,
    packets: bool = False,
    program: Sequence[str] = PROGRAM,
) -> Capture:
    """Do what ``open_capture`` promises for a camera or microphone; ``program`` is what reads the device."""
    gives = (wanted_of(address),)
    process, opened = opened_process(address, settings, rate_hz, gives, packets=packets, program=program)
    try:
        return capture_of(address, settings, process, opened)
    except BaseException:  # whatever it was, the child must be ended
        process.close()
        raise


def wanted_of(address: Address) -> Wanted:
    """Return what a stream is opened for."""
    return "sound" if address.kind == "microphone" else "picture"


def is_stream(address: Address) -> bool:
    """Tell whether it may hold pictures and sound: it is a URL, or a file played as a live source."""
    return address.kind in ("camera", "microphone") and streams(address.target)


def opened_process(
    address: Address,
    settings: SourceSettings,
    rate_hz: int | None,
    gives: tuple[Wanted, ...],
    *,
    packets: bool = False,
    program: Sequence[str] = PROGRAM,
) -> tuple[CaptureProcess, Opened]:
    """Return the process that captures, and what it said when it had opened its device.

    ``packets``: those of a stream are wanted beside its pictures.

    Raises:
        GalagoError: As ``open_capture``.
    """
    order = _order(address, settings, rate_hz, gives)
    process = CaptureProcess(msgspec.structs.replace(order, packets=packets), program)
    try:
        return process, _opened(process, address, settings.open_s)
    except BaseException:  # whatever it was, the child must be ended
        process.close()
        raise


def capture_of(address: Address, settings: SourceSettings, link: CaptureLink, opened: Opened) -> Capture:
    """Return what ``address`` wants of an open stream.

    Raises:
        LinkError: SOURCE_MISMATCH; it does not give that.
    """
    sound = opened.sound if isinstance(opened.description, CameraDescription) else opened.description
    if wanted_of(address) == "picture" and isinstance(opened.description, CameraDescription):
        conceal = settings.damaged == "conceal"
        return FrameCapture(link, opened.description, conceal=conceal)
    if wanted_of(address) == "sound" and isinstance(sound, MicrophoneDescription):
        return SoundCapture(link, sound, _options(address, settings).get("channel"))
    what = "sound" if wanted_of(address) == "sound" else "pictures"
    raise LinkError(
        Reason.SOURCE_MISMATCH,
        f"{address.kind} {address.shown} has no {what}",
        hint="switch it on in the camera, or take the address of another stream",
    )


def _kind(address: Address) -> Literal["camera", "mjpeg", "network", "microphone"]:
    if not is_stream(address):
        return "microphone" if address.kind == "microphone" else "camera"
    http = address.target.lower().startswith(("http://", "https://"))
    return "mjpeg" if http and address.kind == "camera" else "network"


def _order(
    address: Address, settings: SourceSettings, rate_hz: int | None, gives: tuple[Wanted, ...]
) -> Order:
    try:
        address.target.encode()
    except (
        UnicodeEncodeError
    ):  # bytes of a command line that are no UTF-8; neither records nor status hold them
        raise LinkError(
            Reason.SOURCE_MISSING,
            f"{address.kind} {address.shown} cannot be opened: its name is no UTF-8",
            hint="galago doctor shows cameras and microphones with their stable names",
        ) from None
    return Order(
        kind=_kind(address),
        target=with_login(address.target, login_of(settings)),
        shown=address.shown,
        options={name: value for name, value in _options(address, settings).items() if name != "loop"},
        fps=address.options.get("fps") if settings.fps is UNSET else settings.fps,
        rate_hz=rate_hz,
        open_s=settings.open_s,
        stall_s=settings.stall_s,
        gives=gives,
        transport=settings.transport,
        conceal=settings.damaged == "conceal",
        loop=bool(address.options.get("loop", False)),
        ca_file=settings.ca_file,
        fingerprint=settings.fingerprint,
    )


def _options(address: Address, settings: SourceSettings) -> dict[str, int]:
    """Return what is declared of the device; what the settings say counts."""
    return address.options | ({} if settings.channel is None else {"channel": settings.channel})


def _opened(process: CaptureProcess, address: Address, open_s: float) -> Opened:
    try:
        packet = process.receive(open_s)
        if packet is not None:
            if isinstance(packet.message, Opened):
                return packet.message
            raise process.confused()
    except LinkError as error:
        if error.reason is not Reason.SOURCE_LOST:
            raise
        raise LinkError(Reason.SOURCE_MISSING, str(error), hint=error.hint) from None
    raise not_open(address, open_s)


def not_open(address: Address, open_s: float) -> LinkError:
    """Return the error of a device that takes too long to open."""
    return LinkError(
        Reason.SOURCE_MISSING,
        f"{address.kind} {address.shown} was not open after {open_s:g} s",
        hint="check that it is on and can be reached; open_s allows it more time",
    )
