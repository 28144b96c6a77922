"""MJPEG over HTTP, in the child: whole JPEG pictures as the camera sent them, without decoding any.

``multipart/x-mixed-replace``: parts between boundary lines, with or without ``Content-Length``. A part is
a frame when it is a whole JPEG; one that was cut off is none.
"""

from __future__ import annotations

import base64
import hashlib
import http.client
import math
import os
import re
from typing import Any
from urllib.parse import SplitResult, unquote, urljoin, urlsplit

from galago_edge.contract.errors import LinkError, Reason
from galago_edge.host.http_connection import Deadline, connection_to, request_target
from galago_edge.sources.capture.capture_messages import CameraDescription, Order
from galago_edge.sources.capture.frame_memory import SharedMemory
from galago_edge.sources.capture.frame_server import ParentLink, serve

_READ_BYTES = 65_536
_LONGEST_PART = 32 * 1024 * 1024
_LONGEST_LINE = 16 * 1024
_JPEG_START, _JPEG_END = b"\xff\xd8", b"\xff\xd9"
_PADDING = b"\x00\r\n"
"""What some cameras write behind the picture."""
_FEWEST_BYTES = 16 * 1024
"""Room for a picture is asked for in such steps, so that it rarely has to grow."""

_ELSEWHERE = (301, 302, 303, 307, 308)
_MOST_REQUESTS = 6
"""Redirections and the question for a password together."""
_HASHES = {"MD5": hashlib.md5, "SHA-256": hashlib.sha256}


def run(link: ParentLink, order: Order) -> None:
    """Open the stream that ``order`` names and serve its frames.

    Raises:
        ParentGoneError: The parent is gone; the connection is closed.
        LinkError: SOURCE_MISSING, SOURCE_MISMATCH, SOURCE_LOST.
    """
    camera = MjpegCamera(order)
    try:
        link.opened(CameraDescription(name=order.shown, encoding="jpeg"))
        serve(link, camera, order.fps)
    finally:
        camera.close()


