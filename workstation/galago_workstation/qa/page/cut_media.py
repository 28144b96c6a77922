"""Sounds and frames of events, cut from the recordings themselves: the one place of QA that opens them."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from galago_edge.contract.errors import GalagoError, Reason
from galago_edge.contract.manifest import AudioPreprocess, ImagePreprocess, Preprocess
from galago_edge.contract.streams import NS_PER_S, AudioBlock, Frame, samples_to_ns
from galago_edge.recording.sample_media import bare_jpeg_bytes, wav_bytes
from galago_edge.sources import open_source, parse_source
from galago_edge.sources.recording_digest import recording_sha256
from galago_workstation.qa.page.page_content import NS_PER_MS, PageMedia, PagePicture
from galago_workstation.qa.recording_place import RecordingPlace
from galago_workstation.qa.replayed import Replayed, Stretch

PICTURES = 6
"""Frames of one event."""
PICTURE_WIDTH = 320
"""Pixels; a wider frame is made smaller."""
SOUND_RATES_HZ = range(4_000, 192_001)
"""That a bundle may have; no camera gives so many frames in a second."""


@dataclass(frozen=True, slots=True)
class CutMedia:
    """What was cut for one event."""

    media: PageMedia | None
    files: dict[str, bytes]
    """Content by the names in ``media``."""
    without: str = ""
    """Why there is nothing."""


def unit_rate(replayed: Replayed) -> int | None:
    """Return how many samples or frames a second has, by the first window or event; None without any."""
    if replayed.scores is not None and len(replayed.scores.span):
        first, behind, start_ns, end_ns = replayed.scores.span[0].tolist()
    elif replayed.events:
        one = replayed.events[0]
        first, behind, start_ns, end_ns = one.start_index, one.end_index, one.start_ns, one.end_ns
    else:
        return None
    return round((behind - first) * NS_PER_S / (end_ns - start_ns)) if end_ns > start_ns else 0


def cut_media(
    replayed: Replayed, place: RecordingPlace | None, wanted: Sequence[tuple[str, Stretch]]
) -> list[CutMedia]:
    """Return sound or frames for each name and stretch of one recording, which is read once.

    What cannot be had is said in the results: a recording that is gone, changed or damaged is no error.
    """
    if place is None:
        return _without(wanted, "nobody says where the recording lies")
    if fault := _missing(replayed, place):
        return _without(wanted, fault)
    if (rate := unit_rate(replayed)) is None:
        return _without(wanted, "no window of this recording was decided")
    spec: Preprocess  # only what it is of, and its rate, are asked for
    cuts: list[_SoundCut | _PictureCut]
    if rate in SOUND_RATES_HZ:
        spec = AudioPreprocess(sample_rate_hz=rate)
        cuts = [_SoundCut(name, stretch, rate) for name, stretch in wanted]
    elif rate < SOUND_RATES_HZ.start:
        spec = ImagePreprocess(width=1, height=1)
        cuts = [_PictureCut(name, stretch) for name, stretch in wanted]
    else:
        return _without(wanted, f"the stored replay has {rate} samples a second, which no sound has")
    try:
        _read(place, spec, cuts)
    except GalagoError as error:
        fault = f"the recording cannot be read there ({error.reason})"
    return [cut.result(fault) for cut in cuts]


def _without(wanted: Sequence[tuple[str, Stretch]], why: str) -> list[CutMedia]:
    return [CutMedia(None, {}, why) for _ in wanted]


def _missing(replayed: Replayed, place: RecordingPlace) -> str:
    """Return why the recording is not the one that was replayed; empty when it is."""
    try:
        sha256 = recording_sha256(Path(parse_source(place.address).target))
    except GalagoError as error:
        if error.reason == Reason.SOURCE_MISSING:
            return "the recording is not there any more"
        return f"the recording cannot be read ({error.reason})"
    return "" if sha256 == replayed.sha256 else "the recording was changed since it was replayed"


def _read(place: RecordingPlace, spec: Preprocess, cuts: Sequence[_SoundCut | _PictureCut]) -> None:
    """Hand every frame and block to all who want it, up to the end of the last.

    Raises:
        GalagoError: As ``open_source``, and as the source says behind what it gave.
    """
    end_ns = max(cut.to_ns for cut in cuts)
    try:
        with closing(iter(open_source(place.address, spec, view=(place.view,)))) as items:
            for item in items:
                if isinstance(item, Frame | AudioBlock):
                    if item.captured_ns > end_ns:
                        return
                    for cut in cuts:
                        cut.take(item)
    finally:
        for cut in cuts:
            cut.end()


@dataclass(slots=True)
class _SoundCut:
    """Samples of a stretch; what nobody recorded is silent."""

    name: str
    stretch: Stretch
    rate_hz: int
    _samples: npt.NDArray[np.int16] = field(init=False)
    _given: npt.NDArray[np.bool_] = field(init=False)

    def __post_init__(self) -> None:
        count = max(0, self.to_ns - self.stretch[0]) * self.rate_hz // NS_PER_S
        self._samples, self._given = np.zeros(count, np.int16), np.zeros(count, np.bool_)

    @property
    def to_ns(self) -> int:
        return self.stretch[1]

    def take(self, item: Frame | AudioBlock) -> None:
        if not isinstance(item, AudioBlock):
            return
        # rounded up: times of samples are rounded down, and the stretch begins at a whole millisecond
        at = -((self.stretch[0] - item.captured_ns) * self.rate_hz // NS_PER_S)
        begin, end = max(0, at), min(len(self._samples), at + len(item.samples))
        if begin < end:
            self._samples[begin:end] = item.samples[begin - at : end - at]
            self._given[begin:end] = True

    def end(self) -> None:
        """Nothing more comes."""

    def result(self, fault: str) -> CutMedia:
        """Return the sound up to its last sample."""
        given = np.flatnonzero(self._given)
        if not len(given):
            return CutMedia(None, {}, fault or "the recording has no sound there")
        count = int(given[-1]) + 1
        file = f"{self.name}.wav"
        media = PageMedia(
            kind="sound",
            from_ms=self.stretch[0] // NS_PER_MS,
            to_ms=(self.stretch[0] + samples_to_ns(count, self.rate_hz)) // NS_PER_MS,
            file=file,
            missing_ms=samples_to_ns(count - len(given), self.rate_hz) // NS_PER_MS,
        )
        return CutMedia(media, {file: wav_bytes(self._samples[:count], self.rate_hz)})


@dataclass(slots=True)
class _PictureCut:
    """Frames spread evenly over a stretch, of each part the first, and the last one of all, as JPEG."""

    name: str
    stretch: Stretch
    _taken: list[tuple[int, bytes]] = field(default_factory=list)
    _last: Frame | None = None
    """The latest of the stretch, while it is not known whether another comes."""

    @property
    def to_ns(self) -> int:
        return self.stretch[1]

    def take(self, item: Frame | AudioBlock) -> None:
        if not isinstance(item, Frame) or item.captured_ns < self.stretch[0]:
            return
        if item.captured_ns > self.stretch[1]:
            self.end()
        elif len(self._taken) < PICTURES - 1 and item.captured_ns >= self._due_ns(len(self._taken)):
            self._keep(item)
            self._last = None
        else:
            self._last = item

    def _due_ns(self, number: int) -> int:
        start_ns, end_ns = self.stretch
        return start_ns + (end_ns - start_ns) * number // (PICTURES - 1)

    def _keep(self, frame: Frame) -> None:
        self._taken.append((frame.captured_ns // NS_PER_MS, bare_jpeg_bytes(frame, PICTURE_WIDTH)))

    def end(self) -> None:
        """Nothing more comes."""
        if self._last is not None:
            self._keep(self._last)
            self._last = None

    def result(self, fault: str) -> CutMedia:
        """Return the frames."""
        if not self._taken:
            return CutMedia(None, {}, fault or "the recording has no picture there")
        names = [f"{self.name}-{number}.jpg" for number in range(len(self._taken))]
        pictures = tuple(
            PagePicture(at_ms=at_ms, file=name) for name, (at_ms, _) in zip(names, self._taken, strict=True)
        )
        media = PageMedia(
            kind="pictures", from_ms=pictures[0].at_ms, to_ms=pictures[-1].at_ms, pictures=pictures
        )
        return CutMedia(media, dict(zip(names, (content for _, content in self._taken), strict=True)))
