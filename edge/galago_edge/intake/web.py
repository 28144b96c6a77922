"""Reads files of a web server that nobody has to trust: bounded in bytes and time, from one host only."""

from __future__ import annotations

import functools
import http.client
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, Any
from urllib.parse import quote, urljoin, urlsplit, urlunsplit

from galago_edge.contract.errors import CallerError, LinkError, Reason
from galago_edge.host.http_connection import AS_THEY_ARE, Deadline, HttpConnection, HttpsConnection

_ANSWER_S = 30.0
_READ_BYTES = 64 << 10
_LATER = (408, 425, 429)  # of all that begin with 4, those that another attempt may mend


@dataclass(frozen=True, slots=True)
class Fetched:
    """A small file, or the news that it has not changed."""

    data: bytes | None
    """None: it is still the one with the ETag that was given."""
    etag: str | None


class Server:
    """A folder on a web server."""

    def __init__(self, url: str) -> None:
        """Take the folder's address.

        Raises:
            CallerError: CONFIG_BAD; it is not http or https.
        """
        try:
            folder = _folder(url)
        except ValueError:  # brackets, a port or a name that can be none
            folder = None
        if folder is None:
            raise CallerError(
                Reason.CONFIG_BAD,
                f"{url!r} is no address of a folder",
                hint="galago pull https://host/folder/, the folder that galago bundle index was run on",
            )
        self.url = folder
        self._deadline = Deadline(_ANSWER_S)
        self._opener = urllib.request.build_opener(_SameHost, _Http(self._deadline), _Https(self._deadline))

    def small(self, name: str, limit: int, *, etag: str | None = None) -> Fetched:
        """Return a file of at most ``limit`` bytes.

        Raises:
            CallerError: TARGET_UNKNOWN; the server says that it is not there.
            LinkError: TRANSPORT; it is too long, or the server or the way to it fails.
        """
        headers = {"If-None-Match": etag} if etag else {}
        with self._open(name, headers, 2 * _ANSWER_S) as answer:
            if answer is None:
                return Fetched(None, etag)
            data = bytearray()
            for piece in _pieces(answer, limit + 1, self._where(name)):
                data += piece
            if len(data) > limit:
                raise _broken(f"{self._where(name)} has more than {limit} bytes")
            return Fetched(bytes(data), answer.headers.get("ETag"))

    def file(self, name: str, offset: int, size: int, deadline_s: float) -> Iterator[tuple[int, bytes]]:
        """Yield the bytes of a file from ``offset`` on, each piece with where it belongs.

        A server that knows no ranges begins at 0. At most ``size`` bytes are read, whatever it says.

        Raises:
            CallerError: TARGET_UNKNOWN; the server says that it is not there.
            LinkError: TRANSPORT; it is longer than ``size``, or the server or the way to it fails.
        """
        headers = {"Range": f"bytes={offset}-"} if offset else {}
        where = self._where(name)
        with self._open(name, headers, deadline_s) as answer:
            at = _start(answer, offset, where)
            for piece in _pieces(answer, size - at + 1, where):
                if at + len(piece) > size:
                    raise _broken(f"{where} has more than the promised {size} bytes")
                yield at, piece
                at += len(piece)

    def _asked(self, request: urllib.request.Request) -> Any:
        try:
            return self._opener.open(request)
        except ValueError as error:  # urllib's own: where a redirect leads can be no address
            raise _broken(f"{request.full_url} leads to what is no address: {error}") from None

    def _where(self, name: str) -> str:
        return urljoin(self.url, name)

    @contextmanager
    def _open(self, name: str, headers: dict[str, str], deadline_s: float) -> Iterator[Any]:
        where = self._where(name)
        self._deadline.begin(deadline_s)
        request = urllib.request.Request(where, headers={**headers, "Accept-Encoding": "identity"})
        try:
            with self._asked(request) as answer:
                if answer.headers.get("Content-Encoding", "identity") != "identity":
                    raise _broken(f"{where} was packed on the way, which nobody asked for")
                yield answer
        except urllib.error.HTTPError as error:
            with error:
                if error.code == http.HTTPStatus.NOT_MODIFIED and "If-None-Match" in headers:
                    yield None
                    return
            text = f"{where}: the server says {error.code} {error.reason}"
            if error.code == http.HTTPStatus.NOT_MODIFIED:
                raise _broken(
                    f"{where}: the server says that it has not changed, which nobody asked"
                ) from None
            if error.code < http.HTTPStatus.INTERNAL_SERVER_ERROR and error.code not in _LATER:
                raise CallerError(
                    Reason.TARGET_UNKNOWN, text, hint="check the address: curl -I URL"
                ) from None
            raise _broken(text) from None
        except urllib.error.URLError as error:
            reason = error.reason
            raise _broken(f"{where}: {getattr(reason, 'strerror', None) or reason}") from None
        except (OSError, http.client.HTTPException) as error:
            raise _broken(f"{where}: {error or type(error).__name__}") from None


