"""Records live sources for a while, without a service: the same captures and the same taps."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from galago_edge.bundle import Bundle
from galago_edge.contract.errors import CallerError, LinkError, Reason, disk_error
from galago_edge.contract.records import Record
from galago_edge.contract.settings import RecordingSettings, SourceSettings
from galago_edge.contract.status import SourceStatus
from galago_edge.pipeline import DecidingStream, load
from galago_edge.pipeline.driver import drive
from galago_edge.recording.source_tap import SourceTap
from galago_edge.recording.tap_writer import OpenTap
from galago_edge.service.live_sources import LiveSource, LiveSources
from galago_edge.service.live_taps import LiveTaps
from galago_edge.sources import parse_source
from galago_edge.sources.source_kind import Address
from galago_edge.sources.stream_target import file_path, is_test_file

_LOOK_S = 0.25
_JOIN_S = 10.0


@dataclass(slots=True)
class _Recorded:
    """One source, and the thread in which a bundle decides on it."""

    capture: LiveSource
    tap: SourceTap
    thread: threading.Thread | None = None
    failures: list[BaseException] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class RecordedSoFar:
    """What became of one source."""

    source: SourceStatus
    files: tuple[Path, ...]
    """Recordings that are whole."""
    lost: Mapping[str, int]
    """As ``RecordingStatus.lost``."""
    fault: str


class TapSession:
    """Records sources side by side, and what bundles decide on them. Used by one thread, but for ``stop``."""

    def __init__(
        self,
        sources: Mapping[str, SourceSettings],
        folder: Path,
        open_tap: OpenTap,
        *,
        device: str,
        bundles: Sequence[Bundle] = (),
        scores: bool = False,
    ) -> None:
        """Prepare to record ``sources``, by their names, into ``folder``, in which nothing is deleted.

        Each of ``bundles`` decides on every source of its kind, in a stream of the source's name.

        Raises:
            CallerError: CONFIG_BAD; a source is a recording, or no source at all; a bundle has no source, or
                a source two bundles.
            DeviceError: EXTRA_MISSING; a source needs a library that is not installed.
            BundleError, DeviceError: A bundle cannot be run.
        """
        wanted = RecordingSettings(mode="always", dir=str(folder), minutes=1_440, max_mb=1_000_000)
        self._taps = LiveTaps(wanted, folder, device, lambda records: None, open_tap, keeps_all=True)
        self._sources = LiveSources(taps=self._taps)
        self._stopping = threading.Event()
        self._empty: set[Path] = set()
        """Recordings that were removed, for their source never gave anything."""
        self._recorded: dict[str, _Recorded] = {}
        deciding = _deciding({name: _live(one) for name, one in sources.items()}, bundles)
        for name, settings in sources.items():
            bundle = deciding.get(name)
            rate_hz = getattr(bundle.spec, "sample_rate_hz", None) if bundle is not None else None
            capture = self._sources.add(name, _live(settings), settings, rate_hz)
            assert capture.tap is not None
            self._recorded[name] = _Recorded(capture, capture.tap)
            if bundle is not None:
                self._decide(self._recorded[name], bundle, scores)

    def run(self, seconds: float | None, told: Callable[[SourceStatus], None] = lambda status: None) -> None:
        """Record until ``stop``, or for so long; ``told`` hears of every source whose state has changed.

        Raises:
            LinkError: The disk takes no more; what was recorded before is whole.
            GalagoError: What a bundle met.
            Exception: A fault of our own.
        """
        until_s = None if seconds is None else time.monotonic() + seconds
        for recorded in self._recorded.values():
            if recorded.thread is not None:
                recorded.thread.start()
        self._sources.start()
        try:
            known: dict[str, tuple[str, str]] = {}
            while not self._stopping.is_set() and self._fault() is None:
                left_s = _LOOK_S if until_s is None else min(_LOOK_S, until_s - time.monotonic())
                if left_s <= 0:
                    break
                for status in self._sources.statuses().values():
                    if known.get(status.name) != (status.liveness, status.fault):
                        known[status.name] = status.liveness, status.fault
                        told(status)
                self._stopping.wait(left_s)
        finally:
            self._close()
        if (failure := next(self._failures(), None)) is not None:
            raise failure
        if (fault := self._fault()) is not None:
            raise LinkError(Reason.IO, f"recording ended: {fault}", hint="look at the disk of --out")

    def stop(self) -> None:
        """End soon. May be called from a signal handler."""
        self._stopping.set()

    def results(self) -> list[RecordedSoFar]:
        """Return what was recorded, in the order of the sources."""
        statuses = self._sources.statuses()
        return [
            RecordedSoFar(
                statuses[name],
                tuple(path for path in one.tap.files if path not in self._empty),
                one.tap.lost,
                one.tap.fault,
            )
            for name, one in self._recorded.items()
        ]

    def _decide(self, recorded: _Recorded, bundle: Bundle, scores: bool) -> None:
        loaded = load(bundle)
        name, tap = recorded.capture.name, recorded.tap
        stream = DecidingStream(name, loaded, scores=scores)
        subscription = recorded.capture.fanout.subscribe(bundle.spec)
        subscription.missed = partial(tap.missed, name)
        tap.decides(name, {"bundle": bundle.id, "overrides": {}, "view": {}})

        def emit(records: Sequence[Record]) -> None:
            tap.told(records)

        def decide() -> None:
            try:
                failure = drive(subscription, stream, emit, whole=lambda: False)
                if failure is not None:
                    recorded.failures.append(failure)
            except BaseException as error:  # noqa: BLE001 raised again by the thread that waits
                recorded.failures.append(error)
            finally:
                loaded.close()
                self._stopping.set()

        recorded.thread = threading.Thread(target=decide, name=f"stream {name}", daemon=True)

    def _fault(self) -> str | None:
        return next((one.tap.fault for one in self._recorded.values() if one.tap.fault), None)

    def _failures(self) -> Iterator[BaseException]:
        for one in self._recorded.values():
            yield from one.failures

    def _close(self) -> None:
        self._sources.stop()
        self._sources.join(_JOIN_S)
        for recorded in self._recorded.values():
            if recorded.thread is not None:
                recorded.thread.join(_JOIN_S)
        self._taps.close()
        self._remove_empty()

    def _remove_empty(self) -> None:
        """Leave no recording behind that is of nothing but a source which was away all the time."""
        for name, status in self._sources.statuses().items():
            for path in () if status.items else self._recorded[name].tap.files:
                try:
                    for file in (path.with_name(path.name + ".sha256"), path):
                        file.unlink(missing_ok=True)
                except OSError as error:
                    raise disk_error(error, f"remove {path}, which holds nothing") from error
                self._empty.add(path)


def _live(settings: SourceSettings) -> Address:
    """Return the address of a source that can be captured.

    Raises:
        CallerError: CONFIG_BAD; it is a recording, standard input, or a folder where a file must be.
    """
    address = parse_source(settings.address)
    if not address.reopens:
        what, hint = _not_live(address)
        text = f"{address.shown} is {what}, expected a camera, a microphone or a pipe"
        raise CallerError(Reason.CONFIG_BAD, text, hint=hint)
    path = file_path(address.target)
    if (is_test_file(address.target) or "/" in path) and Path(path).is_dir():
        raise CallerError(
            Reason.CONFIG_BAD,
            f"{address.kind}:{address.shown} is a folder, expected a device or a file",
            hint=_IMPORT.format(path),
        )
    return address


_IMPORT = "galago recording import {0} NEW.mcap makes a recording of it, and galago replay takes it as it is"


def _not_live(address: Address) -> tuple[str, str]:
    """Return what a source is that cannot be captured, and what can be done with it."""
    if not address.described.is_path:
        return "standard input", "pipe:PATH records what a named pipe gives"
    if address.kind.startswith("mcap"):
        return "a recording already", "galago replay takes it as it is"
    return "a folder" if Path(address.target).is_dir() else "a file", _IMPORT.format(address.shown)


def _deciding(addresses: Mapping[str, Address], bundles: Sequence[Bundle]) -> dict[str, Bundle]:
    """Return the bundle of each source that has one."""
    deciding: dict[str, Bundle] = {}
    for bundle in bundles:
        name = bundle.manifest.bundle.name
        fitting = [one for one, address in addresses.items() if address.modality == bundle.modality]
        if not fitting:
            raise CallerError(
                Reason.CONFIG_BAD,
                f"bundle {name} is for a {bundle.modality}, and none is recorded",
                hint=f"name a {bundle.modality} too, or leave the bundle out",
            )
        if taken := [one for one in fitting if one in deciding]:
            raise CallerError(
                Reason.CONFIG_BAD,
                f"bundles {deciding[taken[0]].manifest.bundle.name} and {name} both decide on {taken[0]}",
                hint="give one bundle for each kind of source",
            )
        deciding |= dict.fromkeys(fitting, bundle)
    return deciding
