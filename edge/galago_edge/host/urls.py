"""URLs: how one is shown, and whether anybody answers there."""

from __future__ import annotations

import re

CONNECT_S = 5.0
_PORTS = {"rtsp": 554, "rtsps": 322, "rtmp": 1935, "rtmps": 443, "http": 80, "https": 443}
_TLS = ("https", "rtsps", "rtmps")


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


def server_fault(url: str) -> str:
    """Return why nobody answers at a URL; empty when somebody does. Says no credentials."""
    import socket  # here: every capture child shows URLs, and asks none
    import ssl
    from urllib.parse import urlsplit

    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port or _PORTS.get(parts.scheme, 80)
    except ValueError as error:
        return f"is no URL: {error}"
    try:
        with socket.create_connection((host, port), CONNECT_S) as connection:
            if parts.scheme in _TLS:
                with ssl.create_default_context().wrap_socket(connection, server_hostname=host):
                    pass
    except socket.gaierror as error:
        return f"the name {host} cannot be resolved: {error.strerror}"
    except ssl.SSLError as error:
        return f"TLS: {getattr(error, 'verify_message', '') or error.reason}"
    except TimeoutError:
        return f"no answer from {host}:{port} for {CONNECT_S:g} s"
    except OSError as error:
        return f"{host}:{port}: {error.strerror or error}"
    return ""
