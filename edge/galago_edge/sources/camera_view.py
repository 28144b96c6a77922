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
from galago_edge.sources.view_comparison import (
    JUDGED_TILES,
    NEAR,
    Comparison,
    compare,
    level_of,
    nearly_black,
    share_of,
)
from galago_edge.sources.view_memory import KnownLight, ViewMemory
from galago_edge.sources.view_picture import (
    COLUMNS,
    ROWS,
    Int16s,
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
_MISSING, _STILL_MISSING = 300, 250
"""Thousandths of the known edges that are not seen, to begin a doubt and to keep it up."""
_DIM, _DARK, _DARK_PRESENT = 700, 300, 300
"""Thousandths of the usual light, in the brighter tiles: where it is dim a blur must be everywhere, and
where it is dark nearly all tiles must be lost before anything is suspicious."""
_GONE, _GONE_NS, _FADED = 750, 1_800 * NS_PER_S, 800
"""Thousandths of the light of the last half hour, and of the usual one, below which light has faded: where
edges are then no higher than noise, the picture is blank, unless it is blurred."""
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
        self._seen: Comparison | None = None
        self._young: KnownLight | None = None
        self._light, self._light_ns, self._faded = 0, 0, False

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
        self._follow_light(view, ns)
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

    def _follow_light(self, view: View, ns: int) -> None:
        """Note whether there is much less light than there was; what was is forgotten within half an hour."""
        level = int(view.bright.sum())
        passed_ns = min(max(ns - self._light_ns, 0), _GONE_NS)
        self._light = max(level, self._light - self._light * passed_ns // _GONE_NS)
        self._light_ns, self._faded = ns, 1_000 * level < _GONE * self._light

    def _nearest(self, view: View, *, everywhere: bool) -> Comparison | None:
        """Return the comparison with the light that fits best; with the last one if that fits well."""
        alike = [one for one in self.memory.lights if one.colorless is view.colorless]
        candidates = alike if any(one.vouches for one in alike) else self.memory.lights
        last = self._seen
        best = None
        if last is not None and last.light in candidates:
            best = compare(view, last.light)
            if best is not None and best.far < NEAR and not everywhere:
                return best
        for light in candidates:
            found = compare(view, light) if best is None or light is not best.light else None
            if found is not None and (best is None or found.far < best.far):
                best = found
        self._seen = best
        return best

    def _judge(self, view: View, seen: Comparison | None, ns: int, *, believed: bool) -> Glance:
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
        faded = self._settled and self._faded and seen.lit < _FADED and nearly_black(view)
        self.blank = faded and not blurred and only_noise(view)
        if self.blank:
            return Glance(judged=False)
        if not blurred and (
            self._new_light(seen, view.colorless)
            or (seen.noisy and seen.present >= _PRESENT and not believed)
        ):
            return Glance(judged=False)
        if seen.lit < _DARK and seen.present >= _DARK_PRESENT:
            return Glance(judged=False)
        return self._named(view, seen, ns, blurred)

    def _blur(self, view: View, seen: Comparison) -> tuple[int, int]:
        """Return share of blurred tiles and sharpness left, beside the least sharp of the lights that fit."""
        found = self._blur_beside(view, seen)
        for light in self.memory.lights:
            if found[0] >= _STILL_BLURRED and light is not seen.light:
                other = compare(view, light)
                if other is not None and other.far < _MISSING and other.shows_blur:
                    found = min(found, self._blur_beside(view, other))
        return found

    def _blur_beside(self, view: View, seen: Comparison) -> tuple[int, int]:
        """Return both, of the picture and, if there is one, of the mean of several, which is less noisy."""
        shows, powers = seen.known.shows, seen.known.powers[0]
        least = (view.noise or 0) ** 2 // _NOISE_PER_POWER
        found = _blur(view.fresh, seen, shows & (powers >= least // 4))
        if found[0] >= _STILL_BLURRED and self._averaged > 1:
            clear = shows & (powers >= least // min(self._averaged, _MOST_AVERAGED))
            found = min(found, _blur(view.samples, seen, clear))
        return found

    def _new_light(self, seen: Comparison, colorless: bool) -> bool:
        """Tell whether a picture looks otherwise because its light is one that was never met before."""
        if not self._settled and (seen.light.colorless is not colorless or seen.present >= _PRESENT):
            return True
        return seen.present >= (_ALL_PRESENT if seen.lit >= _DIM else _DIM_PRESENT)

    @property
    def _settled(self) -> bool:
        """Whether every light of a day was met."""
        return self.memory.watched_ns >= LEARNING_NS and self.memory.ready

    def _learn(self, view: View, nearest: Comparison | None) -> None:
        """Learn from a picture in which nothing is suspicious: of the light that it fits, or of a new one."""
        if self._settled and (
            nearest is None or (nearest.missing >= _MISSING and nearest.present < _ALL_PRESENT)
        ):
            return  # nothing known can be seen: it is dark, or noisy, or hidden
        light = None if nearest is None or nearest.far >= NEAR else nearest.light
        if light is None and self._young is not None and self._young in self.memory.lights:
            young = compare(view, self._young, vouching=False)
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

    def _named(self, view: View, seen: Comparison, ns: int, blurred: bool) -> Glance:
        """Tell what is wrong with a picture in which something is."""
        if self._searched_ns is None or not 0 <= ns - self._searched_ns < _SEARCH_NS:
            self._searched_ns = ns
            self._shift = find_shift(view.signs, seen.known.weights)
        kept = share_of(seen.judged & (10 * seen.match >= _KEPT_OF_10 * seen.usual), seen.tiles)
        least = seen.known.structure * seen.lit // 2_000
        structure = share_of(seen.judged & (view.structure >= least), seen.tiles)
        detail: dict[str, Any] = {"missing": _part(seen.missing), "tiles": seen.tiles}
        shift, level = self._shift, level_of(view)
        if shift.moved:
            down, right = shift.rows * self.shape[0] // ROWS, shift.columns * self.shape[1] // COLUMNS
            return Glance(True, "moved", detail | {"right_px": right, "down_px": down}, level)
        if blurred:
            sharpness = {"blurred": _part(self._blurred), "sharpness": _part(self._sharp)}
            return Glance(True, "defocused", detail | sharpness, level)
        if kept < _KEPT and structure >= _STRUCTURE:
            return Glance(True, "moved", detail | {"right_px": None, "down_px": None}, level)
        return Glance(True, "covered", detail | {"kept": _part(kept)}, level)


def _blur(samples: Int16s, seen: Comparison, shows: npt.NDArray[np.bool_]) -> tuple[int, int]:
    """Return the share of blurred tiles, and the sharpness that the middle one has left, in thousandths.

    ``shows``: tiles in which a blur would show.
    """
    tiles = int(np.count_nonzero(shows))
    if tiles < JUDGED_TILES:
        return 0, 1_000
    short, long = seen.known.gains(samples)
    told = shows & (long * 1_000 >= _LONG_SEEN * seen.lit)
    ratio = 1_000 * np.maximum(short, 0) // np.maximum(long, 1)
    left = middle(ratio[told]) if told.any() else 1_000
    return share_of(told & (ratio < _SHARP), tiles), min(left, 1_000)


def _part(thousandths: int) -> float:
    return thousandths / 1_000
