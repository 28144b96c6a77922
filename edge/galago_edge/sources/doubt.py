"""What checks of a live source say of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

Blindness = Literal["moved", "defocused", "covered"]
"""What may be wrong with a camera that still gives pictures."""
What = Literal["frozen", "dark", Blindness, "flat", "clipped", "offset", "rate"]


@dataclass(frozen=True, slots=True)
class Doubt:
    """Something became implausible, or plausible again."""

    what: What
    implausible: bool
    detail: dict[str, Any]


@dataclass(frozen=True, slots=True)
class News:
    """Something else that a reader of the records must know."""

    state: str
    """A stable word, as in ``Notice``."""
    detail: dict[str, Any]
