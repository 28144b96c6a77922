"""Words from one recording each: a network from scratch against one that begins with a speech embedding.

    .venv/bin/python -m campaigns.one_shot_words [--sets 30] [--words 20] [--networks ds_cnn speech_embedding]

Prompts of the Debian packages ``asterisk-core-sounds-*-wav`` which three people say in the same words: the 26
names of the phonetic alphabet by Allison (English), June (French) and Ivrvoice (Russian). Each set is 20
random ones of these. ``one``: the recording of one person teaches, and another person's are the test.
``five``: five voices teach, both other people and three synthetic ones (``flite``: slt, rms, awb), and the
third person's are the test. All sounds are of 8 kHz, so that no codec tells voices apart, and lie in the
middle of 1.5 s, as somebody's own recorder leaves them.

The way is Galago's own: ``galago train`` (a copy of each recording, 3 % faster, is its validation),
``galago convert``, and both models on the test. Ends with exit code 1 when a bar is missed.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from campaigns import OUT, work_folder
from real_parts import packaged_file
from real_parts.processes import tool

if TYPE_CHECKING:
    from galago_workstation.run_folder import Run

RATE_HZ = 8_000
CLIP_SAMPLES = 11_960
"""What 148 frames of 25 ms cover, 10 ms apart."""
_QUIET = 0.03
"""Of the loudest level: what is below at both ends is cut off."""
_FASTER = 1.03
BARS = {"one": 0.70, "five": 0.90}
"""Least accuracy of the speech embedding as int8."""
_MOST_LOST = 0.01
_MOST_PROCESSOR_S = 120.0
"""A minute on two cores."""

PEOPLE = {"allison": "en_US_f_Allison", "june": "fr_CA_f_June", "ivrvoice": "ru_RU_f_IvrvoiceRU"}
SYNTHETIC = ("slt", "rms", "awb")
# fmt: off
WORDS = (
    "alpha", "bravo", "charlie", "delta", "echo", "foxtrot", "golf", "hotel", "india", "juliet", "kilo",
    "lima", "mike", "november", "oscar", "papa", "quebec", "romeo", "sierra", "tango", "uniform", "victor",
    "whiskey", "x-ray", "yankee", "zulu",
)
# fmt: on

Samples = npt.NDArray[np.int16]

_DATA = """
[data]
kind = "audio"
folder = "learn"
validation_folder = "choose"
test_folder = "test"
[augment]
shift_ms = 100
gain_db = 9
noise_snr_db = [10, 40]
[convert]
max_loss_points = 100
"""
_NETWORKS = {
    "ds_cnn": """
[preprocess]
kind = "logmel"
window_frames = 147
[model]
kind = "ds_cnn"
[train]
epochs = 30
min_steps = 600
""",
    "speech_embedding": """
[preprocess]
kind = "logmel"
version = "logmel/2"
frame_samples = 400
mel_bands = 32
fmax_hz = 3800.0
window_frames = 148
mel_scale = "slaney"
spectrum = "power"
floor_db = -92.0
[model]
kind = "speech_embedding"
weights = "speech"
[train]
body_rate = 0
""",
}


@dataclass(frozen=True, slots=True)
class WordSet:
    """One task: words, who teaches them and who says them in the test."""

    number: int
    words: Sequence[str]
    teachers: Sequence[str]
    tested: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What one training came to."""

    network: str
    voices: str
    """``one`` or ``five``."""
    task: WordSet
    accuracy_float: float
    accuracy_int8: float
    processor_s: float
    """Of the training, all threads together."""
    wall_s: float


