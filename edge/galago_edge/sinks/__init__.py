"""Sinks: where records go.

The names below are imported when they are first used: a replay writes lines and delivers nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from galago_edge.sinks.jsonl import JsonlSink, open_jsonl
    from galago_edge.sinks.outbox import Outbox

__all__ = ["JsonlSink", "Outbox", "open_jsonl"]

_HOMES = {"JsonlSink": "jsonl", "Outbox": "outbox", "open_jsonl": "jsonl"}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value
