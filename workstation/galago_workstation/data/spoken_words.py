"""A data set of words in synthetic voices: one folder per word, and a record of who said what, how."""

from __future__ import annotations

import re
import unicodedata
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
import numpy as np

from galago_edge.contract.errors import CallerError, Reason
from galago_edge.recording.sample_media import wav_bytes
from galago_workstation.data.augmentation.random_draws import spread
from galago_workstation.data.synthetic_voices import (
    ENGINES,
    Engine,
    Voice,
    program_versions,
    spoken,
    voices_of,
)
from galago_workstation.files import new_folder, write_bytes, write_json

SPOKEN_FILE = "spoken.json"

_LONGEST_LABEL = 64
"""Characters, as of every label."""
_SPEED_SPREAD = 1.35
"""Slowest and fastest: by this factor."""
_PITCH_SPREAD = 1.15


class Take(msgspec.Struct, frozen=True, kw_only=True):
    """One file."""

    file: str
    """Relative to the folder."""
    word: str
    engine: Engine
    voice: str
    speed: float
    """1 is usual."""
    pitch: float
    """Factor of the voice's own."""


class SpokenRecord(msgspec.Struct, frozen=True, kw_only=True):
    """Content of spoken.json."""

    schema: str = "galago.spoken/1"
    language: str
    seed: int
    sample_rate_hz: int
    programs: dict[str, str]
    """Versions, by name."""
    takes: tuple[Take, ...]


def speak_words(
    words: Sequence[str],
    out: Path,
    *,
    language: str,
    takes: int,
    rate_hz: int,
    seed: int,
    engines: Sequence[Engine] = ENGINES,
    done: Callable[[], None] = lambda: None,
) -> SpokenRecord:
    """Say every word ``takes`` times and leave the folder ``out``.

    The voices are the same for every word, in an order that the seed decides; each take has its own speed and
    pitch. The same words, seed and programs give the same bytes.

    Args:
        words: Each is a label; a phrase is one, too.
        out: The folder; one that this function has made is replaced.
        language: Code such as ``en``.
        takes: Of each word.
        rate_hz: Of the files.
        seed: Decides.
        engines: Programs to use, of those that are installed.
        done: Called after each file.

    Raises:
        CallerError: CONFIG_BAD; a word is given twice, is no label, or cannot be said. EXISTS.
        DeviceError: EXTRA_MISSING; no program is installed.
        LinkError: The disk fails.
    """
    folders = {word: folder_name(word) for word in words}
    _check(words, folders)
    versions = program_versions()
    usable = [engine for engine in engines if engine in versions]
    if not usable:
        raise CallerError(
            Reason.CONFIG_BAD,
            f"{' and '.join(engines)} is not installed, {' and '.join(versions)} is",
            hint=f"sudo apt-get install {' '.join(engines)}",
        )
    voices = _in_turn(voices_of(language, usable), seed)
    made: list[Take] = []
    with new_folder(out, mark=SPOKEN_FILE) as folder:
        for word, name in folders.items():
            (folder / name).mkdir()
            for number in range(takes):
                take = _take(word, name, voices(number), number, seed)
                voice = Voice(take.engine, take.voice)
                sound = spoken(voice, word, speed=take.speed, pitch=take.pitch, rate_hz=rate_hz)
                write_bytes(folder / take.file, wav_bytes(sound, rate_hz))
                made.append(take)
                done()
        record = SpokenRecord(
            language=language,
            seed=seed,
            sample_rate_hz=rate_hz,
            programs={engine: versions[engine] for engine in sorted({take.engine for take in made})},
            takes=tuple(made),
        )
        write_json(folder / SPOKEN_FILE, record)
    return record


def _in_turn(voices: Sequence[Voice], seed: int) -> Callable[[int], Voice]:
    """Return which voice speaks in which take: the programs in turn, for one has many voices, one few."""
    rng = np.random.default_rng(seed)
    by_engine = [[voice for voice in voices if voice.engine == engine] for engine in ENGINES]
    ordered = [[each[place] for place in rng.permutation(len(each))] for each in by_engine if each]

    def voice(number: int) -> Voice:
        own: list[Voice] = ordered[number % len(ordered)]
        return own[number // len(ordered) % len(own)]

    return voice


def _take(word: str, name: str, voice: Voice, number: int, seed: int) -> Take:
    speed, pitch = np.random.default_rng((seed, zlib.crc32(word.encode()), number)).random(2).tolist()
    return Take(
        file=f"{name}/{voice.file_name}-{number:03d}.wav",
        word=word,
        engine=voice.engine,
        voice=voice.name,
        speed=round(_SPEED_SPREAD ** spread(speed), 3),
        pitch=round(_PITCH_SPREAD ** spread(pitch), 3),
    )


def folder_name(word: str) -> str:
    """Return the label of a word: what no name of a folder can hold becomes ``_``.

    >>> folder_name("hey galago"), folder_name("on/off")
    ('hey galago', 'on_off')
    """
    return re.sub(r"[/\0]|^\.", "_", word.strip())


def _check(words: Sequence[str], folders: dict[str, str]) -> None:
    taken: dict[str, str] = {}
    for word in words:
        label = folders[word]
        if not word.isprintable() or not 1 <= len(label) <= _LONGEST_LABEL:
            raise CallerError(
                Reason.CONFIG_BAD,
                f"{word!r} cannot be a label; expected 1 to {_LONGEST_LABEL} characters that people see",
                hint="give each word as an argument of its own, in quotes if it is a phrase",
            )
        key = unicodedata.normalize("NFKC", label).casefold()
        if key in taken:
            raise CallerError(
                Reason.CONFIG_BAD,
                f"{taken[key]!r} and {word!r} would be the same label",
                hint="give every word once",
            )
        taken[key] = word
