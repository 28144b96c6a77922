"""Looks at everything that a device needs and says, for each thing, the line that fixes it."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from pathlib import Path

from galago_edge.contract.errors import GalagoError
from galago_edge.contract.findings import Finding, fail
from galago_edge.doctor.case import Case, DoctorCheck
from galago_edge.doctor.check_list import all_checks, in_order

__all__ = ["Case", "DoctorCheck", "Finding", "examine"]

CHECK_S = 180.0
"""A check that takes longer hangs in a driver or on a disk."""


def examine(
    root: Path,
    config: Path | None = None,
    *,
    system: Path = Path("/"),
    checks: Iterable[DoctorCheck] | None = None,
    check_s: float = CHECK_S,
) -> Iterator[Finding]:
    """Yield what was found on a device, as it is found.

    Every check stands alone: one that fails, hangs or has a mistake is itself a finding.

    Args:
        root: The device's store.
        config: Its ``galago.toml``.
        system: Where ``dev``, ``etc``, ``proc`` and ``sys`` are.
        checks: Those to run; all when not given.
        check_s: How long one may take.
    """
    case = Case(root=root, config=config, system=system)
    for check in all_checks() if checks is None else in_order(checks):
        yield from _isolated(check, case, check_s)


def _isolated(check: DoctorCheck, case: Case, check_s: float) -> Iterator[Finding]:
    name = check.name
    found: list[Finding | DoctorCheck] = []

    def run() -> None:
        try:
            for one in check.look(case):
                if not isinstance(one, Finding | DoctorCheck):
                    raise TypeError(f"it gave a {type(one).__name__}, expected a Finding")
                found.append(one)
        except GalagoError as error:
            found.append(fail(name, str(error), error.hint or "see docs/reason-codes.md"))
        except (Exception, SystemExit) as error:  # noqa: BLE001 - a broken device breaks checks in ways nobody thought of
            what = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
            found.append(fail(name, f"the check itself failed: {what}", "report it with this line"))

    # a daemon: what hangs in a driver must not keep the doctor from ending
    thread = threading.Thread(target=run, name=f"doctor {name}", daemon=True)
    thread.start()
    thread.join(check_s)
    hangs = thread.is_alive()
    for one in list(found):
        if isinstance(one, DoctorCheck):
            yield from _isolated(one, case, check_s)
        else:
            yield one
    if hangs:
        fix = "dmesg shows which device or disk hangs; unplug it, or restart this device"
        yield fail(name, f"the check has no result after {check_s:g} s", fix)
