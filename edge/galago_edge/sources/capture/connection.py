"""Which capture serves which address."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from msgspec import UNSET

from galago_edge.contract.errors import CallerError, LinkError, Reason
from galago_edge.contract.settings import SourceSettings
from galago_edge.sources.address import Address
from galago_edge.sources.capture.capture_process import PROGRAM, Child
from galago_edge.sources.capture.frame_capture import FrameCapture
from galago_edge.sources.capture.pipe_capture import PipeCapture
from galago_edge.sources.capture.sound_capture import SoundCapture
from galago_edge.sources.source import Capture


def connect(
    address: Address, settings: SourceSettings, rate_hz: int | None, *, program: Sequence[str] = PROGRAM
) -> Capture:
    """Do what ``open_capture`` promises; ``program`` is what reads the device."""
    if not address.reopens:
        raise CallerError(
            Reason.CONFIG_BAD,
            f"{address.shown} is a recording or standard input, expected what can be opened anew",
            hint="galago replay takes recordings",
        )
    if address.kind == "pipe":
        return PipeCapture(address, settings, rate_hz)
    child = Child(_order(address, settings, rate_hz), program)
    try:
        description = _opened(child, address, settings.open_s)
        if address.kind == "camera":
            return FrameCapture(child, {"kind": "camera", "name": address.shown, **description})
        return SoundCapture(child, {"kind": "microphone", **description})
    except BaseException:
        child.close()
        raise


def _order(address: Address, settings: SourceSettings, rate_hz: int | None) -> dict[str, Any]:
    http = address.target.lower().startswith(("http://", "https://"))
    fps = address.options.get("fps") if settings.fps is UNSET else settings.fps
    return {
        "kind": "mjpeg" if http else address.kind,
        "target": address.target,
        "shown": address.shown,
        "options": address.options,
        "fps": fps,
        "rate_hz": rate_hz,
        "open_s": settings.open_s,
        "stall_s": settings.stall_s,
    }


def _opened(child: Child, address: Address, open_s: float) -> dict[str, Any]:
    try:
        message = child.receive(open_s)
    except LinkError as error:
        if error.reason is not Reason.SOURCE_LOST:
            raise
        raise LinkError(Reason.SOURCE_MISSING, str(error), hint=error.hint) from None
    if message is None:
        raise LinkError(
            Reason.SOURCE_MISSING,
            f"{address.kind} {address.shown} was not open after {open_s:g} s",
            hint="check that it is on and can be reached; open_s allows it more time",
        )
    description: dict[str, Any] = message.head["description"]
    return description
