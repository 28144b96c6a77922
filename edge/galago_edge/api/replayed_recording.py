"""What a bundle would have said to a recording: ``galago replay``, for programs."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from typing import Self

from galago_edge.api.arguments import checked_bundle
from galago_edge.api.sole_user import SoleUser
from galago_edge.api.trusted_bundle import FilePath
from galago_edge.bundle import Bundle
from galago_edge.contract.errors import GalagoError
from galago_edge.contract.records import Record
from galago_edge.pipeline import Batches, DecidingStream, batches, hand_on, load
from galago_edge.sources import open_source


class Replay:
    """One recording on its way through one bundle, made by :func:`replay`; walked through once.

    Iterating gives the records in order, as fast as this computer can, in stream time: the same recording
    and bundle always give the same records. A damaged recording is decided as far as it can be read; its
    last record is ``failed`` then, and the error is raised behind it. One thread at a time may use it.
    """

    def __init__(
        self,
        recording: FilePath,
        bundle: Bundle,
        *,
        name: str = "replay",
        scores: bool = False,
        block_samples: int | None = None,
    ) -> None:
        """Open the recording and load the bundle; see :func:`replay`."""
        checked_bundle(bundle)
        text = os.fspath(recording)
        self._source = open_source(text, bundle.spec, block_samples=block_samples)
        self._loaded = load(bundle)
        self._stream = DecidingStream(name, self._loaded, scores=scores)
        self._walk: Batches | None = None
        self._use = SoleUser(f"the replay of {text}")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __iter__(self) -> Iterator[Record]:
        """Yield every record; then raise what was wrong with the recording, if anything was.

        Raises:
            GalagoError: The recording is damaged, or the model failed; everything before was yielded.
            ValueError: It was walked through already, or is closed.
        """
        failure: GalagoError | None = None
        with closing(self._begun()) as walk:
            while True:
                with self._use():
                    try:
                        records = next(walk)
                    except StopIteration as end:
                        failure = end.value
                        break
                yield from records
        self.close()
        if failure is not None:
            raise failure

    def write(self, emit: Callable[[Sequence[Record]], None]) -> GalagoError | None:
        """Hand every record to ``emit``, some at a time; return what was wrong with the recording.

        Raises:
            ValueError: It was walked through already, or is closed.
        """
        with closing(self._begun()) as walk, self._use():
            return hand_on(walk, emit)

    @property
    def windows(self) -> int:
        """So many windows were decided up to now."""
        return self._stream.tally.windows

    @property
    def events(self) -> int:
        """So many events there were up to now."""
        return self._stream.tally.events

    @property
    def gaps(self) -> int:
        """So many gaps there were up to now."""
        return self._stream.tally.gaps

    def close(self) -> None:
        """Let go of recording and model; a second time is fine."""
        if self._use.closed:
            return
        with self._use():
            self._use.closed = True
            if self._walk is not None:
                self._walk.close()
            self._loaded.close()

    def _begun(self) -> Batches:
        with self._use():
            if self._walk is not None:
                raise ValueError("this replay was walked through already; make a new one with replay(...)")
            self._walk = batches(self._source, self._stream)
            return self._walk


def replay(
    recording: FilePath,
    bundle: Bundle,
    *,
    name: str = "replay",
    scores: bool = False,
    block_samples: int | None = None,
) -> Replay:
    """Decide on a recording as a device would; iterate over the result for the records.

    Args:
        recording: A sound file, a folder of images or a video, with options as on the command line:
            ``"frames/?fps=10"`` (docs/sources.md).
        bundle: What decides; it may be closed as soon as this returns.
        name: The stream's name in the records.
        scores: True adds a record for every window.
        block_samples: Length of the blocks that sound is cut into; changes no record.

    Raises:
        CallerError: CONFIG_BAD; the recording is of no known form, or is live.
        InputError: SOURCE_MISMATCH, or the recording cannot be read.
        LinkError: SOURCE_MISSING, or the disk fails.
        BundleError: PREPROCESS_MISMATCH, TENSOR_MISMATCH or MODEL_BAD; the bundle cannot be run here.
        DeviceError: EXTRA_MISSING; RUNTIME_MISSING, OP_UNSUPPORTED.
        TypeError: ``bundle`` is none.
        ValueError: ``block_samples`` is below 1; the bundle is closed.
    """
    if block_samples is not None and block_samples < 1:
        raise ValueError(f"block_samples is {block_samples}, expected at least 1")
    return Replay(recording, bundle, name=name, scores=scores, block_samples=block_samples)
