"""Words that all reports of QA share: how long something is, and what a label is called."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence

from galago_edge.contract.count_words import count_of
from galago_edge.contract.streams import NS_PER_S

_NS_PER_MINUTE, _NS_PER_HOUR = 60 * NS_PER_S, 3_600 * NS_PER_S
_MOST_SECONDS, _MOST_MINUTES, _MOST_HUNDREDTHS = 120, 120, 100
_MOST_NAMES = 5
_PLAIN = re.compile(r"[^\W\d_][^,;:=\"()]*\Z")
_ROWS = frozenset({"all", "without"})
"""Rows of tables that are no labels."""

TWO_SIDED, ONE_SIDED = "two-sided 95 %", "one-sided 95 %"
"""Which interval or bound a figure has: the two stand beside each other, and are not the same."""


def duration_text(ns: float) -> str:
    """Return a length of time in the unit that shows it: seconds below 2 min, minutes below 2 h, then hours.

    >>> [duration_text(s * 1e9) for s in (0, 0.25, 100, 119.6, 252, 7_198, 360_000)]
    ['0 s', '0.25 s', '100 s', '2.0 min', '4.2 min', '2.00 h', '100.0 h']
    """
    if round(ns / NS_PER_S) < _MOST_SECONDS:
        return f"{ns / NS_PER_S:.3g} s"
    if round(ns / _NS_PER_MINUTE, 1) < _MOST_MINUTES:
        return f"{ns / _NS_PER_MINUTE:.1f} min"
    hours = ns / _NS_PER_HOUR
    return f"{hours:.2f} h" if hours < _MOST_HUNDREDTHS else f"{hours:.1f} h"


def hours_text(hours: float) -> str:
    """Return a number of hours as :func:`duration_text` does.

    >>> hours_text(0.01)
    '36 s'
    """
    return duration_text(hours * _NS_PER_HOUR)


def counts_text(counts: Mapping[str, int]) -> str:
    """Return how many there are of each label, by name.

    >>> counts_text({"smoke": 2, "3": 4})
    '4 "3", 2 smoke'
    """
    return ", ".join(f"{count} {label_text(label)}" for label, count in sorted(counts.items()))


def unlabelled_text(names: Sequence[str]) -> str:
    """Return the sentence about recordings that nobody has labelled.

    >>> unlabelled_text(["a.wav"])
    'Not labelled and not counted: 1 recording (a.wav).'
    """
    shown = ", ".join(names[:_MOST_NAMES]) + (" ..." if len(names) > _MOST_NAMES else "")
    return f"Not labelled and not counted: {count_of(len(names), 'recording')} ({shown})."


def unwatched_text(truths: int) -> str:
    """Return the sentence about truths that nothing could find: behind the cut, in a gap, in warm-up.

    >>> unwatched_text(1)
    'Neither found nor missed: 1 truth during which nothing could be decided.'
    """
    return f"Neither found nor missed: {count_of(truths, 'truth')} during which nothing could be decided."


def label_text(label: str) -> str:
    """Return a label as it stands among other words and numbers: in quotes unless it begins like a word.

    >>> label_text("smoke alarm"), label_text("3"), label_text("all"), label_text("a, b")
    ('smoke alarm', '"3"', '"all"', '"a, b"')
    """
    if _PLAIN.match(label) and label not in _ROWS:
        return label
    return json.dumps(label, ensure_ascii=False)
