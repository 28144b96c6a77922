"""The samples that training sees, by their position: as they are, and as each epoch changes them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from galago_workstation.data.augmentation.augment_options import AudioAugment, ImageAugment
from galago_workstation.data.augmentation.background_pictures import BackgroundPictures
from galago_workstation.data.augmentation.noise_recordings import NoiseRecordings, SoundClips
from galago_workstation.data.augmentation.own_material import OwnFolder
from galago_workstation.data.augmentation.picture_augmentation import PictureAugmentation
from galago_workstation.data.augmentation.random_draws import SampleDraws
from galago_workstation.data.augmentation.sample_mixing import Mixing
from galago_workstation.data.augmentation.sound_augmentation import SoundAugmentation, SoundSource
from galago_workstation.data.decoded_samples import DecodedSamples, SomeSamples
from galago_workstation.data.sample import Sample
from galago_workstation.data.sample_reader import AudioReader, ImageReader, Inputs
from galago_workstation.data.worker_crew import Begin
from galago_workstation.training_config import Config, ImageConfig

Indices = npt.NDArray[np.int64]

FEATURE_BYTES = 1 << 28
"""Of all clips whose features are kept: 65,000 of a second, with 98 frames of 40 bands."""


@dataclass(frozen=True, slots=True)
class ChangedInputs:
    """Model inputs as an epoch changes them, and whose they are."""

    inputs: Inputs
    partners: Indices
    """Positions of the samples that are mixed in; a sample's own where there is none."""
    shares: npt.NDArray[np.float32]
    """Of the samples themselves, 1 where nothing is mixed in; the rest is the partner's."""


class Feed(Protocol):
    """Training samples by their position."""

    def __len__(self) -> int: ...

    def name(self, index: int) -> str:
        """Return what messages call a sample."""
        ...

    def plain(self, indices: Indices) -> Inputs:
        """Return model inputs without any change."""
        ...

    def augmented(self, epoch: int, indices: Indices, begin: Begin | None = None) -> ChangedInputs:
        """Return model inputs as the given epoch changes them; ``begin`` is told of each sample."""
        ...


class PictureFeed:
    """Pictures are preprocessed once, where memory and disk hold them, and changed afterwards."""

    def __init__(
        self,
        reader: ImageReader,
        samples: Sequence[Sample],
        options: ImageAugment,
        seed: int,
        folder: Path | None,
        backgrounds: BackgroundPictures | None = None,
    ) -> None:
        self.held = DecodedSamples(reader.input, samples, np.uint8, folder)
        self._samples = samples
        self._shape = reader.input_shape
        self._augmentation = PictureAugmentation(options, reader.input_shape[2], backgrounds)
        self._seed = seed

    def __len__(self) -> int:
        return len(self.held)

    def name(self, index: int) -> str:
        """Return the id of a sample."""
        return self._samples[index].id

    @property
    def costly(self) -> bool:
        """Whether preparing pictures takes much longer than handing them over."""
        return self._augmentation.changes or self.held.decodes_anew > 0

    def plain(self, indices: Indices) -> npt.NDArray[np.uint8]:
        """Return ``(n, height, width, channels)`` uint8."""
        return np.stack([self.held[index] for index in indices.tolist()])

    def augmented(self, epoch: int, indices: Indices, begin: Begin | None = None) -> ChangedInputs:
        """Return ``(n, height, width, channels)`` uint8."""
        changed = _unmixed(np.empty((len(indices), *self._shape), np.uint8), indices)
        for row, index in enumerate(indices.tolist()):
            if begin is not None:
                begin(index)
            draws = SampleDraws(self._seed, epoch, index)
            picture = self._placed(draws)
            mixing = self._augmentation.mixing(draws, len(self), picture.shape)
            if mixing is not None:
                partner = self._placed(SampleDraws(self._seed, epoch, mixing.partner))
                picture = self._augmentation.mixed(picture, partner, mixing)
                changed.partners[row], changed.shares[row] = mixing.partner, mixing.share
            changed.inputs[row] = self._augmentation.finished(picture, draws)
        return changed

    def _placed(self, draws: SampleDraws) -> npt.NDArray[np.uint8]:
        return self._augmentation.placed(self.held[draws.index], draws)


