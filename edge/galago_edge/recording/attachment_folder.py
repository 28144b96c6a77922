"""The pictures and sounds of events: a thread of its own writes them, within the budget, and then tells."""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from galago_edge.contract.attachment import (
    FOLDER,
    TEMPORARY,
    MediaType,
    attachment_name,
    is_attachment,
    moment_of,
)
from galago_edge.contract.records import AttachmentRecord, EventRecord, Record
from galago_edge.contract.settings import AttachmentsSettings
from galago_edge.contract.status import AttachmentsStatus
from galago_edge.host.file_replacement import Durable, FileEffects, replace_file
from galago_edge.host.own_folders import entries_of, own_folder, status_of
from galago_edge.host.private_modes import FILE_MODE, make_private_folder
from galago_edge.recording.quiet_thread import STOPPED, QuietThread, fault_in_words

_WAITING = 4
"""A frame waits as pixels: these are some megabytes each."""
_MEGABYTE = 1_000_000


@dataclass(frozen=True, slots=True)
class AttachmentCandidate:
    """What an event is to carry."""

    event: EventRecord
    media_type: MediaType
    content: Callable[[], bytes]
    """Makes the file's bytes; called in the folder's own thread."""
    from_ns: int
    """What it shows, in stream time."""
    to_ns: int


class _SkippedError(Exception):
    """The event goes without; the text is what is counted."""


