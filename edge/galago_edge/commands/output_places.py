"""Whether a command will be able to write where it is told to, asked before hours of work."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path

from galago_edge.contract.errors import CallerError, Reason, disk_error
from galago_edge.host.file_replacement import new_name_beside
from galago_edge.host.former_output import refuse_link


def check_outputs(files: Mapping[str, Path | None], folders: Mapping[str, Path | None] | None = None) -> None:
    """Refuse places that nothing can be written to; nothing is left there.

    Args:
        files: Options and the files that they name; None where the option is not given. Their folder must be
            there.
        folders: Options and the folders that they name, which are made, with those above, where they are not.

    Raises:
        CallerError: USAGE; two options name one place. EXISTS; a folder is where a file shall be, or the
            other way round, or a device, or a link is where a file shall be.
        LinkError: NO_SPACE, READ_ONLY or IO; it cannot be written.
    """
    seen: dict[Path, str] = {}
    for option, path in [*files.items(), *(folders or {}).items()]:
        if path is None:
            continue
        try:
            place = path.resolve()
        except (OSError, RuntimeError):  # a circle of links: who writes says so
            place = path.absolute()
        if (other := seen.setdefault(place, option)) != option:
            raise CallerError(
                Reason.USAGE,
                f"{other} and {option} both name {path}, expected two places",
                hint=f"give {option} another one",
            )
    for path in files.values():
        if path is not None:
            refuse_link(path)
            _check_file(path)
    for path in (folders or {}).values():
        if path is not None:
            _check_folder(path)


def _check_file(path: Path) -> None:
    try:
        if path.exists() and not path.is_file():
            met = "a folder" if path.is_dir() else "a device or a pipe"
            raise CallerError(
                Reason.EXISTS, f"{path} is {met}, expected a file to write", hint="give the name of a file"
            )
        new_name_beside(path).exists()  # a name that is too long
        _try_in(path.parent)
    except OSError as error:
        raise disk_error(error, f"write {path}") from error


def _check_folder(path: Path) -> None:
    if path.is_symlink() and not path.exists():
        refuse_link(path)
    try:
        there = path.absolute()
        while not there.exists() and there != there.parent:
            there = there.parent
        if not there.is_dir():
            raise CallerError(
                Reason.EXISTS, f"{there} is a file, expected a folder", hint="give the name of a folder"
            )
        _try_in(there)
    except OSError as error:
        raise disk_error(error, f"write into {path}") from error


def _try_in(folder: Path) -> None:
    """Make a file in a folder and let it go; permission bits say nothing of a disk that is read-only."""
    with tempfile.TemporaryFile(dir=folder):
        pass
