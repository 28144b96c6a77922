"""A verdict as JUnit XML, which every CI reads: one test case for each gate.

Elements, attributes and their order fit both schemas in use: that of Jenkins (``junit-10.xsd``) and that of
Ant. A gate that is broken is a ``failure``. One that is inconclusive is an ``error`` (the check could not be
made), so that no CI is green by mistake; who wants it yellow asks for ``skipped``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Literal
from xml.etree import ElementTree

from galago_workstation.qa.gate_evidence import GateEvidence
from galago_workstation.qa.release_verdict import GateVerdict, ReleaseVerdict, Stance

Inconclusive = Literal["error", "failure", "skipped"]
"""What a CI is told of a gate that cannot be decided yet."""
_NO_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def junit_xml(
    verdict: ReleaseVerdict,
    *,
    at: datetime,
    inconclusive: Inconclusive = "error",
    suite: str = "galago qa diff",
) -> bytes:
    """Return the file's bytes. ``at``: when the verdict was made, with its zone."""
    properties = {
        "verdict": verdict.stance.value,
        "wrong_pass": f"{verdict.wrong_pass:g}",
        "wrong_fail": f"{verdict.wrong_fail:g}",
    }
    cases = [_case(gate, inconclusive) for gate in verdict.gates]
    return suite_xml(suite, cases, properties, at=at, said=f"{verdict.stance.value}: {verdict.why}")


def suite_xml(
    name: str, cases: Sequence[ElementTree.Element], properties: Mapping[str, str], *, at: datetime, said: str
) -> bytes:
    """Return the bytes of a file with one suite of test cases; ``said``: what it said on the whole."""
    kinds = [child.tag for case in cases for child in case if child.tag != "system-out"]
    root = ElementTree.Element("testsuites")  # Ant allows no attribute here
    own = ElementTree.SubElement(
        root,
        "testsuite",
        {
            "name": name,
            "package": "galago.qa",
            "id": "0",
            "tests": str(len(cases)),
            "failures": str(kinds.count("failure")),
            "errors": str(kinds.count("error")),
            "skipped": str(kinds.count("skipped")),
            "time": "0",
            "timestamp": at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S"),
            "hostname": "localhost",
        },
    )
    told = ElementTree.SubElement(own, "properties")
    for key, value in properties.items():
        ElementTree.SubElement(told, "property", {"name": key, "value": fit_for_xml(value)})
    own.extend(cases)
    ElementTree.SubElement(own, "system-out").text = fit_for_xml(said)
    ElementTree.SubElement(own, "system-err")
    ElementTree.indent(root)
    content: bytes = ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)
    return content + b"\n"


def _case(gate: GateVerdict, inconclusive: Inconclusive) -> ElementTree.Element:
    rule = gate.evidence.gate.rule
    name = fit_for_xml(gate.evidence.gate.name)
    found = ElementTree.Element(
        "testcase", {"name": name, "classname": f"galago.qa.{rule.measure}", "time": "0"}
    )
    told = {"message": fit_for_xml(gate.why), "type": gate.stance.value}
    text = fit_for_xml(gate_text(gate))
    if gate.stance is Stance.FAIL:
        ElementTree.SubElement(found, "failure", told).text = text
    elif gate.stance is Stance.INCONCLUSIVE and inconclusive == "skipped":
        ElementTree.SubElement(found, "skipped", {"message": fit_for_xml(f"inconclusive: {gate.why}")})
    elif gate.stance is Stance.INCONCLUSIVE:
        ElementTree.SubElement(found, inconclusive, told).text = text
    return found


def fit_for_xml(text: str) -> str:
    """Return the text without what XML cannot say."""
    return _NO_XML.sub("\ufffd", text)


def gate_text(gate: GateVerdict) -> str:
    """Return what was found for one gate, in lines."""
    evidence = gate.evidence
    lines = [f"OLD {figure_text(evidence, evidence.old)}, NEW {figure_text(evidence, evidence.new)}"]
    if gate.limits is not None:
        lines.append(
            f"compared with {evidence.bound:g}: between {gate.limits[0]:.4g} and {gate.limits[1]:.4g}"
        )
    lines.append(
        f"{evidence.units} judged in {evidence.recordings} recordings, {float(evidence.tally.hours):.2f} h"
    )
    lines += [f"{name}: {count}" for name, count in sorted(evidence.hits.items())]
    return "\n".join([*lines, *evidence.notes])


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
