"""A video file: every picture that can be relied on, at the time that the recording says."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from galago_edge.contract.errors import InputError, Reason
from galago_edge.contract.modality import Modality
from galago_edge.contract.streams import LATEST_NS, NS_PER_S, Frame, Gap, Item, Notice
from galago_edge.sources.file_content import check_plain
from galago_edge.sources.image_folder import frame_ns
from galago_edge.sources.media.picture_decoder import Damage, Picture
from galago_edge.sources.media.picture_reader import PictureReader, Shown
from galago_edge.sources.media.presentation_times import PictureTimes, PlacedPicture
from galago_edge.sources.recording_damage import DamagedError

_RATES_DIFFER = Fraction(1, 10)
"""Of the stated rate: stamps that are further from it contradict it."""


@dataclass(slots=True)
class _Stretch:
    """Pictures in a row that cannot be relied on."""

    index: int
    from_ns: int
    frames: int
    concealed: bool
    """All of them are shown all the same."""


class VideoFile:
    """The pictures of a recording, from the first to the last.

    An index is the number of the picture in the file, damaged ones included; a time is that of its stamp,
    counted from the first picture. What is missing between the pictures is a gap.
    """

    modality: Modality = "camera"
    live = False

    def __init__(
        self, path: Path, rate: Fraction | None = None, *, conceal: bool = False, packets: bool = False
    ) -> None:
        """Open ``path``; with ``rate``, times are ``index / rate``. With ``conceal``, damaged pictures count.

        With ``packets``, frames of H.264 and HEVC bring along what they were decoded from (``Frame.coded``).

        Raises:
            InputError: VIDEO_UNREADABLE; not a video, no picture in it, or neither stamps nor a rate.
                SOURCE_MISMATCH; it is no file.
            LinkError: SOURCE_MISSING, or the disk fails.
            DeviceError: EXTRA_MISSING.
        """
        check_plain(path)
        self._path = path
        self._conceal = conceal
        self._given = rate
        self._reader = reader = PictureReader(path, conceal=conceal, packets=packets)
        self._counted = rate or (None if reader.stamped else reader.stated)
        """Times are ``index`` by this rate; None when they are those of the stamps."""
        if self._counted is None and not reader.stamped:
            reader.close()
            raise self._unreadable(
                "has neither time stamps nor a frame rate", f"give one: {path.name}?fps=25"
            )
        self._times = PictureTimes(
            reader.tick, stated=reader.stated, usual=reader.usual, longest=_longest(reader)
        )
        self._index = 0
        self._last_ns = -1
        self._decoded = 0
        self._unstamped = 0
        self._damaged = 0
        self._concealed = 0
        self._first_damage: _Stretch | None = None
        self._stretch: _Stretch | None = None
        self._cut_ns = 0
        """Where it ends early."""
        self._degrees = 0
        """Of the rotation that was told, clockwise."""
        self._stopped = False

    def description(self) -> dict[str, Any]:
        """Return name, codec, rate and what the header promises."""
        reader = self._reader
        rate = self._given or reader.stated or reader.found
        described = {
            "kind": "video",
            "name": self._path.name,
            "codec": reader.codec,
            "fps": None if rate is None else str(rate.limit_denominator(1001)),
            "promised_frames": reader.promised_frames,
        }
        return {**described, "damaged": "conceal"} if self._conceal else described

    def conversion(self) -> None:
        """Return None: frames are taken as they are decoded."""
        return

    def __iter__(self) -> Generator[Item, None, None]:
        """Yield every picture, and what is missing between them; then say what was wrong.

        Raises:
            InputError: VIDEO_UNREADABLE, VIDEO_TRUNCATED.
            LinkError: The disk fails.
        """
        try:
            yield from self._contradiction()
            for shown, following in _with_following(self._reader.pictures()):
                if self._stopped:
                    return
                yield from self._items(shown, following)
            yield from self._end()
        finally:
            self._reader.close()

    def summary(self) -> dict[str, Any]:
        """Return how many frames were decoded and promised, could not be relied on, and had no time stamp."""
        counts = {"decoded_frames": self._decoded, "promised_frames": self._reader.promised_frames}
        others = {
            "damaged_frames": self._damaged,
            "concealed_frames": self._concealed,
            "unstamped_frames": self._unstamped,
        }
        return {**counts, **{name: count for name, count in others.items() if count}}

    def stop(self) -> None:
        """End after the current frame."""
        self._stopped = True

    def _contradiction(self) -> Iterator[Notice]:
        """Say which rate counts, where it is given, or the header and the stamps contradict each other."""
        stated, found = self._reader.stated, self._reader.found
        apart = stated is not None and found is not None and abs(found / stated - 1) > _RATES_DIFFER
        if self._counted is None and not apart:
            return
        detail = {
            "stated": None if stated is None else _shown_rate(stated),
            "found": None if found is None else _shown_rate(found),
            "used": "stamps" if self._counted is None else _shown_rate(self._counted),
        }
        yield Notice("rate", 0, 0, detail)

    def _items(self, shown: Shown, following: Shown | None) -> Iterator[Item]:
        outcome = shown.outcome
        placed = self._place(shown, following)
        if self._index == 0 and self._counted is None and shown.stamp:
            offset_ns = (shown.stamp * self._reader.tick * NS_PER_S).__floor__()
            plausible = abs(offset_ns) < LATEST_NS
            yield Notice("offset", 0, 0, {"offset_ns": offset_ns}) if plausible else self._implausible(0)
        if not (shown.behind_hole and self._lost_packets(placed)):
            yield from self._jump(placed)
        index, self._index, self._last_ns = self._index, self._index + 1, placed.ns
        if isinstance(outcome, Damage) or outcome.damaged:
            self._note_damage(index, placed.ns, concealed=isinstance(outcome, Picture))
        else:
            yield from self._close_stretch(placed.ns)
        if isinstance(outcome, Picture):
            yield from self._turned(outcome, index, placed.ns)
            self._decoded += 1
            yield Frame(outcome.pixels, index, placed.ns, outcome.encoded, shown.coded)

    def _turned(self, picture: Picture, index: int, ns: int) -> Iterator[Notice]:
        """Say how the recording states that its pictures are turned, where that is not as before."""
        rotation = picture.rotation
        degrees = 0 if rotation is None else -rotation.degrees % 360
        if rotation is None or degrees == self._degrees:
            return
        self._degrees = degrees
        yield Notice("rotation", index, ns, {"degrees": degrees, "applied": rotation.applied})

    def _place(self, shown: Shown, following: Shown | None) -> PlacedPicture:
        if self._counted is not None:
            return PlacedPicture(frame_ns(self._index, self._counted))
        next_stamp = None if following is None or following.begins else following.stamp
        return self._times.place(shown.stamp, next_stamp, begins=shown.begins)

    def _jump(self, placed: PlacedPicture) -> Iterator[Item]:
        """Say what the stamps say that is not usual."""
        if placed.missing is not None:
            yield from self._close_stretch(placed.missing[0])
            yield Gap(*placed.missing, "missing")
        elif placed.restarted:
            yield from self._close_stretch(placed.ns)
            went_back = Notice("stamps", self._index, placed.ns, {"fault": "went back"})
            yield self._implausible(placed.ns) if placed.implausible else went_back
            yield Gap(placed.ns, placed.ns, "missing")  # how long it was, nobody knows
        elif placed.unstamped:
            self._unstamped += 1
            if placed.implausible:
                yield self._implausible(placed.ns)
            elif self._unstamped == 1:
                yield Notice("stamps", self._index, placed.ns, {"fault": "missing or not increasing"})

    def _implausible(self, ns: int) -> Notice:
        return Notice("stamps", self._index, ns, {"fault": "not plausible"})

    def _lost_packets(self, placed: PlacedPicture) -> bool:
        """Count pictures whose packets could not be found, where the stamps say that there were some."""
        usual_ns, step_ns = self._times.usual_ns, placed.ns - self._last_ns
        if self._counted is not None or self._last_ns < 0 or not usual_ns or 2 * step_ns <= 3 * usual_ns:
            return False
        lost = (2 * step_ns + usual_ns) // (2 * usual_ns) - 1
        self._note_damage(self._index, self._last_ns + usual_ns, frames=lost)
        self._index += lost
        return True

    def _note_damage(self, index: int, ns: int, *, frames: int = 1, concealed: bool = False) -> None:
        if concealed:
            self._concealed += frames
        else:
            self._damaged += frames
        if self._stretch is None:
            self._stretch = _Stretch(index, ns, 0, concealed)
        self._stretch.frames += frames
        self._stretch.concealed &= concealed
        if not concealed and self._first_damage is None:
            self._first_damage = self._stretch

    def _close_stretch(self, to_ns: int) -> Iterator[Item]:
        """Say what could not be relied on, up to here."""
        stretch, self._stretch = self._stretch, None
        if stretch is None:
            return
        detail: dict[str, Any] = {"frames": stretch.frames}
        if self._conceal:
            detail["concealed"] = stretch.concealed
        yield Notice("unreadable", stretch.index, stretch.from_ns, detail)
        if not stretch.concealed:
            yield Gap(stretch.from_ns, max(stretch.from_ns, to_ns), "unreadable")

    def _end(self) -> Iterator[Item]:
        """Say what is missing at the end, and what was wrong on the whole.

        Raises:
            InputError: VIDEO_UNREADABLE, VIDEO_TRUNCATED.
        """
        end_ns = self._last_ns + self._times.usual_ns if self._last_ns >= 0 else 0
        if self._counted is not None:
            end_ns = frame_ns(self._index, self._counted)
        short = self._reader.is_short()
        if short:
            yield from self._truncated(end_ns)
        yield from self._close_stretch(end_ns)
        if self._reader.unfinished:
            yield Notice("unfinished", self._index, end_ns, {"frames": self._index})
        if (rest := self._reader.rest) is not None:
            detail = {"bytes": rest.bytes, **({"recording": True} if rest.recording else {})}
            yield Notice("unclaimed", self._index, end_ns, detail)
        if not self._decoded:
            raise self._unreadable("holds no frame that can be decoded")
        damage = self._damage()
        if short:
            raise self._cut_off(damage)
        if damage:
            kind = InputError if self._first_damage is None else DamagedError  # a place that is told, or not
            text = f"{self._path} {damage}"
            raise kind(Reason.VIDEO_UNREADABLE, text, hint="record or copy it again; what is whole is taken")

    def _truncated(self, end_ns: int) -> Iterator[Item]:
        """Say that it ends early; damage right before a cut belongs to that."""
        if not self._reader.cut:
            yield from self._close_stretch(end_ns)
        stretch, self._stretch = self._stretch, None
        index, from_ns = (self._index, end_ns) if stretch is None else (stretch.index, stretch.from_ns)
        if stretch is not None and not stretch.concealed:
            self._damaged -= stretch.frames
            self._first_damage = None if stretch is self._first_damage else self._first_damage
        self._cut_ns = from_ns
        promised_ns = self._reader.promised_ns if self._counted is None else None
        detail = {"frames": self._decoded, "promised_frames": self._reader.promised_frames}
        yield Notice("truncated", index, from_ns, {**detail, "to_ns": from_ns, "promised_ns": promised_ns})
        yield Gap(from_ns, max(from_ns, promised_ns or 0), "truncated")

    def _damage(self) -> str:
        """Return what could not be read, in words; empty when all could."""
        first, faults = self._first_damage, self._reader.faults
        if first is None:
            return f"has {faults} places where its container is damaged" if faults else ""
        many = f"{self._damaged} of its {self._index} frames cannot be relied on"
        return f"is damaged: {many}, the first at {first.from_ns / NS_PER_S:.3f} s"

    def _cut_off(self, damage: str) -> DamagedError:
        reader = self._reader
        held_s = f"{self._cut_ns / NS_PER_S:.3f} s"
        found, promised = f"it holds {self._decoded} frames, {held_s}", ""
        if reader.promised_ns is not None:
            promised_s = f"{reader.promised_ns / NS_PER_S:.3f} s"
            promised = f", of {promised_s} that its header promises"
            if promised_s == held_s:
                promised = (
                    ", all that its header promises; what stands behind them, such as the index, is cut off"
                )
        also = f"; it {damage}" if damage else ""
        return DamagedError(
            Reason.VIDEO_TRUNCATED,
            f"{self._path} ends early: {found}{promised}{also}",
            hint="record or copy it again; what is there is taken",
        )

    def _unreadable(self, what: str, hint: str = "check that the file is whole") -> InputError:
        return InputError(Reason.VIDEO_UNREADABLE, f"{self._path} {what}", hint=hint)


def _longest(reader: PictureReader) -> int | None:
    """Return what a stamp of a recording can be at most, in its ticks: twice what its header promises."""
    if reader.promised_ns is None:
        return None
    limit_ns = 2 * reader.promised_ns + 60 * NS_PER_S
    return limit_ns * reader.tick.denominator // (reader.tick.numerator * NS_PER_S)


def _shown_rate(rate: Fraction) -> str:
    """Return a rate for a record: as it is, or with three decimals.

    >>> _shown_rate(Fraction(30000, 1001)), _shown_rate(Fraction(12345, 1234))
    ('30000/1001', '10.004')
    """
    return str(rate) if rate.denominator in (1, 1001) else f"{float(rate):.3f}"


def _with_following(pictures: Iterator[Shown]) -> Iterator[tuple[Shown, Shown | None]]:
    """Pair each picture with the one behind it."""
    before: Shown | None = None
    for shown in pictures:
        if before is not None:
            yield before, shown
        before = shown
    if before is not None:
        yield before, None
