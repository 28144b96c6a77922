"""Cuts the power at every moment of everything that changes a store, on paper, and looks at what is left.

    .venv/bin/python -m campaigns.crash_states [--limit 4096] [--kills 64] [--nested 16] [--cycles 20]
                                                [--only SCENARIO] [--torn] [--no-mutants] [--seed 0]

Each operation is done once for real, its effects on the disk are recorded, and for each moment every disk
that POSIX allows after a power cut is made (tests/support/power_cuts/model.py says which those are). The
device's own code then starts on it, does the operation again and installs the next bundle. The same is
done after the process was killed anywhere and the operation done again, and for cuts in the recovery
from a cut.
Promises (V1 to V7: tests/support/power_cuts/promises.py) and bars; the exit code is 1 when one is missed:

  violations    0 in all states
  mutants       each sync and each rename of the store, taken out alone, is noticed by some violation
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

from campaigns import OUT
from power_cuts import SCENARIOS, Campaign, Mutant, Outcome, PowerCuts, mutants

SHOWN = 5
"""So many violations of a scenario are told in full."""


def play(campaigns: list[Campaign], options: argparse.Namespace) -> list[Outcome]:
    """Run the scenarios and print one row for each."""
    row = "{:<28} {:>8} {:>8} {:>9} {:>9} {:>7} {:>11} {:>7}"
    print(row.format("scenario", "effects", "states", "of kills", "of nested", "disks", "violations", "s"))
    outcomes = []
    for campaign in campaigns:
        start = time.perf_counter()
        outcome = campaign.run(
            kills=options.kills, nested=options.nested, cycles=options.cycles, seed=options.seed
        )
        outcomes.append(outcome)
        print(
            row.format(
                outcome.scenario,
                outcome.effects,
                outcome.states,
                outcome.killed,
                outcome.nested,
                outcome.disks,
                len(outcome.violations),
                f"{time.perf_counter() - start:.1f}",
            ),
            flush=True,
        )
        for violation in outcome.violations[:SHOWN]:
            print(f"    {violation}")
    return outcomes


def take_out(campaigns: list[Campaign], options: argparse.Namespace) -> list[Mutant]:
    """Try the store without each of its syncs and renames, and print one row for each."""
    row = "{:<26} {:<17} {}"
    print("\n" + row.format("without", "in", "noticed by"))
    found = []
    for mutant in mutants(campaigns, kills=options.kills):
        found.append(mutant)
        print(row.format(str(mutant.site), mutant.function, told(mutant)), flush=True)
    return found


def told(mutant: Mutant) -> str:
    """Return how a mutant was noticed."""
    if mutant.violation is None:
        return "NOTHING"
    return f"{mutant.violation.scenario}: {mutant.violation.text[:76]}"


def figures(outcomes: list[Outcome], found: list[Mutant]) -> dict[str, Any]:
    """Return everything for the file of results."""
    return {
        "states": sum(outcome.states for outcome in outcomes),
        "disks": sum(outcome.disks for outcome in outcomes),
        "violations": sum(len(outcome.violations) for outcome in outcomes),
        "scenarios": [
            asdict(outcome) | {"violations": [str(violation) for violation in outcome.violations]}
            for outcome in outcomes
        ],
        "mutants": [
            {"without": str(mutant.site), "in": mutant.function, "noticed_by": told(mutant)}
            for mutant in found
        ],
    }


def main() -> int:
    names = [scenario.name for scenario in SCENARIOS]
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--limit", type=int, default=4096, help="combinations of fates for one moment")
    parser.add_argument("--kills", type=int, default=64, help="the same after a kill, 0: no kills")
    parser.add_argument("--nested", type=int, default=16, help="the same in a recovery, 0: none")
    parser.add_argument("--cycles", type=int, default=20, help="chains of ten cuts for each scenario")
    parser.add_argument("--only", choices=names, action="append", help="this scenario; may be repeated")
    parser.add_argument("--torn", action="store_true", help="renames may lose both names, as on FAT")
    parser.add_argument("--no-mutants", action="store_true")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=OUT / "crash_states.json")
    options = parser.parse_args()
    memory = Path("/dev/shm")
    with ExitStack() as stack:
        place = memory if memory.is_dir() else None
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="galago-cuts-", dir=place)))
        cuts = PowerCuts(options.limit, options.torn, options.seed)
        campaigns = [
            Campaign(scenario, folder / str(number), cuts)
            for number, scenario in enumerate(SCENARIOS)
            if not options.only or scenario.name in options.only
        ]
        outcomes = play(campaigns, options)
        found = [] if options.no_mutants else take_out(campaigns, options)
    result = figures(outcomes, found)
    unnoticed = [mutant for mutant in found if mutant.violation is None]
    print(
        f"\n{result['states']} states, {result['disks']} different disks, {result['violations']} violations"
        + ("" if options.no_mutants else f"; {len(found) - len(unnoticed)} of {len(found)} mutants noticed")
    )
    missed = bool(result["violations"] or (unnoticed and not options.only))
    print("bars: " + ("MISSED" if missed else "all met"))
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(result, indent=2) + "\n")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
