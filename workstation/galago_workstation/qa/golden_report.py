"""A verified golden as people and programs read it: lines, JSON, JUnit."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from galago_edge.contract.count_words import count_of, noun_of
from galago_edge.host.junit_document import JunitCase, junit_document
from galago_workstation.qa.comparison_report import stream_time
from galago_workstation.qa.exactness_tiers import T1_FEW_STEPS, Tier, TierChoice
from galago_workstation.qa.golden_comparison import GoldenFinding, RecordingFinding
from galago_workstation.qa.golden_difference import StageDifference
from galago_workstation.qa.release_verdict import Stance

_SUITE, _GROUP = "galago qa golden verify", "golden"


def finding_lines(found: GoldenFinding) -> Iterator[str]:
    """Yield what there is to say of a golden, the verdict last."""
    yield f"{found.golden}: {choice_text(found.choice)}"
    for note in found.choice.notes:
        yield f"not the golden's, and no reason for another answer: {note}"
    for one in found.recordings:
        yield f"{one.recording}: {_summary(one)}"
        for text in one.broken:
            yield f"{one.recording}: {text}"
        for text in one.fragile:
            yield f"{one.recording}: fragile, {text}"
    yield verdict_text(found)


def choice_text(choice: TierChoice) -> str:
    """Return at which tier is compared, and why."""
    if choice.asked:
        why = "which was asked for"
    elif choice.tier is Tier.T0:
        why = "in the golden's environment every stage must be equal to the byte"
    else:
        why = "; ".join(choice.reasons)
    return f"tier {choice.tier}: {why}"


def verdict_text(found: GoldenFinding) -> str:
    """Return the verdict in one line."""
    if found.stance is Stance.INCONCLUSIVE:
        return "nothing compares: at T3 only statistics do, with galago qa diff"
    wrong = sum(bool(one.broken) for one in found.recordings)
    equal = sum(one.first is None for one in found.recordings)
    count = len(found.recordings)
    parts = [count_of(count, "recording"), f"{equal} equal to the byte"]
    if wrong:
        parts.append(f"{wrong} not as {found.choice.tier} asks for")
    parts += found.broken
    return f"{'pass' if found.stance is Stance.PASS else 'differs'}: {', '.join(parts)}"


def _summary(one: RecordingFinding) -> str:
    if one.first is None:
        return "equal"
    text = f"differs first in {difference_text(one.first)}"
    if one.steps.outputs:
        steps = one.steps
        are = noun_of(steps.beyond, "is", "are")
        text += f"; of {count_of(steps.outputs, 'output')} {steps.beyond} {are} more than"
        text += f" {T1_FEW_STEPS} steps off, at most {steps.most}"
    return f"holds, {text}" if not one.broken else text


def difference_text(first: StageDifference) -> str:
    """Return stage, place, and what is there, in one line."""
    if first.to_ns is None:
        place = f"behind {stream_time(first.from_ns)}"
    elif first.to_ns - first.from_ns <= 1:
        place = f"at {stream_time(first.from_ns)}"
    else:
        place = f"{stream_time(first.from_ns)} to {stream_time(first.to_ns)}"
    if first.windows is not None:
        begin, end = first.windows
        place += f", window {begin}" if end == begin + 1 else f", windows {begin} to {end - 1}"
    return f"{first.stage}, {place}: expected {first.expected}, found {first.found}"


def finding_data(found: GoldenFinding) -> dict[str, Any]:
    """Return the same for programs."""
    return {
        "golden": found.golden,
        "verdict": "differs" if found.stance is Stance.FAIL else found.stance.value,
        "tier": found.choice.tier.value,
        "tier_asked": found.choice.asked,
        "reasons": list(found.choice.reasons),
        "notes": list(found.choice.notes),
        "broken": list(found.broken),
        "recordings": [_row(one) for one in found.recordings],
        "exit": found.stance.exit_code,
    }


def _row(one: RecordingFinding) -> dict[str, Any]:
    first, steps = one.first, one.steps
    return {
        "recording": one.recording,
        "holds": not one.broken,
        "first": None
        if first is None
        else {
            "stage": first.stage,
            "from_ns": first.from_ns,
            "to_ns": first.to_ns,
            "windows": None if first.windows is None else list(first.windows),
            "expected": first.expected,
            "found": first.found,
        },
        "broken": list(one.broken),
        "fragile": list(one.fragile),
        "outputs": {"compared": steps.outputs, "most_steps": steps.most, "beyond": steps.beyond},
    }


def golden_junit(found: GoldenFinding, *, at: datetime) -> bytes:
    """Return a JUnit file with a test case for each recording, and one for all outputs together.

    A golden that does not compare is one case that is an ``error``, so that no CI is green by mistake.
    """
    said = verdict_text(found)
    if found.stance is Stance.INCONCLUSIVE:
        cases = [JunitCase(found.golden, _GROUP, "error", found.choice.tier, said)]
    else:
        cases = [_case(one.recording, one.broken, _summary(one)) for one in found.recordings]
        cases.append(_case("all outputs together", found.broken, said))
    properties = {"tier": found.choice.tier.value, "verdict": found.stance.value}
    return junit_document(_SUITE, cases, at=at, properties=properties, out="\n".join(finding_lines(found)))


def _case(name: str, broken: tuple[str, ...], text: str) -> JunitCase:
    if not broken:
        return JunitCase(name, _GROUP)
    return JunitCase(name, _GROUP, "failure", "differs", broken[0], "\n".join([text, *broken]))
