"""One life of the year's device: the real pipeline, outbox and store on a simulated clock, until it ends.

    .venv/bin/python -m campaigns.year_device FOLDER LIFE NOW_NS BOOT_NS

Started by year.py, for each life of the process. Streams and what looks after them take turns of a simulated
minute, so a life does the same whenever it is lived again. What `galago_edge.service.service.Service` does in
its loop is done here by the simulated clock: heartbeat, trials, scrubs, coverage. Its end, and what goes on
around the device (broker, web server), are the parent's: it is told so in lines of JSON on standard output,
and answers each on standard input.

NOW_NS is the true time at which the life begins, BOOT_NS that of the boot.
"""

from __future__ import annotations

import bisect
import errno
import json
import os
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from campaigns import DATA
from campaigns.year_plan import DAY_S, ENDS, LABELS, STREAMS, SYNC_S, Fault, Plan, read_plan
from campaigns.year_sources import RATE_HZ, Device, Spans, Turns
from galago_edge.bundle import open_bundle
from galago_edge.contract.manifest import AudioPreprocess, Label, LabelPolicy, LevelGate, MotionGate
from galago_edge.contract.records import Record
from galago_edge.contract.settings import Settings
from galago_edge.contract.streams import NS_PER_S
from galago_edge.pipeline.driver import drive
from galago_edge.service.coverage import Coverage
from galago_edge.service.day_clock import DayClock
from galago_edge.service.handover import Alive, Heartbeat, Untold, read_coverage, write_coverage
from galago_edge.service.live_slots import LiveSlots
from galago_edge.service.live_stream import LiveStream, untold_of
from galago_edge.service.outlet import Outlet
from galago_edge.service.prepared_stream import PreparedStream, prepare
from galago_edge.service.reload import Reload
from galago_edge.service.running_stream import RunningStream
from galago_edge.service.service import KEEP_COVERAGE_S
from galago_edge.service.upkeep import Upkeep
from galago_edge.sinks.clocks import Clocks
from galago_edge.sinks.disk import Disk
from galago_edge.sinks.outbox import Outbox
from galago_edge.sinks.sink_tables import settings_of
from galago_edge.sources.supervised_source import Supervised
from galago_edge.store import Store, install_bundle
from test_kit import accepted_here, make_bundle, trust, with_model

_TURN_NS = 60 * NS_PER_S
_PATIENCE_S = 60
_SYNC_S = 0.05
"""``[spool] sync_s``: by the real clock, in which the last SYNC_S of a life pass at once."""
_KEEP_COVERAGE_NS = round(KEEP_COVERAGE_S * NS_PER_S)
_NAMES = {"door": "levels", "hall": "tones"}
_POLICY = LabelPolicy(on=0.6, off=0.4, smoothing_windows=2, min_count=2, refractory_ms=500)
_SOUND = AudioPreprocess(
    sample_rate_hz=RATE_HZ, frame_samples=240, frame_hop_samples=80, mel_bands=10, fmax_hz=3_600.0,
    window_frames=20, hop_frames=100,
)  # fmt: skip
_TRIAL = {"health__trial_s": 10, "health__live__min_inferences": 8}


def configuration(folder: Path, broker_port: int, server_url: str) -> Settings:
    """Return the device's ``galago.toml``."""
    unjudged = {"moved_s": 0, "defocused_s": 0, "covered_s": 0}
    return settings_of(
        {
            "device": {"name": "porch"},
            "source": {
                "door": {"address": "camera:0", "fps": 1.0, "plausibility": unjudged},
                "hall": {"address": "microphone:name=year"},
            },
            "stream": [{"name": name, "source": name, "bundle": _NAMES[name]} for name in STREAMS],
            "spool": {"sync_s": _SYNC_S, "max_mb": 64},
            "log": {"path": str(folder / "log" / "events.jsonl"), "keep": 1_000},
            "mqtt": {"host": "127.0.0.1", "port": broker_port, "backoff_max_s": 0.5},
            "webhook": {
                "url": server_url, "backoff_max_s": 0.2, "timeout_s": 60.0,
                "kinds": ["event", "state", "gap"],
            },
        }
    )  # fmt: skip


