"""Looks at everything that a device needs and says, for each thing, the line that fixes it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

from galago_edge.contract.errors import GalagoError
from galago_edge.doctor import configuration_checks, machine_checks, software_checks, store_checks
from galago_edge.doctor.findings import Case, Check, Finding, fail

__all__ = ["Case", "Finding", "examine"]

CHECKS: tuple[tuple[str, Check], ...] = (
    ("python", software_checks.check_python),
    ("numpy", software_checks.check_numpy),
    ("interpreter", software_checks.check_interpreter),
    ("cryptography", software_checks.check_cryptography),
    ("unit", machine_checks.check_unit),
    ("config", configuration_checks.check_config),
    ("store", store_checks.check_store),
    ("profile", store_checks.check_board),
    ("keys", store_checks.check_keys),
    ("bundles", store_checks.check_bundles),
    ("extras", software_checks.check_extras),
    ("answers", store_checks.check_answers),
    ("accelerators", machine_checks.check_accelerators),
    ("cameras", machine_checks.check_cameras),
    ("microphones", machine_checks.check_microphones),
    ("service", machine_checks.check_service),
    ("streams", configuration_checks.check_streams),
    ("sources", configuration_checks.check_sources),
    ("mqtt", configuration_checks.check_broker),
    ("webhook", configuration_checks.check_webhook),
    ("page", configuration_checks.check_page),
    ("disk", store_checks.check_disks),
    ("memory", machine_checks.check_memory),
    ("heat", machine_checks.check_heat),
    ("clock", machine_checks.check_clock),
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
        fix = "dmesg shows which device or disk hangs; unplug it, or restart this device"
        return [*found, fail(name, f"the check has no result after {check_s:g} s", fix)]
    return found
