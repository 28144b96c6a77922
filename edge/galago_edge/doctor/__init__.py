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

_AT_A_TIME = 4
"""More processes at once would not fit into the memory of a small board."""
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
    yield from _Look(check, case).findings(check_s)


class _Look:
    """One check, which runs in a thread of its own from the beginning."""

    def __init__(self, check: DoctorCheck, case: Case) -> None:
        self._check = check
        self._case = case
        self._found: list[Finding | DoctorCheck] = []
        # a daemon: what hangs in a driver must not keep the doctor from ending
        self._thread = threading.Thread(target=self._run, name=f"doctor {check.name}", daemon=True)
        self._thread.start()

    def findings(self, check_s: float) -> Iterator[Finding]:
        """Wait for it and yield what it found, and what the checks found that it handed out."""
        self._thread.join(check_s)
        hangs, found = self._thread.is_alive(), list(self._found)
        handed_out = _side_by_side([one for one in found if isinstance(one, DoctorCheck)], self._case)
        for one in found:
            if isinstance(one, DoctorCheck):
                yield from next(handed_out).findings(check_s)
            else:
                yield one
        if hangs:
            fix = "dmesg shows which device or disk hangs; unplug it, or restart this device"
            yield fail(self._check.name, f"the check has no result after {check_s:g} s", fix)

    def _run(self) -> None:
        name = self._check.name
        try:
            for one in self._check.look(self._case):
                if not isinstance(one, Finding | DoctorCheck):
                    raise TypeError(f"it gave a {type(one).__name__}, expected a Finding")
                self._found.append(one)
        except GalagoError as error:
            self._found.append(fail(name, str(error), error.hint or "see docs/reason-codes.md"))
        except (Exception, SystemExit) as error:  # noqa: BLE001 - a broken device breaks checks in ways nobody thought of
            what = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
            self._found.append(fail(name, f"the check itself failed: {what}", "report it with this line"))


def _side_by_side(checks: list[DoctorCheck], case: Case) -> Iterator[_Look]:
    """Yield checks that run, some at a time: those that wait for a camera must not wait for each other."""
    for at in range(0, len(checks), _AT_A_TIME):
        yield from [_Look(check, case) for check in checks[at : at + _AT_A_TIME]]
