"""Which TFLite runtime is installed."""

from __future__ import annotations

import importlib
import importlib.metadata
from collections.abc import Mapping
from typing import Any

from galago_edge.contract.errors import DeviceError, Reason, disk_error
from galago_edge.contract.profile import RuntimeInfo

_RUNTIMES = {"ai_edge_litert": "ai-edge-litert", "tflite_runtime": "tflite-runtime"}
"""Python package and distribution, first found wins. The first has no wheel for 32-bit Arm."""


def interpreter_class() -> type[Any]:
    """Return the ``Interpreter`` class of the installed runtime.

    Raises:
        DeviceError: RUNTIME_MISSING; neither runtime is installed.
        ImportError: A runtime is installed but broken.
    """
    for package in _RUNTIMES:
        name = f"{package}.interpreter"
        try:
            module = importlib.import_module(name)
        except ModuleNotFoundError as error:
            if error.name not in (package, name):
                raise  # installed but broken: say so instead of trying the next
        else:
            found: type[Any] = module.Interpreter
            return found
    raise DeviceError(
        Reason.RUNTIME_MISSING,
        "no TFLite runtime is installed, expected ai-edge-litert or tflite-runtime",
        hint="pip install ai-edge-litert (on 32-bit Arm: pip install tflite-runtime)",
    )


def load_delegate(library: str, options: Mapping[str, str]) -> Any:
    """Load an external delegate for :func:`interpreter_class`. Only in a process that may die of it.

    Raises:
        ValueError: The delegate refuses; the text is its own.
        OSError: There is no such library, or it lacks something.
        AttributeError: The library is no delegate.
        DeviceError: RUNTIME_MISSING; neither runtime is installed.
    """
    return importlib.import_module(interpreter_class().__module__).load_delegate(library, dict(options))


def runtime() -> RuntimeInfo:
    """Return package and version of the runtime that ``interpreter_class`` chooses.

    Raises:
        DeviceError: RUNTIME_MISSING; neither runtime is installed.
        LinkError: Its version cannot be read.
    """
    package = interpreter_class().__module__.partition(".")[0]
    distribution = _RUNTIMES[package]
    try:
        version = importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:  # copied into place without its metadata
        version = str(getattr(importlib.import_module(package), "__version__", "unknown"))
    except OSError as error:
        raise disk_error(error, f"read the version of {distribution}") from error
    return RuntimeInfo(distribution, version)
