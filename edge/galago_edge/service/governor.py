"""What a hot or under-powered board does less of: every second window, every fourth ... and back again.

Temperatures come from the kernel's thermal zones, chosen by their *type*: numbers change between boots, and
some zones are no thermometer of the processor (one ``acpitz`` is known to say 102.8 °C all day). What a
Raspberry Pi says of its supply comes from its firmware. Everything is read again each time; what cannot be
read is not known, and never an error.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from galago_edge.contract.errors import CallerError, Reason
from galago_edge.contract.settings import GovernorSettings

KNOWN_ZONES = (
    "cpu",
    "soc",
    "tj",
    "bigcore",
    "littlecore",
    "center",
    "package",
    "imx_thermal",
    "x86_pkg_temp",
)
"""How the types of zones begin that measure a processor: Raspberry Pi ``cpu-thermal``, Rockchip
``soc-thermal`` and ``bigcore0-thermal``, Jetson ``tj-thermal``, i.MX ``imx_thermal_zone``, x86 ..."""
_LOWEST_C, _HIGHEST_C = -40.0, 125.0
"""Beyond them it is the sensor that is at fault: one is known to be stuck at -87.9 °C."""
_THROTTLED_FILES = (
    "devices/platform/soc/soc:firmware/get_throttled",
    "devices/platform/*/*firmware/get_throttled",
)
_UNDER_VOLTAGE, _THROTTLED, _SOFT_LIMIT, _UNDER_VOLTAGE_SEEN, _THROTTLED_SEEN = (
    1 << bit for bit in (0, 2, 3, 16, 18)
)
_NS_PER_S = 1_000_000_000
_LAST_READING_STEPS = 6
"""For so many pauses between steps the last temperature counts, when there is none any more."""


@dataclass(frozen=True, slots=True)
class Zone:
    """One thermal zone."""

    type: str
    """``cpu-thermal``, ``acpitz`` ..."""
    celsius: float | None
    """None when it cannot be read, or is absurd."""
    believed: bool
    """It is a processor's, or one that the configuration names."""


@dataclass(frozen=True, slots=True)
class Power:
    """What a Raspberry Pi's firmware says of its supply and its heat."""

    under_voltage: bool
    throttled: bool
    soft_limit: bool
    """The soft temperature limit slows it down."""
    under_voltage_seen: bool = False
    """Since it was started."""
    throttled_seen: bool = False

    def words(self) -> tuple[str, ...]:
        """Return what is wrong now, as stable words."""
        flags = {
            "under_voltage": self.under_voltage,
            "throttled": self.throttled,
            "soft_limit": self.soft_limit,
        }
        return tuple(word for word, is_set in flags.items() if is_set)


def read_zones(sys_root: Path = Path("/sys"), wanted: tuple[str, ...] = ()) -> list[Zone]:
    """Return all thermal zones of the board; ``wanted`` are the types to believe, the known ones if empty."""
    zones = []
    for folder in sorted((sys_root / "class" / "thermal").glob("thermal_zone*")):
        type_ = _text(folder / "type")
        if type_ is None:
            continue
        believed = type_ in wanted if wanted else type_.lower().startswith(KNOWN_ZONES)
        zones.append(Zone(type_, _celsius(_text(folder / "temp")), believed))
    return zones


def read_power(sys_root: Path = Path("/sys")) -> Power | None:
    """Return what the firmware says; None on a board that does not say it."""
    for pattern in _THROTTLED_FILES:
        for file in sorted(sys_root.glob(pattern)):
            bits = _hexadecimal(_text(file))
            if bits is not None:
                return Power(
                    under_voltage=bool(bits & _UNDER_VOLTAGE),
                    throttled=bool(bits & _THROTTLED),
                    soft_limit=bool(bits & _SOFT_LIMIT),
                    under_voltage_seen=bool(bits & _UNDER_VOLTAGE_SEEN),
                    throttled_seen=bool(bits & _THROTTLED_SEEN),
                )
    for folder in sorted((sys_root / "class" / "hwmon").glob("hwmon*")):
        if _text(folder / "name") == "rpi_volt":  # kernels without the file above
            alarm = _text(folder / "in0_lcrit_alarm")
            if alarm is not None:
                return Power(under_voltage=alarm == "1", throttled=False, soft_limit=False)
    return None


