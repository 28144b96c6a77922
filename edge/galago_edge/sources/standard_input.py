"""Raw samples on standard input: signed 16-bit little-endian, one channel."""

from __future__ import annotations

import os
import select
import stat
import threading
import time
from collections.abc import Callable, Generator, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from galago_edge.contract.errors import GalagoError, InputError, LinkError, Reason, disk_error
from galago_edge.contract.modality import Modality
from galago_edge.contract.streams import NS_PER_S, AudioBlock, Gap, Item, Notice, samples_to_ns
from galago_edge.sources.live_buffer import NewestBuffer
from galago_edge.sources.sample_conversion import Converter, PcmFormat

STDIN = 0
_BYTES = 2
_READ_BYTES = 65_536  # what a pipe holds
_LIVE_BLOCKS_PER_S = 50
_BUFFER_S = 10
_AHEAD_NS = 2 * NS_PER_S
"""A recorder may hand over what it had buffered; beyond that, a writer ahead of the clock is no recorder."""
_LOOK_AFTER_S = 0.25
"""How long a silent pipe may delay ``stop``."""


class PcmPipe:
    """Raw samples until end of file.

    A recorder cannot wait, so when nobody keeps up the oldest blocks are dropped and become a gap
    ``overrun``. A writer that is ahead of the clock (``ffmpeg``, ``cat``) can wait and is made to.
    """

    modality: Modality = "microphone"

    def __init__(
        self,
        fd: int,
        pipe_hz: int,
        rate_hz: int,
        *,
        live: bool,
        block_samples: int | None = None,
        clock_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        """Read ``pipe_hz`` samples a second from ``fd`` and give ``rate_hz``.

        ``block_samples`` is the length of a block before conversion; 20 ms when not given.

        Raises:
            DeviceError: EXTRA_MISSING; the rates differ and soxr is not installed.
            LinkError: SOURCE_MISSING; standard input is closed.
        """
        self._fd, self._pipe_hz, self._rate_hz = fd, pipe_hz, rate_hz
        self._block_bytes = _BYTES * (block_samples or pipe_hz // _LIVE_BLOCKS_PER_S)
        self._clock_ns = clock_ns
        self._converter = Converter(PcmFormat("s16", 1, pipe_hz), rate_hz)
        try:
            regular = stat.S_ISREG(os.fstat(fd).st_mode)
        except OSError:
            raise LinkError(
                Reason.SOURCE_MISSING, "standard input is closed", hint="arecord ... | galago run ... pipe:-"
            ) from None
        self.live = live and not regular  # a file that is redirected here loses nothing
        self._samples = 0
        self._odd_byte = False
        self._buffer: NewestBuffer[AudioBlock] = NewestBuffer(_BUFFER_S * _LIVE_BLOCKS_PER_S)
        self._stopping = threading.Event()

    def description(self) -> dict[str, Any]:
        """Return the format that was declared for the pipe."""
        return {"kind": "pipe", "name": "-", "encoding": "s16", "channels": 1, "rate_hz": self._pipe_hz}

    def conversion(self) -> dict[str, Any] | None:
        """Return the declared conversion, if the rates differ."""
        return self._converter.declaration()

    def __iter__(self) -> Generator[Item, None, None]:
        """Yield blocks until end of file, a gap for what was dropped, a notice about an odd last byte."""
        expected = 0
        for block in self._captured() if self.live else self._read():
            if block.first_sample > expected:
                yield Gap(samples_to_ns(expected, self._rate_hz), block.captured_ns, "overrun")
            expected = block.first_sample + len(block.samples)
            yield block
        if self._odd_byte:
            yield Notice("odd_byte", expected, samples_to_ns(expected, self._rate_hz), {"ignored_bytes": 1})

    def summary(self) -> dict[str, Any]:
        """Return how many samples came in."""
        return {"samples": self._samples}

    def stop(self) -> None:
        """Read no more."""
        self._stopping.set()

    def _captured(self) -> Iterator[AudioBlock]:
        thread = threading.Thread(target=self._capture, name="pipe", daemon=True)
        thread.start()
        yield from self._buffer
        thread.join()

    def _capture(self) -> None:
        start_ns = self._clock_ns()

        def ahead() -> bool:
            return self._samples * NS_PER_S // self._pipe_hz > self._clock_ns() - start_ns + _AHEAD_NS

        failure: GalagoError | None = None
        try:
            for block in self._read():
                self._buffer.put(block, may_wait=ahead)
        except GalagoError as error:
            failure = error
        finally:  # whatever happens here, the stream must not wait for ever
            self._buffer.close(failure)

    def _read(self) -> Iterator[AudioBlock]:
        position = 0
        for pcm, last in self._chunks():
            samples = self._converter.convert(pcm.reshape(-1, 1), last=last)
            self._samples += len(pcm)
            if len(samples):
                yield AudioBlock(samples, position, samples_to_ns(position, self._rate_hz), self._rate_hz)
                position += len(samples)

    def _chunks(self) -> Iterator[tuple[npt.NDArray[np.int16], bool]]:
        """Yield blocks of whole samples, and whether they are the last ones."""
        pending = b""
        checked = False
        while data := self._read_bytes():
            pending += data
            if not checked and len(pending) >= _MAGIC_BYTES:
                checked = True
                check_raw(pending)
            whole = len(pending) // self._block_bytes * self._block_bytes
            for start in range(0, whole, self._block_bytes):
                yield _pcm(pending[start : start + self._block_bytes]), False
            pending = pending[whole:]
        self._odd_byte = len(pending) % _BYTES == 1 and not self._stopping.is_set()
        yield _pcm(pending[: len(pending) // _BYTES * _BYTES]), True

    def _read_bytes(self) -> bytes:
        """Return what is there, waiting for the first byte; nothing at the end of file or after ``stop``."""
        ready: list[int] = []
        try:
            while not ready and not self._stopping.is_set():
                ready, _, _ = select.select([self._fd], [], [], _LOOK_AFTER_S)
            return os.read(self._fd, _READ_BYTES) if ready else b""
        except OSError as error:
            raise disk_error(error, "read standard input") from error


def _pcm(data: bytes) -> npt.NDArray[np.int16]:
    return np.frombuffer(data, "<i2").astype(np.int16, copy=False)


_MAGIC_BYTES = 4


def check_raw(head: bytes, error: type[GalagoError] = InputError) -> None:
    """Look at the first bytes of what should be raw samples.

    Raises:
        GalagoError: SOURCE_MISMATCH, as ``error``; they begin a sound file.
    """
    for magic, name in ((b"RIFF", "a WAV file"), (b"fLaC", "a FLAC file"), (b"OggS", "an Ogg file")):
        if head.startswith(magic):
            raise error(
                Reason.SOURCE_MISMATCH,
                f"what comes through the pipe is {name}; expected raw signed 16-bit little-endian samples",
                hint="name the file itself as the source, or write raw samples (ffmpeg ... -f s16le -)",
            )
