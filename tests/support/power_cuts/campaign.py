"""Plays the cuts of a scenario and collects what breaks."""

from __future__ import annotations

import itertools
import random
import re
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from galago_edge.store import Store
from galago_edge.store.state import State
from galago_edge.store.store import COPY_NAMES
from power_cuts.model import Cut, Disk, PowerCuts
from power_cuts.promises import ROOT, Examiner, record_of, written
from power_cuts.recorder import KilledError, QuickFs, Recorder, Recording, Site, Tree
from power_cuts.scenarios import Scenario, World, recover, steady

_ACTIVE = "V1 tiny's active bundle:"
"""What must be healed once the operation has answered, if it was wrong before."""
_RANDOM = re.compile(r"-([0-9a-f]{16})(?=/|$|\s)")


@dataclass(frozen=True, slots=True)
class Violation:
    """A cut after which a promise is broken."""

    scenario: str
    after: int
    """How many effects had happened."""
    last: str
    """The last of them."""
    text: str
    disk: tuple[str, ...]
    """What lay on the disk."""

    def __str__(self) -> str:
        return f"{self.scenario}: cut after effect {self.after} ({self.last}): {self.text}"


@dataclass(slots=True)
class Outcome:
    """How a scenario ended."""

    scenario: str
    effects: int = 0
    states: int = 0
    """Cuts and what they left: the same disk counts for each moment that may leave it."""
    disks: int = 0
    """Different disks, each looked at with the device's code."""
    killed: int = 0
    """States among them with a process that was killed before."""
    nested: int = 0
    """States among them that are cuts within the recovery from a cut."""
    violations: list[Violation] = field(default_factory=list)

    @property
    def broken(self) -> Counter[str]:
        """How often each promise was broken."""
        return Counter(violation.text[:2] for violation in self.violations)


