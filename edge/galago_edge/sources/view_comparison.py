"""A camera's picture beside what is known of its view in one kind of light.

How much of the known edges is missing, in how many tiles, and how much light and noise there is.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from galago_edge.sources.view_memory import Known, KnownLight
from galago_edge.sources.view_picture import FAINT, Int32s, View

JUDGED_TILES = 6
_STRENGTH = 1_500 * FAINT
"""A tile is judged where its known edges are half as high again, in this light, as what is seen at all ..."""
_STRENGTH_OF_NOISE = 12
"""... and higher than 0.6 times what the usual noise leaves in a cell, from units of 1/3200 level."""
_NOISE = 2
_LEAST_NOISE = 3_200
"""A picture with more than twice the usual noise of its light is not judged: the light goes, and the camera
makes up for it. One level of noise is none."""
_SAMPLES_PER_CELL = 4
_NOISE_PER_BLACK = 50
"""Noise of deviation ``d``, of which a picture holds only what is above 0, makes black as bright as 0.4 d:
what it adds is less the brighter a tile is, and nothing from thrice as much on."""
_BRIGHTER = 10
NEAR = 150
"""Thousandths missing from which on another light is looked for, or learned."""
_PRESENT_OF_10 = 3


@dataclass(frozen=True, slots=True, eq=False)
class Comparison:
    """A picture beside what is known in one light."""

    light: KnownLight
    known: Known
    judged: npt.NDArray[np.bool_]
    """Tiles that can be; shape ``(TILE_ROWS, TILE_COLUMNS)``."""
    tiles: int
    match: Int32s
    usual: Int32s
    lit: int
    """How bright it is, in thousandths of the usual, at most 1000."""
    brighter: int
    """How much brighter it is than usual, in three quarters of the tiles, beyond half as bright again, in
    thousandths."""
    missing: int
    calmer: bool
    """Whether there is less than half of the usual noise, as when a rain has ended."""
    noisy: bool
    """Whether there is more than twice as much, as when the light goes and the camera makes up for it."""

    @property
    def present(self) -> int:
        """Thousandths of the tiles of which something at least is seen."""
        return share_of(self.judged & (10 * self.match >= _PRESENT_OF_10 * self.usual), self.tiles)

    @property
    def shows_blur(self) -> bool:
        """Whether a blur would show in enough tiles."""
        return int(np.count_nonzero(self.known.shows)) >= JUDGED_TILES

    @property
    def far(self) -> int:
        """How badly it fits: what is missing, and more in another weather, or when it is of a darker hour.

        The edges known of a dark and noisy hour are few and coarse: much of them is seen by day even through
        drops.
        """
        return self.missing + NEAR * self.calmer + self.brighter // _BRIGHTER


def compare(view: View, light: KnownLight, *, vouching: bool = True) -> Comparison | None:
    """Return the comparison; None when too little is known or seen."""
    known = light.known
    if known is None or (vouching and not light.vouches):
        return None
    noise = light.usual_noise if view.noise is None else view.noise
    lower, upper = light_beside(view, noise, light, known)
    lit, usual = min(1_000, upper), light.usual_match
    judged = known.strength * lit >= max(_STRENGTH, light.usual_noise * _STRENGTH_OF_NOISE)
    tiles = int(np.count_nonzero(judged))
    if tiles < JUDGED_TILES:
        return None
    match = known.match(view)
    missing = int((np.maximum(usual - match, 0) * judged).sum())
    expected = int((usual * judged).sum())
    return Comparison(
        light,
        known,
        judged,
        tiles,
        match,
        usual,
        lit,
        max(0, lower - 1_500),
        1_000 * missing // max(expected, 1),
        calmer=noise * _NOISE < light.usual_noise > _LEAST_NOISE,
        noisy=noise * 1_000 > _NOISE * max(light.usual_noise, _LEAST_NOISE) * max(upper, 1_000),
    )


def light_beside(view: View, noise: int, light: KnownLight, known: Known) -> tuple[int, int]:
    """Return how bright a picture is, in thousandths of the usual: its darker tiles, its brighter ones.

    They are those of which a quarter is darker and a quarter is brighter. ``noise``: of the picture.
    """
    usual = np.maximum(_lit(known.bright, light.usual_noise), 1)
    ratios = np.sort(1_000 * _lit(view.bright, noise) // usual, axis=None)
    return int(ratios[len(ratios) // 4]), int(ratios[len(ratios) * 3 // 4])


def level_of(view: View) -> int:
    """Return how much light there is in the new picture, in 1/128 gray levels."""
    mean = int(view.fresh.sum(dtype=np.int64)) * _SAMPLES_PER_CELL // view.fresh.size
    return int(_lit(np.array([mean], np.int32), view.noise or 0)[0])


def nearly_black(view: View) -> bool:
    """Tell whether a picture is at most four times as bright as its noise makes black."""
    black = (view.noise or 0) // _NOISE_PER_BLACK
    return int(view.bright.sum()) <= 4 * black * view.bright.size


def _lit(bright: Int32s, noise: int) -> Int32s:
    """Return how much of the mean level of each tile is light, in 1/128 gray levels."""
    black = noise // _NOISE_PER_BLACK
    lit: Int32s = np.maximum(bright - np.maximum((3 * black - bright) >> 1, 0), 0)
    return lit


def share_of(tiles: npt.NDArray[np.bool_], of: int) -> int:
    """Return how many tiles these are, in thousandths of so many."""
    return 1_000 * int(np.count_nonzero(tiles)) // of