class ClipFeed:
    """Clips are changed as sound; the frontend comes afterwards, every time.

    Where nothing changes any clip and each is as long as the window, features are computed once and kept.

    Args:
        reader: Reads the clips.
        samples: Of them.
        options: The bounds of all changes.
        seed: Decides them.
        noise: Somebody's own recordings of noise.
        background: Labels whose clips may be heard around others.
        folder: Takes what does not fit into memory; None: the folder of temporary files.
    """

    def __init__(
        self,
        reader: AudioReader,
        samples: Sequence[Sample],
        options: AudioAugment,
        seed: int,
        *,
        noise: NoiseRecordings | None = None,
        background: Collection[int] = (),
        folder: Path | None = None,
    ) -> None:
        self._reader = reader
        self.held = DecodedSamples(reader.clip, samples, np.int16, folder)
        self._samples = samples
        self._seed = seed
        filled = [
            index
            for index, sample in enumerate(samples)
            if sample.label in background and self.held.length(index)
        ]
        others = SoundClips(SomeSamples(self.held, filled))
        around: list[SoundSource] = [] if noise is None else [noise]
        around += [others] if others else []
        spec = reader.spec
        self._augmentation = SoundAugmentation(
            options, spec.sample_rate_hz, spec.window_samples, noise=noise, around=around
        )
        always_whole = all(self.held.length(index) == spec.window_samples for index in range(len(samples)))
        small = len(samples) * spec.window_frames * spec.mel_bands <= FEATURE_BYTES
        self.costly = not (always_whole and small and self._augmentation.keeps_sound)
        """Whether preparing clips takes much longer than handing them over."""
        self._features: dict[int, npt.NDArray[np.int8]] = {}

    def __len__(self) -> int:
        return len(self.held)

    def name(self, index: int) -> str:
        """Return the id of a sample."""
        return self._samples[index].id

    def plain(self, indices: Indices) -> npt.NDArray[np.int8]:
        """Return ``(n, window_frames, mel_bands)`` int8, from the middle of each clip."""
        return self._reader.inputs([self._samples[index] for index in indices])

    def window(self, epoch: int, index: int) -> tuple[npt.NDArray[np.int16], Mixing | None]:
        """Return one changed window ``(window_samples,)`` of a clip, and what is mixed in."""
        draws = SampleDraws(self._seed, epoch, index)
        placed = self._augmentation.placed(self.held[index], draws)
        mixing = self._augmentation.mixing(draws, len(self))
        if mixing is not None:
            of_partner = SampleDraws(self._seed, epoch, mixing.partner)
            partner = self._augmentation.placed(self.held[mixing.partner], of_partner)
            placed = self._augmentation.mixed(placed, partner, mixing)
        return self._augmentation.finished(placed, draws), mixing

    def augmented(self, epoch: int, indices: Indices, begin: Begin | None = None) -> ChangedInputs:
        """Return ``(n, window_frames, mel_bands)`` int8."""
        changed = _unmixed(np.empty((len(indices), *self._reader.input_shape), np.int8), indices)
        for row, index in enumerate(indices.tolist()):
            if begin is not None:
                begin(index)
            codes = self._features.get(index)
            if codes is None:
                window, mixing = self.window(epoch, index)
                if mixing is not None:
                    changed.partners[row], changed.shares[row] = mixing.partner, mixing.share
                codes = self._reader.features(window)
                if not self.costly:
                    self._features[index] = codes
            changed.inputs[row] = self._augmentation.blanked(codes, SampleDraws(self._seed, epoch, index))
        return changed


def open_feed(
    config: Config,
    reader: ImageReader | AudioReader,
    samples: Sequence[Sample],
    folder: Path | None,
    *,
    background: Collection[int] = (),
    material: Mapping[str, OwnFolder],
) -> PictureFeed | ClipFeed:
    """Return the feed of a configuration.

    Args:
        config: The configuration.
        reader: Its reader.
        samples: What is learned from.
        folder: Takes what does not fit into memory; None: the folder of temporary files.
        background: Labels that are background.
        material: Somebody's own recordings and pictures, by the key that names their folder.
    """
    if isinstance(reader, ImageReader):
        assert isinstance(config, ImageConfig)
        own = material.get("background_folder")
        pictures = None if own is None else BackgroundPictures(own, config.preprocess, folder)
        return PictureFeed(reader, samples, config.augment, config.train.seed, folder, pictures)
    assert not isinstance(config, ImageConfig)
    own = material.get("noise_folder")
    noise = None if own is None else NoiseRecordings(own, reader.spec.sample_rate_hz, folder)
    return ClipFeed(
        reader,
        samples,
        config.augment,
        config.train.seed,
        noise=noise,
        background=background,
        folder=folder,
    )


def _unmixed(inputs: Inputs, indices: Indices) -> ChangedInputs:
    return ChangedInputs(inputs, indices.copy(), np.ones(len(indices), np.float32))
