"""What augmentation does, to look at and to listen to: samples as they are and as epochs change them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from galago_workstation.data.augmentation.own_material import own_folders
from galago_workstation.data.feed import ClipFeed, PictureFeed, open_feed
from galago_workstation.data.sample import Part, Sample
from galago_workstation.data.sample_reader import Inputs, Raw, open_reader
from galago_workstation.training_config import Config


@dataclass(frozen=True, slots=True)
class ChangedSample:
    """One training sample, before and after."""

    sample: Sample
    plain: Raw
    """Picture ``(height, width, channels)`` uint8 of the model's size and colours, or the window
    ``(window_samples,)`` int16 from the middle of the clip."""
    changed: tuple[Raw, ...]
    """The same of each epoch."""
    plain_input: Inputs
    """What the model is given: the picture itself, or features ``(window_frames, mel_bands)`` int8."""
    changed_inputs: tuple[Inputs, ...]
    """The same of each epoch; features that are blanked are so only here."""
    mixed: tuple[tuple[str, float] | None, ...]
    """For each epoch the id of the sample that is mixed in, and its share; None: there is none."""


def augmentation_samples(
    config: Config,
    root: Path,
    parts: Mapping[Part, Sequence[Sample]],
    labels: Sequence[str],
    n: int,
    *,
    epochs: int = 3,
) -> list[ChangedSample]:
    """Return ``n`` training samples of all labels in turn, each as ``epochs`` epochs would change it.

    Only these samples are read, so what is mixed into one is another of them, and around a clip is heard
    background of them.

    Args:
        config: Of a training.
        root: Folder that its paths are relative to.
        parts: Samples by part; those for training are shown.
        labels: Names of all classes, in output order.
        n: At most so many.
        epochs: Changed forms of each.

    Raises:
        InputError: A sample, or what ``[augment]`` names, cannot be read.
        LinkError: The disk fails.
    """
    shown = of_all_labels(parts["train"], n)
    if not shown:
        return []
    reader: Any = open_reader(config, root)
    background = {number for number, name in enumerate(labels) if name in config.data.background}
    material = own_folders(config.augment, root, parts)
    feed = open_feed(config, reader, shown, None, background=background, material=material)
    found = []
    for index, sample in enumerate(shown):
        alone = np.array([index])
        plain_input = feed.plain(alone)[0]
        changes = [feed.augmented(epoch, alone) for epoch in range(epochs)]
        found.append(
            ChangedSample(
                sample=sample,
                plain=plain_input if isinstance(feed, PictureFeed) else reader.raw(sample),
                changed=tuple(
                    _raw(feed, epoch, index, change.inputs[0]) for epoch, change in enumerate(changes)
                ),
                plain_input=plain_input,
                changed_inputs=tuple(change.inputs[0] for change in changes),
                mixed=tuple(
                    None
                    if change.shares[0] == 1.0
                    else (shown[int(change.partners[0])].id, 1.0 - float(change.shares[0]))
                    for change in changes
                ),
            )
        )
    return found


def _raw(feed: PictureFeed | ClipFeed, epoch: int, index: int, changed: npt.NDArray[Any]) -> Raw:
    return changed if isinstance(feed, PictureFeed) else feed.window(epoch, index)[0]


def of_all_labels(samples: Sequence[Sample], n: int) -> list[Sample]:
    """Return at most ``n`` samples, of every label in turn, spread over each label's."""
    by_label: dict[int, list[Sample]] = {}
    for sample in samples:
        by_label.setdefault(sample.label, []).append(sample)
    each = -(-n // max(1, len(by_label)))
    spread = {
        label: [
            own[place] for place in np.unique(np.linspace(0, len(own) - 1, min(each, len(own))).astype(int))
        ]
        for label, own in sorted(by_label.items())
    }
    turns = [own[turn] for turn in range(each) for own in spread.values() if turn < len(own)]
    return turns[:n]
