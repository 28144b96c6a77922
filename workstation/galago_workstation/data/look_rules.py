"""What is said of samples by what they are like: one rule for each thing, for pictures and for sounds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from galago_edge.contract.manifest import AudioPreprocess, ImagePreprocess
from galago_workstation.data.data_finding import FindingLevel, FindingList
from galago_workstation.data.sample import Sample
from galago_workstation.data.sample_look import PictureLook, SampleLook, SoundLook

EMPTY_DEVIATION = 2.0
"""Of grey values: less is a covered lens or an empty page."""
SILENT_PEAK = 8
"""Of 32768: less is silence with the noise of a converter."""
CLIPPED_SHARE = 0.01
FORMAT_TELLS = 0.95
"""Share of the samples whose label their format alone would tell."""
_USUAL_SHARE = 0.8
"""Of one label: then guessing it is as good as anything."""
_MOST_FORMATS = 8

Look = TypeVar("Look", PictureLook, SoundLook)


@dataclass(frozen=True, slots=True)
class LookRule(Generic[Look]):
    """One thing that may be true of a sample."""

    level: FindingLevel
    code: str
    holds: Callable[[Look], bool]
    text: str
    fix: str = ""


def picture_rules(spec: ImagePreprocess | None) -> Iterator[LookRule[PictureLook]]:
    """Yield the rules for pictures that a device would take as ``spec`` says."""
    yield LookRule(
        "warning",
        "flat",
        lambda look: look.low == look.high,
        "pictures of one grey value",
        "remove them, unless they are the class",
    )
    yield LookRule(
        "warning",
        "nearly_empty",
        lambda look: look.low != look.high and look.deviation < EMPTY_DEVIATION,
        "pictures that show almost nothing",
        "look at them",
    )
    yield LookRule(
        "note", "alpha", lambda look: look.alpha, "pictures with transparency, laid on white as on the device"
    )
    yield LookRule(
        "note", "deep", lambda look: look.deep, "pictures of other than 8 bits, scaled as their file says"
    )
    if spec is not None:
        width, height = spec.width, spec.height
        yield LookRule(
            "warning",
            "small",
            lambda look: 2 * look.width < width and 2 * look.height < height,
            f"pictures of less than half of the model's {width} x {height} pixels",
            "a smaller [preprocess] width and height",
        )


def sound_rules(spec: AudioPreprocess | None) -> Iterator[LookRule[SoundLook]]:
    """Yield the rules for sounds that a device would take as ``spec`` says."""
    yield LookRule(
        "warning",
        "silent",
        lambda look: look.peak < SILENT_PEAK,
        "sounds of silence",
        "remove them, unless they are the class",
    )
    yield LookRule(
        "warning",
        "clipped",
        lambda look: look.clipped >= CLIPPED_SHARE,
        "sounds of which 1 % and more is at full scale",
        "record at a lower level",
    )
    if spec is not None:
        rate, window_s = spec.sample_rate_hz, spec.window_samples / spec.sample_rate_hz
        yield LookRule(
            "warning",
            "short",
            lambda look: look.seconds < window_s / 4,
            f"sounds of less than a quarter of the model's window of {window_s:.2f} s",
            "a smaller [preprocess] window_frames",
        )
        yield LookRule(
            "warning",
            "low_rate",
            lambda look: look.rate_hz < rate,
            f"sounds of a lower rate than the model's {rate} Hz, with nothing in them above half of it",
            "a lower [preprocess] sample_rate_hz, if the devices' microphones are so, too",
        )


def judge_looks(
    looks: Mapping[Sample, SampleLook], spec: ImagePreprocess | AudioPreprocess | None, found: FindingList
) -> None:
    """Add what the rules say."""
    pictures = {sample.id: look for sample, look in looks.items() if isinstance(look, PictureLook)}
    sounds = {sample.id: look for sample, look in looks.items() if isinstance(look, SoundLook)}
    _apply(picture_rules(spec if isinstance(spec, ImagePreprocess) else None), pictures, found)
    _apply(sound_rules(spec if isinstance(spec, AudioPreprocess) else None), sounds, found)


def _apply(rules: Iterator[LookRule[Look]], looks: Mapping[str, Look], found: FindingList) -> None:
    for rule in rules:
        names = [name for name, look in looks.items() if rule.holds(look)]
        found.add(rule.level, rule.code, names, rule.text, rule.fix)


def judge_formats(looks: Mapping[Sample, SampleLook], labels: Sequence[str], found: FindingList) -> None:
    """Find labels that the format of the files gives away: then that is what a model learns."""
    forms: dict[str, Counter[int]] = {}
    for sample, look in looks.items():
        forms.setdefault(_form(sample, look), Counter())[sample.label] += 1
    usual = sum(forms.values(), Counter[int]())
    if not 2 <= len(forms) <= _MOST_FORMATS or len(usual) < 2:
        return
    told = sum(max(counts.values()) for counts in forms.values())
    if told < FORMAT_TELLS * len(looks) or max(usual.values()) >= _USUAL_SHARE * len(looks):
        return
    names = [f"{form}: {labels[counts.most_common(1)[0][0]]}" for form, counts in forms.items()]
    text = f"formats that give away the label of {told} of {len(looks)} samples: a model may learn just that"
    found.add("warning", "format_tells_label", names, text, "bring all files to one format")


def _form(sample: Sample, look: SampleLook) -> str:
    suffix = Path(sample.id).suffix.lower() if sample.path is not None else ""
    if isinstance(look, PictureLook):
        return f"{suffix} {look.width} x {look.height}"
    return f"{suffix} {look.rate_hz} Hz, {look.channels} channel{'s' * (look.channels != 1)}"
