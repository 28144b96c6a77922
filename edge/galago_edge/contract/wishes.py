"""How a bundle shall be taken into a device's store, where that differs from the usual way."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Wishes:
    """What is asked beside the bundle itself, by a command or over a link, down to the store.

    Nothing of it is needed: without any wish a bundle becomes the active one, on trial where there is
    something to go back to. The state says of each wish that was needed to take a bundle that it was.
    """

    stage_only: bool = False
    """Put it beside the active one, which stays so: see ``galago activate``."""
    commit: bool = False
    """No trial: take it as good at once. Only a command on the device may ask for that."""
    allow_downgrade: bool = False
    """Take a release below the active one, though never below the floor."""
    allow_bad: bool = False
    """Take one that failed on this device before."""
    ignore_compatible: bool = False
    """Take one that was built for other boards; whether it can run is checked all the same."""
    trial_s: int | None = None
    """Seconds of believable input in which it is judged; None: as its manifest says."""
    trial_loads: int | None = None
    """How often it may be loaded before it has proved itself; None: as its manifest says."""


NO_WISHES = Wishes()
"""The usual way."""
