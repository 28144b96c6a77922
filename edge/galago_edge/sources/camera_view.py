"""Whether a camera still sees what is there to be seen: moved, defocused, or covered in part.

What it usually sees is learned (:mod:`galago_edge.sources.view_memory`). A look compares the picture with
what is known in its light, or, if it looks otherwise, with every other light that is known:

* *missing*: how much less of the known edges is seen than usual, over all tiles that can be judged.
* *blurred*: the share of the tiles in which short edges are less high than long ones, by a quarter or more,
  compared with what is usual. Taken every four seconds.

While one of them is suspicious, the samples become the mean of several looks, in which noise fades. A picture
in which nothing known can be seen for want of light is not judged; it is *blank* when it shows noise alone.

What is missing is sought elsewhere (:mod:`galago_edge.sources.view_shift`): found, the camera has moved. Not
found, it sees another place when there is structure nearly everywhere but nearly nothing known, else
something is before it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from galago_edge.contract.streams import NS_PER_S
from galago_edge.sources.doubt import Blindness
from galago_edge.sources.view_memory import Known, KnownLight, ViewMemory
from galago_edge.sources.view_picture import (
    COLUMNS,
    FAINT,
    ROWS,
    Int16s,
    Int32s,
    View,
    ViewSampler,
    middle,
    only_noise,
)
from galago_edge.sources.view_shift import Shift, find_shift

LOOK_NS, JUDGE_NS = NS_PER_S, 3 * NS_PER_S
"""At most one look a second, of which every third one is judged; the picture is followed by all."""
STEP_NS = 10 * NS_PER_S
"""One picture in so long is learned."""
LEARNING_NS = 24 * 3600 * NS_PER_S
"""For so long, light that was never met before is learned and not judged."""

_LONGEST_PAUSE_NS = 600 * NS_PER_S
"""A camera that was away for longer has not watched for all of it."""
_SEARCH_NS = 10 * NS_PER_S
_BLUR_NS = 4 * NS_PER_S
_JUDGED_TILES = 6
_STRENGTH = 1_500 * FAINT
"""A tile is judged where its known edges are half as high again, in this light, as what is seen at all ..."""
_STRENGTH_OF_NOISE = 12
"""... and higher than 0.6 times what the usual noise leaves in a cell, from units of 1/3200 level."""
_MISSING, _STILL_MISSING = 300, 250
"""Thousandths of the known edges that are not seen, to begin a doubt and to keep it up."""
_DIM, _DARK, _DARK_PRESENT = 700, 300, 300
"""Thousandths of the usual light, in the brighter tiles: where it is dim a blur must be everywhere, and
where it is dark nearly all tiles must be lost before anything is suspicious."""
_FADED = 800
"""Where there is less light than that, and noise as high as all edges, nothing is suspicious but a blur."""
_NOISE = 2
_LEAST_NOISE = 3_200
"""A picture with more than twice the usual noise of its light is not judged: the light goes, and the camera
makes up for it. One level of noise is none."""
_SAMPLES_PER_CELL = 4
_NOISE_PER_BLACK = 50
"""Noise of deviation ``d``, of which a picture holds only what is above 0, makes black as bright as 0.4 d: what
it adds is less the brighter a tile is, and nothing from thrice as much on."""
_BRIGHTER = 10
_NEAR = 150
"""Thousandths missing from which on another light is looked for, or learned."""
_PRESENT_OF_10 = 3
_PRESENT, _DIM_PRESENT, _ALL_PRESENT = 600, 800, 900
"""New light leaves so many tiles with three tenths at least of what is usual; what hides them does not."""
_SHARP = 750
_BLURRED, _STILL_BLURRED, _ALL_BLURRED = 500, 400, 900
"""Thousandths of the tiles that show a blur, to begin a doubt and to keep it up; more of them where it is dim
or noisy, and as long as not every light of a day was met."""
_LONG_SEEN = 150
"""Thousandths of their usual height that long edges must have to tell a blur by them."""
_AVERAGED = 3
"""A weak blur is believed of the mean of so many looks: one look may be noise."""
_MOST_AVERAGED = 8
_NOISE_PER_POWER = 92_500
"""Noise of deviation ``d``, a ``View.noise`` of some 4300 d, makes an error of ``d sqrt(8 / (power n))`` in a
gain of the mean of ``n`` looks; a tile is asked when that is below a fifth, of one look below two."""
_CALM = 2
"""After so many looks in which nothing is suspicious no mean is taken any more."""
_KEPT_OF_10 = 7
_KEPT = 100
_STRUCTURE = 500


@dataclass(frozen=True, slots=True)
class Glance:
    """What one look says."""

    judged: bool
    """Whether enough was seen and known to say anything."""
    what: Blindness | None = None
    """What is suspicious; None when nothing is."""
    detail: dict[str, Any] | None = None
    """The measures of what is suspicious."""
    level: int = 0
    """How much light there is in a picture that is suspicious, in 1/128 gray levels; 0 when nothing is."""


@dataclass(frozen=True, slots=True, eq=False)
class _Comparison:
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
        return _share(self.judged & (10 * self.match >= _PRESENT_OF_10 * self.usual), self.tiles)

    @property
    def shows_blur(self) -> bool:
        """Whether a blur would show in enough tiles."""
        return int(np.count_nonzero(self.known.shows)) >= _JUDGED_TILES

    @property
    def far(self) -> int:
        """How badly it fits: what is missing, and more in another weather, or when it is of a darker hour.

        The edges known of a dark and noisy hour are few and coarse: much of them is seen by day even through
        drops.
        """
        return self.missing + _NEAR * self.calmer + self.brighter // _BRIGHTER


class CameraView:
    """Follows one camera's pictures, all of one size. Used by one thread at a time."""

    def __init__(self, shape: tuple[int, ...], memory: ViewMemory | None = None) -> None:
        """Begin with what is known of pictures of this shape, ``(height, width, 3)``; None: nothing."""
        self.shape = shape
        self.memory = memory or ViewMemory()
        self._sampler = ViewSampler(shape)
        self._last_ns: int | None = None
        self._learned_ns: int | None = None
        self._judged_ns: int | None = None
        self._counted_ns: int | None = None
        self._blur_ns: int | None = None
        self._blurred, self._sharp = 0, 1_000
        self._doubting = False
        self._averaged = self._calm = 0
        self.blank = False
        """Whether the last picture judged showed noise alone, and nothing of what is known."""
        self._searched_ns: int | None = None
        self._shift = Shift(0, 0, 0)
        self._seen: _Comparison | None = None
        self._young: KnownLight | None = None

    def interrupted(self) -> None:
        """Begin anew with the next picture; what was learned stays."""
        self._sampler.forget()
        self._averaged, self.blank = 0, False
        self._last_ns = self._judged_ns = None

    def look(self, pixels: npt.NDArray[np.uint8], ns: int, *, learn: bool) -> Glance | None:
        """Judge a picture, and learn from it if nothing is suspicious; None when the last one was just now.

        Args:
            pixels: uint8, BGR, of the shape that was given.
            ns: Stream time.
            learn: Whether it may be learned from; not while there is an alarm.
        """
        passed_ns = 0 if self._last_ns is None else ns - self._last_ns
        if self._last_ns is not None and 0 <= passed_ns < LOOK_NS:
            return None
        self._last_ns = ns
        judged = self._judged_ns is None or not 0 <= ns - self._judged_ns < JUDGE_NS
        # what is suspicious but no alarm yet is looked at for longer, so that noise fades
        self._averaged = self._averaged + 1 if self._averaged and learn else 0
        view = self._sampler.look(pixels, passed_ns, judged=judged, averaged=self._averaged)
        if view is None:
            return None
        self._judged_ns = ns
        if self._counted_ns is not None:
            self.memory.watched_ns += min(max(ns - self._counted_ns, 0), _LONGEST_PAUSE_NS)
        self._counted_ns = ns
        step = self._learned_ns is None or not 0 <= ns - self._learned_ns < STEP_NS
        nearest = self._nearest(view, everywhere=step)
        glance = self._judge(view, nearest, ns, believed=self._averaged >= _AVERAGED or not learn)
        if self._doubting or (nearest is None and self._settled):
            self._averaged, self._calm = max(self._averaged, 1), 0
        else:
            self._calm += 1
            self._averaged *= self._calm < _CALM
        if learn and step and glance.what is None:
            self._learned_ns = ns
            self._learn(view, nearest)
        return glance

    def _nearest(self, view: View, *, everywhere: bool) -> _Comparison | None:
        """Return the comparison with the light that fits best; with the last one if that fits well."""
        alike = [one for one in self.memory.lights if one.colorless is view.colorless]
        candidates = alike if any(one.vouches for one in alike) else self.memory.lights
        last = self._seen
        best = None
        if last is not None and last.light in candidates:
            best = _compare(view, last.light)
            if best is not None and best.far < _NEAR and not everywhere:
                return best
        for light in candidates:
            found = _compare(view, light) if best is None or light is not best.light else None
            if found is not None and (best is None or found.far < best.far):
                best = found
        self._seen = best
        return best

    def _judge(self, view: View, seen: _Comparison | None, ns: int, *, believed: bool) -> Glance:
        """Return what is suspicious; ``believed``: several looks agree, or it is an alarm already."""
        self.blank = seen is None and self._settled and only_noise(view)
        if seen is None or not self.memory.ready:
            self._doubting = False
            return Glance(judged=False)
        missing = seen.missing >= (_STILL_MISSING if self._doubting else _MISSING)
        if missing or self._blur_ns is None or not 0 <= ns - self._blur_ns < _BLUR_NS:
            self._blur_ns = ns
            self._blurred, self._sharp = self._blur(view, seen)
        least = _STILL_BLURRED if believed else _BLURRED
        self._doubting = missing or self._blurred >= least
        clear = seen.lit >= _DIM and not seen.noisy
        sure = self._settled and clear and believed
        blurred = self._blurred >= (least if sure else _ALL_BLURRED)
        if not missing and not blurred:
            return Glance(judged=True)
        if not blurred and seen.lit < _FADED and only_noise(view):
            return Glance(judged=False)
        if not blurred and (
            self._new_light(seen, view.colorless)
            or (seen.noisy and seen.present >= _PRESENT and not believed)
        ):
            return Glance(judged=False)
        if seen.lit < _DARK and seen.present >= _DARK_PRESENT:
            return Glance(judged=False)
        return self._named(view, seen, ns, blurred)

    def _blur(self, view: View, seen: _Comparison) -> tuple[int, int]:
        """Return share of blurred tiles and sharpness left, beside the least sharp of the lights that fit."""
        found = self._blur_beside(view, seen)
        for light in self.memory.lights:
            if found[0] >= _STILL_BLURRED and light is not seen.light:
                other = _compare(view, light)
                if other is not None and other.far < _MISSING and other.shows_blur:
                    found = min(found, self._blur_beside(view, other))
        return found

    def _blur_beside(self, view: View, seen: _Comparison) -> tuple[int, int]:
        """Return both, of the picture and, if there is one, of the mean of several, which is less noisy."""
        shows, powers = seen.known.shows, seen.known.powers[0]
        least = (view.noise or 0) ** 2 // _NOISE_PER_POWER
        found = _blur(view.fresh, seen, shows & (powers >= least // 4))
        if found[0] >= _STILL_BLURRED and self._averaged > 1:
            clear = shows & (powers >= least // min(self._averaged, _MOST_AVERAGED))
            found = min(found, _blur(view.samples, seen, clear))
        return found

    def _new_light(self, seen: _Comparison, colorless: bool) -> bool:
        """Tell whether a picture looks otherwise because its light is one that was never met before."""
        if not self._settled and (seen.light.colorless is not colorless or seen.present >= _PRESENT):
            return True
        return seen.present >= (_ALL_PRESENT if seen.lit >= _DIM else _DIM_PRESENT)

    @property
    def _settled(self) -> bool:
        """Whether every light of a day was met."""
        return self.memory.watched_ns >= LEARNING_NS and self.memory.ready

    def _learn(self, view: View, nearest: _Comparison | None) -> None:
        """Learn from a picture in which nothing is suspicious: of the light that it fits, or of a new one."""
        if self._settled and (
            nearest is None or (nearest.missing >= _MISSING and nearest.present < _ALL_PRESENT)
        ):
            return  # nothing known can be seen: it is dark, or noisy, or hidden
        light = None if nearest is None or nearest.far >= _NEAR else nearest.light
        if light is None and self._young is not None and self._young in self.memory.lights:
            young = _compare(view, self._young, vouching=False)
            if young is None or young.missing < _MISSING:
                light = self._young
        if light is None:
            if self._young in self.memory.lights:  # it was a moment, no light
                self.memory.lights.remove(self._young)
            light = self._young = self.memory.new_light(
                view.colorless, None if nearest is None else nearest.light
            )
        if light is self._young and light.vouches:
            self._young = None
        light.learn(view)

    def _named(self, view: View, seen: _Comparison, ns: int, blurred: bool) -> Glance:
        """Tell what is wrong with a picture in which something is."""
        if self._searched_ns is None or not 0 <= ns - self._searched_ns < _SEARCH_NS:
            self._searched_ns = ns
            self._shift = find_shift(view.signs, seen.known.weights)
        kept = _share(seen.judged & (10 * seen.match >= _KEPT_OF_10 * seen.usual), seen.tiles)
        least = seen.known.structure * seen.lit // 2_000
        structure = _share(seen.judged & (view.structure >= least), seen.tiles)
        detail: dict[str, Any] = {"missing": _part(seen.missing), "tiles": seen.tiles}
        shift, level = self._shift, _level(view)
        if shift.moved:
            down, right = shift.rows * self.shape[0] // ROWS, shift.columns * self.shape[1] // COLUMNS
            return Glance(True, "moved", detail | {"right_px": right, "down_px": down}, level)
        if blurred:
            sharpness = {"blurred": _part(self._blurred), "sharpness": _part(self._sharp)}
            return Glance(True, "defocused", detail | sharpness, level)
        if kept < _KEPT and structure >= _STRUCTURE:
            return Glance(True, "moved", detail | {"right_px": None, "down_px": None}, level)
        return Glance(True, "covered", detail | {"kept": _part(kept)}, level)


def _compare(view: View, light: KnownLight, *, vouching: bool = True) -> _Comparison | None:
    """Return the comparison; None when too little is known or seen."""
    known = light.known
    if known is None or (vouching and not light.vouches):
        return None
    noise = light.usual_noise if view.noise is None else view.noise
    bright = np.maximum(_lit(known.bright, light.usual_noise), 1)
    ratios = np.sort(1_000 * _lit(view.bright, noise) // bright, axis=None)
    upper, lower = int(ratios[len(ratios) * 3 // 4]), int(ratios[len(ratios) // 4])
    lit, usual = min(1_000, upper), light.usual_match
    judged = known.strength * lit >= max(_STRENGTH, light.usual_noise * _STRENGTH_OF_NOISE)
    tiles = int(np.count_nonzero(judged))
    if tiles < _JUDGED_TILES:
        return None
    match = known.match(view)
    missing = int((np.maximum(usual - match, 0) * judged).sum())
    expected = int((usual * judged).sum())
    return _Comparison(
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


def _level(view: View) -> int:
    """Return how much light there is in the new picture, in 1/128 gray levels."""
    mean = int(view.fresh.sum(dtype=np.int64)) * _SAMPLES_PER_CELL // view.fresh.size
    return int(_lit(np.array([mean], np.int32), view.noise or 0)[0])


def _lit(bright: Int32s, noise: int) -> Int32s:
    """Return how much of the mean level of each tile is light, in 1/128 gray levels."""
    black = noise // _NOISE_PER_BLACK
    lit: Int32s = np.maximum(bright - np.maximum((3 * black - bright) >> 1, 0), 0)
    return lit


def _blur(samples: Int16s, seen: _Comparison, shows: npt.NDArray[np.bool_]) -> tuple[int, int]:
    """Return the share of blurred tiles, and the sharpness that the middle one has left, in thousandths.

    ``shows``: tiles in which a blur would show.
    """
    tiles = int(np.count_nonzero(shows))
    if tiles < _JUDGED_TILES:
        return 0, 1_000
    short, long = seen.known.gains(samples)
    told = shows & (long * 1_000 >= _LONG_SEEN * seen.lit)
    ratio = 1_000 * np.maximum(short, 0) // np.maximum(long, 1)
    left = middle(ratio[told]) if told.any() else 1_000
    return _share(told & (ratio < _SHARP), tiles), min(left, 1_000)


def _share(tiles: npt.NDArray[np.bool_], of: int) -> int:
    return 1_000 * int(np.count_nonzero(tiles)) // of


def _part(thousandths: int) -> float:
    return thousandths / 1_000
