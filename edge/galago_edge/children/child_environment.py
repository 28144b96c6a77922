"""The environment that a child is given."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import galago_edge

FEW_RESERVES: Mapping[str, str] = {
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "MALLOC_ARENA_MAX": "2",
}
"""For a child whose memory counts: threads of it compute nothing there, and they and the arenas of malloc
reserve address space."""

_INSTALLED = ("site-packages", "dist-packages")


def environment(more: Mapping[str, str]) -> dict[str, str]:
    """Return this process's environment and ``more``; Python finds this very copy of the package in it."""
    given = {**os.environ, **more}
    here = Path(galago_edge.__file__).parents[1]
    if here.name in _INSTALLED:  # found there anyhow, and must not go before the standard library
        return given
    paths = [str(here), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**given, "PYTHONPATH": os.pathsep.join(paths)}
