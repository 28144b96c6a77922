"""Open a bundle, as one file or as the folder it was installed to, and trust nothing unchecked."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import stat
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol, Self

from galago_edge.bundle.archive import ArchiveReader, read_at
from galago_edge.bundle.manifest_bytes import MANIFEST_LIMIT_BYTES, manifest_id, parse_manifest
from galago_edge.bundle.signature import SIGNATURE_LIMIT_BYTES, verify
from galago_edge.bundle.trust import TrustedKeys
from galago_edge.contract.errors import BundleError, CallerError, Reason, disk_error
from galago_edge.contract.manifest import FileEntry, Manifest, Preprocess
from galago_edge.contract.modality import Modality

MANIFEST_NAME = "manifest.json"
SIGNATURE_NAME = "manifest.sig"
ACCEPTED_NAME = "accepted.json"
"""What the device adds to an installed folder: when and by what it was accepted. Not signed."""
_READ_FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK  # O_NONBLOCK: a named pipe must not hang us
_NO_PLAIN_FILE = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENXIO})
"""The bundle's fault: something is missing, or is not what it was. Any other error is the disk's."""


class _Container(Protocol):
    """Where the bundle's bytes come from. Errors are BundleError and LinkError."""

    def small_file(self, name: str, limit: int, missing: Reason) -> bytes: ...

    def check_files(self, entries: tuple[FileEntry, ...]) -> None:
        """Refuse if anything else is there, or if a file is not what the list says."""
        ...

    def read(self, entry: FileEntry) -> bytes: ...

    def close(self) -> None: ...


class Bundle:
    """A bundle whose signatures and files were all found good when it was opened.

    Keeps the file open, so that what is read is what was checked; ``read`` checks again, for
    somebody may write to the file meanwhile. Closed by ``with``, by :meth:`close`, or with the last
    reference to it. Changes nothing after it was opened, so threads may share it.
    """

    def __init__(
        self,
        path: Path,
        container: _Container,
        manifest: Manifest,
        manifest_bytes: bytes,
        signature_bytes: bytes,
        signers: tuple[str, ...],
        trusted_signers: tuple[str, ...] = (),
    ) -> None:
        self.path = path
        self.manifest = manifest
        """Everything that the bundle declares: docs/bundle-format.md."""
        self.manifest_bytes = manifest_bytes
        self.signature_bytes = signature_bytes
        self.signers = signers
        """Key ids, each with a valid signature. Whether they are trusted: :func:`require_trust`."""
        self.trusted_signers = trusted_signers
        """Those of ``signers`` that were trusted when it was opened; empty where nobody asked."""
        self.id = manifest_id(manifest_bytes)
        """SHA-256 of the manifest, in hexadecimal: the bundle's identity."""
        self._closed = False
        self._container = container
        self._entries = {entry.path: entry for entry in manifest.files}

    def __str__(self) -> str:
        return f"{self.name} {self.version}"

    def __repr__(self) -> str:
        return f"<Bundle {self} {self.id[:16]}…>"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def name(self) -> str:
        """What the bundle is called, without its version."""
        return self.manifest.bundle.name

    @property
    def version(self) -> str:
        """Which version of that name it is."""
        return self.manifest.bundle.version

    @property
    def release_counter(self) -> int:
        """Where it stands in the order of its releases."""
        return self.manifest.bundle.release_counter

    @property
    def modality(self) -> Modality:
        """What it decides on."""
        return self.manifest.modality

    @property
    def spec(self) -> Preprocess:
        """What its model's input is made from, and how."""
        return self.manifest.preprocess.spec

    @property
    def labels(self) -> tuple[str, ...]:
        """The names that its model tells apart, in the model's order."""
        return tuple(label.name for label in self.manifest.labels)

    def read(self, path: str) -> bytes:
        """Return one file of the bundle, its hash checked.

        Raises:
            BundleError: FILE_HASH or TRUNCATED; it was changed since the bundle was opened.
            KeyError: The manifest lists no such file.
            ValueError: The bundle is closed.
        """
        if self._closed:
            raise ValueError(f"{self} is closed: read {path} before the end of its with block")
        return self._container.read(self._entries[path])

    def close(self) -> None:
        """Let go of the file; a second time is fine. What was loaded from it goes on working."""
        self._closed = True
        self._container.close()


