"""Galago on the workstation: data, training, bundles, evaluation, the demo.

The functions below are for programs and notebooks (docs/python-training.md); importing this package loads
none of them, each comes when it is first used. Whatever else lies in here may change at any time.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from galago_workstation.workflow import (
        EvaluatedRun,
        build_bundle,
        check_data,
        convert,
        evaluate,
        init,
        open_run,
        train,
    )

__version__ = "0.1.0"

__all__ = [
    "EvaluatedRun",
    "__version__",
    "build_bundle",
    "check_data",
    "convert",
    "evaluate",
    "init",
    "open_run",
    "train",
]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.workflow"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
