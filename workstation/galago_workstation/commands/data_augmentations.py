"""``galago data augmentations``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from galago_edge.commands.cli import say
from galago_edge.commands.options import PATH

if TYPE_CHECKING:
    from galago_workstation.data.augmentation_samples import ChangedSample

_MARK = "augmentations.txt"


@click.command()
@click.argument("config", type=PATH)
@click.option(
    "--out", type=PATH, required=True, metavar="FOLDER", help="Folder to fill; an older one is replaced."
)
@click.option(
    "--samples", type=click.IntRange(1, 1_000), default=12, show_default=True, help="So many, of all labels."
)
@click.option(
    "--epochs", type=click.IntRange(1, 100), default=3, show_default=True, help="Changed forms of each."
)
def augmentations(config: Path, out: Path, samples: int, epochs: int) -> None:
    """Show what the augmentation of CONFIG does to its samples.

    A picture is one PNG: as it is, then as each epoch changes it. A sound is one WAV of each. Only the
    samples that are shown are read, so mixing takes others of them. FOLDER/augmentations.txt says what is
    what.

    \b
    Example:
        galago data augmentations birds.toml --out look
    """
    from galago_workstation.data.augmentation_samples import augmentation_samples
    from galago_workstation.data.sample_reader import open_reader
    from galago_workstation.data.splits import split
    from galago_workstation.files import new_folder, write_bytes
    from galago_workstation.training_config import AudioConfig, read_config

    read = read_config(config)
    listing = open_reader(read, config.parent).listing()
    parts = split(listing, validation_share=read.data.validation_share, test_share=read.data.test_share)
    rate_hz = read.preprocess.sample_rate_hz if isinstance(read, AudioConfig) else None
    found = augmentation_samples(read, config.parent, parts, listing.labels, samples, epochs=epochs)
    lines: list[str] = []
    with new_folder(out, mark=_MARK) as folder:
        for number, sample in enumerate(found):
            for name, content in _files(f"{number:03d}", sample, rate_hz).items():
                write_bytes(folder / name, content)
            label = listing.labels[sample.sample.label]
            lines.append(f"{number:03d} {label}: {sample.sample.id}{_mixed(sample)}")
        write_bytes(folder / _MARK, ("\n".join(lines) + "\n").encode())
    say(f"{out}: {len(found)} samples, each as it is and as {epochs} epochs change it")


def _files(name: str, sample: ChangedSample, rate_hz: int | None) -> dict[str, bytes]:
    """Return the content of each file of a sample."""
    import numpy as np

    from galago_edge.recording.sample_media import wav_bytes

    if rate_hz is not None:
        clips = [wav_bytes(each.astype(np.int16), rate_hz) for each in (sample.plain, *sample.changed)]
        return {f"{name}-{epoch}.wav": clip for epoch, clip in zip(_epochs(sample), clips, strict=True)}
    import cv2

    row = np.concatenate([sample.plain, *sample.changed], axis=1).astype(np.uint8)
    done, data = cv2.imencode(".png", row[..., ::-1])  # RGB or gray
    assert done
    return {f"{name}.png": data.tobytes()}


def _epochs(sample: ChangedSample) -> list[str]:
    return ["before", *(str(epoch + 1) for epoch in range(len(sample.changed)))]


def _mixed(sample: ChangedSample) -> str:
    return "".join(
        f"; {epoch} with {round(100 * mixed[1])} % of {mixed[0]}"
        for epoch, mixed in zip(_epochs(sample)[1:], sample.mixed, strict=True)
        if mixed is not None
    )
