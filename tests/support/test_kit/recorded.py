"""Small recording files, written by the product's own writer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from galago_edge.contract.modality import Modality
from galago_edge.contract.streams import AudioBlock, Frame, Item, samples_to_ns
from galago_edge.recorded.about import AboutRecording, SourceMark
from galago_edge.recorded.stored_items import StoredPicture
from galago_edge.recording.recording_writer import RecordingWriter
from galago_edge.recording.writer_account import WriterLimits

RATE_HZ = 16_000


def jpeg_frame(index: int, captured_ns: int, level: int = 0, size: int = 16) -> Frame:
    """Return a frame as a camera that sends JPEG gives it: the pixels are those of its bytes."""
    pixels = np.full((size, size, 3), level % 256, np.uint8)
    pixels[0, 0] = index % 256
    done, data = cv2.imencode(".jpg", pixels)
    assert done
    return Frame(cv2.imdecode(data, cv2.IMREAD_COLOR), index, captured_ns, data.tobytes())


def block(first: int, samples: Iterable[int], rate_hz: int = RATE_HZ) -> AudioBlock:
    """Return samples in their place."""
    values = np.array(list(samples), np.int16)
    return AudioBlock(values, first, samples_to_ns(first, rate_hz), rate_hz)


def write_recording(
    path: Path,
    sources: Mapping[str, tuple[Modality, Iterable[Item]]],
    *,
    about: AboutRecording | None = None,
    lines: Mapping[str, Iterable[bytes]] | None = None,
    chunk_bytes: int = 1 << 20,
    end: bool = True,
    **mark: Any,
) -> Path:
    """Write ``NAME.mcap``, its sources' items by turns; without ``end`` a ``.part``, as after a kill.

    ``lines``: records by stream. ``mark``: fields of every source's SourceMark.
    """
    limits = WriterLimits(chunk_bytes=chunk_bytes, chunk_s=1e9)
    name = path.name.removesuffix(".mcap")
    writer = RecordingWriter(path.parent, name, about or AboutRecording(), limits=limits, single=True)
    waiting = {}
    for source, (modality, items) in sources.items():
        writer.source(SourceMark(name=source, modality=modality, **mark))
        waiting[source] = iter(items)
    while waiting:
        for source in list(waiting):
            item = next(waiting[source], None)
            if item is None:
                del waiting[source]
            else:
                put(writer, source, item)
    for stream, records in (lines or {}).items():
        for number, line in enumerate(records):
            writer.out(stream, line, number)
    if end:
        writer.close()
        return path
    writer.flush()
    writer.abandon()
    return writer.part


def put(writer: RecordingWriter, source: str, item: Item) -> None:
    """Hand an item of a source to the writer."""
    if isinstance(item, Frame):
        if not writer.frame(source, item):
            done, data = cv2.imencode(".png", item.pixels)
            assert done
            picture = StoredPicture(item.index, item.captured_ns, "png", data.tobytes())
            writer.picture(source, picture)
    elif isinstance(item, AudioBlock):
        writer.sound(source, item)
    else:
        writer.mark(source, item)
