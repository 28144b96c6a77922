"""The samples folder: a thread of its own that keeps what is worth it, within the budgets."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import os
import secrets
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from galago_edge.contract.decoding import from_json
from galago_edge.contract.settings import SamplesSettings
from galago_edge.host.file_replacement import Durable, replace_file
from galago_edge.host.private_modes import FILE_MODE, make_private_folder
from galago_edge.host.time_zone import TimeZone
from galago_edge.recording.likeness import REMEMBERED, Fingerprint, Seen
from galago_edge.recording.quiet_thread import STOPPED, QuietThread, fault_in_words
from galago_edge.recording.sample_layout import (
    CONTEXT,
    TEMPORARY,
    Named,
    Usage,
    class_folder,
    look,
    stem,
)
from galago_edge.recording.sample_media import Media
from galago_edge.recording.triggers import Trigger

_WAITING = 8
_LOOK_AGAIN_S = 600.0
"""When a budget is used up, the folder is counted again so often: somebody may have taken samples away."""
_MIB = 1 << 20
_SIDECAR_LIMIT_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class SampleCandidate:
    """A window that a trigger has found, with everything around it."""

    bundle: str
    """The bundle's name."""
    label: str
    stream: str
    trigger: Trigger
    media: Media
    about: dict[str, Any]
    """For the sidecar, ready for JSON."""


class _Sidecar(msgspec.Struct):
    fingerprint: str = ""


class _RefusedError(Exception):
    """The candidate is not kept; the text is what is counted."""


