"""JUnit XML, which every CI reads: one suite of test cases.

Elements, attributes and their order fit both schemas in use: that of Jenkins (``junit-10.xsd``) and that of
Ant.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal
from xml.etree import ElementTree

_NO_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True, slots=True)
class JunitCase:
    """One check."""

    name: str
    group: str
    """Shown as its class."""
    outcome: Literal["passed", "failure", "error", "skipped"] = "passed"
    """``error``: the check could not be made."""
    kind: str = ""
    """In a word, what was wrong."""
    message: str = ""
    text: str = ""


def junit_document(
    suite: str, cases: Sequence[JunitCase], *, at: datetime, properties: Mapping[str, str], out: str = ""
) -> bytes:
    """Return the file's bytes. ``at``: when it was checked, with its zone; ``out``: the whole in words."""
    outcomes = [case.outcome for case in cases]
    root = ElementTree.Element("testsuites")  # Ant allows no attribute here
    own = ElementTree.SubElement(
        root,
        "testsuite",
        {
            "name": suite,
            "package": "galago.qa",
            "id": "0",
            "tests": str(len(cases)),
            "failures": str(outcomes.count("failure")),
            "errors": str(outcomes.count("error")),
            "skipped": str(outcomes.count("skipped")),
            "time": "0",
            "timestamp": at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S"),
            "hostname": "localhost",
        },
    )
    told = ElementTree.SubElement(own, "properties")
    for name, value in properties.items():
        ElementTree.SubElement(told, "property", {"name": name, "value": _fit(value)})
    own.extend(map(_element, cases))
    ElementTree.SubElement(own, "system-out").text = _fit(out)
    ElementTree.SubElement(own, "system-err")
    ElementTree.indent(root)
    content: bytes = ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)
    return content + b"\n"


def _element(case: JunitCase) -> ElementTree.Element:
    found = ElementTree.Element(
        "testcase", {"name": _fit(case.name), "classname": f"galago.qa.{case.group}", "time": "0"}
    )
    if case.outcome == "skipped":
        ElementTree.SubElement(found, "skipped", {"message": _fit(case.message)})
    elif case.outcome != "passed":
        told = {"message": _fit(case.message), "type": case.kind}
        ElementTree.SubElement(found, case.outcome, told).text = _fit(case.text)
    return found


def _fit(text: str) -> str:
    """Return the text without what XML cannot say."""
    return _NO_XML.sub("\ufffd", text)
