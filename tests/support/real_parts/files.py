"""A web server that gives out a folder, with ranges and ETags, and that can be made to misbehave."""

from __future__ import annotations

import hashlib
import http.server
import threading
from pathlib import Path


class FileServer:
    """HTTP on a loopback port. What it shall do wrong may be set at any time."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.requests: list[tuple[str, str | None]] = []
        """Path and range of every request."""
        self.cut_after_bytes: int | None = None
        """Break off after so many bytes of a body, though the header promises all."""
        self.ranges = True
        """Whether it knows ranges."""
        self.status: int | None = None
        """Answered to everything."""
        self.redirect: str | None = None
        """Where everything leads to."""
        self.page: bytes | None = None
        """Given out with 200 instead of any file, as the login page of a hotel is."""
        self._server: http.server.ThreadingHTTPServer | None = None

    @property
    def url(self) -> str:
        """Address of the folder."""
        assert self._server is not None
        return f"http://127.0.0.1:{self._server.server_port}/"

    def start(self) -> FileServer:
        """Start it."""
        owner = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                owner._answer(self)

            def log_message(self, format: str, *args: object) -> None:
                pass

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, request: object, client_address: object) -> None:
                """Say nothing: a client that goes away is no fault."""

        self._server = Server(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def stop(self) -> None:
        """End it."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def _answer(self, request: http.server.BaseHTTPRequestHandler) -> None:
        wanted = request.headers.get("Range")
        self.requests.append((request.path, wanted))
        if self.redirect is not None:
            return self._head(request, 302, {"Location": self.redirect, "Content-Length": "0"})
        path = self.folder / request.path.lstrip("/")
        if self.status is not None or (self.page is None and not path.is_file()):
            return self._head(request, self.status or 404, {"Content-Length": "0"})
        data = self.page if self.page is not None else path.read_bytes()
        etag = f'"{hashlib.sha256(data).hexdigest()[:16]}"'
        if request.headers.get("If-None-Match") == etag:
            return self._head(request, 304, {"ETag": etag})
        headers, status = {"ETag": etag}, 200
        if wanted is not None and self.ranges:
            start = int(wanted.removeprefix("bytes=").removesuffix("-"))
            headers["Content-Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
            data, status = data[start:], 206
        self._head(request, status, {**headers, "Content-Length": str(len(data))})
        request.wfile.write(data if self.cut_after_bytes is None else data[: self.cut_after_bytes])
        request.close_connection = self.cut_after_bytes is not None
        return None

    @staticmethod
    def _head(request: http.server.BaseHTTPRequestHandler, status: int, headers: dict[str, str]) -> None:
        request.send_response(status)
        for name, value in headers.items():
            request.send_header(name, value)
        request.end_headers()
