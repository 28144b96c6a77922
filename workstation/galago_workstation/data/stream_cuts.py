"""Samples out of labelled recordings: what is labelled, and background out of the rest."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from galago_edge.contract.manifest import AudioPreprocess, ImagePreprocess
from galago_edge.contract.streams import NS_PER_S, AudioBlock, Frame, Gap, Item, samples_to_ns
from galago_edge.sources import open_source
from galago_workstation.qa.replayed import Stretch, Truth, TruthList
from galago_workstation.qa.stretches import length_ns, united, without

_NS_PER_HOUR = 3_600 * NS_PER_S
_PIECE_SHARE = 0.5
"""Of the last piece of a long event: a shorter rest belongs to the piece before it."""


@dataclass(frozen=True, slots=True)
class CutPlan:
    """How samples are cut."""

    background: str
    """Label of what is in no event."""
    per_hour: float = 120.0
    """Background samples of an hour of the rest, on average."""
    length_ns: int = NS_PER_S
    """Of a background sound."""
    longest_ns: int = 5 * NS_PER_S
    """An event that lasts longer is cut into pieces."""
    margin_ns: int = NS_PER_S // 4
    """Sound before and behind an event that is cut with it."""
    guard_ns: int = NS_PER_S
    """Around events there is no background."""
    every_ns: int = NS_PER_S // 2
    """Between two pictures of one event."""
    rate_hz: int = 16_000


@dataclass(frozen=True, slots=True)
class Cut:
    """One sample: a stretch of sound, or a moment whose picture is taken."""

    label: str
    start_ns: int
    end_ns: int


@dataclass(slots=True)
class Heard:
    """What a recording really has."""

    end_ns: int = 0
    gaps: list[Stretch] = field(default_factory=list)

    @property
    def stretches(self) -> list[Stretch]:
        """The time that is not lost."""
        return without([(0, self.end_ns)], united(self.gaps))


def heard_of(address: str, spec: AudioPreprocess | ImagePreprocess) -> Heard:
    """Read a recording once, for its length and its gaps.

    Raises:
        GalagoError: It cannot be opened, or not be read to its end.
    """
    found = Heard()
    for item in open_source(address, spec):
        if isinstance(item, Gap):
            found.gaps.append((item.from_ns, item.to_ns))
            found.end_ns = max(found.end_ns, item.to_ns)
        else:
            found.end_ns = max(found.end_ns, _end_ns(item))
    return found


def alone(truth: TruthList) -> tuple[list[Truth], int]:
    """Return the events that overlap none of another label, and how many others there are."""
    events = [
        event
        for event in truth.events
        if not any(
            event.start_ns < other.end_ns and other.start_ns < event.end_ns
            for other in truth.events
            if other.label != event.label
        )
    ]
    return events, len(truth.events) - len(events)


def sound_cuts(truth: TruthList, heard: Heard, plan: CutPlan, seed: int) -> tuple[list[Cut], int]:
    """Return the sounds to cut, by their start, and how many events are left out because of a gap.

    An event keeps ``margin_ns`` of what is around it, as far as nothing is lost there and no other event is.
    """
    cuts: list[Cut] = []
    events, _ = alone(truth)
    left_out = 0
    for event in events:
        others = united((each.start_ns, each.end_ns) for each in truth.events if each is not event)
        room = [
            (start, end)
            for start, end in without(heard.stretches, others)
            if start <= event.start_ns and event.end_ns <= end
        ]
        if not room:
            left_out += 1
            continue
        start = max(room[0][0], event.start_ns - plan.margin_ns)
        end = min(room[0][1], event.end_ns + plan.margin_ns)
        cuts += [Cut(event.label, *piece) for piece in _pieces(start, end, plan.longest_ns)]
    rng = random.Random(seed)
    for start in _moments(_rest(truth, heard, plan), plan, rng, plan.length_ns):
        cuts.append(Cut(plan.background, start, start + plan.length_ns))
    return sorted(cuts, key=lambda cut: (cut.start_ns, cut.end_ns, cut.label)), left_out


def picture_cuts(truth: TruthList, heard: Heard, plan: CutPlan, seed: int) -> list[Cut]:
    """Return the moments whose pictures are taken, by time."""
    cuts = [
        Cut(event.label, moment, event.end_ns)
        for event in alone(truth)[0]
        for moment in range(event.start_ns, max(event.end_ns, event.start_ns + 1), plan.every_ns)
    ]
    rest = _rest(truth, heard, plan)
    for moment in _moments(rest, plan, random.Random(seed), 0):
        end = next(end for start, end in rest if start <= moment < end)
        cuts.append(Cut(plan.background, moment, end))
    return sorted(cuts, key=lambda cut: (cut.start_ns, cut.end_ns, cut.label))


def cut_sounds(
    address: str, spec: AudioPreprocess, cuts: Sequence[Cut]
) -> Iterator[tuple[Cut, npt.NDArray[np.int16]]]:
    """Yield the sounds, as their ends come; memory holds those that are open.

    Raises:
        GalagoError: As :func:`heard_of`.
    """
    waiting = list(cuts)
    open_cuts: list[tuple[Cut, list[npt.NDArray[np.int16]]]] = []
    for block in open_source(address, spec):
        if not isinstance(block, AudioBlock):
            continue
        first = block.first_sample
        while waiting and _sample(waiting[0].start_ns, spec) < first + len(block.samples):
            open_cuts.append((waiting.pop(0), []))
        still: list[tuple[Cut, list[npt.NDArray[np.int16]]]] = []
        for cut, pieces in open_cuts:
            begin, end = (_sample(ns, spec) - first for ns in (cut.start_ns, cut.end_ns))
            pieces.append(block.samples[max(0, begin) : max(0, end)])
            if end > len(block.samples):
                still.append((cut, pieces))
            else:
                yield cut, np.concatenate(pieces)
        open_cuts = still
    for cut, pieces in open_cuts:
        yield cut, np.concatenate(pieces)


def cut_pictures(address: str, spec: ImagePreprocess, cuts: Sequence[Cut]) -> Iterator[tuple[Cut, Frame]]:
    """Yield the first frame at or behind each moment, where it lies before the cut's end; each once.

    Raises:
        GalagoError: As :func:`heard_of`.
    """
    waiting = list(cuts)
    for frame in open_source(address, spec):
        if not isinstance(frame, Frame):
            continue
        taken: set[str] = set()
        while waiting and waiting[0].start_ns <= frame.captured_ns:
            cut = waiting.pop(0)
            inside = frame.captured_ns < cut.end_ns or cut.start_ns == frame.captured_ns
            if inside and cut.label not in taken:
                taken.add(cut.label)
                yield cut, frame


def _end_ns(item: Item) -> int:
    if isinstance(item, AudioBlock):
        return samples_to_ns(item.first_sample + len(item.samples), item.rate_hz)
    return item.captured_ns + 1 if isinstance(item, Frame) else 0


def _sample(ns: int, spec: AudioPreprocess) -> int:
    return ns * spec.sample_rate_hz // NS_PER_S


def _pieces(start: int, end: int, longest: int) -> Iterator[Stretch]:
    while end - start > longest * (1 + _PIECE_SHARE):
        yield start, start + longest
        start += longest
    yield start, end


def _rest(truth: TruthList, heard: Heard, plan: CutPlan) -> list[Stretch]:
    """Return the time in which nobody says that something is."""
    near = [(one.start_ns - plan.guard_ns, one.end_ns + plan.guard_ns) for one in truth.events]
    return without(heard.stretches, united([*near, *truth.ignored]))


def _moments(stretches: Sequence[Stretch], plan: CutPlan, rng: random.Random, length: int) -> Iterator[int]:
    """Yield where background begins: evenly spread over the rest, each at a random place of its share."""
    roomy = [(start, end - length) for start, end in stretches if end - length > start]
    total = length_ns(roomy)
    count = round(plan.per_hour * length_ns(stretches) / _NS_PER_HOUR) if roomy else 0
    count = max(count, 1) if roomy and plan.per_hour > 0 else count
    step = max(total // count, length, 1) if count else 1
    for number in range(count):
        if (number + 1) * step > total and number:
            return
        place = number * step + rng.randrange(max(1, min(step, total) - length))
        for start, end in roomy:
            if place < end - start:
                yield start + place
                break
            place -= end - start
