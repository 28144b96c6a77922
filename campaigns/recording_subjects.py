"""Small recordings of a device, each with all that one can hold, and what is true of them.

A camera that sends JPEG, one that sends H.264, a microphone: with an outage, frames or samples that the
stream did not take, and what a bundle decided. They are written by the recorder of the product, in small
chunks.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from campaigns.service_rig import CUE_POLICY, levels_bundle, tones_bundle
from galago_edge.bundle import Bundle, open_bundle
from galago_edge.contract.errors import InputError
from galago_edge.contract.manifest import AudioPreprocess
from galago_edge.contract.modality import Modality
from galago_edge.contract.records import Record, ScoresRecord, encode_record, stamped
from galago_edge.contract.streams import NS_PER_S, AudioBlock, Frame, Gap, Item, Notice, samples_to_ns
from galago_edge.pipeline import DecidingStream, batches, load
from galago_edge.recorded.about import AboutRecording, RecordedStream, SourceMark
from galago_edge.recorded.record_walk import RecordWalk, StoredMessage
from galago_edge.recorded.stored_items import DropMessage, StoredPicture
from galago_edge.recording.recording_writer import RecordingWriter
from galago_edge.recording.tap_things import end_ns_of
from galago_edge.recording.writer_account import WriterLimits
from galago_edge.sources.recorded_camera import RecordedCamera
from galago_edge.sources.recorded_microphone import RecordedMicrophone
from real_parts.sound import silence, tone

KINDS = ("jpeg", "h264", "sound")
STREAM, SOURCE = "at-door", "door"
STEP_NS = NS_PER_S // 10
RATE_HZ = 16_000
OUTAGE_NS = 13 * STEP_NS
SIZE = (64, 48)
KEY_EVERY = 6
"""Frames from one key frame to the next."""
_START_NS = 5_000_000_000_123
"""Log time of stream time 0, as the monotonic clock of a device."""

Message = tuple[str, int, int, bytes]
"""Topic, number, log time, data."""


@dataclass(frozen=True)
class Given:
    """What reading a recording gives, by the place of each thing in its stream."""

    frames: dict[int, tuple[int, bytes]]
    """Index to time and digest of pixels and of the camera's own bytes."""
    samples: npt.NDArray[np.int32]
    """By index; below int16 where there is none."""
    logits: dict[tuple[int, int], tuple[int, ...]]
    """First and last index of a window to what the model said; empty unless it was asked."""
    gaps: int
    error: str
    """Reason of the end; empty for none."""

    @property
    def count(self) -> int:
        """Frames, or samples."""
        return len(self.frames) + int(np.count_nonzero(self.samples > NO_SAMPLE))


NO_SAMPLE = -(1 << 20)
_SAMPLES = 1 << 17
"""Room for so many, and for more where there are more."""


@dataclass(frozen=True)
class Subject:
    """One recording and the bundle that decided on it."""

    kind: str
    path: Path
    bundle: Path
    data: bytes
    messages: tuple[Message, ...]
    given: Given


def make_subject(kind: str, folder: Path, steps: int) -> Subject:
    """Write the recording of a kind, of ``steps`` frames or blocks of 100 ms, and read it."""
    modality: Modality = "microphone" if kind == "sound" else "camera"
    bundle = (tones_bundle if kind == "sound" else levels_bundle)(folder, CUE_POLICY)
    opened = open_bundle(bundle)
    items = list(_sound(steps) if kind == "sound" else _pictures(kind, steps))
    bare = _write(folder, f"bare-{kind}", modality, items, {}, "")
    records = _decided(bare, opened)
    path = _write(folder, kind, modality, items, dict(enumerate(records)), opened.id)
    path.with_name(f"{path.name}.sha256").unlink()  # it would notice everything; what is left without it?
    messages = messages_of(path)
    given = read(path, kind, opened)
    assert not given.error and given.count and given.logits, f"{kind}: {given.error or 'nothing is there'}"
    return Subject(kind, path, bundle, path.read_bytes(), tuple(messages), given)


