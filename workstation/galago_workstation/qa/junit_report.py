"""A verdict as JUnit XML, which every CI reads: one test case for each gate.

Elements, attributes and their order fit both schemas in use: that of Jenkins (``junit-10.xsd``) and that of
Ant. A gate that is broken is a ``failure``. One that is inconclusive is an ``error`` (the check could not be
made), so that no CI is green by mistake; who wants it yellow asks for ``skipped``.
"""

from __future__ import annotations

import re
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
    elements = [_case(gate, inconclusive) for gate in verdict.gates]
    kinds = [child.tag for element in elements for child in element if child.tag != "system-out"]
    counts = {"tests": str(len(elements)), "failures": str(kinds.count("failure")),
              "errors": str(kinds.count("error"))}  # fmt: skip
    root = ElementTree.Element("testsuites")  # Ant allows no attribute here
    own = ElementTree.SubElement(
        root,
        "testsuite",
        {
            "name": suite,
            "package": "galago.qa",
            "id": "0",
            **counts,
            "skipped": str(kinds.count("skipped")),
            "time": "0",
            "timestamp": at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S"),
            "hostname": "localhost",
        },
    )
    properties = ElementTree.SubElement(own, "properties")
    for name, value in (("verdict", verdict.stance.value), ("wrong_pass", f"{verdict.wrong_pass:g}"),
                        ("wrong_fail", f"{verdict.wrong_fail:g}")):  # fmt: skip
        ElementTree.SubElement(properties, "property", {"name": name, "value": value})
    own.extend(elements)
    ElementTree.SubElement(own, "system-out").text = _fit(f"{verdict.stance.value}: {verdict.why}")
    ElementTree.SubElement(own, "system-err")
    ElementTree.indent(root)
    content: bytes = ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)
    return content + b"\n"


def _case(gate: GateVerdict, inconclusive: Inconclusive) -> ElementTree.Element:
    rule = gate.evidence.gate.rule
    name = _fit(gate.evidence.gate.name)
    found = ElementTree.Element(
        "testcase", {"name": name, "classname": f"galago.qa.{rule.measure}", "time": "0"}
    )
    told = {"message": _fit(gate.why), "type": gate.stance.value}
    text = _fit(gate_text(gate))
    if gate.stance is Stance.FAIL:
        ElementTree.SubElement(found, "failure", told).text = text
    elif gate.stance is Stance.INCONCLUSIVE and inconclusive == "skipped":
        ElementTree.SubElement(found, "skipped", {"message": _fit(f"inconclusive: {gate.why}")})
    elif gate.stance is Stance.INCONCLUSIVE:
        ElementTree.SubElement(found, inconclusive, told).text = text
    return found


def _fit(text: str) -> str:
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
