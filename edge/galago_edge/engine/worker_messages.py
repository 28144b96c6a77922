"""What the runtime and the worker of an accelerated model say to each other.

In which order: ``galago_edge.engine.worker``.
"""

from __future__ import annotations

import msgspec

from galago_edge.engine.backend import TensorInfo

MAX_TEXT = 400
"""Characters of an explanation."""


class WorkerRequest(msgspec.Struct, frozen=True, kw_only=True, tag="request"):
    """What to load, and how long that and one run may take."""

    library: str
    options: dict[str, str]
    threads: int
    load_s: float
    run_s: float


class RunRequest(msgspec.Struct, frozen=True, tag="run"):
    """Asks for one run."""


class Loaded(msgspec.Struct, frozen=True, kw_only=True, tag="loaded"):
    """The model is ready."""

    input: TensorInfo | None
    output: TensorInfo | None
    """Without a model both are None."""
    output_offset: int = 0
    """Byte of ``TENSORS`` where the output is."""
    parts: int | None = None
    """So many parts of the model the delegate runs, if the runtime tells."""


class RunDone(msgspec.Struct, frozen=True, tag="done"):
    """A run went well."""


class WorkerFailed(msgspec.Struct, frozen=True, kw_only=True, tag="failed"):
    """It did not work."""

    fault: str
    """A value of ``galago_edge.engine.remote.Fault``."""
    message: str
    """Empty when the delegate gave no reason; standard error may have one then."""


WorkerQuestion = WorkerRequest | RunRequest
WorkerAnswer = Loaded | RunDone | WorkerFailed
