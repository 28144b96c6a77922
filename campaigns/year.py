"""A year of a device in a night: the real pipeline, outbox and store on a simulated clock, and its account.

    .venv/bin/python -m campaigns.year [--days 365] [--faults 10000] [--parts 2] [--seed 1] [--plant loss]

A camera and a microphone decide once a second, quiet time gated. Around them, by a plan drawn from the seed:
sources that are unplugged, stall, drop, give damage; a broker and a web server (real ones) that go away, hang
or fail; a full disk; a wall clock that steps by half a second to more than a year, or is not sure; restarts,
kills, power cuts that take what was not synced; good bundles and bad ones on trial. The year is lived in
parts, each a device of its own in a process of its own, so that two cores do it in the time of one.

campaigns/year_accounts.py judges. Ends with exit code 1 when something is wrong. ``--plant loss`` takes one
event out of what the broker's listener got, ``--plant double`` makes it a second one: exactly that must be
found then.

What is not the real thing: no capture process, no fan-out, no page; `make soak` and `make kills` have those.
Streams take turns of a minute, and what looks after them comes at their end, so a kill does too. Of what a
power cut can leave of the spool this is a sample; `make crash` has every state of the store.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import shutil
import sys
import time
from pathlib import Path
from typing import Any

from campaigns import OUT
from campaigns.year_accounts import Account, account
from campaigns.year_plan import DAY_S, Plan, make_plan
from campaigns.year_world import World

BEGIN_S = 1_798_761_600
"""1 January 2027, 0 h UTC."""


def plans(days: int, faults: int, parts: int, seed: int) -> list[Plan]:
    """Return the parts of the time, each as long and as hard as the others."""
    found, day = [], 0
    for part in range(parts):
        end = days * (part + 1) // parts
        share = faults * (part + 1) // parts - faults * part // parts
        found.append(make_plan(seed * 1_000 + part, BEGIN_S + day * DAY_S, end - day, share))
        day = end
    return found


def live(folder: Path, plan: Plan, name: str) -> None:
    """Live one part."""
    began_s = time.monotonic()

    def tell(line: str) -> None:
        print(f"{name}: {line}, {time.monotonic() - began_s:.0f} s", flush=True)

    World(folder, plan, tell).live()


def plant(folder: Path, what: str) -> str:
    """Lose or double one event among what the listener got; return its key."""
    path = folder / "mqtt.jsonl"
    lines = path.read_text().splitlines()
    events = [number for number, line in enumerate(lines) if json.loads(line)["record"]["kind"] == "event"]
    chosen = events[len(events) // 2]
    found = json.loads(lines[chosen])
    if what == "loss":
        del lines[chosen]
    else:
        lines.append(json.dumps(found | {"key": f"{found['key']}0"}))
    path.write_text("\n".join(lines) + "\n")
    key: str = found["key"]
    return key


def year(folder: Path, chosen: list[Plan], planted: str = "") -> list[Account]:
    """Live all parts side by side; return their accounts.

    Raises:
        RuntimeError: A part did not come to its end.
    """
    shutil.rmtree(folder, ignore_errors=True)
    context = multiprocessing.get_context("spawn")
    folders = [folder / f"part-{number}" for number in range(len(chosen))]
    living = [
        context.Process(target=live, args=(part, plan, part.name))
        for part, plan in zip(folders, chosen, strict=True)
    ]
    for process in living:
        process.start()
    for process in living:
        process.join()
    if failed := [part.name for part, process in zip(folders, living, strict=True) if process.exitcode]:
        raise RuntimeError(f"{', '.join(failed)} did not come to an end")
    if planted:
        print(f"planted in {folders[0]}: {planted} of {plant(folders[0], planted)}")
    return [account(part) for part in folders]


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--days", type=int, default=365)
    parser.add_argument("--faults", type=int, default=10_000)
    parser.add_argument("--parts", type=int, default=2)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--plant", choices=("loss", "double"), default="")
    parser.add_argument("--out", type=Path, default=OUT / "year")
    options = parser.parse_args()
    began_s = time.monotonic()
    found = year(options.out, plans(options.days, options.faults, options.parts, options.seed), options.plant)
    wrong = 0
    results: list[dict[str, Any]] = []
    for number, part in enumerate(found):
        print(f"part {number}: {json.dumps(part.counts, indent=1)}")
        print("\n".join(part.wrong[:40]) or "nothing is wrong")
        wrong += len(part.wrong)
        results.append({"counts": part.counts, "wrong": part.wrong})
    (options.out / "account.json").write_text(json.dumps(results, indent=1) + "\n")
    print(f"{options.days} days in {(time.monotonic() - began_s) / 60:.1f} min: {wrong} wrong")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
