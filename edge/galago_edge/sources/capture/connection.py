"""Cameras and microphones, each read in a process of its own."""

from __future__ import annotations

from collections.abc import Sequence

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
from galago_edge.sources.capture.capture_process import PROGRAM, CaptureProcess
from galago_edge.sources.capture.frame_capture import FrameCapture
from galago_edge.sources.capture.sound_capture import SoundCapture
from galago_edge.sources.source import Capture
from galago_edge.sources.source_kind import Address


def connect(
    address: Address, settings: SourceSettings, rate_hz: int | None, *, program: Sequence[str] = PROGRAM
) -> Capture:
    """Do what ``open_capture`` promises for a camera or microphone; ``program`` is what reads the device."""
    process = CaptureProcess(_order(address, settings, rate_hz), program)
    try:
        description = _opened(process, address, settings.open_s)
        if isinstance(description, CameraDescription):
            return FrameCapture(process, description)
        return SoundCapture(process, description)
    except BaseException:  # whatever it was, the child must be ended
        process.close()
        raise


def _order(address: Address, settings: SourceSettings, rate_hz: int | None) -> Order:
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
    http = address.target.lower().startswith(("http://", "https://"))
    return Order(
        kind="microphone" if address.kind == "microphone" else "mjpeg" if http else "camera",
        target=with_login(address.target, login_of(settings)),
        shown=address.shown,
        options=address.options,
        fps=address.options.get("fps") if settings.fps is UNSET else settings.fps,
        rate_hz=rate_hz,
        open_s=settings.open_s,
        stall_s=settings.stall_s,
        ca_file=settings.ca_file,
        fingerprint=settings.fingerprint,
    )


def _opened(
    process: CaptureProcess, address: Address, open_s: float
) -> CameraDescription | MicrophoneDescription:
    try:
        packet = process.receive(open_s)
        if packet is not None:
            if isinstance(packet.message, Opened):
                return packet.message.description
            raise process.confused()
    except LinkError as error:
        if error.reason is not Reason.SOURCE_LOST:
            raise
        raise LinkError(Reason.SOURCE_MISSING, str(error), hint=error.hint) from None
    raise LinkError(
        Reason.SOURCE_MISSING,
        f"{address.kind} {address.shown} was not open after {open_s:g} s",
        hint="check that it is on and can be reached; open_s allows it more time",
    )
