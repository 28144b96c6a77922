"""Every failure an operator can act on, as a tree by who has to act.

```
GalagoError
├── BundleError    the bundle is wrong        exit 1
├── DeviceError    this device is wrong       exit 1   (BusyError: exit 5)
├── ModelError     the trained model is wrong exit 1
├── InputError     a recording or data set is wrong    exit 1
├── LinkError      transport, disk or source I/O       exit 3
└── CallerError    the call or its config is wrong     exit 2
```

A message says what was met and what was expected; ``hint`` says what to do, also below a traceback.
"""

from __future__ import annotations

import copyreg
import enum
import errno
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from galago_edge.contract.printable import on_one_line


class Reason(enum.StrEnum):
    """Stable codes: programs may depend on them, so none is ever renamed or reused."""

    @staticmethod
    def _generate_next_value_(name: str, start: int, count: int, last_values: list[str]) -> str:
        return name  # the code is the name, in capitals, in logs and JSON alike

    # bundle
    SIG_MISSING = enum.auto()
    SIG_BAD = enum.auto()
    KEY_UNKNOWN = enum.auto()
    KEY_REVOKED = enum.auto()
    KEY_IN_USE = enum.auto()
    CHANNEL_MISMATCH = enum.auto()
    TAMPER_MISSED = enum.auto()
    MANIFEST_BAD = enum.auto()
    ARCHIVE_BAD = enum.auto()
    FILE_HASH = enum.auto()
    FILE_EXTRA = enum.auto()
    TRUNCATED = enum.auto()
    TOO_BIG = enum.auto()
    LABELS_MISMATCH = enum.auto()
    TENSOR_MISMATCH = enum.auto()
    PREPROCESS_MISMATCH = enum.auto()
    MODEL_BAD = enum.auto()
    GOLDEN_FAIL = enum.auto()
    LOAD_CRASH = enum.auto()
    LOAD_TIMEOUT = enum.auto()
    MEMORY = enum.auto()
    # device
    PROFILE_MISMATCH = enum.auto()
    UNREACHABLE = enum.auto()
    ARCH = enum.auto()
    RUNTIME_OLD = enum.auto()
    RUNTIME_MISSING = enum.auto()
    OP_UNSUPPORTED = enum.auto()
    EXTRA_MISSING = enum.auto()
    PLUGIN_BAD = enum.auto()
    ACCELERATOR_FAILED = enum.auto()
    DOWNGRADE = enum.auto()
    REPLAY = enum.auto()
    COUNTER_JUMP = enum.auto()
    TRIAL_FAILED = enum.auto()
    NO_FALLBACK = enum.auto()
    NO_BUNDLE = enum.auto()
    STATE_BAD = enum.auto()
    LOCKED = enum.auto()
    HUNG = enum.auto()
    TOO_SLOW = enum.auto()
    CONSTANT_ANSWER = enum.auto()
    MEMORY_LIMIT = enum.auto()
    ENVIRONMENT_MISMATCH = enum.auto()
    # link and disk
    NO_SPACE = enum.auto()
    READ_ONLY = enum.auto()
    IO = enum.auto()
    NOT_OWN = enum.auto()
    PERMISSION = enum.auto()
    TRANSPORT = enum.auto()
    SOURCE_MISSING = enum.auto()
    SOURCE_LOST = enum.auto()
    SERVICE_SILENT = enum.auto()
    WORKER_LOST = enum.auto()
    # input
    IMAGE_UNREADABLE = enum.auto()
    IMAGE_TOO_BIG = enum.auto()
    AUDIO_UNREADABLE = enum.auto()
    AUDIO_TRUNCATED = enum.auto()
    VIDEO_UNREADABLE = enum.auto()
    VIDEO_TRUNCATED = enum.auto()
    TIMES_BAD = enum.auto()
    RECORDING_UNREADABLE = enum.auto()
    SOURCE_MISMATCH = enum.auto()
    SOURCE_TOO_SHORT = enum.auto()
    CLASS_EMPTY = enum.auto()
    CLASS_SINGLE = enum.auto()
    LABELS_REPEAT = enum.auto()
    DATA_BAD = enum.auto()
    RUN_BAD = enum.auto()
    WEIGHTS_BAD = enum.auto()
    # model
    OP_NOT_INT8 = enum.auto()
    FLOAT_INSIDE = enum.auto()
    INT8_LOSS = enum.auto()
    CALIBRATION_BAD = enum.auto()
    EXPORT_FAILED = enum.auto()
    MODEL_DOUBTFUL = enum.auto()
    TRAIN_CRASHED = enum.auto()
    TRAIN_MEMORY = enum.auto()
    # caller
    USAGE = enum.auto()
    CONFIG_BAD = enum.auto()
    KEY_BAD = enum.auto()
    TARGET_UNKNOWN = enum.auto()
    EXISTS = enum.auto()
    WEIGHTS_MISSING = enum.auto()
    # the demo
    STEP_FAILED = enum.auto()
    BAR_MISSED = enum.auto()


