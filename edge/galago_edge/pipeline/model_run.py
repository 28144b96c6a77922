"""One window's way through the model, kept until it is decided."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from galago_edge.contract.streams import Span
from galago_edge.engine import BackendChange


@dataclass(frozen=True, slots=True)
class ModelRun:
    """What the model said to a window, and what ran it."""

    span: Span
    logits: npt.NDArray[np.int8]
    """Its output codes, shape ``(labels,)``; empty when it was not run."""
    backend: str
    """``cpu``, or the accelerator's name."""
    backend_reason: str | None
    """Why it is not the accelerator that was wanted; None when it is, or none was."""
    changes: Sequence[BackendChange] = ()
    """From this window on."""
    skipped: bool = False
    """The gate was closed: it was not run."""
