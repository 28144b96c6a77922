"""Small files from somebody else: read without waiting, and never more than was expected."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path


class NotPlainError(Exception):
    """What lies there is no regular file."""


class TooLongError(Exception):
    """The file is longer than it may be; the text completes "PATH has ..."."""


def read_small(path: Path, limit: int) -> bytes:
    """Return the content of a regular file of at most ``limit`` bytes.

    A named pipe that nobody writes to, a device and a file of a terabyte are refused at once.

    Raises:
        NotPlainError: It is a pipe, a socket or a device.
        TooLongError: It has more than ``limit`` bytes.
        OSError: It cannot be read; IsADirectoryError for a folder.
    """
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)  # O_NONBLOCK: a pipe must not hang us
    try:
        status = os.fstat(fd)
        if stat.S_ISDIR(status.st_mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        if not stat.S_ISREG(status.st_mode):
            raise NotPlainError
        if status.st_size > limit:
            raise TooLongError(f"{status.st_size} bytes, at most {limit} are allowed")
        with os.fdopen(fd, "rb", closefd=False) as file:
            data = file.read(limit + 1)
    finally:
        os.close(fd)
    if len(data) > limit:  # it grows while it is read, or its length is not known (/proc)
        raise TooLongError(f"more than {limit} bytes, which are allowed")
    return data