@dataclass(frozen=True, slots=True)
class GovernorStep:
    """The governor went one step along its ladder."""

    every: int
    """From now on every so many windows are decided."""
    before: int
    reasons: tuple[str, ...]
    """Stable words: ``hot``, ``under_voltage``, ``throttled``, ``soft_limit``; ``cool`` on the way back."""
    temperature_c: float | None

    def detail(self) -> dict[str, Any]:
        """Return what the ``state`` record says."""
        said: dict[str, Any] = {"before": self.before, "reasons": list(self.reasons)}
        if self.temperature_c is not None:
            said["temperature_c"] = self.temperature_c
        return said


class Governor:
    """Walks the declared ladder: down while the board is hot or starved, up when it is cool and fed.

    Between ``cool_c`` and ``hot_c`` it stays where it is. :meth:`look` is for one thread; what it found may
    be read from others.
    """

    def __init__(
        self,
        settings: GovernorSettings,
        *,
        sys_root: Path = Path("/sys"),
        clock_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        """Begin at the top of the ladder.

        Raises:
            CallerError: CONFIG_BAD; the ladder does not go down from 1, or ``cool_c`` is not below ``hot_c``.
        """
        ladder = settings.ladder
        if ladder[0] != 1 or sorted(set(ladder)) != [*ladder]:
            raise CallerError(
                Reason.CONFIG_BAD,
                f"governor.ladder is {[*ladder]}, expected numbers that begin with 1 and grow",
                hint="such as ladder = [1, 2, 4, 8]; ladder = [1] switches the governor off",
            )
        if settings.cool_c >= settings.hot_c:
            raise CallerError(
                Reason.CONFIG_BAD,
                f"governor.cool_c is {settings.cool_c:g}, expected less than hot_c: {settings.hot_c:g}",
                hint="some ten degrees between them keep the pace from changing all the time",
            )
        self.temperature_c: float | None = None
        """Of the hottest zone that is believed, when there is one; to a tenth."""
        self.power: Power | None = None
        self._settings = settings
        self._sys_root = sys_root
        self._clock_ns = clock_ns
        self._place = 0
        self._stepped_ns: int | None = None
        self._read_ns = 0

    @property
    def every(self) -> int:
        """Every so many windows are to be decided."""
        return self._settings.ladder[self._place]

    def look(self) -> GovernorStep | None:
        """Read the board's state; return the step that follows from it, None when none does."""
        now_ns = self._clock_ns()
        self._read(now_ns)
        pause_ns = round(self._settings.every_s * _NS_PER_S)
        if self._stepped_ns is not None and now_ns - self._stepped_ns < pause_ns:
            return None
        celsius, reasons = self.temperature_c, self.power.words() if self.power is not None else ()
        if celsius is not None and celsius >= self._settings.hot_c:
            reasons = ("hot", *reasons)
        if reasons:
            place = min(self._place + 1, len(self._settings.ladder) - 1)
        elif celsius is None or celsius < self._settings.cool_c:
            place, reasons = max(self._place - 1, 0), ("cool",)
        else:
            return None
        if place == self._place:
            return None
        before, self._place, self._stepped_ns = self.every, place, now_ns
        return GovernorStep(self.every, before, reasons, celsius)

    def _read(self, now_ns: int) -> None:
        self.power = read_power(self._sys_root)
        zones = read_zones(self._sys_root, self._settings.zones)
        found = [zone.celsius for zone in zones if zone.believed and zone.celsius is not None]
        if found:
            self.temperature_c, self._read_ns = max(found), now_ns
        elif now_ns - self._read_ns > _LAST_READING_STEPS * self._settings.every_s * _NS_PER_S:
            self.temperature_c = None


def _text(path: Path) -> str | None:
    try:
        return path.read_text(encoding="ascii", errors="replace").strip()
    except OSError:  # a zone that is switched off, or gone since it was listed
        return None


def _celsius(text: str | None) -> float | None:
    """Return the degrees of a text in thousandths, if they can be."""
    try:
        celsius = int(text or "") / 1_000
    except ValueError:
        return None
    return round(celsius, 1) if _LOWEST_C <= celsius <= _HIGHEST_C else None


def _hexadecimal(text: str | None) -> int | None:
    try:
        return int(text or "", 16)
    except ValueError:
        return None
