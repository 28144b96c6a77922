"""On what a result was computed: versions, processor, threads."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import galago_workstation

PACKAGES = (
    "galago",
    "galago-edge",
    "tensorflow",
    "keras",
    "numpy",
    "opencv-python-headless",
    "av",
    "soxr",
    "ai-edge-litert",
)
_VARIABLES = (
    "OMP_NUM_THREADS",
    "TF_NUM_INTRAOP_THREADS",
    "TF_ENABLE_ONEDNN_OPTS",
    "CUDA_VISIBLE_DEVICES",
    "TF_CONFIG",
)


def environment(tf: Any) -> dict[str, Any]:
    """Return what environment.json holds; ``tf`` is the imported TensorFlow."""
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpu": cpu_name(),
        "cores": len(os.sched_getaffinity(0)),
        "packages": {name: found for name in PACKAGES if (found := _version(name)) is not None},
        "devices": [f"{device.device_type}:{device.name}" for device in tf.config.list_physical_devices()],
        "threads": {
            "intra_op": tf.config.threading.get_intra_op_parallelism_threads(),
            "inter_op": tf.config.threading.get_inter_op_parallelism_threads(),
        },
        "variables": {name: os.environ[name] for name in _VARIABLES if name in os.environ},
    }


def training_software() -> str:
    """Return the versions by which the same training has the same weights on one machine."""
    return " ".join(
        (
            galago_workstation.__version__,
            *(f"{name}={version(name)}" for name in ("tensorflow", "keras", "numpy")),
        )
    )


def cpu_name() -> str:
    """Return the processor's name as Linux gives it, or the machine type."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    for line in lines:
        key, _, value = line.partition(":")
        if key.strip() in ("model name", "Model", "Hardware"):
            return value.strip()
    return platform.machine()


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