def bundle(folder: Path, stream: str, version: int, *, deaf: bool = False) -> Path:
    """Write a version of a stream's bundle; a ``deaf`` one gives the same answer to everything."""
    names = ("dark", "mid", "bright") if stream == "door" else ("quiet", "low", "high")
    labels = [Label(name=name, background=name != LABELS[stream], policy=_POLICY) for name in names]
    path = folder / f"{_NAMES[stream]}-{version}.galago"
    info = {"name": _NAMES[stream], "version": f"{version}.0.0", "release_counter": version}
    if stream == "door":
        model = (DATA / "tiny_image.tflite").read_bytes()
        made = make_bundle(path, model, labels, gate=MotionGate(), **info)
    else:
        model = (DATA / "tiny_audio.tflite").read_bytes()
        made = make_bundle(
            path, model, labels, modality="microphone", preprocess=_SOUND, gate=LevelGate(), **info
        )
    if deaf:
        model = (DATA / "bad_deaf.tflite").read_bytes()
    return with_model(made, model, path, **_TRIAL)


class _Times:
    """Faults that do not overlap, by time; asked many thousand times a day."""

    def __init__(self, faults: list[Fault]) -> None:
        self._faults = faults
        self._from_ns = [round(fault.from_s * NS_PER_S) for fault in faults]

    def now(self, true_ns: int) -> Fault | None:
        place = bisect.bisect_right(self._from_ns, true_ns)
        if not place or true_ns >= round(self._faults[place - 1].to_s * NS_PER_S):
            return None
        return self._faults[place - 1]


class Sky:
    """Every clock of the device, by the true time of whoever runs now."""

    def __init__(self, plan: Plan, now_ns: int, boot_ns: int) -> None:
        self.now_ns, self.boot_ns = now_ns, boot_ns
        self._begin_ns = plan.begin_s * NS_PER_S
        self._steps = _Times(plan.of("clock step"))
        self._unsure = _Times(plan.of("clock unsure"))

    def monotonic(self) -> float:
        """Return seconds since the boot; a trace of the real clock shows that something still waits."""
        return (self.now_ns - self.boot_ns) / NS_PER_S + time.monotonic() * 1e-9

    def monotonic_ns(self) -> int:
        """Return nanoseconds since the boot."""
        return self.now_ns - self.boot_ns

    def wall_ns(self, at_ns: int | None = None) -> int:
        """Return what the wall clock says, now or at another true time."""
        true_ns = self.now_ns if at_ns is None else at_ns
        step = self._steps.now(true_ns)
        return self._begin_ns + true_ns + (0 if step is None else round(step.amount * NS_PER_S))

    def synced(self, at_ns: int | None = None) -> bool:
        """Tell whether the wall clock says that it can be believed."""
        true_ns = self.now_ns if at_ns is None else at_ns
        return self._unsure.now(true_ns) is None

    def alive(self) -> Alive:
        """Return this moment."""
        return Alive(
            boot_id=str(self.boot_ns),
            boot_ns=self.monotonic_ns(),
            wall_ns=self.wall_ns(),
            synced=self.synced(),
        )

    def clocks(self) -> Clocks:
        """Return what the outbox goes by."""
        return Clocks(
            self.monotonic, self.monotonic_ns, self.wall_ns, self.synced, lambda: self.boot_ns % (1 << 32)
        )


