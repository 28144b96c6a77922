"""On what a training computes, said before it begins; and what a GPU lacks that is not used."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import Any

from galago_workstation.environment import cpu_name
from galago_workstation.training.replicas import Replicas

_INSTALL = "pip install 'tensorflow[and-cuda]'"
_NVIDIA = "0x10de"  # the PCI vendor's number, https://pci-ids.ucw.cz/read/PC/10de
_DISPLAY = "0x03"  # the PCI class of display controllers, computing GPUs among them
_HIDDEN = "CUDA_VISIBLE_DEVICES"


def trained_on(tf: Any, replicas: Replicas, precision: str) -> Iterator[str]:
    """Yield lines for people: the devices, and what is worth knowing of them.

    Args:
        tf: TensorFlow.
        replicas: The devices of this training.
        precision: The configuration's.
    """
    gpus = tf.config.list_physical_devices("GPU")
    named = Counter(_name(tf, gpu) for gpu in gpus)
    if gpus:
        here = ", ".join(f"{name} ({count})" if count > 1 else name for name, count in named.items())
        here = f"{len(gpus)} GPUs: {here}" if len(gpus) > 1 else f"the GPU {here}"
    else:
        here = f"the processor: {cpu_name()}, {len(os.sched_getaffinity(0))} cores"
    yield f"trains on {here}; {precision}"
    if replicas.count > 1:
        where = "" if replicas.machines is None else f" of {len(replicas.machines.addresses)} machines"
        own = "" if replicas.machines is None else f", this is {replicas.machines.said}"
        yield f"{replicas.count} devices{where} learn together{own}"
    if not gpus:
        yield unused_gpu(built_with_cuda=tf.test.is_built_with_cuda())
        if precision == "mixed_float16":
            yield "note: mixed_float16 is for GPUs; a processor is faster with float32"


def unused_gpu(
    *, built_with_cuda: bool, root: Path = Path("/"), environment: Mapping[str, str] = os.environ
) -> str:
    """Return why no GPU is used, and what it takes to use one.

    Args:
        built_with_cuda: Whether TensorFlow could use one.
        root: The root of the file system.
        environment: Of this process.
    """
    if not _gpu_is_there(root):
        return f"no GPU is seen here; one needs NVIDIA's driver and {_INSTALL}"
    if environment.get(_HIDDEN, "0").strip() in ("", "-1", "NoDevFiles"):
        why, advice = f"{_HIDDEN}={environment[_HIDDEN]!r} hides it", f"unset {_HIDDEN}"
    elif (driver := _driver(root)) is None:
        why, advice = "its driver is not loaded", f"install NVIDIA's driver, then {_INSTALL}"
    elif not built_with_cuda:
        why, advice = "this TensorFlow is built without CUDA", _INSTALL
    elif lacking := _lacking_libraries():
        named = (
            f"{', '.join(lacking[:2])} and {len(lacking) - 2} more"
            if len(lacking) > 3
            else ", ".join(lacking)
        )
        why, advice = f"CUDA's libraries are not installed ({named})", _INSTALL
    else:
        why = f"TensorFlow cannot open it (driver {driver})"
        advice = "update NVIDIA's driver; what TensorFlow says: python -c 'import tensorflow'"
    return f"note: there is an NVIDIA GPU that is not used: {why}; {advice}"


def _name(tf: Any, gpu: Any) -> str:
    """Return a GPU's name, or TensorFlow's word for it."""
    return str(tf.config.experimental.get_device_details(gpu).get("device_name", gpu.name))


def _gpu_is_there(root: Path) -> bool:
    """Whether the computer has a GPU by NVIDIA, or lends one to this container or to Linux in Windows."""
    if any((root / "dev").glob("nvidia[0-9]*")) or (root / "dev/dxg").exists():
        return True
    return any(
        _content(device / "vendor") == _NVIDIA and _content(device / "class").startswith(_DISPLAY)
        for device in (root / "sys/bus/pci/devices").glob("*")
    )


def _driver(root: Path) -> str | None:
    """Return the version of NVIDIA's driver; None when it is not loaded."""
    if (root / "dev/dxg").exists():
        return "of Windows"
    return _content(root / "sys/module/nvidia/version") or None


def _content(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        return ""


def _lacking_libraries() -> list[str]:
    """Return the packages that ``tensorflow[and-cuda]`` names and that are not installed."""
    named = [text for text in requires("tensorflow") or [] if "and-cuda" in text]
    packages = [match[0] for text in named if (match := re.match(r"[A-Za-z0-9._-]+", text))]
    return [package for package in packages if not _installed(package)]


def _installed(package: str) -> bool:
    try:
        version(package)
    except PackageNotFoundError:
        return False
    return True
