"""The name that somebody may have meant who wrote another one."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def did_you_mean(name: str, names: Iterable[str]) -> str:
    """Return the end of a message: the one of ``names`` that is nearest; nothing when none is near.

    >>> did_you_mean("shape", ["levels", "shapes"]), did_you_mean("shape", ["levels"])
    ('; did you mean shapes?', '')
    """
    near = difflib.get_close_matches(name, list(names), n=1)
    return f"; did you mean {near[0]}?" if near else ""