class FailingDisk(Disk):
    """Takes nothing new while it is full, and notes what a power cut would leave.

    ``NOTES/PATH.synced`` is the file as it was synced last, for files that are written in place; for those
    that grow it is the length.
    """

    def __init__(self, notes: Path) -> None:
        self.full = False
        self._notes = notes
        self._unsynced: set[Path] = set()
        notes.mkdir(exist_ok=True)

    def _room(self) -> None:
        if self.full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def create(self, path: Path) -> int:
        self._room()
        fd = super().create(path)
        self._note(path, 0)
        return fd

    def write(self, fd: int, data: bytes | memoryview) -> int:
        self._room()
        written = super().write(fd, data)
        if (path := _path_of(fd)).suffix == ".spool":
            self._unsynced.add(path)
        return written

    def make_folder(self, path: Path) -> None:
        if not path.exists():
            self._room()
        super().make_folder(path)

    def sync(self, fd: int) -> None:
        super().sync(fd)
        path = _path_of(fd)
        if path.suffix == ".spool":
            self._unsynced.discard(path)
            self._note(path, os.fstat(fd).st_size)
        elif path.suffix == ".cursor":
            shutil.copyfile(path, self._notes / f"{path.name}.synced")

    def synced(self) -> bool:
        """Tell whether everything that was written to the spool would outlive a power cut."""
        return not self._unsynced

    def _note(self, path: Path, length: int) -> None:
        (self._notes / f"{path.name}.length").write_text(str(length))


class _Streams(list[RunningStream]):
    """What Reload asks of the streams of a service; none of ours waits for a bundle."""

    def waiting(self) -> list[Any]:
        return []


