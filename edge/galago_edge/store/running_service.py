"""The service that runs on a store: whether there is one, and what it says of itself.

One service runs on one store: the folder itself is locked while it does, so that the lock leaves nothing
behind and a killed service frees it at once. It is asked by a Unix socket in the store's folder, opened
through ``/proc/self/fd``, because a socket's path may only have 108 bytes and a folder's may have 4096.

A client sends one line, ``status``, and gets one JSON object.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
import struct
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec

from galago_edge.contract.decoding import from_json
from galago_edge.contract.errors import BusyError, CallerError, LinkError, Reason, disk_error
from galago_edge.contract.status import ServiceStatus

SOCKET_NAME = "control.sock"
ASK_STATUS = b"status\n"
CLIENT_S = 2.0
"""What one client may take; the others wait for it."""
_ANSWER_LIMIT_BYTES = 16 << 20


class StatusFault(msgspec.Struct, frozen=True):
    """What is answered instead of a status."""

    error: str


def check_free(root: Path) -> None:
    """Refuse a store that another service runs on, before anything is done for one more.

    Raises:
        BusyError: LOCKED.
        LinkError: The folder cannot be opened or locked.
    """
    if root.is_dir():
        with _folder(root, os.O_RDONLY) as folder:
            lock_store(folder, root)


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
            client.sendall(ASK_STATUS)
            answer = read_until(client, None, _ANSWER_LIMIT_BYTES, until)
        except TimeoutError:
            raise _silent(root, pid, f"no answer within {timeout_s:g} s") from None
        except OSError as error:
            raise _silent(root, pid, error.strerror or str(error)) from None
    return _decode(root, pid, answer)


def _decode(root: Path, pid: int, answer: bytes) -> ServiceStatus | None:
    if not answer:
        raise _silent(root, pid, "it closed the connection without an answer")
    try:
        return from_json(answer, type=ServiceStatus)
    except msgspec.DecodeError as error:
        try:
            told = from_json(answer, type=StatusFault).error
        except msgspec.DecodeError:
            told = f"its answer is no status of this version: {error}"
        raise _silent(root, pid, told) from None


def _silent(root: Path, pid: int | None, what: str) -> LinkError:
    return LinkError(
        Reason.SERVICE_SILENT,
        f"the service{_of(pid)} on {root} does not say how it is: {what}",
        hint="journalctl -u galago says more; systemctl restart galago restarts it",
    )


def no_folder(root: Path) -> CallerError:
    """Return the failure of a store that is not there."""
    return CallerError(
        Reason.TARGET_UNKNOWN,
        f"there is no folder {root}",
        hint="galago install BUNDLE --root DIR makes one, or give the right one",
    )


def lock_store(folder: int, root: Path) -> None:
    """Lock the store's open folder for one service.

    Raises:
        BusyError: LOCKED; another service runs on it.
        LinkError: It cannot be locked.
    """
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
        raise no_folder(root) from None
    except OSError as error:
        raise disk_error(error, f"open {root}") from error
    try:
        yield folder
    finally:
        os.close(folder)


def socket_address(folder: int) -> str:
    """Return how the socket in an open folder is reached, however long the folder's path is."""
    return f"/proc/self/fd/{folder}/{SOCKET_NAME}"


def _connect(client: socket.socket, folder: int, until: float) -> None:
    while True:
        client.settimeout(max(until - time.monotonic(), 0.001))
        try:
            return client.connect(socket_address(folder))
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
            _connect(client, folder, time.monotonic() + CLIENT_S)
        except OSError:
            return None
        return _peer_pid(client)


def _of(pid: int | None) -> str:
    return f" (process {pid})" if pid else ""


def read_until(connection: socket.socket, end: bytes | None, limit: int, until: float) -> bytes:
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