def word_set(number: int, count: int, voices: str) -> WordSet:
    """Return a random set of words; the same number gives the same."""
    rng = np.random.default_rng((1, number))
    words = sorted(rng.choice(WORDS, count, replace=False).tolist())
    people = [*PEOPLE]
    tested = people[number % 3]
    others = [person for person in people if person != tested]
    teachers = [others[number // 3 % 2]] if voices == "one" else [*others, *SYNTHETIC]
    return WordSet(number, words, teachers, tested)


class Speech:
    """Recordings, each read once, without the silence at their ends.

    Raises:
        MissingPartError: A package or ``flite`` cannot be had.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._read: dict[tuple[str, str], Samples] = {}

    def clip(self, voice: str, word: str, speed: float = 1.0) -> Samples:
        """Return 1.5 s at 8 kHz with the word in the middle, as a tape ``speed`` times as fast plays it."""
        from galago_workstation.data.clip_window import middle_window

        if (voice, word) not in self._read:
            self._read[voice, word] = _trimmed(self._path(voice, word))
        sound = self._read[voice, word]
        played = np.interp(np.arange(int(len(sound) / speed)) * speed, np.arange(len(sound)), sound)
        return middle_window(np.rint(played).astype(np.int16), CLIP_SAMPLES)

    def _path(self, voice: str, word: str) -> Path:
        if voice in PEOPLE:
            # the manifest has one file of each package; the others lie beside it
            first = packaged_file(f"usr/share/asterisk/sounds/{PEOPLE[voice]}/phonetic/a_p.wav")
            return first.with_name(f"{word[0]}_p.wav")
        path = self._folder / f"{voice}-{word}.wav"
        command = [tool("flite"), "-voice", voice, "-t", word.replace("x-ray", "x ray"), "-o", str(path)]
        subprocess.run(command, check=True, capture_output=True, timeout=60)
        return path


def _trimmed(path: Path) -> Samples:
    from galago_edge.sources.audio_file import read_audio

    sound = read_audio(path, RATE_HZ)
    level = np.convolve(np.abs(sound.astype(np.float64)), np.ones(RATE_HZ // 100), "same")
    loud = np.flatnonzero(level > level.max() * _QUIET)
    return sound[max(0, loud[0] - RATE_HZ // 20) : loud[-1] + RATE_HZ // 20]


def _write(folder: Path, clips: Mapping[str, Sequence[Samples]]) -> None:
    import soundfile

    for word, sounds in clips.items():
        (folder / word).mkdir(parents=True)
        for number, sound in enumerate(sounds):
            soundfile.write(folder / word / f"{number}.wav", sound, RATE_HZ, subtype="PCM_16")


def run_task(folder: Path, network: str, voices: str, task: WordSet, speech: Speech) -> Outcome:
    """Train, convert and test once; ``folder`` is empty."""
    from galago_workstation.conversion.conversion_run import convert_run
    from galago_workstation.training.progress import PlainProgress
    from galago_workstation.training.training_run import train

    learn = {word: [speech.clip(voice, word) for voice in task.teachers] for word in task.words}
    _write(folder / "learn", learn)
    _write(folder / "choose", {word: [speech.clip(task.teachers[0], word, _FASTER)] for word in task.words})
    _write(folder / "test", {word: [speech.clip(task.tested, word)] for word in task.words})
    config = folder / "words.toml"
    config.write_text(_DATA + _NETWORKS[network] + f"seed = {task.number + 1}\n")
    before, began = _processor_s(), time.monotonic()
    run = train(config, folder / "run", PlainProgress(lambda _: None))
    processor, wall = _processor_s() - before, time.monotonic() - began
    convert_run(run, now=datetime.now(UTC))
    in_float, in_int8 = _accuracies(run)
    return Outcome(
        network=network,
        voices=voices,
        task=task,
        accuracy_float=in_float,
        accuracy_int8=in_int8,
        processor_s=round(processor, 1),
        wall_s=round(wall, 1),
    )


def _processor_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def _accuracies(run: Run) -> tuple[float, float]:
    """Return the accuracies of Keras and of the int8 model on the test."""
    from galago_converters.conversion_record import CONVERTED_FOLDER, INT8_FILE
    from galago_converters.export import logits
    from galago_converters.inputs import input_spec
    from galago_converters.model_runs import int8_logits

    samples = run.samples("test")
    inputs = run.inputs(samples)
    truth = np.array([sample.label for sample in samples])
    model = (run.path / CONVERTED_FOLDER / INT8_FILE).read_bytes()
    given = (
        logits(run.keras_model(), inputs, input_spec(run.preprocess)),
        int8_logits(model, inputs),
    )
    in_float, in_int8 = (float((answers.argmax(axis=1) == truth).mean()) for answers in given)
    return in_float, in_int8


def interval(values: Sequence[float]) -> tuple[float, float]:
    """Return the 95 % interval of a mean over sets (percentiles of 10,000 resamples)."""
    drawn = np.random.default_rng(0).choice(np.asarray(values), (10_000, len(values))).mean(axis=1)
    low, high = np.percentile(drawn, (2.5, 97.5))
    return float(low), float(high)


def report(outcomes: Sequence[Outcome]) -> Iterator[str]:
    """Yield a table of all trainings and what the bars say."""
    groups: dict[tuple[str, str], list[Outcome]] = defaultdict(list)
    for outcome in outcomes:
        groups[outcome.network, outcome.voices].append(outcome)
    for (network, voices), found in groups.items():
        low, high = interval([one.accuracy_int8 for one in found])
        in_float, in_int8, lost = _means(found)
        yield (
            f"{network} {voices}: int8 {100 * in_int8:.1f} % ({100 * low:.1f} to {100 * high:.1f}), float "
            f"{100 * in_float:.1f} %, int8 loses {100 * lost:.1f} points; {len(found)} sets; training "
            f"{np.median([one.processor_s for one in found]):.0f} s of processor, "
            f"{np.median([one.wall_s for one in found]):.0f} s by the clock (medians)"
        )


def _means(found: Sequence[Outcome]) -> tuple[float, float, float]:
    in_float = float(np.mean([one.accuracy_float for one in found]))
    in_int8 = float(np.mean([one.accuracy_int8 for one in found]))
    return in_float, in_int8, in_float - in_int8


def missed(outcomes: Sequence[Outcome]) -> Iterator[str]:
    """Yield every bar that the warm start does not reach."""
    for voices, bar in BARS.items():
        found = [one for one in outcomes if (one.network, one.voices) == ("speech_embedding", voices)]
        if not found:
            continue
        _, in_int8, lost = _means(found)
        slowest = max(one.processor_s for one in found)
        if in_int8 < bar:
            yield f"{voices}: {100 * in_int8:.1f} % is below {100 * bar:.0f} %"
        if lost > _MOST_LOST:
            yield f"{voices}: int8 loses {100 * lost:.1f} points"
        if slowest > _MOST_PROCESSOR_S:
            yield f"{voices}: a training took {slowest:.0f} s of processor"


def main() -> None:
    """Run the campaign."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--sets", type=int, default=30)
    parser.add_argument("--first", type=int, default=0, help="number of the first set")
    parser.add_argument("--words", type=int, default=20)
    parser.add_argument("--networks", nargs="+", choices=[*_NETWORKS], default=[*_NETWORKS])
    parser.add_argument("--voices", nargs="+", choices=[*BARS], default=[*BARS])
    parser.add_argument("--keep", type=Path, help="folder for all runs, instead of one that goes")
    parser.add_argument("--out", type=Path, default=OUT / "one_shot_words.json")
    given = parser.parse_args()
    outcomes: list[Outcome] = []
    show: Callable[..., None] = print
    with ExitStack() as stack:
        work = work_folder(given.keep, "words", stack)
        speech = Speech(work)
        for number in range(given.first, given.first + given.sets):
            for voices in given.voices:
                task = word_set(number, given.words, voices)
                for network in given.networks:
                    folder = work / f"{number}-{voices}-{network}"
                    folder.mkdir()
                    outcomes.append(run_task(folder, network, voices, task, speech))
                    show(json.dumps(asdict(outcomes[-1]) | {"task": number}), flush=True)
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.write_text(json.dumps([asdict(one) for one in outcomes], indent=1) + "\n")
    for line in report(outcomes):
        show(line)
    if failures := list(missed(outcomes)):
        sys.exit("missed: " + "; ".join(failures))


if __name__ == "__main__":
    main()
