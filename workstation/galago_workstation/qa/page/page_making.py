"""From a comparison or a score to a page: what it holds, and the sounds and pictures beside it."""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import msgspec

from galago_edge.contract.printable import on_one_line
from galago_edge.contract.records import GapRecord
from galago_workstation.qa.comparison_report import (
    GATES,
    RIGHT,
    gate_rows,
    right_rows,
    summary_lines,
    verdict_line,
)
from galago_workstation.qa.corpus_score import CorpusScore
from galago_workstation.qa.judged_recording import JudgedRecording, deciding, judge
from galago_workstation.qa.matching import MatchingRule
from galago_workstation.qa.page.page_content import (
    NS_PER_MS,
    PageBundle,
    PageContent,
    PageCurves,
    PageGap,
    PageHead,
    PagePolicy,
    PageRecording,
    PageTable,
)
from galago_workstation.qa.page.page_curves import page_curves
from galago_workstation.qa.page.page_events import PageWish, event_list
from galago_workstation.qa.page.shown_event import ShownEvent, compared_events, scored_events
from galago_workstation.qa.replay_comparison import BundleComparison
from galago_workstation.qa.replayed import Replayed
from galago_workstation.qa.report_words import duration_text
from galago_workstation.qa.score_report import statements, tables
from galago_workstation.qa.truth_outcomes import common_rule, known_truth
from galago_workstation.qa.valid_time import NS_PER_HOUR, WatchedTime, watched_time

MOST_GAPS = 100


@dataclass(frozen=True, slots=True)
class MadePage:
    """What is to be written."""

    content: PageContent
    media: dict[str, bytes]
    """Content of the files that ``content`` names."""


@dataclass(frozen=True, slots=True)
class _Side:
    """What one bundle said to all recordings."""

    name: str
    replays: Sequence[Replayed]
    judged: Sequence[JudgedRecording]
    """Those that are labelled."""


def comparison_page(found: BundleComparison, rule: MatchingRule, wish: PageWish) -> MadePage:
    """Return the page of two bundles on the same recordings.

    ``rule``: by which they were judged. The curves over all thresholds have one ``post_ns`` for all
    recordings: the longest.

    Raises:
        GalagoError: As ``det_curve``. A recording that cannot be opened is said on the page.
    """
    verdict = found.verdict
    shown = [_table("Gates", GATES, gate_rows(verdict))] if verdict else []
    shown += [_table("What was there", RIGHT, right_rows(found))] if found.right else []
    head = PageHead(
        verdict=verdict.stance.value if verdict else "",
        verdict_text=on_one_line(verdict_line(found)),
        facts=tuple(map(on_one_line, summary_lines(found))),
        tables=tuple(shown),
    )
    pairs = [
        (one.pair, common_rule(rule, (one.pair.old, one.pair.new))) for one in found.judged if one.labelled
    ]
    sides = (
        _Side(
            "OLD",
            [one.pair.old for one in found.judged],
            [judge(known_truth(pair.old), common) for pair, common in pairs],
        ),
        _Side(
            "NEW",
            [one.pair.new for one in found.judged],
            [judge(known_truth(pair.new), common) for pair, common in pairs],
        ),
    )
    labelled = [one for pair, _ in pairs for one in (pair.old, pair.new)]
    curves = page_curves(found.labels, [side.judged for side in sides], common_rule(rule, labelled))
    return _made(head, sides, compared_events(found, rule), curves, wish)


def score_page(
    replays: Sequence[Replayed], found: CorpusScore, rule: MatchingRule, wish: PageWish
) -> MadePage:
    """Return the page of one bundle on labelled recordings.

    Raises:
        GalagoError: As ``det_curve``.
    """
    head = PageHead(
        verdict="",
        verdict_text="",
        facts=tuple(map(on_one_line, statements(found))),
        tables=tuple(_table(title, heads, rows) for title, heads, rows in tables(found)),
    )
    judged = [judge(one, rule) for one in replays if one.truth is not None]
    curves = page_curves([one.name for one in deciding(replays[0].labels)], [judged], rule)
    return _made(head, (_Side("Bundle", replays, judged),), scored_events(judged), curves, wish)


def _made(
    head: PageHead,
    sides: Sequence[_Side],
    shown: Sequence[ShownEvent],
    curves: tuple[PageCurves, ...],
    wish: PageWish,
) -> MadePage:
    newest = sides[-1].replays
    numbers = {one.recording: number for number, one in enumerate(newest)}
    listed = event_list(shown, numbers, wish)
    gaps = [_gap(number, gap) for number, one in enumerate(newest) for gap in one.gaps]
    content = PageContent(
        head=head,
        made=wish.at.astimezone(datetime.UTC).strftime("%Y-%m-%d %H:%MZ"),
        bundles=tuple(map(_bundle, sides)),
        recordings=tuple(map(_recording, newest)),
        gaps=tuple(gaps[:MOST_GAPS]),
        more_gaps=max(0, len(gaps) - MOST_GAPS),
        curves=curves,
        events=listed.events,
        more_events=listed.more,
        media_text=listed.media_text,
    )
    return MadePage(content, listed.media)


def _recording(one: Replayed) -> PageRecording:
    return PageRecording(
        name=on_one_line(one.recording),
        tags={on_one_line(key): on_one_line(value) for key, value in one.tags.items()},
        labelled=one.truth is not None,
    )


def _gap(number: int, gap: GapRecord) -> PageGap:
    return PageGap(
        recording=number, from_ms=gap.from_ns // NS_PER_MS, to_ms=gap.to_ns // NS_PER_MS, cause=gap.cause
    )


def _bundle(side: _Side) -> PageBundle:
    labels = side.replays[0].labels
    least = min((label.policy.smoothing_windows for label in deciding(labels)), default=1)
    judged = sum((one.watched for one in side.judged), start=WatchedTime())
    others = (watched_time(one, least, ()) for one in side.replays if one.truth is None)
    unlabelled = sum(others, start=WatchedTime())
    times = msgspec.structs.asdict(judged + unlabelled)
    times |= {"valid_ns": judged.valid_ns, "unlabelled_ns": unlabelled.valid_ns}  # nobody judges these
    return PageBundle(
        name=side.name,
        id=side.replays[0].bundle,
        release=_release(side.replays[0]),
        policies={
            label.name: PagePolicy(
                on=label.policy.on,
                off=label.policy.off,
                smoothing=label.policy.smoothing_windows,
                count=label.policy.min_count,
                refractory_ms=label.policy.refractory_ms,
            )
            for label in labels
        },
        hours={part.removesuffix("_ns"): round(time_ns / NS_PER_HOUR, 6) for part, time_ns in times.items()},
        times={part.removesuffix("_ns"): duration_text(time_ns) for part, time_ns in times.items()},
    )


def _release(replayed: Replayed) -> str:
    """Return name and version of the bundle, as the replay's first record has them."""
    for state in replayed.states:
        if (state.subject, state.state) == ("stream", "started"):
            told = [state.detail.get(key) for key in ("name", "version")]
            return on_one_line(" ".join(one for one in told if isinstance(one, str)))
    return ""


def _table(title: str, heads: Iterable[str], rows: Iterable[Sequence[str]]) -> PageTable:
    return PageTable(
        title=on_one_line(title),
        heads=tuple(map(on_one_line, heads)),
        rows=tuple(tuple(map(on_one_line, row)) for row in rows),
    )
