"""Folders of training data with everything in them that people's folders have, and worse."""

from __future__ import annotations

import os
import struct
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import soundfile

from galago_edge.contract.printable import on_one_line
from galago_edge.recording.sample_media import wav_bytes
from test_kit.pictures import claimed_jpeg, claimed_png, made_png, out_of_step_jpeg

RATE = 16_000
_GOOD_CLASSES = ("cat", "dog", "beep", "hum")


@dataclass(frozen=True, slots=True)
class HostileThing:
    """One thing in a folder."""

    what: str
    name: str
    """Its path below the folder, or what of it a message shows."""
    code: str
    """The finding that tells of it; empty when it is a sample as any other."""


def is_told(thing: HostileThing, findings: Iterable[Mapping[str, Any]]) -> bool:
    """Tell whether the finding that it expects names the file, or the class where that is what is wrong."""
    label = thing.name.partition("/")[0]
    name = on_one_line(Path(thing.name).name if label in _GOOD_CLASSES else label)
    return any(
        name in one for finding in findings if finding["code"] == thing.code for one in finding["names"]
    )


def picture(number: int, height: int = 40, width: int = 60) -> npt.NDArray[np.uint8]:
    """A picture that is like no other."""
    coarse = np.random.default_rng(number).integers(0, 256, (6, 8, 3), np.uint8)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR)


