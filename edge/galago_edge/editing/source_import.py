"""Any recording that Galago reads becomes a recording file: the same items, at the same times."""

from __future__ import annotations

import contextlib
import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from galago_edge.contract.errors import CallerError, GalagoError, InputError, Reason
from galago_edge.contract.modality import Modality
from galago_edge.contract.streams import AudioBlock, Frame, Gap, Notice
from galago_edge.editing.new_recording import new_recording, put_stored
from galago_edge.editing.unit_check import NotAlikeError, UnitCheck
from galago_edge.recorded.about import AboutRecording, SourceMark, described_json
from galago_edge.recorded.stored_items import StoredPicture
from galago_edge.recording.recording_writer import RecordingWriter
from galago_edge.sources.address import parse_source
from galago_edge.sources.audio_file import open_sound
from galago_edge.sources.opencv import import_cv2
from galago_edge.sources.recording_damage import DamagedError
from galago_edge.sources.recording_digest import recording_sha256
from galago_edge.sources.source import Source
from galago_edge.sources.source_kind import Address, Opening
from galago_edge.sources.stream_target import file_path, is_test_file

_BLOCKS_A_SECOND = 10
_NAMES: dict[Modality, str] = {"camera": "cam", "microphone": "mic"}


@dataclass(slots=True)
class ImportReport:
    """What was taken over."""

    sources: dict[str, dict[str, int]] = field(default_factory=dict)
    """Name to counts: frames or samples, gaps, notices; and how many pictures are the file's own bytes, JPEG
    or packets."""
    damage: tuple[GalagoError, ...] = ()
    """What was wrong with the file; all that could be read was taken over."""


def import_recording(text: str, target: Path, name: str | None = None) -> ImportReport:
    """Write ``target`` from the recording that ``text`` names; ``name``: what its source is called.

    JPEG pictures are the file's own bytes. So are packets of H.264 and HEVC, where a decoder that has nothing
    but them makes the same pixels of every picture: each is compared. All others become PNG, which loses
    nothing. Samples stay at their rate, 16 bits, as the mean of all channels or the one that the address
    names.

    Raises:
        CallerError: CONFIG_BAD; live, a recording file already, or with options of a view. EXISTS.
        InputError: It cannot be read.
        LinkError: SOURCE_MISSING, or the disk fails.
        DeviceError: EXTRA_MISSING.
    """
    address = parse_source(text)
    described = address.described
    if address.reopens or described.open is None or not described.is_path:
        raise CallerError(
            Reason.CONFIG_BAD,
            f"{address.kind}:{address.shown} is no file, expected a recording",
            hint=_instead(address),
        )
    if address.kind.startswith("mcap"):
        raise CallerError(
            Reason.CONFIG_BAD,
            f"{address.shown} is a recording file already",
            hint="galago recording cut, recover or export make something else of it",
        )
    if view := [option for option in ("rotate", "region", "mask") if option in address.options]:
        raise CallerError(
            Reason.CONFIG_BAD,
            f"{view[0]}= is what a stream sees, and is not kept in a recording",
            hint="give it to the replay: galago replay 'FILE.mcap?rotate=90' ...",
        )
    sha256 = recording_sha256(Path(address.target)) or ""
    about = AboutRecording(origin="import", clock="stream", environment={"imported_sha256": sha256})
    try:
        copies = _copied(address, target, about, name, packets=True)
    except NotAlikeError:
        copies = _copied(address, target, about, name, packets=False)
    return ImportReport(
        {copy.name: copy.counts for copy in copies},
        tuple(copy.failure for copy in copies if copy.failure is not None),
    )


def _instead(address: Address) -> str:
    """Return what can be done with a source that is no file."""
    if is_test_file(address.target):
        return f"name the file itself: galago recording import {file_path(address.target)} NEW.mcap"
    if address.reopens:
        return f"it is live: galago record {address.kind}:{address.shown}"
    return "write it to a file first"


def _copied(
    address: Address, target: Path, about: AboutRecording, name: str | None, *, packets: bool
) -> list[_Copy]:
    """Write the file; ``packets``: with the pictures' own packets, where they are all that it takes.

    Raises:
        NotAlikeError: They are not: nothing is left of the attempt.
    """
    with new_recording(target, about) as writer, contextlib.ExitStack() as opened:
        copies = []
        for modality in _given(address):
            source = _opened(address.seen_as(modality) or address, packets=packets)
            opened.callback(source.stop)
            copies.append(_Copy(source, writer, name or _NAMES[modality], str(address.shown)))
        # by turns, so that whatever becomes of the file, what is left of pictures and sound belongs together
        going = list(copies)
        while going:
            if not (earliest := min(going, key=lambda copy: copy.at_ns)).step():
                going.remove(earliest)
        return copies


