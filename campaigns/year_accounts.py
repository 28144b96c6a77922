"""The accountant of the year: was every event decided once, delivered, and every moment accounted for?

    .venv/bin/python -m campaigns.year_accounts FOLDER

Shares no code with the product: reads what was planned, what the sources really gave, the device's log, what
came to the receivers, and what the product said of each day.
"""

from __future__ import annotations

import bisect
import json
import statistics
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from campaigns.year_plan import CLEAR_S, CUE_S, DAY_S, LABELS, STREAMS, SYNC_S, Plan, read_plan

NS = 1_000_000_000
TOLERANCE_NS = NS // 1_000
"""Of decided and gap against what has passed, for each day of each stream."""
END_NS = 2 * NS
"""The same for each kill and power cut on that day, and the very end: a frame or block is a second long."""
IN_FLIGHT = {"mqtt": 20, "webhook": 1}
"""So many records may come again after a new connection (docs/delivery.md)."""
BETTER_S = DAY_S
"""A bundle that is no good must be gone after so long."""
GROWTH = 1.05
Record = dict[str, Any]
Stretch = tuple[int, int]


@dataclass(slots=True)
class Account:
    """What was counted, and what is wrong."""

    counts: dict[str, Any] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)

    def blame(self, found: Iterable[str]) -> None:
        """Note what is wrong."""
        self.wrong.extend(found)


class Books:
    """Everything that was written down about one part of the year."""

    def __init__(self, folder: Path) -> None:
        """Read it all."""
        self.plan: Plan = read_plan(folder / "plan.json")
        self.lives: list[dict[str, Any]] = json.loads((folder / "lives.json").read_text())
        truth = list(_lines(folder / "truth.jsonl"))
        self.spans: dict[str, list[Stretch]] = {stream: [] for stream in STREAMS}
        for line in truth:
            if "stream" in line:
                self.spans[line["stream"]].append((line["from_ns"], line["to_ns"]))
        self.sizes = [line for line in truth if "resident" in line]
        logs = sorted((folder / "log").glob("events.jsonl*"), key=_age, reverse=True)
        self.log: list[Record] = [record for path in logs for record in _lines(path)]
        self.arrived = {name: list(_lines(folder / f"{name}.jsonl")) for name in IN_FLIGHT}
        self.days = {
            int(path.stem): json.loads(path.read_text()) for path in (folder / "days").glob("*.json")
        }
        self._place()
        unlogged = list(self._unlogged())
        placed = [record for record in self.log if "begin_ns" in record] + unlogged
        self.unlogged = {identity(record): _at(record) for record in unlogged}
        self._place_the_device(placed)
        self.events = [record for record in placed if record["kind"] == "event"]
        self.gaps = [record for record in placed if record["kind"] == "gap"]

    def _place(self) -> None:
        """Give every record of a stream its true time, ``at_ns``: that of its life and its stream time."""
        life = dict.fromkeys(STREAMS, -1)
        self.of_life: dict[str, list[list[Record]]] = {stream: [] for stream in STREAMS}
        for record in self.log:
            stream = record["stream"]
            if stream not in life:
                continue
            if record.get("state") == "started" and record["subject"] == "stream" and record["ns"] == 0:
                life[stream] += 1
                self.of_life[stream].append([])
            record["begin_ns"] = self.lives[life[stream]]["from_ns"]
            self.of_life[stream][-1].append(record)

    def _unlogged(self) -> Iterator[Record]:
        """Yield what streams said and the log does not have (a full disk takes none), each in its place."""
        logged = {identity(record): record for record in self.log}
        begin_ns: dict[tuple[str, str], int] = {}
        others: dict[str, tuple[str, Record]] = {}
        for lines in self.arrived.values():
            for line in lines:
                run, record = line["key"].partition(":")[0], line["record"]
                if (found := logged.get(identity(record))) is None:
                    others[identity(record)] = (run, record)
                elif "begin_ns" in found:
                    begin_ns[run, record["stream"]] = found["begin_ns"]
        for run, record in others.values():
            if record["stream"] in STREAMS:
                yield record | {"begin_ns": begin_ns[run, record["stream"]]}

    def _place_the_device(self, placed: list[Record]) -> None:
        """Give what the device itself said, which has no stream time, that of the record before it."""
        at_ns = {identity(record): _at(record) for record in placed}
        for lines in self.arrived.values():
            last: dict[str, int | None] = {}
            for line in sorted(lines, key=lambda line: int(line["key"].rpartition(":")[2])):
                run, one = line["key"].rpartition(":")[0], identity(line["record"])
                if one in at_ns:
                    last[run] = at_ns[one]
                else:
                    self.unlogged.setdefault(one, last.get(run))


