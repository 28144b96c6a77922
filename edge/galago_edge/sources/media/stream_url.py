"""URLs of media streams as FFmpeg takes them: what people write into an address, escaped where it must be."""

from __future__ import annotations

from urllib.parse import quote, urlsplit, urlunsplit

_KEPT = "/%!$&'()*+,;=:@?#[]~-._|"
"""What FFmpeg takes as it is; a percent sign is an escape already."""


def stream_url(text: str) -> str:
    """Return a URL for FFmpeg: small scheme, blanks and letters beyond ASCII escaped, the host as in DNS.

    User and password stay as they are: FFmpeg takes them escaped.

    >>> stream_url("RTSP://cam/live stream/für")
    'rtsp://cam/live%20stream/f%C3%BCr'
    >>> stream_url("rtsp://admin:p%40ss@[fe80::1]:554/a?b=c d")
    'rtsp://admin:p%40ss@[fe80::1]:554/a?b=c%20d'

    Raises:
        ValueError: It is none, or names no host. Its text may be secret, so the error holds none of it.
    """
    if any(ord(letter) < 32 for letter in text):
        raise ValueError("it holds control characters")
    try:
        parts = urlsplit(text)
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise ValueError("it is no URL") from None
    if not parts.scheme or not host:
        raise ValueError("it names no scheme or no host")
    user, at, place = parts.netloc.rpartition("@")
    if not host.isascii():
        try:
            known = host.encode("idna").decode("ascii")
        except UnicodeError:
            raise ValueError("its host is no name") from None
        place = known + place[len(host) :]
    netloc = quote(user, safe=_KEPT) + at + place
    rest = (quote(part, safe=_KEPT) for part in (parts.path, parts.query, parts.fragment))
    return urlunsplit((parts.scheme.lower(), netloc, *rest))