def _given(address: Address) -> list[Modality]:
    """Return what the file gives: pictures and sound of a video."""
    return [one for one in ("camera", "microphone") if address.gives(one)] or [address.modality]


def _opened(address: Address, *, packets: bool) -> Source:
    options = {key: value for key, value in address.options.items() if key in address.described.options}
    address = dataclasses.replace(address, options=options)
    assert address.described.open is not None
    if address.modality == "camera":
        return address.described.open(address, Opening(None, packets=packets))
    rate_hz = options.get("rate") or _native_rate(Path(address.target))
    blocks = max(1, rate_hz // _BLOCKS_A_SECOND)
    return address.described.open(address, Opening(rate_hz, block_samples=blocks))


def _native_rate(path: Path) -> int:
    reader = open_sound(path)
    try:
        return reader.format.rate_hz
    finally:
        reader.close()


class _Copy:
    """One source on its way into the file."""

    def __init__(self, source: Source, writer: RecordingWriter, name: str, shown: str) -> None:
        self.name = name
        self.at_ns = 0
        """How far it has come in stream time."""
        self.failure: GalagoError | None = None
        """What was wrong with the file."""
        self._unit = "frames" if source.modality == "camera" else "samples"
        self.counts = {self._unit: 0, "gaps": 0, "notices": 0}
        if self._unit == "frames":
            self.counts |= {"own_jpeg": 0, "own_packets": 0}
        self._writer, self._items = writer, iter(source)
        described = described_json(source.description())
        if (conversion := source.conversion()) is not None:
            described["converted"] = described_json(conversion)
        conceal = described.get("damaged") == "conceal"
        mark = SourceMark(
            name=name, modality=source.modality, origin="import", conceal=conceal, described=described
        )
        writer.source(mark)
        self._units = UnitCheck(shown, conceal=conceal)

    def step(self) -> bool:
        """Copy the next item; False: there is none.

        Raises:
            InputError: Nothing of it can be read.
            NotAlikeError: The file's own packets do not say all that it does.
            GalagoError: As the source says.
        """
        try:
            item = next(self._items, None)
        except InputError as error:
            if not isinstance(error, DamagedError) and not self.counts[self._unit]:
                raise
            self.failure = error
            self._units.end()
            return False
        if item is None:
            self._units.end()
            return False
        counts = self.counts
        if isinstance(item, Frame):
            pictures = self._units.units_of(item) or [stored_picture(item)]
            counts["own_jpeg"] += pictures[-1].format == "jpeg"
            counts["own_packets"] += item.coded is not None
            for picture in pictures:
                self._writer.picture(self.name, picture)
        else:
            if isinstance(item, Gap | Notice):
                self._units.between(item)
            put_stored(self._writer, self.name, item, 0)
        counts[self._unit] += len(item.samples) if isinstance(item, AudioBlock) else isinstance(item, Frame)
        counts["gaps"] += isinstance(item, Gap)
        counts["notices"] += isinstance(item, Notice)
        if isinstance(item, Frame | AudioBlock):
            self.at_ns = item.captured_ns
        return True


def stored_picture(frame: Frame) -> StoredPicture:
    """Return a frame as it is stored without loss: the camera's own JPEG, else PNG.

    Raises:
        InputError: IMAGE_UNREADABLE; OpenCV cannot encode it.
        DeviceError: EXTRA_MISSING.
    """
    if frame.encoded is not None and frame.encoded.startswith(b"\xff\xd8"):
        return StoredPicture(frame.index, frame.captured_ns, "jpeg", frame.encoded)
    cv2: Any = import_cv2("keeping pictures")
    # level 1: the pixels of a camera hardly become smaller by more work
    done, data = cv2.imencode(".png", frame.pixels, (cv2.IMWRITE_PNG_COMPRESSION, 1))
    if not done:
        raise InputError(
            Reason.IMAGE_UNREADABLE,
            f"frame {frame.index} of shape {frame.pixels.shape} cannot be written as PNG",
            hint="report this",
        )
    return StoredPicture(frame.index, frame.captured_ns, "png", data.tobytes())
