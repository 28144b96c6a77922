"""What every backend promises, so that an accelerator can take the CPU's place."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """Input or output of a model: ``real = scale * (stored - zero_point)``."""

    name: str
    index: int
    shape: tuple[int, ...]
    """With the batch axis, which is 1."""
    dtype: str
    """``uint8`` or ``int8``."""
    scale: float
    zero_point: int


@dataclass(frozen=True, slots=True)
class BackendChange:
    """Another backend has taken over; becomes a ``state`` record of the subject ``backend``."""

    state: Literal["fallback", "promoted"]
    """``fallback``: the CPU decides from here on; ``promoted``: the accelerator does."""
    detail: dict[str, Any]
    """``{"backend": ..., "reason": ..., ...}``, ready for JSON."""


class Backend(Protocol):
    """One model, loaded and ready. Used by one thread at a time."""

    @property
    def backend(self) -> str:
        """Name for events and status: ``cpu``."""
        ...

    @property
    def reason(self) -> str | None:
        """Why ``backend`` is not the accelerator that was wanted; None when it is, or none was."""
        ...

    @property
    def input(self) -> TensorInfo:
        """The only input."""
        ...

    @property
    def output(self) -> TensorInfo:
        """The only output: int8 logits, shape ``(1, labels)``."""
        ...

    def input_view(self) -> npt.NDArray[Any]:
        """Return where the next input is to be written, without the batch axis; valid until ``invoke``."""
        ...

    def invoke(self) -> None:
        """Run the model on what was written."""
        ...

    def logits(self) -> npt.NDArray[np.int8]:
        """Return the output codes of the last ``invoke``, shape ``(labels,)``, as an array of its own."""
        ...

    def changes(self) -> list[BackendChange]:
        """Return what changed since the last call, oldest first, and forget it.

        Asked after each ``invoke``: a change holds from the window that was just decided.
        """
        ...

    def close(self) -> None:
        """Give back processes and memory; the backend is not used any more. Twice does no harm."""
        ...
