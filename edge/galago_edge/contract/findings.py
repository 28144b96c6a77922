"""What an examination of a device finds: each finding with the line that fixes it."""

from __future__ import annotations

from typing import Literal

import msgspec

Level = Literal["ok", "warn", "fail"]


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that was looked at."""

    name: str
    """``python``, ``camera:/dev/v4l/by-id/...``, ``stream:door`` ..."""
    level: Level
    """``warn``: it runs, but not as it should, or not for ever. ``fail``: something does not run."""
    met: str
    """What is so, in one line."""
    fix: str = ""
    """The command, or what else to do; empty only when ``ok``."""


def ok(name: str, met: str) -> Finding:
    """Return a finding that needs nothing."""
    return Finding(name=name, level="ok", met=met)


def warn(name: str, met: str, fix: str) -> Finding:
    """Return a finding that somebody should see to."""
    return Finding(name=name, level="warn", met=met, fix=fix)


def fail(name: str, met: str, fix: str) -> Finding:
    """Return a finding that keeps something from running."""
    return Finding(name=name, level="fail", met=met, fix=fix)
