"""Faults of ``galago replay``: what is expected of them is checked while records are written, then told."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from galago_edge.commands.cli import say
from galago_edge.contract.errors import CallerError, GalagoError, Reason
from galago_edge.host.former_output import VERDICT_JSON, junit_kind, refuse_other_kind

if TYPE_CHECKING:
    from galago_edge.api.expectations import Judgement
    from galago_edge.contract.settings import SourceSettings
    from galago_edge.sources.faults.fault_file import FaultPlan, StreamFaults

_SUITE = "galago replay --faults"
_SUFFIXES = (".json", ".xml")


def check_verdict(verdict: Path | None, faults: Path | None) -> None:
    """Refuse a place for a verdict that nobody gives, or in no form.

    Raises:
        CallerError: USAGE. EXISTS; something that is no verdict lies there.
        LinkError: It is there and cannot be read.
    """
    if verdict is None:
        return
    if faults is None:
        raise CallerError(
            Reason.USAGE, "--verdict is given without --faults", hint="add --faults FILE, or leave it out"
        )
    suffix = verdict.suffix.lower()
    if suffix not in _SUFFIXES:
        text = f"--verdict {verdict} ends in neither .json nor .xml (JUnit)"
        raise CallerError(Reason.USAGE, text, hint="give it one of these endings")
    refuse_other_kind(verdict, junit_kind(_SUITE) if suffix == ".xml" else VERDICT_JSON)


def planned(faults: StreamFaults, settings: SourceSettings | None) -> FaultPlan | None:
    """Return what goes wrong; None when the file has expectations of this stream alone."""
    return faults.plan(settings) if faults.faults else None


def tell_verdict(judged: Mapping[str, Sequence[Judgement]], others: Sequence[str], *, err: bool) -> None:
    """Say of every expectation of each recording whether it is met; ``others``: other streams."""
    for name, judgements in judged.items():
        for one in judgements:
            say(f"{name}: {one}" if name else str(one), err=err)
    every = [one for judgements in judged.values() for one in judgements]
    unmet = sum(not one.met for one in every)
    if every:
        say(f"expected: {len(every) - unmet} met, {unmet} not", err=err)
    if others:
        say(f"of other streams, left out: {', '.join(others)}", err=err)


def unmet(judged: Mapping[str, Sequence[Judgement]]) -> bool:
    """Tell whether an expectation was not met."""
    return any(not one.met for judgements in judged.values() for one in judgements)


def write_verdict(
    path: Path,
    judged: Mapping[str, Sequence[Judgement]],
    failures: Mapping[str, GalagoError],
    plan: FaultPlan | None,
) -> None:
    """Write the verdict as JSON or JUnit, by the file's ending; ``failures``: recordings that failed.

    Raises:
        LinkError: The disk refuses.
    """
    from galago_edge.contract.errors import disk_error
    from galago_edge.host.file_replacement import Durable, replace_file

    digest = "" if plan is None else plan.digest
    if path.suffix.lower() == ".xml":
        content = _junit(judged, failures, digest)
    else:
        content = msgspec.json.format(msgspec.json.encode(verdict_data(judged, failures, digest))) + b"\n"
    try:
        replace_file(path, content, durable=Durable.NO)
    except OSError as error:
        raise disk_error(error, f"write {path}") from error


def verdict_data(
    judged: Mapping[str, Sequence[Judgement]], failures: Mapping[str, GalagoError], digest: str
) -> dict[str, Any]:
    """Return the verdict for programs; a recording alone has no name."""
    rows = [
        {
            "recording": name,
            "expected": [one.data() for one in judgements],
            "failure": failures[name].as_data(with_exit=True) if name in failures else None,
        }
        for name, judgements in judged.items()
    ]
    return {"faults": digest, "met": not unmet(judged) and not failures, "recordings": rows}


def _junit(
    judged: Mapping[str, Sequence[Judgement]], failures: Mapping[str, GalagoError], digest: str
) -> bytes:
    from galago_edge.host.junit_document import JunitCase, junit_document

    cases = []
    for name, judgements in judged.items():
        if (failure := failures.get(name)) is not None:
            cases.append(
                JunitCase(
                    name or "replay", "replay", "error", str(failure.reason), str(failure), failure.hint
                )
            )
        for one in judgements:
            outcome = "passed" if one.met else "failure"
            called = f"{name}: {one.expected}" if name else one.expected
            cases.append(JunitCase(called, "expected", outcome, "not met", f"found {one.found}", str(one)))  # type: ignore[arg-type]
    now = datetime.datetime.now(datetime.UTC)
    return junit_document(_SUITE, cases, at=now, properties={"faults": digest})