def open_bundle(path: Path, trusted: TrustedKeys | None = None, *, fd: int | None = None) -> Bundle:
    """Open a ``.galago`` file or an installed folder and check every byte of it.

    Order: bounds, signatures, trust (when ``trusted`` is given), and only then is the manifest parsed,
    then every file hashed. ``fd``: ``path`` as its owner has opened it; it is closed with the bundle.

    Raises:
        BundleError: The bundle is not whole, not signed, or contradicts itself.
        CallerError: TARGET_UNKNOWN; there is no such file.
        LinkError: It cannot be read.
    """
    container, where = _contained(_open(path) if fd is None else fd, path)
    manifest_bytes = container.small_file(MANIFEST_NAME, MANIFEST_LIMIT_BYTES, Reason.MANIFEST_BAD)
    signature_bytes = container.small_file(SIGNATURE_NAME, SIGNATURE_LIMIT_BYTES, Reason.SIG_MISSING)
    signers = verify(manifest_bytes, signature_bytes, where)
    if trusted is not None:
        trusted.require(signers, where)
    manifest = parse_manifest(manifest_bytes, where)
    if trusted is not None:
        trusted.require_channel(manifest.bundle.channel, where)
    container.check_files(manifest.files)
    believed = () if trusted is None else tuple(signer for signer in signers if signer in trusted)
    return Bundle(path, container, manifest, manifest_bytes, signature_bytes, signers, believed)


def require_trust(bundle: Bundle, trusted: TrustedKeys) -> None:
    """Refuse a bundle that too few trusted keys have signed, or that is of another channel.

    Raises:
        BundleError: KEY_UNKNOWN, KEY_REVOKED, SIG_MISSING or CHANNEL_MISMATCH; see :class:`TrustedKeys`.
    """
    trusted.require(bundle.signers, bundle.path.name)
    trusted.require_channel(bundle.manifest.bundle.channel, bundle.path.name)


def _open(path: Path) -> int:
    try:
        return os.open(path, _READ_FLAGS)
    except FileNotFoundError:
        raise CallerError(
            Reason.TARGET_UNKNOWN, f"there is no bundle {path}", hint="check the path"
        ) from None
    except OSError as error:
        raise disk_error(error, f"open {path}") from error


def _contained(fd: int, path: Path) -> tuple[_Container, str]:
    where = path.name or str(path)
    try:
        mode = os.fstat(fd).st_mode
    except OSError as error:
        _close(fd)
        raise disk_error(error, f"open {path}") from error
    if stat.S_ISREG(mode):
        return _Archive(fd, where), where
    if stat.S_ISDIR(mode):
        return _Folder(fd, where), where
    _close(fd)
    raise BundleError(Reason.MANIFEST_BAD, f"{where} is neither a file nor a folder", hint=_NO_BUNDLE)


class _Archive:
    def __init__(self, fd: int, where: str) -> None:
        self.close = weakref.finalize(self, _close, fd)
        self._fd = fd
        self._where = where
        self._reader = ArchiveReader(fd, where)
        self._offsets: dict[str, int] = {}

    def small_file(self, name: str, limit: int, missing: Reason) -> bytes:
        return self._reader.small_member(name, limit, missing)

    def check_files(self, entries: tuple[FileEntry, ...]) -> None:
        for entry in entries:
            digest = hashlib.sha256()
            start = self._reader.content_offset
            for chunk in self._reader.member(entry.path, entry.size):
                digest.update(chunk)
            _compare(digest.hexdigest(), entry, self._where)
            self._offsets[entry.path] = start
        self._reader.finish()

    def read(self, entry: FileEntry) -> bytes:
        return _read_checked(self._fd, self._offsets[entry.path], entry, self._where)