def tone(number: int, seconds: float = 0.6) -> npt.NDArray[np.int16]:
    """A sound that is like no other: tones that change eight times, and the noise of a room."""
    rng = np.random.default_rng(number)
    count = int(seconds * RATE)
    pitch = np.repeat(rng.uniform(200, 3500, 8), -(-count // 8))[:count]
    tones = np.sin(2 * np.pi * np.cumsum(pitch) / RATE) * rng.uniform(4_000, 12_000)
    return (tones + rng.normal(0.0, 100.0, count)).astype(np.int16)


def encoded(suffix: str, pixels: npt.NDArray[np.uint8] | npt.NDArray[np.uint16]) -> bytes:
    """A picture as a file."""
    done, data = cv2.imencode(suffix, pixels)
    assert done
    return bytes(data.tobytes())


def hostile_pictures(folder: Path) -> list[HostileThing]:
    """Fill a folder with classes of pictures; return what is wrong, or special, about what."""
    for label in ("cat", "dog"):
        (folder / label).mkdir(parents=True)
        for number in range(12):
            (folder / label / f"{number:02}.png").write_bytes(
                encoded(".png", picture(hash_of(label, number)))
            )
    return [_put(folder, *made) for made in (*_bad_pictures(), *_odd_pictures(), *_folders())]


def hash_of(label: str, number: int) -> int:
    """A number for each sample."""
    return sum(label.encode()) * 1_000 + number


Made = tuple[str, str, str, bytes | Callable[[Path], None]]


def _put(
    folder: Path, what: str, name: str, code: str, content: bytes | Callable[[Path], None]
) -> HostileThing:
    path = folder / os.fsdecode(name.encode("utf-8", "surrogateescape"))
    path.parent.mkdir(parents=True, exist_ok=True)
    if callable(content):
        content(path)
    else:
        path.write_bytes(content)
    return HostileThing(what, name, code)


def _bad_pictures() -> Iterator[Made]:
    jpeg = encoded(".jpg", picture(1))
    png = encoded(".png", picture(2))
    yield "an empty picture", "cat/empty.jpg", "IMAGE_UNREADABLE", b""
    yield "text with a picture's name", "cat/text.png", "IMAGE_UNREADABLE", b"this is no picture"
    yield "a JPEG cut off", "cat/cut.jpg", "IMAGE_UNREADABLE", jpeg[: len(jpeg) // 2]
    yield "a JPEG damaged in the middle", "cat/middle.jpg", "IMAGE_UNREADABLE", out_of_step_jpeg()
    yield "a PNG cut off", "cat/cut.png", "IMAGE_UNREADABLE", png[: len(png) // 2]
    damaged = bytearray(png)
    damaged[len(png) // 2] ^= 0x55
    yield "a PNG with a wrong checksum", "cat/sum.png", "IMAGE_UNREADABLE", bytes(damaged)
    yield "a header alone", "cat/head.png", "IMAGE_UNREADABLE", png[:33]
    yield (
        "a JPEG that claims 32,000 x 32,000",
        "cat/claims.jpg",
        "IMAGE_TOO_BIG",
        claimed_jpeg(32_000, 32_000),
    )
    yield "a decompression bomb", "cat/bomb.png", "IMAGE_TOO_BIG", claimed_png(20_000)
    yield "a sound with a picture's name", "cat/sound.png", "IMAGE_UNREADABLE", wav_bytes(tone(3), RATE)
    yield "a pipe", "cat/pipe.png", "DATA_BAD", os.mkfifo
    yield "a link to nothing", "cat/gone.png", "DATA_BAD", lambda path: path.symlink_to("nowhere.png")
    yield (
        "one content, two labels",
        "dog/twin.png",
        "LABELS_REPEAT",
        encoded(".png", picture(hash_of("cat", 0))),
    )


def _odd_pictures() -> Iterator[Made]:
    base = picture(hash_of("cat", 1))
    yield "an exact copy", "cat/copy.png", "copies", encoded(".png", base)
    yield "the same, saved as JPEG", "cat/again.jpg", "alike", encoded(".jpg", base)
    bigger = cv2.resize(base, (120, 80), interpolation=cv2.INTER_LINEAR)
    yield "the same, larger", "cat/larger.png", "alike", encoded(".png", bigger)
    other = encoded(".jpg", picture(hash_of("cat", 2)))
    yield "nearly the same under another label", "dog/cat.jpg", "alike_other_label", other
    clear = np.dstack([picture(4), np.tile(np.arange(60, dtype=np.uint8) * 4, (40, 1))])
    yield "transparency", "dog/alpha.png", "alpha", encoded(".png", clear)
    deep = picture(5).astype(np.uint16) * 257
    yield "16 bits a sample", "dog/deep.png", "deep", encoded(".png", deep)
    grey = picture(6)[:, :, 0] // 2
    yield "a PGM with a maximum of 127", "dog/max.pgm", "deep", b"P5 60 40 127\n" + grey.tobytes()
    yield "all black", "dog/black.png", "flat", encoded(".png", np.zeros((40, 60, 3), np.uint8))
    faint = np.full((40, 60, 3), 7, np.uint8)
    faint[10:20, 10:20] = 9
    yield "nearly nothing", "dog/faint.png", "nearly_empty", encoded(".png", faint)
    yield "very small", "dog/tiny.png", "small", encoded(".png", picture(7, 6, 6))
    yield "a suffix in capitals", "dog/LOUD.PNG", "", encoded(".png", picture(8))
    yield "in a deeper folder", "dog/deeper/x.png", "", encoded(".png", picture(9))
    yield "grey", "dog/grey.png", "", encoded(".png", picture(10)[:, :, 0])
    rows = b"".join(b"\0" + bytes(range(row, row + 8)) for row in range(8))
    yield "a palette of nothing but greys", "dog/eight.png", "small", made_png(8, 8, 8, 0, rows)
    yield "a name that is no UTF-8", "dog/caf\udce9.png", "escaped_names", encoded(".png", picture(11))
    yield "a name with a line feed", "dog/two\nlines.png", "", encoded(".png", picture(12))
    yield "a name with a mark of direction", "dog/\u202egnp.png", "", encoded(".png", picture(13))


def _folders() -> Iterator[Made]:
    yield "notes", "cat/notes.txt", "strays", b"meow"
    yield "a table of a file manager", "cat/Thumbs.db", "strays", b"\xd0\xcf\x11\xe0"
    yield "a video", "cat/run.mp4", "strays", b"\0\0\0\x18ftypmp42"
    yield "a file of labels", "labels.csv", "beside", b"path,label\n"
    yield "a folder of a file manager", "cat/.DS_Store", "", b"hidden"
    yield "a link to a folder", "cat/more", "links", lambda path: path.symlink_to("../dog")
    yield "a link in a circle", "cat/loop", "links", lambda path: path.symlink_to("..")
    yield "an empty class", "cow", "CLASS_EMPTY", Path.mkdir
    yield "a class of files that are no samples", "fox/song.txt", "CLASS_EMPTY", b"?"
    yield "a class of one", "owl/one.png", "few", encoded(".png", picture(20))
    yield "a label in two cases", "Dog/x.png", "LABELS_REPEAT", encoded(".png", picture(21))
    yield "a label that nobody sees whole", "h\u200ben/x.png", "DATA_BAD", encoded(".png", picture(22))
    yield "a label with a tab", "h\ten/x.png", "DATA_BAD", encoded(".png", picture(23))
    yield "a label that is no UTF-8", "b\udce9/x.png", "DATA_BAD", encoded(".png", picture(24))
    yield "a label of 70 letters", "x" * 70 + "/x.png", "DATA_BAD", encoded(".png", picture(25))
    decomposed = unicodedata.normalize("NFD", "köter")
    yield "a label in decomposed letters", f"{decomposed}/x.png", "", encoded(".png", picture(26))


def hostile_sounds(folder: Path) -> list[HostileThing]:
    """Fill a folder with classes of sounds; return what is wrong, or special, about what."""
    for label in ("beep", "hum"):
        (folder / label).mkdir(parents=True)
        for number in range(12):
            path = folder / label / f"{number:02}.wav"
            path.write_bytes(wav_bytes(tone(hash_of(label, number)), RATE))
    return [_put(folder, *made) for made in _sounds()]


def _written(form: str, subtype: str, samples: npt.NDArray[np.int16], rate: int = RATE) -> bytes:
    import io

    file = io.BytesIO()
    soundfile.write(file, samples, rate, format=form, subtype=subtype)
    return file.getvalue()


def _sounds() -> Iterator[Made]:
    wav = wav_bytes(tone(1), RATE)
    ogg = _written("OGG", "VORBIS", tone(2, 3.0))
    yield "an empty WAV", "beep/empty.wav", "AUDIO_UNREADABLE", b""
    yield "a WAV cut off", "beep/cut.wav", "AUDIO_TRUNCATED", wav[: len(wav) // 2]
    yield "a WAV without samples", "beep/none.wav", "AUDIO_UNREADABLE", wav_bytes(np.empty(0, np.int16), RATE)
    yield "text with a sound's name", "beep/text.mp3", "AUDIO_UNREADABLE", b"la la la" * 100
    yield "an empty Ogg", "beep/empty.ogg", "AUDIO_UNREADABLE", b""
    yield "an Ogg cut off", "beep/cut.ogg", "AUDIO_TRUNCATED", ogg[: len(ogg) * 2 // 3]
    yield "an empty Opus", "beep/empty.opus", "AUDIO_UNREADABLE", b""
    yield "an MP3 of zeros", "beep/zeros.mp3", "AUDIO_UNREADABLE", bytes(4096)
    rate = bytearray(wav)
    struct.pack_into("<I", rate, 24, 0)
    yield "a rate of 0", "beep/rate.wav", "AUDIO_UNREADABLE", bytes(rate)
    yield "a picture with a sound's name", "beep/picture.wav", "AUDIO_UNREADABLE", encoded(".png", picture(1))
    base = tone(hash_of("beep", 1))
    yield "the same, as FLAC", "beep/again.flac", "alike", _written("FLAC", "PCM_16", base)
    yield "the same, as Ogg", "beep/again.ogg", "alike", _written("OGG", "VORBIS", base)
    yield (
        "the same, under another label",
        "hum/beep.flac",
        "alike_other_label",
        _written("FLAC", "PCM_16", tone(hash_of("beep", 2))),
    )
    yield "silence", "hum/silence.wav", "silent", wav_bytes(np.zeros(RATE, np.int16), RATE)
    loud = np.clip(tone(5).astype(np.int32) * 20, -32_768, 32_767).astype(np.int16)
    yield "far too loud", "hum/loud.wav", "clipped", wav_bytes(loud, RATE)
    yield "a click", "hum/click.wav", "short", wav_bytes(tone(6, 0.03), RATE)
    yield "a telephone's rate", "hum/phone.wav", "low_rate", wav_bytes(tone(7)[::2], 8_000)
    yield "24 bits", "hum/wide.wav", "", _written("WAV", "PCM_24", tone(8))
    yield "a list of tracks", "hum/list.m3u", "strays", b"#EXTM3U\n"
