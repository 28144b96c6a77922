"""Typed TOML: bounds live in the type, unknown keys are refused, errors name file and key."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from galago_edge.contract.decoding import from_toml
from galago_edge.contract.errors import CallerError, Reason, disk_error
from galago_edge.host.small_file import NotPlainError, TooLongError, read_small
from galago_edge.host.table_faults import fault_in_words

T = TypeVar("T")

TOML_LIMIT_BYTES = 1 << 20
"""A longer file is no configuration, no profile and no list of devices."""


def load_toml(
    path: Path,
    type_: type[T],
    *,
    docs: str = "docs/configuration.md",
    edit: Callable[[Any], Any] | None = None,
) -> T:
    """Read ``path`` into the msgspec type ``type_``; ``docs`` is the page that explains its keys.

    ``edit`` may change the plain tables before they are checked. A pipe, a device or a file of more than
    ``TOML_LIMIT_BYTES`` is refused at once: whoever put it there must not hang or fill a device.

    Raises:
        CallerError: CONFIG_BAD; the file is no plain file, too long or not TOML, or has an unknown key or a
            value out of bounds.
        LinkError: The file cannot be read.
    """
    hint = f"see {docs} for every key"
    try:
        content = read_small(path, TOML_LIMIT_BYTES)
    except FileNotFoundError:
        raise CallerError(Reason.CONFIG_BAD, f"{path} does not exist", hint="check the path") from None
    except NotPlainError:
        text = f"{path} is no plain file, a TOML file is needed"
        raise CallerError(Reason.CONFIG_BAD, text, hint=hint) from None
    except TooLongError as error:
        raise CallerError(Reason.CONFIG_BAD, f"{path} has {error}", hint=hint) from None
    except OSError as error:
        raise disk_error(error, f"read {path}") from error
    try:
        tables = from_toml(content)
        tables = tables if edit is None else edit(tables)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise CallerError(Reason.CONFIG_BAD, f"{path}: {error}", hint=hint) from None
    try:
        return tables_as(type_, tables)
    except msgspec.ValidationError as error:
        raise CallerError(Reason.CONFIG_BAD, f"{path}: {error}", hint=hint) from None


def tables_as(type_: type[T], tables: Any) -> T:
    """Return plain tables as ``type_``.

    Raises:
        msgspec.ValidationError: What is wrong, with the table as it is written: ``[train]: expected ...``.
    """

    def read(given: Any) -> T:
        return msgspec.convert(given, type_)

    try:
        return read(tables)
    except msgspec.ValidationError as error:
        raise msgspec.ValidationError(fault_in_words(error, tables, type_, read)) from None
