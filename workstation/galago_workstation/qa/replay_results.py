"""Results of replays on a disk: each in a folder whose name is the digest of its job.

``FOLDER/<aa>/<digest>/`` holds ``records.jsonl``, ``scores.npz`` and ``job.json``; where the stages were
hashed, ``logits.i8`` too: the model's int8 output, run by run. A result is whole or
absent: it is made beside its place and moved there. ``job.json`` has the hashes of the others and one of
itself (``sealed_json``), so that what was damaged, edited or put there by mistake is found when it is read,
and is computed again. These are plain hashes: who forges a result can forge them too. A link in the place of
a result is none, and is never followed.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import msgspec

from galago_edge.contract.errors import (
    BundleError,
    BusyError,
    CallerError,
    DeviceError,
    GalagoError,
    InputError,
    LinkError,
    ModelError,
    disk_error,
)
from galago_edge.contract.manifest import Label
from galago_edge.contract.printable import printable
from galago_workstation.files import is_gone, process_here
from galago_workstation.qa.replay_environment import ReplayEnvironment
from galago_workstation.qa.replay_job import ReplayJob
from galago_workstation.qa.sealed_json import BrokenSealError, sealed_json, unsealed

RECORDS, SCORES, LOGITS, JOB = "records.jsonl", "scores.npz", "logits.i8", "job.json"
_JOB_LIMIT_BYTES = 1 << 22
_ATTEMPTS = 4
_CLASSES: tuple[type[GalagoError], ...] = (
    *(BundleError, BusyError, CallerError, DeviceError),
    *(InputError, LinkError, ModelError),
)


class StoredFailure(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What ended a replay early, as ``galago replay`` says it."""

    kind: str
    reason: str
    message: str
    hint: str
    exit: int

    @classmethod
    def of(cls, error: GalagoError) -> StoredFailure:
        """Return what is kept of an error."""
        said = {
            key: printable(value) if isinstance(value, str) else value
            for key, value in error.as_data(with_exit=True).items()
        }
        return msgspec.convert({"kind": type(error).__name__, **said}, cls)

    def error(self) -> GalagoError:
        """Return the error again."""
        known = {one.__name__: one for one in _CLASSES}.get(self.kind, GalagoError)
        data = msgspec.to_builtins(self)
        return known.from_data(data)


