"""What the next process must know of this one: when it was last alive, what was missing, what it had watched.

Two small files in the store's root. Neither decides anything: one that is missing or damaged costs a
figure, so both are written without waiting for the disk.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec

from galago_edge.contract.decoding import from_json
from galago_edge.contract.streams import Gap
from galago_edge.host.file_replacement import Durable, replace_file
from galago_edge.host.wall_clock import clock_synced
from galago_edge.service.day_book import Days
from galago_edge.store.filesystem import StoreFs

ALIVE_FILE = "alive.json"
COVERAGE_FILE = "coverage.json"
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_ALIVE_BYTES = 256
_LIMIT_BYTES = 1 << 20
_DISK_EVERY_NS = 60_000_000_000
_YEAR_NS = 366 * 86_400 * 1_000_000_000


RESTART = "restart"
"""Cause of a gap in which no process watched."""


class Untold(msgspec.Struct, frozen=True):
    """What a stream was missing at some moment, and had not told: only the end of a gap is told."""

    ns: int
    cause: str = RESTART


class Alive(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A moment on three clocks."""

    boot_id: str
    boot_ns: int
    """Since the boot, sleep included; comparable within one boot."""
    wall_ns: int
    synced: bool
    untold: dict[str, Untold] = {}
    """By stream, of those that were missing something."""


def now() -> Alive:
    """Return this moment."""
    try:
        boot_id = _BOOT_ID.read_text().strip()
    except OSError:
        boot_id = ""
    return Alive(
        boot_id=boot_id,
        boot_ns=time.clock_gettime_ns(time.CLOCK_BOOTTIME),
        wall_ns=time.time_ns(),
        synced=clock_synced(),
    )


def between(before: Alive, after: Alive) -> int | None:
    """Return the nanoseconds between two moments; None when no clock can tell."""
    if before.boot_id and before.boot_id == after.boot_id:
        return max(0, after.boot_ns - before.boot_ns)
    passed = after.wall_ns - before.wall_ns
    return passed if before.synced and after.synced and 0 <= passed < _YEAR_NS else None


class Heartbeat:
    """Keeps ``alive.json`` up to date, in place and without a sync: the kernel decides when it is written.

    Under systemd there is a folder in memory for such things (``RuntimeDirectory=``). Then every beat goes
    there, where it wears nothing and outlives a killed process, and the disk gets one only now and then,
    for what comes after a power cut.
    """

    def __init__(
        self,
        root: Path,
        environment: Mapping[str, str] = os.environ,
        *,
        moment: Callable[[], Alive] = now,
    ) -> None:
        """Read what the last process left; a file that cannot be kept is done without.

        ``moment`` tells the time on the three clocks.
        """
        self._moment = moment
        memory = environment.get("RUNTIME_DIRECTORY", "").partition(":")[0]
        self._disk_every_ns = _DISK_EVERY_NS if memory else 0
        self._paths = [root / ALIVE_FILE, *([Path(memory) / ALIVE_FILE] if memory else [])]
        found = [alive for path in self._paths if (alive := _read_alive(path)) is not None]
        self.last = _newest(found, moment().boot_id)
        """When the last process was alive; None when there was none, or it cannot be told."""
        self._fds = [_opened(path) for path in self._paths]
        self._disk_due_ns = 0
        self._bytes = _ALIVE_BYTES

    def gaps(self, stream: str) -> list[Gap]:
        """Return what a stream missed before now, where its time begins.

        Nothing, when no clock can tell how long nobody was alive.
        """
        down_ns = between(self.last, self._moment()) if self.last is not None else None
        if self.last is None or down_ns is None:
            return []
        untold = self.last.untold.get(stream, Untold(0))
        if untold.cause == RESTART:
            gaps = [Gap(-down_ns - untold.ns, 0, RESTART)]
        else:
            gaps = [Gap(-down_ns - untold.ns, -down_ns, untold.cause), Gap(-down_ns, 0, RESTART)]
        return [gap for gap in gaps if gap.from_ns < gap.to_ns]

    def beat(self, untold: Mapping[str, Untold] | None = None) -> None:
        """Write this moment, where it is due, and what every stream is missing in it."""
        here = msgspec.structs.replace(self._moment(), untold=dict(untold or {}))
        on_disk = here.boot_ns >= self._disk_due_ns
        if on_disk:
            self._disk_due_ns = here.boot_ns + self._disk_every_ns
        written = msgspec.json.encode(here)
        self._bytes = max(self._bytes, len(written) + 1)  # nothing of a longer one may stay behind it
        data = written.ljust(self._bytes - 1) + b"\n"
        for fd in self._fds if on_disk else self._fds[1:]:
            if fd >= 0:
                with contextlib.suppress(OSError):
                    os.pwrite(fd, data, 0)

    def close(self, untold: Mapping[str, Untold] | None = None) -> None:
        """Write this moment everywhere, with what every stream has not told of it, and end."""
        self._disk_due_ns = 0
        self.beat(untold)
        for fd in self._fds:
            if fd >= 0:
                os.close(fd)
        self._fds = []


def _read_alive(path: Path) -> Alive | None:
    with contextlib.suppress(OSError, msgspec.DecodeError):
        return from_json((StoreFs().read(path, _LIMIT_BYTES) or b"").rstrip(), type=Alive)
    return None


def _newest(found: list[Alive], this_boot: str) -> Alive | None:
    """Return the later one; of two boots the one of this boot, for the clocks of others do not compare."""
    return max(found, key=lambda alive: (alive.boot_id == this_boot, alive.boot_ns), default=None)


def _opened(path: Path) -> int:
    with contextlib.suppress(OSError):
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
    return -1


def read_coverage(root: Path) -> dict[str, Days]:
    """Return what earlier processes watched, by stream; empty when that is not known."""
    with contextlib.suppress(OSError, msgspec.DecodeError):
        data = StoreFs(root).read(root / COVERAGE_FILE, _LIMIT_BYTES)
        return from_json(data or b"{}", type=dict[str, Days])
    return {}


def write_coverage(root: Path, coverage: dict[str, Days]) -> None:
    """Keep what was watched; a full disk is told elsewhere and costs only this figure."""
    temporary = root / f".{COVERAGE_FILE}.part"
    with contextlib.suppress(OSError):
        replace_file(
            root / COVERAGE_FILE,
            msgspec.json.encode(coverage),
            durable=Durable.NO,
            mode=0o644,
            temporary=temporary,
            effects=StoreFs(root),
        )
