"""The configuration's ``[augment]``: bounds of random changes, and presets of them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec

from galago_edge.contract.errors import CallerError, Reason

Strength = Literal["none", "light", "usual", "strong"]
Codec = Literal["telephone", "low_rate"]

_Share = Annotated[float, msgspec.Meta(ge=0.0, le=1.0)]
_Half = Annotated[float, msgspec.Meta(ge=0.0, le=0.5)]
_Most = Annotated[float, msgspec.Meta(ge=0.0, le=0.9)]
_Zoom = Annotated[float, msgspec.Meta(ge=0.25, le=4.0)]
_Ratio = Annotated[float, msgspec.Meta(ge=-30.0, le=100.0)]
_Beta = Annotated[float, msgspec.Meta(ge=0.01, le=10.0)]

NO_ZOOM = (1.0, 1.0)
NO_JPEG = 100
OWN_NOISE_SNR_DB = (0.0, 30.0)
"""Of recordings from ``noise_folder``, where ``noise_snr_db`` does not say it."""


class _Augment(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    strength: Strength = "none"
    """Preset whose values hold for all keys that are not given."""
    share: _Share = 0.5
    """Share of the samples that each of the costly or destructive changes acts on."""
    mixup: _Share = 0.0
    """Share of the samples that are mixed with another one; labels are mixed alike."""
    mix_alpha: _Beta = 0.4
    """Of the beta distribution that mixup draws from; small values leave most of the sample as it is."""


class ImageAugment(_Augment, frozen=True, kw_only=True):
    """Random changes of training pictures, after preprocessing."""

    flip: bool = False
    """Mirror left and right, every second picture."""
    shift: _Half = 0.0
    """Largest shift as a share of the side, by whole pixels."""
    scale: tuple[_Zoom, _Zoom] = NO_ZOOM
    """Smallest and largest size of the scene: above 1 it is cropped, below 1 there is room around it."""
    stretch: _Half = 0.0
    """Largest change of the ratio of width to height."""
    rotation_degrees: Annotated[float, msgspec.Meta(ge=0.0, le=180.0)] = 0.0
    """Largest rotation to either side."""
    perspective: Annotated[float, msgspec.Meta(ge=0.0, le=0.3)] = 0.0
    """Largest move of each corner, as a share of the side."""
    background_folder: str | None = None
    """Pictures, a random part of which shows where the other changes uncover something; else border pixels
    are repeated. Relative to the configuration file."""
    exposure_stops: Annotated[float, msgspec.Meta(ge=0.0, le=3.0)] = 0.0
    """Largest change of the exposure; a stop is a factor of two in light."""
    white_balance_stops: Annotated[float, msgspec.Meta(ge=0.0, le=2.0)] = 0.0
    """Largest change of red against blue; colour pictures only, as the next two."""
    saturation: Annotated[float, msgspec.Meta(ge=0.0, le=1.0)] = 0.0
    """Largest change of the distance from gray, as a share."""
    hue_degrees: Annotated[float, msgspec.Meta(ge=0.0, le=180.0)] = 0.0
    """Largest turn of all colours."""
    contrast: _Most = 0.0
    """Largest change of the distance from middle gray, as a share."""
    brightness: _Most = 0.0
    """Largest change of gain, and of offset as a share of full scale."""
    cutout: Annotated[float, msgspec.Meta(ge=0.0, le=0.8)] = 0.0
    """Largest side of a rectangle that is covered, as a share of the picture's side; ``share`` of them."""
    blur: Annotated[float, msgspec.Meta(ge=0.0, le=20.0)] = 0.0
    """Largest standard deviation of a Gaussian blur in pixels; ``share`` of the pictures."""
    motion_blur: Annotated[float, msgspec.Meta(ge=0.0, le=100.0)] = 0.0
    """Longest motion in pixels while the picture is taken; ``share`` of the pictures."""
    noise: Annotated[float, msgspec.Meta(ge=0.0, le=128.0)] = 0.0
    """Largest standard deviation of Gaussian noise, in pixel codes of 0 to 255."""
    jpeg_quality: Annotated[int, msgspec.Meta(ge=1, le=100)] = NO_JPEG
    """Lowest quality of a JPEG made of the picture, 100: none; ``share`` of the pictures."""
    cutmix: _Share = 0.0
    """Share of the pictures in which a rectangle is another picture's; labels are mixed by area."""


