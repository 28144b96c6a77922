"""``camera:NAME``: a USB or CSI camera by its device, or a network camera by its URL."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from galago_edge.contract.errors import CallerError, Reason
from galago_edge.contract.findings import Finding, fail, ok, warn
from galago_edge.host.extras import Extra
from galago_edge.sources.address_options import OptionReader, integer, yes_no
from galago_edge.sources.media.library import MEDIA_EXTRA
from galago_edge.sources.opencv import CAMERA_EXTRA
from galago_edge.sources.source_kind import Address, Site, SourceKind
from galago_edge.sources.stream_target import is_test_file, split_target, streams

if TYPE_CHECKING:
    from galago_edge.contract.settings import SourceSettings
    from galago_edge.sources.source import Capture


_OPTIONS: dict[str, OptionReader] = {
    "width": integer(1, 16_384),
    "height": integer(1, 16_384),
    "fps": integer(1, 1_000),
}


def _split(rest: str) -> tuple[str, str]:
    device, query = split_target("camera", rest, _OPTIONS)
    if not device:
        raise CallerError(
            Reason.CONFIG_BAD,
            "camera: names no device",
            hint="camera:/dev/video0, camera:0 or camera:rtsp://...",
        )
    return device, query


def _capture(address: Address, settings: SourceSettings, rate_hz: int | None) -> Capture:
    from galago_edge.sources.capture.connection import connect

    return connect(address, settings, rate_hz)


def _live(address: Address) -> bool:
    return not is_test_file(address.target)


def _needs(address: Address) -> tuple[Extra, ...]:
    """FFmpeg opens what is no device, and no server that most often sends MJPEG."""
    by_ffmpeg = is_test_file(address.target) or (
        "://" in address.target and not address.target.lower().startswith(("http://", "https://"))
    )
    return (CAMERA_EXTRA, MEDIA_EXTRA) if by_ffmpeg else (CAMERA_EXTRA,)


def _check(name: str, address: Address, site: Site) -> Iterator[Finding]:
    """What comes of it; a device must be there, may be opened, and should have a name that stays."""
    device = None if streams(address.target) else _device(name, address.target, site)
    tried = () if device is not None and device.level == "fail" else tuple(site.try_out(name))
    yield from tried
    if device is not None and (device.level != "ok" or not tried):
        yield device


def _device(name: str, device: str, site: Site) -> Finding:
    from galago_edge.sources.hardware import list_cameras

    path = Path(f"/dev/video{device}" if device.isdigit() else device)
    real = site.system / path.relative_to("/") if path.is_absolute() else path
    cameras = list_cameras(site.system)
    if not real.exists():
        there = ", ".join(camera.id for camera in cameras) or "none"
        return fail(
            name, f"there is no {path} (cameras here: {there})", "check its cable, or name one of those"
        )
    if not site.may_use(real):
        return fail(name, f"user {site.user} may not open {path}", f"sudo usermod -aG video {site.user}")
    stable = next((c.id for c in cameras if c.device == str(path) and c.id != c.device), None)
    if stable is not None:
        return warn(
            name, f"{path} may be another camera after the next start", f'address = "camera:{stable}"'
        )
    return ok(name, "is there and may be opened")


SOURCE = SourceKind(
    modality="camera",
    what="a camera",
    form="camera:NAME",
    options=_OPTIONS | {"loop": yes_no},
    split=_split,
    path_target=is_test_file,
    capture=_capture,
    live=_live,
    extras=(CAMERA_EXTRA, MEDIA_EXTRA),
    needs=_needs,
    check=_check,
)