def account(folder: Path) -> Account:
    """Return the account of one part."""
    books, found = Books(folder), Account()
    _count_events(books, found)
    for name in IN_FLIGHT:
        _count_deliveries(books, name, found)
    _count_time(books, found)
    _count_coverage(books, found)
    _count_bundles(books, found)
    _count_sizes(books, found)
    found.counts["faults"] = dict(Counter(fault.kind for fault in books.plan.faults).most_common())
    found.counts["lives"] = len(books.lives)
    found.counts["bytes taken by power cuts"] = sum(life.get("taken", 0) for life in books.lives)
    return found


# events


def _count_events(books: Books, found: Account) -> None:
    counts: Counter[str] = Counter()
    for stream in STREAMS:
        cues = [second * NS for second in books.plan.cues(stream)]
        clear = _within(books.spans[stream], cues, CLEAR_S * NS)
        deaf = list(_deaf(books, stream))
        answers: Counter[int] = Counter()
        for record in books.events:
            if record["stream"] != stream:
                continue
            at_ns = record["begin_ns"] + record["end_ns"]
            cue = cues[max(0, bisect.bisect_right(cues, at_ns) - 1)]
            if not cue <= at_ns <= cue + (CUE_S + 2) * NS or record["label"] != LABELS[stream]:
                found.wrong.append(
                    f"{stream}: event {record['seq']} at {at_ns / NS:.3f} s was caused by nothing"
                )
            else:
                answers[cue] += 1
        counts["cues"] += len(cues)
        for cue in cues:
            if cue not in clear or any(low - CUE_S * NS <= cue <= high for low, high in deaf):
                counts["disturbed"] += 1
            elif answers[cue] == 1:
                counts["decided once"] += 1
            else:
                found.wrong.append(f"{stream}: the cue at {cue / NS:.0f} s was decided {answers[cue]} times")
    found.counts["events"] = dict(counts)


def _within(spans: list[Stretch], cues: list[int], margin_ns: int) -> set[int]:
    """Return the cues that a source gave without a hole, with a margin on both sides."""
    clear, at = set(), 0
    for cue in cues:
        while at < len(spans) and spans[at][1] < cue + CUE_S * NS + margin_ns:
            at += 1
        if at < len(spans) and spans[at][0] <= cue - margin_ns:
            clear.add(cue)
    return clear


def _deaf(books: Books, stream: str) -> Iterator[Stretch]:
    """Yield when a bundle decided that gives the same answer to everything."""
    bad = {version for version, fault in _releases(books.plan) if fault.kind == "bad bundle"}
    since: int | None = None
    for life, records in zip(books.lives, books.of_life[stream], strict=True):
        for record in records:
            if record["kind"] != "state" or record["state"] not in ("started", "reloaded"):
                continue
            is_bad = record["detail"].get("version") in bad
            at_ns = record["begin_ns"] + record["ns"]
            if is_bad and since is None:
                since = at_ns
            elif not is_bad and since is not None:
                yield since, at_ns
                since = None
        if since is not None:
            yield since, life["to_ns"]
            since = life["to_ns"]


def _releases(plan: Plan) -> list[tuple[str, Any]]:
    faults = plan.of("good bundle", "bad bundle")
    return [(f"{2 + number}.0.0", fault) for number, fault in enumerate(faults)]


# deliveries


def _count_deliveries(books: Books, name: str, found: Account) -> None:
    keys: dict[str, list[str]] = defaultdict(list)
    repeated = told = damaged = 0
    for line in books.arrived[name]:
        record = line["record"]
        repeated += line["times"] - 1
        if record["kind"] == "state" and record["subject"] == "spool":
            if record["detail"]["cause"] == "damaged":
                damaged += record["detail"]["lost"]
            else:
                told += record["detail"]["lost"]
            continue
        keys[identity(record)].append(line["key"])
    doubled = [identity for identity, several in keys.items() if len(set(several)) > 1]
    expected = {identity(record): record for record in books.log}
    missing = [record for identity, record in expected.items() if identity not in keys]
    cut = [record for record in missing if _may_be_cut(books, record)]
    lost = len(missing) - len(cut)
    log_lost = sum(record["detail"]["lost"] for record in books.log if record.get("subject") == "log")
    unlogged = [one for one in keys if one not in expected]
    silenced = list(_silenced(books))
    untold = [one for one in unlogged if _lies_in(books.unlogged.get(one), silenced)]
    allowed = IN_FLIGHT[name] * (len(books.lives) + len(_outages(books.plan, name)))
    found.counts[name] = {
        "records": len(expected),
        "arrived": len(keys),
        "repeated": repeated,
        "may be repeated": allowed,
        "taken by power cuts": len(cut),
        "told as lost": told,
        "told as damaged": damaged,
        "not in the log": len(unlogged),
        "told as not in the log": log_lost,
        "not told, for a kill came first": len(untold),
    }
    found.blame(f"{name}: never came: {_shown(record)}" for record in missing if record not in cut)
    found.blame(f"{name}: came under {len(set(keys[one]))} keys: {one}" for one in doubled)
    if repeated > allowed:
        found.wrong.append(f"{name}: {repeated} repetitions, {allowed} are explained")
    # a power cut that takes the cursor back makes records that had arrived count as damaged too
    if damaged and not any(life["ends"] == "power cut" for life in books.lives):
        found.wrong.append(f"{name}: {damaged} told as damaged without a power cut")
    if told > lost + len(cut):
        found.wrong.append(f"{name}: {told} told as lost, {lost + len(cut)} are missing")
    if len(unlogged) - len(untold) > log_lost:
        found.wrong.append(f"{name}: {len(unlogged)} came that the log does not have, it told of {log_lost}")


