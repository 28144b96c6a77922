"""Pictures of fixed cameras, rendered: yards, roads, rooms and stills through day, night and weather.

Everything follows from a seed and the time, so that a scene can be walked through again and again. A picture
is 320 x 240: what stands in the scene is drawn on a canvas of 480 x 360, whose middle the camera sees, so
that a camera that turns sees what was beside its picture. None of this is exact between machines; it does
not need to be.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from copy import copy
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]

WIDTH, HEIGHT = 320, 240
CANVAS_WIDTH, CANVAS_HEIGHT = 480, 360
LEFT, TOP = (CANVAS_WIDTH - WIDTH) // 2, (CANVAS_HEIGHT - HEIGHT) // 2
DAY_S = 86_400
_LIGHT_EVERY_S = 240


@dataclass(slots=True)
class Fault:
    """What was done to the camera."""

    kind: str
    """``moved``, ``turned`` (to another place), ``defocused``, ``covered``, ``droplets``, ``fading``."""
    detail: dict[str, Any] = field(default_factory=dict)
    warp: npt.NDArray[np.float64] | None = None
    """From the canvas to the picture, 2 x 3."""
    blur: npt.NDArray[np.float32] | None = None
    mask: npt.NDArray[np.float32] | None = None
    """What hides the picture, 0 to 1, shape ``(HEIGHT, WIDTH, 1)``."""
    before: npt.NDArray[np.float32] | None = None
    """What is seen there instead; None: the picture itself, blurred and upside down, as in a drop."""
    other: Scene | None = None
    light: Callable[[float], float] | None = None


def moved(rng: np.random.Generator, least: float = 0.02, most: float = 0.2) -> Fault:
    """Shift by this share of the width, turn by 2 to 12 degrees, or both."""
    way = rng.choice(["shift", "rotation", "both"])
    shift = rng.uniform(least, most) * WIDTH if way != "rotation" else 0.0
    scale = least / 0.02
    degrees = rng.uniform(2 * scale, 12) * rng.choice([-1, 1]) if way != "shift" else 0.0
    direction = rng.uniform(0, 2 * math.pi)
    matrix = cv2.getRotationMatrix2D((CANVAS_WIDTH / 2, CANVAS_HEIGHT / 2), degrees, 1.0)
    matrix[:, 2] += (shift * math.cos(direction) - LEFT, shift * math.sin(direction) - TOP)
    return Fault("moved", {"shift": round(shift / WIDTH, 3), "degrees": round(degrees, 1)}, warp=matrix)


def turned(rng: np.random.Generator, other: Scene) -> Fault:
    """Let the camera see another place."""
    return Fault("turned", {"seed": other.seed}, other=other)


def defocused(rng: np.random.Generator, least: float = 0.0125, most: float = 0.045) -> Fault:
    """Blur with a disc whose radius is this share of the width."""
    radius = math.exp(rng.uniform(math.log(least), math.log(most))) * WIDTH
    size = 2 * math.ceil(radius) + 1
    rows, columns = np.mgrid[:size, :size] - size // 2
    disc = np.clip(radius + 0.5 - np.hypot(rows, columns), 0, 1).astype(np.float32)
    return Fault("defocused", {"radius": round(radius / WIDTH, 4)}, blur=disc / disc.sum())


def covered(rng: np.random.Generator, least: float = 0.4, most: float = 0.7) -> Fault:
    """Hide one side of the picture behind something near, out of focus, dark, gray, white or a hand."""
    share = rng.uniform(least, most)
    angle = rng.uniform(0, 2 * math.pi)
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    across = rows * math.sin(angle) + columns * math.cos(angle)
    soft = rng.uniform(4, 25)
    mask = np.clip((np.quantile(across, share) - across) / soft + 0.5, 0, 1)
    color = np.array(
        [(8, 8, 8), (90, 95, 100), (225, 225, 225), (110, 140, 200)][rng.integers(4)], np.float32
    )
    spots = cv2.resize(rng.normal(0, 1, (6, 8)).astype(np.float32), (WIDTH, HEIGHT))
    before = np.clip(color * (1 + 0.15 * spots[:, :, None]), 0, 255)
    return Fault(
        "covered", {"share": round(share, 2)}, mask=mask[:, :, None].astype(np.float32), before=before
    )


def droplets(rng: np.random.Generator, least: float = 0.4, most: float = 0.7) -> Fault:
    """Let drops of 3 to 9 % of the width hang on the lens until they hide so much of it."""
    wanted = rng.uniform(least, most)
    mask = np.zeros((HEIGHT, WIDTH), np.float32)
    for _ in range(300):
        center = (int(rng.integers(WIDTH)), int(rng.integers(HEIGHT)))
        cv2.circle(mask, center, int(rng.uniform(0.03, 0.09) * WIDTH), 1.0, -1)
        if mask.mean() >= wanted:
            break
    mask = cv2.GaussianBlur(mask, (0, 0), 1.5)
    return Fault("droplets", {"share": round(float(mask.mean()), 2)}, mask=mask[:, :, None])


def fading(rng: np.random.Generator) -> Fault:
    """Let the light go to a few per cent within half a minute to four, and stay there."""
    seconds, rest = rng.uniform(20, 240), rng.uniform(0.02, 0.25)

    def light(passed_s: float) -> float:
        return float(max(rest, rest ** (passed_s / seconds)))

    return Fault("fading", {"seconds": round(seconds), "rest": round(rest, 3)}, light=light)


class Scene:
    """One place and its camera."""

    def __init__(self, seed: int, kind: str, still: Path | None = None) -> None:
        """Draw the place. ``kind``: ``yard``, ``road``, ``room``, ``still`` (a picture from a file)."""
        self.seed, self.kind = seed, kind
        self._rng = rng = np.random.default_rng(seed)
        if still is None:
            self.reflectance, self._shades = _drawn(rng, kind)
        else:
            image = cv2.imread(str(still))
            assert image is not None, still
            self.reflectance = cv2.resize(image, (CANVAS_WIDTH, CANVAS_HEIGHT), interpolation=cv2.INTER_AREA)
            self._shades = []
        self._leaves = _foliage(rng, kind)
        self.night = str(rng.choice(["infrared", "lamps", "dim"], p=[0.5, 0.35, 0.15]))
        if kind == "room":
            self.night = str(rng.choice(["infrared", "dim"]))
        self._exposing = float(rng.uniform(0.6, 1.0))
        """How much of a change of light the camera makes up for."""
        self._noise = float(rng.uniform(1.0, 3.0))
        self._quality = int(rng.choice([0, 60, 80]))
        self._noise_field = rng.normal(0, 1, (HEIGHT + 64, WIDTH + 64, 3)).astype(np.float32)
        self._gray_noise = np.repeat(self._noise_field[:, :, :1], 3, axis=2)
        self._hue = rng.uniform(0.9, 1.1, 3).astype(np.float32)
        self._lamp = (float(rng.uniform(0.2, 0.8)), float(rng.uniform(0.0, 0.5)))
        self._lit: tuple[int, npt.NDArray[np.float32], bool] | None = None
        self._gain: float | None = None
        self._at_s = 0.0
        self._parked: list[tuple[float, float, tuple[int, int], tuple[int, int], tuple[int, ...]]] = []

    def picture(self, at_s: float, fault: Fault | None = None, since_s: float = 0.0) -> Pixels:
        """Return what the camera gives at this second; ``since_s`` is when the fault began."""
        day, second = divmod(at_s, DAY_S)
        weather = self.weather(int(day), second)
        own = np.random.default_rng((self.seed, int(at_s * 10)))
        canvas, infrared = self._light(at_s, weather)
        canvas = canvas.copy()
        if fault is not None and fault.other is not None:
            canvas, _ = fault.other._light(at_s, weather)
            canvas = canvas.copy()
            if infrared:
                canvas[:] = canvas.mean(axis=2, keepdims=True)
        self._move(canvas, at_s, own, infrared, weather)
        if weather["wind"]:
            self._blow(canvas, own, weather["wind"])
        view = self._view(canvas, own, weather, fault)
        if fault is not None:
            view = _obstructed(view, fault, infrared)
            if fault.light is not None:
                view = view * np.float32(fault.light(at_s - since_s))
        return self._sensed(view, at_s, own, infrared, weather)

    def clearness(self, at_s: float) -> float:
        """Return how many times higher edges are than noise makes them, in the picture of this second.

        Between the means of 4 x 4 pixels, of the picture without noise and compression. Where it is below 1
        a person sees noise.
        """
        calm = copy(self)
        calm._noise, calm._quality, calm._gain = 0.0, 0, None
        cells = calm.picture(at_s)[:, :, 1].astype(np.float64).reshape(HEIGHT // 4, 4, WIDTH // 4, 4)
        cells = cells.mean(axis=(1, 3))
        edges = (np.abs(np.diff(cells, axis=0)).mean() + np.abs(np.diff(cells, axis=1)).mean()) / 2
        assert calm._gain is not None
        sigma = self._noise * (0.6 + 0.4 * max(1.0, calm._gain))
        # a mean of 16 has a quarter of the noise, a difference of two such ones 2**0.5 times that
        return float(edges / (math.sqrt(2 / math.pi) * math.sqrt(2) * sigma / 4))

    def weather(self, day: int, second: float) -> dict[str, float]:
        """Return cloud, fog, rain, snow (falling), white (lying), wind, each 0 to 1."""
        kind, start, length, wind = _weather_of(self.seed, day)
        if self.kind == "room":
            return dict.fromkeys(("fog", "rain", "snow", "white", "wind"), 0.0) | {
                "cloud": float(kind != "clear")
            }
        now = start <= second < start + length
        ramp = float(np.clip(min(second - start, start + length - second) / 1_800, 0, 1)) if now else 0.0
        white = float(np.clip((second - start) / 7_200, 0, 0.8)) if kind == "snow" else 0.0
        return {
            "cloud": 0.2 if kind == "clear" else 0.9,
            "fog": 0.6 * ramp if kind == "fog" else 0.0,
            "rain": ramp if kind == "rain" else 0.0,
            "snow": ramp if kind == "snow" else 0.0,
            "white": white,
            "wind": wind if 6 * 3600 < second < 22 * 3600 else 0.0,
        }

    def _light(self, at_s: float, weather: dict[str, float]) -> tuple[npt.NDArray[np.float32], bool]:
        """Return the lit canvas (linear, about 0 to 255) and whether the camera sees infrared."""
        number = int(at_s // _LIGHT_EVERY_S)
        if self._lit is None or self._lit[0] != number:
            self._lit = (number, *self._shine(at_s, weather))
        return self._lit[1], self._lit[2]

    def _shine(self, at_s: float, weather: dict[str, float]) -> tuple[npt.NDArray[np.float32], bool]:
        day, second = divmod(at_s, DAY_S)
        rng = np.random.default_rng((self.seed, 11, int(at_s // _LIGHT_EVERY_S)))
        height = math.sin(math.pi * (second / 3_600 - 6) / 14)  # sunrise at 6, sunset at 20
        sun = max(0.0, height)
        dusk = float(np.clip(height * 5 + 1, 0.0, 1.0))  # the sky after sunset
        cloud = float(np.clip(weather["cloud"] + rng.normal(0, 0.15), 0, 1))
        ambient = 0.02 * dusk + 0.35 * sun + 0.15 * math.sqrt(sun)
        direct = 0.6 * math.sqrt(sun) * (1 - cloud)
        base = self.reflectance.astype(np.float32)
        if weather["white"]:
            ground = np.linspace(-0.5, 1.0, CANVAS_HEIGHT, dtype=np.float32).clip(0, 1)[:, None, None]
            share = weather["white"] * ground
            base = base * (1 - share) + 225 * share
        infrared = self.night == "infrared" and ambient + direct < 0.06
        if self.kind == "room":
            return self._indoors(base, second, int(day), ambient, direct, rng), infrared
        if infrared:
            mono = base @ np.array([0.1, 0.2, 0.7], np.float32)
            lit = (mono * 0.6 + 40)[:, :, None] * _spot(0.5, 0.55, 0.45)[:, :, None]
            return np.repeat(lit, 3, axis=2) * 0.8, True
        lit = base * ambient
        if direct > 0.02:
            lit += base * direct * (1 - self._shadow(second))[:, :, None]
        warm = np.array([1 - 0.25 * (1 - sun), 1.0, 1 + 0.2 * (1 - sun)], np.float32)
        lit *= warm * self._hue
        if self.night == "lamps" and sun < 0.05:
            for x, y in (self._lamp, (1 - self._lamp[0], self._lamp[1])):
                lit += (
                    base * (0.35 * _spot(x, y + 0.2, 0.3))[:, :, None] * np.array([0.6, 0.9, 1.1], np.float32)
                )
        lit += base * 0.012
        if weather["fog"]:
            lit = lit * (1 - weather["fog"]) + float(lit.mean()) * 1.2 * weather["fog"]
        return lit, False

    def _indoors(
        self, base: npt.NDArray[np.float32], second: float, day: int, ambient: float, direct: float,
        rng: np.random.Generator,
    ) -> npt.NDArray[np.float32]:  # fmt: skip
        hours = np.random.default_rng((self.seed, 13, day)).uniform(0, 24, 6)
        lamp = sum(second / 3_600 > hour for hour in hours) % 2 if 5 < second / 3_600 < 24 else 0
        window = _spot(0.1, 0.4, 0.5)
        light = 0.5 * ambient * (0.4 + window)
        if direct > 0.05:  # a patch of sun wanders over the floor
            x = 0.2 + 0.6 * (second / 3_600 - 6) / 14
            light += direct * 0.8 * (_spot(x, 0.75, 0.12) > 0.3)
        if lamp:
            light = light + 0.5 * (0.5 + _spot(self._lamp[0], self._lamp[1], 0.5))
        if self.night == "infrared" and ambient + direct < 0.06:
            mono = base @ np.array([0.1, 0.2, 0.7], np.float32)
            lit = (mono * 0.6 + 40) * _spot(0.5, 0.5, 0.5) * 0.7 + mono * light
            return np.repeat(lit[:, :, None], 3, axis=2)
        return base * (light + 0.01)[:, :, None]

    def _shadow(self, second: float) -> npt.NDArray[np.float32]:
        """Return where the sun does not reach, 0 to 1."""
        hour = (second / 3_600 - 6) / 14
        length = 60 / (0.3 + math.sin(math.pi * hour))
        dx, dy = length * math.cos(math.pi * hour), 0.35 * length
        size = (CANVAS_WIDTH // 2, CANVAS_HEIGHT // 2)
        shade = np.zeros(size[::-1], np.uint8)
        for mask, tall in self._shades:
            for step in np.linspace(0.2, 1, 5):
                matrix = np.float32([[1, 0, dx / 2 * tall * step], [0, 1, dy / 2 * tall * step]])
                shade |= cv2.warpAffine(mask, matrix, size)
        shade = cv2.resize(shade, (CANVAS_WIDTH, CANVAS_HEIGHT))
        return cv2.GaussianBlur(shade, (0, 0), 1.2).astype(np.float32) / 255 * np.float32(0.9)

    def _move(
        self, canvas: npt.NDArray[np.float32], at_s: float, own: np.random.Generator, infrared: bool,
        weather: dict[str, float],
    ) -> None:  # fmt: skip
        """Draw who walks and drives there now, and what stands there for hours."""
        level = float(canvas[::16, ::16].mean())
        for slot in range(4):  # each slot: somebody comes now and then and stays for a while
            period = 240.0 * (slot + 1)
            number, within = divmod(at_s + 97 * slot, period)
            rng = np.random.default_rng((self.seed, 17, slot, int(number)))
            hour = at_s % DAY_S / 3_600
            if rng.uniform() > (0.6 if 7 < hour < 21 else 0.1) or within > (stay := rng.uniform(8, 60)):
                continue
            share = within / stay
            x = int((rng.uniform(-0.2, 1.2) * (1 - share) + rng.uniform(-0.2, 1.2) * share) * CANVAS_WIDTH)
            y = int(rng.uniform(0.4, 0.95) * CANVAS_HEIGHT)
            size = rng.uniform(0.04, 0.12) * CANVAS_HEIGHT * (2 if self.kind == "room" else 1)
            color = [float(c) * level / 110 for c in rng.uniform(20, 220, 3)]
            if infrared:
                color = [sum(color) / 3] * 3
            if self.kind == "road":
                cv2.rectangle(canvas, (x, y - int(size)), (x + int(3 * size), y), color, -1)
                if level < 40:
                    cv2.circle(canvas, (x, y - 3), int(size), (250, 250, 250), -1)
            else:
                cv2.ellipse(canvas, (x, y - int(size)), (int(size * 0.4), int(size)), 0, 0, 360, color, -1)
                cv2.circle(canvas, (x, y - int(2.2 * size)), int(size * 0.3), [c * 0.8 for c in color], -1)
        for slot in range(2):  # a parked car, a bag, a ladder
            period = 14_400.0 * (slot + 1)
            number, within = divmod(at_s + 4_001 * slot, period)
            rng = np.random.default_rng((self.seed, 19, slot, int(number)))
            if rng.uniform() < 0.5 and within < rng.uniform(600, 0.9 * period):
                x, y = int(rng.uniform(0.2, 0.7) * CANVAS_WIDTH), int(rng.uniform(0.55, 0.9) * CANVAS_HEIGHT)
                wide, high = int(rng.uniform(30, 90)), int(rng.uniform(25, 50))
                color = [float(c) * level / 110 for c in rng.uniform(20, 220, 3)]
                if infrared:
                    color = [sum(color) / 3] * 3
                cv2.rectangle(canvas, (x, y - high), (x + wide, y), color, -1)
                cv2.rectangle(
                    canvas, (x + 6, y - high + 5), (x + wide - 6, y - high // 2), [c / 2 for c in color], -1
                )
        if infrared and own.uniform() < 0.05:  # an insect before the lens
            cv2.circle(canvas, (int(own.integers(LEFT, LEFT + WIDTH)), int(own.integers(TOP, TOP + HEIGHT))),
                       int(own.integers(3, 20)), (240, 240, 240), -1)  # fmt: skip

    def _blow(self, canvas: npt.NDArray[np.float32], own: np.random.Generator, wind: float) -> None:
        for left, top, width, height in self._leaves:
            dx, dy = (round(float(v)) for v in own.normal(0, 1.5 * wind, 2))
            part = canvas[top : top + height, left : left + width]
            part[:] = np.roll(part, (dy, dx), axis=(0, 1))

    def _view(
        self, canvas: npt.NDArray[np.float32], own: np.random.Generator, weather: dict[str, float],
        fault: Fault | None,
    ) -> npt.NDArray[np.float32]:  # fmt: skip
        dx, dy = own.integers(-1, 2, 2) if weather["wind"] == 1.0 else (0, 0)
        if fault is not None and fault.warp is not None:
            matrix = fault.warp.copy()
            matrix[:, 2] += (dx, dy)
            size = (WIDTH, HEIGHT)
            return cv2.warpAffine(canvas, matrix, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
        return canvas[TOP + dy : TOP + dy + HEIGHT, LEFT + dx : LEFT + dx + WIDTH]

    def _sensed(
        self, view: npt.NDArray[np.float32], at_s: float, own: np.random.Generator, infrared: bool,
        weather: dict[str, float],
    ) -> Pixels:  # fmt: skip
        """Expose, add noise, fall, and compress."""
        wanted = float(np.clip((105.0 / max(float(view[::4, ::4].mean()), 0.1)) ** self._exposing, 0.4, 12.0))
        passed = at_s - self._at_s
        if self._gain is None or not 0 <= passed < 3:
            self._gain = wanted
        else:
            self._gain += (wanted - self._gain) * min(1.0, passed / 2)
        self._at_s = at_s
        sigma = self._noise * (0.6 + 0.4 * max(1.0, self._gain))
        dy, dx = (int(v) for v in own.integers(0, 64, 2))
        noise = (self._gray_noise if infrared else self._noise_field)[dy : dy + HEIGHT, dx : dx + WIDTH]
        pixels = np.asarray(cv2.addWeighted(view, self._gain, noise, sigma, 0, dtype=cv2.CV_8U), np.uint8)
        for _ in range(int(150 * weather["rain"])):
            x, y = int(own.integers(WIDTH)), int(own.integers(HEIGHT))
            cv2.line(pixels, (x, y), (x + 1, y + int(own.integers(6, 18))), (190, 190, 190), 1)
        for _ in range(int(120 * weather["snow"])):
            cv2.circle(pixels, (int(own.integers(WIDTH)), int(own.integers(HEIGHT))), int(own.integers(1, 4)),
                       (235, 235, 235), -1)  # fmt: skip
        if self._quality:
            _, data = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, self._quality])
            pixels = cv2.imdecode(data, cv2.IMREAD_COLOR)
        return pixels


@cache
def _weather_of(seed: int, day: int) -> tuple[str, float, float, float]:
    """Return the kind of weather, when it begins and for how long it lasts, in seconds, and the wind."""
    rng = np.random.default_rng((seed, 7, day))
    kind = rng.choice(["clear", "cloudy", "rain", "snow", "fog"], p=[0.4, 0.3, 0.15, 0.07, 0.08])
    start, length = rng.uniform(0, 60_000), rng.uniform(3_600, 25_000)
    return str(kind), float(start), float(length), float(rng.choice([0, 0, 0.5, 1.0]))


def _obstructed(view: npt.NDArray[np.float32], fault: Fault, infrared: bool) -> npt.NDArray[np.float32]:
    if fault.blur is not None:
        view = cv2.filter2D(view, -1, fault.blur, borderType=cv2.BORDER_REFLECT)
    if fault.mask is not None:
        if fault.before is None:
            before = cv2.GaussianBlur(view[::-1], (0, 0), 12)
        else:
            before = fault.before * np.float32(view[::8, ::8].mean() / 110)
            if infrared:
                before = np.repeat(before.mean(axis=2, keepdims=True), 3, axis=2)
        view = view * (1 - fault.mask) + before * fault.mask
    return np.ascontiguousarray(view, np.float32)


def _spot(x: float, y: float, reach: float) -> npt.NDArray[np.float32]:
    """Return light that falls off from a place, 0 to 1."""
    rows = (np.arange(CANVAS_HEIGHT, dtype=np.float32) / CANVAS_HEIGHT - y)[:, None]
    columns = (np.arange(CANVAS_WIDTH, dtype=np.float32) / CANVAS_WIDTH - x)[None, :]
    lit: npt.NDArray[np.float32] = np.exp(-(rows**2 + columns**2) / (2 * reach**2)).astype(np.float32)
    return lit


def _texture(rng: np.random.Generator, height: int, width: int, rough: float) -> npt.NDArray[np.float32]:
    """Return noise of many scales, mean 0, deviation about 1."""
    out = np.zeros((height, width), np.float32)
    for octave in range(2, 7):
        cells = (max(2, height * 2**octave // 360), max(2, width * 2**octave // 360))
        out += cv2.resize(
            rng.normal(0, rough**octave, cells).astype(np.float32),
            (width, height),
            interpolation=cv2.INTER_CUBIC,
        )
    return out / max(float(out.std()), 1e-6)


def _drawn(rng: np.random.Generator, kind: str) -> tuple[Pixels, list[tuple[Pixels, float]]]:
    """Return the reflectance of a place, and what casts shadows with its height."""
    size = (CANVAS_HEIGHT, CANVAS_WIDTH)
    horizon = int(rng.uniform(0.25, 0.5) * CANVAS_HEIGHT)
    far, near = rng.uniform(60, 170, 3), rng.uniform(60, 150, 3)
    base = np.where((np.arange(CANVAS_HEIGHT) < horizon)[:, None, None], far, near).astype(np.float32)
    base = np.broadcast_to(base, (*size, 3)).copy()
    base *= 1 + rng.uniform(0.05, 0.2) * _texture(rng, *size, float(rng.uniform(0.6, 1.0)))[:, :, None]
    shades: list[tuple[Pixels, float]] = []
    if kind == "road":
        for lane in rng.uniform(0.2, 0.8, 3):
            ends = [
                (int(lane * CANVAS_WIDTH), CANVAS_HEIGHT),
                (int((0.3 + 0.4 * lane) * CANVAS_WIDTH), horizon),
            ]
            cv2.line(base, ends[0], ends[1], (190, 190, 190), int(rng.integers(2, 6)))
    for _ in range(int(rng.integers(8, 22))):
        wide, high = (int(v) for v in rng.uniform((15, 15), (130, 120)))
        left = int(rng.integers(-20, CANVAS_WIDTH - 10))
        bottom = int(rng.uniform(horizon - 20, CANVAS_HEIGHT))
        color = [float(c) for c in rng.uniform(25, 225, 3)]
        top = bottom - high
        cv2.rectangle(base, (left, top), (left + wide, bottom), color, -1)
        for _ in range(int(rng.integers(0, 8))):  # windows, planks, things on a shelf
            a, b = int(rng.integers(left, left + wide)), int(rng.integers(top, bottom))
            c, d = a + int(rng.integers(3, 25)), b + int(rng.integers(3, 25))
            cv2.rectangle(base, (a, b), (min(c, left + wide), min(d, bottom)), [float(v) for v in
            rng.uniform(15, 235, 3)],
                          -1 if rng.uniform() < 0.7 else 1)  # fmt: skip
        mask = np.zeros(size, np.uint8)
        cv2.rectangle(mask, (left, top), (left + wide, bottom), 255, -1)
        shades.append((mask[::2, ::2].copy(), float(rng.uniform(0.3, 1.5))))
    base += 6 * _texture(rng, *size, 1.1)[:, :, None]
    return np.clip(base, 5, 245).astype(np.uint8), shades


def _foliage(rng: np.random.Generator, kind: str) -> list[tuple[int, int, int, int]]:
    if kind == "room":
        return []
    found = []
    for _ in range(int(rng.integers(0, 4))):
        width, height = (int(v) for v in rng.uniform((40, 40), (140, 120)))
        found.append(
            (
                int(rng.integers(0, CANVAS_WIDTH - width)),
                int(rng.integers(0, CANVAS_HEIGHT - height)),
                width,
                height,
            )
        )
    return found


class Footage:
    """A recording of a fixed camera, seen over and over: one picture a second of its middle.

    The margin around the middle, a tenth on each side, is what a moved camera sees.
    """

    def __init__(self, path: Path, per_second: int = 10) -> None:
        capture = cv2.VideoCapture(str(path))
        self._pictures: list[Pixels] = []
        for number in range(100_000):
            there, pixels = capture.read()
            if not there:
                break
            if number % per_second == 0:
                size = (round(WIDTH / 0.8), round(HEIGHT / 0.8))
                self._pictures.append(
                    np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), np.uint8)
                )
        capture.release()
        self._noise = np.random.default_rng(31).normal(0, 1, (HEIGHT + 64, WIDTH + 64, 3)).astype(np.float32)

    def picture(self, at_s: float, fault: Fault | None = None, since_s: float = 0.0) -> Pixels:
        """Return the picture of this second."""
        whole = self._pictures[int(at_s) % len(self._pictures)]
        height, width = whole.shape[:2]
        left, top = (width - WIDTH) // 2, (height - HEIGHT) // 2
        if fault is not None and fault.warp is not None:
            matrix = fault.warp.copy()
            matrix[:, 2] += matrix[:, :2] @ (
                LEFT - left,
                TOP - top,
            )  # it is meant for a canvas with more around
            view = cv2.warpAffine(whole, matrix, (WIDTH, HEIGHT), borderMode=cv2.BORDER_REFLECT)
        elif fault is not None and fault.other is not None:
            view = fault.other.picture(12 * 3_600 + at_s % 600)
        else:
            view = whole[top : top + HEIGHT, left : left + WIDTH]
        seen = view.astype(np.float32)
        if fault is not None:
            seen = _obstructed(seen, fault, False)
            if fault.light is not None:
                seen = seen * np.float32(fault.light(at_s - since_s))
        dy, dx = (int(v) for v in np.random.default_rng((31, int(at_s))).integers(0, 64, 2))
        noise = self._noise[dy : dy + HEIGHT, dx : dx + WIDTH]
        return np.asarray(cv2.addWeighted(seen, 1.0, noise, 1.5, 0, dtype=cv2.CV_8U), np.uint8)
