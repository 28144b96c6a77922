"""What a camera usually sees, learned from its own pictures: edges that stay, for each kind of light.

Up to eight kinds of light are told apart by what they show: noon, low sun, clouds, lamps, infrared. For each,
every edge has a counter between -127 and 127, the mean of its signs: over all pictures at first, then over
the last hour and a half of that light. An edge that is there at least 55 % of the time is known; what throws
shadows, walks or grows is not. Beside them stands the mean picture, for the heights of edges.

Kept as bytes: a line of JSON (format, whose camera it is, size of its pictures, checksum), then what was
learned, packed by zlib.
"""

from __future__ import annotations

import hashlib
import zlib
from dataclasses import dataclass, field
from typing import Annotated, Literal

import msgspec
import numpy as np
import numpy.typing as npt

from galago_edge.contract.decoding import from_json
from galago_edge.sources.view_picture import (
    COLUMNS,
    ROWS,
    TILE_COLUMNS,
    TILE_ROWS,
    Int16s,
    Int32s,
    Signs,
    View,
    cells_of,
    heights_of,
    sums_of_both,
    sums_of_each,
    view_of,
)

FORMAT: Literal["galago.view/1"] = "galago.view/1"
READY_STEPS = 360
"""Pictures learned, an hour of them, before anything is judged by them."""
LIGHTS = 8

_VOUCHING_STEPS = 12
"""Pictures of one light, two minutes of it, before it can tell that all is well."""
_KNOWN = 70
"""An edge is known when its counter is at least so far from 0: 55 % of 127."""
_KNOWN_EDGES = 20 * 100
"""Some 20 edges: a tile of which less is known says nothing."""
_FULL = 127 << 8
_SLOWEST = 9
"""A picture counts for 1/2**9 at least."""
_DERIVE_EVERY = 6
_LEAST_HEIGHT, _MOST_HEIGHT = 3, 127
"""Half gray levels that an edge must be high to show a blur, and that count at most."""
_POWER = 10 * 6 * 12
"""Ten edges of three levels: a tile with less shows no blur."""
_POWER_OF_NOISE = 2_890
"""Noise of deviation ``d``, a ``View.noise`` of some 4300 d, leaves a power of ``800 d**2 / n`` in the short
edges of a tile of the mean of ``n`` pictures. They are not seen again: beside such a light everything would
look blurred. It may be an eighth of the power."""
_SHAPE = (2, ROWS, COLUMNS)
_PLANES = (2, 2, ROWS + 1, COLUMNS + 1)
_TILES = (TILE_ROWS, TILE_COLUMNS)
_SAMPLE_BITS = 5
_SIZES = (2 * ROWS * COLUMNS, 4 * (ROWS + 1) * (COLUMNS + 1), 2 * TILE_ROWS * TILE_COLUMNS, 4)
"""Bytes that are kept of one light: counters, mean picture, matches, noise."""
_LONGEST = LIGHTS * sum(_SIZES) + 1