def _folder(url: str) -> str | None:
    """Return the address of a folder, with its end and letters beyond ASCII escaped; None when it is none.

    Raises:
        ValueError: It is no address at all.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        return None
    if not parts.hostname.isprintable() or " " in parts.hostname:
        return None
    host, port = parts.hostname.encode("idna").decode(), parts.port
    place = parts.netloc
    if not place.isascii():
        place = host if port is None else f"{host}:{port}"
    path = quote(parts.path, safe=AS_THEY_ARE, errors="surrogateescape")
    whole = urlunsplit((parts.scheme, place, path, "", ""))
    return whole if whole.endswith("/") else whole + "/"


class _Http(urllib.request.HTTPHandler):
    def __init__(self, deadline: Deadline) -> None:
        super().__init__()
        self._connection = functools.partial(HttpConnection, deadline=deadline)

    def http_open(self, req: urllib.request.Request) -> Any:
        """Open a connection that keeps the deadline."""
        return self.do_open(self._connection, req)


class _Https(urllib.request.HTTPSHandler):
    def __init__(self, deadline: Deadline) -> None:
        super().__init__()
        self._connection = functools.partial(HttpsConnection, deadline=deadline)

    def https_open(self, req: urllib.request.Request) -> Any:
        """Open a connection that keeps the deadline."""
        return self.do_open(self._connection, req)


class _SameHost(urllib.request.HTTPRedirectHandler):
    """Follows redirects within one host and scheme, so that nobody learns of devices by redirecting them."""

    def http_error_302(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: http.client.HTTPMessage,
    ) -> Any:
        """Follow a redirect, or leave nothing open."""
        try:
            return super().http_error_302(req, fp, code, msg, headers)
        except urllib.error.HTTPError:
            raise  # it holds the answer, and whoever looks at it closes that
        except BaseException:  # whatever it was, nobody else closes it
            fp.close()
            raise

    http_error_301 = http_error_303 = http_error_307 = http_error_308 = http_error_302

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: http.client.HTTPMessage,
        newurl: str,
    ) -> urllib.request.Request | None:
        """Refuse to leave the host."""
        old, new = urlsplit(req.full_url), urlsplit(newurl)
        if (old.scheme, old.netloc) != (new.scheme, new.netloc):
            raise _broken(f"{req.full_url} leads to {new.scheme}://{new.netloc}, which is another server")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _pieces(answer: Any, limit: int, where: str) -> Iterator[bytes]:
    """Yield what comes, at most ``limit`` bytes; the promised length must be reached."""
    promised = answer.headers.get("Content-Length")
    left, met = limit, 0
    read: Callable[[int], bytes] = answer.read1
    while left > 0 and (piece := read(min(_READ_BYTES, left))):
        left -= len(piece)
        met += len(piece)
        yield piece
    if left > 0 and promised is not None and promised.isdigit() and met < int(promised):
        raise _broken(f"{where} ended after {met} of {promised} bytes")


def _start(answer: Any, offset: int, where: str) -> int:
    if answer.status != http.HTTPStatus.PARTIAL_CONTENT:
        return 0  # it knows no ranges, or the file is another one now
    said = answer.headers.get("Content-Range", "")
    if not said.startswith(f"bytes {offset}-"):
        raise _broken(f"{where}: the server sends {said!r}, bytes from {offset} on were asked for")
    return offset


def _broken(text: str) -> LinkError:
    return LinkError(
        Reason.TRANSPORT,
        text,
        hint="curl -I URL shows whether it is reached; what came so far is kept: run the same command again",
    )
