"""Files and folders that are whole or absent: written beside their place, then moved there."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

import msgspec

from galago_edge.contract.decoding import from_json
from galago_edge.contract.errors import CallerError, InputError, Reason, disk_error
from galago_edge.contract.printable import unprintable
from galago_edge.host.file_replacement import Durable, replace_file
from galago_edge.host.former_output import OutputKind, refuse_other_kind

T = TypeVar("T")


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file so that a reader sees the old content or the new one, never a part.

    Raises:
        LinkError: NO_SPACE, READ_ONLY or IO; what was there before is untouched.
    """
    part = path.with_name(path.name + ".part")
    try:
        replace_file(path, content, durable=Durable.WHOLE, temporary=part)
    except OSError as error:
        raise disk_error(error, f"write {path}") from error


def refuse_existing(path: Path, kind: OutputKind, *, replace: bool) -> None:
    """Refuse to write over what somebody has made, and with ``replace`` over what is of another kind.

    Raises:
        CallerError: EXISTS.
        LinkError: It is there and cannot be read.
    """
    if not replace and path.exists():
        hint = "choose another with --out, or add --replace"
        raise CallerError(Reason.EXISTS, f"{path} exists, expected a new file", hint=hint)
    refuse_other_kind(path, kind)


def named_path(folder: Path, text: str) -> Path:
    r"""Return the path, from a folder, that ``printable`` made ``text`` of: names of files need not be UTF-8.

    A file whose name really is ``caf\xe9`` with a backslash wins.
    """
    path = folder / text
    return path if "\\x" not in text or path.exists() else folder / unprintable(text)


def write_json(path: Path, value: object) -> None:
    """Write a msgspec struct or plain data as indented JSON; same value, same bytes."""
    write_bytes(path, msgspec.json.format(msgspec.json.encode(value), indent=2) + b"\n")


def read_json(path: Path, type_: type[T], *, hint: str) -> T:
    """Read a JSON file that Galago wrote.

    Raises:
        InputError: RUN_BAD; the file is missing or is not what it should be.
    """
    try:
        return from_json(path.read_bytes(), type=type_)
    except FileNotFoundError:
        raise InputError(Reason.RUN_BAD, f"{path} does not exist", hint=hint) from None
    except OSError as error:
        raise disk_error(error, f"read {path}") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InputError(Reason.RUN_BAD, f"{path}: {error}", hint=hint) from None


@contextlib.contextmanager
def new_folder(path: Path, *, mark: str) -> Iterator[Path]:
    """Give an empty folder ``PATH.part`` that takes the place of ``path`` when the block ends well.

    When the block fails or is interrupted, the new folder goes and an existing ``path`` stays as it was.

    Args:
        path: Where the folder shall be.
        mark: A file that every such folder holds. An existing ``path`` without it is somebody else's.

    Raises:
        CallerError: EXISTS; ``path`` holds something that this function would not have written.
        LinkError: NO_SPACE, READ_ONLY or IO.
    """
    _refuse_foreign(path, mark)
    part = path.with_name(path.name + ".part")
    try:
        if part.exists():
            shutil.rmtree(part)  # left by a process that was killed
        part.mkdir(parents=True)
    except OSError as error:
        raise disk_error(error, f"create {part}") from error
    try:
        yield part
        _swap(part, path)
    except OSError as error:
        raise disk_error(error, f"write {path}") from error
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _refuse_foreign(path: Path, mark: str) -> None:
    if not path.exists():
        return
    if not path.is_dir() or (any(path.iterdir()) and not (path / mark).is_file()):
        raise CallerError(
            Reason.EXISTS,
            f"{path} exists and is not a folder that Galago wrote ({mark} is missing)",
            hint="choose another folder with --out, or move this one away",
        )


def _swap(part: Path, path: Path) -> None:
    old = path.with_name(path.name + ".old")
    if not path.exists():
        part.rename(path)
        return
    shutil.rmtree(old, ignore_errors=True)
    path.rename(old)
    try:
        part.rename(path)
    except OSError:
        old.rename(path)
        raise
    shutil.rmtree(old, ignore_errors=True)