class AudioAugment(_Augment, frozen=True, kw_only=True):
    """Random changes of training clips, on the waveform before the frontend."""

    speed: _Half = 0.0
    """Largest change of the speed as a share, the pitch with it, as of a tape."""
    tempo: _Half = 0.0
    """Largest change of the tempo as a share, at the same pitch; ``share`` of the clips."""
    pitch_semitones: Annotated[float, msgspec.Meta(ge=0.0, le=12.0)] = 0.0
    """Largest change of the pitch, at the same tempo; ``share`` of the clips."""
    room_s: Annotated[float, msgspec.Meta(ge=0.0, le=3.0)] = 0.0
    """Longest reverberation (by 60 dB) of synthetic rooms, in seconds; ``share`` of the clips."""
    shift_ms: Annotated[int, msgspec.Meta(ge=0, le=60_000)] = 0
    """Largest shift to either side; what moves in is silence."""
    context: _Share = 0.0
    """Share of the clips shorter than the window that have sound around and under them, as in a stream."""
    context_snr_db: tuple[_Ratio, _Ratio] = (10.0, 40.0)
    """Lowest and highest ratio of such a clip to the sound around it."""
    noise_folder: str | None = None
    """Recordings of noise, used instead of synthetic noise. Relative to the configuration file."""
    noise_snr_db: tuple[float, float] | None = None
    """Lowest and highest signal-to-noise ratio of added noise, white to pink or from ``noise_folder``."""
    noise_share: _Share = 0.8
    """Share of the clips that get noise, when there is any."""
    gain_db: Annotated[float, msgspec.Meta(ge=0.0, le=60.0)] = 0.0
    """Largest gain or attenuation."""
    clipping_db: Annotated[float, msgspec.Meta(ge=0.0, le=40.0)] = 0.0
    """By how much the peaks are cut off at most; ``share`` of the clips."""
    codecs: tuple[Codec, ...] = ()
    """Ways that narrow the band: ``telephone`` (300 to 3400 Hz, 8 bits), ``low_rate`` (a half to a quarter of
    the rate); one of them for ``share`` of the clips."""
    time_mask: _Half = 0.0
    """Largest share of the window whose features are blanked; ``share`` of the clips."""
    band_mask: _Half = 0.0
    """Largest share of the mel bands that are blanked; ``share`` of the clips."""

    @property
    def noise_range_db(self) -> tuple[float, float] | None:
        """Signal-to-noise ratios of added noise, lowest first; None: there is no noise."""
        if self.noise_snr_db is None and self.noise_folder is not None:
            return OWN_NOISE_SNR_DB
        return self.noise_snr_db


Augment = ImageAugment | AudioAugment

Presets = dict[str, tuple[Any, Any, Any]]
"""By key, the values of ``light``, ``usual`` and ``strong``."""

PICTURE_PRESETS: Presets = {
    "share": (0.3, 0.3, 0.4),
    "shift": (0.05, 0.08, 0.12),
    "scale": ((0.9, 1.1), (0.8, 1.25), (0.6, 1.5)),
    "stretch": (0.0, 0.1, 0.2),
    "rotation_degrees": (0.0, 8.0, 20.0),
    "perspective": (0.0, 0.05, 0.1),
    "exposure_stops": (0.3, 0.7, 1.3),
    "white_balance_stops": (0.0, 0.3, 0.6),
    "saturation": (0.0, 0.2, 0.4),
    "hue_degrees": (0.0, 4.0, 10.0),
    "contrast": (0.1, 0.2, 0.35),
    "brightness": (0.0, 0.05, 0.1),
    "cutout": (0.0, 0.25, 0.4),
    "blur": (0.0, 1.0, 1.5),
    "motion_blur": (0.0, 0.0, 5.0),
    "noise": (3.0, 5.0, 10.0),
    "jpeg_quality": (NO_JPEG, 40, 20),
    "mixup": (0.0, 0.0, 0.2),
    "cutmix": (0.0, 0.0, 0.2),
}
SOUND_PRESETS: Presets = {
    "share": (0.3, 0.3, 0.4),
    "speed": (0.0, 0.06, 0.1),
    "tempo": (0.0, 0.0, 0.1),
    "pitch_semitones": (0.0, 0.7, 1.5),
    "room_s": (0.0, 0.5, 1.0),
    "shift_ms": (0, 50, 100),
    "context": (0.3, 0.5, 0.7),
    "context_snr_db": ((20.0, 40.0), (10.0, 40.0), (0.0, 35.0)),
    "noise_snr_db": ((15.0, 40.0), (5.0, 35.0), (0.0, 30.0)),
    "noise_share": (0.5, 0.7, 0.8),
    "gain_db": (6.0, 9.0, 12.0),
    "clipping_db": (0.0, 0.0, 10.0),
    "codecs": ((), (), ("telephone", "low_rate")),
    "time_mask": (0.0, 0.08, 0.15),
    "band_mask": (0.0, 0.12, 0.2),
    "mixup": (0.0, 0.0, 0.2),
}
_COLUMNS = {"light": 0, "usual": 1, "strong": 2}


def with_preset(given: Any, presets: Presets) -> Any:
    """Return the plain table ``[augment]`` with the values of its preset where it gives none.

    What is no table, or names no preset, is returned as it is, for who checks it against its type.

    >>> with_preset({"strength": "light", "noise": 9.0}, PICTURE_PRESETS)["noise"]
    9.0
    """
    strength = given.get("strength") if isinstance(given, dict) else None
    if not isinstance(strength, str) or strength not in _COLUMNS:
        return given
    return {key: values[_COLUMNS[strength]] for key, values in presets.items()} | given


def check_augment(options: Augment) -> None:
    """Check what bounds of single keys cannot say.

    Raises:
        CallerError: CONFIG_BAD.
    """
    ranges: tuple[tuple[str, tuple[float, float] | None, str], ...]
    if isinstance(options, ImageAugment):
        ranges = (("scale", options.scale, "[0.8, 1.25]"),)
        if options.mixup + options.cutmix > 1.0:
            raise CallerError(
                Reason.CONFIG_BAD,
                f"[augment] mixup and cutmix are shares of all pictures and make {options.mixup:g} + "
                f"{options.cutmix:g}; expected at most 1 together",
                hint="such as 0.2 each",
            )
    else:
        ranges = (
            ("noise_snr_db", options.noise_snr_db, "[5, 30]"),
            ("context_snr_db", options.context_snr_db, "[10, 40]"),
        )
    for name, bounds, example in ranges:
        if bounds is not None and not bounds[0] <= bounds[1]:  # nan is no bound
            raise CallerError(
                Reason.CONFIG_BAD, f"[augment] {name} is {list(bounds)}", hint=f"lowest first: {example}"
            )
