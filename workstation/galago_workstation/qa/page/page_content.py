"""What a page holds: plain data, which the page's own script draws. Texts from outside stand in it as they
are; the script never makes markup of them."""

from __future__ import annotations

from typing import Literal

import msgspec

SCHEMA: Literal["galago.page/1"] = "galago.page/1"
NS_PER_MS = 1_000_000
StretchKind = Literal["truth", "ignored", "gap"]


class _Held(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    pass


class PageTable(_Held, frozen=True, kw_only=True):
    """A table of texts, as terminal and Markdown have it."""

    title: str
    heads: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


class PagePolicy(_Held, frozen=True, kw_only=True):
    """When a label becomes an event."""

    on: float
    off: float
    smoothing: int
    count: int
    refractory_ms: int


class PageBundle(_Held, frozen=True, kw_only=True):
    """One of the bundles that are shown."""

    name: str
    """``OLD``, ``NEW``; of a score ``Bundle``."""
    id: str
    release: str
    """Its name and version; empty where the replays do not tell them, as of a baseline."""
    policies: dict[str, PagePolicy]
    """By label."""
    hours: dict[str, float]
    """What became of the recorded time: ``duration``, ``valid``, ``gap`` ... as ``WatchedTime`` has them, but
    the valid time of recordings without labels is ``unlabelled``."""
    times: dict[str, str]
    """The same for people."""


class PageGap(_Held, frozen=True, kw_only=True):
    """A stretch that nobody watched."""

    recording: int
    from_ms: int
    to_ms: int
    cause: str


class PageTrace(_Held, frozen=True, kw_only=True):
    """Scores of one label by one bundle, a window after the other. Lists are of one length."""

    ms: tuple[int, ...]
    """Ends of the windows, in ms behind ``PageEvent.from_ms``."""
    raw: tuple[int, ...]
    """Before smoothing; 10000 is 1.0. 0 where the gate was closed."""
    smooth: tuple[int | None, ...]
    """As the policy smooths them; None in warm-up."""
    begins: tuple[int, ...] = ()
    """Positions at which smoothing began anew."""
    skipped: tuple[int, ...] = ()
    """Positions of windows for which the model was not run."""
    every: int = 1
    """Of so many windows one is held."""


class PageSide(_Held, frozen=True, kw_only=True):
    """What one bundle said there."""

    reason: str
    """Why there is an event, or none, in words."""
    cause: str = ""
    """The same as a stable word of ``DecidedBy``; empty where it is not known."""
    change: str = ""
    """The smallest change of policy that would have given the event."""
    at_ms: int | None = None
    """Stream time of its event's decision; None without an event."""
    since_ms: int | None = None
    """Start of the event's first supporting window."""
    score: float | None = None
    truth: str = ""
    """What its event was against the labels, where the bundles differ in that."""
    trace: PageTrace | None = None
    """None: the scores are not stored."""


class PageStretch(_Held, frozen=True, kw_only=True):
    """Something on the time line: a truth, a stretch to be ignored, a gap."""

    kind: StretchKind
    from_ms: int
    to_ms: int
    name: str


class PagePicture(_Held, frozen=True, kw_only=True):
    """One frame."""

    at_ms: int
    file: str


class PageMedia(_Held, frozen=True, kw_only=True):
    """What was to be heard or seen."""

    kind: Literal["sound", "pictures"]
    from_ms: int
    to_ms: int
    """Of a sound; of pictures the times of the first and the last."""
    file: str = ""
    """Of the sound."""
    pictures: tuple[PagePicture, ...] = ()
    missing_ms: int = 0
    """So much of the sound is missing in the recording and silent here."""


class PageEvent(_Held, frozen=True, kw_only=True):
    """One row of the list."""

    kind: str
    marks: tuple[str, ...]
    """What it is found under: its kind, and ``missed`` or ``false alarm`` of the newest bundle."""
    recording: int
    """Number of the recording."""
    label: str
    at_ms: int
    from_ms: int
    """The time line shows from here ..."""
    to_ms: int
    """... to here."""
    truth: str
    """What the event was against the labels; empty without labels."""
    what: str
    sides: tuple[PageSide, ...]
    """In the order of the bundles."""
    stretches: tuple[PageStretch, ...] = ()
    media: PageMedia | None = None
    without: str = ""
    """Why there is nothing to be heard or seen."""


class PageRecording(_Held, frozen=True, kw_only=True):
    """One recording."""

    name: str
    tags: dict[str, str]
    labelled: bool


class PageDet(_Held, frozen=True, kw_only=True):
    """Missed against false alarms of one label over all thresholds, for one bundle."""

    truths: int
    hours: float
    time: str
    """The hours, for people."""
    points: tuple[tuple[int, int, float], ...]
    """Missed, false alarms, ``on``; by rising ``on``."""
    policy: tuple[int, int, float]
    """With the thresholds of the bundle."""
    gated: int = 0
    """Recordings in which an activity gate makes other thresholds inexact."""


class PageDelay(_Held, frozen=True, kw_only=True):
    """How soon things of one label are found by one bundle."""

    truths: int
    found: int
    quantiles_ms: tuple[int, ...] = ()
    """Delays of those that are found, ascending; of many, so many evenly spread ones."""
    half_ms: int | None = None
    """The least delay within which half of all is found, as a score's p50; None: fewer were found."""


class PageCurves(_Held, frozen=True, kw_only=True):
    """The plots of one label; one entry for each bundle."""

    label: str
    det: tuple[PageDet | None, ...]
    """None: no scores are stored."""
    delay: tuple[PageDelay, ...]


class PageHead(_Held, frozen=True, kw_only=True, omit_defaults=False):
    """What is said of the whole."""

    verdict: str
    """``pass``, ``fail``, ``inconclusive``, or empty without gates."""
    verdict_text: str
    facts: tuple[str, ...]
    """What must be said with the figures, in sentences."""
    tables: tuple[PageTable, ...]


class PageContent(_Held, frozen=True, kw_only=True, omit_defaults=False):
    """The whole page."""

    schema: Literal["galago.page/1"] = SCHEMA
    head: PageHead
    made: str
    """When, in UTC."""
    bundles: tuple[PageBundle, ...]
    """OLD and NEW, or one."""
    recordings: tuple[PageRecording, ...]
    gaps: tuple[PageGap, ...]
    more_gaps: int
    """Gaps that are not listed."""
    curves: tuple[PageCurves, ...]
    events: tuple[PageEvent, ...]
    more_events: int
    """Events that are not listed: the page would be too large."""
    media_text: str
    """How many of the events have their sound or pictures."""
