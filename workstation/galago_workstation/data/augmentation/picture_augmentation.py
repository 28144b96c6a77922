"""All random changes of a training picture, in the order in which a camera would make them."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from galago_workstation.data.augmentation.augment_options import NO_JPEG, NO_ZOOM, ImageAugment
from galago_workstation.data.augmentation.background_pictures import BackgroundPictures
from galago_workstation.data.augmentation.picture_damage import as_jpeg, blurred, covered, noisy, smeared
from galago_workstation.data.augmentation.picture_geometry import geometry_matrix, warped
from galago_workstation.data.augmentation.picture_light import recoloured, relit
from galago_workstation.data.augmentation.random_draws import SampleDraws
from galago_workstation.data.augmentation.sample_mixing import Mixing, drawn_mixing, mixed_pictures

Pixels = npt.NDArray[np.uint8]


class _Operation(NamedTuple):
    name: str
    wanted: Callable[[ImageAugment], bool]
    change: Callable[[Pixels, np.random.Generator, ImageAugment], Pixels]
    rare: bool = False
    """Acts on ``share`` of the pictures."""
    colour: bool = False
    """Means nothing to gray pictures."""


_OPERATIONS = (
    _Operation(
        "light",
        lambda o: bool(o.exposure_stops or o.white_balance_stops or o.contrast or o.brightness),
        relit,
    ),
    _Operation("colour", lambda o: bool(o.saturation or o.hue_degrees), recoloured, colour=True),
    _Operation("cutout", lambda o: o.cutout > 0.0, lambda p, rng, o: covered(p, rng, o.cutout), rare=True),
    _Operation("blur", lambda o: o.blur > 0.0, lambda p, rng, o: blurred(p, rng, o.blur), rare=True),
    _Operation(
        "motion_blur",
        lambda o: o.motion_blur > 0.0,
        lambda p, rng, o: smeared(p, rng, o.motion_blur),
        rare=True,
    ),
    _Operation("noise", lambda o: o.noise > 0.0, lambda p, rng, o: noisy(p, rng, o.noise)),
    _Operation(
        "jpeg",
        lambda o: o.jpeg_quality < NO_JPEG,
        lambda p, rng, o: as_jpeg(p, rng, o.jpeg_quality),
        rare=True,
    ),
)
PICTURE_ORDER = ("geometry", "mixing", *(operation.name for operation in _OPERATIONS))
"""What changes a picture, first to last: the scene, another sample, light, things in front, the camera."""


class PictureAugmentation:
    """Changes pictures as ``[augment]`` says; the same draws give the same bytes."""

    def __init__(
        self, options: ImageAugment, channels: int, backgrounds: BackgroundPictures | None = None
    ) -> None:
        self._options = options
        self._backgrounds = backgrounds
        self._operations = [
            operation
            for operation in _OPERATIONS
            if operation.wanted(options) and (channels == 3 or not operation.colour)
        ]
        self._mixes = options.mixup + options.cutmix > 0.0
        self._moves = bool(options.flip or options.shift or options.rotation_degrees or options.perspective)
        self._moves |= options.stretch > 0.0 or options.scale != NO_ZOOM

    @property
    def changes(self) -> bool:
        """Whether it does anything."""
        return self._mixes or self._moves or bool(self._operations)

    def mixing(self, draws: SampleDraws, count: int, shape: tuple[int, ...]) -> Mixing | None:
        """Return with which of ``count`` samples this one is mixed; None: with none."""
        if not self._mixes:
            return None
        return drawn_mixing(draws.of("mixing"), self._options, draws.index, count, shape)

    def placed(self, picture: Pixels, draws: SampleDraws) -> Pixels:
        """Return the picture ``(height, width, channels)`` with its scene moved; maybe the same array."""
        if not self._moves:
            return picture
        rng = draws.of("geometry")
        matrix = geometry_matrix(rng, self._options, *picture.shape[:2])
        background = None if self._backgrounds is None else self._backgrounds.part(rng)
        return warped(picture, matrix, background)

    def finished(self, picture: Pixels, draws: SampleDraws) -> Pixels:
        """Return what light and camera make of a placed picture; maybe the very same array."""
        for operation in self._operations:
            rng = draws.of(operation.name)
            if not operation.rare or rng.random() < self._options.share:
                picture = operation.change(picture, rng, self._options)
        return picture

    def mixed(self, picture: Pixels, partner: Pixels, mixing: Mixing) -> Pixels:
        """Return two placed pictures in one."""
        return mixed_pictures(picture, partner, mixing)
