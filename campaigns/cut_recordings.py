"""Cuts recordings off and flips their bytes, and looks whether anything is invented, or lost in silence.

    .venv/bin/python -m campaigns.cut_recordings [--cuts 1000] [--flips 1000] [--heads 1000] [--jobs 2]

Three small recordings of a device (JPEG, H.264, sound; recording_subjects.py), without the ``.sha256`` that
would notice everything. Each is cut behind every record, those within chunks too, and at so many random
places; so many random bytes are changed, and so many bits of the heads of records, which no checksum of a
chunk protects. Each mutant goes through ``galago recording info``, ``check`` and ``recover``, a replay (of
each tenth the model is asked, too) and the scan of a corpus; a sample goes through real processes, and
through ``galago replay`` of a corpus of them. Bars; the exit code is 1 when one is missed:

  traceback    none, and no other reason or exit code than docs/recordings.md says
  invented     nothing: every message, frame and sample that is read is one that was written, bit by bit, and
               the model says the same to it
  lost         only what is in the chunk that was hit, or behind the cut; told by info, check and recover, and
               by how the replay ends
  noticed      by check: every change. By info and replay: all but those that change nothing of what is read
  watched      never more than in the whole recording, and never more when it is cut earlier
  copy         recover's is accepted by check, and holds what was read
"""

from __future__ import annotations

import argparse
import itertools
import json
import multiprocessing
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from campaigns import OUT, ROOT
from campaigns import service_rig as rig
from campaigns.recording_mutants import DAMAGED, Judge, Mutant, Verdict, head_flips, mutants, shrinks
from campaigns.recording_subjects import KINDS, Subject, make_subject

_BATCH = 50


def judge_batch(subject: Subject, batch: Sequence[Mutant]) -> Verdict:
    """Judge some mutants of one recording; a process of its own may do so."""
    verdict = Verdict()
    judge = Judge(subject)
    try:
        for mutant in batch:
            verdict.add(judge.judge(mutant))
    finally:
        judge.close()
    return verdict


def judge_all(subject: Subject, chosen: Iterable[Mutant], jobs: int) -> Verdict:
    """Judge mutants in so many processes; with one in this."""
    verdict, todo = Verdict(), iter(chosen)
    batches = [(subject, batch) for batch in iter(lambda: list(itertools.islice(todo, _BATCH)), [])]
    if jobs == 1:
        for work in batches:
            verdict.add(judge_batch(*work))
    else:
        with multiprocessing.get_context("spawn").Pool(jobs) as pool:
            for found in pool.starmap(judge_batch, batches, chunksize=1):
                verdict.add(found)
    if not shrinks(verdict.valid):
        verdict.violations.append(f"{subject.kind}: cut earlier, it says that more was watched")
    return verdict


def by_command(subject: Subject, sample: Sequence[Mutant], folder: Path) -> tuple[int, list[str]]:
    """Give some mutants to real processes; return how many were started, and what was wrong."""
    corpus = folder / f"corpus-{subject.kind}"
    corpus.mkdir()
    wrong: list[str] = []
    calls = 0

    def called(what: str, codes: set[int], reasons: set[str], *args: str | Path) -> None:
        nonlocal calls
        calls += 1
        command = [sys.executable, "-m", "galago_edge", *map(str, args)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT, timeout=300)
        told = done.returncode == 0 or not done.stderr or any(reason in done.stderr for reason in reasons)
        if done.returncode not in codes or "Traceback" in done.stderr or not told:
            wrong.append(
                f"{what}: {' '.join(command[3:])} ended with {done.returncode}: {done.stderr[-300:]}"
            )

    reasons = {*DAMAGED[subject.kind], "RECORDING_UNREADABLE", "SOURCE_MISMATCH"}
    for number, mutant in enumerate(sample):
        path = corpus / f"{number}.mcap"
        path.write_bytes(mutant.applied(subject.data))
        what = f"{subject.kind}: {mutant}"
        for name, codes in (("info", {0, 1}), ("check", {1})):
            called(what, codes, reasons, "recording", name, path)
        called(what, {0, 1}, reasons, "recording", "recover", path, folder / f"{subject.kind}-{number}.mcap")
        called(what, {0, 1}, reasons, "replay", path, "--bundle", subject.bundle)
    results = folder / f"results-{subject.kind}"
    called(
        "the corpus",
        {0, 1},
        {*reasons, "DATA_BAD"},
        "replay",
        corpus,
        "--bundle",
        subject.bundle,
        "--out",
        results,
    )
    return calls, wrong


