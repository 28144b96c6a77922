"""Check ``load``: how busy the processor is."""

from __future__ import annotations

import os
from collections.abc import Iterator

from galago_edge.contract.findings import Finding, ok, warn
from galago_edge.doctor import Case, DoctorCheck

_CROWD = 1_000.0


def _look(case: Case) -> Iterator[Finding]:
    """Fewer programs wait for the processor than would make every stream late."""
    one_minute, _, _ = os.getloadavg()
    asked = f"{len(case.settings.stream)} streams configured" if case.settings else "nothing configured"
    met = f"{one_minute:.1f} programs run or wait, {asked}"
    if one_minute > _CROWD:
        yield warn("load", met, "top shows which")
    else:
        yield ok("load", met)


CHECK = DoctorCheck("load", _look, place=215, needs=("config",))
