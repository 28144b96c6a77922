"""Opens recordings, and standard input as one: what ``galago replay`` and ``galago classify`` walk."""

from __future__ import annotations

from pathlib import Path

from galago_edge.contract.errors import CallerError, InputError, Reason
from galago_edge.contract.manifest import AudioPreprocess, Preprocess
from galago_edge.contract.modality import Modality
from galago_edge.sources.address import STDIN, Address, parse_source
from galago_edge.sources.audio_file import DEFAULT_BLOCK_SAMPLES, AudioFile
from galago_edge.sources.image_folder import ImageFolder
from galago_edge.sources.source import Source
from galago_edge.sources.standard_input import PcmPipe
from galago_edge.sources.video_file import VideoFile


def open_source(
    text: str, preprocess: Preprocess, *, live: bool = False, block_samples: int | None = None
) -> Source:
    """Open the source that ``text`` names, for a bundle whose ``preprocess`` is given.

    ``live`` says that standard input may be fed by a recorder, which cannot wait, if it is live at all.
    ``block_samples`` is the length of audio blocks; it changes no answer.

    Raises:
        CallerError: CONFIG_BAD; the text names no known form, or an option that it does not have.
        InputError: SOURCE_MISMATCH, or the recording cannot be read.
        LinkError: SOURCE_MISSING, or the disk fails.
        DeviceError: EXTRA_MISSING.
    """
    address = parse_source(text)
    if address.reopens:
        raise CallerError(
            Reason.CONFIG_BAD,
            f"{address.kind}:{address.shown} is live, expected a recording",
            hint="galago run takes it",
        )
    wanted: Modality = "microphone" if isinstance(preprocess, AudioPreprocess) else "camera"
    if address.modality != wanted:
        raise InputError(
            Reason.SOURCE_MISMATCH,
            f"the bundle is for a {wanted}, but {address.shown} is {_WHAT[address.kind]}",
            hint=f"give a {wanted}'s recording, or another bundle",
        )
    if isinstance(preprocess, AudioPreprocess):
        return _open_audio(address, preprocess.sample_rate_hz, live, block_samples)
    return _open_video(address)


_WHAT = {
    "folder": "a folder of images",
    "video": "a video",
    "audio": "a sound file",
    "pipe": "raw sound on standard input",
}


def _open_audio(address: Address, rate_hz: int, live: bool, block_samples: int | None) -> Source:
    block = block_samples or DEFAULT_BLOCK_SAMPLES
    if address.kind == "audio":
        return AudioFile(Path(address.target), rate_hz, block)
    live = live and address.live
    pipe_hz = int(address.options.get("rate", rate_hz))
    return PcmPipe(STDIN, pipe_hz, rate_hz, live=live, block_samples=None if live else block)


def _open_video(address: Address) -> Source:
    options = address.options
    if address.kind == "folder":
        return ImageFolder(Path(address.target), options.get("fps"))
    return VideoFile(Path(address.target), options.get("fps"))
