"""Microphone data: smoke, carbon monoxide and siren signals in the noise of a home."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np

from galago_edge.contract.streams import NS_PER_S, samples_to_ns
from galago_edge.recording.sample_media import wav_bytes
from galago_workstation.demo.household import any_sounder, appliance, beeps, knocks, scene
from galago_workstation.demo.sounds import (
    RATE_HZ,
    SIREN_KNOWN_S,
    TEMPORAL_FOUR,
    TEMPORAL_THREE,
    Rhythm,
    Sound,
    Sounder,
    in_room,
    mix,
    piezo,
    rms,
    siren,
    square_520,
    to_int16,
)
from galago_workstation.demo.truth import TRUTH_FILE, DemoTruth, TrueEvent, write_configs, write_truth
from galago_workstation.files import new_folder

LABELS = ("background", "co", "siren", "smoke")
SECONDS = 300
DEADLINE_S = 6.0
"""An alarm must be found this soon after its pattern was complete once."""
RECORDING = "recording.wav"

WINDOW_S = 4.0
"""What the model hears at once: one whole cycle of temporal-three."""
SLACK_S = 0.5
"""Training clips are longer than the window by this much; the label holds for every window in them."""
_CLIP_S = WINDOW_S + SLACK_S

_KITS = 300
_TAKES = {"smoke": 2, "co": 4, "siren": 1}  # a pattern of 0.7 s in 4 s is the hardest to learn
_HOME_CLIPS = 2
_STREAM_SNR_DB = (18.0, 12.0, 9.0, 6.0, 3.0)
_SCHEDULE = {"smoke": 5, "co": 4, "siren": 2}


def make_alarms(out: Path, *, seed: int = 0) -> DemoTruth:
    """Write ``out/train/LABEL/*.wav``, ``out/recording.wav`` and ``out/truth.json``, and what QA needs.

    File names begin with the sounder or the scene they were made from, for ``group`` in the training
    configuration. The recording has sounders, rooms and noises of its own.

    Raises:
        CallerError: EXISTS; ``out`` is there and was not made by this function; its own work is replaced.
        LinkError: The disk is full or read-only.
    """
    train, stream = (np.random.default_rng([seed, part]) for part in range(2))
    with new_folder(out, mark=TRUTH_FILE) as folder:
        _write_clips(folder / "train", train)
        sound, events = _stream(stream)
        write_wav(folder / RECORDING, sound)
        truth = DemoTruth(
            modality="microphone",
            recording=RECORDING,
            seed=seed,
            duration_ns=SECONDS * NS_PER_S,
            events=tuple(sorted(events, key=lambda event: event.onset_ns)),
        )
        write_configs("alarms", truth, folder)
        write_truth(truth, folder)
    return truth


def write_wav(path: Path, sound: Sound) -> None:
    """Write 16-bit mono at 16 kHz. ``sound``: full scale is 1.0."""
    path.write_bytes(wav_bytes(to_int16(sound), RATE_HZ))


# ---- training clips


def _write_clips(folder: Path, rng: np.random.Generator) -> None:
    """Write kits: one home scene each, its own sounders in it, so that a split by kit shares nothing."""
    for label in LABELS:
        (folder / label).mkdir(parents=True)
    size = round(_CLIP_S * RATE_HZ)
    for number in range(_KITS):
        home = scene(rng, size * (_HOME_CLIPS + 1))
        sounders = {"smoke": square_520(rng) if number % 5 < 2 else piezo(rng), "co": piezo(rng)}
        clips = [("siren", f"siren{take}", _siren_take(rng)) for take in range(_TAKES["siren"])]
        for label, sounder in sounders.items():
            clips += [(label, f"{label}{take}", _take(label, sounder, rng)) for take in range(_TAKES[label])]
        # the same sounder with another rhythm is no alarm, nor is any other beeper,
        # and with a pattern that has just begun it is none yet
        some = ("smoke", "co")[number % 2]
        for name, sounder in (("same", sounders[some]), ("other", any_sounder(rng))):
            clip = _put(appliance(sounder, rng), rng.uniform(0.0, 2.5))
            clips.append(("background", f"appliance-{name}", clip))
        clips.append(("background", f"{some}-begun", _begun(some, sounders[some], rng)))
        for label, name, clip in clips:
            at = int(rng.integers(home.size - size))
            sound = mix(in_room(clip, rng), home[at : at + size], float(rng.uniform(0.0, 22.0)))
            write_wav(folder / label / f"kit{number:03d}-{name}.wav", sound)
        for take, part in enumerate(home.reshape(-1, size)[:_HOME_CLIPS]):
            write_wav(folder / "background" / f"kit{number:03d}-home{take}.wav", part)


def _siren_take(rng: np.random.Generator) -> Sound:
    sound = siren(rng, _CLIP_S)
    if rng.random() < 0.4:  # it begins within the clip
        sound[: int(rng.uniform(0, 1.5) * RATE_HZ)] = 0.0
    return sound


def _take(label: str, sounder: Sounder, rng: np.random.Generator) -> Sound:
    """Return a clip in which every window of ``WINDOW_S`` holds the whole pattern."""
    if label == "co":
        return _placed(sounder, TEMPORAL_FOUR, 1, rng.uniform(SLACK_S, WINDOW_S - TEMPORAL_FOUR.pattern_s))
    if rng.random() < 0.5:  # it begins within the clip: the pattern still fits behind that moment
        return _placed(sounder, TEMPORAL_THREE, 3, rng.uniform(0, WINDOW_S - TEMPORAL_THREE.pattern_s))
    return _placed(sounder, TEMPORAL_THREE, 3, -rng.uniform(0, TEMPORAL_THREE.cycle_s))


def _begun(label: str, sounder: Sounder, rng: np.random.Generator) -> Sound:
    """Return a clip in which no window holds more than one pulse of the pattern."""
    if label == "co":
        return _placed(sounder, TEMPORAL_FOUR, 1, rng.uniform(WINDOW_S + 0.3, _CLIP_S - 0.05))
    return _placed(sounder, TEMPORAL_THREE, 1, rng.uniform(WINDOW_S - 0.5, _CLIP_S - 0.3))


def _placed(sounder: Sounder, rhythm: Rhythm, cycles: int, at_s: float) -> Sound:
    return _put(sounder.signal(rhythm, cycles), at_s)


def _put(signal: Sound, at_s: float) -> Sound:
    """Return a clip with the signal beginning at ``at_s``, which may lie before the clip."""
    clip = np.zeros(round(_CLIP_S * RATE_HZ), np.float32)
    at = round(at_s * RATE_HZ)
    signal = signal[max(0, -at) :]
    part = clip[max(0, at) :]
    part[: signal.size] = signal[: part.size]
    return clip


# ---- the stream


def _stream(rng: np.random.Generator) -> tuple[Sound, list[TrueEvent]]:
    sound = quiet_home(rng)
    order = _order(rng)
    slot_s = SECONDS / len(order)
    events = []
    for number, label in enumerate(order):
        signal, complete_s, about = episode(label, rng)
        free_s = slot_s - signal.size / RATE_HZ
        at = round((number * slot_s + rng.uniform(0.25, 0.75) * free_s) * RATE_HZ)
        snr_db = _STREAM_SNR_DB[number % len(_STREAM_SNR_DB)]
        part = sound[at : at + signal.size]
        part[:] = mix(in_room(signal, rng), part, snr_db)
        complete = at + round(complete_s * RATE_HZ)
        events.append(
            TrueEvent(
                label=label,
                onset_ns=samples_to_ns(at, RATE_HZ),
                complete_ns=samples_to_ns(complete, RATE_HZ),
                offset_ns=samples_to_ns(at + signal.size, RATE_HZ),
                deadline_ns=samples_to_ns(complete, RATE_HZ) + round(DEADLINE_S * NS_PER_S),
                about={"sound": about, "snr_db": snr_db},
            )
        )
    return sound, events


def quiet_home(rng: np.random.Generator) -> Sound:
    """Return ``SECONDS`` without an alarm: scenes of 20 s that fade into each other, beeps and knocks."""
    size, fade, length = SECONDS * RATE_HZ, RATE_HZ, 20 * RATE_HZ
    sound = np.zeros(size + fade, np.float32)
    ramp = np.sqrt(np.linspace(0.0, 1.0, fade, dtype=np.float32))
    for at in range(0, size, length):
        part = scene(rng, length + fade, level_dbfs=(-42.0, -26.0))
        part[:fade] *= ramp
        part[-fade:] *= ramp[::-1]
        sound[at : at + part.size] += part
    for maker in (beeps, knocks):
        extra = in_room(maker(rng, size + fade), rng)
        sound += extra * np.float32(10.0 ** (-36.0 / 20.0) / rms(extra))
    return sound[:size]


def _order(rng: np.random.Generator) -> list[str]:
    """Return the labels of the schedule so that no two neighbours are equal."""
    labels = [label for label, count in _SCHEDULE.items() for _ in range(count)]
    while True:
        order = [labels[i] for i in rng.permutation(len(labels))]
        if all(a != b for a, b in itertools.pairwise(order)):
            return order


def episode(label: str, rng: np.random.Generator) -> tuple[Sound, float, str]:
    """Return an alarm of 10 to 12 s, the seconds until its pattern is complete, and what it is."""
    if label == "siren":
        return siren(rng, 12.0), SIREN_KNOWN_S, "siren"
    if label == "co":
        return piezo(rng).signal(TEMPORAL_FOUR, 3), TEMPORAL_FOUR.pattern_s, "temporal-four"
    low = rng.random() < 0.5
    sounder = square_520(rng) if low else piezo(rng)
    about = "temporal-three, 520 Hz square" if low else "temporal-three, 3.1 kHz"
    return sounder.signal(TEMPORAL_THREE, 3), TEMPORAL_THREE.pattern_s, about
