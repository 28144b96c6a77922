"""Raw samples on standard input: signed 16-bit little-endian, one channel."""

from __future__ import annotations

import os
import select
import threading
import time
from collections.abc import Callable, Generator, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from galago_edge.contract.errors import GalagoError, InputError, LinkError, Reason, disk_error
from galago_edge.contract.modality import Modality
from galago_edge.contract.streams import NS_PER_S, AudioBlock, Gap, Item, Notice, samples_to_ns
from galago_edge.host.standard_streams import stdin_closed
from galago_edge.sources.address import STDIN, is_file
from galago_edge.sources.live_buffer import NewestBuffer
from galago_edge.sources.sample_conversion import Converter, PcmFormat
from galago_edge.sources.source import AHEAD_NS

_BYTES = 2
_READ_BYTES = 65_536  # what a pipe holds
_LIVE_BLOCKS_PER_S = 50
_BUFFER_S = 10
_WAITS_NS = 2 * NS_PER_S
"""A writer that is further ahead of the clock can wait for a reader that does not keep up."""
_LOOK_AFTER_S = 0.25
"""How long a silent pipe may delay ``stop``."""


class PcmPipe:
    """Raw samples until end of file.

    A recorder cannot wait, so when nobody keeps up the oldest blocks are dropped and become a gap
    ``overrun``. A writer that is ahead of the clock (``ffmpeg``, ``cat``) can wait and is made to; one that
    is ahead by more than ``AHEAD_NS`` hands over a recording, which a notice ``ahead`` says once.
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
            DeviceError: EXTRA_MISSING; an odd rate needs soxr, which is not installed.
            LinkError: SOURCE_MISSING; standard input is closed.
        """
        self._fd, self._pipe_hz, self._rate_hz = fd, pipe_hz, rate_hz
        self._block_bytes = _BYTES * (block_samples or pipe_hz // _LIVE_BLOCKS_PER_S)
        self._clock_ns = clock_ns
        self._converter = Converter(PcmFormat("s16", 1, pipe_hz), rate_hz)
        if fd == STDIN and stdin_closed():  # something else has its number by now
            raise _closed()
        try:
            os.fstat(fd)
        except OSError:
            raise _closed() from None
        self.live = live and not is_file(fd)  # a file that is redirected here loses nothing
        self.dropped = 0
        """Samples, at the bundle's rate, that nobody took in time."""
        self._samples = 0
        self._odd_byte = False
        self._ahead_ns: int | None = None
        self._buffer: NewestBuffer[AudioBlock] = NewestBuffer(_BUFFER_S * _LIVE_BLOCKS_PER_S)
        self._stopping = threading.Event()

    def description(self) -> dict[str, Any]:
        """Return the format that was declared for the pipe."""
        return {"kind": "pipe", "name": "-", "encoding": "s16", "channels": 1, "rate_hz": self._pipe_hz}

    def conversion(self) -> dict[str, Any] | None:
        """Return the declared conversion, if the rates differ."""
        return self._converter.declaration()

    def __iter__(self) -> Generator[Item, None, None]:
        """Yield blocks until end of file, a gap for what was dropped, and notices.

        ``ahead``: a recording comes through the pipe; ``odd_byte``: half a sample came last.
        """
        expected = 0
        told = False
        for block in self._captured() if self.live else self._read():
            if block.first_sample > expected:
                self.dropped += block.first_sample - expected
                yield Gap(samples_to_ns(expected, self._rate_hz), block.captured_ns, "overrun")
            expected = block.first_sample + len(block.samples)
            if self._ahead_ns is not None and not told:
                told = True
                detail = {"ahead_s": round(self._ahead_ns / NS_PER_S, 3)}
                yield Notice("ahead", block.first_sample, block.captured_ns, detail)
            yield block
        if self._odd_byte:
            yield Notice("odd_byte", expected, samples_to_ns(expected, self._rate_hz), {"ignored_bytes": 1})

    def summary(self) -> dict[str, Any]:
        """Return how many samples came in, and of a live pipe how many the stream did not get."""
        return {"samples": self._samples} | ({"dropped_samples": self.dropped} if self.live else {})

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

        def ahead_ns() -> int:
            return self._samples * NS_PER_S // self._pipe_hz - (self._clock_ns() - start_ns)

        failure: GalagoError | None = None
        try:
            for block in self._read():
                if self._ahead_ns is None and (now_ns := ahead_ns()) > AHEAD_NS:
                    self._ahead_ns = now_ns
                self._buffer.put(block, may_wait=lambda: ahead_ns() > _WAITS_NS)
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


def _closed() -> LinkError:
    return LinkError(
        Reason.SOURCE_MISSING, "standard input is closed", hint="arecord ... | galago run ... pipe:-"
    )


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
