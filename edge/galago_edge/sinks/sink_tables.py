"""``galago.toml`` as tables, and the settings that they say: each sink's table is of that sink's own type."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import GenericAlias
from typing import Any

import msgspec

from galago_edge.contract.errors import DeviceError
from galago_edge.contract.settings import LoginTable, OwnTables, Settings
from galago_edge.host.table_faults import fault_in_words
from galago_edge.sinks.sink_kind import SINKS, SinkKind, kind_of, receiver_name


def settings_of(tables: Mapping[str, Any]) -> Settings:
    """Return the settings that plain tables say.

    A sink whose plug-in cannot be used has None in ``Settings.sinks``: the device goes on without it.

    Raises:
        msgspec.ValidationError: A table or a key that nobody knows, or a value out of bounds; in words.
    """
    kinds: dict[str, SinkKind] = {}
    unusable: set[str] = set()
    for name in tables:
        if name in OwnTables.__struct_fields__:
            continue
        try:
            kind = SINKS.find(name)
        except DeviceError:
            unusable.add(name)
        else:
            if kind is not None and _readable(kind, tables[name]):
                kinds[name] = kind
            elif kind is not None:
                unusable.add(name)
    whole = msgspec.defstruct(
        "Tables",
        [(name, _type(kind)) for name, kind in kinds.items()],
        bases=(OwnTables,),
        frozen=True,
        kw_only=True,
        forbid_unknown_fields=True,
    )

    def convert(given: Any) -> Any:
        return msgspec.convert(given, whole)

    usable = {name: table for name, table in tables.items() if name not in unusable}
    try:
        read = convert(usable)
    except msgspec.ValidationError as error:
        raise msgspec.ValidationError(fault_in_words(error, usable, whole, convert, SINKS.names())) from None
    own = {name: getattr(read, name) for name in OwnTables.__struct_fields__}
    sinks: dict[str, Any] = {}
    for name in sorted(tables):
        if name in kinds:
            for each in _each(getattr(read, name)):
                if (called := receiver_name(name, each)) in sinks:
                    raise msgspec.ValidationError(f"two are called {called}; give each [[{name}]] a name")
                sinks[called] = each
        elif name in unusable:
            sinks[name] = None
    return Settings(**own, sinks=sinks)


def _type(kind: SinkKind) -> Any:
    """Return what a sink's table may be: one, or where there may be several, also an array of tables."""
    if not kind.several:
        return kind.settings
    return kind.settings | GenericAlias(tuple, (kind.settings, ...))


def _each(tables: Any) -> tuple[Any, ...]:
    return tables if isinstance(tables, tuple) else (tables,)


def _readable(kind: SinkKind, table: Any) -> bool:
    """Tell whether a sink's settings can be read at all; what is wrong in them is told with its place."""
    try:
        msgspec.convert(table, _type(kind))
    except msgspec.ValidationError:
        return True
    except (Exception, SystemExit):  # noqa: BLE001 (a plug-in's own type: the other sinks go on)
        return False
    return True


def anchored(sinks: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Return the sinks' settings with relative paths that start at ``folder``."""
    return {name: _anchored(name, settings, folder) for name, settings in sinks.items()}


def _anchored(name: str, settings: Any, folder: Path) -> Any:
    if isinstance(settings, LoginTable) and settings.password_file:
        settings = msgspec.structs.replace(settings, password_file=str(folder / settings.password_file))
    kind = kind_of(name) if settings is not None else None
    if kind is None or not (kind.paths or kind.reads or kind.anchor):
        return settings
    try:
        settings = kind.anchor(settings, folder) if kind.anchor else settings
        given = {key: getattr(settings, key) for key in (*kind.paths, *kind.reads)}
        return msgspec.structs.replace(
            settings, **{key: str(folder / path) for key, path in given.items() if path}
        )
    except (AttributeError, TypeError):  # a plug-in that names what is no path: the other sinks go on
        return None
