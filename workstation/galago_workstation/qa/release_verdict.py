"""Pass, fail or inconclusive: of each gate, and of all together.

A gate passes when the evidence that it holds reaches ``1 / wrong_pass`` (20), and fails when the evidence
that it is broken reaches ``1 / wrong_fail``; never both. Each is wrong with that probability at most, however
often one looks while the corpus grows.

All together pass when every gate passes. That is wrong only if some gate is broken, and then this gate has
passed wrongly: 5 % at most without any correction (intersection-union test, Berger 1982). They fail when the
mean of the gates' evidence of being broken reaches ``1 / wrong_fail``: where all gates hold each is an
e-process, so their mean is one, whatever depends on what (Vovk and Wang, "E-values: calibration, combination
and applications", Annals of Statistics 49, 2021). So one failed gate of many may leave the whole
inconclusive: among many, one by luck is likely.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from galago_edge.contract.count_words import count_of, noun_of
from galago_workstation.qa.e_process import limits, log_wealth
from galago_workstation.qa.gate_evidence import GateEvidence
from galago_workstation.qa.hours_needed import MOST_TIMES, hours_ahead

_MOST = 700.0
"""Of the logarithm of evidence: e to it is about the largest number that there is."""


class Stance(enum.StrEnum):
    """What can be said of a gate, or of all."""

    PASS = "pass"
    FAIL = "fail"
    INCONCLUSIVE = "inconclusive"

    @property
    def exit_code(self) -> int:
        """What a command ends with."""
        return {"pass": 0, "fail": 1, "inconclusive": 7}[self.value]


@dataclass(frozen=True, slots=True)
class GateVerdict:
    """What can be said of one gate, and why."""

    evidence: GateEvidence
    stance: Stance
    holds: float
    """Evidence that the gate holds; 20 is 5 %. Infinite: it does."""
    broken: float
    """Evidence that it is broken."""
    limits: tuple[float, float] | None
    """Between which the figure lies that is compared with the bound, each with the gate's error; None where
    the figure is a count or a multiple."""
    more_hours: float | None
    """For inconclusive: hours that probably decide it; infinite: more than can be forecast; None: unknown."""
    why: str


@dataclass(frozen=True, slots=True)
class ReleaseVerdict:
    """What can be said of NEW."""

    gates: tuple[GateVerdict, ...]
    stance: Stance
    broken: float
    """Mean evidence that a gate is broken."""
    wrong_pass: float
    wrong_fail: float
    why: str


def decide_gate(found: GateEvidence, wrong_pass: float, wrong_fail: float) -> GateVerdict:
    """Return what can be said of one gate."""
    kind, bound = found.gate.rule.bound
    if kind == "at_most_count":
        held = found.count <= bound
        why = f"{found.count} in this corpus, {bound:.0f} allowed"
        certain = (math.inf, 0.0) if held else (0.0, math.inf)
        return GateVerdict(found, Stance.PASS if held else Stance.FAIL, *certain, None, None, why)
    holds = math.exp(min(_MOST, float(log_wealth(found.tally, found.bound, "holds"))))
    broken = math.exp(min(_MOST, float(log_wealth(found.tally, found.bound, "broken"))))
    stance = (
        Stance.INCONCLUSIVE if found.clustered
        else Stance.PASS if holds >= 1.0 / wrong_pass
        else Stance.FAIL if broken >= 1.0 / wrong_fail
        else Stance.INCONCLUSIVE
    )  # fmt: skip
    between = None if kind == "times_old_at_most" else limits(found.tally, wrong_fail, wrong_pass)
    hours = None
    if stance is Stance.INCONCLUSIVE and not found.clustered:
        ahead = float(hours_ahead(found.tally, found.bound, wrong_pass, wrong_fail))
        hours = None if math.isnan(ahead) else ahead
    return GateVerdict(
        found, stance, holds, broken, between, hours, _why(found, stance, holds, broken, hours)
    )


def _why(found: GateEvidence, stance: Stance, holds: float, broken: float, hours: float | None) -> str:
    if found.clustered:
        return "false alarms come in clusters, so nothing can be promised"
    if stance is not Stance.INCONCLUSIVE:
        return f"evidence {evidence_words(holds if stance is Stance.PASS else broken)}"
    if hours is None:
        return "nothing to judge by yet" if not found.units else "no hours to judge by"
    return f"evidence to pass {evidence_words(holds)}, to fail {evidence_words(broken)}; {hours_words(hours)}"


def evidence_words(evidence: float) -> str:
    """Return evidence as people read it.

    >>> evidence_words(0.04), evidence_words(23.46), evidence_words(1234.5), evidence_words(1e9)
    ('0.04', '23.5', '1234', 'over 1000000')
    """
    return "over 1000000" if evidence > 1e6 else f"{evidence:.0f}" if evidence > 100 else f"{evidence:.3g}"


def hours_words(hours: float) -> str:
    """Return the promise in words; whole hours, but for less than ten.

    >>> hours_words(3.21), hours_words(41.2)
    ('needs 3.3 more hours', 'needs 42 more hours')
    >>> hours_words(float("inf"))
    'needs more hours than can be forecast (256 x as many as there are)'
    """
    if math.isinf(hours):
        return f"needs more hours than can be forecast ({MOST_TIMES} x as many as there are)"
    least = math.ceil(hours * 10) / 10 if hours < 10 else math.ceil(hours)
    return f"needs {least:g} more {noun_of(least, 'hour')}"


def decide(
    found: Sequence[GateEvidence], wrong_pass: float = 0.05, wrong_fail: float = 0.05
) -> ReleaseVerdict:
    """Return what can be said of NEW by all gates.

    Raises:
        ValueError: There is no gate.
    """
    if not found:
        raise ValueError("a verdict needs a gate")
    gates = tuple(decide_gate(each, wrong_pass, wrong_fail) for each in found)
    broken = float(np.mean([0.0 if gate.evidence.clustered else gate.broken for gate in gates]))
    failed = [gate.evidence.gate.name for gate in gates if gate.stance is Stance.FAIL]
    if all(gate.stance is Stance.PASS for gate in gates):
        return ReleaseVerdict(gates, Stance.PASS, broken, wrong_pass, wrong_fail, "every gate passes")
    if broken >= 1.0 / wrong_fail:
        why = f"broken: {', '.join(failed)}"
        return ReleaseVerdict(gates, Stance.FAIL, broken, wrong_pass, wrong_fail, why)
    undecided = sum(gate.stance is Stance.INCONCLUSIVE for gate in gates)
    if failed:
        why = (f"{', '.join(failed)} fails by itself, which among {count_of(len(gates), 'gate')} may be luck:"
               f" mean evidence {evidence_words(broken)} of {1.0 / wrong_fail:g}")  # fmt: skip
    else:
        needed = [gate.more_hours for gate in gates if gate.stance is Stance.INCONCLUSIVE]
        known = [hours for hours in needed if hours is not None]
        most = f"; {hours_words(max(known))}" if len(known) == len(needed) else ""
        are = noun_of(undecided, "is", "are")
        why = f"{undecided} of {count_of(len(gates), 'gate')} {are} undecided{most}"
    return ReleaseVerdict(gates, Stance.INCONCLUSIVE, broken, wrong_pass, wrong_fail, why)
