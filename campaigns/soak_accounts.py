"""What soak.py counts in the end: cues and decisions, decisions and deliveries, absences and gaps."""

from __future__ import annotations

import time

from campaigns import service_rig as rig
from campaigns.soak_world import LABELS, LATEST_S, YEAR_S, Cue, World


class Accounts:
    """The books of one run; made when the service has ended."""

    def __init__(self, world: World) -> None:
        self._world = world
        records, self.broken_lines = rig.log_records(world.log)
        self._records = records
        self.odd: list[tuple[Cue, int]] = []
        """Undisturbed cues that were not decided exactly once, and how often they were."""
        self._hook = rig.Inbox()
        for request in world.webhook.accepted():
            self._hook.take(request.body, request.key)
        self._mqtt = world.listener.inbox
        decided = [record for record in records if record["kind"] == "event"]
        decided += self._mqtt.events() + self._hook.events()  # a full disk takes no log
        self.decided = {rig.identity(record): record for record in decided}

    def cues(self) -> dict[str, int]:
        """Return how many cues were given, and how those that no fault touched were decided."""
        times: dict[str, list[float]] = {source: [] for source in LABELS}
        for record in self.decided.values():
            if record["label"] == LABELS[record["stream"]]:
                times[record["stream"]].append(self._moment_s(record))
        undisturbed = [cue for cue in self._world.cues if not cue.disturbed]
        answers = [self._answers(cue, times[cue.source]) for cue in undisturbed]
        self.odd = [(cue, count) for cue, count in zip(undisturbed, answers, strict=True) if count != 1]
        return {
            "given": len(self._world.cues),
            "undisturbed": len(undisturbed),
            "decided": answers.count(1),
            "missed": answers.count(0),
            "repeated": sum(count > 1 for count in answers),
        }

    def _answers(self, cue: Cue, times: list[float]) -> int:
        """Return how many events came after this cue and before the next one."""
        later = [other.on for other in self._world.cues if other.source == cue.source and other.on > cue.on]
        end = min([cue.off + LATEST_S, *later])
        return sum(cue.on <= moment < end for moment in times)

    def deliveries(self) -> dict[str, dict[str, int]]:
        """Return what each receiver got of what was decided."""
        found = {}
        for name, inbox in (("mqtt", self._mqtt), ("webhook", self._hook)):
            arrived = {rig.identity(record) for record in inbox.events()}
            found[name] = {
                "expected": len(self.decided),
                "delivered": len(arrived),
                "duplicated": inbox.duplicates(),
                "lost": len(self.decided.keys() - arrived),
                # the webhook gets events only, so its numbers have holes
                "numbers_missing": len(inbox.missing_numbers()) if name == "mqtt" else 0,
                "told_lost": inbox.told_lost(),
                "unreadable": inbox.unreadable,
            }
        return found

    def gaps(self, stream: str) -> list[tuple[float, float]]:
        """Return when the gaps of a stream were, on the monotonic clock."""
        found: list[tuple[float, float]] = []
        for records in self._lives(stream):
            # a record comes a little later than what it tells of: the quickest one shows where time began
            gaps = [record for record in records if record["kind"] == "gap"]
            late = [self._moment_s(record) - record["to_ns"] / rig.NS for record in gaps]
            for record in gaps:
                found.append((min(late) + record["from_ns"] / rig.NS, min(late) + record["to_ns"] / rig.NS))
        return found

    def _lives(self, stream: str) -> list[list[rig.Record]]:
        """Return the records of a stream, those of each process by themselves."""
        lives: list[list[rig.Record]] = [[]]
        for record in self._records:
            if record.get("stream") == stream:
                if record["kind"] == "state" and (record["subject"], record["state"]) == (
                    "stream",
                    "started",
                ):
                    lives.append([])
                lives[-1].append(record)
        return [life for life in lives if life]

    def _moment_s(self, record: rig.Record) -> float:
        """Return the monotonic time of a record's wall time, which was set by whole years."""
        ago_s = time.time() - record["wall_ns"] / rig.NS
        return time.monotonic() - (ago_s - YEAR_S * round(ago_s / YEAR_S))


def unaccounted_s(gaps: list[tuple[float, float]], from_s: float, to_s: float) -> float:
    """Return how much of an absence lies in no gap."""
    covered = sum(max(0.0, min(to_s, end) - max(from_s, start)) for start, end in gaps)
    return to_s - from_s - covered
