"""What happens in a year: faults and cues, drawn from a seed. Knows nothing of the product.

Used by year.py, by the device under test (year_device.py) and by the accountant (year_accounts.py). Every
time is in true seconds since the beginning of the part; nothing in the world depends on what the device does.
"""

from __future__ import annotations

import json
import math
import random
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

DAY_S = 86_400
STREAMS = ("door", "hall")
"""A camera and a microphone."""
LABELS = {"door": "bright", "hall": "high"}
CUE_S = 6
"""How long something is to be seen or heard."""
CUES_A_DAY = 20
CLEAR_S = 30
"""So far from every fault a cue is undisturbed."""
SYNC_S = 5
"""What a power cut may take: what was made in the last seconds, of which the outbox has synced nothing."""


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of fault: how often among all, how long, and what must not be broken otherwise meanwhile."""

    name: str
    weight: float
    shortest_s: float
    longest_s: float
    needs: tuple[str, ...]


_SOURCES = tuple(
    Kind(f"{what} {stream}", weight, shortest, longest, (stream,))
    for stream in STREAMS
    for what, weight, shortest, longest in (
        ("unplug", 12, 2, 7_200),
        ("stall", 8, 12, 1_800),
        ("drop", 5, 6, 60),
    )
)
KINDS = (
    *_SOURCES,
    Kind("damage door", 6, 6, 30, ("door",)),
    Kind("broker away", 7, 60, 21_600, ("broker",)),
    Kind("broker hangs", 1, 60, 3_600, ("broker",)),
    Kind("server away", 6, 60, 21_600, ("server",)),
    Kind("server fails", 5, 60, 21_600, ("server",)),
    Kind("disk full", 4, 60, 3_600, ("device", "disk")),
    Kind("clock step", 2, 600, DAY_S, ("clock",)),
    Kind("clock unsure", 3, 600, DAY_S, ("clock",)),
    Kind("restart", 4, 2, 30, ("device", "disk")),
    Kind("kill", 4, 2, 30, ("device", "disk")),
    Kind("power cut", 3, 10, 21_600, ("device", "disk", "clock")),
    Kind("good bundle", 1, 600, 600, ("device", "disk")),
    Kind("bad bundle", 1, 600, 600, ("device", "disk")),
)
ENDS = ("restart", "kill", "power cut")
"""These end the device's process, for as long as they last."""
_APART_S = 120
_GRID_S = 60
"""Faults begin and end on whole minutes, when the device looks after everything; those of sources do not."""


@dataclass(frozen=True, slots=True)
class Fault:
    """Something breaks at one moment and works again at another."""

    number: int
    kind: str
    from_s: float
    to_s: float
    amount: float = 0.0
    """Seconds by which the wall clock is off."""

    @property
    def stream(self) -> str:
        """The stream whose source it is about; empty for the rest."""
        return self.kind.rpartition(" ")[2] if self.kind.rpartition(" ")[2] in STREAMS else ""


@dataclass(frozen=True, slots=True)
class Plan:
    """One device's time."""

    seed: int
    begin_s: int
    """Unix time of the beginning, by a right clock."""
    days: int
    faults: tuple[Fault, ...]

    @property
    def end_s(self) -> int:
        """The end, in true seconds."""
        return self.days * DAY_S

    def of(self, *kinds: str) -> list[Fault]:
        """Return the faults of these kinds, in order."""
        return [fault for fault in self.faults if fault.kind in kinds]

    def cues(self, stream: str) -> Iterator[int]:
        """Yield the true seconds at which something begins to be seen or heard."""
        slot = DAY_S // CUES_A_DAY
        for day in range(self.days):
            draw = random.Random(f"{self.seed} {stream} {day}")
            for number in range(CUES_A_DAY):
                yield day * DAY_S + number * slot + draw.randrange(30, slot - CUE_S - 60)

    def write(self, path: Path) -> None:
        """Write it as JSON."""
        path.write_text(json.dumps(asdict(self), indent=0) + "\n")


def read_plan(path: Path) -> Plan:
    """Return what :meth:`Plan.write` wrote."""
    data = json.loads(path.read_text())
    return Plan(**data | {"faults": tuple(Fault(**fault) for fault in data["faults"])})


def make_plan(seed: int, begin_s: int, days: int, faults: int) -> Plan:
    """Draw so many faults, none of which needs what another one has broken."""
    draw = random.Random(seed)
    taken: dict[str, list[tuple[float, float]]] = defaultdict(list)
    found: list[Fault] = []
    weights = [kind.weight for kind in KINDS]
    while len(found) < faults:
        kind = draw.choices(KINDS, weights)[0]
        length = math.exp(draw.uniform(math.log(kind.shortest_s), math.log(kind.longest_s)))
        start = draw.uniform(600, days * DAY_S - 600)
        if kind.needs[0] not in STREAMS:
            start = start // _GRID_S * _GRID_S
            length = max(_GRID_S, length // _GRID_S * _GRID_S) if kind.name not in ENDS else length
        end = start + length
        if end > days * DAY_S - 600:
            continue
        if any(
            low - _APART_S < end and start < high + _APART_S
            for need in kind.needs
            for low, high in taken[need]
        ):
            continue
        for need in kind.needs:
            taken[need].append((start, end))
        found.append(Fault(len(found), kind.name, start, end, _amount(kind.name, draw)))
    found.sort(key=lambda fault: fault.from_s)
    return Plan(seed, begin_s, days, tuple(found))


def _amount(kind: str, draw: random.Random) -> float:
    if kind != "clock step":
        return 0.0
    size = math.exp(draw.uniform(math.log(0.5), math.log(400 * DAY_S)))
    return round(size * draw.choice((-1, 1)), 3)
