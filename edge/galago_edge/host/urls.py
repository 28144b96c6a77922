"""URLs: how one is shown, and whether anybody answers there."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from urllib.parse import SplitResult

    from galago_edge.host.tls_trust import TlsTrust

CONNECT_S = 5.0
_PORTS = {"rtsp": 554, "rtsps": 322, "rtmp": 1935, "rtmps": 443, "http": 80, "https": 443}
_TLS = ("https", "rtsps", "rtmps")

HIDDEN = "***"
"""Stands where something may be secret."""

ESCAPED_IN_URL = "in a URL, @ / ? # % of a password are written %40 %2F %3F %23 %25"

# the second form is a slip (rtsp:/HOST, rtsp:\\HOST), which must not show a password either
_BEGIN = re.compile(
    r"[a-z][a-z0-9+.-]*://|\b(?:rtsps?|https?|rtmps?|srt|udp|tcp|ftp|mms):[/\\]*", re.IGNORECASE
)
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_LEGAL_HOST = re.compile(r"[a-z0-9_][a-z0-9_.-]*|[0-9a-f:.]+(?:%[a-z0-9_.-]+)?")
"""A name, an IPv4 address, or an IPv6 address with its zone."""
_LABEL = 63
"""No part of a name between two dots is longer."""
_AUTHORITY_ENDS = re.compile(r"[/?#\\]")
_HOST = re.compile(r"(?:\[[^\]@/]*\]|[^:\s@\[\]]*)(?::\d*)?")
"""A host, perhaps with its port."""
_SECRET_IN_PATH = re.compile(r"(?i)((?:pass|pwd|token|secret|key|auth)[a-z]*=).*")
"""``/user=admin_password=x_channel=1.sdp``: recorders of several makers want it like that."""
_HARMLESS = {"cam", "camera", "ch", "channel", "profile", "resolution", "stream", "streamid", "subtype"}
_HARMLESS_VALUE = re.compile(r"\d{1,3}|\d{2,4}x\d{2,4}")


def hide_credentials(text: str) -> str:
    """Return ``text`` without what may be secret in a URL: user, password, and a query but for channels.

    A password that is not escaped may hold everything that ends another part of a URL. Where it cannot be
    told which ``@`` stands before the host, nothing is shown that would be a part of the password if it were
    another one.

    >>> hide_credentials("rtsp://admin:p@ss@10.0.0.7/live?channel=3&token=1")
    'rtsp://***@10.0.0.7/live?channel=3'
    >>> hide_credentials("http://10.0.0.7:8080/x?key=a@b")
    'http://***'
    """
    begin = _BEGIN.search(text)
    if begin is None or (not begin[0].endswith("//") and "@" not in text[begin.end() :]):
        return text
    return text[: begin.end()] + _place(text[begin.end() :])


def _place(rest: str) -> str:
    """Return host, path and harmless parts of the query of what stands behind ``scheme://``."""
    authority = _AUTHORITY_ENDS.split(rest, maxsplit=1)[0]
    tail = rest[len(authority) :]
    if "@" not in tail:
        _, at, host = authority.rpartition("@")
        if _HOST.fullmatch(host) is None:
            return HIDDEN  # a port that is no number is a password whose host was forgotten
        return f"{HIDDEN if at else ''}{at}{host}{_shown_tail(tail)}"
    before, _, behind = rest.rpartition("@")
    if not re.search("[?#]", before):  # of the path, or of a password with a slash: no secret is behind it
        return f"{HIDDEN}@{_bare(behind)}"
    if ":" not in before and "@" not in authority:  # there is no password
        return f"{authority}{_shown_tail(tail)}"
    plausible = _HOST.fullmatch(authority.rpartition("@")[2]) is not None
    if plausible or re.split("[?#]", rest, maxsplit=1)[1].count("@") > 1:
        return HIDDEN
    return f"{HIDDEN}@{_bare(behind)}"


def _bare(rest: str) -> str:
    """Return ``HOST/PATH?QUERY`` without what is secret in it."""
    host = _AUTHORITY_ENDS.split(rest, maxsplit=1)[0]
    return f"{host}{_shown_tail(rest[len(host) :])}"


def _shown_tail(tail: str) -> str:
    """Return path and query without what may be secret."""
    path, mark, query = tail.partition("#")[0].partition("?")
    path = _SECRET_IN_PATH.sub(rf"\g<1>{HIDDEN}", path)
    shown = "&".join(part for part in query.split("&") if _is_harmless(part))
    return f"{path}{mark}{shown}" if shown else path


def _is_harmless(part: str) -> bool:
    name, _, value = part.partition("=")
    return name.lower() in _HARMLESS and _HARMLESS_VALUE.fullmatch(value) is not None


def sendable(url: str) -> SplitResult:
    """Return the parts of an ``http`` or ``https`` address to which requests can be sent.

    Blanks and letters beyond ASCII in path and query are no fault: they are escaped on the way.

    Raises:
        ValueError: Nothing can ever be sent there; the text completes "the URL ..." and says no secret.
    """
    from urllib.parse import urlsplit  # here: every capture child shows URLs

    if _CONTROL.search(url):  # urlsplit would drop some of them
        raise ValueError("has a control character in it")
    if url != url.strip():
        raise ValueError("has a blank at its beginning or end")
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:  # its text may hold a password
        raise ValueError("cannot be taken apart: HOST:PORT, with a port from 1 to 65535") from None
    if parts.scheme not in ("http", "https"):
        raise ValueError("begins with neither http:// nor https://")
    if not host:
        raise ValueError("has no host")
    if parts.username is not None:
        raise ValueError("takes no password; set user and password beside it")
    if not host.isascii():
        raise ValueError("has letters beyond ASCII in its host; write it as xn--...")
    labels = host.removesuffix(".").split(".")
    if not _LEGAL_HOST.fullmatch(host) or not all(0 < len(label) <= _LABEL for label in labels):
        raise ValueError("has a host that is no name of a computer")
    if port == 0:
        raise ValueError("has the port 0, which no server has")
    return parts


def server_fault(url: str, trust: TlsTrust | None = None) -> str:
    """Return why nobody answers at a URL; empty when somebody does. Says no credentials.

    ``trust``: whose certificate it may show; without it, one that a public authority has signed.
    """
    import socket  # here: every capture child shows URLs, and asks none
    import ssl
    from urllib.parse import urlsplit

    scheme, host, port = "", "", 0
    try:
        parts = urlsplit(url)
        scheme, host, port = parts.scheme, parts.hostname or "", parts.port or _PORTS.get(parts.scheme, 80)
    except ValueError:  # its text may hold the password
        pass
    if not host or host not in hide_credentials(url).lower():  # not what is shown: then it may be a password
        return f"is no usable URL: {ESCAPED_IN_URL}"
    try:
        with socket.create_connection((host, port), CONNECT_S) as connection:
            if scheme in _TLS:
                context = ssl.create_default_context() if trust is None else trust.context()
                with context.wrap_socket(connection, server_hostname=host) as shown:
                    if trust is not None:
                        trust.check(shown)
    except socket.gaierror as error:
        return f"the name {host} cannot be resolved: {error.strerror}"
    except ssl.SSLError as error:
        return f"TLS: {getattr(error, 'verify_message', '') or error.reason or error}"
    except TimeoutError:
        return f"no answer from {host}:{port} for {CONNECT_S:g} s"
    except OSError as error:
        return f"{host}:{port}: {error.strerror or error}"
    except UnicodeError:
        return f"the name {host} is no name of a computer"
    return ""
