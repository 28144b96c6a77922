"""How a running service is asked what it does: a Unix socket in the store's folder.

One service runs on one store: the folder itself is locked while ``Control`` is open, so that the lock
leaves nothing behind and a killed service frees it at once. The socket is opened through
``/proc/self/fd``, because a socket's path may only have 108 bytes and a folder's may have 4096.

A client sends one line, ``status``, and gets one JSON object.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import selectors
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType

import msgspec

from galago_edge.contract.errors import BusyError, CallerError, LinkError, Reason, disk_error
from galago_edge.contract.status import ServiceStatus

SOCKET_NAME = "control.sock"

_ASK = b"status\n"
_CLIENT_S = 2.0  # what one client may take; the others wait for it
_LINE_LIMIT_BYTES = 64
_ANSWER_LIMIT_BYTES = 16 << 20
_MODE = 0o660  # the service's group may ask
_LOG = logging.getLogger(__name__)


class _Fault(msgspec.Struct, frozen=True):
    """What is answered instead of a status."""

    error: str


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
            raise _no_folder(self._root) from None
        except OSError as error:
            raise disk_error(error, f"open {self._root}") from error
        try:
            _lock(self._folder, self._root)
        except BaseException:
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
            listener.bind(_address(self._folder))
            Path(_address(self._folder)).chmod(_MODE)
            listener.listen(16)
            listener.setblocking(False)
        except OSError as error:
            listener.close()
            raise disk_error(error, f"make the control socket in {self._root}") from error
        return listener

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
        question = _read_until(client, b"\n", _LINE_LIMIT_BYTES, time.monotonic() + _CLIENT_S)
        reply: ServiceStatus | _Fault
        if question != _ASK:
            reply = _Fault("the control socket only knows: status")
        else:
            try:
                reply = self._status()
            except Exception as error:  # noqa: BLE001 - a bug is told to who asked, and the service goes on
                _LOG.exception("the status cannot be told")
                reply = _Fault(f"{type(error).__name__}: {error}")
        client.settimeout(_CLIENT_S)
        client.sendall(msgspec.json.encode(reply))


def check_free(root: Path) -> None:
    """Refuse a store that another service runs on, before anything is done for one more.

    Raises:
        BusyError: LOCKED.
        LinkError: The folder cannot be opened or locked.
    """
    if root.is_dir():
        with _folder(root, os.O_RDONLY) as folder:
            _lock(folder, root)


def ask_status(root: Path, *, timeout_s: float = 5.0) -> ServiceStatus | None:
    """Return what the service that runs on the store ``root`` says, None when none runs.

    Raises:
        CallerError: TARGET_UNKNOWN; there is no such folder.
        LinkError: SERVICE_SILENT, a service runs and gives no answer within ``timeout_s``, or one that is
            no status; IO, this user may not ask it.
    """
    until = time.monotonic() + timeout_s
    with _folder(root) as folder, socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        try:
            _connect(client, folder, until)
        except TimeoutError:
            raise _silent(root, None, f"no answer within {timeout_s:g} s") from None
        except (FileNotFoundError, ConnectionRefusedError):
            return None  # the socket of a service that was killed refuses
        except PermissionError:
            raise LinkError(
                Reason.IO,
                f"this user may not ask the service that runs on {root}",
                hint="run it with sudo, or join the group of the service's user",
            ) from None
        except OSError as error:
            raise _silent(root, None, error.strerror or str(error)) from None
        pid = _peer_pid(client)
        try:
            client.sendall(_ASK)
            answer = _read_until(client, None, _ANSWER_LIMIT_BYTES, until)
        except TimeoutError:
            raise _silent(root, pid, f"no answer within {timeout_s:g} s") from None
        except OSError as error:
            raise _silent(root, pid, error.strerror or str(error)) from None
    return _decode(root, pid, answer)


def _decode(root: Path, pid: int, answer: bytes) -> ServiceStatus | None:
    if not answer:
        raise _silent(root, pid, "it closed the connection without an answer")
    try:
        return msgspec.json.decode(answer, type=ServiceStatus)
    except msgspec.DecodeError as error:
        try:
            told = msgspec.json.decode(answer, type=_Fault).error
        except msgspec.DecodeError:
            told = f"its answer is no status of this version: {error}"
        raise _silent(root, pid, told) from None


def _silent(root: Path, pid: int | None, what: str) -> LinkError:
    return LinkError(
        Reason.SERVICE_SILENT,
        f"the service{_of(pid)} on {root} does not say how it is: {what}",
        hint="journalctl -u galago says more; systemctl restart galago starts it anew",
    )


def _no_folder(root: Path) -> CallerError:
    return CallerError(
        Reason.TARGET_UNKNOWN,
        f"there is no folder {root}",
        hint="galago install BUNDLE --root DIR makes one, or give the right one",
    )


def _lock(folder: int, root: Path) -> None:
    try:
        fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise BusyError(
            Reason.LOCKED,
            f"another galago run{_of(_listening_pid(folder))} uses {root}",
            hint=f"stop it first, or give this one another --root; galago status --root {root}",
        ) from None
    except OSError as error:
        raise disk_error(error, f"lock {root}") from error


@contextlib.contextmanager
def _folder(root: Path, mode: int = os.O_PATH) -> Iterator[int]:
    try:
        folder = os.open(root, mode | os.O_DIRECTORY | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        raise _no_folder(root) from None
    except OSError as error:
        raise disk_error(error, f"open {root}") from error
    try:
        yield folder
    finally:
        os.close(folder)


def _address(folder: int) -> str:
    return f"/proc/self/fd/{folder}/{SOCKET_NAME}"


def _connect(client: socket.socket, folder: int, until: float) -> None:
    while True:
        client.settimeout(max(until - time.monotonic(), 0.001))
        try:
            return client.connect(_address(folder))
        except BlockingIOError:  # the queue is full, which a Unix socket does not wait for
            if time.monotonic() >= until:
                raise TimeoutError from None
            time.sleep(0.01)


def _peer_pid(connection: socket.socket) -> int:
    size = struct.calcsize("3i")  # struct ucred: pid, uid, gid
    pid: int = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size))[0]
    return pid


def _listening_pid(folder: int) -> int | None:
    """Return the process that listens, None when none does (yet)."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        try:
            _connect(client, folder, time.monotonic() + _CLIENT_S)
        except OSError:
            return None
        return _peer_pid(client)


def _of(pid: int | None) -> str:
    return f" (process {pid})" if pid else ""


def _read_until(connection: socket.socket, end: bytes | None, limit: int, until: float) -> bytes:
    """Return everything up to ``end``, to the end of the connection, or to ``limit`` bytes.

    Raises:
        TimeoutError: It was not there at ``until``.
    """
    got = bytearray()
    while len(got) < limit and not (end and got.endswith(end)):
        connection.settimeout(max(until - time.monotonic(), 0.001))
        if not (piece := connection.recv(min(limit - len(got), 1 << 16))):
            break
        got += piece
    return bytes(got)
