"""How a source is written on the command line and in ``galago.toml``: ``WHAT[?option=value&...]``."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

from galago_edge.contract.errors import CallerError, DeviceError, InputError, LinkError, Reason, disk_error
from galago_edge.host.plugins import plugin_code
from galago_edge.host.urls import hide_credentials
from galago_edge.sources.address_options import read_options
from galago_edge.sources.file_content import content_of, modalities_of
from galago_edge.sources.source_kind import SOURCES, Address, SourceKind, split_query
from galago_edge.sources.stream_target import FILE, file_path

IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".webp", ".pgm", ".ppm", ".tif", ".tiff"})
AUDIO_SUFFIXES = frozenset(
    {
        *(".wav", ".rf64", ".w64", ".aif", ".aiff", ".aifc", ".au", ".snd", ".caf"),
        *(".flac", ".wv", ".ogg", ".oga", ".opus", ".mp3", ".mp2", ".m4a", ".aac", ".ac3", ".wma"),
        *(".mka", ".weba", ".amr", ".spx", ".eac3", ".dts", ".thd", ".mlp", ".loas", ".latm", ".tta"),
        *(".ape", ".tak", ".mpc", ".dsf", ".voc", ".sf", ".sph"),
    }
)
VIDEO_SUFFIXES = frozenset(
    {
        *(".avi", ".mp4", ".mkv", ".mov", ".m4v", ".webm", ".ts", ".m2ts", ".mts", ".flv", ".mpeg", ".mpg"),
        *(".vob", ".3gp", ".3g2", ".wmv", ".asf", ".ogv", ".gif", ".ivf", ".nut", ".mxf", ".y4m", ".dav"),
        *(".h264", ".264", ".h265", ".265", ".hevc", ".m1v", ".m2v", ".mjpeg", ".mjpg", ".mpjpeg", ".obu"),
        *(".dv", ".rm", ".rmvb", ".wtv", ".h263", ".f4v", ".ismv"),
    }
)
RAW_SUFFIXES = frozenset({".raw", ".pcm"})
"""Sound without a header: its address says what its samples are."""

STDIN = 0
"""File descriptor of standard input."""


def parse_source(text: str) -> Address:
    """Return what ``text`` names.

    Raises:
        LinkError: SOURCE_MISSING; a path that does not exist.
        CallerError: CONFIG_BAD; no known form, or an option that this form does not have.
        InputError: SOURCE_MISMATCH; a path that is a pipe, a device or the like.
        DeviceError: PLUGIN_BAD; it is another distribution's kind, and cannot be used.
    """
    name, colon, rest = text.partition(":")
    kind = SOURCES.find(name) if colon else None
    if kind is not None and not kind.is_path:
        with plugin_code("source", name):
            target, query = kind.split(rest)
            if not isinstance(target, str) or not isinstance(query, str):
                raise TypeError("its split gave something else than two texts")
            options = read_options(query, kind.options, f"{name}:{hide_credentials(rest)}")
        return Address(name, target, options, kind)
    if "://" in text:
        message = f"{hide_credentials(text)} is not a file; a stream from the network is a camera"
        raise CallerError(Reason.CONFIG_BAD, message, hint="camera:URL")
    # a question mark is a legal file name: the whole text counts when it exists
    path, query = (text, "") if text and _exists(Path(text)) else split_query(text)
    if not path:
        raise CallerError(Reason.CONFIG_BAD, "the source is empty", hint=f"a source is {_forms()}")
    name, kind = _path_kind(Path(path))
    # those of both, until it is known whether its pictures or its sound are wanted
    other = SOURCES.find(kind.other) if kind.other else None
    known = {**kind.options, **(other.options if other is not None else {})}
    return Address(name, path, read_options(query, known, text), kind)


def anchored_source(text: str, folder: Path) -> str:
    """Return the address with a relative path that starts at ``folder``; an absolute one stays what it is."""
    if not _names_device(text):
        return text if "://" in text else str(folder / text)
    name, _, rest = text.partition(":")
    try:
        kind = SOURCES.find(name)
        with plugin_code("source", name):
            is_path = kind is not None and kind.path_target is not None and kind.path_target(rest)
    except DeviceError:
        return text  # whoever opens it will say why it cannot be
    if not is_path:
        return text
    scheme = FILE if rest.startswith(FILE) else ""
    return f"{name}:{scheme}{folder / (file_path(rest) if scheme else rest)}"


def is_file(fd: int) -> bool:
    """Tell whether ``fd`` is a regular file: a recording, whoever reads it. A closed one is none."""
    try:
        return stat.S_ISREG(os.fstat(fd).st_mode)
    except OSError:
        return False


def _names_device(text: str) -> bool:
    """Tell whether ``text`` is written as ``NAME:TARGET``, and not as a path of a recording."""
    name, colon, _ = text.partition(":")
    if not colon or name not in SOURCES.names():
        return False
    kind = SOURCES.find(name) if name in SOURCES.own() else None
    return kind is None or not kind.is_path


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError as error:  # no permission to look ...
        if error.errno == errno.ENAMETOOLONG:  # of a path with many options behind it
            return False
        raise disk_error(error, f"look at {path}") from error


def _path_kind(path: Path) -> tuple[str, SourceKind]:
    if not _exists(path):
        raise LinkError(
            Reason.SOURCE_MISSING,
            f"source {path} does not exist",
            hint=f"check the path; a source is {_forms()}",
        )
    if not (path.is_file() or path.is_dir()):  # to open a pipe would wait for its writer
        raise InputError(
            Reason.SOURCE_MISMATCH,
            f"source {path} is neither a file nor a folder",
            hint="pipe:PATH takes raw sound of a pipe; copy anything else to a file",
        )
    suffix = path.suffix.lower()
    by_name = None
    for name, kind in _own_kinds():
        if path.is_dir() and kind.folders:
            return name, kind
        if suffix in kind.suffixes:
            by_name = name
    brought = suffix.removeprefix(".")  # another distribution's kind is found by its name alone
    if by_name is None and (found := SOURCES.find(brought)) is not None and suffix in found.suffixes:
        return brought, found
    by_content = _by_content(path, by_name)
    if by_content is not None and (found := SOURCES.find(by_content)) is not None:
        return by_content, found
    hint = f"a source is {_forms()}"
    if suffix in IMAGE_SUFFIXES or content_of(path) == "picture":
        hint = "galago classify takes single images; a stream is a folder of images"
    raise CallerError(Reason.CONFIG_BAD, f"{path} is no kind of source, by content or by name", hint=hint)


def _by_content(path: Path, by_name: str | None) -> str | None:
    """Return the kind of a file: what its first bytes say, and where they leave it open, its name."""
    content = content_of(path)
    if content == "sound":
        return "audio"
    if content == "recording" or by_name in ("mcap", "mcap_sound"):
        return "mcap_sound" if modalities_of(path) == {"microphone"} else "mcap"
    if by_name is not None or content == "picture":
        return by_name
    found = modalities_of(path)
    if not found and content is None:
        return None
    return "audio" if found == {"microphone"} else "video"


def _own_kinds() -> list[tuple[str, SourceKind]]:
    return [(name, kind) for name in SOURCES.own() if (kind := SOURCES.find(name)) is not None]


def _forms() -> str:
    """Return how sources are written: recordings first."""
    kinds = sorted((kind for _, kind in _own_kinds()), key=lambda kind: not kind.is_path)
    forms = dict.fromkeys(kind.form for kind in kinds)
    return ", ".join([*forms, *(f"{name}:..." for name in SOURCES.offered())])