class AttachmentFolder:
    """Keeps the attachments of all streams in ``ROOT/attachments``, and never more than the settings allow.

    ``offer`` and ``skip`` neither wait nor raise. A file is whole and on the disk before its record is told.
    A full or broken disk costs attachments, nothing else.
    """

    def __init__(
        self,
        settings: AttachmentsSettings,
        root: Path,
        tell: Callable[[Sequence[Record]], None],
        *,
        wall_ns: Callable[[], int] = time.time_ns,
        effects: FileEffects | None = None,
    ) -> None:
        """Keep them below ``root``, the store's folder; ``tell`` takes the record of each, in our thread."""
        self.settings = settings
        self.path = root / FOLDER
        self._tell = tell
        self._wall_ns = wall_ns
        self._effects = effects or FileEffects(root)
        self._files: dict[str, int] = {}
        """Size by name, the oldest first."""
        self._lock = threading.Lock()
        self._ended = self._telling = False
        self._made = self._deleted = self._unfinished = 0
        self._skipped: Counter[str] = Counter()
        self._fault = ""
        self._thread = QuietThread("attachments", self._attempt, most=_WAITING, begin=self._begin)

    def offer(self, candidate: AttachmentCandidate) -> None:
        """Take a candidate; when too many wait already, it is counted as ``busy`` and gone."""
        if self._thread.closed:
            self.skip(STOPPED)
            return
        with self._lock:
            self._unfinished += 1
        if not self._thread.put(candidate):
            self._finish("busy")

    def skip(self, why: str, fault: str = "") -> None:
        """Note that an event goes without, and what was wrong, if anything was."""
        with self._lock:
            self._skipped[why] += 1
            self._fault = fault or self._fault

    def status(self) -> AttachmentsStatus:
        """Return what is kept and what was not. Never waits for a disk."""
        with self._lock:
            return AttachmentsStatus(
                files=len(self._files),
                bytes=sum(self._files.values()),
                max_bytes=self._max_bytes,
                made=self._made,
                waiting=self._unfinished,
                deleted=self._deleted,
                skipped=dict(sorted(self._skipped.items())),
                fault=self._fault,
            )

    @property
    def unwritten(self) -> int:
        """How many were complete and not on the disk when it was closed."""
        with self._lock:
            return self._skipped[STOPPED]

    def close(self, wait_s: float = 5.0) -> None:
        """Write what waits, for at most ``wait_s``, and end the thread. Twice does no harm.

        What is not on the disk then is counted as ``STOPPED``, and never told.
        """
        self._thread.close(wait_s)
        with self._lock:
            self._ended = True
            if left := self._unfinished - self._telling:
                self._skipped[STOPPED] += left
                self._unfinished -= left

    @property
    def _max_bytes(self) -> int:
        return self.settings.max_mb * _MEGABYTE

    def _attempt(self, candidate: AttachmentCandidate) -> None:
        try:
            record = self._kept(candidate)
            if not self._may_tell():  # the disk was too slow: it is counted already
                self._effects.unlink(self.path / record.file)
                return
            self._tell([record])
        except _SkippedError as skipped:
            self._finish(str(skipped))
        except Exception as error:  # noqa: BLE001 - an event never fails because of its picture
            self._finish("failed", fault_in_words(error, "keep an attachment"))
        else:
            self._finish()

    def _may_tell(self) -> bool:
        """Tell whether the end still waits for this one; from here on it does."""
        with self._lock:
            self._telling = not self._ended
            return self._telling

    def _finish(self, why: str = "", fault: str = "") -> None:
        """Note that a candidate is done with; ``why`` there is no file of it."""
        with self._lock:
            if self._ended and not self._telling:
                return  # counted by the end
            self._telling = False
            self._unfinished -= 1
            if why:
                self._skipped[why] += 1
                self._fault = fault or self._fault
            else:
                self._made += 1
                self._fault = ""

    def _begin(self) -> None:
        with contextlib.suppress(OSError):  # the first attachment tries again, and says why
            self._look()

    def _look(self) -> None:
        """Learn what is there: what earlier processes have left, and what somebody has removed since.

        What was half written goes. Names sort by time. Those of a time that is still to come are of a clock
        that was wrong, and the first to be deleted; what we have written ourselves is the newest in any case.
        """
        entries = [entry for entry in entries_of(self.path, self._effects.roots) if entry.kind == "file"]
        for entry in entries:
            if entry.name.startswith(TEMPORARY):
                with contextlib.suppress(OSError):
                    self._effects.unlink(self.path / entry.name)
        now = moment_of(self._wall_ns())
        sizes = {entry.name: entry.size_bytes for entry in entries if is_attachment(entry.name)}
        strange = sorted(sizes.keys() - self._files.keys(), key=lambda name: (name[: len(now)] <= now, name))
        with self._lock:
            self._files = {name: sizes[name] for name in (*strange, *self._files) if name in sizes}

    def _kept(self, candidate: AttachmentCandidate) -> AttachmentRecord:
        """Write a candidate's file and return its record.

        Raises:
            _SkippedError, OSError, GalagoError: It cannot be kept.
        """
        content = candidate.content()
        self._look()
        self._make_room(len(content))
        event = candidate.event
        name = self._name(event, candidate.media_type)
        replace_file(
            self.path / name,
            content,
            durable=Durable.LASTING,  # the record may survive a power cut: so must the file
            mode=FILE_MODE,
            temporary=self.path / f"{TEMPORARY}{secrets.token_hex(8)}",
            effects=self._effects,
        )
        with self._lock:
            self._files[name] = len(content)
        return AttachmentRecord(
            stream=event.stream,
            seq=event.seq,
            label=event.label,
            start_index=event.start_index,
            end_index=event.end_index,
            start_ns=event.start_ns,
            end_ns=event.end_ns,
            media_type=candidate.media_type,
            file=name,
            bytes=len(content),
            sha256=hashlib.sha256(content).hexdigest(),
            from_ns=candidate.from_ns,
            to_ns=candidate.to_ns,
        )

    def _make_room(self, size: int) -> None:
        """Delete the oldest until a file of ``size`` bytes may be kept beside the others."""
        if size > self._max_bytes:
            raise _SkippedError("budget")
        self._make_folder()
        while self._files and sum(self._files.values()) + size > self._max_bytes:
            self._delete(next(iter(self._files)))
        keep_free = self.settings.keep_free_mb * _MEGABYTE
        while (lacking := size + keep_free - self._free()) > 0:
            if lacking > sum(self._files.values()):
                raise _SkippedError("disk")
            self._delete(next(iter(self._files)))

    def _make_folder(self) -> None:
        if status_of(self.path, self._effects.roots) is None:
            make_private_folder(self.path, self._effects.roots)
            self._effects.fsync_dir(self.path.parent)  # a lost folder is all its files lost

    def _free(self) -> int:
        with own_folder(self.path, self._effects.roots, os.O_RDONLY) as folder:
            disk = os.statvfs(folder)
        return disk.f_bavail * disk.f_frsize

    def _delete(self, name: str) -> None:
        with contextlib.suppress(FileNotFoundError):  # somebody has removed it
            self._effects.unlink(self.path / name)
        with self._lock:
            del self._files[name]
            self._deleted += 1

    def _name(self, event: EventRecord, media_type: MediaType) -> str:
        """Return a name that no file has: clocks are set back, and events counted from 0 again."""
        first = Path(attachment_name(self._wall_ns(), event.stream, event.seq, media_type))
        name, number = first.name, 1
        while name in self._files:
            number += 1
            name = f"{first.stem}-{number}{first.suffix}"
        return name
