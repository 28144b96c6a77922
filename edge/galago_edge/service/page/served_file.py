"""Pictures and sounds of events, as the page serves them: from the disk in pieces, whole or a part."""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from galago_edge.contract.attachment import FOLDER, SUFFIXES, is_attachment
from galago_edge.contract.errors import NotOwnError
from galago_edge.host.own_folders import open_file

OpenAttached = Callable[[str], BinaryIO | None]
"""Opens an attachment by its name; None when there is no such one. Raises OSError when it cannot be read."""

POLICY = "default-src 'none'; img-src 'self'; media-src 'self'; style-src 'unsafe-inline'; sandbox"
"""For a file that a visitor opens alone: whatever it holds, it does nothing. The styles are the browser's."""
CACHED = "private, max-age=86400, immutable"
"""A name never stands for another file; only the visitor's own browser keeps it, and for a day."""

_MEDIA_TYPES = {suffix: media_type for media_type, suffix in SUFFIXES.items()}
_RANGE = re.compile(r"bytes[ \t]*=[ \t]*([0-9]{0,18})-([0-9]{0,18})[ \t]*")


@dataclass(frozen=True, slots=True)
class AttachedPart:
    """What of a file goes out. The file stands at its first byte, and whoever has this closes it."""

    file: BinaryIO
    length: int
    """Bytes."""
    media_type: str
    place: str = ""
    """Where in the file it is, as ``Content-Range`` says it; empty for the whole."""


class UnsatisfiableError(Exception):
    """The part that was asked for lies behind the end; the text is for ``Content-Range``."""


def attached_files(root: Path) -> OpenAttached:
    """Return what opens the attachments below this store.

    Nothing is opened but a plain file of that folder that is called like an attachment; no link is followed.
    """

    def open_attached(name: str) -> BinaryIO | None:
        if not is_attachment(name):
            return None
        try:
            # O_NONBLOCK: a pipe must not hang us
            fd = open_file(root / FOLDER / name, os.O_RDONLY | os.O_NONBLOCK, (root,))
        except (FileNotFoundError, NotOwnError):
            return None
        except OSError as error:
            if error.errno == errno.ENXIO:  # a socket
                return None
            raise
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            os.close(fd)
            return None
        return os.fdopen(fd, "rb")

    return open_attached


def attached_part(file: BinaryIO, name: str, wanted: str, condition: str) -> AttachedPart:
    """Return what of an open file answers the headers ``Range`` and ``If-Range``; both may be empty.

    One range of bytes is understood, which is what players ask for; of any other the whole is sent. So is it
    under any condition, because no answer of ours names a version that a condition could be about.

    Raises:
        UnsatisfiableError: The range lies behind the end. The file is closed.
        OSError: The file cannot be read. It is closed.
    """
    try:
        size = os.fstat(file.fileno()).st_size
        media_type = _MEDIA_TYPES[Path(name).suffix]
        span = None if condition else _span(wanted, size)
        if span is None:
            return AttachedPart(file, size, media_type)
        first, last = span
        if last < first:
            raise UnsatisfiableError(f"bytes */{size}")
        file.seek(first)
        return AttachedPart(file, last - first + 1, media_type, f"bytes {first}-{last}/{size}")
    except BaseException:  # an interruption, too, must leave no file open
        file.close()
        raise


def _span(wanted: str, size: int) -> tuple[int, int] | None:
    """Return the first and the last byte of a range; None when it is none, or more than one."""
    found = _RANGE.fullmatch(wanted)
    if found is None or not (found[1] or found[2]):
        return None
    if not found[1]:  # the last so many
        return max(0, size - int(found[2])), size - 1
    first = int(found[1])
    if not found[2]:
        return first, size - 1
    last = int(found[2])
    return (first, min(last, size - 1)) if first <= last else None
