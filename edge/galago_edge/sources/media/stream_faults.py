"""Why a stream from the network cannot be opened or has ended, in words that hold no URL.

FFmpeg's own texts end with the URL, password and all; only its error numbers are used.
"""

from __future__ import annotations

import errno
from typing import Any
from urllib.parse import urlsplit

from galago_edge.contract.errors import LinkError, Reason
from galago_edge.host.urls import ESCAPED_IN_URL, server_fault

LOGIN_REFUSED = "refuses this user and password (401)"
_CHECK = "check the address, its power and the network"
_UNREACHABLE = {
    errno.ECONNREFUSED: "refuses the connection: nothing listens at that port",
    errno.EHOSTUNREACH: "cannot be reached: there is no route to it",
    errno.ENETUNREACH: "cannot be reached: there is no network",
    errno.ETIMEDOUT: "does not answer",
    errno.ECONNRESET: "broke the connection off",
    errno.EPIPE: "broke the connection off",
}


def open_fault(error: Any, url: str, shown: str, waited_out: bool, open_s: float) -> LinkError:
    """Return what kept a stream from being opened.

    ``error`` is what PyAV raised; ``waited_out`` tells that all of ``open_s`` had passed by then. ``shown``
    completes "camera ..." and holds no credentials. An error that FFmpeg does not explain (a name that nobody
    knows and a broken TLS look alike to it) is looked into by asking the server once.
    """
    scheme = urlsplit(url).scheme
    if waited_out:
        return _missing(shown, f"gave no stream within {open_s:g} s", f"{_CHECK}; open_s allows it more time")
    if (answer := _answer(type(error).__name__, bool(urlsplit(url).username))) is not None:
        return _missing(shown, *answer)
    code = error.errno
    if code in _UNREACHABLE:
        return _missing(shown, _UNREACHABLE[code], _CHECK)
    kind = type(error).__name__
    if kind == "ProtocolNotFoundError":
        return LinkError(
            Reason.SOURCE_MISMATCH,
            f"{shown} cannot be opened: there is no way to open {scheme}://",
            hint="rtsp://, rtsps://, rtmp://, http:// or https://",
        )
    if kind == "DecoderNotFoundError":
        return _mismatch(shown, "is of a codec that FFmpeg has no decoder for")
    fault = server_fault(url) if urlsplit(url).hostname else ""
    if fault:
        return _missing(shown, f"cannot be reached: {fault}", _CHECK)
    if kind == "InvalidDataError":
        if scheme.startswith("rts"):
            return _mismatch(shown, f"does not answer as {scheme.upper()}")
        return _mismatch(shown, "sends no pictures or sound that FFmpeg knows")
    return _missing(shown, f"cannot be opened ({error.strerror or kind})", _CHECK)


def read_fault(error: Any, shown: str, stall_s: float) -> LinkError:
    """Return why a stream gives no more; ``error`` is what PyAV raised."""
    kind = type(error).__name__
    if kind in ("ExitError", "TimeoutError"):
        what = f"sends nothing more, for {stall_s:g} s"
    elif error.errno in _UNREACHABLE:
        what = "broke its stream off"
    else:
        what = f"broke its stream off ({error.strerror or kind})"
    return LinkError(Reason.SOURCE_LOST, f"{shown} {what}", hint="check its power and the network")


def _answer(kind: str, has_user: bool) -> tuple[str, str] | None:
    """Return what a server said that answered with a refusal, and what to do."""
    if kind == "HTTPUnauthorizedError":
        if has_user:
            return LOGIN_REFUSED, f"check both; {ESCAPED_IN_URL}"
        return "wants a user and a password (401)", "user and password of [source.NAME]"
    answers: dict[str, tuple[str, str]] = {
        "HTTPForbiddenError": ("refuses access (403)", "allow this user and this address in the camera"),
        "HTTPNotFoundError": ("has no stream at this path (404)", "look up the stream's path in its manual"),
        "HTTPBadRequestError": ("does not understand the request (400)", "look up the stream's address"),
        "HTTPTooManyRequestsError": (
            "has too many viewers (429)",
            "close other viewers, or ask it less often",
        ),
        "HTTPOtherClientError": ("refuses the request", "look up the stream's address in its manual"),
        "HTTPServerError": ("has a fault of its own (5xx)", "restart it; it may have too many viewers"),
    }
    return answers.get(kind)


def _missing(shown: str, what: str, hint: str) -> LinkError:
    return LinkError(Reason.SOURCE_MISSING, f"{shown} {what}", hint=hint)


def _mismatch(shown: str, what: str) -> LinkError:
    return LinkError(
        Reason.SOURCE_MISMATCH, f"{shown} {what}", hint="look up the address of its stream in its manual"
    )
