"""A device to measure: a store with bundles, a galago.toml, the service as a process, and who listens to it.

Used by soak.py, kills.py and service_figures.py. The real parts are those of the tests (tests/support).
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from campaigns import DATA
from galago_edge.bundle import TrustedKeys, open_bundle
from galago_edge.bundle.keys import key_id
from galago_edge.contract.errors import GalagoError
from galago_edge.contract.manifest import Label, LabelPolicy
from galago_edge.contract.status import ServiceStatus
from galago_edge.store import Store, install_bundle
from galago_edge.store.running_service import ask_status
from real_parts.processes import Child, wait_for
from test_kit import TEST_KEY, accepted_here, make_bundle, trust

NS = 1_000_000_000

CUE_POLICY = LabelPolicy(on=0.6, off=0.4, smoothing_windows=2, min_count=2, refractory_ms=500)
"""One event for each time that something is seen or heard for more than half a second."""


def install(root: Path, bundle: Path) -> None:
    """Take a bundle into the store, its golden samples unchecked."""
    trusted = TrustedKeys({key_id(TEST_KEY): "test"})
    install_bundle(Store(trust(root)), open_bundle(bundle), trusted, accepted_here)


def levels_bundle(folder: Path, policy: LabelPolicy, version: int = 1) -> Path:
    """Write the camera bundle: an even gray is ``dark`` (up to 85), ``mid`` or ``bright`` (from 170)."""
    labels = [
        Label(name=name, background=name != "bright", policy=policy) for name in ("dark", "mid", "bright")
    ]
    return make_bundle(
        folder / f"levels-{version}.0.0.galago",
        (DATA / "tiny_image.tflite").read_bytes(),
        labels,
        name="levels",
        version=f"{version}.0.0",
        release_counter=version,
    )


def tones_bundle(folder: Path, policy: LabelPolicy) -> Path:
    """Write the microphone bundle: ``quiet``, ``low`` or ``high`` tones."""
    labels = [
        Label(name=name, background=name == "quiet", policy=policy) for name in ("quiet", "low", "high")
    ]
    model = (DATA / "tiny_audio.tflite").read_bytes()
    return make_bundle(folder / "tones-1.0.0.galago", model, labels, modality="microphone", name="tones")


def make_root(root: Path, bundles: Iterable[Path]) -> Path:
    """Make a store with these bundles installed."""
    root.mkdir(parents=True, exist_ok=True)
    trust(root)
    for bundle in bundles:
        install(root, bundle)
    return root


def toml(tables: Mapping[str, Any]) -> str:
    """Return the text of a configuration: tables of plain values, tables of tables, lists of tables."""
    lines: list[str] = []

    def table(path: str, values: Mapping[str, Any], brackets: str) -> None:
        lines.append(f"\n{brackets[0] * (len(brackets) // 2)}{path}{brackets[-1] * (len(brackets) // 2)}")
        lines.extend(
            f"{key} = {json.dumps(value)}" for key, value in values.items() if not isinstance(value, Mapping)
        )
        for key, value in values.items():
            if isinstance(value, Mapping):
                table(f"{path}.{key}", value, "[]")

    for name, value in tables.items():
        if isinstance(value, list):
            for one in value:
                table(name, one, "[[]]")
        elif all(isinstance(inner, Mapping) for inner in value.values()) and value:
            for key, inner in value.items():
                table(f"{name}.{key}", inner, "[]")
        else:
            table(name, value, "[]")
    return "\n".join(lines) + "\n"


class Service:
    """``galago run --config`` as a process, and what can be learned of it from outside."""

    def __init__(
        self,
        root: Path,
        config: Path,
        folder: Path,
        env: Mapping[str, str] | None = None,
        *extra: str,
        prefix: tuple[str, ...] = (),
    ) -> None:
        """Prepare it: ``extra`` options, and a ``prefix`` such as taskset that becomes the service itself."""
        self.root = root
        options = ["run", "--root", str(root), "--config", str(config), *extra]
        self._command = [*prefix, sys.executable, "-m", "galago_edge", *options]
        self._folder = folder
        self._env = dict(env or {})
        self.child: Child | None = None
        self.started_wall_ns = 0
        self.starts = 0

    @property
    def pid(self) -> int:
        assert self.child is not None
        return self.child.pid

    def start(self) -> Service:
        """Start it; does not wait."""
        self.starts += 1
        self.started_wall_ns = time.time_ns()
        log = self._folder / "service.log"
        self.child = Child(self._command, log, env=self._env)
        return self

    def status(self) -> ServiceStatus | None:
        """Return what it says of itself; None while it does not answer.

        Raises:
            AssertionError: It has ended by itself.
        """
        assert self.child is not None and self.child.running, f"the service ended: {self._said()}"
        with contextlib.suppress(GalagoError):
            return ask_status(self.root)
        return None

    def wait(self, what: str, condition: Any, timeout_s: float = 60.0) -> ServiceStatus:
        """Return the first status for which ``condition`` holds."""

        def look() -> ServiceStatus | None:
            status = self.status()
            return status if status is not None and condition(status) else None

        found = wait_for(look, f"the service: {what}", timeout_s)
        assert found is not None
        return found

    def kill(self) -> None:
        """End it at once, if it runs."""
        if self.child is not None:
            self.child.kill()

    def stop(self, timeout_s: float = 30.0) -> int:
        """Let it drain and end; return its exit code (negative when it had to be killed)."""
        assert self.child is not None
        return self.child.end(timeout_s)

    def reload(self) -> None:
        """Let it load the bundles that are active now."""
        assert self.child is not None
        self.child.signal(signal.SIGHUP)

    def _said(self) -> str:
        return self.child.said() if self.child is not None else ""


def tree(pid: int) -> list[int]:
    """Return a process and all that it started and that still run."""
    found = [pid]
    with contextlib.suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in (task / "children").read_text().split():
                found += tree(int(child))
    return found


def command_of(pid: int) -> str:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    return ""


@dataclass(frozen=True)
class Usage:
    """What processes use together."""

    mb: float
    """Resident memory; a page of a file or of shared memory that several of them map is counted once."""
    rss_mb: float
    """Resident memory; such a page is counted for each."""
    cpu_s: float
    written_bytes: int
    """That reached, or will reach, a disk."""
    threads: int
    descriptors: int
    processes: int


def usage(pids: Iterable[int]) -> Usage:
    """Return what these processes use; those that have ended count nothing."""
    own_kb, cpu, written, threads, descriptors, processes, rss_kb = 0, 0.0, 0, 0, 0, 0, 0
    shared_kb: dict[str, int] = {}
    tick = os.sysconf("SC_CLK_TCK")
    for pid in pids:
        folder = Path(f"/proc/{pid}")
        try:
            mappings = list(_mappings((folder / "smaps").read_text()))
            stat = (folder / "stat").read_text().rpartition(")")[2].split()
            io = dict(line.split(": ") for line in (folder / "io").read_text().splitlines())
            descriptors += len(list((folder / "fd").iterdir()))
        except OSError:
            continue
        for what, resident, anonymous in mappings:
            rss_kb += resident
            own_kb += anonymous
            if resident > anonymous:  # what two of them read of one file may differ: the larger share counts
                shared_kb[what] = max(shared_kb.get(what, 0), resident - anonymous)
        cpu += (int(stat[11]) + int(stat[12])) / tick
        threads += int(stat[17])
        written += int(io["write_bytes"])
        processes += 1
    mb = (own_kb + sum(shared_kb.values())) * 1024 / 1e6
    return Usage(mb, rss_kb * 1024 / 1e6, cpu, written, threads, descriptors, processes)


def _mappings(smaps: str) -> Iterator[tuple[str, int, int]]:
    """Yield each mapping: which part of what, its resident kB, and those of them that belong to no file."""
    what, resident = "", 0
    for line in smaps.splitlines():
        name, _, rest = line.partition(" ")
        if name == "Rss:":
            resident = int(rest.split()[0])
        elif name == "Anonymous:":
            yield what, resident, int(rest.split()[0])
        elif not name.endswith(":"):
            what = " ".join(rest.split()[1:4])  # offset, device, inode


Record = dict[str, Any]


def identity(record: Record) -> tuple[Any, ...]:
    """Return what makes an event the same one, wherever it arrived."""
    return (record["stream"], record["seq"], record["start_ns"], record["end_ns"], record["wall_ns"])


def log_records(path: Path) -> tuple[list[Record], int]:
    """Return the records of a rotated log, the oldest first, and how many lines are no records."""
    names = [path, *sorted(path.parent.glob(f"{path.name}.*"), key=lambda name: int(name.suffix[1:]))]
    records, broken = [], 0
    for name in reversed(names):
        if not name.exists():
            continue
        for line in name.read_bytes().splitlines():
            try:
                records.append(json.loads(line))
            except ValueError:
                broken += 1
    return records, broken


@dataclass
class Inbox:
    """What arrived at one receiver: records by key, and how often each."""

    records: dict[str, Record] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    unreadable: int = 0

    def take(self, payload: bytes, key: str | None = None) -> None:
        """Note one delivery."""
        try:
            record = json.loads(payload)
            key = key or record["key"]
        except (ValueError, KeyError):
            self.unreadable += 1
            return
        self.records.setdefault(key, record)
        self.counts[key] = self.counts.get(key, 0) + 1

    def events(self) -> list[Record]:
        return [record for record in list(self.records.values()) if record["kind"] == "event"]

    def duplicates(self) -> int:
        """Return how many deliveries were repetitions."""
        return sum(self.counts.values()) - len(self.counts)

    def missing_numbers(self) -> list[int]:
        """Return the spool's record numbers that never came, up to the highest that did."""
        numbers = {int(key.rpartition(":")[2]) for key in list(self.records) if ":lost:" not in key}
        return sorted(set(range(1, max(numbers, default=0) + 1)) - numbers)

    def told_lost(self) -> int:
        """Return how many records the spool said it has lost."""
        return sum(
            record["detail"]["lost"]
            for record in list(self.records.values())
            if record["kind"] == "state" and record["subject"] == "spool"
        )


