"""Hashes of recordings, remembered, so that a corpus of terabytes is not read whole at each command.

A hash is believed as long as the disk says the same of every file of the recording as when it was read: size,
inode, time of the last change of the content and time of the last change of anything. Programs that copy set
the former time to what they like; the latter only the system does. So what was changed is read again. A disk
that loses or invents bytes by itself is not noticed by this; ``--rehash`` notices. What was changed a moment
before it was read is not remembered: with the next change its times might be the same. The file with the
hashes has one of itself; where that is wrong nothing in it is believed.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote_from_bytes

import msgspec

from galago_edge.contract.count_words import count_of, noun_of
from galago_edge.contract.errors import GalagoError, disk_error
from galago_edge.sources.recording_digest import recording_files, recording_sha256
from galago_workstation.files import write_bytes
from galago_workstation.qa.sealed_json import BrokenSealError, sealed_json, unsealed

HASHES = "recordings.json"
"""In a folder of results."""
_SETTLED_NS = 2_000_000_000
"""FAT counts in steps of two seconds, which is the coarsest."""


class KnownContent(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One recording, as it was when it was read."""

    stamp: str
    """SHA-256 of what the disk says of its files."""
    sha256: str
    """Of its content."""


class _HashFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``recordings.json``."""

    schema: str = "galago.recordings/1"
    recordings: dict[str, KnownContent] = {}
    """By their paths, percent-encoded: names of files are bytes."""


class ContentHashes:
    """Hashes recordings for one command; counts what it has not read because it was known."""

    def __init__(
        self, folder: Path | None = None, *, reread: bool = False, now_ns: Callable[[], int] = time.time_ns
    ) -> None:
        """Remember in a folder of results; without one, nothing. ``reread``: believe nothing, and compare."""
        self.folder = folder
        """The folder of results; None where nothing is remembered."""
        self._file = None if folder is None else folder / HASHES
        self._reread = reread
        self._now_ns = now_ns
        self._notes: dict[str, None] = {}
        """In their order, each once."""
        self._known = {} if self._file is None else self._read(self._file)
        self._new: dict[str, KnownContent] = {}
        self._asked = self._believed = 0

    def of(self, path: Path) -> str | None:
        """Return the SHA-256 of a recording, as ``recording_sha256`` does.

        Raises:
            LinkError: The disk fails.
        """
        self._asked += 1
        if self._file is None:
            return recording_sha256(path)
        key = quote_from_bytes(os.fsencode(path))
        stamp, settled = self._stamp(path)
        known = self._known.get(key)
        unchanged = known is not None and known.stamp == stamp
        if unchanged and not self._reread and known is not None:
            self._believed += 1
            return known.sha256
        sha256 = recording_sha256(path)
        if unchanged and known is not None and known.sha256 != sha256:
            self._note(
                f"{path}: its content is not what it was, although its size and times are: "
                f"SHA-256 {(sha256 or '')[:16]}…, and {known.sha256[:16]}… when it was read before"
            )
        if sha256 is not None and settled and self._stamp(path)[0] == stamp:
            self._new[key] = KnownContent(stamp=stamp, sha256=sha256)
        return sha256

    def notes(self) -> Iterator[str]:
        """Yield what is to be told: what was believed, and what was wrong, one line each."""
        yield from self._notes
        if self._believed:
            yield (
                "not read again, for size and times are as when they were: "
                f"{self._believed} of {count_of(self._asked, 'recording')}; --rehash reads "
                f"{noun_of(self._believed, 'it', 'them')}"
            )

    @contextlib.contextmanager
    def kept(self) -> Iterator[None]:
        """Remember at the end of the block what was read in it; also of one that fails or is interrupted.

        Where it fails before there is a folder of results, nothing is made.
        """
        whole = False
        try:
            yield
            whole = True
        finally:
            if self._file is not None and self._new and (whole or self._file.parent.is_dir()):
                self._save(self._file)

    def _save(self, file: Path) -> None:
        """Write what is new; when that fails it is a note, for the next command only takes longer."""
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            # another command may have added others meanwhile
            write_bytes(file, sealed_json(_HashFile(recordings=self._read(file) | self._new)))
        except OSError as error:
            self._note(f"hashes are not remembered: {disk_error(error, f'create {file.parent}')}")
        except GalagoError as error:
            self._note(f"hashes are not remembered: {error}")

    def _read(self, file: Path) -> dict[str, KnownContent]:
        try:
            found = unsealed(file.read_bytes(), _HashFile)
        except FileNotFoundError:
            return {}
        except OSError as error:
            self._note(f"{disk_error(error, f'read {file}')}; every recording is read")
            return {}
        except (BrokenSealError, msgspec.DecodeError) as error:
            self._note(f"{file} cannot be used, and every recording is read: {error}")
            return {}
        return found.recordings

    def _note(self, text: str) -> None:
        self._notes[text] = None

    def _stamp(self, path: Path) -> tuple[str, bool]:
        """Return what the disk says of a recording, hashed, and whether it can be told from the next change.

        Raises:
            LinkError: The disk fails.
        """
        digest, newest_ns = hashlib.sha256(), 0
        try:
            for file in recording_files(path):
                said = file.stat()
                if not stat.S_ISREG(said.st_mode):
                    return "", False
                facts = (said.st_size, said.st_ino, said.st_mtime_ns, said.st_ctime_ns)
                digest.update(os.fsencode(file.name) + b"\0" + " ".join(map(str, facts)).encode() + b"\0")
                newest_ns = max(newest_ns, said.st_mtime_ns, said.st_ctime_ns)
        except OSError as error:
            raise disk_error(error, f"read {path}") from error
        return digest.hexdigest(), newest_ns + _SETTLED_NS <= self._now_ns()