@dataclass(frozen=True, slots=True, eq=False)
class Known:
    """The edges of one kind of light that stay, and how high they are."""

    weights: Signs
    """Counters of the known edges, -127 to 127; 0 for others; shape ``(2, ROWS, COLUMNS)``."""
    totals: Int32s
    """Sum of the weights' sizes, by tile; at least 1."""
    strength: Int32s
    """Mean size of a known edge, in 1/128 gray levels, by tile; 0 where too few are known."""
    patterns: Signs
    """Heights of edges, short and long, in half gray levels; shape ``(2, ROWS, COLUMNS)``."""
    powers: Int32s
    """Sums of patterns times heights, at least 1; shape ``(2, TILE_ROWS, TILE_COLUMNS)``."""
    shows: npt.NDArray[np.bool_]
    """Tiles in which a blur would show."""
    structure: Int32s
    """Mean size of an edge, in 1/128 gray levels, by tile."""
    bright: Int32s
    """Mean level, in 1/128 gray levels, by tile; at least 1."""

    @classmethod
    def derived(cls, counters: Int16s, samples: Int32s, error: int = 0) -> Known:
        """Derive it from what a :class:`KnownLight` has learned; ``error``: the power that noise has left."""
        short = (counters >> 8).astype(np.int8)
        staying = np.abs(short) >= _KNOWN
        weights = short * staying
        totals = sums_of_both(np.abs(weights))
        picture = (samples >> _SLOWEST).astype(np.int16)
        view = view_of(picture, picture)
        cells = cells_of(picture).astype(np.int32)
        sizes = (
            np.abs(np.stack([cells[1:, :-1] - cells[:-1, :-1], cells[:-1, 1:] - cells[:-1, :-1]])) * staying
        )
        strength = sums_of_both(sizes) // np.maximum(sums_of_both(staying), 1)
        heights = heights_of(picture)
        patterns = np.clip(heights >> 1, -_MOST_HEIGHT, _MOST_HEIGHT).astype(np.int8)
        patterns *= np.abs(patterns) >= _LEAST_HEIGHT
        powers = sums_of_each(patterns * heights.astype(np.int32))
        return cls(
            weights,
            np.maximum(totals, 1),
            strength * (totals >= _KNOWN_EDGES),
            patterns,
            np.maximum(powers, 1),
            np.logical_and(*(powers >= max(_POWER, error))),
            view.structure,
            np.maximum(view.bright, 1),
        )

    def match(self, view: View) -> Int32s:
        """Return for each tile how well its known edges are seen: 1000 when all, 0 when by chance."""
        return 1_000 * sums_of_both(view.signs * self.weights) // self.totals

    def gains(self, samples: Int16s) -> npt.NDArray[np.int64]:
        """Return how high edges are, in thousandths of the usual, by tile: over a short and a long way."""
        # sums of at most 127 * 1020 * 100, below 2**24
        products = heights_of(samples) * self.patterns.astype(np.float32)
        return 1_000 * sums_of_each(products).astype(np.int64) // self.powers


@dataclass(slots=True, eq=False)
class KnownLight:
    """What was learned in one kind of light."""

    colorless: bool = False
    """Whether it is infrared."""
    steps: int = 0
    """Pictures learned."""
    counters: Int16s = field(default_factory=lambda: np.zeros(_SHAPE, np.int16))
    """Mean sign of each edge, 127 << 8 being 1."""
    samples: Int32s = field(default_factory=lambda: np.zeros(_PLANES, np.int32))
    """The mean picture, as ``View.samples`` with 9 more bits behind the point."""
    matches: Int32s = field(default_factory=lambda: np.zeros(_TILES, np.int32))
    """How well known edges are usually seen, as from ``match``, with 9 bits behind the point."""
    noise: int = 0
    """Mean noise, as ``View.noise`` with 9 more bits behind the point."""
    known: Known | None = None
    """What is derived from the above; None before the first picture."""

    @property
    def vouches(self) -> bool:
        """Whether enough was learned to tell that all is well."""
        return self.steps >= _VOUCHING_STEPS

    @property
    def usual_match(self) -> Int32s:
        """How well known edges are usually seen, in thousandths, by tile."""
        return self.matches >> _SLOWEST

    @property
    def usual_noise(self) -> int:
        """Mean noise, as ``View.noise``."""
        return self.noise >> _SLOWEST

    @property
    def _error(self) -> int:
        """The power from which on the noise that is left in the mean picture is at most an eighth of it."""
        return self.usual_noise**2 // (_POWER_OF_NOISE * min(self.steps + 1, 1 << _SLOWEST))

    def learn(self, view: View) -> None:
        """Take one more picture."""
        pace = min((self.steps + 1).bit_length() - 1, _SLOWEST)
        wanted = view.signs.astype(np.int32) * _FULL
        self.counters += ((wanted - self.counters) >> pace).astype(np.int16)
        self.samples += ((view.samples.astype(np.int32) << _SLOWEST) - self.samples) >> pace
        if view.noise is not None:
            noise = view.noise << _SLOWEST
            self.noise = self.noise + ((noise - self.noise) >> pace) if self.noise else noise
        if self.known is not None:
            match = self.known.match(view) << _SLOWEST
            self.matches += (match - self.matches) >> (pace if self.steps > 1 else 0)
        if self.steps < _VOUCHING_STEPS or self.steps % _DERIVE_EVERY == 0:
            self.known = Known.derived(self.counters, self.samples, self._error)
        self.steps += 1

    def content(self) -> bytes:
        """Return what is to be kept of it."""
        parts = (
            (self.counters >> 8).astype(np.int8),
            (self.samples >> _SLOWEST + _SAMPLE_BITS).astype(np.uint8),
            self.usual_match.astype("<i2"),
            np.array([self.usual_noise], "<i4"),
        )
        return b"".join(part.tobytes() for part in parts)

    def restore(self, content: memoryview) -> None:
        """Take up what :meth:`content` returned."""
        edges, picture = _SIZES[0], _SIZES[0] + _SIZES[1]
        self.counters = np.frombuffer(content[:edges], np.int8).reshape(_SHAPE).astype(np.int16) << 8
        samples = np.frombuffer(content[edges:picture], np.uint8).reshape(_PLANES).astype(np.int32)
        self.samples = samples << _SLOWEST + _SAMPLE_BITS
        self.matches = np.frombuffer(content[picture:-4], "<i2").reshape(_TILES).astype(np.int32) << _SLOWEST
        self.noise = int.from_bytes(content[-4:], "little") << _SLOWEST
        self.known = Known.derived(self.counters, self.samples, self._error)