class Campaign:
    """Everything that is done with one scenario, in the folder ``work``, which must be fast."""

    def __init__(self, scenario: Scenario, work: Path, cuts: PowerCuts | None = None) -> None:
        self.scenario = scenario
        self.cuts = cuts or PowerCuts()
        self._work = work
        self._world = World(work / "bundles")
        self._examiner = Examiner(self._world, scenario, work / "disks")
        self._numbers = itertools.count()
        self._before = self._prepared()
        sight = self._examiner.look(self._before)  # the first look says which files are usual
        self._known = {_what(text) for text in sight.problems}
        self._kills: dict[int, Recording] = {}
        self._own: set[str] = set()
        """What is wrong with the store as it is: no proof that a mutant was noticed."""

    def run(
        self, *, kills: int = 0, nested: int = 0, cycles: int = 0, step: int = 1, seed: int = 0
    ) -> Outcome:
        """Cut the power at every moment of the operation.

        ``kills``: the process is killed after every effect, a second one does it all again, and then the
        power is cut; so many combinations of fates are played for each moment of that.
        ``nested``: how many combinations of fates to play for each moment of a recovery from a cut; for
        each moment of the operation, the recoveries from its fullest and from its barest disk are cut.
        ``step``: only each so many-th of these kills and moments is played.
        ``cycles``: how many chains of ten cuts, each in the recovery from the one before.
        """
        outcome = Outcome(self.scenario.name)
        recording = self._whole
        outcome.effects = len(recording.effects)
        decided = _decided(recording)
        starts: dict[int, list[Disk]] = {}
        for cut in self.cuts.cuts(recording):
            outcome.states += 1
            outcome.violations += self._broken(recording, decided, cut)
            starts.setdefault(cut.after, [cut.disk, cut.disk])[1] = cut.disk
        if kills:
            self._kill(outcome, kills, step)
        if nested:
            self._nest(outcome, itertools.chain(*list(starts.values())[::step]), nested)
        for number in range(cycles):
            self._chain(outcome, random.Random(f"{seed} {number}"))
        self._own |= {_what(violation.text) for violation in outcome.violations}
        outcome.disks = self._examiner.looked_at
        return outcome

    def record(
        self,
        disk: Disk,
        *,
        start: bool = False,
        without: Site | None = None,
        kill_after: int | None = None,
    ) -> Recording:
        """Do the operation for real on this disk; return what it did.

        ``start``: the device starts before. ``kill_after``: the process is killed after so many effects,
        and a second one does all of it again.

        Raises:
            GalagoError: The store could not.
            AssertionError: It answered, but the record does not say so.
        """
        top = self._work / f"run-{next(self._numbers)}"
        try:
            root = written(disk, top)
            recorder = Recorder(top, without, kill_after)
            with steady(
                taken=1 + max((int(found, 16) for found in _RANDOM.findall(" ".join(disk))), default=0)
            ):
                try:
                    self._operate(Store(root, recorder), start=start)
                except KilledError:
                    recorder.revive()
                    self._operate(Store(root, recorder), start=start)
            return recorder.recording()
        finally:
            shutil.rmtree(top)

    def _operate(self, store: Store, *, start: bool) -> None:
        if start:
            recover(self._world, store)
        self.scenario.run(self._world, store)
        assert self.scenario.reached(self._world, store), "it answered, but nothing has changed"

    def first_violation(self, without: Site, *, kills: int = 0) -> Violation | None:
        """Return how a store without this sync or rename is caught, None when it is not.

        ``kills``: as for :meth:`run`; without them only the operation itself is cut.
        """
        try:
            mutants = self._without(without, kills)
        except Exception as error:  # noqa: BLE001  that it stops is what is looked for
            return Violation(self.scenario.name, 0, "", f"it fails with {type(error).__name__}", ())
        cuts = PowerCuts(kills, self.cuts.torn, self.cuts.seed) if kills else self.cuts
        for mutant in mutants:
            decided = _decided(mutant)
            for after in range(len(mutant.effects), -1, -1):  # most of what a sync is for shows late
                for disk in cuts.disks(mutant, after):
                    for violation in self._broken(mutant, decided, Cut(after, disk)):
                        if _what(violation.text) not in self._own:
                            return violation
        return None

    def _without(self, site: Site, kills: int) -> list[Recording]:
        if site.call == "rename":
            return [self.record(self._before, without=site)]
        if not kills:
            return [self._whole.without(site)]
        return [self._killed(after).without(site) for after in self._kill_points()]

    @property
    def effects(self) -> int:
        """How many effects the operation has."""
        return len(self._whole.effects)

    def sites(self, *, killed: bool = False) -> set[Site]:
        """Return the syncs and renames that the operation comes by; ``killed``: killed and done again."""
        recordings = [self._killed(after) for after in self._kill_points()] if killed else [self._whole]
        effects = itertools.chain.from_iterable(recording.effects for recording in recordings)
        return {one.site for one in effects if one.site.call in ("fsync", "fsync_dir", "rename")}

    def _kill_points(self) -> range:
        return range(len(self._whole.effects) - 1, 0, -1)

    def _new_problems(self, disk: Disk) -> list[str]:
        """Return what is wrong on a disk and was not before the operation."""
        return [text for text in self._examiner.look(disk).problems if _what(text) not in self._known]

    def _prepared(self) -> Disk:
        top = self._work / "prepared"
        top.mkdir(parents=True)
        self.scenario.prepare(self._world, Store(top / ROOT, QuickFs()))
        tree = Tree.read(top)
        shutil.rmtree(top)
        return next(PowerCuts().disks(Recording(tree, ()), 0))

    def _broken(self, recording: Recording, decided: list[State], cut: Cut) -> Iterator[Violation]:
        sight = self._examiner.look(cut.disk)
        answered = cut.after == len(recording.effects)
        problems = self._new_problems(cut.disk)
        if sight.record not in decided[: cut.after + 1]:
            problems.append("V1 the record is none that the store had decided by then")
        if answered:
            problems += [text for text in sight.problems if text.startswith(_ACTIVE) and text not in problems]
            copies = {cut.disk.get(f"{ROOT}/{name}") for name in COPY_NAMES}
            if sight.record != decided[-1] or not sight.reached:
                problems.append("V2 the operation had answered, but its result is lost")
            elif len(copies) != 1:
                problems.append(
                    "V2 the operation had answered, but one copy of the record is not the new one"
                )
        for text in problems:
            last = str(recording.effects[cut.after - 1].site) if cut.after else "nothing yet"
            yield Violation(self.scenario.name, cut.after, last, text, tuple(cut.disk))

    @cached_property
    def _whole(self) -> Recording:
        """The operation without a kill."""
        return self.record(self._before)

    def _killed(self, after: int) -> Recording:
        """The operation killed after so many effects, and done again."""
        if after not in self._kills:
            self._kills[after] = self.record(self._before, kill_after=after)
        return self._kills[after]

    def _kill(self, outcome: Outcome, limit: int, step: int) -> None:
        cuts = PowerCuts(limit, self.cuts.torn, self.cuts.seed)
        for kill_after in self._kill_points()[::step]:
            recording = self._killed(kill_after)
            decided = _decided(recording)
            for cut in cuts.cuts(recording, first=kill_after):
                outcome.states += 1
                outcome.killed += 1
                outcome.violations += self._broken(recording, decided, cut)

    def _nest(self, outcome: Outcome, starts: Iterable[Disk], limit: int) -> None:
        cuts = PowerCuts(limit, self.cuts.torn, self.cuts.seed)
        begun = set()
        for disk in starts:
            key = frozenset(disk.items())
            if key in begun or self._new_problems(disk):
                continue
            begun.add(key)
            recording = self.record(disk, start=True)
            decided = _decided(recording)
            for cut in cuts.cuts(recording):
                outcome.states += 1
                outcome.nested += 1
                outcome.violations += self._broken(recording, decided, cut)

    def _chain(self, outcome: Outcome, chance: random.Random) -> None:
        disk = self._before
        for _ in range(10):
            if self._new_problems(disk):
                return
            recording = self.record(disk, start=True)
            decided = _decided(recording)
            after = chance.randrange(len(recording.effects) + 1)
            disk = chance.choice(list(PowerCuts(64, self.cuts.torn).disks(recording, after)))
            outcome.states += 1
            outcome.nested += 1
            outcome.violations += self._broken(recording, decided, Cut(after, disk))


def _what(problem: str) -> str:
    """Return which thing is wrong, without how."""
    return problem.partition(":")[0]


def _decided(recording: Recording) -> list[State]:
    """Return the record as the running system saw it after each effect."""
    return [
        record_of(next(PowerCuts(1).disks(recording, after))) for after in range(len(recording.effects) + 1)
    ]
