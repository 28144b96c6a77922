"""The web server around a page: that of the device's status, and others that a companion may have."""

from __future__ import annotations

import ipaddress
import logging
import socket
import threading
import time
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Any, Self

from galago_edge.contract.errors import CallerError, LinkError, Reason
from galago_edge.contract.settings import PageSettings
from galago_edge.contract.status import ServiceStatus
from galago_edge.host.extras import import_extra
from galago_edge.service.page.access import Access
from galago_edge.service.page.app import PageApp
from galago_edge.service.page.doorkeeper import CONNECTIONS, IDLE_S, Doorkeeper
from galago_edge.service.page.served_file import OpenAttached

Application = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]
"""As WSGI has it."""

_THREADS = 2
_ANSWERS_BYTES = 1 << 30
_SEND_BUFFER_BYTES = 128 << 10
"""Of each connection: Linux would take megabytes for a slow one, and it would look idle while they drain."""
_PREVIEW_S = 0.5  # a picture that young is shown to the next visitor as well


class PageServer:
    """An application, served by threads of its own until ``stop``."""

    def __init__(
        self,
        settings: PageSettings,
        app: Application,
        *,
        name: str = "the status page",
        remedy: str = "set another port in [page]",
    ) -> None:
        """Prepare to serve ``app``. ``name`` and ``remedy`` are for the error of a port that is taken."""
        self._settings = settings
        self._app = app
        self._name, self._remedy = name, remedy
        self._door = Doorkeeper()
        self._server: Any = None
        self._sockets: dict[int, Any] = {}
        self._stopping = threading.Event()
        self._woken = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def port(self) -> int:
        """The port it listens on; 0 before ``start``."""
        return int(self._server.effective_port) if self._server is not None else 0

    @property
    def url(self) -> str:
        """Where a browser on this device finds it, without the token."""
        host = self._settings.host.strip("[]")
        host = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
        return f"http://{f'[{host}]' if ':' in host else host}:{self.port}/"

    def start(self) -> None:
        """Begin to answer.

        Raises:
            DeviceError: EXTRA_MISSING; waitress is not installed.
            CallerError: CONFIG_BAD; the host's name is not known.
            LinkError: IO; the port is taken, or the address is not one of this device.
        """
        waitress = import_extra("waitress", "web", self._name)
        # One line each time that a request waits for a free thread is not worth a device's log.
        logging.getLogger("waitress.queue").setLevel(logging.ERROR)
        listener = _listen(self._settings, self._name, self._remedy)
        self._stopping.clear()
        self._woken.clear()
        self._server = waitress.create_server(
            self._app,
            map=self._sockets,
            sockets=[listener],
            threads=_THREADS,
            connection_limit=4 * CONNECTIONS,  # the doorkeeper lets somebody out long before
            channel_timeout=IDLE_S,
            # beyond it a thread waits for the visitor; the doorkeeper lets nobody ask for so much at once
            outbuf_high_watermark=_ANSWERS_BYTES,
            cleanup_interval=IDLE_S,
            max_request_header_size=16 << 10,
            max_request_body_size=16 << 10,
            asyncore_use_poll=True,
            ident=None,
        )
        self._server.channel_class = self._door.channel_class(self._server.channel_class)
        self._thread = threading.Thread(target=self._serve, name="page", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End it: answers that are being made are finished, connections are closed. May be called twice."""
        if self._thread is None:
            return
        self._stopping.set()
        self._server.pull_trigger()
        self._woken.set()
        self._thread.join()
        self._thread = None
        self._server = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _serve(self) -> None:
        """Walk the server's own loop step by step, so that it can be ended and survives a set clock."""
        server, sockets = self._server, self._sockets
        while not self._stopping.is_set():
            server.asyncore.loop(timeout=self._door.look(), use_poll=True, map=sockets, count=1)
            # waitress looks for idle connections at a wall time, which a clock set back puts out of reach
            server.next_channel_cleanup = min(server.next_channel_cleanup, time.time() + IDLE_S)
        self._woken.wait()  # the trigger is written to by number, which may soon be another file's
        server.accepting = False
        server.task_dispatcher.shutdown()  # before the sockets: its threads write to them
        for channel in list(server.active_channels.values()):
            channel.handle_close()  # it closes the files of answers that nobody has taken
        server.asyncore.close_all(sockets, ignore_all=True)


class Page(PageServer):
    """Status page and metrics."""

    def __init__(
        self,
        settings: PageSettings,
        status: Callable[[], ServiceStatus],
        preview: Callable[[str], bytes | None] = lambda stream: None,
        attached: OpenAttached = lambda name: None,
    ) -> None:
        """Prepare to show what ``status`` returns and what ``preview(stream)`` and ``attached(file)`` give.

        All are called from the page's own threads, ``preview`` once at a time. ``preview`` returns a JPEG
        file, None for a stream that has no picture (yet) or that does not exist.

        Raises:
            CallerError: CONFIG_BAD; others could see the page without a token, or it could not say who may
                show it in a frame.
        """
        access = Access(settings)
        app = PageApp(access, status, _Fresh(preview), attached, settings.frame_ancestors)
        super().__init__(settings, app)


class _Fresh:
    """Makes a picture for all visitors of the same moment once."""

    def __init__(self, preview: Callable[[str], bytes | None]) -> None:
        self._preview = preview
        self._lock = threading.Lock()
        self._made: dict[str, tuple[float, bytes]] = {}

    def __call__(self, stream: str) -> bytes | None:
        with self._lock:
            now = time.monotonic()
            self._made = {name: made for name, made in self._made.items() if now - made[0] < _PREVIEW_S}
            if stream in self._made:
                return self._made[stream][1]
            picture = self._preview(stream)
            if picture is not None:
                self._made[stream] = (now, picture)
            return picture


def _listen(settings: PageSettings, name: str, remedy: str) -> socket.socket:
    host = settings.host.strip("[]")
    try:
        found = socket.getaddrinfo(
            host or None, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
    except socket.gaierror as error:
        raise CallerError(
            Reason.CONFIG_BAD,
            f"[page] host = {settings.host!r}: {error.strerror}",
            hint='host = "127.0.0.1" for this device alone, "0.0.0.0" and a token for others',
        ) from None
    family, _, _, _, address = found[0]
    if not settings.token and not ipaddress.ip_address(address[0]).is_loopback:
        # only a changed /etc/hosts makes localhost another machine's name
        raise CallerError(
            Reason.CONFIG_BAD,
            f"[page] host = {settings.host!r} is {address[0]} here, which lets others in without a token",
            hint='host = "127.0.0.1"',
        )
    try:
        listener = socket.create_server(address, family=family, backlog=16)
        listener.setsockopt(
            socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER_BYTES
        )  # its connections have it
        return listener
    except OSError as error:
        raise LinkError(
            Reason.IO,
            f"{name} cannot listen on {address[0]} port {settings.port}: {error.strerror}",
            hint=f"{remedy}; 0 takes a free one",
        ) from None