class StoredReplay(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``job.json``: what was asked, on what it was computed, and what came of it."""

    schema: Literal["galago.replay/1"] = "galago.replay/1"
    job: ReplayJob
    name: str
    """The recording's file name, which stands in the first record."""
    labels: tuple[Label, ...]
    """The bundle's, with the policy that decided."""
    receptive_ns: int
    """Length of one window."""
    duration_ns: int
    """Stream time at which the recording ended, gaps included."""
    windows: int
    events: int
    gaps: int
    failure: StoredFailure | None
    """None: it was decided to its end."""
    stages: dict[str, str] | None
    """SHA-256 of each stage, ``recording`` and then ``galago_edge.pipeline.stage_hashes``; None when nobody
    asked."""
    marks: dict[str, str] | None = None
    """Where each stage differs from that of another replay: ``galago_edge.pipeline.stage_marks``."""
    files: dict[str, str]
    """SHA-256 of each other file."""
    environment: ReplayEnvironment


class ReplayResults:
    """A folder of results; several processes may read and write it, on several hosts too."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def make(self) -> None:
        """Make the folder, if it is not there.

        Raises:
            LinkError: The disk refuses.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise disk_error(error, f"create {self.folder}") from error

    def place(self, digest: str) -> Path:
        """Return the folder of a result."""
        return self.folder / digest[:2] / digest

    def find(self, digest: str, *, stages: bool = False) -> tuple[StoredReplay | None, str]:
        """Return a result; None with the reason when there is one that must be computed again.

        ``stages``: it must have the hashes of the stages; where it has none, it counts as absent.

        Raises:
            LinkError: The disk fails.
        """
        place = self.place(digest)
        stored, fault = self.described(digest)
        if stored is None:
            return None, fault
        for name in (RECORDS, SCORES, *([LOGITS] if stored.marks is not None else [])):
            if fault := _file_fault(place / name, stored.files.get(name)):
                return None, fault
        return (None, "") if stages and stored.marks is None else (stored, "")

    def described(self, digest: str) -> tuple[StoredReplay | None, str]:
        """Return what a result says of itself; its other files are not looked at.

        Raises:
            LinkError: The disk fails.
        """
        place = self.place(digest)
        if place.is_symlink():
            return None, "a link is in its place, expected a folder"
        try:
            content = (place / JOB).read_bytes() if place.is_dir() else b""
        except FileNotFoundError:
            return None, f"{JOB} is missing"
        except OSError as error:
            raise disk_error(error, f"read {place / JOB}") from error
        if not content and not place.exists():
            return None, ""
        return _stored(content, digest)

    @contextlib.contextmanager
    def writing(self, digest: str, *, stages: bool = False) -> Iterator[Path]:
        """Give an empty folder that becomes the result when the block ends well, and goes when it does not.

        Where somebody else has finished the same result in the meantime, that one stays: they are equal.

        Raises:
            LinkError: The disk fails.
        """
        place = self.place(digest)
        part = self._aside(digest)
        self.clear(digest)
        try:
            part.mkdir(parents=True)
            try:
                yield part
                self._move(part, digest, stages)
            finally:
                shutil.rmtree(part, ignore_errors=True)
        except OSError as error:
            raise disk_error(error, f"write {place}") from error

    def clear(self, digest: str) -> None:
        """Remove what processes of this host that are gone left half-written of a result."""
        for part in self.abandoned(self.place(digest).parent, digest):
            shutil.rmtree(part, ignore_errors=True)

    @staticmethod
    def abandoned(shelf: Path, digest: str = "*") -> list[Path]:
        """Return what processes of this host that are gone left half-written beside results."""
        found = []
        for part in sorted(shelf.glob(f".{digest}.*")):
            _, _, host, pid, *_ = (*part.name.split("."), "", "")
            if is_gone(host, pid) and part.is_dir() and not part.is_symlink():
                found.append(part)
        return found

    def remove(self, digest: str) -> None:
        """Remove a result; whoever looks meanwhile finds all of it or nothing.

        One that another process has removed meanwhile is gone, as it should be.

        Raises:
            OSError: The disk refuses, or something else is in its place.
        """
        place, part = self.place(digest), self._aside(digest)
        if place.is_symlink():
            raise NotADirectoryError(errno.ENOTDIR, "a link is in its place, expected a folder", str(place))
        try:
            place.rename(part)
        except FileNotFoundError:
            return
        shutil.rmtree(part)
        with contextlib.suppress(OSError):  # others lie beside it
            place.parent.rmdir()

    def _aside(self, digest: str) -> Path:
        host, pid = process_here()
        return self.place(digest).with_name(f".{digest}.{host}.{pid}.{secrets.token_hex(4)}.part")

    def _move(self, part: Path, digest: str, stages: bool) -> None:
        place = self.place(digest)
        for attempt in range(_ATTEMPTS):
            try:
                part.rename(place)
                return
            except OSError:
                if attempt == _ATTEMPTS - 1 or not os.path.lexists(place):
                    raise
            if self.find(digest, stages=stages)[0] is not None:
                return
            old = part.with_suffix(f".{attempt}")
            with contextlib.suppress(FileNotFoundError):  # another process was quicker to move it away
                place.rename(old)
            _discard(old)


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file's content, in hexadecimal.

    Raises:
        OSError: It cannot be read.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _stored(content: bytes, digest: str) -> tuple[StoredReplay | None, str]:
    try:
        stored = unsealed(content[:_JOB_LIMIT_BYTES], StoredReplay)
    except BrokenSealError as error:
        return None, f"{JOB} was changed: {error}"
    except msgspec.DecodeError as error:
        return None, f"{JOB} is damaged or of another version: {error}"
    if stored.job.digest != digest:
        return None, f"{JOB} is of another job"
    return stored, ""


def _file_fault(path: Path, expected: str | None) -> str:
    try:
        found = file_sha256(path)
    except FileNotFoundError:
        return f"{path.name} is missing"
    except OSError as error:
        raise disk_error(error, f"read {path}") from error
    return "" if found == expected else f"{path.name} was changed"


def _discard(path: Path) -> None:
    """Remove what lay in the place of a result and was moved away; of a link, not what it leads to."""
    if path.is_symlink():
        path.unlink(missing_ok=True)
    else:
        shutil.rmtree(path, ignore_errors=True)


def write_stored(folder: Path, stored: StoredReplay) -> None:
    """Write ``job.json`` with its hash, as the last file of a result.

    Raises:
        OSError: The disk refuses.
    """
    (folder / JOB).write_bytes(sealed_json(stored))
