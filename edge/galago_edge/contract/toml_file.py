"""Typed TOML: bounds live in the type, unknown keys are refused, errors name file and key."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from galago_edge.contract.errors import CallerError, Reason, disk_error

T = TypeVar("T")


def load_toml(
    path: Path,
    type_: type[T],
    *,
    docs: str = "docs/configuration.md",
    edit: Callable[[Any], Any] | None = None,
) -> T:
    """Read ``path`` into the msgspec type ``type_``; ``docs`` is the page that explains its keys.

    ``edit`` may change the plain tables before they are checked.

    Raises:
        CallerError: CONFIG_BAD; the file is not TOML, has an unknown key or a value out of bounds.
        LinkError: The file cannot be read.
    """
    try:
        text = path.read_bytes()
    except FileNotFoundError:
        raise CallerError(Reason.CONFIG_BAD, f"{path} does not exist", hint="check the path") from None
    except OSError as error:
        raise disk_error(error, f"read {path}") from error
    try:
        if edit is None:
            return msgspec.toml.decode(text, type=type_)
        return msgspec.convert(edit(msgspec.toml.decode(text)), type_)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        # msgspec's own text already names the key (``$.train.epochs``) and what it expected
        raise CallerError(Reason.CONFIG_BAD, f"{path}: {error}", hint=f"see {docs} for every key") from None
