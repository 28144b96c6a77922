"""What a sweep trains: every point of the grid with every seed, checked before anything is trained."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from galago_edge.contract.errors import CallerError, Reason
from galago_edge.host.toml_file import load_toml
from galago_workstation.sweep.search_grid import GridAxis, Setting, grid_points, with_settings
from galago_workstation.toml_text import toml_text
from galago_workstation.training_config import DOCS, Config, checked_config, refuse_folder

_SEED = ("train", "seed")
_NAME_CHARACTERS = 60
_UNFIT = re.compile(r"[^A-Za-z0-9.=+-]+")


@dataclass(frozen=True, slots=True)
class PlannedRun:
    """One training."""

    name: str
    """Of its folder: what is particular about it, and the beginning of its configuration's hash."""
    point: int
    """Which one of the grid, from 0."""
    settings: tuple[Setting, ...]
    seed: int
    content: bytes
    """Its configuration."""

    @property
    def config_sha256(self) -> str:
        """By which it is known whether a run is this one."""
        return hashlib.sha256(self.content).hexdigest()


@dataclass(frozen=True, slots=True)
class SweepPlan:
    """Everything that shall be trained."""

    config: Path
    axes: tuple[GridAxis, ...]
    seeds: int
    """For each point."""
    runs: tuple[PlannedRun, ...]
    """Seeds of one point side by side."""
    balanced: bool
    """Whether runs are judged by their balanced accuracy; else by their accuracy."""

    @property
    def points(self) -> int:
        """How many combinations there are."""
        return len(self.runs) // self.seeds


def plan_sweep(config: Path, axes: Sequence[GridAxis], seeds: int) -> SweepPlan:
    """Return the plan, every configuration of which was read as ``galago train`` reads it.

    Raises:
        CallerError: CONFIG_BAD; a key is unknown or a value out of bounds in one of them, or the seed is
            in the grid though several seeds are asked for.
        DeviceError: PLUGIN_BAD; see ``read_config``.
        InputError: The frontend cannot do what one of them asks for.
        LinkError: The configuration cannot be read.
    """
    refuse_folder(config)
    tables = load_toml(config, dict[str, Any], docs=DOCS)
    if seeds > 1 and any(axis.path == _SEED for axis in axes):
        raise CallerError(
            Reason.CONFIG_BAD, "the grid has train.seed, and --seeds is given too", hint="give one of the two"
        )
    runs: list[PlannedRun] = []
    balanced = False
    for number, settings in enumerate(grid_points(axes)):
        changed = with_settings(tables, settings)
        checked = _checked(changed, config, settings)
        balanced |= checked.train.best_by != "accuracy"
        for seed in range(checked.train.seed, checked.train.seed + seeds):
            runs.append(_planned(changed, number, settings, seed, seeds))
    return SweepPlan(config, tuple(axes), seeds, tuple(runs), balanced)


def settings_text(settings: Sequence[Setting]) -> str:
    """Return a point in words; one without settings is the configuration as it is."""
    return ", ".join(f"{one.key} = {one.text}" for one in settings) or "as it is"


def _checked(tables: dict[str, Any], config: Path, settings: Sequence[Setting]) -> Config:
    from galago_edge.preprocess import fingerprint

    checked = checked_config(tables, f"{config}, {settings_text(settings)}" if settings else str(config))
    fingerprint(checked.preprocess)  # refuses what the frontend cannot do
    return checked


def _planned(
    tables: dict[str, Any], point: int, settings: tuple[Setting, ...], seed: int, seeds: int
) -> PlannedRun:
    content = toml_text(with_settings(tables, [Setting(_SEED, seed)])).encode()
    shown = [f"{setting.path[-1]}={_shown(setting.value)}" for setting in settings]
    if seeds > 1:
        shown.append(f"seed={seed}")
    words = _UNFIT.sub("-", "_".join(shown).replace("_", "-"))[:_NAME_CHARACTERS].strip("-.")
    digest = hashlib.sha256(content).hexdigest()[:8]
    return PlannedRun(f"{words}-{digest}" if words else digest, point, settings, seed, content)


def _shown(value: Any) -> str:
    """Return a value as a folder's name may show it: of a table its kind, if it has one."""
    return str(value.get("kind", "table") if isinstance(value, dict) else value)
