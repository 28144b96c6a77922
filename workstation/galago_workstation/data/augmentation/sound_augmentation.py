"""All random changes of a training clip, in the order in which a room and a microphone would make them."""

from __future__ import annotations

import importlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from galago_workstation.data.augmentation.augment_options import AudioAugment
from galago_workstation.data.augmentation.feature_masks import Codes, masked
from galago_workstation.data.augmentation.random_draws import SampleDraws, between, spread
from galago_workstation.data.augmentation.sample_mixing import Mixing, drawn_mixing, mixed_sounds
from galago_workstation.data.augmentation.sound_channel import clipped, through_codec
from galago_workstation.data.augmentation.sound_noise import (
    at_ratio,
    level_rms,
    synthetic_noise,
    with_soft_ends,
)
from galago_workstation.data.augmentation.sound_room import in_room, room_response
from galago_workstation.data.augmentation.sound_tempo import (
    FRAME_S,
    drawn_rates,
    resampled,
    stretched,
)
from galago_workstation.data.clip_window import Samples, window_at

Sound = npt.NDArray[np.float32]

SOUND_ORDER = (
    *("voice", "room", "place", "context", "mixing"),
    *("noise", "gain", "clipping", "codec", "masks"),
)
"""What changes a clip, first to last: the sound itself, where it is heard, what else is heard there, the
microphone, its line, the features."""
_SOFT_ENDS_S = 0.005
_SPARE_S = 2 * FRAME_S
"""More than speed and stretching need: the last pieces of a stretched sound reach over its end."""


class SoundSource(Protocol):
    """What sound may be taken from."""

    def piece(self, rng: np.random.Generator, count: int) -> Sound:
        """Return ``(count,)`` in int16 steps."""
        ...


@dataclass(frozen=True, slots=True)
class PlacedClip:
    """A clip in its window."""

    samples: Sound
    """``(window_samples,)`` in int16 steps."""
    begin: int
    end: int
    """Where the clip itself lies, without what is around it."""

    @property
    def rms(self) -> float:
        """Its level, against which noise is set."""
        return level_rms(self.samples[self.begin : self.end])