def _outages(plan: Plan, name: str) -> list[Any]:
    return (
        plan.of("broker away", "broker hangs") if name == "mqtt" else plan.of("server away", "server fails")
    )


def identity(record: Record) -> str:
    """Return what makes a record the same one, wherever it arrived."""
    added = ("key", "wall_corrected_ns", "begin_ns")
    return json.dumps({name: value for name, value in record.items() if name not in added}, sort_keys=True)


def _silenced(books: Books) -> Iterator[Stretch]:
    """Yield when the log lost what it could not tell: a full disk, then nothing to write until a kill.

    How many lines are lost is told a second of the real clock later, which is many minutes here, and known to
    the process alone until then.
    """
    written = sorted(at_ns for record in books.log if (at_ns := _at(record)) is not None)
    for fault in books.plan.of("disk full"):
        from_ns, to_ns = round(fault.from_s * NS), round(fault.to_s * NS)
        life = next(life for life in books.lives if life["from_ns"] <= to_ns <= life["to_ns"])
        at = bisect.bisect_left(written, to_ns)
        silent = at == len(written) or written[at] > life["to_ns"]
        if life["ends"] in ("kill", "power cut") and silent:
            yield from_ns, life["to_ns"]


def _lies_in(at_ns: int | None, stretches: list[Stretch]) -> bool:
    return at_ns is not None and any(low <= at_ns <= high for low, high in stretches)


def _may_be_cut(books: Books, record: Record) -> bool:
    """Tell whether a power cut may have taken it: it was made within the last ``sync_s``."""
    if record.get("subject") == "log":
        return True  # the log's own
    at_ns = _at(record)
    cuts = [life["to_ns"] for life in books.lives if life["ends"] == "power cut"]
    return at_ns is not None and any(cut - SYNC_S * NS <= at_ns <= cut for cut in cuts)


def _at(record: Record) -> int | None:
    if "begin_ns" not in record:
        return None
    stream_ns: int = record.get("end_ns", record.get("to_ns", record.get("ns", 0)))
    begin_ns: int = record["begin_ns"]
    return begin_ns + stream_ns


# time


def _count_time(books: Books, found: Account) -> None:
    worst = 0
    for stream in STREAMS:
        gaps = [
            (record["begin_ns"] + record["from_ns"], record["begin_ns"] + record["to_ns"])
            for record in books.gaps
            if record["stream"] == stream
        ]
        absent = _holes(books.spans[stream], books.lives[0]["from_ns"], books.lives[-1]["to_ns"])
        for day in range(books.plan.days):
            said, true = _of_day(gaps, day), _of_day(absent, day)
            if not _ends(books, day):
                worst = max(worst, abs(said - true))
            if abs(said - true) > TOLERANCE_NS + END_NS * _ends(books, day):
                found.wrong.append(
                    f"{stream}: day {day}: {said / NS:.4f} s told as gaps, {true / NS:.4f} s were missing"
                )
        found.blame(
            f"{stream}: two gaps overlap at {second[0] / NS:.3f} s"
            for first, second in zip(sorted(gaps), sorted(gaps)[1:], strict=False)
            if second[0] < first[1] - END_NS
        )
    found.counts["largest difference of a day without an end, ms"] = round(worst / 1e6, 3)


def _ends(books: Books, day: int) -> int:
    """Count the ends on a day of which neither that process nor a later one could say everything."""
    low, high = day * DAY_S * NS, (day + 1) * DAY_S * NS
    return sum(low <= life["to_ns"] <= high for life in books.lives if life["ends"] != "restart")


