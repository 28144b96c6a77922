"""The voices of espeak-ng and flite, and what they say."""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from galago_edge.contract.errors import CallerError, DeviceError, Reason
from galago_edge.contract.known_names import known_names
from galago_edge.sources.audio_file import read_audio

Engine = Literal["espeak-ng", "flite"]
ENGINES: tuple[Engine, ...] = ("espeak-ng", "flite")

_SECONDS = 60.0
"""A word takes milliseconds."""
_PERSONS = (*(f"m{number}" for number in range(1, 9)), *(f"f{number}" for number in range(1, 6)))
"""espeak-ng's variants that are persons: eight men, five women."""
_FLITE_TWINS = {"kal": "kal16", "awb_time": "awb"}
"""Voices of the same person as another: of a lower rate, or for times of day alone."""
_USUAL_WORDS_A_MINUTE = 165.0
_MIDDLE_PITCH = 50.0
"""espeak-ng's -p goes from 0 to 99."""
_PITCH_STEPS = 40.0
"""Of -p, for a factor of two; about what its help calls the range of a voice."""


@dataclass(frozen=True, slots=True, order=True)
class Voice:
    """One voice of one program."""

    engine: Engine
    name: str

    @property
    def file_name(self) -> str:
        """What stands for it in names of files."""
        return f"{self.engine.removesuffix('-ng')}_{self.name}"


def program_versions() -> dict[Engine, str]:
    """Return what each program says that it is; a program that is not installed is not there.

    Raises:
        DeviceError: EXTRA_MISSING; there is none.
    """
    found: dict[Engine, str] = {}
    for engine in ENGINES:
        if shutil.which(engine) is not None:
            said = _output([engine, "--version"])
            line = next((line for line in said.splitlines() if "ersion" in line or "text-to" in line), said)
            found[engine] = " ".join(line.partition("Data at")[0].split())
    if not found:
        raise DeviceError(
            Reason.EXTRA_MISSING,
            "synthetic speech needs espeak-ng or flite, and neither is installed",
            hint="sudo apt-get install espeak-ng flite",
        )
    return found


def voices_of(language: str, engines: Sequence[Engine]) -> tuple[Voice, ...]:
    """Return the voices for a language such as ``en``, ``en-gb`` or ``de``; flite speaks English only.

    Raises:
        CallerError: CONFIG_BAD; none of the programs has a voice for it.
    """
    found: list[Voice] = []
    known: set[str] = set()
    if "espeak-ng" in engines:
        for code, file in _espeak_languages():
            known.add(code)
            if code == language or code.startswith(f"{language}-"):
                found += [Voice("espeak-ng", f"{file}+{person}") for person in _PERSONS]
    if "flite" in engines:
        known.add("en")
        if language == "en" or language.startswith("en-"):
            names = _output(["flite", "-lv"]).partition(":")[2].split()
            found += [Voice("flite", name) for name in names if _FLITE_TWINS.get(name) not in names]
    if not found:
        raise CallerError(
            Reason.CONFIG_BAD,
            f"no voice of {' or '.join(engines)} speaks {language!r}; {known_names(language, known)}",
            hint="--language takes a code such as en, en-gb or de",
        )
    return tuple(found)


def _espeak_languages() -> list[tuple[str, str]]:
    """Return code and name of each of espeak-ng's own languages; MBROLA's need files that are not there."""
    rows = [line.split() for line in _output(["espeak-ng", "--voices"]).splitlines()[1:]]
    files = [(row[1], row[4]) for row in rows if len(row) > 4 and "/" in row[4]]
    return sorted({(code, Path(file).name) for code, file in files if not file.startswith("mb/")})


def spoken(voice: Voice, text: str, *, speed: float, pitch: float, rate_hz: int) -> npt.NDArray[np.int16]:
    """Return what a voice says, ``(n,)`` at ``rate_hz``, with the silence around it cut off.

    Args:
        voice: Who.
        text: What.
        speed: 1 is usual, 2 twice as fast.
        pitch: Factor of the voice's usual pitch.
        rate_hz: Samples a second.

    Raises:
        CallerError: CONFIG_BAD; the program fails, or says nothing.
    """
    with tempfile.TemporaryDirectory(prefix="galago-speech-") as folder:
        out = Path(folder) / "speech.wav"
        if voice.engine == "espeak-ng":
            steps = _MIDDLE_PITCH + _PITCH_STEPS * float(np.log2(pitch))
            _output(
                [
                    *("espeak-ng", "--stdin", "-b", "1", "-z", "-v", voice.name, "-w", str(out)),
                    *(
                        "-s",
                        str(round(_USUAL_WORDS_A_MINUTE * speed)),
                        "-p",
                        str(round(np.clip(steps, 0, 99))),
                    ),
                ],
                text,
            )
            sound = _read(out, rate_hz)
        else:
            # not every voice of flite has a pitch to set: it speaks slower, and is played faster
            stretch = f"duration_stretch={pitch / speed:.3f}"
            given = Path(folder) / "text"
            given.write_text(text, encoding="utf-8")
            _output(["flite", "-voice", voice.name, "--setf", stretch, "-f", str(given), "-o", str(out)])
            sound = _played_faster(_read(out, rate_hz), pitch)
    sound = without_silence(sound, rate_hz)
    if not len(sound):
        raise CallerError(
            Reason.CONFIG_BAD,
            f"{voice.engine} says nothing for {text!r} in the voice {voice.name}",
            hint="write it as it is spoken",
        )
    return sound


def _played_faster(sound: npt.NDArray[np.int16], factor: float) -> npt.NDArray[np.int16]:
    from galago_workstation.data.augmentation.sound_tempo import resampled

    found = resampled(sound.astype(np.float32), factor)
    return np.rint(found).clip(-32768, 32767).astype(np.int16)


def _read(path: Path, rate_hz: int) -> npt.NDArray[np.int16]:
    # text without a word makes a file without a sample, or none
    return read_audio(path, rate_hz) if path.exists() and path.stat().st_size > 64 else np.empty(0, np.int16)


def without_silence(sound: npt.NDArray[np.int16], rate_hz: int) -> npt.NDArray[np.int16]:
    """Return a sound from 20 ms before its first loud sample to 20 ms behind its last: 1 % of the peak.

    >>> without_silence(np.array([0] * 50 + [900, -900] + [0] * 50, np.int16), 1000).shape
    (42,)
    """
    level = np.abs(sound.astype(np.int32))
    loud = np.flatnonzero(level > max(1, int(level.max(initial=0)) // 100))
    if not len(loud):
        return sound[:0]
    margin = rate_hz // 50
    return sound[max(0, loud[0] - margin) : loud[-1] + 1 + margin]


def _output(command: list[str], given: str = "") -> str:
    try:
        done = subprocess.run(
            command,
            input=given.encode(),
            capture_output=True,
            timeout=_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise _failed(command, f"has not ended after {_SECONDS:g} s") from None
    except OSError as error:
        raise _failed(command, error.strerror or "cannot be run") from None
    if done.returncode != 0 and "--version" not in command:
        said = re.sub(r"\s+", " ", done.stderr.decode(errors="replace")).strip()
        raise _failed(command, said or f"ended with {done.returncode}")
    return (done.stdout or done.stderr).decode(errors="replace")


def _failed(command: list[str], what: str) -> CallerError:
    return CallerError(Reason.CONFIG_BAD, f"{command[0]}: {what}", hint=f"try it by hand: {command[0]} hello")