class Listener:
    """An MQTT client whose session the broker keeps: what is published while it is away comes later."""

    def __init__(self, port: int, topic: str) -> None:
        import paho.mqtt.client as mqtt

        self.inbox = Inbox()
        self._turn = threading.Lock()
        client = mqtt.Client(
            mqtt.CallbackAPIVersion.VERSION2,
            client_id="listener",
            clean_session=False,
            protocol=mqtt.MQTTv311,
        )
        client.reconnect_delay_set(1, 1)
        client.on_message = lambda client, data, message: self._take(message)
        client.on_connect = lambda client, data, flags, reason, properties: client.subscribe(topic, qos=1)
        self.client = client
        self._port = port

    def start(self) -> Listener:
        """Connect, and again whenever the connection is lost."""
        self.client.connect_async("127.0.0.1", self._port, keepalive=10)
        self.client.loop_start()
        wait_for(self.client.is_connected, "the listener's connection")
        return self

    def stop(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()

    def _take(self, message: Any) -> None:
        if message.topic.rpartition("/")[2] in ("event", "state", "gap"):
            with self._turn:
                self.inbox.take(message.payload)


def table(rows: list[list[str]], right: Iterable[int] = ()) -> str:
    """Return rows as aligned columns; ``right`` are the columns of numbers."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    ends = set(right)
    return "\n".join(
        "  ".join(
            cell.rjust(width) if column in ends else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )
