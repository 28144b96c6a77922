"""A verdict as JUnit XML, which every CI reads: one test case for each gate.

A gate that is broken is a ``failure``. One that is inconclusive is an ``error`` (the check could not be
made), so that no CI is green by mistake; who wants it yellow asks for ``skipped``.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from galago_edge.contract.count_words import count_of
from galago_edge.contract.errors import GalagoError, LinkError
from galago_edge.host.junit_document import JunitCase, junit_document
from galago_workstation.files import write_bytes
from galago_workstation.qa.gate_evidence import GateEvidence
from galago_workstation.qa.recording_losses import RecordingLosses
from galago_workstation.qa.release_verdict import GateVerdict, ReleaseVerdict, Stance
from galago_workstation.qa.report_words import hours_text

Inconclusive = Literal["error", "failure", "skipped"]
"""What a CI is told of a gate that cannot be decided yet."""


def junit_xml(
    verdict: ReleaseVerdict,
    *,
    at: datetime,
    inconclusive: Inconclusive = "error",
    losses: RecordingLosses | None = None,
    suite: str = "galago qa diff",
) -> bytes:
    """Return the file's bytes.

    Args:
        verdict: Of all gates.
        at: When the verdict was made, with its zone.
        inconclusive: What a CI is told of a gate that cannot be decided yet.
        losses: Each recording that failed is a case that is an ``error``; those read in part are named.
        suite: Its name.
    """
    losses = losses or RecordingLosses()
    failed = [
        JunitCase(one.recording, "recordings", "error", one.reason, one.message) for one in losses.failed
    ]
    return junit_document(
        suite,
        [*(_case(gate, inconclusive) for gate in verdict.gates), *failed],
        at=at,
        properties={
            "verdict": verdict.stance.value,
            "wrong_pass": f"{verdict.wrong_pass:g}",
            "wrong_fail": f"{verdict.wrong_fail:g}",
        },
        out="\n".join([f"{verdict.stance.value}: {verdict.why}", *losses.lines()]),
    )


@contextlib.contextmanager
def junit_of_failure(path: Path | None, suite: str) -> Iterator[None]:
    """Write a file with one ``error`` where the block ends with one of ours: no CI shows an older verdict.

    Raises:
        GalagoError: The block's own.
    """
    try:
        yield
    except GalagoError as error:
        if path is not None:
            case = JunitCase(suite, "call", "error", str(error.reason), str(error))
            with contextlib.suppress(LinkError):  # the error that was met says more than this one
                content = junit_document(suite, [case], at=datetime.now(UTC), properties={}, out=error.line)
                write_bytes(path, content)
        raise


def _case(gate: GateVerdict, inconclusive: Inconclusive) -> JunitCase:
    name, group = gate.evidence.gate.name, gate.evidence.gate.rule.measure
    if gate.stance is Stance.INCONCLUSIVE and inconclusive == "skipped":
        return JunitCase(name, group, "skipped", message=f"inconclusive: {gate.why}")
    if gate.stance in (Stance.FAIL, Stance.INCONCLUSIVE):
        outcome = "failure" if gate.stance is Stance.FAIL else inconclusive
        return JunitCase(name, group, outcome, gate.stance.value, gate.why, gate_text(gate))
    return JunitCase(name, group)


def gate_text(gate: GateVerdict) -> str:
    """Return what was found for one gate, in lines."""
    evidence = gate.evidence
    lines = [f"OLD {figure_text(evidence, evidence.old)}, NEW {figure_text(evidence, evidence.new)}"]
    if gate.limits is not None:
        lines.append(
            f"compared with {evidence.bound:g}: between {gate.limits[0]:.4g} and {gate.limits[1]:.4g}"
            " (two one-sided bounds)"
        )
    of = count_of(evidence.recordings, "recording")
    judged = f"{evidence.units} judged in {of}"
    if evidence.by_recording:
        judged = f"{evidence.units} of {of} judged, each alike ({count_of(evidence.things, 'thing')} in them)"
    lines.append(f"{judged}, {hours_text(float(evidence.tally.hours))}")
    lines += [f"{name}: {count}" for name, count in sorted(evidence.hits.items())]
    return "\n".join([*lines, *evidence.notes])


def judged_text(evidence: GateEvidence) -> str:
    """Return how many units a gate was judged by; whole recordings are named, for each has one weight."""
    return count_of(evidence.units, "recording") if evidence.by_recording else str(evidence.units)


def figure_text(evidence: GateEvidence, value: float) -> str:
    """Return a gate's measure as people read it: a share, a rate an hour, or seconds; ``-`` for none."""
    if value != value:
        return "-"
    measure = evidence.gate.rule.measure
    if measure == "false_alarms":
        return f"{value:.3g}/h"
    if measure == "delay":
        return "missed" if value == float("inf") else f"{value:.3g} s"
    return f"{100 * value:.1f} %"