class Life:
    """The process of the device, from its start to its end."""

    def __init__(self, folder: Path, life: int, now_ns: int, boot_ns: int) -> None:
        self.plan = read_plan(folder / "plan.json")
        self.folder, self.root, self.life = folder, folder / "root", life
        self.sky = Sky(self.plan, now_ns, boot_ns)
        self.disk = FailingDisk(folder / "notes")
        world = json.loads((folder / "world.json").read_text())
        self.settings = configuration(folder, world["broker"], world["server"])
        self._truth = (folder / "truth.jsonl").open("a")
        self._spans = {stream: Spans(stream, self._truth) for stream in STREAMS}
        self.slots = LiveSlots(self.root, clock_ns=self.sky.monotonic_ns)
        self.outbox = Outbox(
            self.settings, self.root, "porch", version="year", disk=self.disk, clocks=self.sky.clocks()
        )
        self.outlet = Outlet(self.outbox, _die)
        self.heartbeat = Heartbeat(self.root, {}, moment=self.sky.alive)
        self.upkeep = Upkeep(self.slots.store, self.settings.store, clock_s=self.sky.monotonic)
        self.streams = _Streams()
        self.turns: dict[str, Turns] = {}
        self._supervised: dict[str, Supervised] = {}
        self._threads: list[threading.Thread] = []
        self._kept_ns = now_ns
        self.reload = Reload(
            self.settings,
            self.slots,
            self.streams,
            self.outlet,
            scores=False,
            begin=_die,  # type: ignore[arg-type]
        )

    def start(self) -> None:
        """Begin with everything, as Service does."""
        self.slots.load()
        prepared = [
            prepare(stream, self.slots, sources=self.settings.source) for stream in self.settings.stream
        ]
        self.outbox.start()
        kept = read_coverage(self.root)
        for stream in prepared:
            self._begin(stream, kept.get(stream.settings.name))

    def _begin(self, prepared: PreparedStream, kept: Any) -> None:
        name = prepared.settings.name
        missed = self.heartbeat.gaps(name)
        turns = self.turns[name] = Turns(self.sky.now_ns)
        device = Device(self.plan, name, turns, self.sky.boot_ns, self._spans[name])

        def clock_ns() -> int:
            return turns.now_ns - self.sky.boot_ns

        def emit(records: Sequence[Record]) -> None:
            self.sky.now_ns = turns.now_ns
            self.outlet.deliver(records)
            self._taken()

        supervised = Supervised(
            name,
            device.open,
            "camera" if name == "door" else "microphone",
            self.settings.source[name],
            clock_ns=clock_ns,
            random=lambda: 0.5,
            wait=lambda seconds: turns.advance(turns.now_ns + round(seconds * NS_PER_S)),
        )
        live = LiveStream(
            prepared.build,
            Coverage(
                DayClock(
                    lambda: self.sky.wall_ns(turns.now_ns),
                    clock_ns,
                    clock_ns,
                    lambda: self.sky.synced(turns.now_ns),
                ),
                kept,
                live=True,
            ),
            before=lambda: missed,
            clock_ns=clock_ns,
        )
        running = RunningStream(prepared, live, source=supervised)  # type: ignore[arg-type]
        self.streams.append(running)
        self.outlet.describe(name, prepared.bundle.manifest)

        def walk() -> None:
            try:
                turns.advance(turns.now_ns + 1)  # waits for the first turn
                failure = drive(supervised, live, emit, whole=lambda: False)  # type: ignore[arg-type]
                if failure is not None:
                    _die(failure)
            except BaseException as error:  # noqa: BLE001 a fault of the product must end the campaign
                _die(error)
            device.spans.close()
            turns.end()

        thread = threading.Thread(target=walk, name=name, daemon=True)
        thread.start()
        self._supervised[name] = supervised
        self._threads.append(thread)

    def _taken(self) -> None:
        """Wait until the outbox's thread has written everything."""
        while self.outbox.stalled_s():
            time.sleep(0)

    def run(self) -> str:
        """Live until the plan, or the end of the part, ends it; return how."""
        end_ns, how = self._end()
        todo = list(self._outside())
        now_ns = self.sky.now_ns
        while now_ns < end_ns:
            while todo and todo[0][0] <= now_ns:
                self._do(*todo.pop(0)[1:])
            before_ns, now_ns = now_ns, min(now_ns - now_ns % _TURN_NS + _TURN_NS, end_ns)
            if now_ns == end_ns and how == "power cut":
                self._live(max(before_ns, end_ns - round(SYNC_S * NS_PER_S)))
                self._wait(self.disk.synced, "the sync of what was written")
            self._live(now_ns)
            self._look_after()
        return how

    def _live(self, until_ns: int) -> None:
        for turns in self.turns.values():
            turns.run(until_ns)
        self.sky.now_ns = until_ns

    def _end(self) -> tuple[int, str]:
        now_s = self.sky.now_ns / NS_PER_S
        for fault in self.plan.of(*ENDS):
            if fault.from_s > now_s:
                return round(fault.from_s * NS_PER_S), fault.kind
        return self.plan.end_s * NS_PER_S, "end"

    def _outside(self) -> Iterator[tuple[int, Fault, bool]]:
        """Yield what is done from outside: when, which fault, and whether it begins."""
        now_ns, todo = self.sky.now_ns, []
        for fault in self.plan.faults:
            if fault.stream or fault.kind in ENDS or fault.kind.startswith("clock"):
                continue
            from_ns, to_ns = round(fault.from_s * NS_PER_S), round(fault.to_s * NS_PER_S)
            if to_ns > now_ns or (to_ns == now_ns and from_ns < now_ns):
                todo += [(from_ns, fault, True)] if from_ns >= now_ns else []
                todo.append((to_ns, fault, False))
        yield from sorted(todo, key=lambda each: (each[0], each[2]))

    def _do(self, fault: Fault, begins: bool) -> None:
        if fault.kind == "disk full":
            self.disk.full = begins
        elif fault.kind.endswith("bundle"):
            if begins:
                self._install(fault)
        else:
            ask({"do": fault.kind, "begins": begins})

    def _install(self, fault: Fault) -> None:
        stream = STREAMS[fault.number % len(STREAMS)]
        version = 2 + self.plan.of("good bundle", "bad bundle").index(fault)
        path = bundle(self.folder, stream, version, deaf=fault.kind == "bad bundle")
        store = Store(self.root)
        trusted = store.trusted()
        install_bundle(store, open_bundle(path, trusted), trusted, accepted_here)
        path.unlink()
        self.reload.follow()
        self.upkeep.recheck()
        self._taken()

    def _look_after(self) -> None:
        untold = {
            one.name: untold_of(one.live, self._supervised[one.name].open_gap()) for one in self.streams
        }
        self.heartbeat.beat({name: found for name, found in untold.items() if found is not None})
        for trial in self.slots.due():
            self.reload.settle(trial)
        self.outlet.tell(self.slots.news())
        if self.upkeep.due():
            self.outlet.tell(self.upkeep.scrub())
        self._taken()
        if self.sky.now_ns - self._kept_ns >= _KEEP_COVERAGE_NS:
            self._keep_coverage()
        if self.sky.now_ns % (DAY_S * NS_PER_S) == 1_800 * NS_PER_S:
            self._keep_coverage()
            self._day()

    def _day(self) -> None:
        """Half an hour after midnight: keep for the accountant what the product says of the day before."""
        day = self.sky.now_ns // (DAY_S * NS_PER_S)
        days = self.folder / "days"
        days.mkdir(exist_ok=True)
        shutil.copyfile(self.root / "coverage.json", days / f"{day:03}.json")
        resident = int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
        files = sum(1 for path in self.root.rglob("*") if path.is_file())
        said = {"day": day, "life": self.life, "resident": resident, "files": files}
        self._truth.write(json.dumps(said) + "\n")
        ask({"day": day})

    def _keep_coverage(self) -> None:
        self._kept_ns = self.sky.now_ns
        write_coverage(self.root, {running.name: running.live.coverage.days() for running in self.streams})

    def _wait(self, done: Callable[[], bool], what: str) -> None:
        until_s = time.monotonic() + _PATIENCE_S
        while not done():
            if time.monotonic() > until_s:
                _die(f"waited {_PATIENCE_S} s in vain for {what}")
            time.sleep(0.01)

    def deliver(self) -> None:
        """Wait until nothing is on its way."""
        self._wait(lambda: not any(status.pending for status in self.outbox.status()), "the last delivery")

    def note(self) -> None:
        """Say what the sources gave, before the process is killed."""
        for spans in self._spans.values():
            spans.close()

    def stop(self) -> None:
        """End in order, as Service does."""
        for supervised in self._supervised.values():
            supervised.stop()
        for turns in self.turns.values():
            turns.stop()
        for thread in self._threads:
            thread.join(60)
        self.slots.stopped()
        self._keep_coverage()
        self.outbox.stop(60.0)
        for running in self.streams:
            running.live.close()
        self.slots.close()
        self.heartbeat.close({one.name: Untold(one.live.coverage.uncounted_ns()) for one in self.streams})


