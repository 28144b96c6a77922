"""Synthetic rooms: what the walls of a box add to a sound.

The first reflections are those of the image sources of a box (Allen and Berkley 1979); behind them comes
noise whose energy is what so many images would have on average (Barron and Lee 1988).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Sound = npt.NDArray[np.float32]

SPEED_OF_SOUND = 343.0
"""Metres a second in air at 20 degrees."""
SHORTEST_S = 0.1
"""Reverberation time of a car or a cupboard."""
_SMALLEST_ROOM = np.array([2.5, 2.2, 2.2])
_LARGEST_ROOM = np.array([8.0, 6.0, 3.5])
"""Metres."""
_FROM_WALLS = 0.1
"""Sound and microphone are so far from the walls at least, as a share of the side."""
_NEAREST = 0.3
"""Metres between sound and microphone, at least."""
_SABINE = 0.161
"""Seconds a metre: 24 ln 10 / speed of sound (Sabine 1922)."""
_EARLY_S = 0.025
"""So long after the direct sound all reflections are images of at most second order along each side."""
_DULLEST = 0.6


def room_response(rng: np.random.Generator, longest_s: float, rate_hz: int) -> Sound:
    """Return what a random room makes of a click, from the direct sound on, which has amplitude 1.

    Args:
        rng: Decides size, places, walls and reverberation time.
        longest_s: Longest reverberation time (by 60 dB).
        rate_hz: Samples a second.
    """
    shares = rng.random(11)
    seconds = SHORTEST_S * (max(longest_s, SHORTEST_S) / SHORTEST_S) ** shares[0]
    sides = _SMALLEST_ROOM + shares[1:4] * (_LARGEST_ROOM - _SMALLEST_ROOM)
    sound, microphone = (
        sides * (_FROM_WALLS + place * (1.0 - 2.0 * _FROM_WALLS)) for place in (shares[4:7], shares[7:10])
    )
    if np.linalg.norm(sound - microphone) < _NEAREST:
        sound = sides - microphone
    distance = max(float(np.linalg.norm(sound - microphone)), _NEAREST)
    count = max(1, round(seconds * rate_hz))
    response = np.zeros(count)
    delays, amplitudes = _images(sides, sound, microphone, _reflection(sides, seconds))
    places = np.rint((delays - distance / SPEED_OF_SOUND) * rate_hz).astype(np.int64)
    early = (places > 0) & (places < min(count, round(_EARLY_S * rate_hz)))
    np.add.at(response, places[early], amplitudes[early])
    response += _tail(rng, sides, seconds, distance, count, rate_hz)
    response *= distance
    _dull(response, shares[10] * _DULLEST)
    response[0] = 1.0
    return response.astype(np.float32)


def _reflection(sides: npt.NDArray[np.float64], seconds: float) -> float:
    """Return the share of the amplitude that a wall reflects, of a room with this reverberation time."""
    surface = 2.0 * (sides[0] * sides[1] + sides[1] * sides[2] + sides[0] * sides[2])
    absorbed = _SABINE * float(np.prod(sides)) / (surface * seconds)
    return float(np.sqrt(1.0 - min(absorbed, 0.98)))


def _images(
    sides: npt.NDArray[np.float64],
    sound: npt.NDArray[np.float64],
    microphone: npt.NDArray[np.float64],
    reflection: float,
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return delays in seconds and amplitudes (1 at one metre) of the images, without the sound itself."""
    rooms, mirrored = np.repeat(np.arange(-2, 3), 2), np.tile([0, 1], 5)
    along = [
        2.0 * rooms * side + (1 - 2 * mirrored) * at - ear
        for side, at, ear in zip(sides, sound, microphone, strict=True)
    ]
    times = np.abs(rooms - mirrored) + np.abs(rooms)  # that walls of one side are met
    met = times[:, None, None] + times[None, :, None] + times[None, None, :]
    squares = along[0][:, None, None] ** 2 + along[1][None, :, None] ** 2 + along[2][None, None, :] ** 2
    images = met > 0
    distances = np.sqrt(squares[images])
    return distances / SPEED_OF_SOUND, reflection ** met[images] / distances


def _tail(
    rng: np.random.Generator,
    sides: npt.NDArray[np.float64],
    seconds: float,
    distance: float,
    count: int,
    rate_hz: int,
) -> npt.NDArray[np.float64]:
    """Return what comes behind the first reflections.

    4 pi c / V is the energy that arrives in a second while nothing is absorbed, next to 1 at one metre.
    """
    first = round(_EARLY_S * rate_hz)
    tail = np.zeros(count)
    if first < count:
        times = distance / SPEED_OF_SOUND + np.arange(first, count) / rate_hz
        energy = 4.0 * np.pi * SPEED_OF_SOUND / float(np.prod(sides)) / rate_hz
        decay = np.exp(-3.0 * np.log(10.0) * times / seconds)  # of the amplitude: 60 dB
        tail[first:] = rng.standard_normal(count - first) * np.sqrt(energy) * decay
    return tail


def _dull(response: npt.NDArray[np.float64], share: float) -> None:
    """Take some of the high frequencies out of what was reflected: walls and air swallow more of them."""
    from scipy.signal import lfilter

    response[1:] = lfilter([1.0 - share], [1.0, -share], response[1:])


def in_room(sound: Sound, response: Sound) -> Sound:
    """Return the sound ``(n,)`` as heard there, as loud as before: ``n + len(response) - 1`` samples."""
    from scipy.signal import fftconvolve

    heard: Sound = fftconvolve(sound, response).astype(np.float32)
    before, after = (float(np.sum(np.square(one, dtype=np.float64))) for one in (sound, heard))
    if after > 0.0:
        heard *= np.float32(np.sqrt(before / after))
    return heard
