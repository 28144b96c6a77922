"""Files and folders that are whole or absent: written beside their place, then moved there."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

import msgspec

from galago_edge.contract.decoding import from_json
from galago_edge.contract.errors import CallerError, InputError, Reason, disk_error
from galago_edge.contract.printable import unprintable
from galago_edge.host.file_replacement import Durable, replace_file
from galago_edge.host.former_output import OutputKind, refuse_link, refuse_other_kind

T = TypeVar("T")


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file so that a reader sees the old content or the new one, never a part.

    Raises:
        LinkError: NO_SPACE, READ_ONLY or IO; what was there before is untouched.
    """
    try:
        replace_file(path, content, durable=Durable.WHOLE)
    except OSError as error:
        raise disk_error(error, f"write {path}") from error


def refuse_existing(path: Path, kind: OutputKind, *, replace: bool) -> None:
    """Refuse to write over what somebody has made, and with ``replace`` over what is of another kind.

    Raises:
        CallerError: EXISTS; a link is never written over.
        LinkError: It is there and cannot be read.
    """
    refuse_link(path)
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
    """Give an empty folder that takes the place of ``path`` when the block ends well.

    Until then it has a hidden name beside it, ``.NAME.HOST.PROCESS.NUMBER.part``, which nobody else has. When
    the block fails or is interrupted, it goes and an existing ``path`` stays as it was; what a process of
    this host that was killed left of the same folder goes at the next call.

    Args:
        path: Where the folder shall be.
        mark: A file that every such folder holds. An existing ``path`` without it is somebody else's.

    Raises:
        CallerError: EXISTS; ``path`` holds something that this function would not have written, or is a link.
        LinkError: NO_SPACE, READ_ONLY or IO.
    """
    _refuse_foreign(path, mark)
    _clear(path)
    part = _aside(path, "part")
    try:
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


def process_here() -> tuple[str, str]:
    """Return host and process, for names; no dot is in either, which separates them there."""
    return socket.gethostname().replace(".", "-").replace("/", "-") or "host", str(os.getpid())


def is_gone(host: str, pid: str) -> bool:
    """Tell whether the process that was called so was one of this host, and has ended."""
    return host == process_here()[0] and pid.isdigit() and not Path(f"/proc/{pid}").exists()


def _aside(path: Path, ending: str) -> Path:
    host, pid = process_here()
    return path.with_name(f".{path.name}.{host}.{pid}.{secrets.token_hex(4)}.{ending}")


_ASIDE = re.compile(r"(?P<host>[^.]+)\.(?P<pid>[0-9]+)\.[0-9a-f]{8}\.part")


def _clear(path: Path) -> None:
    """Remove what processes of this host that are gone left half-written of a folder."""
    begin = f".{path.name}."
    with contextlib.suppress(OSError):  # no such folder above: it is made
        for entry in list(path.parent.iterdir()):
            found = _ASIDE.fullmatch(entry.name.removeprefix(begin)) if entry.name.startswith(begin) else None
            if found is not None and is_gone(**found.groupdict()):
                shutil.rmtree(entry, ignore_errors=True)  # which follows no link


def refuse_folder_place(path: Path) -> None:
    """Refuse a place in which no folder can be put in one step: a link, or the folder one is in (``.``).

    Raises:
        CallerError: EXISTS.
    """
    refuse_link(path)
    if path.name in ("", ".."):
        raise CallerError(
            Reason.EXISTS,
            f"{path} is a folder that is in use, expected the name of a new one; nothing was written",
            hint="give the name of a folder in it",
        )


def _refuse_foreign(path: Path, mark: str) -> None:
    refuse_folder_place(path)
    if not path.exists():
        return
    if not path.is_dir() or (any(path.iterdir()) and not (path / mark).is_file()):
        raise CallerError(
            Reason.EXISTS,
            f"{path} exists and is not a folder that Galago wrote ({mark} is missing)",
            hint="choose another folder with --out, or move this one away",
        )


def _swap(part: Path, path: Path) -> None:
    if not path.exists():
        part.rename(path)
        return
    old = _aside(path, "old")
    path.rename(old)
    try:
        part.rename(path)
    except OSError:
        old.rename(path)
        raise
    shutil.rmtree(old, ignore_errors=True)