def make_root(folder: Path) -> None:
    """Make the store, with version 1 of both bundles."""
    root = trust(folder / "root")
    store = Store(root)
    for stream in STREAMS:
        path = bundle(folder, stream, 1)
        install_bundle(store, open_bundle(path), store.trusted(), accepted_here)
        path.unlink()


def _path_of(fd: int) -> Path:
    return Path(f"/proc/self/fd/{fd}").readlink()


def ask(what: dict[str, Any]) -> None:
    """Let the parent do something, and wait until it is done."""
    print(json.dumps(what), flush=True)
    if not sys.stdin.readline():
        os._exit(2)  # the parent is gone


def _die(error: object) -> None:
    """End the campaign: something is wrong in the product, or in the campaign."""
    import traceback

    traceback.print_exception(error) if isinstance(error, BaseException) else print(error, file=sys.stderr)
    sys.stderr.flush()
    os._exit(3)


def main() -> int:
    folder, life, now_ns, boot_ns = Path(sys.argv[1]), *map(int, sys.argv[2:5])
    device = Life(folder, life, now_ns, boot_ns)
    device.start()
    how = device.run()
    at_ns = device.sky.now_ns
    if how == "end":
        device.deliver()
    if how in ("restart", "end"):
        device.stop()
    device.note()
    ask({"ends": how, "ns": at_ns})
    if how in ("kill", "power cut"):
        os.kill(os.getpid(), signal.SIGKILL)
    return 0


if __name__ == "__main__":
    sys.exit(main())