class MjpegCamera:
    """A response that goes on and on."""

    def __init__(self, order: Order) -> None:
        """Ask for ``order.target``; user and password in it are given when the camera asks for them.

        Raises:
            LinkError: SOURCE_MISSING, or SOURCE_MISMATCH when what answers is no MJPEG stream.
        """
        self._shown = order.shown
        request = _Request(order.target, self._shown, order.open_s)
        self._response = request.open()
        request.wait_at_most(order.stall_s)
        self._parts = PartReader(self._read, self._boundary())
        self._picture = b""

    def grab(self) -> None:
        """Wait for the next whole picture.

        Raises:
            LinkError: SOURCE_LOST, or SOURCE_MISMATCH when what comes cannot be taken apart.
        """
        while True:
            try:
                part = self._parts.next_part()
            except ValueError as error:
                raise self._mismatch(str(error)) from None
            if part is None:
                raise self._lost("ended its stream")
            picture = part.rstrip(_PADDING)
            if picture.startswith(_JPEG_START) and picture.endswith(_JPEG_END):
                self._picture = picture
                return

    def retrieve(self, memory: SharedMemory) -> tuple[None, int]:
        """Write the picture to ``memory`` as it came."""
        size = len(self._picture)
        memory.room(-(-size // _FEWEST_BYTES) * _FEWEST_BYTES)[:size] = self._picture
        return None, size

    def close(self) -> None:
        """Hang up."""
        self._response.close()

    def _read(self) -> bytes:
        try:
            return self._response.read1(_READ_BYTES)
        except TimeoutError:
            raise self._lost("sends nothing more") from None
        except (OSError, http.client.HTTPException) as error:
            raise self._lost(f"broke its stream off ({type(error).__name__})") from None

    def _boundary(self) -> bytes:
        kind = self._response.headers.get_content_type()
        if kind != "multipart/x-mixed-replace":
            self._response.close()
            raise self._mismatch(f"it answers with {kind[:80]}, expected multipart/x-mixed-replace")
        boundary = self._response.headers.get_param("boundary")
        return boundary.encode("latin-1", "replace") if isinstance(boundary, str) else b""

    def _lost(self, how: str) -> LinkError:
        return LinkError(
            Reason.SOURCE_LOST, f"camera {self._shown} {how}", hint="check its power and the network"
        )

    def _mismatch(self, what: str) -> LinkError:
        return LinkError(
            Reason.SOURCE_MISMATCH,
            f"camera {self._shown} sends no MJPEG stream: {what}",
            hint="look into the camera's manual for the address of its MJPEG stream, or use its rtsp:// one",
        )


class PartReader:
    """Takes a multipart body apart, whatever the pieces are that it arrives in."""

    def __init__(self, read: Any, boundary: bytes) -> None:
        """Read with ``read() -> bytes`` (nothing at the end).

        ``boundary`` is what the header says, with or without the dashes that belong before it, or nothing:
        then the first line that begins with two dashes says it.
        """
        self._read = read
        self._boundary = boundary.strip(b'"').lstrip(b"-")
        self._data = bytearray()
        self._pending = False
        """A boundary line was read already: a part's head comes next."""

    def next_part(self) -> bytes | None:
        """Return the next part's content, or None when the body ends.

        A part that the end cuts off is not returned.

        Raises:
            ValueError: A part or a line is longer than any camera's.
        """
        if not self._pending and not self._skip_to_boundary():
            return None
        self._pending = False
        length = self._head()
        if length is None:
            return None
        return self._exactly(length) if length >= 0 else self._up_to_boundary()

    def _skip_to_boundary(self) -> bool:
        skipped = 0
        while (line := self._line(cut=True)) is not None:
            if self._is_boundary(line):
                return True
            skipped += len(line)
            if skipped > _LONGEST_PART:
                raise ValueError("no boundary line comes")
        return False

    def _is_boundary(self, line: bytes) -> bool:
        if not line.startswith(b"--"):
            return False
        name = line.strip().lstrip(b"-")
        if not self._boundary:
            self._boundary = name
            return bool(name)
        return name in (self._boundary, self._boundary + b"--") and not name.endswith(self._boundary + b"--")

    def _head(self) -> int | None:
        """Return the part's length, -1 when it is not said, None at the end."""
        length = -1
        while (line := self._line()) is not None:
            name, _, value = line.strip().partition(b":")
            if not name:
                return length
            if name.lower() == b"content-length" and value.strip().isdigit():
                length = int(value)
                if length > _LONGEST_PART:
                    raise ValueError(f"one picture of {length} bytes")
        return None

    def _exactly(self, length: int) -> bytes | None:
        while len(self._data) < length:
            if not self._more():
                return None
        return self._take(length)

    def _up_to_boundary(self) -> bytes | None:
        pattern = re.compile(rb"\r?\n--+" + re.escape(self._boundary) + rb"(-*)[ \t]*\r?\n")
        at = 0
        while (found := pattern.search(self._data, at)) is None:
            at = max(0, len(self._data) - len(self._boundary) - _LONGEST_LINE)
            if len(self._data) > _LONGEST_PART:
                raise ValueError("a picture without an end")
            if not self._more():
                return None
        start, size, last = found.start(), len(found[0]), bool(found[1])
        part = self._take(start)  # from here on the match shows other bytes
        del self._data[:size]
        self._pending = not last
        return part

    def _line(self, *, cut: bool = False) -> bytes | None:
        """Return the next line with its end; ``cut`` takes what has no end in pieces."""
        searched = 0
        while (end := self._data.find(b"\n", searched)) < 0:
            searched = len(self._data)
            if searched > _LONGEST_LINE:
                if not cut:
                    raise ValueError("a header line without an end")
                return self._take(searched)
            if not self._more():
                return None
        return self._take(end + 1)

    def _take(self, size: int) -> bytes:
        taken = bytes(memoryview(self._data)[:size])
        del self._data[:size]
        return taken

    def _more(self) -> bool:
        chunk = self._read()
        self._data += chunk
        return bool(chunk)


class _Request:
    """Asks until a stream is answered: follows where it is sent, gives the password where it was given."""

    def __init__(self, url: str, shown: str, open_s: float) -> None:
        self._shown = shown
        self._open_s = open_s
        self._url = _split(url, shown)
        self._home = self._url.hostname
        self._user, self._password = self._url.username, self._url.password
        self._authorization: str | None = None
        self._deadline = Deadline()

    def open(self) -> http.client.HTTPResponse:
        for _ in range(_MOST_REQUESTS):
            response = self._ask()
            if response.status == http.HTTPStatus.OK:
                return response
            try:
                self._learn(response)
            finally:
                response.close()
        raise self._missing("sends from one address to the next")

    def wait_at_most(self, seconds: float) -> None:
        """Let the answer go on for ever, but no piece of it take longer."""
        self._deadline.until, self._deadline.longest_wait_s = math.inf, seconds

    def _ask(self) -> http.client.HTTPResponse:
        self._deadline.begin(self._open_s)
        connection = connection_to(self._url, self._deadline)
        headers = {"Accept": "*/*", "User-Agent": "galago", "Connection": "close"}
        if self._authorization is not None:
            headers["Authorization"] = self._authorization
        try:
            connection.request("GET", request_target(self._url), headers=headers)
            return connection.getresponse()
        except TimeoutError:
            connection.close()
            raise self._missing(f"does not answer within {self._open_s:g} s") from None
        except OSError as error:
            connection.close()
            raise self._missing(f"cannot be reached ({error.strerror or type(error).__name__})") from None
        except (http.client.HTTPException, ValueError) as error:
            connection.close()
            raise self._missing(f"does not answer as HTTP ({type(error).__name__})") from None

    def _learn(self, response: http.client.HTTPResponse) -> None:
        """Take from an answer what the next request needs."""
        location = response.headers.get("Location")
        if response.status in _ELSEWHERE and location:
            self._url = _split(urljoin(self._url.geturl(), location), self._shown)
            self._authorization = None
            return
        if response.status != http.HTTPStatus.UNAUTHORIZED:
            raise self._missing(f"answers {response.status} {response.reason[:80]}")
        if not self._user or self._url.hostname != self._home:
            raise self._missing("wants a user and a password", "camera:http://USER:PASSWORD@HOST/...")
        if self._authorization is not None:
            raise self._missing("refuses this user and password", "check both; escape @ / # % as %40 ...")
        self._authorization = self._credentials(response.headers.get_all("WWW-Authenticate") or [])

    def _credentials(self, challenges: list[str]) -> str:
        user, password = unquote(self._user or ""), unquote(self._password or "")
        for challenge in challenges:
            scheme, _, rest = challenge.partition(" ")
            if scheme.lower() == "digest":
                fields = {name.lower(): a or b for name, a, b in _FIELDS.findall(rest)}
                if fields.get("algorithm", "MD5").upper() in _HASHES:
                    return digest(fields, user, password, request_target(self._url), os.urandom(8).hex())
        return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()

    def _missing(self, what: str, hint: str = "check the address, its power and the network") -> LinkError:
        return LinkError(Reason.SOURCE_MISSING, f"camera {self._shown} {what}", hint=hint)


_FIELDS = re.compile(r'(\w+)=(?:"([^"]*)"|([^\s,"]+))')


def digest(fields: dict[str, str], user: str, password: str, path: str, cnonce: str) -> str:
    """Return the ``Authorization`` that answers a Digest challenge (RFC 7616; qop ``auth`` or none)."""
    algorithm = fields.get("algorithm", "MD5").upper()

    def hashed(text: str) -> str:
        return _HASHES[algorithm](text.encode()).hexdigest()

    realm, nonce = fields.get("realm", ""), fields.get("nonce", "")
    secret, asked = hashed(f"{user}:{realm}:{password}"), hashed(f"GET:{path}")
    answer = {"username": user, "realm": realm, "nonce": nonce, "uri": path, "algorithm": algorithm}
    if "qop" in fields:
        answer["response"] = hashed(f"{secret}:{nonce}:00000001:{cnonce}:auth:{asked}")
        answer |= {"qop": "auth", "nc": "00000001", "cnonce": cnonce}
    else:
        answer["response"] = hashed(f"{secret}:{nonce}:{asked}")
    if "opaque" in fields:
        answer["opaque"] = fields["opaque"]
    bare = {"algorithm", "qop", "nc"}
    return "Digest " + ", ".join(f"{k}={v}" if k in bare else f'{k}="{v}"' for k, v in answer.items())


def _split(url: str, shown: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        if parts.scheme in ("http", "https") and parts.hostname and (parts.port or 1) > 0:
            return parts
    except ValueError:  # its text may hold the password
        pass
    raise LinkError(
        Reason.SOURCE_MISSING,
        f"camera {shown} is no usable address",
        hint="camera:http://USER:PASSWORD@HOST:PORT/PATH; escape @ / # % in a password as %40 %2F %23 %25",
    )
