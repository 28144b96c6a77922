"""A web server that takes events, or behaves badly."""

from __future__ import annotations

import http.server
import json
import threading
import time
from dataclasses import dataclass
from typing import Any

from real_parts.processes import free_port, wait_for


@dataclass(frozen=True)
class Delivery:
    """One POST request."""

    path: str
    headers: dict[str, str]
    """Names in lower case."""
    body: bytes
    status: int
    """What was answered."""
    at_s: float
    """When the answer was begun, on the monotonic clock."""

    @property
    def key(self) -> str:
        """The idempotency key."""
        return self.headers.get("idempotency-key", "")

    def json(self) -> Any:
        """Return the body as data."""
        return json.loads(self.body)


class WebhookServer:
    """HTTP on a loopback port that it keeps over restarts; ``status`` and ``delay_s`` may be set any time."""

    def __init__(self) -> None:
        self.status = 200
        """What is answered from now on."""
        self.status_of_forms: int | None = None
        """What is answered to requests with a file in them, when not ``status``."""
        self.delay_s = 0.0
        """How long an answer takes from now on; ``stop`` ends the waiting."""
        self.headers: dict[str, str] = {}
        """Given with every answer, as ``Retry-After``."""
        self.requests: list[Delivery] = []
        """Every request that was read to its end, in order."""
        self.port = free_port()
        self._server: http.server.ThreadingHTTPServer | None = None
        self._thread: threading.Thread | None = None
        self._stopping = threading.Event()

    @property
    def url(self) -> str:
        """Where events are posted to."""
        return f"http://127.0.0.1:{self.port}/events"

    def accepted(self) -> list[Delivery]:
        """Return the requests that were answered with success."""
        return [request for request in self.requests if 200 <= request.status < 300]

    def wait_for(self, count: int) -> list[Delivery]:
        """Return the accepted requests once there are so many."""
        wait_for(lambda: len(self.accepted()) >= count, f"{count} accepted requests")
        return self.accepted()

    def start(self) -> WebhookServer:
        """Start it, on the port that it had before."""
        assert self._server is None, "it runs"
        owner = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            timeout = 30.0

            def do_POST(self) -> None:
                length = int(self.headers["Content-Length"])
                body = self.rfile.read(length)
                if len(body) < length:  # the client was killed in the middle
                    self.close_connection = True
                    return
                owner._stopping.wait(owner.delay_s)
                headers = {name.lower(): value for name, value in self.headers.items()}
                status = owner.status
                if headers.get("content-type", "").startswith("multipart/"):
                    status = owner.status_of_forms or status
                owner.requests.append(Delivery(self.path, headers, body, status, time.monotonic()))
                try:
                    self.send_response(status)
                    self.send_header("Content-Length", "0")
                    for name, value in owner.headers.items():
                        self.send_header(name, value)
                    if owner._stopping.is_set():
                        self.send_header("Connection", "close")
                    self.end_headers()
                except OSError:
                    self.close_connection = True  # the client did not wait

            def log_message(self, format: str, *args: object) -> None:
                pass

        class Server(http.server.ThreadingHTTPServer):
            allow_reuse_address = True
            daemon_threads = True  # a client may keep its connection longer than the test lasts
            block_on_close = False

            def handle_error(self, request: object, client_address: object) -> None:
                pass  # a client that was killed

        self._stopping.clear()
        self._server = Server(("127.0.0.1", self.port), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})
        self._thread.start()
        return self

    def stop(self) -> None:
        """Accept no more connections."""
        if self._server is None or self._thread is None:
            return
        self._stopping.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
        self._server = self._thread = None