def messages_of(path: Path) -> list[Message]:
    """Return every message that is read of a file, in its order.

    Raises:
        GalagoError: Nothing can be read.
    """
    with RecordWalk(path) as walk:
        return [
            (one.channel.topic, one.sequence, one.log_ns, one.data)
            for one in walk.messages()
            if isinstance(one, StoredMessage)
        ]


def read(path: Path, kind: str, bundle: Bundle | None) -> Given:
    """Read a recording as a replay does; with ``bundle`` its model is asked, too.

    Raises:
        GalagoError: It cannot be opened, or something else than the recording is at fault.
    """
    frames: dict[int, tuple[int, bytes]] = {}
    samples = np.full(_SAMPLES, NO_SAMPLE, np.int32)
    logits: dict[tuple[int, int], tuple[int, ...]] = {}
    error, gaps = "", 0
    source = RecordedMicrophone(path, RATE_HZ) if kind == "sound" else RecordedCamera(path, None)
    loaded = None if bundle is None else load(bundle)
    stream = None if loaded is None else DecidingStream(STREAM, loaded, scores=True)
    try:
        for item in source:
            if isinstance(item, Frame):
                assert item.index not in frames, "a frame is given twice"
                frames[item.index] = item.captured_ns, _digest(item)
            elif isinstance(item, AudioBlock):
                place = slice(item.first_sample, item.first_sample + len(item.samples))
                while place.stop > len(samples):
                    samples = np.concatenate([samples, np.full_like(samples, NO_SAMPLE)])
                assert (samples[place] == NO_SAMPLE).all(), "samples are given twice"
                samples[place] = item.samples
            gaps += isinstance(item, Gap)
            for record in () if stream is None else stream.push(item):
                if isinstance(record, ScoresRecord):
                    logits[record.start_index, record.end_index] = tuple(record.logits or ())
    except InputError as damage:
        error = str(damage.reason)
    finally:
        if loaded is not None:
            loaded.close()
    return Given(frames, samples, logits, gaps, error)


def _digest(frame: Frame) -> bytes:
    found = hashlib.blake2b(np.ascontiguousarray(frame.pixels).tobytes(), digest_size=16)
    found.update(frame.encoded or b"")
    return found.digest()


def _write(
    folder: Path,
    name: str,
    modality: Modality,
    items: list[StoredPicture | Item],
    records: dict[int, Record],
    bundle: str,
) -> Path:
    """Write a recording; each record stands behind the item with which it could be known."""
    about = AboutRecording(
        device="barn",
        wall_ns=1_700_000_000_000_000_000,
        wall_at_ns=_START_NS,
        clock_synced=True,
        streams=(RecordedStream(name=STREAM, source=SOURCE, bundle=bundle),),
        environment={"galago-edge": "campaign"},
    )
    limits = WriterLimits(chunk_bytes=12_000 if modality == "microphone" else 6_000, chunk_s=1e9)
    writer = RecordingWriter(folder, name, about, limits=limits, single=True)
    writer.source(SourceMark(name=SOURCE, modality=modality, start_ns=_START_NS, described={"kind": "test"}))
    waiting = sorted(records.items(), key=lambda one: (end_ns_of(one[1]), one[0]))
    dropped = len(items) * 3 // 4
    for number, item in enumerate(items):
        if isinstance(item, StoredPicture):
            writer.picture(SOURCE, item)
        else:
            writer.item(SOURCE, item)
        if number == dropped:
            writer.drop(SOURCE, _drop(item))
        now_ns = item.captured_ns if isinstance(item, StoredPicture) else end_ns_of(item)  # type: ignore[arg-type]
        while waiting and (number == len(items) - 1 or end_ns_of(waiting[0][1]) <= now_ns):
            record = waiting.pop(0)[1]
            line = encode_record(stamped([record], 1_700_000_000_000_000_000, True)[0]).rstrip(b"\n")
            writer.out(STREAM, line, _START_NS + end_ns_of(record))
    (path,) = writer.close()
    return path