class _Folder:
    def __init__(self, fd: int, where: str) -> None:
        self.close = weakref.finalize(self, _close, fd)
        self._fd = fd
        self._where = where

    def small_file(self, name: str, limit: int, missing: Reason) -> bytes:
        try:
            fd, size = self._open_file(name)
        except BundleError as error:
            hint = _NO_BUNDLE if name == MANIFEST_NAME else error.hint
            raise BundleError(missing, str(error), hint=hint) from None
        try:
            if size > limit:
                text = f"{self._where}: {name} has {size} bytes, at most {limit} are allowed"
                raise BundleError(Reason.TOO_BIG, text, hint="this is no bundle of ours")
            return read_at(fd, 0, limit)
        except OSError as error:
            raise disk_error(error, f"read {self._where}/{name}") from error
        finally:
            _close(fd)

    def check_files(self, entries: tuple[FileEntry, ...]) -> None:
        expected = {MANIFEST_NAME, SIGNATURE_NAME, ACCEPTED_NAME, *(entry.path for entry in entries)}
        folders = {parent.as_posix() for name in expected for parent in Path(name).parents}
        for name in self._names():
            if name not in expected and name not in folders:
                text = f"{self._where}: holds {name}, which the manifest does not list"
                raise BundleError(Reason.FILE_EXTRA, text, hint="install the bundle again")
        for entry in entries:
            self.read(entry)

    def read(self, entry: FileEntry) -> bytes:
        fd, size = self._open_file(entry.path)
        try:
            if size != entry.size:
                text = f"{self._where}: {entry.path} has {size} bytes, the manifest says {entry.size}"
                raise BundleError(
                    Reason.TRUNCATED if size < entry.size else Reason.FILE_HASH, text, hint=_AGAIN
                )
            return _read_checked(fd, 0, entry, self._where)
        finally:
            _close(fd)

    def _names(self) -> Iterator[str]:
        try:
            for folder, folders, files, _ in os.fwalk(dir_fd=self._fd, onerror=_raise):
                for name in (*folders, *files):
                    yield Path(folder, name).as_posix()
        except OSError as error:
            raise disk_error(error, f"list {self._where}") from error

    def _open_file(self, path: str) -> tuple[int, int]:
        """Open a regular file below the folder, following no link on the way."""
        *folders, name = path.split("/")
        fd = self._fd
        try:
            for folder in folders:
                below = os.open(folder, _READ_FLAGS | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=fd)
                if fd != self._fd:
                    _close(fd)
                fd = below
            opened = os.open(name, _READ_FLAGS | os.O_NOFOLLOW, dir_fd=fd)
        except OSError as error:
            if error.errno not in _NO_PLAIN_FILE:
                raise disk_error(error, f"open {self._where}/{path}") from error
            what = "is missing" if error.errno == errno.ENOENT else "is no plain file, or lies behind a link"
            raise BundleError(Reason.TRUNCATED, f"{self._where}: {path} {what}", hint=_AGAIN) from None
        finally:
            if fd != self._fd:
                _close(fd)
        try:
            status = os.fstat(opened)
        except OSError as error:
            _close(opened)
            raise disk_error(error, f"open {self._where}/{path}") from error
        if not stat.S_ISREG(status.st_mode):
            _close(opened)
            raise BundleError(Reason.FILE_EXTRA, f"{self._where}: {path} is not a plain file", hint=_AGAIN)
        return opened, status.st_size


_AGAIN = "copy or install the bundle again"
_NO_BUNDLE = "give a .galago file, or the folder of an installed bundle"


def _close(fd: int) -> None:
    with contextlib.suppress(OSError):  # nothing was written through it
        os.close(fd)


def _raise(error: OSError) -> None:
    raise error


def _read_checked(fd: int, offset: int, entry: FileEntry, where: str) -> bytes:
    try:
        data = read_at(fd, offset, entry.size)
    except OSError as error:
        raise disk_error(error, f"read {where}") from error
    if len(data) != entry.size:
        raise BundleError(Reason.TRUNCATED, f"{where}: ends within {entry.path}", hint=_AGAIN)
    _compare(hashlib.sha256(data).hexdigest(), entry, where)
    return data


def _compare(digest: str, entry: FileEntry, where: str) -> None:
    if digest != entry.sha256:
        raise BundleError(
            Reason.FILE_HASH,
            f"{where}: {entry.path} has sha256 {digest[:16]}…, the signed manifest says {entry.sha256[:16]}…",
            hint=_AGAIN,
        )