def _holes(spans: list[Stretch], from_ns: int, to_ns: int) -> list[Stretch]:
    holes, at_ns = [], from_ns
    for low, high in sorted(spans):
        if low > at_ns:
            holes.append((at_ns, low))
        at_ns = max(at_ns, high)
    return holes + ([(at_ns, to_ns)] if to_ns > at_ns else [])


def _of_day(stretches: Iterable[Stretch], day: int) -> int:
    low, high = day * DAY_S * NS, (day + 1) * DAY_S * NS
    return sum(max(0, min(to_ns, high) - max(from_ns, low)) for from_ns, to_ns in stretches)


# what the product says of days


def _count_coverage(books: Books, found: Account) -> None:
    import datetime

    begin = datetime.datetime.fromtimestamp(books.plan.begin_s, datetime.UTC).date()
    steps = [(fault.from_s, fault.to_s) for fault in books.plan.of("clock step")]
    right = judged = 0
    worst = 0.0
    for day in range(books.plan.days - 1):
        low, high = day * DAY_S, (day + 1) * DAY_S + 3_600
        if day + 1 not in books.days or any(start < high and end > low - 3_600 for start, end in steps):
            continue
        date = (begin + datetime.timedelta(days=day)).isoformat()
        kept_ns = ((day + 1) * DAY_S + 1_800) * NS
        for stream in STREAMS:
            if not _lies_in(kept_ns, books.spans[stream]):
                continue  # the source was away when it was asked: that gap is not over
            judged += 1
            said = books.days[day + 1].get(stream, {}).get(date, {})
            # what was not dated when a process ended is set aside, and said
            parts = [said, *(part for why, part in said.get("aside", {}).items() if why == "unsynced")]
            watched = sum(part.get("watched_ns", 0) for part in parts)
            passed = watched + sum(sum(part.get("gap_ns", {}).values()) for part in parts)
            true = DAY_S * NS - _of_day(_holes(books.spans[stream], 0, books.lives[-1]["to_ns"]), day)
            off = max(abs(passed - DAY_S * NS), abs(watched - true))
            worst = max(worst, off / 1e6)
            # a moment on either side of midnight is the item's that goes over it
            if off <= TOLERANCE_NS + NS + END_NS * _ends(books, day):
                right += 1
            else:
                found.wrong.append(
                    f"{stream}: {date}: said are {watched / NS:.3f} s watched of {passed / NS:.3f} s, "
                    f"true are {true / NS:.3f} s of {DAY_S} s"
                )
    found.counts["coverage"] = {
        "days judged": judged,
        "right": right,
        "largest difference, ms": round(worst, 3),
    }


# bundles, memory, files


def _count_bundles(books: Books, found: Account) -> None:
    releases = dict(_releases(books.plan))
    outcome: dict[str, str] = {}
    for record in books.log:
        if record["kind"] == "state" and record["subject"] == "bundle" and not record["stream"]:
            version = record["detail"].get("version", "")
            if version in releases and record["state"] in ("committed", "rolled_back"):
                outcome[version] = record["state"]
    counts: Counter[str] = Counter()
    for version, fault in releases.items():
        late = fault.from_s > books.plan.end_s - 2 * BETTER_S
        ended = outcome.get(version, "open")
        counts[f"{fault.kind}: {ended}"] += 1
        if fault.kind == "bad bundle" and ended == "committed":
            found.wrong.append(f"bundle {version} is no good and was committed")
        if ended == "open" and not late:
            counts["superseded"] += 1
    found.counts["bundles"] = dict(counts)


def _count_sizes(books: Books, found: Account) -> None:
    sizes = [line["resident"] for line in books.sizes]
    files = [line["files"] for line in books.sizes]
    quarter = max(1, len(sizes) // 4)
    first, last = statistics.median(sizes[:quarter]), statistics.median(sizes[-quarter:])
    found.counts["memory, MB"] = {
        "first quarter": round(first / 1e6, 1),
        "last quarter": round(last / 1e6, 1),
    }
    found.counts["files"] = {"first": files[0], "most": max(files), "last": files[-1]}
    if len(sizes) >= 8 and last > GROWTH * first:
        found.wrong.append(f"memory grew from {first / 1e6:.1f} to {last / 1e6:.1f} MB")


def _shown(record: Record) -> str:
    return json.dumps(record)[:200]


def _age(path: Path) -> int:
    return 0 if path.suffix == ".jsonl" else int(path.suffix[1:])


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    with path.open() as file:
        for line in file:
            yield json.loads(line)


def main() -> int:
    found = account(Path(sys.argv[1]))
    print(json.dumps(found.counts, indent=1))
    print("\n".join(found.wrong[:40]) or "nothing is wrong")
    print(f"{len(found.wrong)} wrong")
    return bool(found.wrong)


if __name__ == "__main__":
    sys.exit(main())
