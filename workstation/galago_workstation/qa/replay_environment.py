"""On what a replay was computed, so that two results can be told apart by more than their bytes."""

from __future__ import annotations

import functools
import hashlib
import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import msgspec

from galago_edge.host.machine import this_arch
from galago_workstation.environment import cpu_name
from galago_workstation.qa.replay_job import Computing, computing_here

_PACKAGES = ("galago", "galago-edge", "numpy", "opencv-python-headless", "av", "soxr", "ai-edge-litert")
_FEATURES = ("sse4", "ssse3", "avx", "fma", "f16c", "amx", "neon", "asimd", "i8mm", "sve", "bf16", "fphp")
"""Beginnings of the processor's features that change which kernels a runtime chooses."""


class ReplayEnvironment(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The fingerprint of an environment: what may make two replays of one job differ."""

    computing: Computing
    python: str
    packages: dict[str, str]
    arch: str
    cpu: str
    """The processor's model, as it says itself."""
    cpu_features: tuple[str, ...]
    """Those for which there are kernels, in alphabetical order."""
    threads: int
    """That run the model."""

    @property
    def fingerprint(self) -> str:
        """SHA-256 of it as canonical JSON, in hexadecimal."""
        return hashlib.sha256(msgspec.json.encode(self, order="sorted")).hexdigest()

    def __str__(self) -> str:
        """Return what people tell machines apart by."""
        return f"{self.cpu} ({self.arch}), Python {self.python}, {self.computing.runtime}"


@functools.cache
def environment_here() -> ReplayEnvironment:
    """Return the fingerprint of this process, in which a replay has one thread.

    Raises:
        DeviceError: RUNTIME_MISSING.
    """
    packages = {}
    for name in _PACKAGES:
        try:
            packages[name] = version(name)
        except PackageNotFoundError:
            continue
    return ReplayEnvironment(
        computing=computing_here(),
        python=platform.python_version(),
        packages=packages,
        arch=this_arch(),
        cpu=cpu_name(),
        cpu_features=cpu_features(Path("/proc/cpuinfo")),
        threads=1,
    )


def cpu_features(cpuinfo: Path) -> tuple[str, ...]:
    """Return the features of the first processor in ``cpuinfo`` that matter; none where it says none."""
    try:
        text = os.fsdecode(cpuinfo.read_bytes())
    except OSError:
        return ()
    for line in text.splitlines():
        key, _, value = line.partition(":")
        if key.strip() in ("flags", "Features"):
            return tuple(sorted({word for word in value.split() if word.startswith(_FEATURES)}))
    return ()
