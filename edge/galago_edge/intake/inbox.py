"""Where a bundle lies while it is being sent to this device: ROOT/inbox, one file for each content.

A broken connection leaves what came so far, and the next attempt compares its hash and goes on from there.
After a power cut the end of it may be anything: the hash differs then, and it starts over. What nobody
sends any more is removed by the next upload, so the inbox does not grow.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from galago_edge.contract.errors import BusyError, LinkError, Reason, disk_error
from galago_edge.host.own_folders import FolderEntry
from galago_edge.store import Store
from galago_edge.store.filesystem import StoreFs

INBOX = "inbox"
PATIENCE_S = 75.0
"""How long an upload of the same bundle, whose sender may be gone, is waited for."""
_POLL_S = 0.25
_SUFFIX = ".part"
_READ_BYTES = 1 << 20


class Upload:
    """One file on its way. Belongs to one process at a time."""

    def __init__(self, fs: StoreFs, path: Path, fd: int, sha256: str, size: int) -> None:
        """Use :meth:`open`."""
        self.path = path
        self._fs = fs
        self.received = 0
        """Bytes that are here."""
        self._fd = fd
        self._sha256 = sha256
        self._size = size
        self._hash = hashlib.sha256()

    @classmethod
    @contextlib.contextmanager
    def open(
        cls, root: Path, sha256: str, size: int, *, waiting: Callable[[], None] = lambda: None
    ) -> Iterator[Upload]:
        """Give the upload of the file with this hash, with what is there of it already.

        ``waiting`` is called again and again while another process is at it.

        Raises:
            BusyError: LOCKED; another upload of it goes on.
            LinkError: The inbox cannot be written.
        """
        fs, folder = Store(root).fs, root / INBOX
        path = folder / f"{sha256}{_SUFFIX}"
        until = time.monotonic() + PATIENCE_S
        try:
            if not fs.is_folder(folder):
                with contextlib.suppress(FileExistsError):
                    fs.mkdir(folder, 0o700)
            _sweep(fs, folder, path)
            while (fd := _locked(fs, path)) is None:
                waiting()
                if time.monotonic() >= until:
                    raise BusyError(
                        Reason.LOCKED,
                        f"another upload of the same bundle to {root} goes on",
                        hint="galago status there shows what goes on; then run the same command again",
                    )
                time.sleep(_POLL_S)
        except OSError as error:
            raise disk_error(error, f"write to {folder}") from error
        try:
            upload = cls(fs, path, fd, sha256, size)
            upload._take_up()
            yield upload
        finally:
            os.close(fd)  # frees the lock

    @staticmethod
    def paths(root: Path) -> list[Path]:
        """Return the files in the inbox, whether somebody is sending them or not."""
        return [root / INBOX / entry.name for entry in _entries(Store(root).fs, root / INBOX)]

    @staticmethod
    def present(root: Path) -> int:
        """Return how many bytes lie in the inbox; they go, or count for the file that is sent."""
        return sum(entry.size_bytes for entry in _entries(Store(root).fs, root / INBOX))

    def digest(self) -> str:
        """Return the sha256 of what is here."""
        return self._hash.hexdigest()

    def restart(self) -> None:
        """Forget what is here.

        Raises:
            LinkError: The disk fails.
        """
        try:
            os.ftruncate(self._fd, 0)
            os.lseek(self._fd, 0, os.SEEK_SET)
        except OSError as error:
            raise disk_error(error, f"write {self.path}") from error
        self.received, self._hash = 0, hashlib.sha256()

    def write(self, data: bytes) -> None:
        """Add bytes at the end.

        Raises:
            LinkError: TOO_BIG, more came than was said; or the disk is full or failing.
        """
        if self.received + len(data) > self._size:
            raise LinkError(
                Reason.TRANSPORT,
                f"more than the promised {self._size} bytes came",
                hint="run the same command again",
            )
        rest = memoryview(data)
        try:
            while rest:
                rest = rest[os.write(self._fd, rest) :]
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                self.discard()  # a device whose disk is full must not stay so for a file that cannot end
            raise disk_error(error, f"receive the bundle into {self.path.parent}") from error
        self._hash.update(data)
        self.received += len(data)

    def finish(self) -> None:
        """Wait until it is on the disk, and read it back: the hash must be the promised one.

        Raises:
            LinkError: TRANSPORT, what is on this disk is not what was sent; or the disk fails.
        """
        try:
            os.fsync(self._fd)
            with contextlib.suppress(
                AttributeError, OSError
            ):  # only a wish: not everywhere there is such a call
                os.posix_fadvise(self._fd, 0, 0, os.POSIX_FADV_DONTNEED)
            self._read_back()
        except OSError as error:
            raise disk_error(error, f"read {self.path} back") from error
        if self.received != self._size or self.digest() != self._sha256:
            raise LinkError(
                Reason.TRANSPORT,
                f"{self.received} of {self._size} bytes arrived, with sha256 {self.digest()[:16]}… "
                f"where {self._sha256[:16]}… was promised",
                hint="run the same command again; if it comes back, look at the disk there",
            )

    def discard(self) -> None:
        """Remove the file; it stays ours until the upload is closed."""
        with contextlib.suppress(OSError):
            self._fs.unlink(self.path)

    def _take_up(self) -> None:
        try:
            if os.fstat(self._fd).st_size > self._size:
                self.restart()
            else:
                self._read_back()
        except OSError as error:
            raise disk_error(error, f"read {self.path}") from error

    def _read_back(self) -> None:
        os.lseek(self._fd, 0, os.SEEK_SET)
        self.received, self._hash = 0, hashlib.sha256()
        while piece := os.read(self._fd, _READ_BYTES):
            self._hash.update(piece)
            self.received += len(piece)


def _locked(fs: StoreFs, path: Path) -> int | None:
    """Open and lock the file; None while somebody else has it."""
    try:
        fd = fs.lock(path)
    except BlockingIOError:
        return None
    try:
        there = fs.status(path)
        if there is not None and os.path.samestat(os.fstat(fd), there):
            return fd
    except BaseException:  # the lock must go with what was not taken
        os.close(fd)
        raise
    os.close(fd)  # it was removed between opening and locking
    return None


def _entries(fs: StoreFs, folder: Path) -> list[FolderEntry]:
    """Return the files in the inbox; none where they cannot be listed."""
    with contextlib.suppress(OSError):
        return [entry for entry in fs.entries(folder) if entry.name.endswith(_SUFFIX)]
    return []


def _sweep(fs: StoreFs, folder: Path, keep: Path) -> None:
    """Remove what nobody is sending."""
    for entry in fs.entries(folder):
        path = folder / entry.name
        if path == keep or not entry.name.endswith(_SUFFIX):
            continue
        if entry.kind != "file":  # none of ours
            fs.unlink(path)
            continue
        try:
            fd = fs.lock(path)
        except (BlockingIOError, FileNotFoundError):
            continue  # somebody is, or it is gone
        try:
            with contextlib.suppress(FileNotFoundError):
                fs.unlink(path)
        finally:
            os.close(fd)
