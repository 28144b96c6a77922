"""The service's end of ``galago status``: it takes the store, and answers on the socket in its folder.

The other end, and what both agree on, is ``galago_edge.store.running_service``.
"""

from __future__ import annotations

import contextlib
import logging
import os
import selectors
import socket
import stat
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

import msgspec

from galago_edge.contract.errors import LinkError, NotOwnError, disk_error
from galago_edge.contract.printable import printable
from galago_edge.contract.status import ServiceStatus
from galago_edge.store.running_service import (
    ASK_STATUS,
    CLIENT_S,
    SOCKET_NAME,
    StatusFault,
    lock_store,
    no_folder,
    read_until,
    socket_address,
)

_LINE_LIMIT_BYTES = 64
_MODE = 0o660  # the service's group may ask
_LOG = logging.getLogger(__name__)


class Control:
    """Answers ``galago status`` from a thread of its own."""

    def __init__(self, root: Path, status: Callable[[], ServiceStatus]) -> None:
        """Prepare to answer with what ``status`` returns; it is called in the control's own thread."""
        self._root = root
        self._status = status
        self._folder = -1
        self._listener: socket.socket | None = None
        self.fault: LinkError | None = None
        """Why ``galago status`` cannot ask."""
        self._wake: tuple[socket.socket, socket.socket] | None = None
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Take the store for this service and begin to answer; where no socket can be made, only the former.

        Raises:
            BusyError: LOCKED; another service runs on this store.
            CallerError: TARGET_UNKNOWN; there is no such folder.
            LinkError: The folder cannot be opened.
        """
        try:
            self._folder = os.open(self._root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except (FileNotFoundError, NotADirectoryError):
            raise no_folder(self._root) from None
        except OSError as error:
            raise disk_error(error, f"open {self._root}") from error
        try:
            lock_store(self._folder, self._root)
        except BaseException:  # whatever it was, nothing may stay locked
            self._release()
            raise
        try:
            self._listener = self._listen()
        except LinkError as failure:  # a worn card is read-only: a device that cannot be asked still watches
            self.fault = failure
            _LOG.warning("galago status cannot ask this service: %s [%s]", failure, failure.reason)
            return
        self._wake = socket.socketpair()
        self._thread = threading.Thread(target=self._serve, name="control", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Remove the socket, free the store and end the thread. May be called twice."""
        if self._wake is not None:
            self._wake[0].send(b"x")
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        self._release()

    def __enter__(self) -> Control:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _listen(self) -> socket.socket:
        """Return the listening socket. Who holds the lock may remove what a killed service left."""
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(SOCKET_NAME, dir_fd=self._folder)
            listener.bind(socket_address(self._folder))
            self._open_up()
            listener.listen(16)
            listener.setblocking(False)
        except OSError as error:
            listener.close()
            raise disk_error(error, f"make the control socket in {self._root}") from error
        return listener

    def _open_up(self) -> None:
        """Let the group ask: the socket itself, whatever has taken its name since."""
        made = os.open(SOCKET_NAME, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=self._folder)
        try:
            if not stat.S_ISSOCK(os.fstat(made).st_mode):
                raise NotOwnError(self._root / SOCKET_NAME, "is no socket any more")
            Path(f"/proc/self/fd/{made}").chmod(_MODE)
        finally:
            os.close(made)

    def _release(self) -> None:
        if self._listener is not None:
            with contextlib.suppress(OSError):  # the folder may be gone; the end must not fail for it
                os.unlink(SOCKET_NAME, dir_fd=self._folder)
            self._listener.close()
            self._listener = None
        if self._wake is not None:
            for end in self._wake:
                end.close()
            self._wake = None
        if self._folder >= 0:
            os.close(self._folder)  # frees the lock
            self._folder = -1

    def _serve(self) -> None:
        assert self._listener is not None and self._wake is not None
        with selectors.DefaultSelector() as selector:
            selector.register(self._listener, selectors.EVENT_READ)
            selector.register(self._wake[1], selectors.EVENT_READ)
            while True:
                ready = {key.fileobj for key, _ in selector.select()}
                if self._wake[1] in ready:
                    return
                try:
                    client, _ = self._listener.accept()
                except BlockingIOError:
                    continue  # who knocked has gone again
                except OSError as error:  # out of descriptors: the connection stays in the queue
                    _LOG.warning("control socket: %s", error.strerror)
                    time.sleep(0.1)
                    continue
                with client, contextlib.suppress(OSError):  # a client that goes away is no fault
                    self._answer(client)

    def _answer(self, client: socket.socket) -> None:
        question = read_until(client, b"\n", _LINE_LIMIT_BYTES, time.monotonic() + CLIENT_S)
        if question != ASK_STATUS:
            reply = msgspec.json.encode(StatusFault("the control socket only knows: status"))
        else:
            try:
                reply = msgspec.json.encode(self._status())
            except Exception as error:  # noqa: BLE001 - a bug is told to who asked, and the service goes on
                _LOG.exception("the status cannot be told")
                reply = msgspec.json.encode(StatusFault(printable(f"{type(error).__name__}: {error}")))
        client.settimeout(CLIENT_S)
        client.sendall(reply)
