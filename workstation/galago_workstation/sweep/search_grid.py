"""The grid of a sweep: which keys of a configuration take which values.

A file of it looks like a configuration in which every value is a list of values to try:

```toml
[train]
learning_rate = [0.001, 0.003]

[[model]]          # a list of tables replaces the whole table
kind = "resnet"
[[model]]
kind = "mobilenet_v1"
```
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from galago_edge.contract.decoding import from_toml
from galago_edge.contract.errors import CallerError, Reason
from galago_edge.host.toml_file import load_toml
from galago_workstation.toml_text import toml_key, toml_value

DOCS = "docs/sweep.md"
MOST_POINTS = 1_000
"""More is a slip: each point is a training."""

Tables = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class GridAxis:
    """One key of the configuration and the values that it takes."""

    path: tuple[str, ...]
    """Table, perhaps its tables, and the key: ``("train", "learning_rate")``."""
    values: tuple[Any, ...]

    @property
    def key(self) -> str:
        """As one text: ``train.learning_rate``."""
        return ".".join(map(toml_key, self.path))


@dataclass(frozen=True, slots=True)
class Setting:
    """One value of one key."""

    path: tuple[str, ...]
    value: Any

    @property
    def key(self) -> str:
        """As one text: ``train.learning_rate``."""
        return ".".join(map(toml_key, self.path))

    @property
    def text(self) -> str:
        """The value as TOML."""
        return toml_value(self.value)


def grid_of(file: Path | None, settings: Sequence[str]) -> tuple[GridAxis, ...]:
    """Return the axes that a file and ``KEY=VALUE,VALUE`` give together.

    Raises:
        CallerError: CONFIG_BAD or USAGE; one of them is none, has no value or one of them twice, two are
            about one key, or there are too many points.
        LinkError: The file cannot be read.
    """
    axes = [] if file is None else list(_axes(load_toml(file, dict[str, Any], docs=DOCS), str(file)))
    axes += [_of_text(text) for text in settings]
    for one, other in itertools.combinations(axes, 2):
        shorter = min(len(one.path), len(other.path))
        if one.path[:shorter] == other.path[:shorter]:
            text = "twice" if one.key == other.key else f"and {other.key}, of which one holds the other"
            raise _bad(f"the grid names {one.key} {text}", "give each key once, with all its values")
    count = 1
    for axis in axes:
        count *= len(axis.values)
    if count > MOST_POINTS:
        raise _bad(f"the grid has {count} points, at most {MOST_POINTS} are trained", "give fewer values")
    return tuple(axes)


def grid_points(axes: Sequence[GridAxis]) -> Iterator[tuple[Setting, ...]]:
    """Yield every combination of the values; one without settings where there are no axes."""
    for values in itertools.product(*(axis.values for axis in axes)):
        yield tuple(Setting(axis.path, value) for axis, value in zip(axes, values, strict=True))


def with_settings(tables: Tables, settings: Sequence[Setting]) -> dict[str, Any]:
    """Return tables in which these keys have these values; what is given is not changed.

    Raises:
        CallerError: CONFIG_BAD; a key is said to be in something that is no table.
    """
    changed = dict(tables)
    for setting in settings:
        changed = _with(changed, setting.path, setting)
    return changed


def _with(table: Tables, path: tuple[str, ...], setting: Setting) -> dict[str, Any]:
    name, rest = path[0], path[1:]
    if not rest:
        return {**table, name: setting.value}
    inner = table.get(name, {})
    if not isinstance(inner, dict):
        raise _bad(f"{setting.key} is in {name}, which is no table", "name the key as in the configuration")
    return {**table, name: _with(inner, rest, setting)}


def _axes(tables: Tables, where: str, path: tuple[str, ...] = ()) -> Iterator[GridAxis]:
    for name, value in tables.items():
        here = (*path, name)
        if isinstance(value, dict):
            yield from _axes(value, where, here)
        else:
            yield _axis(here, value, where)


def _axis(path: tuple[str, ...], values: Any, where: str) -> GridAxis:
    key = ".".join(map(toml_key, path))
    if not isinstance(values, list) or not values:
        met = "an empty list" if values == [] else "a single value"
        raise _bad(f"{where}: {key} is {met}, expected a list of values to try", f"such as {key} = [1, 2]")
    try:
        texts = [toml_value(value) for value in values]
    except TypeError as error:
        raise _bad(f"{where}: {key}: {error}", "give numbers, texts, lists or tables") from None
    if twice := next((text for text in texts if texts.count(text) > 1), None):
        raise _bad(f"{where}: {key} has {twice} twice", "give each value once")
    return GridAxis(path, tuple(values))


def _of_text(text: str) -> GridAxis:
    """Return the axis of ``KEY=VALUE,VALUE``; values are TOML, and words that are none are texts."""
    key, equals, values = text.partition("=")
    if not equals or not key.strip() or not values.strip():
        raise CallerError(
            Reason.USAGE,
            f"--set {text} is not KEY=VALUE,VALUE",
            hint="such as --set train.learning_rate=0.001,0.003",
        )
    try:
        found = list(_axes(from_toml(f"{key} = [{values}]"), "--set"))
    except (msgspec.DecodeError, UnicodeDecodeError):
        found = _of_words(key, values)
    if len(found) != 1:
        raise CallerError(Reason.USAGE, f"--set {text} is not one key", hint="give --set once for each key")
    return found[0]


def _of_words(key: str, values: str) -> list[GridAxis]:
    try:
        (path,) = [axis.path for axis in _axes(from_toml(f"{key} = [0]"), "--set")]
    except (msgspec.DecodeError, UnicodeDecodeError, ValueError):
        raise CallerError(
            Reason.USAGE, f"--set: {key!r} is no key", hint="such as train.learning_rate"
        ) from None
    return [_axis(path, [_word(piece.strip()) for piece in values.split(",")], "--set")]


def _word(piece: str) -> Any:
    try:
        return from_toml(f"value = {piece}")["value"]
    except (msgspec.DecodeError, UnicodeDecodeError):
        return piece


def _bad(text: str, hint: str) -> CallerError:
    return CallerError(Reason.CONFIG_BAD, text, hint=hint)
