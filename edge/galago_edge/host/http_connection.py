"""HTTP connections whose requests end at one moment, however slowly the other side drips.

A socket's own timeout starts again with every byte. Here a :class:`Deadline` is asked before every operation,
so that connecting, sending and each piece of the answer share the time of their request. Who may be asked,
what is followed and how much of an answer is read is for those who ask.
"""

from __future__ import annotations

import http.client
import io
import math
import socket
import ssl
import time
from typing import Any
from urllib.parse import SplitResult, quote

from galago_edge.host.tls_trust import TlsTrust

AS_THEY_ARE = "%/?:@!$&'()*+,;=~#[]|"
"""Of a path and a query: what has a meaning there, and the escapes that are there already."""


class Deadline:
    """When the request that goes on now has to be through, header and all."""

    def __init__(self, longest_wait_s: float = math.inf) -> None:
        """Begin without an end; one operation of the socket takes at most ``longest_wait_s``."""
        self.longest_wait_s = longest_wait_s
        self.until = math.inf
        """On the monotonic clock, in seconds."""

    def begin(self, seconds: float) -> None:
        """Give the request that begins now so much time."""
        self.until = time.monotonic() + seconds

    def shorten(self, seconds: float) -> None:
        """Let what is left take at most so much time."""
        self.until = min(self.until, time.monotonic() + seconds)

    def wait_s(self) -> float | None:
        """Return how long the next operation may take; None: for ever.

        Raises:
            TimeoutError: The time is over.
        """
        left_s = min(self.until - time.monotonic(), self.longest_wait_s)
        if left_s <= 0:
            raise TimeoutError("no whole answer in time")
        return None if left_s == math.inf else left_s


class HttpConnection(http.client.HTTPConnection):
    """A connection that keeps a deadline."""

    def __init__(self, host: str, port: int | None = None, *, deadline: Deadline, **options: Any) -> None:
        """Prepare; nothing is connected yet. ``options``: those of ``http.client``."""
        super().__init__(host, port, **options)
        self._deadline = deadline

    def connect(self) -> None:
        """Connect.

        Raises:
            OSError: Nobody answers, in time or at all.
        """
        self.timeout = self._deadline.wait_s()
        super().connect()
        self.sock: Any = TimedSocket(self.sock, self._deadline)


class HttpsConnection(http.client.HTTPSConnection):
    """The same over TLS, with the certificate checked."""

    def __init__(
        self,
        host: str,
        port: int | None = None,
        *,
        deadline: Deadline,
        trust: TlsTrust | None = None,
        **options: Any,
    ) -> None:
        """Prepare; nothing is connected yet. ``options``: those of ``http.client``.

        Raises:
            OSError: The file of ``trust`` cannot be read, or holds no certificate.
        """
        self._trust = trust or TlsTrust()
        super().__init__(host, port, **{"context": self._trust.context()} | options)
        self._deadline = deadline

    def connect(self) -> None:
        """Connect and shake hands.

        Raises:
            OSError: Nobody answers, in time or at all, or its certificate is not to be trusted.
        """
        self.timeout = self._deadline.wait_s()
        super().connect()
        try:
            self._trust.check(self.sock)
        except OSError:
            self.close()
            raise
        self.sock: Any = TimedSocket(self.sock, self._deadline)


def connection_to(
    url: SplitResult, deadline: Deadline, trust: TlsTrust | None = None
) -> HttpConnection | HttpsConnection:
    """Return a connection to the server of an ``http`` or ``https`` address; it is not open yet.

    Raises:
        OSError: The file of ``trust`` cannot be read, or holds no certificate.
    """
    host = url.hostname or ""
    if url.scheme == "https":
        port = url.port or http.client.HTTPS_PORT
        return HttpsConnection(host, port, deadline=deadline, trust=trust)
    # without a port, the end of an IPv6 address would be taken for one
    return HttpConnection(host, url.port or http.client.HTTP_PORT, deadline=deadline)


def request_target(url: SplitResult) -> str:
    """Return what the request line asks the server for; blanks and letters beyond ASCII are escaped.

    >>> from urllib.parse import urlsplit
    >>> request_target(urlsplit("http://host/way?to=it#here")), request_target(urlsplit("http://host"))
    ('/way?to=it', '/')
    >>> request_target(urlsplit("http://host/Hof Süd.mjpg?a=b%20c"))
    '/Hof%20S%C3%BCd.mjpg?a=b%20c'
    """
    return quote((url.path or "/") + (f"?{url.query}" if url.query else ""), safe=AS_THEY_ARE)


class TimedSocket:
    """What is used of a socket, by ``http.client`` too, each operation within the deadline."""

    def __init__(self, sock: socket.socket, deadline: Deadline) -> None:
        """Take over ``sock``, which is connected."""
        self._sock = sock
        self._deadline = deadline

    def sendall(self, data: Any, within_s: float = math.inf) -> None:
        """Send everything, also within so many seconds.

        Raises:
            OSError: The other side does not take it, in time or at all.
        """
        left_s = self._deadline.wait_s()
        self._sock.settimeout(left_s if within_s == math.inf else min(within_s, left_s or within_s))
        self._sock.sendall(data)

    def bound_buffer(self, size: int) -> None:
        """Let what was sent and not taken be at most about ``size`` bytes on this machine."""
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, size)

    def recv(self, limit: int) -> bytes:
        """Return what has come, at most ``limit`` bytes; nothing when the other side has hung up.

        Raises:
            OSError: Nothing comes, in time or at all.
        """
        self._sock.settimeout(self._deadline.wait_s())
        return self._sock.recv(limit)

    def stale(self) -> bool:
        """Tell whether the other side has hung up, or says something that nobody has asked for."""
        self._sock.settimeout(0.0)
        try:
            self._sock.recv(1)
        except (BlockingIOError, ssl.SSLWantReadError):
            return False
        except OSError:
            return True
        return True

    def makefile(self, mode: str) -> io.BufferedReader:
        """Return a reader of what comes."""
        return io.BufferedReader(_TimedReader(self._sock, self._deadline))

    def close(self) -> None:
        """Let go; an answer that is still read keeps the socket open until it is closed itself."""
        self._sock.close()


class _TimedReader(io.RawIOBase):
    """What comes over a connection."""

    def __init__(self, sock: socket.socket, deadline: Deadline) -> None:
        self._sock = sock
        self._raw = sock.makefile("rb", buffering=0)
        self._deadline = deadline

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        self._sock.settimeout(self._deadline.wait_s())
        return self._raw.readinto(buffer)

    def close(self) -> None:
        self._raw.close()
        super().close()
