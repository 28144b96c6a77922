"""What is wrong in the tables of a TOML file, in the words of who wrote it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgspec
from msgspec import inspect

from galago_edge.contract.known_names import did_you_mean

_PLACE = re.compile(r" - at (?P<key>`key` in )?`\$(?P<path>[^`]*)`\Z")
_STEP = re.compile(r"\.(?P<key>[^.\[\]]+)|\[(?P<number>\d+)\]|(?P<any>\[\.\.\.\])")
_UNKNOWN = re.compile(r"Object contains unknown field `(?P<key>.*)`", re.DOTALL)
_MISSING = re.compile(r"Object missing required field `(?P<key>.*)`", re.DOTALL)

_OTHER = re.compile(r"Invalid (enum )?value (?P<value>.*)", re.DOTALL)
_TYPE = re.compile("`([^`]*)`")
_TYPES = {
    "int": "a whole number",
    "float": "a number",
    "str": "a text",
    "bool": "true or false",
    "array": "a list",
    "object": "a table",
}

_Path = tuple[str | int, ...]


def fault_in_words(
    error: msgspec.ValidationError,
    tables: Mapping[str, Any],
    type_: Any,
    read: Callable[[Any], Any],
    known: Iterable[str] = (),
) -> str:
    """Return what ``error`` says of ``tables``, with the table as it is written: ``[source.door]``.

    ``type_`` is what the tables were to be, ``read`` what raised the error; it is called again to find which
    of several equal tables is wrong, for msgspec does not tell. ``known``: names of tables beside those that
    ``type_`` has.
    """
    text = str(error)
    place = _PLACE.search(text)
    said = text[: place.start()] if place else text
    of_key = place is not None and place["key"] is not None
    path = _path((place["path"] if place else "") + "[...]" * of_key, text, tables, read)
    where = _shown(path, tables)
    if unknown := _UNKNOWN.fullmatch(said):
        names = [*_settings(type_, path), *(() if path else known)]
        what = f"has no {'setting' if where else 'table or setting'} {unknown['key']!r}"
        return f"{where or 'it'} {what}{did_you_mean(unknown['key'], names)}"
    if missing := _MISSING.fullmatch(said):
        return f"{where or 'it'} lacks {missing['key']}, which must be given"
    if (other := _OTHER.fullmatch(said)) and (choices := _choices(type_, path)):
        said = f"{other['value']} is none of {', '.join(choices)}"
    if once := _brackets(path, tables, type_, said):
        return once
    said = _in_words(said, inspect.type_info(type_), path, of_key=of_key)
    where = f"the name of {where}" if of_key else where
    return f"{where}: {said}" if where else said


def _brackets(path: _Path, tables: Mapping[str, Any], type_: Any, said: str) -> str:
    """Return what to say of ``[[one]]`` where there is ``[one]``, and the other way round; else nothing."""
    if len(path) != 1 or not said.startswith("Expected `") or ", got `" not in said:
        return ""
    name, given = path[0], tables.get(str(path[0]))
    wanted = said.partition(", got `")[0]
    if isinstance(given, list) and all(isinstance(each, dict) for each in given) and "object" in wanted:
        return f"[{name}] can be there only once: write [{name}], not [[{name}]]"
    if isinstance(given, dict) and "array" in wanted:
        return f"[[{name}]] may be there several times: write [[{name}]], not [{name}]"
    return ""


def _in_words(said: str, type_: Any, path: _Path, *, of_key: bool) -> str:
    """Return what msgspec says in words: those of the type itself, where it has some."""
    described, example = "", ""
    steps = path[:-1] if of_key else path
    for number, step in enumerate((None, *steps)):
        type_ = type_ if step is None else _inner(type_, step)
        if isinstance(step, str):
            example = ""
        if found := next((each for each in _described(type_) if each.get("examples")), None):
            example = f"; such as {steps[number - 1]} = {found['examples'][0]}"
    if of_key:
        type_ = next(
            (each.key_type for each in _each_type(type_) if isinstance(each, inspect.DictType)), None
        )
    wanted, comma, got = said.removeprefix("Expected ").partition(", got ")
    if not said.startswith("Expected "):
        return said
    if not comma and (found := next((each for each in _described(type_) if each.get("description")), None)):
        described = found["description"]  # of its bounds: of another kind of value the kind is told
    return _plain(f"expected {described or wanted}{comma}{got}") + example


def _described(type_: Any) -> list[dict[str, Any]]:
    """Return what the settings say of a type beside its bounds."""
    found: list[dict[str, Any]] = []
    for each in type_.types if isinstance(type_, inspect.UnionType) else (type_,):
        if isinstance(each, inspect.Metadata):
            found += [each.extra_json_schema or {}, *_described(each.type)]
    return found


def _plain(said: str) -> str:
    """Return a sentence with the names of types as people call them."""

    def names(found: re.Match[str]) -> str:
        # that nothing may stand there is no help
        types = [one for one in found[1].split(" | ") if one != "null"] or ["null"]
        return " or ".join(_TYPES.get(one, one) for one in types)

    return _TYPE.sub(names, said)


def _path(text: str, told: str, tables: Mapping[str, Any], read: Callable[[Any], Any]) -> _Path:
    """Return the keys and numbers that lead to the fault; ``[...]``, any key, is looked for."""
    path: _Path = ()
    for step in _STEP.finditer(text):
        if step["any"] is None:
            path += (step["key"] if step["number"] is None else int(step["number"]),)
            continue
        table = _at(tables, path)
        for key in table if isinstance(table, dict) else range(len(table)):
            alone = {key: table[key]} if isinstance(table, dict) else [table[key]]
            try:
                read(_with(tables, path, alone))
            except (msgspec.ValidationError, ValueError) as error:
                if _kind(str(error)) == _kind(told):
                    path += (key,)
                    break
        else:
            return path
    return path


def _kind(text: str) -> str:
    """Return the text of an error without numbers of places, which change when others are left out."""
    return re.sub(r"\[\d+\]", "[...]", text)


def _at(tables: Any, path: _Path) -> Any:
    for step in path:
        tables = tables[step]
    return tables


def _with(tables: Any, path: _Path, value: Any) -> Any:
    """Return ``tables`` with ``value`` at ``path``."""
    if not path:
        return value
    inner = _with(tables[path[0]], path[1:], value)
    if isinstance(tables, dict):
        return {**tables, path[0]: inner}
    return [inner if number == path[0] else each for number, each in enumerate(tables)]


def _shown(path: _Path, tables: Any) -> str:
    """Return the place as it is written: the table in brackets, then what in it."""
    depth = len(path)
    while depth and not isinstance(_found(tables, path[:depth]), dict):
        depth -= 1
    table, within = path[:depth], path[depth:]
    words = ""
    if len(table) > 1 and isinstance(table[1], int):
        one = _at(tables, table[:2])
        name = one.get("name")
        called = name if isinstance(name, str) else f"number {table[1] + 1}"
        words = f"[[{table[0]}]] {called}"
        if table[2:]:
            words += f": [{'.'.join(map(str, (table[0], *table[2:])))}]"
    elif table:
        words = f"[{'.'.join(map(str, table))}]"
    inside = ".".join(str(step) for step in within if isinstance(step, str))
    return f"{words} {inside}".strip()


def _found(tables: Any, path: _Path) -> Any:
    try:
        return _at(tables, path)
    except (KeyError, IndexError, TypeError):
        return None


def _settings(type_: Any, path: _Path) -> list[str]:
    """Return what the table at ``path`` may hold."""
    found = inspect.type_info(type_)
    for step in path:
        found = _inner(found, step)
    struct = _struct(found)
    return [] if struct is None else [field.encode_name for field in struct.fields]


def _choices(type_: Any, path: _Path) -> list[str]:
    """Return the texts of which the value at ``path`` must be one; none where it may be another."""
    found, table = inspect.type_info(type_), None
    for step in path:
        found, table = _inner(found, step), found
    kinds = [each for each in _each_type(table) if isinstance(each, inspect.StructType)]
    if tags := [str(each.tag) for each in kinds if path and each.tag_field == path[-1]]:
        return tags
    literals = [each for each in _each_type(found) if isinstance(each, inspect.LiteralType)]
    return [str(value) for each in literals for value in each.values]


def _each_type(found: Any) -> tuple[Any, ...]:
    """Return the alternatives of a type, without what is said about them."""
    if isinstance(found, inspect.Metadata):
        return _each_type(found.type)
    if isinstance(found, inspect.UnionType):
        return tuple(each for one in found.types for each in _each_type(one))
    return (found,)


def _inner(found: Any, step: str | int) -> Any:
    """Return the type behind one step."""
    for each in _each_type(found):
        if isinstance(each, inspect.StructType) and isinstance(step, str):
            return next((field.type for field in each.fields if field.encode_name == step), None)
        if isinstance(each, inspect.DictType):
            return each.value_type
        if isinstance(each, inspect.VarTupleType | inspect.ListType) and isinstance(step, int):
            return each.item_type
    return None


def _struct(found: Any) -> inspect.StructType | None:
    return next((each for each in _each_type(found) if isinstance(each, inspect.StructType)), None)
