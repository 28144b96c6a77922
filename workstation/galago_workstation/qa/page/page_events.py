"""The list of a page: which events have their sound or pictures, and what is said and drawn of each."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import msgspec

from galago_edge.contract.count_words import count_of, noun_of
from galago_edge.contract.printable import on_one_line
from galago_workstation.progress_lines import Report
from galago_workstation.qa.page.cut_media import CutMedia, cut_media
from galago_workstation.qa.page.event_reasons import HeardLabels, page_side
from galago_workstation.qa.page.page_content import NS_PER_MS, PageEvent, PageStretch, StretchKind
from galago_workstation.qa.page.shown_event import ShownEvent, chosen
from galago_workstation.qa.recording_place import RecordingPlace
from galago_workstation.qa.replayed import Replayed, Stretch

PAGE_EVENTS = 40
"""Events that have their sound or pictures, unless somebody says otherwise."""
MOST_EVENTS = 2_000
"""Events that are listed, with their scores."""
_AROUND_NS = 1_000_000_000
"""So much is heard before and after an event."""
_LONGEST_NS = 20_000_000_000
"""Of a sound."""
_WIDER_NS = 4_000_000_000
"""The time line shows so much more than the sound on both sides."""


@dataclass(frozen=True, slots=True)
class PageWish:
    """What a page needs beside the judgement."""

    at: datetime.datetime
    """When it is made, with a zone."""
    report: Report
    places: Mapping[str, RecordingPlace] = field(default_factory=dict)
    """Where recordings lie, by their SHA-256."""
    media_events: int = PAGE_EVENTS
    """How many events get their sound or pictures."""


@dataclass(frozen=True, slots=True)
class EventList:
    """The list, and what it needs."""

    events: tuple[PageEvent, ...]
    more: int
    """Events that are not in it."""
    media: dict[str, bytes]
    """Content of the files that it names."""
    media_text: str
    """How many events have their sound or pictures, in words."""


def event_list(shown: Sequence[ShownEvent], numbers: Mapping[str, int], wish: PageWish) -> EventList:
    """Return the list of what is to be shown. ``numbers``: of the recordings by their names."""
    listed = [shown[number] for number in sorted(chosen(shown, MOST_EVENTS))]
    wanted = set(chosen(listed, wish.media_events))
    cuts = _cuts(listed, wanted, wish)
    heard = HeardLabels()
    events = tuple(
        _page_event(one, numbers[one.recording], cuts.get(number), heard, change=number in wanted)
        for number, one in enumerate(listed)
    )
    return EventList(
        events,
        len(shown) - len(listed),
        {name: content for cut in cuts.values() for name, content in cut.files.items()},
        _media_text(events, len(shown), wish.media_events),
    )


def _cuts(listed: Sequence[ShownEvent], wanted: set[int], wish: PageWish) -> dict[int, CutMedia]:
    """Return what is to be heard or seen of the wanted events; each recording is read once."""
    by_recording: dict[str, list[int]] = {}
    for number in sorted(wanted):
        by_recording.setdefault(listed[number].replays[-1].sha256, []).append(number)
    found: dict[int, CutMedia] = {}
    with wish.report.track("cutting", len(by_recording)) as advance:
        for done, (sha256, numbers) in enumerate(by_recording.items(), 1):
            stretches = [(str(number), heard_ns(listed[number])) for number in numbers]
            results = cut_media(listed[numbers[0]].replays[-1], wish.places.get(sha256), stretches)
            found |= zip(numbers, results, strict=True)
            advance(done)
    return found


def heard_ns(one: ShownEvent) -> Stretch:
    """Return what is cut: an event with a second around it, from a whole millisecond, 20 s at most.

    Of a longer event it is the end, with the decision; of something long that nobody found, the beginning.
    """
    start_ns, end_ns = one.shown_ns
    most_ns = _LONGEST_NS - 2 * _AROUND_NS
    if end_ns - start_ns > most_ns:
        decided = [event.end_ns for event in one.events if event]
        end_ns = max(decided) if decided else start_ns + most_ns
        start_ns = max(start_ns, end_ns - most_ns)
    start_ns = max(0, start_ns - _AROUND_NS) // NS_PER_MS * NS_PER_MS
    return start_ns, min(end_ns + _AROUND_NS, max(one.replays[-1].duration_ns, end_ns))


def _page_event(
    one: ShownEvent, recording: int, cut: CutMedia | None, heard: HeardLabels, *, change: bool
) -> PageEvent:
    start_ns, end_ns = heard_ns(one)
    newest = one.replays[-1]
    line = max(0, start_ns - _WIDER_NS), min(end_ns + _WIDER_NS, max(end_ns, newest.duration_ns))
    differ = len(set(one.outcomes)) > 1 and all(one.events)
    sides = zip(
        one.replays, one.events, one.asked, one.outcomes if differ else ("",) * len(one.events), strict=True
    )
    return PageEvent(
        kind=one.kind,
        marks=one.marks,
        recording=recording,
        label=one.label,
        at_ms=one.at_ns // NS_PER_MS,
        from_ms=line[0] // NS_PER_MS,
        to_ms=line[1] // NS_PER_MS,
        truth=one.truth,
        what=on_one_line(one.what),
        sides=tuple(
            msgspec.structs.replace(
                page_side(heard.of(replayed, one.label), event, asked, line, change=change), truth=outcome
            )
            for replayed, event, asked, outcome in sides
        ),
        stretches=_stretches(newest, line),
        media=cut.media if cut else None,
        without=cut.without if cut else "",
    )


def _stretches(replayed: Replayed, line: Stretch) -> tuple[PageStretch, ...]:
    """Return what lies on the time line beside the scores."""
    truth = replayed.truth
    there: list[tuple[StretchKind, int, int, str]] = [
        *(("gap", gap.from_ns, gap.to_ns, gap.cause) for gap in replayed.gaps),
        *(("truth", one.start_ns, one.end_ns, one.label) for one in (truth.events if truth else ())),
        *(("ignored", start, end, "") for start, end in (truth.ignored if truth else ())),
    ]
    return tuple(
        PageStretch(kind=kind, from_ms=first // NS_PER_MS, to_ms=last // NS_PER_MS, name=on_one_line(name))
        for kind, first, last, name in there
        if first <= line[1] and last >= line[0]
    )


def _media_text(events: Sequence[PageEvent], of: int, asked: int) -> str:
    having = [one.media for one in events if one.media is not None]
    what = "pictures" if any(one.kind == "pictures" for one in having) else "sound"
    said = f"{len(having)} of {count_of(of, 'event')} {noun_of(len(having), 'has its', 'have their')} {what}"
    return said if asked >= of else f"{said}; --page-events N for more"
