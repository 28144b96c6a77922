"""Raw samples on a pipe: signed 16-bit little-endian, one channel. It cannot hang, so it needs no child."""

from __future__ import annotations

import os
import select
import stat
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from galago_edge.contract.errors import CallerError, LinkError, Reason, disk_error
from galago_edge.contract.settings import SourceSettings
from galago_edge.contract.streams import NS_PER_S, AudioBlock, samples_to_ns
from galago_edge.sources.source_kind import Address
from galago_edge.sources.standard_input import check_raw

_BYTES = 2
_READ_BYTES = 65_536  # what a pipe holds
_BLOCKS_PER_S = 50
_AHEAD_NS = 2 * NS_PER_S
"""A recorder may hand over what it had buffered; a writer that is further ahead of the clock can wait."""


class PipeCapture:
    """A FIFO, until its writer closes it.

    A writer that is ahead of the clock (``ffmpeg``, ``cat``) is read at the pace of the declared rate, so
    that nothing of it is lost. ``AudioBlock.captured_ns`` is the system's monotonic clock at the first sample
    if the last one has just been written.
    """

    def __init__(
        self,
        address: Address,
        settings: SourceSettings,
        rate_hz: int | None,
        *,
        clock_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        """Open the pipe and wait until somebody writes, at most ``settings.open_s``.

        Raises:
            LinkError: SOURCE_MISSING; there is no such pipe, or nobody writes to it.
                SOURCE_MISMATCH; what comes is a sound file, not raw samples.
            CallerError: CONFIG_BAD; neither ``?rate=`` nor ``rate_hz`` is given.
        """
        declared = address.options.get("rate", rate_hz)
        if declared is None:
            raise CallerError(
                Reason.CONFIG_BAD,
                f"the rate of pipe {address.target} is not known",
                hint="pipe:...?rate=16000",
            )
        self._rate_hz = int(declared)
        self._clock_ns = clock_ns
        self._name = address.target
        self._fd = _fifo(Path(address.target))
        self._poll = select.poll()
        self._poll.register(self._fd, select.POLLIN)
        self._data = bytearray()
        self._position = 0
        self._start_ns: int | None = None
        try:
            self._wait_for_writer(settings.open_s)
        except BaseException:  # an interruption, too, must leave the pipe closed
            self.close()
            raise

    def description(self) -> dict[str, Any]:
        """Return the format that was declared for the pipe."""
        return {
            "kind": "pipe",
            "name": Path(self._name).name,
            "encoding": "s16",
            "channels": 1,
            "rate_hz": self._rate_hz,
        }

    def read(self, timeout_s: float) -> AudioBlock | None:
        """Return the samples that are there, at least 20 ms of them; None when too few came in time.

        Raises:
            LinkError: SOURCE_LOST; the writer closed the pipe, and everything before was given.
        """
        deadline_ns = self._clock_ns() + round(timeout_s * NS_PER_S)
        least = _BYTES * (self._rate_hz // _BLOCKS_PER_S)
        while len(self._data) < least:
            left_ns = deadline_ns - self._clock_ns()
            ahead_ns = self._ahead_ns()
            if ahead_ns > 0:
                if left_ns <= 0:
                    return None
                time.sleep(min(ahead_ns, left_ns) / NS_PER_S)
                continue
            if not self._poll.poll(max(0.0, left_ns / 1_000_000)):
                return None
            if not self._take():
                if len(self._data) >= _BYTES:
                    break
                raise self._lost()
        return self._block()

    def close(self) -> None:
        """Close it. May be called twice."""
        if self._fd >= 0:
            os.close(self._fd)
        self._fd = -1

    def _wait_for_writer(self, open_s: float) -> None:
        deadline = time.monotonic() + open_s
        while len(self._data) < _BYTES:
            left_s = max(0.0, deadline - time.monotonic())
            if not self._poll.poll(left_s * 1_000) or not self._take():
                raise LinkError(
                    Reason.SOURCE_MISSING,
                    f"nobody writes to pipe {self._name}",
                    hint="start the recorder that writes raw signed 16-bit samples to it",
                )
        check_raw(bytes(self._data[:4]), LinkError)

    def _take(self) -> bool:
        """Read what is there; False at the end."""
        try:
            data = os.read(self._fd, _READ_BYTES)
        except BlockingIOError:
            return True
        except OSError as error:
            raise disk_error(error, f"read pipe {self._name}") from error
        self._data += data
        return bool(data)

    def _ahead_ns(self) -> int:
        if self._start_ns is None:
            return 0
        given_ns = samples_to_ns(self._position, self._rate_hz)
        return given_ns - (self._clock_ns() - self._start_ns) - _AHEAD_NS

    def _block(self) -> AudioBlock:
        whole = len(self._data) // _BYTES * _BYTES
        samples = np.frombuffer(bytes(self._data[:whole]), "<i2").astype(np.int16, copy=False)
        del self._data[:whole]
        captured_ns = self._clock_ns() - samples_to_ns(len(samples), self._rate_hz)
        if self._start_ns is None:
            self._start_ns = self._clock_ns()
        block = AudioBlock(samples, self._position, captured_ns, self._rate_hz)
        self._position += len(samples)
        return block

    def _lost(self) -> LinkError:
        return LinkError(
            Reason.SOURCE_LOST,
            f"the writer of pipe {self._name} closed it",
            hint="start the recorder again",
        )


def _fifo(path: Path) -> int:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise LinkError(
            Reason.SOURCE_MISSING,
            f"pipe {path} cannot be opened ({error.strerror})",
            hint=f"mkfifo {path}; this user must be allowed to read it",
        ) from None
    if not stat.S_ISFIFO(os.fstat(fd).st_mode):
        os.close(fd)
        raise LinkError(
            Reason.SOURCE_MISMATCH,
            f"{path} is no pipe",
            hint="mkfifo makes one; galago replay takes recordings",
        )
    return fd
