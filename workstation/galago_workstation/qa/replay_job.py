"""What a replay is made of, and nothing else: its digest is the name of its result."""

from __future__ import annotations

import functools
import hashlib
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal

import msgspec

import galago_edge
from galago_edge.contract.settings import ViewSettings
from galago_edge.engine.runtime import runtime
from galago_edge.pipeline import ThresholdOverrides
from galago_edge.sources.faults.fault_file import FaultPlan
from galago_edge.sources.recorded_drops import Drops

_DECODERS = ("opencv-python-headless", "opencv-python", "av", "soxr")
"""They turn a recording into pixels and samples; another version may give others."""
_ROOMS = (
    *("contract", "host", "preprocess", "decision", "bundle", "recorded"),
    *("sources", "engine", "pipeline", "api"),
)
"""Of galago_edge: where an answer is decided."""


class Computing(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What computes. Where it is the same, answers are, on any processor that is exact for the bundle."""

    galago_edge: str
    """Its version."""
    code: str
    """SHA-256 of the modules that decide: versions do not tell two states of a working tree apart."""
    runtime: str
    """Package and version of the TFLite runtime."""
    decoders: dict[str, str]
    """Versions of what is installed."""

    def __str__(self) -> str:
        """Return it in words."""
        decoders = ", ".join(f"{name} {found}" for name, found in self.decoders.items())
        return f"galago-edge {self.galago_edge} (code {self.code[:12]}), {self.runtime}, {decoders}"


class ReplayChanges(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a device, or whoever asks, changes for every recording: as ``galago_edge.replay`` takes it."""

    thresholds: dict[str, dict[str, float]] = {}
    """Label to ``{"on": ..., "off": ...}``, either or both."""
    view: ViewSettings = ViewSettings()
    max_fps: float | None = None
    from_ns: int = 0
    to_ns: int | None = None
    drops: Drops = "none"
    """``recorded``: without what the device did not take in time; ``query`` says of which stream."""
    faults: FaultPlan | None = None
    """What goes wrong with the source."""

    @classmethod
    def of(cls, thresholds: ThresholdOverrides | None = None, **more: Any) -> ReplayChanges:
        """Return the changes with thresholds as plain tables of floats."""
        plain = {
            label: {key: float(value) for key, value in changes.items()}
            for label, changes in (thresholds or {}).items()
        }
        return cls(thresholds=plain, **more)


class ReplayJob(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One recording, one bundle, the changes, and what computes."""

    v: Literal[1] = 1
    recording: str
    """SHA-256 of its content."""
    form: str
    """The ending of its name, small: what opens a file may look at it."""
    query: str
    """Options of its address, in alphabetical order."""
    started_ns: int | None
    """Unix time at which it begins, when that is known: records have wall times then."""
    bundle: str
    """Id of the bundle."""
    stream: str
    """Name of the stream in the records."""
    changes: ReplayChanges
    computing: Computing

    @property
    def digest(self) -> str:
        """SHA-256 of the job as canonical JSON (keys in order, nothing between), in hexadecimal."""
        return hashlib.sha256(msgspec.json.encode(self, order="sorted")).hexdigest()


def ordered_query(query: str) -> str:
    """Return options in alphabetical order: they mean the same in any.

    >>> ordered_query("rate=16000&channel=2")
    'channel=2&rate=16000'
    """
    return "&".join(sorted(filter(None, query.split("&"))))


@functools.cache
def computing_here() -> Computing:
    """Return what computes in this process.

    Raises:
        DeviceError: RUNTIME_MISSING.
        LinkError: The version of the runtime cannot be read.
    """
    found = runtime()
    return Computing(
        galago_edge=galago_edge.__version__,
        code=_code_sha256(Path(galago_edge.__file__).parent),
        runtime=f"{found.package} {found.version}",
        decoders=_versions(),
    )


def _versions() -> dict[str, str]:
    found = {}
    for name in _DECODERS:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _code_sha256(package: Path) -> str:
    digest = hashlib.sha256()
    for room in _ROOMS:
        for path in sorted((package / room).rglob("*.py")):
            digest.update(f"{path.relative_to(package).as_posix()}\n".encode() + path.read_bytes() + b"\0")
    return digest.hexdigest()
