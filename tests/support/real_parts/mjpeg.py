"""An MJPEG camera over HTTP, or one that behaves badly."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import http.server
import re
import threading
import time
from collections.abc import Callable
from functools import lru_cache

from real_parts.processes import free_port


@lru_cache(maxsize=64)
def _jpeg(level: int, bar: int, size: tuple[int, int]) -> bytes:
    import cv2
    import numpy as np

    pixels = np.full((size[1], size[0], 3), level, np.uint8)
    pixels[bar : bar + 8] = level - 40 if level > 127 else level + 40
    data: bytes = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, 90])[1].tobytes()
    return data


_BASIC = 'Basic realm="camera"'


def _response(user: str, password: str, target: str, cnonce: str) -> str:
    """Return what answers the challenge, RFC 2617, MD5 and qop auth."""

    def hashed(text: str) -> str:
        return hashlib.md5(text.encode()).hexdigest()

    secret = hashed(f"{user}:camera:{password}")
    return hashed(f"{secret}:n1:00000001:{cnonce}:auth:{hashed(f'GET:{target}')}")


class MjpegServer:
    """A camera at ``url`` that shows an even gray with a moving bar; keeps its port over restarts.

    ``level`` (gray), ``levels`` (one a frame in turn) or ``pictures``, ``size`` (width, height), ``fps``,
    ``stalled``, ``login`` and ``missing`` may be set any time, and ``picture``: what it sends instead of its
    own.
    """

    boundary = "frame"

    def __init__(
        self,
        *,
        size: tuple[int, int] = (320, 240),
        fps: float = 10.0,
        login: tuple[str, str] | None = None,
        digest: bool = False,
        lengths: bool = True,
    ) -> None:
        """Prepare it; ``login`` is (user, password) that it asks for, by Basic or by ``digest``.

        With ``lengths`` parts say theirs.
        """
        self.size = size
        self.fps = fps
        self.levels: tuple[int, ...] = (128,)
        self.pictures: tuple[bytes, ...] = ()
        """Whole JPEGs to be shown in turn instead; each viewer begins with the second."""
        self.stalled = False
        self.picture: bytes | None = None
        self.login = login
        self.digest = digest
        self.lengths = lengths
        self.missing: tuple[str, ...] = ()
        """Requests that are answered with 404, such as ``/video.mjpg?channel=3``."""
        self.port = free_port()
        self.connections = 0
        """How many clients were given a stream so far."""
        self.sent = 0
        """Whole frames."""
        self._truncate = threading.Event()
        self._stopping = threading.Event()
        self._server: http.server.ThreadingHTTPServer | None = None
        self._thread: threading.Thread | None = None

    @property
    def url(self) -> str:
        """Where it is, with the login."""
        login = "" if self.login is None else f"{self.login[0]}:{self.login[1]}@"
        return f"http://{login}127.0.0.1:{self.port}/video.mjpg"

    def url_of(self, target: str) -> str:
        """Where a request is answered, without the login: a recorder has several cameras."""
        return f"http://127.0.0.1:{self.port}{target}"

    @property
    def level(self) -> int:
        """The one gray level that it shows."""
        return self.levels[0]

    @level.setter
    def level(self, gray: int) -> None:
        self.levels = (gray,)

    def truncate(self) -> None:
        """Break the connection in the middle of the next frame."""
        self._truncate.set()

    def start(self) -> MjpegServer:
        """Start it, on the port that it had before."""
        assert self._server is None, "it runs"
        owner = self

        class Handler(http.server.BaseHTTPRequestHandler):
            timeout = 30.0

            def do_GET(self) -> None:
                if owner._refuses(self.headers.get("Authorization"), self.path):
                    self.send_response(401)
                    asks = 'Digest realm="camera", nonce="n1", qop="auth"' if owner.digest else _BASIC
                    self.send_header("WWW-Authenticate", asks)
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                    return
                if self.path in owner.missing:
                    self.send_error(404)
                    return
                owner.connections += 1
                self.send_response(200)
                self.send_header("Content-Type", f"multipart/x-mixed-replace; boundary={owner.boundary}")
                self.end_headers()
                with contextlib.suppress(OSError):  # the client went away
                    owner._stream(self.wfile.write)
                self.close_connection = True

            def log_message(self, format: str, *args: object) -> None:
                pass

        class Server(http.server.ThreadingHTTPServer):
            allow_reuse_address = True
            daemon_threads = False  # streams end at once when it is stopped
            block_on_close = True

            def handle_error(self, request: object, client_address: object) -> None:
                pass  # a client that was killed

        self._stopping.clear()
        self._server = Server(("127.0.0.1", self.port), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})
        self._thread.start()
        return self

    def stop(self) -> None:
        """Close every connection."""
        if self._server is None or self._thread is None:
            return
        self._stopping.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
        self._server = self._thread = None

    def _refuses(self, authorization: str | None, target: str) -> bool:
        if self.login is None:
            return False
        if self.digest:
            said = dict(re.findall(r'(\w+)="?([^",]*)', authorization or ""))
            return said.get("response") != _response(*self.login, target, said.get("cnonce", ""))
        wanted = base64.b64encode(":".join(self.login).encode()).decode()
        return authorization != f"Basic {wanted}"

    def _stream(self, write: Callable[[bytes], object]) -> None:
        due, number = time.monotonic(), 0
        while not self._stopping.wait(max(0.0, due - time.monotonic())):
            due = max(due + 1 / self.fps, time.monotonic())
            if self.stalled:
                continue
            number += 1
            levels, pictures = self.levels, self.pictures
            bar = number * 8 % (self.size[1] // 4)
            data = self.picture or (
                pictures[number % len(pictures)]
                if pictures
                else _jpeg(levels[number % len(levels)], bar, self.size)
            )
            length = f"Content-Length: {len(data)}\r\n" if self.lengths else ""
            write(f"--{self.boundary}\r\nContent-Type: image/jpeg\r\n{length}\r\n".encode())
            if self._truncate.is_set():
                self._truncate.clear()
                write(data[: len(data) // 2])
                return
            write(data + b"\r\n")
            self.sent += 1
