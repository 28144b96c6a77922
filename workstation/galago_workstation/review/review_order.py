"""In which order samples are shown: those first of which a person's answer teaches most."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from galago_workstation.review.field_samples import FieldSample

RULE = "first where the proposal differs from what the device noted, then the least sure first"
SHOWN_SCORES = 5


@dataclass(frozen=True, slots=True)
class SampleProposal:
    """What is proposed for one sample."""

    label: str
    """Empty where nothing is known."""
    score: float | None
    """Of the label, 0 to 1; None where nobody has computed one."""
    sureness: float
    """0 to 1: see :func:`sureness_of`."""
    disagrees: bool
    """The device noted another label."""
    scores: tuple[tuple[str, float], ...]
    """The best ones, the highest first."""


def propose(
    sample: FieldSample, scores: Mapping[str, float] | None, *, sigmoid: bool = False
) -> SampleProposal:
    """Return what is proposed for a sample.

    Args:
        sample: The sample.
        scores: The model's, by label; None without a model: then the proposal is the label that the sample
            came with, and its scores are those that the device noted.
        sigmoid: Whether labels have scores of their own, which need not add up to one.
    """
    note = sample.note
    noted = note.label if note is not None else ""
    if scores is not None:
        label = max(scores, key=scores.__getitem__)
    else:
        scores, label = (note.scores if note is not None else {}), sample.said or noted
    best = sorted(scores.items(), key=lambda pair: -pair[1])
    return SampleProposal(
        label=label,
        score=scores.get(label),
        sureness=sureness_of([score for _, score in best], sigmoid=sigmoid),
        disagrees=bool(noted) and noted != label,
        scores=tuple((name, round(score, 4)) for name, score in best[:SHOWN_SCORES]),
    )


def sureness_of(scores: Sequence[float], *, sigmoid: bool) -> float:
    """Return how sure a model is: the margin between its two best scores; 0 of nothing.

    With ``sigmoid`` each label is a question of its own, and the least certain one counts: twice its distance
    from a half. The device's trigger ``uncertain`` asks the same (docs/samples.md).

    >>> sureness_of([0.5, 0.25, 0.25], sigmoid=False), sureness_of([1.0, 0.75], sigmoid=True)
    (0.25, 0.5)
    """
    if not scores:
        return 0.0
    if sigmoid:
        return min(2 * abs(score - 0.5) for score in scores)
    best, *others = sorted(scores, reverse=True)
    return best - (others[0] if others else 0.0)


def review_order(
    samples: Sequence[FieldSample], proposals: Sequence[SampleProposal]
) -> list[tuple[FieldSample, SampleProposal]]:
    """Return samples with their proposals in the order of ``RULE``; equal ones by their names."""
    pairs = zip(samples, proposals, strict=True)
    return sorted(pairs, key=lambda one: (not one[1].disagrees, one[1].sureness, one[0].id))
