"""How a source is written on the command line and in ``galago.toml``: ``WHAT[?option=value&...]``."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal
from urllib.parse import parse_qsl

from galago_edge.contract.errors import CallerError, LinkError, Reason, disk_error
from galago_edge.contract.modality import Modality

Kind = Literal["folder", "video", "audio", "pipe", "camera", "microphone"]

IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".webp", ".pgm", ".ppm", ".tif", ".tiff"})
VIDEO_SUFFIXES = frozenset({".avi", ".mp4", ".mkv", ".mov", ".m4v", ".webm"})
AUDIO_SUFFIXES = frozenset({".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff", ".au", ".caf"})

STDIN_TARGET = "-"
"""Target of a pipe that is standard input; any other is the path of a FIFO."""

STDIN = 0
"""File descriptor of standard input."""

_DEVICE_KINDS: frozenset[Kind] = frozenset({"pipe", "camera", "microphone"})
"""What has no end by itself; the others are recordings."""
_DEVICE_PREFIXES = ("camera:", "microphone:", "pipe:")

_FORMS = (
    "a folder of images, a video (.avi .mp4 ...), sound (.wav .flac ...), camera:NAME, microphone:NAME, "
    "pipe:-?rate=16000"
)


@dataclass(frozen=True, slots=True)
class Address:
    """One parsed source."""

    kind: Kind
    target: str
    """Path, ``-`` of a pipe, a microphone's name, a camera's device or its URL.

    A URL holds its credentials: see ``shown``.
    """
    options: dict[str, Any]

    @property
    def modality(self) -> Modality:
        """What the source gives."""
        return "microphone" if self.kind in ("audio", "pipe", "microphone") else "camera"

    @property
    def live(self) -> bool:
        """Whether it gives what happens now, so that a bundle may be judged by it; else it is a recording.

        Cameras, microphones and named pipes are. Standard input is, unless ``live=no`` says otherwise or a
        file is redirected there, whatever is said of it then.
        """
        if self.is_stdin:
            return bool(self.options.get("live", True)) and not is_file(STDIN)
        return self.kind in _DEVICE_KINDS

    @property
    def reopens(self) -> bool:
        """Whether it is captured for all streams together and opened anew whenever it breaks."""
        return self.kind in _DEVICE_KINDS and not self.is_stdin

    @property
    def is_stdin(self) -> bool:
        """Whether it is standard input, which is read to its end, once."""
        return self.kind == "pipe" and self.target == STDIN_TARGET

    @property
    def shown(self) -> str:
        """The target without credentials, for messages and records."""
        return hide_credentials(self.target)


def parse_source(text: str) -> Address:
    """Return what ``text`` names.

    Raises:
        LinkError: SOURCE_MISSING; a path that does not exist.
        CallerError: CONFIG_BAD; no known form, or an option that this form does not have.
    """
    if text.startswith("camera:"):
        return _camera(text.removeprefix("camera:"))
    if text.startswith("microphone:"):
        return _microphone(text.removeprefix("microphone:"))
    if text.startswith("pipe:"):
        return _pipe(text.removeprefix("pipe:"))
    if "://" in text:
        message = f"{hide_credentials(text)} is not a file; a stream from the network is a camera"
        raise CallerError(Reason.CONFIG_BAD, message, hint="camera:URL")
    # a question mark is a legal file name: the whole text counts when it exists
    path, query = (text, "") if _exists(Path(text)) else _cut(text)
    kind = _path_kind(Path(path))
    return Address(kind, path, _options(query, _OPTIONS[kind], text))


def names_device(text: str) -> bool:
    """Tell whether ``text`` is written as a device or a pipe, and not as a path of a recording."""
    return text.startswith(_DEVICE_PREFIXES)


def is_file(fd: int) -> bool:
    """Tell whether ``fd`` is a regular file: a recording, whoever reads it. A closed one is none."""
    try:
        return stat.S_ISREG(os.fstat(fd).st_mode)
    except OSError:
        return False


def hide_credentials(text: str) -> str:
    """Return ``text`` without what may be secret in a URL: user, password and query.

    >>> hide_credentials("rtsp://admin:p@ss@10.0.0.7/live?token=1")
    'rtsp://***@10.0.0.7/live'
    """
    scheme, separator, rest = text.partition("://")
    if not separator:
        return text
    _, at, host = rest.rpartition("@")  # the last one: passwords are not always escaped
    return f"{scheme}://{'***@' if at else ''}{re.split('[?#]', host)[0]}"


def _cut(text: str) -> tuple[str, str]:
    path, _, query = text.partition("?")
    return path, query


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError as error:  # no permission to look, a name too long ...
        raise disk_error(error, f"look at {path}") from error


def _path_kind(path: Path) -> Kind:
    if not _exists(path):
        raise LinkError(
            Reason.SOURCE_MISSING,
            f"source {path} does not exist",
            hint=f"check the path; a source is {_FORMS}",
        )
    if path.is_dir():
        return "folder"
    suffix = path.suffix.lower()
    if suffix in VIDEO_SUFFIXES:
        return "video"
    if suffix in AUDIO_SUFFIXES:
        return "audio"
    hint = f"a source is {_FORMS}"
    if suffix in IMAGE_SUFFIXES:
        hint = "galago classify takes single images; a stream is a folder of images"
    raise CallerError(Reason.CONFIG_BAD, f"{path} is no kind of source that is known by its name", hint=hint)


def _camera(text: str) -> Address:
    # everything after camera: belongs to a URL, its query too
    device, query = (text, "") if "://" in text else _cut(text)
    if not device:
        raise CallerError(
            Reason.CONFIG_BAD,
            "camera: names no device",
            hint="camera:/dev/video0, camera:0 or camera:rtsp://...",
        )
    return Address("camera", device, _options(query, _OPTIONS["camera"], f"camera:{hide_credentials(text)}"))


def _microphone(text: str) -> Address:
    name, query = _cut(text)
    if not name or name.isdigit():
        what = f"microphone:{name} is a number, which changes" if name else "microphone: names no device"
        raise CallerError(
            Reason.CONFIG_BAD,
            what,
            hint="microphone:default, microphone:/dev/snd/by-id/... or a name that galago doctor shows",
        )
    return Address("microphone", name, _options(query, _OPTIONS["microphone"], f"microphone:{text}"))


def _pipe(text: str) -> Address:
    target, query = _cut(text)
    if not target:
        raise CallerError(
            Reason.CONFIG_BAD,
            "pipe: names no pipe",
            hint="pipe:-?rate=16000 for standard input, pipe:/run/galago/hall?rate=16000 for a FIFO",
        )
    return Address("pipe", target, _options(query, _OPTIONS["pipe"], f"pipe:{text}"))


def _rate(text: str) -> Fraction:
    rate = Fraction(text)
    if not 0 < rate <= 1000:
        raise ValueError("a frame rate is above 0 and at most 1000")
    return rate


def _integer(lowest: int, highest: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        if not text.isascii() or not text.isdigit() or not lowest <= int(text) <= highest:
            raise ValueError(f"expected an integer from {lowest} to {highest}")
        return int(text)

    return read


def _yes_no(text: str) -> bool:
    if text not in ("yes", "no"):
        raise ValueError("expected yes or no")
    return text == "yes"


_Readers = dict[str, Callable[[str], Any]]
_OPTIONS: dict[Kind, _Readers] = {
    "folder": {"fps": _rate},
    "video": {"fps": _rate},
    "audio": {},
    "pipe": {"rate": _integer(4_000, 192_000), "live": _yes_no},
    "microphone": {"rate": _integer(4_000, 192_000), "channels": _integer(1, 64)},
    "camera": {
        "width": _integer(1, 16_384),
        "height": _integer(1, 16_384),
        "fps": _integer(1, 1_000),
    },
}


def _options(query: str, readers: _Readers, text: str) -> dict[str, Any]:
    known = f"it knows {', '.join(readers)}" if readers else "it has none"
    options: dict[str, Any] = {}
    try:
        pairs = parse_qsl(query, keep_blank_values=True, strict_parsing=True) if query else []
    except ValueError as error:
        raise CallerError(
            Reason.CONFIG_BAD, f"source {text}: {error}", hint="options: ?name=value&..."
        ) from None
    for name, value in pairs:
        if name not in readers or name in options:
            what = "option twice" if name in options else "unknown option"
            raise CallerError(Reason.CONFIG_BAD, f"source {text}: {what}: {name}", hint=known)
        try:
            options[name] = readers[name](value)
        except (ValueError, ZeroDivisionError) as error:
            raise CallerError(
                Reason.CONFIG_BAD, f"source {text}: {name}={value}: {error}", hint=known
            ) from None
    return options
