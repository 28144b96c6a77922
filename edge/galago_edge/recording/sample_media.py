"""What a sample consists of, as bytes of files."""

from __future__ import annotations

import io
import wave
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from galago_edge.contract.errors import InputError, Reason
from galago_edge.contract.manifest import AudioPreprocess
from galago_edge.contract.streams import Frame
from galago_edge.host.extras import import_extra
from galago_edge.recording.bare_jpeg import bare_jpeg
from galago_edge.recording.likeness import Fingerprint, picture_fingerprint, sound_fingerprint

JPEG_QUALITY = 90
"""Of what we encode ourselves."""
_JPEG_MAGIC = b"\xff\xd8"


@dataclass(frozen=True, slots=True)
class PictureMedia:
    """A frame, and some before and after it."""

    frame: Frame
    before: tuple[Frame, ...] = ()
    after: tuple[Frame, ...] = ()

    picture = True

    def fingerprint(self) -> Fingerprint:
        """Return what near-duplicates are told by.

        Raises:
            DeviceError: EXTRA_MISSING.
        """
        return picture_fingerprint(self.frame.pixels)

    def sample(self) -> tuple[str, bytes]:
        """Return suffix and content, lossless: the camera's own JPEG where there is one, else PNG.

        Raises:
            InputError: IMAGE_UNREADABLE; OpenCV cannot encode the frame.
        """
        if (sent := _sent_jpeg(self.frame)) is not None:
            return ".jpg", sent
        return ".png", _encoded(".png", self.frame, ())

    def context(self) -> dict[str, bytes]:
        """Return the pictures around it: ``-pre1.jpg`` is the oldest, ``-post1.jpg`` the next one.

        Raises:
            InputError: IMAGE_UNREADABLE; OpenCV cannot encode a frame.
        """
        named = [(f"-pre{number}.jpg", frame) for number, frame in enumerate(self.before, 1)]
        named += [(f"-post{number}.jpg", frame) for number, frame in enumerate(self.after, 1)]
        return {name: jpeg_bytes(frame) for name, frame in named}


@dataclass(frozen=True, slots=True)
class SoundMedia:
    """One window, and the sound around it."""

    spec: AudioPreprocess
    window: npt.NDArray[np.int16]
    around: npt.NDArray[np.int16]
    """Pre-roll, window and post-roll; as long as the window when there is no roll."""

    picture = False

    def fingerprint(self) -> Fingerprint:
        """Return what near-duplicates are told by."""
        return sound_fingerprint(self.spec, self.window)

    def sample(self) -> tuple[str, bytes]:
        """Return suffix and content: 16-bit mono WAV at the bundle's rate."""
        return ".wav", wav_bytes(self.window, self.spec.sample_rate_hz)

    def context(self) -> dict[str, bytes]:
        """Return the sound with its rolls."""
        if len(self.around) <= len(self.window):
            return {}
        return {".wav": wav_bytes(self.around, self.spec.sample_rate_hz)}


Media = PictureMedia | SoundMedia


def jpeg_bytes(frame: Frame) -> bytes:
    """Return a frame as JPEG: the camera's own where there is one.

    Raises:
        InputError: IMAGE_UNREADABLE; OpenCV cannot encode the frame.
        DeviceError: EXTRA_MISSING.
    """
    sent = _sent_jpeg(frame)
    return _encoded_jpeg(frame) if sent is None else sent


def bare_jpeg_bytes(frame: Frame, max_width: int = 0) -> bytes:
    """Return a frame as JPEG that holds the picture alone, for others to have.

    It is the camera's own, without its metadata, where there is one that is well-formed, no wider than
    ``max_width`` and not turned by its metadata. ``max_width``: in pixels, 0 for any. A wider frame is made
    smaller, its shape kept.

    Raises:
        InputError: IMAGE_UNREADABLE; OpenCV cannot encode the frame.
        DeviceError: EXTRA_MISSING.
    """
    height, width = frame.pixels.shape[:2]
    if not max_width or width <= max_width:
        sent = _sent_jpeg(frame)
        bare = None if sent is None else bare_jpeg(sent)
        return _encoded_jpeg(frame) if bare is None else bare
    cv2 = import_extra("cv2", "camera", "keeping pictures")
    size = (max_width, max(1, height * max_width // width))
    smaller = cv2.resize(frame.pixels, size, interpolation=cv2.INTER_AREA)
    return _encoded_jpeg(Frame(smaller, frame.index, frame.captured_ns))


def _sent_jpeg(frame: Frame) -> bytes | None:
    """Return the JPEG that the camera itself sent, if it did."""
    sent = frame.encoded
    return sent if sent is not None and sent.startswith(_JPEG_MAGIC) else None


def _encoded_jpeg(frame: Frame) -> bytes:
    cv2 = import_extra("cv2", "camera", "keeping pictures")
    return _encoded(".jpg", frame, (cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY))


def _encoded(suffix: str, frame: Frame, options: tuple[int, ...]) -> bytes:
    cv2 = import_extra("cv2", "camera", "keeping pictures")
    done, data = cv2.imencode(suffix, frame.pixels, options)
    if not done:
        raise InputError(
            Reason.IMAGE_UNREADABLE,
            f"frame {frame.index} of shape {frame.pixels.shape} cannot be written as {suffix}",
            hint="report this; the sample is not kept",
        )
    content: bytes = data.tobytes()
    return content


def wav_bytes(samples: npt.NDArray[np.int16], rate_hz: int) -> bytes:
    """Return a 16-bit mono WAV file. ``samples``: shape ``(n,)``."""
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate_hz)
        file.writeframes(samples.astype("<i2").tobytes())
    return out.getvalue()