class SampleFolder:
    """Keeps the samples of all streams in one folder, and never more than the settings allow.

    ``offer`` neither waits nor raises; the work is done in a thread of low priority. What is kept already
    is counted from the folder itself when the first sample is written, so budgets and quotas hold across
    restarts. A full or broken disk costs samples, nothing else.
    """

    def __init__(
        self,
        settings: SamplesSettings,
        *,
        device: str = "",
        wall_ns: Callable[[], int] = time.time_ns,
        clock_ns: Callable[[], int] = time.monotonic_ns,
        synced: Callable[[], bool] | None = None,
        zone: TimeZone | None = None,
    ) -> None:
        """Start with the folder ``settings.dir``, which is made when the first sample is kept.

        ``device`` and, from ``synced``, whether the wall clock can be believed, go into the sidecars.
        ``zone`` says what a day is, UTC if None.
        """
        self.settings = settings
        self.root = Path(settings.dir)
        self._device = device
        self._wall_ns, self._clock_ns, self._synced = wall_ns, clock_ns, synced
        self._zone = zone or TimeZone()
        self._usage: Usage | None = None
        self._looked_ns = 0
        self._seen: dict[str, Seen] = {}
        self._lock = threading.Lock()
        self._kept = 0
        self._by_trigger: Counter[str] = Counter()
        self._by_label: Counter[str] = Counter()
        self._refused: Counter[str] = Counter()
        self._fault = ""
        self._unfinished = 0
        self._ended = False
        self._thread = QuietThread("samples", self._attempt, most=_WAITING, begin=self._begin)

    def today(self) -> str:
        """Return the day by the wall clock: for quotas only."""
        return self._zone.day(self._wall_ns())

    def offer(self, candidate: SampleCandidate) -> None:
        """Take a candidate; when too many wait already, it is counted as ``busy`` and gone."""
        with self._lock:
            if self._ended:
                self._refused[STOPPED] += 1
                return
            self._unfinished += 1
        if not self._thread.put(candidate):
            self._finish("busy")

    def failed(self, fault: str) -> None:
        """Note that a candidate could not be made."""
        with self._lock:
            self._refused["failed"] += 1
            self._fault = fault

    def status(self) -> dict[str, Any]:
        """Return what was kept and what was not, ready for JSON.

        ``kept_today``, ``bytes_today`` and ``bytes`` hold across restarts, the others count since the start.
        ``refused``: ``duplicate``, ``quota`` (of the class and day), ``first`` (was there already),
        ``day_budget``, ``budget`` (in all), ``disk`` (too little left), ``busy``, ``failed``, ``stopped``
        (not kept when the service ended).
        """
        day = self.today()
        with self._lock:
            usage = self._usage or Usage()
            return {
                "dir": str(self.root),
                "kept": self._kept,
                "waiting": self._unfinished,
                "kept_today": sum(count for key, count in usage.per_class.items() if key[0] == day),
                "bytes_today": usage.day_bytes[day],
                "bytes": usage.total_bytes,
                "bytes_per_day": self.settings.mb_per_day * _MIB,
                "max_bytes": self.settings.max_mb * _MIB,
                "by_trigger": dict(sorted(self._by_trigger.items())),
                "by_label": dict(sorted(self._by_label.items())),
                "refused": dict(sorted(self._refused.items())),
                "fault": self._fault,
            }

    @property
    def unwritten(self) -> int:
        """How many were complete and not kept when it was closed."""
        with self._lock:
            return self._refused[STOPPED]

    def close(self, wait_s: float = 5.0) -> None:
        """Keep what waits, for at most ``wait_s``, and end the thread. Twice does no harm.

        What is not kept then is counted as ``STOPPED``.
        """
        self._thread.close(wait_s)
        with self._lock:
            self._ended = True
            if self._unfinished:
                self._refused[STOPPED] += self._unfinished
                self._unfinished = 0

    def _attempt(self, candidate: SampleCandidate) -> None:
        try:
            self._keep(candidate)
            self._finish()
        except _RefusedError as refusal:
            self._finish(str(refusal))
        except Exception as error:  # noqa: BLE001 - whatever it is, the next sample may be fine
            self._finish("failed", fault_in_words(error, "keep a sample"))

    def _begin(self) -> None:
        try:
            self._look()
        except Exception as error:  # noqa: BLE001 - the first sample tries again
            with self._lock:
                self._fault = fault_in_words(error, "count the samples")

    def _look(self) -> None:
        usage = look(self.root, self._zone)
        for paths in usage.sidecars.values():
            del paths[:-REMEMBERED]
        with self._lock:
            self._usage = usage
        self._looked_ns = self._clock_ns()

    def _keep(self, candidate: SampleCandidate) -> None:
        wall_ns = self._wall_ns()
        if self._usage is None:  # nothing is kept before it is known how much there is
            self._look()
        day, folder = self._zone.day(wall_ns), class_folder(candidate.label)
        self._check_quota(candidate, day, folder)
        print_ = candidate.media.fingerprint()
        seen = self._seen_of(candidate)
        if seen.twin(print_) is not None:
            raise _RefusedError("duplicate")
        name = stem(wall_ns, candidate.stream, candidate.trigger, secrets.token_hex(3))
        files = self._files(candidate, folder, name, wall_ns, print_)
        size = sum(map(len, files.values()))
        self._check_budget(day, size)
        self._write(files)
        seen.add(name, print_)
        with self._lock:
            usage = self._usage or Usage()
            usage.add(Named(day, candidate.stream, candidate.trigger), candidate.bundle, folder, size)
            self._kept += 1
            self._by_trigger[candidate.trigger] += 1
            self._by_label[candidate.label] += 1
            self._fault = ""

    def _check_quota(self, candidate: SampleCandidate, day: str, folder: str) -> None:
        usage = self._usage or Usage()
        if candidate.trigger == "first" and (day, candidate.stream, folder) in usage.firsts:
            raise _RefusedError("first")
        limit = self.settings.per_class_per_day
        if self._beyond(lambda usage: usage.per_class[day, candidate.bundle, folder] >= limit):
            raise _RefusedError("quota")

    def _check_budget(self, day: str, size: int) -> None:
        settings = self.settings
        if self._beyond(lambda usage: usage.day_bytes[day] + size > settings.mb_per_day * _MIB):
            raise _RefusedError("day_budget")
        if self._beyond(lambda usage: usage.total_bytes + size > settings.max_mb * _MIB):
            raise _RefusedError("budget")
        make_private_folder(self.root)
        disk = os.statvfs(self.root)
        if disk.f_bavail * disk.f_frsize < size + settings.keep_free_mb * _MIB:
            raise _RefusedError("disk")

    def _beyond(self, used_up: Callable[[Usage], bool]) -> bool:
        """Tell whether a limit is reached; if so, believe it only after counting the folder again."""
        usage = self._usage
        if usage is None or not used_up(usage):
            return False
        if self._clock_ns() - self._looked_ns < _LOOK_AGAIN_S * 1_000_000_000:
            return True
        self._look()
        return used_up(self._usage or Usage())

    def _seen_of(self, candidate: SampleCandidate) -> Seen:
        """Return what is kept of a bundle; after a restart from its newest sidecars."""
        found = self._seen.get(candidate.bundle)
        if found is None:
            found = self._seen[candidate.bundle] = Seen(picture=candidate.media.picture)
            usage = self._usage or Usage()
            for path in usage.sidecars.pop(candidate.bundle, []):
                if (fingerprint := _fingerprint_in(path)) is not None:
                    found.add(path.stem, fingerprint)
        return found

    def _files(
        self, candidate: SampleCandidate, folder: str, name: str, wall_ns: int, fingerprint: Fingerprint
    ) -> dict[Path, bytes]:
        """Return everything to be written, the sample itself last."""
        suffix, content = candidate.media.sample()
        home = self.root / candidate.bundle
        context = {
            home / CONTEXT / f"{name}{ending}": data for ending, data in candidate.media.context().items()
        }
        sidecar = {
            "v": 1,
            "file": f"{folder}/{name}{suffix}",
            "sha256": hashlib.sha256(content).hexdigest(),
            "context": sorted(path.name for path in context),
            "label": candidate.label,
            "trigger": candidate.trigger,
            "device": self._device,
            "stream": candidate.stream,
            **candidate.about,
            "wall_ns": wall_ns,
            "clock_synced": self._synced() if self._synced else None,
            "fingerprint": base64.b64encode(fingerprint.astype("<i2").tobytes()).decode(),
        }
        about = msgspec.json.format(msgspec.json.encode(sidecar), indent=1) + b"\n"
        sample = home / folder / f"{name}{suffix}"
        return {**context, home / CONTEXT / f"{name}.json": about, sample: content}

    def _write(self, files: dict[Path, bytes]) -> None:
        """Write all files or none; each appears whole under its name."""
        done: list[Path] = []
        try:
            for path, content in files.items():
                _write_whole(path, content, self._temporary(path))
                done.append(path)
        except OSError:
            for whole in done:
                with contextlib.suppress(OSError):
                    whole.unlink()
            with contextlib.suppress(OSError):
                [*files][len(done)].parent.rmdir()  # training refuses a class folder without a sample
            raise

    def _temporary(self, path: Path) -> Path:
        bundle = path.relative_to(self.root).parts[0]
        return self.root / bundle / CONTEXT / f"{TEMPORARY}{secrets.token_hex(8)}"

    def _finish(self, why: str = "", fault: str = "") -> None:
        """Note that a candidate is done with; ``why`` it was not kept."""
        with self._lock:
            if self._ended:
                return  # counted by the end
            self._unfinished -= 1
            if why:
                self._refused[why] += 1
            self._fault = fault or self._fault


def _write_whole(path: Path, content: bytes, temporary: Path) -> None:
    make_private_folder(temporary.parent)
    make_private_folder(path.parent)
    # whole: an empty file after a power cut would stop a training
    replace_file(path, content, durable=Durable.WHOLE, mode=FILE_MODE, temporary=temporary)


def _fingerprint_in(path: Path) -> Fingerprint | None:
    try:
        if path.stat().st_size > _SIDECAR_LIMIT_BYTES:
            return None
        text = from_json(path.read_bytes(), type=_Sidecar).fingerprint
        return np.frombuffer(base64.b64decode(text, validate=True), "<i2").astype(np.int16)
    except (OSError, ValueError):  # damaged, or taken away: one sample more may be kept twice
        return None
