"""Pictures and sound of a recording file as files that every program opens."""

from __future__ import annotations

import contextlib
import itertools
import secrets
import shutil
import wave
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from galago_edge.contract.errors import CallerError, GalagoError, InputError, Reason, disk_error
from galago_edge.contract.known_names import known_names
from galago_edge.contract.streams import NS_PER_S, AudioBlock, Frame, Gap
from galago_edge.editing.new_recording import check_folder
from galago_edge.editing.source_import import stored_picture
from galago_edge.host.file_replacement import Durable, replacement
from galago_edge.recorded.record_walk import RecordWalk, not_mcap
from galago_edge.recorded.recorded_items import RecordedSource, StoredItems, recorded_sources
from galago_edge.sources.picture_times import TIMES_NAME
from galago_edge.sources.recorded_camera import RecordedCamera
from galago_edge.sources.recorded_microphone import RecordedMicrophone
from galago_edge.sources.recording_damage import DamagedError

_TO_FOLDER = "export to a folder: a WAV for each stretch; or cut a part without a gap"


@dataclass(slots=True)
class ExportReport:
    """What was written."""

    source: str
    files: list[str] = field(default_factory=list)
    """At most some; ``count`` says how many."""
    count: int = 0
    gaps: int = 0
    damage: GalagoError | None = None
    """What was wrong with the recording; all that could be read was written."""


def export_source(path: Path, target: Path, source: str | None = None) -> ExportReport:
    """Write the sound to ``target`` if it is called ``*.wav``; else pictures or sound to a new folder.

    Pictures keep the camera's own bytes where they are JPEG, others become PNG; their times stand in
    ``times.csv``, so that the folder is a source with the same times. Sound is cut where something is
    missing: a WAV for each stretch, and ``times.csv`` says where each begins.

    Raises:
        CallerError: EXISTS; TARGET_UNKNOWN, there is no such source; CONFIG_BAD, it must be said which, or it
            is a camera and cannot become a WAV.
        InputError: SOURCE_MISMATCH; a WAV of sound with gaps, or nothing is there to be written.
            RECORDING_UNREADABLE. What is wrong with the recording, where a WAV cannot say it.
        LinkError: SOURCE_MISSING, or the disk fails.
        DeviceError: EXTRA_MISSING.
    """
    if target.exists():
        raise CallerError(Reason.EXISTS, f"{target} exists already", hint="choose another name")
    check_folder(target)
    to_wav = target.suffix.lower() == ".wav"
    chosen = _chosen(path, source, to_wav=to_wav)
    report = ExportReport(chosen.name)
    try:
        if to_wav:
            _one_wav(path, target, chosen, report)
            return report
        part = target.with_name(f".{target.name}.{secrets.token_hex(8)}.part")
        part.mkdir()
        try:
            (_pictures if chosen.modality == "camera" else _sounds)(path, part, chosen, report)
            if not report.count:
                raise _nothing(path, chosen)
            part.rename(target)
        except BaseException:  # an interruption, too, must leave no half folder
            shutil.rmtree(part, ignore_errors=True)
            raise
    except OSError as error:
        raise disk_error(error, f"write {target}") from error
    return report


def _chosen(path: Path, name: str | None, *, to_wav: bool) -> RecordedSource:
    with RecordWalk(path) as walk:
        sources = recorded_sources(walk)
    if not sources:
        raise not_mcap(path, "holds no pictures and no sound that can be read")
    if name is not None and name not in sources:
        text = f"{path} has no source {name}; {known_names(name, sources)}"
        raise CallerError(Reason.TARGET_UNKNOWN, text, hint="--source NAME, or leave it out if there is one")
    fitting = [one for one in sources.values() if not to_wav or one.modality == "microphone"]
    if name is not None:
        fitting = [one for one in fitting if one.name == name]
    if not fitting:
        text = f"{path}: {name or ', '.join(sources)} gives pictures, and a WAV holds sound"
        raise CallerError(Reason.CONFIG_BAD, text, hint="export it to a folder: a name without .wav")
    if len(fitting) > 1:
        names = ", ".join(one.name for one in fitting)
        raise CallerError(
            Reason.CONFIG_BAD,
            f"{path} holds several sources: {names}",
            hint=f"choose one: --source {fitting[0].name}",
        )
    return fitting[0]


