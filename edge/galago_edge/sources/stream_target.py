"""Targets of cameras and microphones that are streams: a URL, or a file that is played as a live source."""

from __future__ import annotations

import re
from collections.abc import Collection
from urllib.parse import parse_qsl

from galago_edge.contract.errors import CallerError, Reason
from galago_edge.host.urls import ESCAPED_IN_URL, hide_credentials
from galago_edge.sources.media.stream_url import stream_url

FILE = "file:"
"""What stands before the path of a file that is played in real time."""

_HASH_IN_LOGIN = re.compile(r"[^:/?#]+://[^/?#@]*:[^/?#@]*#.*@.*", re.DOTALL)
"""``rtsp://admin:12#34@host``: read as it stands, the password is the port of a computer called admin."""


def streams(target: str) -> bool:
    """Tell whether a target may hold pictures and sound, and is no device of this machine.

    >>> [streams(target) for target in ("rtsp://cam/live", "file:yard.mp4", "/dev/video0", "default")]
    [True, True, False, False]
    """
    return "://" in target or is_test_file(target)


def is_test_file(target: str) -> bool:
    """Tell whether a target is a file that is played as a live source.

    What it shows happened long ago, so it judges no bundle.
    """
    return target.startswith(FILE)


def file_path(target: str) -> str:
    """Return the path of a file that is played.

    >>> file_path("file:///srv/yard.mp4"), file_path("file:yard.mp4")
    ('/srv/yard.mp4', 'yard.mp4')
    """
    path = target.removeprefix(FILE)
    return "/" + path.lstrip("/") if path.startswith("/") else path


def split_target(
    kind: str, rest: str, device_options: Collection[str], file_options: Collection[str] = ("loop",)
) -> tuple[str, str]:
    """Return what stands behind ``camera:`` or ``microphone:`` as target and options.

    A URL is taken as a whole, its query too; a file knows the ``file_options``, a device the
    ``device_options``.

    Raises:
        CallerError: CONFIG_BAD; a file without a name, an option of the other, or a URL that is none.
    """
    if "://" in rest and not is_test_file(rest):
        check_stream_url(f"{kind}:{rest}")
        return rest, ""
    target, _, query = rest.partition("?")
    a_file = is_test_file(target)
    if a_file and not file_path(target):
        raise CallerError(
            Reason.CONFIG_BAD, f"{kind}:{rest} names no file", hint=f"{kind}:file:/srv/test.mkv?loop=yes"
        )
    known = tuple(file_options) if a_file else tuple(device_options)
    for name, _ in parse_qsl(query, keep_blank_values=True):
        if name in (*file_options, *device_options) and name not in known:  # others: where they are read
            text = f"source {kind}:{hide_credentials(rest)}: unknown option: {name}"
            raise CallerError(Reason.CONFIG_BAD, text, hint=f"it knows {', '.join(known)}")
    return target, query


def check_stream_url(address: str) -> None:
    """Refuse an address whose URL can never be opened, whatever is done to the camera; others are passed.

    Raises:
        CallerError: CONFIG_BAD; most often a password whose letters are not escaped.
    """
    kind, _, url = address.partition(":")
    if kind not in ("camera", "microphone") or "://" not in url or is_test_file(url):
        return
    try:
        stream_url(url)
        fault = "its password seems to end at a #" if _HASH_IN_LOGIN.fullmatch(url) else ""
    except UnicodeEncodeError:  # bytes of a command line that are no UTF-8: whoever opens it says so
        return
    except ValueError as error:
        fault = str(error)
    if fault:
        raise CallerError(
            Reason.CONFIG_BAD,
            f"source {kind}:{hide_credentials(url)} is no usable address: {fault}",
            hint=f"{kind}:SCHEME://HOST:PORT/PATH, with user and password in its [source.NAME]; "
            f"{ESCAPED_IN_URL}",
        )
