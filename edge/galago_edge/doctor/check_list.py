"""All checks there are, in the order in which they run.

A check is a description in ``CHECKS`` of a module ``doctor/*_checks.py``, or comes from another distribution
through the entry-point group ``galago.doctor``. How to add one: docs/extending.md.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Iterator
from functools import partial
from importlib.metadata import EntryPoint

from galago_edge.contract.errors import GalagoError
from galago_edge.contract.findings import Finding, fail
from galago_edge.doctor.case import Case, DoctorCheck
from galago_edge.host.plugins import bad_plugin, brought, load_plugin, own_modules

GROUP = "galago.doctor"
_PACKAGE = "galago_edge.doctor"
_SUFFIX = "_checks"


def own_checks() -> tuple[DoctorCheck, ...]:
    """Return Galago's own checks as they run."""
    found: list[DoctorCheck] = []
    for name in own_modules(_PACKAGE, _SUFFIX):
        found += importlib.import_module(f"{_PACKAGE}.{name}").CHECKS
    return in_order(found)


def all_checks() -> tuple[DoctorCheck, ...]:
    """Return every check as it runs. One of another distribution that cannot be used says so itself."""
    own = own_checks()
    found = list(own)
    for point in brought(GROUP):
        try:
            found += _brought(point, {check.name for check in found})
        except GalagoError as error:
            found.append(DoctorCheck(point.name, partial(_unusable, point.name, error)))
    return in_order(found)


def in_order(checks: Iterable[DoctorCheck]) -> tuple[DoctorCheck, ...]:
    """Return the checks by their place in the report, each behind those that it needs."""
    by_name = {check.name: check for check in sorted(checks, key=lambda check: check.place)}
    done: dict[str, DoctorCheck] = {}
    seen: set[str] = set()

    def take(check: DoctorCheck) -> None:
        if check.name in seen:
            return
        seen.add(check.name)
        for need in check.needs:
            if need in by_name:
                take(by_name[need])
        done[check.name] = check

    for check in by_name.values():
        take(check)
    return tuple(done.values())


def _brought(point: EntryPoint, names: set[str]) -> tuple[DoctorCheck, ...]:
    """Return the check that an entry point names, or the checks of the tuple that it names."""
    loaded = load_plugin("check", point)
    brought = loaded if isinstance(loaded, tuple) else (loaded,)
    for check in brought:
        if not isinstance(check, DoctorCheck):
            raise bad_plugin("check", point, f"it is a {type(check).__name__}, expected a DoctorCheck")
        if not isinstance(check.place, int | float) or not isinstance(check.needs, tuple):
            raise bad_plugin("check", point, "its place is no number, or its needs are no tuple of names")
        if check.name in names:
            raise bad_plugin("check", point, f"there is a check {check.name} already")
        known = names | {other.name for other in brought}
        if strange := sorted(set(check.needs) - known):
            raise bad_plugin("check", point, f"it needs {', '.join(strange)}, which is no check")
    return brought


def _unusable(name: str, error: GalagoError, case: Case) -> Iterator[Finding]:
    yield fail(name, error.line, error.hint)
