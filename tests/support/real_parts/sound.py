"""Sound as it comes: made sample by sample at the pace of the clock, into a named pipe."""

from __future__ import annotations

import errno
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt

Samples = npt.NDArray[np.int16]
Sound = Callable[[int, int, int], Samples]
"""(first sample, number of samples, rate in Hz) -> int16 samples."""

BLOCK_S = 0.02


def silence(first: int, count: int, rate_hz: int) -> Samples:
    """A quiet room: noise of a few steps, for a real microphone never gives zeros only."""
    return np.random.default_rng(first).integers(-3, 4, count).astype(np.int16)


def tone(hz: float | tuple[float, ...], amplitude: int = 5_000) -> Sound:
    """Return one or several sine tones, each of this amplitude."""
    frequencies = (hz,) if isinstance(hz, (int, float)) else hz

    def sound(first: int, count: int, rate_hz: int) -> Samples:
        time_s = np.arange(first, first + count) / rate_hz
        waves = [np.sin(2 * np.pi * frequency * time_s) for frequency in frequencies]
        return np.clip(np.rint(amplitude * np.sum(waves, axis=0)), -32_768, 32_767).astype(np.int16)

    return sound


class SoundPipe:
    """Writes int16 samples into a named pipe in real time; what nobody takes is lost.

    ``sound`` and ``closed`` (let go of the pipe, so that the reader sees its end) may be set any time.
    """

    def __init__(self, path: Path, *, rate_hz: int = 16_000) -> None:
        self.path = path
        self.rate_hz = rate_hz
        self.sound: Sound = silence
        self.closed = False
        self._thread: threading.Thread | None = None
        self._stopping = threading.Event()

    def start(self) -> SoundPipe:
        """Make the pipe unless it is there, and begin to write as soon as somebody reads."""
        assert self._thread is None, "it runs"
        if not self.path.exists():
            os.mkfifo(self.path)
        self._stopping.clear()
        self._thread = threading.Thread(target=self._write)
        self._thread.start()
        return self

    def stop(self) -> None:
        """End it."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def _write(self) -> None:
        count = round(self.rate_hz * BLOCK_S)
        start, block = time.monotonic(), 0
        pipe: int | None = None
        try:
            while not self._stopping.wait(max(0.0, start + block * BLOCK_S - time.monotonic())):
                data = self.sound(block * count, count, self.rate_hz).astype("<i2").tobytes()
                block += 1
                if pipe is None and not self.closed:
                    pipe = self._open()
                if pipe is not None and (self.closed or not _taken(pipe, data)):
                    os.close(pipe)
                    pipe = None
        finally:
            if pipe is not None:
                os.close(pipe)

    def _open(self) -> int | None:
        try:
            return os.open(self.path, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ENXIO):  # nobody reads
                return None
            raise


def _taken(pipe: int, data: bytes) -> bool:
    """Write what there is room for; return whether anybody reads."""
    try:
        os.write(pipe, data)
    except BlockingIOError:
        pass
    except BrokenPipeError:
        return False
    return True
