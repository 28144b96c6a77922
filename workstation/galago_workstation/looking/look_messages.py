"""What the child that looks at a model tells."""

from __future__ import annotations

import msgspec

from galago_converters.model_content import ModelContent

CONTENT, RUN, FAILED = b"content ", b"run ", b"failed "
"""How lines of the answer begin; behind it stands JSON."""


class LookFailure(msgspec.Struct, frozen=True, kw_only=True):
    """The file cannot be read: fields of a GalagoError."""

    reason: str
    message: str
    hint: str


class RuntimeLook(msgspec.Struct, frozen=True, kw_only=True):
    """What the runtime of this machine made of the model."""

    runtime: str
    """Package and version."""
    loads: bool
    why_not: str = ""
    """What the runtime says where it does not load."""
    arena_bytes: int = 0
    """Bytes of the arena that the builtin kernels plan tensors into, scratch tensors among them."""
    unplanned_tensors: int = 0
    """Tensors that get their memory only in a run."""
    heap_bytes: int | None = None
    """By how much the C heap grew from loading with the runtime's default; None where it does not tell."""
    nodes: int = 0
    """Of the main graph."""
    delegated: int | None = None
    """How many of them the runtime's own XNNPACK takes; None where the runtime does not tell."""
    left: dict[str, int] = {}
    """Operators that it leaves to the builtin kernels, and how many."""
    classifier: str = ""
    """Why Galago's engine does not take it as a classifier; empty where it does."""


class ModelLook(msgspec.Struct, frozen=True, kw_only=True):
    """All that was found."""

    content: ModelContent
    run: RuntimeLook