def run(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Do everything and return the figures."""
    figures: dict[str, Any] = {"seed": options.seed, "cores": os.cpu_count(), "kinds": {}}
    for kind in KINDS:
        begun = time.monotonic()
        subject = make_subject(kind, folder, options.steps)
        rng = random.Random(f"{options.seed}:{kind}")
        chosen = list(mutants(subject.data, options.cuts, options.flips, rng, options.every))
        heads = head_flips(subject.data, options.heads, rng)
        verdict = judge_all(subject, [*chosen, *heads], options.jobs)
        sample = rng.sample(chosen, min(options.commands, len(chosen)))
        calls, wrong = by_command(subject, sample, folder)
        print(f"  {kind}: {len(chosen) + len(heads)} mutants", file=sys.stderr, flush=True)
        figures["kinds"][kind] = {
            "bytes": len(subject.data),
            "messages": len(subject.messages),
            "mutants": len(chosen) + len(heads),
            "commands": calls,
            "outcomes": [
                {"how": how, "what": what, "count": count}
                for (how, what), count in sorted(verdict.counts.items())
            ],
            "unnoticed": dict(sorted(verdict.unnoticed.items())),
            "violations": verdict.violations + wrong,
            "seconds": round(time.monotonic() - begun, 1),
        }
    return figures


def report(figures: dict[str, Any]) -> list[str]:
    """Print the table and return the violations."""
    rows = [
        ["recording", "bytes", "messages", "change", "mutants", "nothing lost", "some lost", "nothing left"]
    ]
    for kind, found in figures["kinds"].items():
        counts = {(row["how"], row["what"]): row["count"] for row in found["outcomes"]}
        for how in ("cut", "flip"):
            lost = [counts.get((how, what), 0) for what in ("nothing lost", "some lost", "nothing left")]
            head = [kind, str(found["bytes"]), str(found["messages"])] if how == "cut" else ["", "", ""]
            rows.append([*head, how, str(sum(lost)), *map(str, lost)])
    print(rig.table(rows, right=(1, 2, 4, 5, 6, 7)))
    for kind, found in figures["kinds"].items():
        ends = ", ".join(
            f"{row['what'].removeprefix('replay: ')} {row['count']} ({row['how']})"
            for row in found["outcomes"]
            if row["what"].startswith("replay: ")
        )
        print(f"{kind}: replays end with {ends}")
        unseen = ", ".join(f"{count} in {where}" for where, count in found["unnoticed"].items()) or "none"
        print(f"{kind}: flips that check alone notices, nothing of what is read is different: {unseen}")
    violations = [one for found in figures["kinds"].values() for one in found["violations"]]
    commands = sum(found["commands"] for found in figures["kinds"].values())
    print(f"{commands} real processes; violations: {len(violations) or 'none'}")
    for one in violations[:20]:
        print(f"  {one}")
    return violations


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cuts", type=int, default=1_000, help="at random places, of each recording")
    parser.add_argument("--flips", type=int, default=1_000, help="of random bytes, of each recording")
    parser.add_argument("--heads", type=int, default=1_000, help="bits of the heads of records")
    parser.add_argument("--every", type=int, default=1, help="cut behind each so-manieth record only")
    parser.add_argument("--steps", type=int, default=40, help="frames, or blocks of 100 ms")
    parser.add_argument("--commands", type=int, default=6, help="mutants of each that go through processes")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--out", type=Path, default=OUT / "cut_recordings.json")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="galago-cut-") as folder:
        figures = run(Path(folder), options)
    violations = report(figures)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(figures, indent=2) + "\n")
    return 1 if violations else 0


if __name__ == "__main__":
    sys.exit(main())
