"""POST requests over one connection that is kept open, to servers of every kind.

The answer's first line alone says what became of a request. What follows it, header lines and body, may be
cut short, late, endless or nonsense: it is read, within bounds, only to learn how long to wait before the
next request, and to leave the connection fit for it. ``http.client`` refuses such answers as a whole.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING
from urllib.parse import SplitResult

from galago_edge.host.http_connection import Deadline, TimedSocket, connection_to, request_target

if TYPE_CHECKING:
    from galago_edge.host.tls_trust import TlsTrust

_REST_S = 2.0
"""How long the rest of an answer may take whose first line is there."""
_REST_BYTES = 65_536
"""More of a header, or of a body, is not read."""
_LINE_BYTES = 65_536
_INTERIM = 32
"""So many answers 1xx may come before the one that counts."""
_PIECE_BYTES = 16_384
_BUFFER_BYTES = 65_536
"""Of a big body, so much may wait on this machine when it counts as sent."""
_BUFFER_S = 8.0
"""Linux keeps up to twice that; at 16 KB a second it is on the other side after so long."""

_STATUS = re.compile(rb"HTTP/\d+(?:\.(\d+))?[ \t]+(\d{3})(?:[ \t]+(.*))?", re.DOTALL)
_LENGTH = re.compile(r"[0-9]{1,18}")
_CHUNK = re.compile(rb"[ \t]*([0-9A-Fa-f]{1,16})[ \t]*(?:;.*)?", re.DOTALL)
_SECONDS = re.compile(r"[0-9]+(?:\.[0-9]*)?|\.[0-9]+")
_SWITCHING = 101
_WITHOUT_BODY = (204, 304)

HEADER_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
"""``token`` of RFC 9110."""
HEADER_VALUE = re.compile("[\t\x20-\x7e\xa0-\xff]*")
"""What can be sent in a header, in ISO 8859-1."""


class NoAnswerError(OSError):
    """What came is no answer of a web server, or nothing came."""


@dataclass(frozen=True, slots=True)
class PostAnswer:
    """What a server said."""

    status: int
    """100 to 999."""
    reason: str
    """The words behind it; may be empty."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """By name in small letters; of those that came, the first of each name."""

    @property
    def pause_s(self) -> float:
        """The pause that the server asks for; 0 for none.

        ``Retry-After`` is seconds (some servers send decimals), or a date, which is compared with the
        answer's own ``Date``, so that the clock here need not be right.
        """
        asked = self.headers.get("retry-after", "")
        if _SECONDS.fullmatch(asked):
            return float(asked)
        until, now = _date_s(asked), _date_s(self.headers.get("date", ""))
        return 0.0 if until is None or now is None else max(0.0, until - now)


class PostConnection:
    """Posts to one server. Used by one thread."""

    def __init__(self, url: SplitResult, trust: TlsTrust | None = None) -> None:
        """Prepare for ``url``, which :func:`galago_edge.host.urls.sendable` has let pass."""
        self._url = url
        self._trust = trust
        self._deadline = Deadline()
        self._link: TimedSocket | None = None
        self._answer_s = math.inf
        self.reached = False
        """Whether the last request came to a connection: what went wrong then may be its own fault."""

    @property
    def fresh(self) -> bool:
        """Whether the next request makes a new connection: there is none, or the server has ended it."""
        if self._link is not None and self._link.stale():
            self.close()
        return self._link is None

    def post(
        self, body: bytes, headers: Mapping[str, str], timeout_s: float, *, path: str = "", send_s: float = 0
    ) -> PostAnswer:
        """Send one request; return what the first line of its answer says.

        ``path``: another one of this server than that of its address. ``send_s``: how much longer a big body
        may take to be sent. Once it is, the answer has ``timeout_s`` again, and what the buffers between may
        take; so has each piece of it to be taken.

        A server may end a kept connection in the moment in which it is used again: then the request is sent
        once more, over a new one.

        Raises:
            OSError: No connection, or no first line within ``timeout_s``.
        """
        self._deadline.begin(timeout_s + send_s)
        self._answer_s = timeout_s + _BUFFER_S if send_s > _BUFFER_S else math.inf
        request = self._request(body, headers, path)
        if not self.fresh:
            try:
                return self._exchange(request)
            except TimeoutError:
                raise
            except OSError:  # it hung up just now
                pass
        return self._exchange(request)

    def close(self) -> None:
        """End the connection. May be called twice."""
        link, self._link = self._link, None
        if link is not None:
            link.close()

    def _request(self, body: bytes, headers: Mapping[str, str], path: str = "") -> bytes:
        url = self._url._replace(path=path, query="") if path else self._url
        lines = [f"POST {request_target(url)} HTTP/1.1"]
        given = {name.lower() for name in headers}
        if "host" not in given:
            lines.append(f"Host: {_host(self._url)}")
        lines += [f"{name}: {value}" for name, value in headers.items()]
        lines += [f"Content-Length: {len(body)}", "", ""]
        return "\r\n".join(lines).encode("latin-1") + body

    def _exchange(self, request: bytes) -> PostAnswer:
        try:
            self.reached = self._link is not None
            if self._link is None:
                connection = connection_to(self._url, self._deadline, self._trust)
                connection.connect()
                self._link, self.reached = connection.sock, True
            reading = _Reading(self._link)
            failure = self._sent(request)
            self._deadline.shorten(self._answer_s)
            try:
                minor, status, reason = reading.status_line()
            except OSError as error:
                raise (failure or error) from None
        except OSError:
            self.close()
            raise
        if failure is not None:  # it has answered without listening to the end
            self.close()
            return PostAnswer(status, reason)
        return PostAnswer(status, reason, self._rest(reading, minor, status))

    def _sent(self, request: bytes) -> OSError | None:
        """Send; return why that failed. The answer may be there all the same."""
        assert self._link is not None
        try:
            if self._answer_s < math.inf:  # else megabytes that are still on their way here count as sent
                self._link.bound_buffer(_BUFFER_BYTES)
            pieces = memoryview(request)
            for start in range(0, len(pieces), _BUFFER_BYTES):
                self._link.sendall(pieces[start : start + _BUFFER_BYTES], self._answer_s)
        except TimeoutError:
            raise
        except OSError as error:
            return error
        return None

    def _rest(self, reading: _Reading, minor: int, status: int) -> dict[str, str]:
        """Read what follows the first line; keep the connection if that is as it should be."""
        headers: dict[str, str] = {}
        keep = False
        self._deadline.shorten(_REST_S)
        try:
            proper = reading.headers(headers)
            keep = reading.body(headers, status) and proper and _persists(headers, minor)
        except (OSError, ValueError):
            pass  # cut short, late or nonsense: the answer is known
        if not keep or reading.left:
            self.close()
        return headers


class _Reading:
    """Takes an answer apart."""

    def __init__(self, link: TimedSocket) -> None:
        self._link = link
        self.left = bytearray()
        """What came and was not asked for yet."""

    def status_line(self) -> tuple[int, int, str]:
        """Return the minor version, the status and its words, of the answer that counts.

        Raises:
            OSError: There is none, in time or at all.
        """
        for _ in range(_INTERIM):
            line = self._line()
            if not line:  # an empty line too many at the end of the answer before
                continue
            found = _STATUS.fullmatch(line)
            if found is None:
                raise NoAnswerError("the answer is not HTTP")
            status = int(found[2])
            if status >= 200 or status == _SWITCHING:
                reason = (found[3] or b"").decode("latin-1").strip()
                return int(found[1] or 1), status, reason
            if status < 100:
                raise NoAnswerError("the answer is not HTTP")
            self.headers({})
        raise NoAnswerError("only interim answers came")

    def headers(self, into: dict[str, str]) -> bool:
        """Read header lines into ``into``; return whether each was one.

        Raises:
            OSError, ValueError: They do not end, in time or at all.
        """
        proper = True
        size = 0
        while line := self._line():
            size += len(line)
            if size > _REST_BYTES:
                raise ValueError("too long a header")
            name, colon, value = line.decode("latin-1").partition(":")
            if not colon or not HEADER_NAME.fullmatch(name):
                proper = False
                continue
            name, value = name.lower(), value.strip(" \t")
            if name in ("content-length", "transfer-encoding") and into.get(name, value) != value:
                proper = False
            into.setdefault(name, value)
        return proper

    def body(self, headers: Mapping[str, str], status: int) -> bool:
        """Read the body and throw it away; return whether the next answer begins behind it.

        Raises:
            OSError, ValueError: It does not end, in time or at all.
        """
        length, coding = headers.get("content-length"), headers.get("transfer-encoding")
        if status in _WITHOUT_BODY:
            return True
        if coding is not None:
            if coding.lower() != "chunked" or length is not None:
                return False
            self._chunks()
            return True
        if length is None:
            self._skip(_REST_BYTES + 1)  # it ends with the connection
            return False
        if not _LENGTH.fullmatch(length) or int(length) > _REST_BYTES:
            return False
        self._skip(int(length))
        return True

    def _chunks(self) -> None:
        size = 0
        while True:
            found = _CHUNK.fullmatch(self._line())
            if found is None:
                raise ValueError("no chunk")
            count = int(found[1], 16)
            size += count
            if size > _REST_BYTES:
                raise ValueError("too long a body")
            if count == 0:
                self.headers({})
                return
            self._skip(count)
            if self._line():
                raise ValueError("a chunk that is longer than it says")

    def _line(self) -> bytes:
        """Return the next line without its end, which may be a line feed alone."""
        while (end := self.left.find(b"\n")) < 0:
            if len(self.left) > _LINE_BYTES:
                raise NoAnswerError("the answer has a line without an end")
            self._more()
        line = bytes(self.left[:end])
        del self.left[: end + 1]
        return line.removesuffix(b"\r")

    def _skip(self, count: int) -> None:
        while len(self.left) < count:
            count -= len(self.left)
            self.left.clear()
            self._more()
        del self.left[:count]

    def _more(self) -> None:
        piece = self._link.recv(_PIECE_BYTES)
        if not piece:
            raise NoAnswerError("the server hung up without a whole answer")
        self.left += piece


def _persists(headers: Mapping[str, str], minor: int) -> bool:
    """Tell whether the server will take another request on this connection."""
    said = {option.strip().lower() for option in headers.get("connection", "").split(",")}
    return "close" not in said and (minor > 0 or "keep-alive" in said)


def _date_s(text: str) -> float | None:
    """Return a date of HTTP in seconds, None for what is none.

    >>> _date_s("Thu, 01 Jan 1970 00:01:00 GMT"), _date_s("soon")
    (60.0, None)
    """
    try:
        date = parsedate_to_datetime(text)
        return (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp()
    except (ValueError, TypeError, IndexError, OverflowError):  # what that function says to nonsense
        return None


def _host(url: SplitResult) -> str:
    """Return the value of the header ``Host``.

    >>> from urllib.parse import urlsplit
    >>> _host(urlsplit("http://[fe80::1%eth0]:8080/")), _host(urlsplit("https://example.org:443/"))
    ('[fe80::1]:8080', 'example.org')
    """
    host = (url.hostname or "").partition("%")[0]
    host = f"[{host}]" if ":" in host else host
    usual = 443 if url.scheme == "https" else 80
    return host if url.port in (None, usual) else f"{host}:{url.port}"


def header_fault(headers: Mapping[str, str]) -> str:
    """Return the name of the first header that cannot be sent, quoted; empty when all can. Says no value."""
    for name, value in headers.items():
        if not HEADER_NAME.fullmatch(name) or not HEADER_VALUE.fullmatch(value):
            return repr(name)
    return ""
