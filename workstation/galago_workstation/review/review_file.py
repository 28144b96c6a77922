"""What a person answered, in a file that only grows: what it holds is never lost, whatever ends the program.

``review.jsonl`` has one line for each answer and for each that was taken back, with who and when; it is the
truth. ``samples.csv`` beside it is the table for training that follows from it, made anew with each answer.
"""

from __future__ import annotations

import contextlib
import datetime
import errno
import fcntl
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import msgspec

from galago_edge.contract.decoding import from_json
from galago_edge.contract.errors import BusyError, CallerError, InputError, Reason, disk_error
from galago_edge.host.file_replacement import FileEffects
from galago_workstation.data.cut_folder import TABLE_FILE
from galago_workstation.data.sample_manifest import ManifestRow, manifest_bytes
from galago_workstation.files import write_bytes

REVIEW_FILE = "review.jsonl"
_HINT = "choose another folder with --out, or move this one away"


class _Begun(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="begun"):
    """The first line."""

    schema: Literal["galago.review/1"] = "galago.review/1"


class ReviewAnswer(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="answer"):
    """What somebody said of a sample."""

    sha256: str
    path: str
    """From the folder of the review, made printable."""
    label: str | None
    """None: it is of no use."""
    group: str = ""
    proposed: str = ""
    score: float | None = None
    reviewer: str = ""
    utc: str = ""


class _Undone(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="undone"):
    """The last answer that still stands is taken back."""

    sha256: str
    reviewer: str = ""
    utc: str = ""


_Line = _Begun | ReviewAnswer | _Undone


class ReviewFile:
    """The answers in a folder. Used by one thread at a time."""

    def __init__(self, folder: Path, reviewer: str) -> None:
        """Open a review, or begin one in a folder that is new or empty.

        Raises:
            CallerError: EXISTS; the folder holds something else.
            BusyError: LOCKED; another review writes to it.
            InputError: DATA_BAD; the file is damaged.
            LinkError: The disk.
        """
        self.folder = folder
        self.answers: dict[str, ReviewAnswer] = {}
        """What stands, by the content's hash."""
        self.torn = False
        """The last line was cut off, by a power cut perhaps: an answer that nobody was told was saved."""
        self._reviewer = reviewer
        self._paths: dict[str, str] = {}
        self._steps: list[tuple[str, ReviewAnswer | None]] = []
        """Whose answer changed, and what it was before."""
        path = folder / REVIEW_FILE
        try:
            _refuse_foreign(folder)
            folder.mkdir(parents=True, exist_ok=True)
            self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise disk_error(error, f"write {path}") from error
        try:
            self._lock()
            self._read(path)
        except BaseException:  # whatever it was, the lock must not stay
            os.close(self._fd)
            raise

    def close(self) -> None:
        """Give the lock back. Twice does no harm."""
        if self._fd >= 0:
            os.close(self._fd)
        self._fd = -1

    @property
    def undoable(self) -> str | None:
        """The content whose answer would be taken back."""
        return self._steps[-1][0] if self._steps else None

    def answer(self, answer: ReviewAnswer) -> ReviewAnswer:
        """Keep an answer, in the place of a former one; return it with who and when. It is on the disk then.

        Raises:
            LinkError: The disk; nothing has changed, but for the table where only that cannot be written.
        """
        told = msgspec.structs.replace(answer, reviewer=self._reviewer, utc=_now())
        self._append(told)
        self._take(told)
        self._write_table()
        return told

    def undo(self) -> str | None:
        """Take the last answer back that stands; return its content's hash, None when there is none.

        Raises:
            LinkError: As :meth:`answer`.
        """
        sha256 = self.undoable
        if sha256 is not None:
            line = _Undone(sha256=sha256, reviewer=self._reviewer, utc=_now())
            self._append(line)
            self._take(line)
            self._write_table()
        return sha256

    def place(self, paths: Mapping[str, str]) -> None:
        """Let the table say where contents lie now, by their hashes: samples may have been moved since.

        Raises:
            LinkError: The disk.
        """
        self._paths.update(paths)
        self._write_table()

    def _take(self, line: ReviewAnswer | _Undone) -> None:
        if isinstance(line, ReviewAnswer):
            self._steps.append((line.sha256, self.answers.get(line.sha256)))
            self.answers[line.sha256] = line
            return
        if not self._steps or self._steps[-1][0] != line.sha256:
            raise ValueError("takes back an answer that is not the last one")
        _, before = self._steps.pop()
        if before is None:
            del self.answers[line.sha256]
        else:
            self.answers[line.sha256] = before

    def _append(self, line: _Line) -> None:
        path = self.folder / REVIEW_FILE
        size = os.fstat(self._fd).st_size
        data = msgspec.json.encode(line) + b"\n"
        try:
            if os.write(self._fd, data) != len(data):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))  # half a line is no answer
            os.fsync(self._fd)
        except OSError as error:
            with contextlib.suppress(OSError):
                os.ftruncate(self._fd, size)
            raise disk_error(error, f"write {path}") from error

    def _write_table(self) -> None:
        rows = [
            ManifestRow(
                path=self._paths.get(one.sha256, one.path),
                label=one.label,
                group=one.group,
                reviewer=one.reviewer,
                reviewed_utc=one.utc,
            )
            for one in self.answers.values()
            if one.label is not None
        ]
        write_bytes(self.folder / TABLE_FILE, manifest_bytes(sorted(rows, key=lambda row: row.path)))

    def _lock(self) -> None:
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BusyError(
                Reason.LOCKED,
                f"another galago data review writes to {self.folder}",
                hint="end it first, or choose another folder with --out",
            ) from None

    def _read(self, path: Path) -> None:
        try:
            content = path.read_bytes()
            whole = content.rfind(b"\n") + 1
            if whole < len(content):
                self.torn = True
                os.ftruncate(self._fd, whole)
        except OSError as error:
            raise disk_error(error, f"read {path}") from error
        if not whole:
            self._append(_Begun())
            FileEffects().fsync_dir(self.folder)
        for number, text in enumerate(content[:whole].splitlines(), 1):
            try:
                line = msgspec.convert(from_json(text), _Line)
                if isinstance(line, _Begun) != (number == 1):
                    raise ValueError("a review begins with its first line, and once")
                if not isinstance(line, _Begun):
                    self._take(line)
            except ValueError as error:  # msgspec's are, too
                raise InputError(
                    Reason.DATA_BAD,
                    f"{path}, line {number}: {error}",
                    hint="mend that line, or take another --out",
                ) from None
        self._write_table()  # a power cut may have come between the two files


def _refuse_foreign(folder: Path) -> None:
    if folder.is_dir() and ((folder / REVIEW_FILE).is_file() or not any(folder.iterdir())):
        return
    if folder.exists():
        raise CallerError(
            Reason.EXISTS,
            f"{folder} exists and is no folder of a review ({REVIEW_FILE} is missing)",
            hint=_HINT,
        )


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
