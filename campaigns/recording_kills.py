"""Kills a service again and again while it records, and looks for what it had written and is not read.

    .venv/bin/python -m campaigns.recording_kills [--kills 40] [--seed 0] [--keep DIR]

The service of recording_round_trip.py, with two cameras and a microphone, gets SIGKILL at a random moment
up to four seconds after its recordings have begun; before every third kill one source falls silent, so that
nothing comes any more that would end its chunk. A witness in its process
(recording_witness.py) notes every message before it waits for its chunk, and every chunk that the kernel has
taken. What is left are ``.part`` files. Bars; the exit code is 1 when one is missed:

  written      every message of every chunk that was written is read of the .part
  invented     nothing: what is read is what was handed over, in its order, bit by bit, without a hole
  lost         what was handed over within the last second before the kill, and nothing before
  told         check ends with 1, the replay with VIDEO_TRUNCATED or AUDIO_TRUNCATED
  recover      makes a recording that check accepts, with every message that was read; a replay of it says
               what the device said, as far as its records reach
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from click.testing import CliRunner

from campaigns import OUT, work_folder
from campaigns import service_rig as rig
from campaigns.recording_subjects import Message, messages_of, read
from campaigns.recording_witness import WitnessedFile, digest, read_journal
from campaigns.recording_world import SOURCES, RecordedWorld
from galago_edge.bundle import Bundle, open_bundle
from galago_edge.commands.cli import main as galago
from galago_edge.contract.errors import GalagoError
from galago_edge.editing.recorded_answers import compare_answers
from real_parts import MissingPartError, wait_for

PROMISED_S = 1.0
"""What a source gave so long ago is in its file: docs/recordings.md."""
_LONGEST_S = 4.0


@dataclass
class Account:
    """What became of the messages of one source."""

    files: int = 0
    handed: int = 0
    written: int = 0
    """In chunks that were taken for certain."""
    read: int = 0
    lost: int = 0
    tails_s: list[float] = field(default_factory=list)
    """Of each file: how long before the kill the oldest lost message was handed over; 0 where none was."""
    newest_s: list[float] = field(default_factory=list)
    """Of each file: how long before the kill the newest frame or block in it was taken."""
    recovered: int = 0
    compared: int = 0
    """Records of the device that a replay of the recovered files has said again."""
    wrong: list[str] = field(default_factory=list)

    def expect(self, holds: bool, otherwise: str) -> None:
        """Note what is wrong."""
        if not holds:
            self.wrong.append(otherwise)


def judge(
    account: Account, file: WitnessedFile, killed_ns: int, kind: str, bundle: Bundle, *, silent: bool = False
) -> None:
    """Look at one ``.part`` that a kill has left; ``silent``: its source gave nothing any more before."""
    account.files += 1
    messages = messages_of(file.path)
    found = [(topic, number, log_ns, digest(data)) for topic, number, log_ns, data in messages]
    account.handed += len(file.handed)
    account.written += file.written
    account.read += len(found)
    account.lost += len(file.handed) - len(found)
    name = file.path.name
    account.expect(
        found == file.handed[: len(found)], f"{name}: other messages are read than were handed over"
    )
    account.expect(
        len(found) >= file.written, f"{name}: {file.written - len(found)} written ones are not read"
    )
    rest_ns = file.handed_ns[len(found) :]
    tail_s = (killed_ns - rest_ns[0]) / rig.NS if rest_ns else 0.0
    account.tails_s.append(tail_s)
    account.expect(tail_s <= PROMISED_S, f"{name}: what came {tail_s:.2f} s before the kill is lost")
    taken_ns = [log_ns for topic, _, log_ns, _ in messages if topic.startswith(("/cam/", "/mic/"))]
    if taken_ns and not silent:
        account.newest_s.append((killed_ns - max(taken_ns)) / rig.NS)
    if any(topic.startswith(("/cam/", "/mic/", "/gaps/")) for topic, _, _, _ in messages):
        _judge_copy(account, file.path, messages, kind, bundle)


def _judge_copy(account: Account, part: Path, messages: list[Message], kind: str, bundle: Bundle) -> None:
    name, copy = part.name, part.with_name(f"recovered-{part.name.removesuffix('.part')}")
    checked = _recording("check", part)
    account.expect(checked == 1, f"{name}: check ends with {checked}")
    recovered = _recording("recover", part, copy)
    if recovered != 1 or not copy.exists():
        account.wrong.append(f"{name}: recover ends with {recovered}, a copy is there: {copy.exists()}")
        return
    checked = _recording("check", copy)
    account.expect(checked == 0, f"{name}: check ends with {checked} for its copy")
    due = [(topic, log_ns, data) for topic, _, log_ns, data in messages]
    held = [(topic, log_ns, data) for topic, _, log_ns, data in messages_of(copy)]
    account.expect(held[: len(due)] == due, f"{name}: the copy does not hold what was read")
    account.expect(
        all(b'"truncated"' in data for _, _, data in held[len(due) :]),
        f"{name}: the copy holds more than that",
    )
    end = "AUDIO_TRUNCATED" if kind == "sound" else "VIDEO_TRUNCATED"
    try:
        given = read(part, kind, None)
        account.expect(given.error == end, f"{name}: its replay ends with {given.error or 'nothing'}")
        answers = compare_answers(copy, bundle)
    except GalagoError as error:
        account.wrong.append(f"{name}: it cannot be replayed: {error}")
        return
    told = answers.difference is None or not answers.difference[0]  # the device's last records may be lost
    account.expect(told, f"{name}: a replay says something else than the device: {answers.difference}")
    account.compared += answers.compared
    account.recovered += 1


def _recording(command: str, *paths: Path) -> int:
    return CliRunner().invoke(galago, ["recording", command, *map(str, paths)]).exit_code


def loop(folder: Path, kills: int, seed: int, stack: ExitStack) -> dict[str, Any]:
    """Kill the service so often and return the figures.

    Raises:
        MissingPartError: A part is not installed.
    """
    rng = random.Random(seed)
    journal = folder / "journal"
    prefix = (sys.executable, "-m", "campaigns.recording_witness", str(journal))
    world = RecordedWorld(folder, stack, prefix)
    bundles = {source: open_bundle(path) for source, path in world.bundles.items()}
    accounts = {source: Account() for source in SOURCES}
    silences = world.outages()[3:]
    for number in range(kills):
        journal.unlink(missing_ok=True)
        world.service.start()
        wait_for(lambda: _all_recorded(journal), "every source is recorded")
        silent = silences[number // 3 % len(silences)] if number % 3 == 2 else None
        world.play(rng.uniform(0.0, _LONGEST_S))
        if silent is not None:
            silent.begin()
            world.play(rng.uniform(0.5, 1.9))
        killed_ns = time.monotonic_ns()
        world.service.kill()
        if silent is not None:
            silent.end()
        for file in read_journal(journal):
            source = next(name for name in SOURCES if file.path.name.endswith(f"-{name}.mcap.part"))
            kind = {"yard": "jpeg", "gate": "h264", "hall": "sound"}[source]
            quiet = silent is not None and silent.source == source
            judge(accounts[source], file, killed_ns, kind, bundles[source], silent=quiet)
        print(f"\r{number + 1} kills", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    restarts = [
        record
        for record in rig.log_records(world.log)[0]
        if record["kind"] == "gap" and record["cause"] == "restart"
    ]
    return {
        "kills": kills,
        "seed": seed,
        "cores": os.cpu_count(),
        "restarts_told": len(restarts),
        "sources": {
            source: {
                "files": account.files,
                "handed": account.handed,
                "written": account.written,
                "read": account.read,
                "lost": account.lost,
                "longest_tail_s": max(account.tails_s, default=0.0),
                "median_tail_s": median(account.tails_s or [0.0]),
                "longest_newest_s": max(account.newest_s, default=0.0),
                "median_newest_s": median(account.newest_s or [0.0]),
                "recovered": account.recovered,
                "compared": account.compared,
                "wrong": account.wrong,
            }
            for source, account in accounts.items()
        },
    }


def _all_recorded(journal: Path) -> bool:
    """Tell whether pictures or sound of every source have come to its recording."""
    files = read_journal(journal) if journal.exists() else []
    return len(SOURCES) == sum(
        any(topic.startswith(("/cam/", "/mic/")) for topic, _, _, _ in file.handed) for file in files
    )


def report(figures: dict[str, Any]) -> list[str]:
    """Print the table and return what missed its bar."""
    rows = [
        [
            *("source", "files", "handed over", "written", "read", "lost", "lost tail s: median", "longest"),
            *("newest taken s before: median", "longest", "recovered", "records compared", "wrong"),
        ]
    ]
    for source, found in figures["sources"].items():
        counts = (str(found[key]) for key in ("files", "handed", "written", "read", "lost"))
        keys = ("median_tail_s", "longest_tail_s", "median_newest_s", "longest_newest_s")
        tails = (f"{found[key]:.2f}" for key in keys)
        ends = (str(found["recovered"]), str(found["compared"]), str(len(found["wrong"])))
        rows.append([source, *counts, *tails, *ends])
    print(f"{figures['kills']} kills; the log tells {figures['restarts_told']} gaps of restarts")
    print(rig.table(rows, right=range(1, 13)))
    wrong = [one for found in figures["sources"].values() for one in found["wrong"]]
    expected = figures["kills"]
    wrong += [
        f"{source}: {found['files']} recordings, expected {expected}"
        for source, found in figures["sources"].items()
        if found["files"] != expected
    ]
    print("bars: " + (f"MISSED: {'; '.join(wrong[:20])}" if wrong else "all met"))
    return wrong


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=40)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, help="leave everything in this folder")
    parser.add_argument("--out", type=Path, default=OUT / "recording_kills.json")
    options = parser.parse_args()
    with ExitStack() as stack:
        folder = work_folder(options.keep, "record-kills", stack)
        try:
            figures = loop(folder, options.kills, options.seed, stack)
        except MissingPartError as missing:
            print(f"Error: {missing}", file=sys.stderr)
            return 1
        missed = report(figures)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(figures | {"missed": missed}, indent=2) + "\n")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
