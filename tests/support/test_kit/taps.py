"""A writer of recordings that keeps everything in memory, and can be slow or broken like a disk."""

from __future__ import annotations

import threading
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from galago_edge.contract.modality import Modality
from galago_edge.contract.records import Record
from galago_edge.contract.streams import (
    NS_PER_S,
    AudioBlock,
    Coded,
    CodedFormat,
    CodedPacket,
    Frame,
    Gap,
    Item,
    Notice,
    samples_to_ns,
)
from galago_edge.recording.tap_writer import Drop, PictureForm
from galago_edge.sources.picture_header import LARGEST_CAMERA_PIXELS
from galago_edge.sources.still_image import decode_picture
from test_kit.coded import decoded

FORMAT = CodedFormat("h264", b"", (1, 90_000))
RATE_HZ = 16_000


@dataclass(slots=True)
class MemoryTap:
    """One recording: every call in its order, as its name and what it was given."""

    taps: MemoryTaps
    path: Path
    about: dict[str, Any]
    calls: list[tuple[Any, ...]] = field(default_factory=list)
    closed: bool = False
    lost: int = 0

    def picture(self, index: int, ns: int, form: PictureForm, data: bytes) -> None:
        self._add("picture", index, ns, form, data, size=len(data))

    def coded(self, index: int | None, ns: int, coded: Coded) -> None:
        self._add("coded", index, ns, coded, size=sum(len(packet.data) for packet in coded.packets))

    def sound(self, block: AudioBlock) -> None:
        self._add("sound", block, size=block.samples.nbytes)

    def gap(self, gap: Gap) -> None:
        self._add("gap", gap)

    def notice(self, notice: Notice) -> None:
        self._add("notice", notice)

    def drop(self, drop: Drop) -> None:
        self._add("drop", drop)

    def record(self, record: Record) -> None:
        self._add("record", record)

    def tick(self) -> float | None:
        return None

    def close(self) -> None:
        self.taps.wait()
        self.closed = True
        self.part.rename(self.path)
        self.path.with_name(f"{self.path.name}.sha256").write_text("0")

    @property
    def part(self) -> Path:
        """What it is called until it is whole."""
        return self.path.with_name(f"{self.path.name}.part")

    def all(self, call: str) -> list[Any]:
        """What was given to one method, in its order; the only argument itself, several as a tuple."""
        found = [given for name, *given in self.calls if name == call]
        return [given[0] if len(given) == 1 else tuple(given) for given in found]

    def _add(self, *call: Any, size: int = 0) -> None:
        self.taps.wait()
        self.calls.append(call)
        with self.part.open("ab") as file:
            file.write(bytes(size))


class MemoryTaps:
    """Opens recordings; :attr:`going` cleared lets every writer wait, as a disk that hangs."""

    def __init__(self) -> None:
        self.recordings: list[MemoryTap] = []
        self.going = threading.Event()
        self.going.set()
        self.entered = threading.Event()
        """Set whenever a writer has come to the disk."""
        self.fault: Exception | None = None
        """What every call raises."""

    def __call__(self, path: Path, about: Mapping[str, Any]) -> MemoryTap:
        self.wait()
        made = MemoryTap(self, path, dict(about))
        made.part.touch()
        self.recordings.append(made)
        return made

    def wait(self) -> None:
        """Do what the disk does."""
        self.entered.set()
        self.going.wait()
        if self.fault is not None:
            raise self.fault


def jpeg_frame(index: int, ns: int | None = None, size: int = 1_000) -> Frame:
    """A frame of a camera that sends JPEG, ten a second; its bytes are no picture: nobody decodes them."""
    encoded = b"\xff\xd8\xff" + index.to_bytes(4, "big") + bytes(size)
    return Frame(np.zeros((2, 2, 3), np.uint8), index, index * NS_PER_S // 10 if ns is None else ns, encoded)


def coded_frame(
    index: int,
    *,
    key: bool = False,
    begins: bool = False,
    number: int | None = None,
    more: Sequence[CodedPacket] = (),
    size: int = 1_000,
) -> Frame:
    """A frame of an H.264 camera, ten a second, decoded from one packet behind ``more`` of them."""
    number = index if number is None else number
    packet = CodedPacket(bytes(size), number, key, 0, None, damaged=False)
    coded = Coded(FORMAT, (*more, packet), number, begins)
    return Frame(np.zeros((2, 2, 3), np.uint8), index, index * NS_PER_S // 10, None, coded)


def sound_block(first: int, count: int = 1_600) -> AudioBlock:
    """Samples of a microphone."""
    samples = np.arange(first, first + count, dtype=np.int64).astype(np.int16)
    return AudioBlock(samples, first, samples_to_ns(first, RATE_HZ), RATE_HZ)


def _begin_ns(item: Frame | AudioBlock | Gap) -> int:
    return item.from_ns if isinstance(item, Gap) else item.captured_ns


class Replayed:
    """What one recording says that a stream was given, as a source: an oracle for what recordings hold."""

    live = False

    def __init__(self, recording: MemoryTap, stream: str) -> None:
        self.recording = recording
        self.modality: Modality = recording.about["modality"]
        missed = [drop for drop in recording.all("drop") if drop.stream in (stream, "")]
        self._missed = {index for drop in missed for index in range(drop.from_index, drop.to_index)}
        self._gaps = [Gap(drop.from_ns, drop.to_ns, drop.cause) for drop in missed if drop.cause]

    def description(self) -> dict[str, Any]:
        return dict(self.recording.about["source"])

    def conversion(self) -> None:
        return

    def summary(self) -> dict[str, Any]:
        return {}

    def stop(self) -> None:
        raise AssertionError("nobody stops it")

    def __iter__(self) -> Generator[Item, None, None]:
        pictures, gaps = self._decoded(), list(self._gaps)
        for item in self._items(pictures):
            while gaps and not isinstance(item, Notice) and gaps[0].to_ns <= _begin_ns(item):
                yield gaps.pop(0)
            yield item
        yield from gaps

    def _items(self, pictures: Mapping[int, npt.NDArray[np.uint8]]) -> Iterator[Item]:
        for call, *given in self.recording.calls:
            if call in ("gap", "notice") or (call == "sound" and given[0].first_sample not in self._missed):
                yield given[0]
            elif call in ("picture", "coded") and given[0] is not None and given[0] not in self._missed:
                yield Frame(pictures[given[0]], given[0], given[1])

    def _decoded(self) -> dict[int, npt.NDArray[np.uint8]]:
        """The pixels of every frame, by its index in the stream."""
        found: dict[int, npt.NDArray[np.uint8]] = {}
        for index, _, _, data in self.recording.all("picture"):
            found[index] = decode_picture(data, "a recording", largest_pixels=LARGEST_CAMERA_PIXELS)[0]
        rows: list[list[tuple[int | None, Coded]]] = []
        for index, _, coded in self.recording.all("coded"):
            if coded.begins or not rows:
                rows.append([])
            rows[-1].append((index, coded))
        for row in rows:
            pictures = decoded([coded for _, coded in row])
            found |= {index: pictures[coded.shown] for index, coded in row if index is not None}
        return found
