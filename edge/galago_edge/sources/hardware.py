"""Which cameras and microphones this computer has, by names that stay when they are plugged in again.

Everything is read from ``/dev``, ``/sys`` and ``/proc`` below a given root, so that the listing of any
board can be looked at. No device is opened, but to ask a camera what it can do.
"""

from __future__ import annotations

import fcntl
import os
import re
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

ROOT = Path("/")

_QUERY_CAPABILITIES = 0x80685600
_CAPABILITIES_BYTES = 104
_ENUMERATE_FORMATS = 0xC0405602
_FORMAT_BYTES = 64
_CAPTURES = 0x00000001  # V4L2_CAP_VIDEO_CAPTURE
_PASSES_ON = 0x00004000 | 0x00008000  # V4L2_CAP_VIDEO_M2M_MPLANE, V4L2_CAP_VIDEO_M2M: codecs, scalers
_HAS_DEVICE_CAPABILITIES = 0x80000000
_CAPTURE_TYPE = 1
_MOST_FORMATS = 64


@dataclass(frozen=True, slots=True)
class CameraInfo:
    """One camera."""

    id: str
    """What to write behind ``camera:``: the by-id path, else by-path, else the device."""
    device: str
    """``/dev/video0``: may be another one after the next start."""
    name: str
    """As the driver calls it."""
    by_id: str | None
    """Stays with the camera, whatever it is plugged into; the same for two cameras without serial numbers."""
    by_path: str | None
    """Stays with the socket."""
    formats: tuple[str, ...]
    """FourCC codes, such as ``MJPG``; empty when the device cannot be asked."""
    readable: bool
    """Whether this user may open it."""


@dataclass(frozen=True, slots=True)
class MicrophoneInfo:
    """One sound card that records."""

    id: str
    """What to write behind ``microphone:``: the by-id path, else by-path, else the card's ALSA id."""
    card: int
    """ALSA number: may be another one after the next start."""
    card_id: str
    """ALSA id: names of equal cards depend on their order."""
    name: str
    by_id: str | None
    by_path: str | None
    rates_hz: tuple[int, ...]
    """Rates that it records at; empty when the driver does not say."""
    channels: int
    """Most channels it records; 0 when the driver does not say."""
    readable: bool


@dataclass(frozen=True, slots=True)
class CameraAbilities:
    """What a video device answers when it is asked."""

    captures: bool
    formats: tuple[str, ...]


def list_cameras(
    root: Path = ROOT, ask: Callable[[Path], CameraAbilities | None] | None = None
) -> list[CameraInfo]:
    """Return the cameras, by device number. A device that cannot be listed is left out.

    ``ask`` answers what a device can do, None when it cannot be opened; without it the device is asked.
    """
    ask = ask or camera_abilities
    links = _links(root, "dev/v4l/by-id"), _links(root, "dev/v4l/by-path")
    found = []
    for folder in sorted(_entries(root / "sys/class/video4linux"), key=_number):
        if not re.fullmatch(r"video\d+", folder.name):
            continue
        device = root / "dev" / folder.name
        abilities = ask(device)
        if abilities is None and _text(folder / "index") not in ("", "0"):
            continue  # a second node of one camera gives metadata
        if abilities is not None and not abilities.captures:
            continue
        by_id, by_path = (names.get(folder.name) for names in links)
        found.append(
            CameraInfo(
                id=by_id or by_path or f"/dev/{folder.name}",
                device=f"/dev/{folder.name}",
                name=_text(folder / "name") or folder.name,
                by_id=by_id,
                by_path=by_path,
                formats=abilities.formats if abilities else (),
                readable=os.access(device, os.R_OK | os.W_OK),
            )
        )
    return _with_unique_ids(found)


def list_microphones(root: Path = ROOT) -> list[MicrophoneInfo]:
    """Return the sound cards that record, by card number."""
    recording = _recording_cards(root)
    by_id, by_path = _card_links(root, "by-id"), _card_links(root, "by-path")
    found = []
    for card in sorted(recording):
        proc = root / f"proc/asound/card{card}"
        card_id = _text(proc / "id") or str(card)
        rates_hz, channels = usb_formats(_text(proc / "stream0"))
        found.append(
            MicrophoneInfo(
                id=by_id.get(card) or by_path.get(card) or card_id,
                card=card,
                card_id=card_id,
                name=recording[card],
                by_id=by_id.get(card),
                by_path=by_path.get(card),
                rates_hz=rates_hz,
                channels=channels,
                readable=any(
                    os.access(node, os.R_OK | os.W_OK) for node in (root / "dev/snd").glob(f"pcmC{card}D*c")
                ),
            )
        )
    return found