class SoundAugmentation:
    """Changes clips as ``[augment]`` says; the same draws give the same samples.

    Args:
        options: The bounds.
        rate_hz: Of all sounds.
        window_samples: What the model hears at once.
        noise: Recordings that are used as noise; synthetic noise without.
        around: What may be heard around a clip that is shorter than the window; noise without.
    """

    def __init__(
        self,
        options: AudioAugment,
        rate_hz: int,
        window_samples: int,
        *,
        noise: SoundSource | None = None,
        around: Sequence[SoundSource] = (),
    ) -> None:
        if options.room_s or options.codecs:
            # it takes most of a second: here, once, and not in each of the processes that are forked later
            importlib.import_module("scipy.signal")
        self._options = options
        self._rate_hz = rate_hz
        self._window = window_samples
        self._noise = noise
        self._around = tuple(around)

    @property
    def keeps_sound(self) -> bool:
        """Whether a clip that is as long as the window is heard as it is, every time it is used."""
        options = self._options
        moved = (
            options.speed or options.tempo or options.pitch_semitones or options.room_s or options.shift_ms
        )
        louder = options.gain_db or options.clipping_db or options.noise_range_db is not None
        return not (options.mixup or moved or louder or options.codecs)

    def mixing(self, draws: SampleDraws, count: int) -> Mixing | None:
        """Return with which of ``count`` samples this one is mixed; None: with none."""
        if self._options.mixup == 0.0:
            return None
        return drawn_mixing(draws.of("mixing"), self._options, draws.index, count)

    def placed(self, clip: Samples, draws: SampleDraws) -> PlacedClip:
        """Return one window of a clip ``(n,)``, with the clip's own sound changed.

        A longer clip gives a random part of it, with or without options; a shorter one lies anywhere in the
        window, as a stream shows it.
        """
        options = self._options
        resampling, stretching = self._rates(draws)
        # exactly the window where nothing changes its length
        changes = resampling != 1.0 or stretching != 1.0
        needed = math.ceil(self._window * resampling / stretching) + round(_SPARE_S * self._rate_hz) * changes
        position, shift = draws.of("place").random(2)
        moved = round(spread(shift) * options.shift_ms * self._rate_hz / 1000.0)
        spare = len(clip) - needed
        if spare > 0:
            part = window_at(clip, int(position * (spare + 1)) - round(moved * needed / self._window), needed)
            sound = self._voiced(part, resampling, stretching)[: self._window]
            return PlacedClip(self._in_room(sound, draws)[: self._window], 0, self._window)
        sound = self._voiced(clip, resampling, stretching)
        room = self._window - len(sound)
        start = moved + (int(position * (room + 1)) if room >= 0 else -int(position * (1 - room)))
        return self._amid(sound, start, draws)

    def _rates(self, draws: SampleDraws) -> tuple[float, float]:
        options = self._options
        if not (options.speed or options.tempo or options.pitch_semitones):
            return 1.0, 1.0
        rng = draws.of("voice")
        return drawn_rates(rng, rng.random(), options)

    def _voiced(self, clip: Samples, resampling: float, stretching: float) -> Sound:
        return stretched(resampled(clip.astype(np.float32), resampling), stretching, self._rate_hz)

    def _in_room(self, sound: Sound, draws: SampleDraws) -> Sound:
        if self._options.room_s == 0.0:
            return sound
        rng = draws.of("room")
        if rng.random() >= self._options.share:
            return sound
        return in_room(sound, room_response(rng, self._options.room_s, self._rate_hz))

    def _amid(self, sound: Sound, start: int, draws: SampleDraws) -> PlacedClip:
        """Return a short clip at ``start`` of the window, amid silence or what else is heard."""
        options = self._options
        rng = draws.of("context")
        chance, ratio, which = rng.random(3)
        amid = len(sound) < self._window and chance < options.context
        if amid:
            sound = with_soft_ends(sound, round(_SOFT_ENDS_S * self._rate_hz))
        heard = self._in_room(sound, draws)
        samples = np.zeros(self._window, np.float32)
        first, last = (min(max(place, 0), self._window) for place in (start, start + len(heard)))
        samples[first:last] = heard[first - start : last - start]
        placed = PlacedClip(samples, first, min(max(start + len(sound), first), self._window))
        if amid:
            source = self._around[int(which * len(self._around))] if self._around else None
            bed = self._piece(source, rng)
            samples += at_ratio(bed, placed.rms, between(ratio, options.context_snr_db))
        return placed

    def _piece(self, source: SoundSource | None, rng: np.random.Generator) -> Sound:
        return synthetic_noise(rng, self._window) if source is None else source.piece(rng, self._window)

    def mixed(self, clip: PlacedClip, partner: PlacedClip, mixing: Mixing) -> PlacedClip:
        """Return two placed clips in one window."""
        samples = mixed_sounds(clip.samples, partner.samples, mixing.share)
        return PlacedClip(samples, min(clip.begin, partner.begin), max(clip.end, partner.end))

    def finished(self, clip: PlacedClip, draws: SampleDraws) -> Samples:
        """Return the window ``(window_samples,)`` int16 as the microphone's line gives it."""
        options = self._options
        sound = clip.samples
        if (bounds := options.noise_range_db) is not None:
            rng = draws.of("noise")
            chance, ratio = rng.random(2)
            if chance < options.noise_share:
                sound = sound + at_ratio(self._piece(self._noise, rng), clip.rms, between(ratio, bounds))
        if options.gain_db > 0.0:
            gain = spread(draws.of("gain").random()) * options.gain_db
            sound = sound * np.float32(10.0 ** (gain / 20.0))
        if options.clipping_db > 0.0:
            rng = draws.of("clipping")
            if rng.random() < options.share:
                sound = clipped(sound, rng, options.clipping_db)
        if options.codecs:
            rng = draws.of("codec")
            if rng.random() < options.share:
                sound = through_codec(sound, rng, options.codecs, self._rate_hz)
        return np.rint(sound).clip(-32768, 32767).astype(np.int16)

    def blanked(self, codes: Codes, draws: SampleDraws) -> Codes:
        """Return the features ``(frames, bands)`` with parts of them blanked."""
        options = self._options
        if options.time_mask == 0.0 and options.band_mask == 0.0:
            return codes
        rng = draws.of("masks")
        if rng.random() >= options.share:
            return codes
        return masked(codes, rng, options.time_mask, options.band_mask)
