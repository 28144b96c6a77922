"""Looks at everything that a device needs and says, for each thing, the line that fixes it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

from galago_edge.contract.errors import GalagoError
from galago_edge.service.doctor import configured, machine, software, storing
from galago_edge.service.doctor.case import Case, Check, Finding, fail

__all__ = ["Case", "Finding", "examine"]

CHECKS: tuple[tuple[str, Check], ...] = (
    ("python", software.check_python),
    ("numpy", software.check_numpy),
    ("interpreter", software.check_interpreter),
    ("cryptography", software.check_cryptography),
    ("unit", machine.check_unit),
    ("config", configured.check_config),
    ("store", storing.check_store),
    ("profile", storing.check_board),
    ("keys", storing.check_keys),
    ("bundles", storing.check_bundles),
    ("extras", software.check_extras),
    ("answers", storing.check_answers),
    ("accelerators", machine.check_accelerators),
    ("cameras", machine.check_cameras),
    ("microphones", machine.check_microphones),
    ("service", machine.check_service),
    ("streams", configured.check_streams),
    ("sources", configured.check_sources),
    ("mqtt", configured.check_broker),
    ("webhook", configured.check_webhook),
    ("page", configured.check_page),
    ("disk", storing.check_disks),
    ("memory", machine.check_memory),
    ("heat", machine.check_heat),
    ("clock", machine.check_clock),
)
"""In this order: later checks use what earlier ones left in the case."""

CHECK_S = 180.0
"""A check that takes longer hangs in a driver or on a disk."""


def examine(
    root: Path,
    config: Path | None = None,
    *,
    system: Path = Path("/"),
    checks: tuple[tuple[str, Check], ...] | None = None,
    check_s: float = CHECK_S,
) -> Iterator[Finding]:
    """Yield what was found on a device, as it is found.

    Every check stands alone: one that fails, hangs or has a mistake is itself a finding.

    Args:
        root: The device's store.
        config: Its ``galago.toml``.
        system: Where ``dev``, ``etc``, ``proc`` and ``sys`` are.
        checks: Names and functions; all when not given.
        check_s: How long one may take.
    """
    case = Case(root=root, config=config, system=system)
    for name, check in CHECKS if checks is None else checks:
        yield from _isolated(name, check, case, check_s)


def _isolated(name: str, check: Check, case: Case, check_s: float) -> list[Finding]:
    found: list[Finding] = []

    def run() -> None:
        try:
            found.extend(check(case))
        except GalagoError as error:
            found.append(fail(name, str(error), error.hint or "see docs/reason-codes.md"))
        except Exception as error:  # noqa: BLE001 - a broken device breaks checks in ways nobody thought of
            what = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
            found.append(fail(name, f"the check itself failed: {what}", "report it with this line"))

    # a daemon: what hangs in a driver must not keep the doctor from ending
    thread = threading.Thread(target=run, name=f"doctor {name}", daemon=True)
    thread.start()
    thread.join(check_s)
    if thread.is_alive():
        fix = "dmesg shows which device or disk hangs; unplug it, or start this device anew"
        return [*found, fail(name, f"the check has no result after {check_s:g} s", fix)]
    return found