def alsa_card(name: str, root: Path = ROOT) -> int | None:
    """Return the number of the sound card that ``name`` means now, or None.

    ``name`` is a link below ``/dev/snd/by-id`` or ``by-path`` (with or without its folder) or an ALSA id.
    """
    for folder in ("by-id", "by-path"):
        for card, link in _card_links(root, folder).items():
            if name in (link, Path(link).name):
                return card
    for folder_of_card in _entries(root / "proc/asound"):
        found = re.fullmatch(r"card(\d+)", folder_of_card.name)
        if found and _text(folder_of_card / "id") == name:
            return int(found[1])
    return None


def usb_formats(stream: str) -> tuple[tuple[int, ...], int]:
    """Return the rates and the most channels that ``/proc/asound/cardN/stream0`` offers for recording.

    >>> usb_formats("Playback:\\n  Rates: 8000\\nCapture:\\n  Channels: 2\\n  Rates: 44100, 48000\\n")
    ((44100, 48000), 2)
    >>> usb_formats("Capture:\\n  Channels: 1\\n  Rates: 8000 - 48000 (continuous)\\n")
    ((8000, 16000, 22050, 32000, 44100, 48000), 1)
    """
    capture = stream.partition("Capture:")[2].partition("Playback:")[0]
    rates: set[int] = set()
    for line in re.findall(r"^\s*Rates:\s*(.+)$", capture, re.MULTILINE):
        if between := re.match(r"(\d+)\s*-\s*(\d+)", line):
            lowest, highest = int(between[1]), int(between[2])
            rates |= {rate for rate in _USUAL_RATES_HZ if lowest <= rate <= highest} | {lowest, highest}
        else:
            rates |= {int(rate) for rate in re.findall(r"\d+", line)}
    channels = [int(count) for count in re.findall(r"^\s*Channels:\s*(\d+)", capture, re.MULTILINE)]
    return tuple(sorted(rates)), max(channels, default=0)


_USUAL_RATES_HZ = (8_000, 16_000, 22_050, 32_000, 44_100, 48_000, 96_000, 192_000)


def camera_abilities(device: Path) -> CameraAbilities | None:
    """Ask a V4L2 device; None when it cannot be opened or answers like no V4L2 device."""
    try:
        fd = os.open(device, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        answer = bytearray(_CAPABILITIES_BYTES)
        fcntl.ioctl(fd, _QUERY_CAPABILITIES, answer)
        whole, of_this_node = struct.unpack_from("<II", answer, 84)
        can = of_this_node if whole & _HAS_DEVICE_CAPABILITIES else whole
        captures = bool(can & _CAPTURES) and not can & _PASSES_ON
        return CameraAbilities(captures, _formats(fd) if captures else ())
    except OSError:
        return None
    finally:
        os.close(fd)


def _formats(fd: int) -> tuple[str, ...]:
    found = []
    for index in range(_MOST_FORMATS):
        answer = bytearray(_FORMAT_BYTES)
        struct.pack_into("<II", answer, 0, index, _CAPTURE_TYPE)
        try:
            fcntl.ioctl(fd, _ENUMERATE_FORMATS, answer)
        except OSError:  # behind the last one
            break
        found.append(bytes(answer[44:48]).decode("ascii", "replace").strip())
    return tuple(found)


def _with_unique_ids(cameras: list[CameraInfo]) -> list[CameraInfo]:
    """Take the by-path name where several cameras would have one id."""
    ids = [camera.id for camera in cameras]
    return [
        camera
        if ids.count(camera.id) == 1
        else CameraInfo(
            camera.by_path or camera.device,
            camera.device,
            camera.name,
            camera.by_id,
            camera.by_path,
            camera.formats,
            camera.readable,
        )
        for camera in cameras
    ]


def _recording_cards(root: Path) -> dict[int, str]:
    """Return the names of the cards with a recording device, from ``/proc/asound/pcm`` and ``cards``."""
    cards = {
        int(card) for card in re.findall(r"^(\d+)-\d+:.*capture \d+", _text(root / "proc/asound/pcm"), re.M)
    }
    listed = _text(root / "proc/asound/cards")
    names = {int(card): name for card, name in re.findall(r"^\s*(\d+) \[.*?\]: .*? - (.+)$", listed, re.M)}
    return {card: names.get(card, f"card {card}") for card in cards}


def _links(root: Path, folder: str) -> dict[str, str]:
    """Return the stable names in ``folder`` by what they point to (``video0``), the first of equals."""
    names: dict[str, str] = {}
    for link in sorted(_entries(root / folder)):
        try:
            names.setdefault(link.readlink().name, f"/{folder}/{link.name}")
        except OSError:
            continue
    return names


def _card_links(root: Path, folder: str) -> dict[int, str]:
    """Return the stable names of sound cards by card number."""
    links = _links(root, f"dev/snd/{folder}")
    found = ((re.fullmatch(r"controlC(\d+)", target), name) for target, name in links.items())
    return {int(match[1]): name for match, name in found if match}


def _entries(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError:
        return []


def _number(path: Path) -> int:
    return int(re.sub(r"\D", "", path.name) or 0)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""
