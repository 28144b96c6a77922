"""One training of a sweep: what is ordered, how it ended, and whether it is there already."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import msgspec

from galago_edge.contract.errors import BusyError, DeviceError, GalagoError, Reason, disk_error
from galago_workstation.environment import training_software
from galago_workstation.files import read_json
from galago_workstation.run_folder import CONFIG_FILE, MODEL_FILE, RUN_FILE, RunRecord


class SweepOrder(msgspec.Struct, frozen=True, kw_only=True):
    """A training, with absolute places; names of files are bytes, and need not be UTF-8."""

    name: str
    config_sha256: str
    """By which it is known whether a run is this one."""
    config_bytes: bytes
    out_bytes: bytes
    root_bytes: bytes
    """What paths in the configuration are relative to."""
    software: str
    """Versions with which it is to be trained: other ones would train another network."""
    tensorboard_bytes: bytes = b""
    """Folder of event files; empty for none."""
    fresh: bool = False
    """Train, whatever is there."""

    @classmethod
    def of(
        cls,
        name: str,
        config_sha256: str,
        *,
        config: Path,
        out: Path,
        root: Path,
        tensorboard: Path | None = None,
        fresh: bool,
    ) -> SweepOrder:
        """Return the order for these places, which are made absolute."""
        return cls(
            name=name,
            config_sha256=config_sha256,
            config_bytes=os.fsencode(config.absolute()),
            out_bytes=os.fsencode(out.absolute()),
            root_bytes=os.fsencode(root.absolute()),
            software=training_software(),
            tensorboard_bytes=b"" if tensorboard is None else os.fsencode(tensorboard.absolute()),
            fresh=fresh,
        )

    @property
    def config(self) -> Path:
        """The configuration."""
        return Path(os.fsdecode(self.config_bytes))

    @property
    def out(self) -> Path:
        """The run folder."""
        return Path(os.fsdecode(self.out_bytes))

    @property
    def root(self) -> Path:
        """What paths in the configuration are relative to."""
        return Path(os.fsdecode(self.root_bytes))

    @property
    def tensorboard(self) -> Path | None:
        """Folder of event files."""
        return Path(os.fsdecode(self.tensorboard_bytes)) if self.tensorboard_bytes else None

    def check_software(self) -> None:
        """Refuse to train with other versions than those of who orders.

        Raises:
            DeviceError: ENVIRONMENT_MISMATCH.
        """
        if (here := training_software()) != self.software:
            raise DeviceError(
                Reason.ENVIRONMENT_MISMATCH,
                f"this worker trains with {here}, the sweep is of {self.software}",
                hint="install the same versions of galago on every worker",
            )


class SweepOutcome(msgspec.Struct, frozen=True, kw_only=True):
    """How an order ended; well unless there is an error."""

    name: str
    error: dict[str, str | int] | None = None
    """As ``GalagoError.as_data``."""

    @classmethod
    def failed(cls, name: str, error: GalagoError) -> SweepOutcome:
        """Return the outcome of a training that ended with an error."""
        return cls(name=name, error=error.as_data(with_exit=True))


def whole_run(out: Path, config_sha256: str) -> RunRecord | None:
    """Return the record of a run that was trained with this very configuration; None where there is none.

    One that somebody ended before its time is none: what it would have come to is not known.
    """
    try:
        record = read_json(out / RUN_FILE, RunRecord, hint="")
    except GalagoError:
        return None
    files = all((out / name).is_file() for name in (CONFIG_FILE, MODEL_FILE))
    judged = record.result.validation_balanced is not msgspec.UNSET
    whole = files and judged and not record.result.interrupted
    return record if whole and record.config_sha256 == config_sha256 else None


@contextlib.contextmanager
def sole_training(order: SweepOrder) -> Iterator[None]:
    """Let nobody else train this run for as long as the block lasts.

    What a training that was ended half-way left of its new folder goes; what it goes on from stays.

    Raises:
        BusyError: LOCKED; somebody does.
        LinkError: The configuration's file cannot be opened or locked.
    """
    with _locked(order):
        try:
            yield
        finally:
            shutil.rmtree(order.out.with_name(order.out.name + ".part"), ignore_errors=True)


def _locked(order: SweepOrder) -> BinaryIO:
    """Return the configuration's open file, which holds a lock until it is closed."""
    try:
        file = order.config.open("r+b")  # writable: network file systems lock no others
    except OSError as error:
        raise disk_error(error, f"open {order.config}") from error
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BaseException as error:  # an interruption, too, must leave no file open
        file.close()
        if isinstance(error, BlockingIOError):
            raise BusyError(
                Reason.LOCKED,
                f"{order.name} is being trained by another sweep",
                hint="wait for it; the same command then finds its run",
            ) from None
        if isinstance(error, OSError):
            raise disk_error(error, f"lock {order.config}") from error
        raise
    return file