def _nothing(path: Path, source: RecordedSource) -> InputError:
    what = "picture" if source.modality == "camera" else "sample"
    return InputError(
        Reason.SOURCE_MISMATCH,
        f"{path} holds no {what} of {source.name}, so nothing is written",
        hint="galago recording info shows what it holds",
    )


def _pictures(path: Path, folder: Path, source: RecordedSource, report: ExportReport) -> None:
    lines = ["file,time_ns"]
    try:
        for item in RecordedCamera(path, source.name):
            if isinstance(item, Frame):
                picture = stored_picture(item)
                name = f"{item.index:08d}.{'jpg' if picture.format == 'jpeg' else 'png'}"
                (folder / name).write_bytes(picture.data)
                lines.append(f"{name},{item.captured_ns}")
                _add(report, name)
            report.gaps += isinstance(item, Gap)
    except InputError as error:
        if not report.count:
            raise
        report.damage = error
    (folder / TIMES_NAME).write_text("\n".join(lines) + "\n", encoding="utf-8")


def _sounds(path: Path, folder: Path, source: RecordedSource, report: ExportReport) -> None:
    lines = ["file,time_ns,first_sample"]
    try:
        with contextlib.ExitStack() as stack:
            expected, file = -1, None
            for block in _blocks(path, source, report):
                if file is None or block.first_sample != expected:
                    stack.close()
                    name = f"{report.count:04d}.wav"
                    file = stack.enter_context(wave.open(str(folder / name), "wb"))
                    _describe(file, block.rate_hz)
                    lines.append(f"{name},{block.captured_ns},{block.first_sample}")
                    _add(report, name)
                file.writeframes(block.samples.astype("<i2").tobytes())
                expected = block.first_sample + len(block.samples)
    except InputError as error:
        if not report.count:
            raise
        report.damage = error
    (folder / TIMES_NAME).write_text("\n".join(lines) + "\n", encoding="utf-8")


def _one_wav(path: Path, target: Path, source: RecordedSource, report: ExportReport) -> None:
    blocks = _blocks(path, source, report)
    if (first := next(blocks, None)) is None:
        raise _nothing(path, source)
    with replacement(target, durable=Durable.NO) as new, wave.open(str(new), "wb") as file:
        _describe(file, first.rate_hz)
        expected = first.first_sample
        try:
            for block in itertools.chain([first], blocks):
                if block.first_sample != expected:
                    at_s = block.captured_ns / NS_PER_S
                    text = f"{path}: sound is missing before {at_s:.3f} s, and a WAV cannot say so"
                    raise InputError(Reason.SOURCE_MISMATCH, text, hint=_TO_FOLDER)
                expected = block.first_sample + len(block.samples)
                file.writeframes(block.samples.astype("<i2").tobytes())
        except DamagedError as damage:  # behind the last block that can be read
            raise InputError(damage.reason, f"{damage}, and a WAV cannot say so", hint=_TO_FOLDER) from None
    _add(report, target.name)


def _blocks(path: Path, source: RecordedSource, report: ExportReport) -> Iterator[AudioBlock]:
    """Yield the samples at their own rate; another one behind them is refused.

    Raises:
        InputError: SOURCE_MISMATCH; the rate changes.
    """
    with RecordWalk(path) as walk:
        items = StoredItems(walk, source)
        rate_hz = next((item.rate_hz for item in items if isinstance(item, AudioBlock)), 0)
    if not rate_hz:
        return
    for item in RecordedMicrophone(path, rate_hz, name=source.name):
        report.gaps += isinstance(item, Gap)
        if isinstance(item, AudioBlock):
            yield item


def _describe(file: wave.Wave_write, rate_hz: int) -> None:
    file.setnchannels(1)
    file.setsampwidth(2)
    file.setframerate(rate_hz)


def _add(report: ExportReport, name: str) -> None:
    report.count += 1
    if len(report.files) < 20:
        report.files.append(name)