def _decided(path: Path, bundle: Bundle) -> list[Record]:
    """Return what a stream says that did not take what ``/drops`` names."""
    source: Any = (
        RecordedMicrophone(path, RATE_HZ, stream=STREAM)
        if isinstance(bundle.spec, AudioPreprocess)
        else RecordedCamera(path, None, STREAM)
    )
    loaded = load(bundle)
    try:
        with closing(batches(source, DecidingStream(STREAM, loaded, scores=True))) as walk:
            return [record for batch in walk for record in batch]
    finally:
        loaded.close()


def _drop(item: StoredPicture | Item) -> DropMessage:
    """Return that the stream did not take this item in time, and was told a gap."""
    if isinstance(item, AudioBlock):
        first, end = item.first_sample, item.first_sample + len(item.samples)
        times = samples_to_ns(first, RATE_HZ), samples_to_ns(end, RATE_HZ)
    else:
        assert isinstance(item, StoredPicture)
        first, end, times = item.index, item.index + 1, (item.captured_ns - STEP_NS, item.captured_ns)
    return DropMessage(stream=STREAM, first=first, end=end, from_ns=times[0], to_ns=times[1], cause="drop")


def _beginning() -> Iterator[Item]:
    yield Gap(0, STEP_NS, "connecting")
    yield Notice("healthy", 0, STEP_NS, {"source": {"kind": "test"}})


def _pictures(kind: str, steps: int) -> Iterator[StoredPicture | Item]:
    yield from _beginning()
    packets = _h264(steps) if kind == "h264" else _jpegs(steps)
    half = steps // 2
    for index, (data, key) in enumerate(packets):
        away_ns = OUTAGE_NS if index >= half else 0
        at_ns = (index + 1) * STEP_NS + away_ns + 1
        if index == half:
            yield Gap(at_ns - STEP_NS - OUTAGE_NS, at_ns, "disconnect")
        yield StoredPicture(index, at_ns, kind, data, key=key)


def _sound(steps: int) -> Iterator[StoredPicture | Item]:
    yield Notice("healthy", 0, 0, {"source": {"kind": "test"}})
    size, half = RATE_HZ // 10, steps // 2
    for number in range(steps):
        first = (number + (13 if number >= half else 0)) * size
        if number == half:
            yield Gap(samples_to_ns(half * size, RATE_HZ), samples_to_ns(first, RATE_HZ), "overrun")
        made = tone(3_000) if number % 20 >= 10 else silence
        yield AudioBlock(made(first, size, RATE_HZ), first, samples_to_ns(first, RATE_HZ), RATE_HZ)


def _scenes(steps: int) -> Iterator[npt.NDArray[np.uint8]]:
    """Yield what a camera sees: dark and bright in turn, a bar that moves, noise that no two frames share."""
    rng = np.random.default_rng(12)
    for index in range(steps):
        level = 215 if index % 20 >= 10 else 30
        picture = np.full((SIZE[1], SIZE[0], 3), level, np.int16)
        picture[(index * 3) % SIZE[1], :] += 20
        picture += rng.integers(-6, 7, picture.shape, np.int16)
        yield np.clip(picture, 0, 255).astype(np.uint8)


def _jpegs(steps: int) -> Iterator[tuple[bytes, bool]]:
    import cv2

    for picture in _scenes(steps):
        done, data = cv2.imencode(".jpg", picture)
        assert done
        yield data.tobytes(), True


def _h264(steps: int) -> Iterator[tuple[bytes, bool]]:
    """Yield access units as cameras send them: no B-frames, parameter sets before each key frame."""
    import av

    encoder: Any = av.CodecContext.create("libx264", "w")
    encoder.width, encoder.height = SIZE
    encoder.pix_fmt, encoder.time_base = "yuv420p", Fraction(1, 10)
    wishes = f"bframes=0:keyint={KEY_EVERY}:min-keyint={KEY_EVERY}:scenecut=0:repeat-headers=1:annexb=1"
    encoder.options = {"preset": "ultrafast", "tune": "zerolatency", "x264-params": wishes}
    for index, picture in enumerate(_scenes(steps)):
        frame = av.VideoFrame.from_ndarray(picture, format="bgr24")
        frame.pts = index
        for packet in encoder.encode(frame):
            yield bytes(packet), bool(packet.is_keyframe)
    for packet in encoder.encode(None):
        yield bytes(packet), bool(packet.is_keyframe)