class DamagedViewError(Exception):
    """What was kept cannot be read."""


class ForeignViewError(Exception):
    """What was kept is another camera's, or of pictures of another size."""


_Count = Annotated[int, msgspec.Meta(ge=0, le=2**62)]


class _Line(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The first line of what is kept."""

    format: Literal["galago.view/1"]
    key: str
    height: _Count
    width: _Count
    watched_ns: _Count
    lights: Annotated[tuple[tuple[_Count, bool], ...], msgspec.Meta(max_length=LIGHTS)]
    sum: str = ""
    """SHA-256 of the other fields and all that is behind the line, unpacked."""


def _digest(line: _Line, content: bytes) -> str:
    unsigned = msgspec.json.encode(msgspec.structs.replace(line, sum=""))
    return hashlib.sha256(unsigned + b"\n" + content).hexdigest()


class ViewMemory:
    """All that was learned of one camera."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self.lights: list[KnownLight] = []
        """At most ``LIGHTS``."""
        self.watched_ns = 0
        """For how long the camera was watched."""

    @property
    def ready(self) -> bool:
        """Whether enough was learned to judge by."""
        return sum(light.steps for light in self.lights) >= READY_STEPS

    def new_light(self, colorless: bool, besides: KnownLight | None) -> KnownLight:
        """Return a kind of light of which nothing is known yet; the one met least often makes room for it.

        ``besides``: one that stays.
        """
        if len(self.lights) == LIGHTS:
            self.lights.remove(
                min((one for one in self.lights if one is not besides), key=lambda one: one.steps)
            )
        self.lights.append(KnownLight(colorless))
        return self.lights[-1]

    def to_bytes(self, key: str, shape: tuple[int, ...]) -> bytes:
        """Return what is to be kept of this camera, whose pictures have this shape."""
        content = b"".join(light.content() for light in self.lights)
        lights = tuple((light.steps, light.colorless) for light in self.lights)
        line = _Line(FORMAT, key, shape[0], shape[1], self.watched_ns, lights)
        line = msgspec.structs.replace(line, sum=_digest(line, content))
        return msgspec.json.encode(line) + b"\n" + zlib.compress(content, 1)

    @classmethod
    def from_bytes(cls, data: bytes, key: str, shape: tuple[int, ...]) -> ViewMemory:
        """Return what was kept.

        Raises:
            ForeignViewError: It is another camera's, or of pictures of another size.
            DamagedViewError: It cannot be read, or is of another version.
        """
        text, _, packed = data.partition(b"\n")
        try:
            line = from_json(text, type=_Line)
            content = zlib.decompressobj().decompress(packed, _LONGEST)
        except (msgspec.DecodeError, UnicodeDecodeError, zlib.error):
            raise DamagedViewError from None
        if (line.key, line.height, line.width) != (key, *shape[:2]):
            raise ForeignViewError
        if line.sum != _digest(line, content) or len(content) != len(line.lights) * sum(_SIZES):
            raise DamagedViewError
        memory, rest = cls(), memoryview(content)
        memory.watched_ns = line.watched_ns
        for steps, colorless in line.lights:
            light = KnownLight(colorless, steps)
            light.restore(rest[: sum(_SIZES)])
            memory.lights.append(light)
            rest = rest[sum(_SIZES) :]
        return memory