class GalagoError(Exception):
    """Base of every failure an operator can act on; becomes one line, a hint and an exit code."""

    exit_code = 1

    def __init__(self, reason: Reason, message: str, *, hint: str = "") -> None:
        super().__init__(on_one_line(message))
        self.reason = reason
        self.hint = on_one_line(hint)

    def __reduce__(self) -> tuple[Any, ...]:
        # subclasses take other arguments than the message, which is all that an exception repeats by itself
        return copyreg.__newobj__, (type(self), *self.args), self.__dict__  # type: ignore[attr-defined]

    @property
    def line(self) -> str:
        """What was met and what was expected, with the code behind it: the one line that people read.

        >>> LinkError(Reason.IO, "the disk is gone").line
        'the disk is gone [IO]'
        """
        return f"{self} [{self.reason}]"

    def as_data(self, *, with_exit: bool = False) -> dict[str, str | int]:
        """Return the same for programs; ``with_exit``: with the exit code of the command that it ends.

        >>> BusyError(Reason.LOCKED, "it is in use", hint="wait").as_data(with_exit=True)
        {'reason': 'LOCKED', 'message': 'it is in use', 'hint': 'wait', 'exit': 5}
        """
        data: dict[str, str | int] = {"reason": str(self.reason), "message": str(self), "hint": self.hint}
        return data | ({"exit": self.exit_code} if with_exit else {})

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> Self:
        """Return what :meth:`as_data` told of, as an error of this class and with the exit code, if told.

        >>> LinkError.from_data({"reason": "IO", "message": "the disk is gone", "hint": ""}).line
        'the disk is gone [IO]'

        Raises:
            KeyError: Something is missing.
            ValueError: This version knows no such code.
        """
        error = cls(Reason(data["reason"]), data["message"], hint=data["hint"])
        if "exit" in data:
            error.exit_code = data["exit"]
        return error


class BundleError(GalagoError):
    """The bundle is not one, was changed, or contradicts itself."""


class DeviceError(GalagoError):
    """This device cannot take or run the bundle."""


class BusyError(DeviceError):
    """Somebody else holds the store."""

    exit_code = 5


class ModelError(GalagoError):
    """A trained or converted model does not meet what Galago promises."""


class InputError(GalagoError):
    """A recording, an image or a data set is not what it should be."""


class LinkError(GalagoError):
    """A transport, a disk or a source failed."""

    exit_code = 3


class CallerError(GalagoError):
    """The command or its configuration asks for something that does not exist."""

    exit_code = 2


class NotOwnError(OSError):
    """Something below a store is not the store's own, and nothing is done with it; ELOOP for who asks."""

    def __init__(self, path: Path, what: str) -> None:
        super().__init__(errno.ELOOP, f"{path} {what}")


_DISK_REASONS = {
    errno.ENOSPC: (Reason.NO_SPACE, "free some space and run the command again"),
    errno.EDQUOT: (Reason.NO_SPACE, "free some space or raise the quota, then run the command again"),
    errno.EROFS: (Reason.READ_ONLY, "mount the file system writable or choose another folder"),
    errno.EACCES: (Reason.IO, "check who owns the folder and its permissions"),
    errno.EPERM: (Reason.IO, "check who owns the folder and its permissions"),
}


_NUMBER = re.compile(r"\[Errno -?[0-9]+\] ")


def system_words(error: BaseException) -> str:
    """Return what the system said, in its words and without its number, which tells people nothing.

    >>> system_words(ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused"))
    'Connection refused'
    >>> system_words(FileNotFoundError(errno.ENOENT, "No such file or directory", "log.jsonl"))
    "No such file or directory: 'log.jsonl'"
    >>> system_words(TimeoutError())
    'TimeoutError'
    """
    return _NUMBER.sub("", " ".join(str(error).split())) or type(error).__name__


def disk_error(error: OSError, doing: str) -> LinkError:
    """Turn the system's error into ours. ``doing`` completes "could not ...".

    >>> str(disk_error(OSError(errno.ENOSPC, "No space left on device"), "write events.jsonl"))
    'could not write events.jsonl: No space left on device'
    """
    reason, hint = _DISK_REASONS.get(
        error.errno or 0, (Reason.IO, "check the path and the disk, then run the command again")
    )
    if isinstance(error, NotOwnError):
        reason, hint = Reason.NOT_OWN, "find out who put it there and remove it, then run the command again"
    return LinkError(reason, f"could not {doing}: {error.strerror or system_words(error)}", hint=hint)
