"""Records two cameras and a microphone with outages by the running service, and replays what it recorded.

    .venv/bin/python -m campaigns.recording_round_trip [--seconds 120] [--away 5] [--keep DIR]

Real parts: a camera that sends MJPEG over HTTP, an RTSP camera that sends H.264, a microphone of PulseAudio
through PortAudio. ``galago run`` records them (``[recording]``) and decides on them; each source is away
twice: it is switched off or unplugged, and it falls silent. Then each recording is replayed by ``galago
replay``, and what that says is compared with what the device wrote to its own log, by this program; ``galago
recording check --replay`` compares with what stands in the recording. Bars; the exit code is 1 when one is
missed:

  records      those of the log are those in the recording, but for wall times
  replay       every event, score and gap of the device, in its order, and no other
  check        ends with 0: whole, every checksum right, the replay equal
  outages      every source has two gaps at least, and nothing was lost by the recorder
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from campaigns import OUT, ROOT, work_folder
from campaigns import service_rig as rig
from campaigns.recording_subjects import messages_of
from campaigns.recording_world import SOURCES, RecordedWorld, stream_of
from real_parts import MissingPartError

KINDS = ("event", "scores", "gap")
_LIVE_ONLY = ("wall_ns", "clock_synced", "key", "wall_corrected_ns")
"""Fields that no replay has."""
_OUTAGES = ("disconnect", "stall")


def galago(*args: str | Path) -> subprocess.CompletedProcess[str]:
    """Run a command in a process of its own."""
    command = [sys.executable, "-m", "galago_edge", *map(str, args)]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT, timeout=600)


def record(world: RecordedWorld, seconds: float, away_s: float) -> dict[str, Any]:
    """Let the service record for so long, with its outages; return how it ended."""
    world.service.start()
    world.service.wait("every source gives something", lambda status: all(s.items for s in status.sources))
    outages = world.outages()
    between_s = max(1.0, (seconds - away_s * len(outages)) / (len(outages) + 1))
    world.play(between_s)
    never = []
    for outage in outages:
        print(f"  {outage.name}", file=sys.stderr, flush=True)
        if not world.suffer(outage, away_s):
            never.append(outage.name)
        world.play(between_s)
    status = world.service.status()
    lost = {} if status is None or status.recording is None else dict(status.recording.lost)
    return {"never_came_back": never, "lost": lost, "exit_code": world.service.stop()}


def compared(world: RecordedWorld, source: str, folder: Path) -> dict[str, Any]:
    """Replay the recording of a source and compare; return the figures."""
    stream = stream_of(source)
    paths = sorted(world.recordings.glob(f"*-{source}.mcap"))
    assert len(paths) == 1, f"{source} has {len(paths)} whole recordings, expected 1"
    (path,) = paths
    bundle = world.bundles[source]
    checked = galago("recording", "check", path, "--replay", "--bundle", bundle, "--json")
    said = json.loads(checked.stdout)
    out = folder / f"{source}.jsonl"
    replayed = galago(
        *(
            "replay",
            f"{path}?drops={stream}",
            "--bundle",
            bundle,
            "--stream",
            stream,
            "--scores",
            "--out",
            out,
        )
    )
    logged = [one for one in _records(world.log.read_bytes().splitlines()) if one["stream"] == stream]
    kept = _records(data for topic, _, _, data in messages_of(path) if topic == f"/out/{stream}")
    device, replay = _by_kind(logged), _by_kind(_records(out.read_bytes().splitlines()))
    causes = [record["cause"] for record in device["gap"]]
    found = said["sources"][source]
    return {
        "bytes": path.stat().st_size,
        "formats": found["formats"],
        "seconds": (found["to_ns"] - (found["from_ns"] or 0)) / rig.NS,
        "gaps": {cause: causes.count(cause) for cause in sorted(set(causes))},
        "gap_s": found["gap_ns"] / rig.NS,
        "drops": said["drops"].get(source, 0),
        "check": checked.returncode,
        "check_compared": said["replay"]["compared"],
        "check_faults": said["faults"],
        "first_difference": said["replay"]["first_difference"],
        "replay": replayed.returncode,
        "log_lines": len(logged),
        "log_differs": _different(logged, kept),
        "compared": {kind: len(device[kind]) for kind in KINDS},
        "different": {kind: _different(device[kind], replay[kind]) for kind in KINDS},
    }


def _records(lines: Iterable[bytes]) -> list[rig.Record]:
    """Return records without what no replay has."""
    return [
        {key: value for key, value in json.loads(line).items() if key not in _LIVE_ONLY} for line in lines
    ]


def _by_kind(records: list[rig.Record]) -> dict[str, list[rig.Record]]:
    """Return what must be the same in every replay."""
    return {kind: [record for record in records if record["kind"] == kind] for kind in KINDS}


def _different(device: list[rig.Record], replay: list[rig.Record]) -> int:
    """Return how many places differ, those that one of them has alone included."""
    unequal = sum(one != other for one, other in zip(device, replay, strict=False))
    return unequal + abs(len(device) - len(replay))


def misses(figures: dict[str, Any]) -> list[str]:
    """Return what missed its bar."""
    run = figures["run"]
    missed = [f"{name}: it never came back" for name in run["never_came_back"]]
    missed += [f"the recorder lost {count} ({why})" for why, count in run["lost"].items() if count]
    if run["exit_code"]:
        missed.append(f"the service ended with {run['exit_code']}")
    for source, found in figures["sources"].items():
        outages = sum(found["gaps"].get(cause, 0) for cause in _OUTAGES)
        for holds, what in (
            (found["log_differs"] == 0, f"{found['log_differs']} records of the log are others in it"),
            (not any(found["different"].values()), f"the replay differs: {found['different']}"),
            (all(found["compared"].values()), f"nothing to compare: {found['compared']}"),
            (found["check"] == 0, f"check ends with {found['check']}: {found['check_faults']}"),
            (found["replay"] == 0, f"replay ends with {found['replay']}"),
            (outages >= 2, f"{outages} gaps of outages, expected 2 at least"),
        ):
            if not holds:
                missed.append(f"{source}: {what}")
    return missed


def report(figures: dict[str, Any]) -> list[str]:
    """Print the table and return what missed its bar."""
    head = ["source", "recorded", "bytes", "seconds", "gaps", "gap s", "drops"]
    rows = [[*head, "events", "scores", "gaps equal", "records", "differences", "check"]]
    for source, found in figures["sources"].items():
        unit = "frames" if SOURCES[source] == "camera" else "samples"
        formats = ", ".join(f"{count} {unit} {name}" for name, count in found["formats"].items())
        differences = sum(found["different"].values()) + found["log_differs"]
        rows.append(
            [
                source, formats, str(found["bytes"]), f"{found['seconds']:.1f}",
                ", ".join(f"{count} {cause}" for cause, count in found["gaps"].items()),
                f"{found['gap_s']:.1f}", str(found["drops"]),
                *(str(found["compared"][kind]) for kind in KINDS), str(found["log_lines"]), str(differences),
                f"exit {found['check']}, {found['check_compared']} compared",
            ]
        )  # fmt: skip
    print(rig.table(rows, right=(2, 3, 5, 6, 7, 8, 9, 10, 11)))
    missed = misses(figures)
    print("bars: " + (f"MISSED: {'; '.join(missed)}" if missed else "all met"))
    return missed


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=120.0, help="of recording, outages included")
    parser.add_argument("--away", type=float, default=5.0, help="seconds that each outage takes")
    parser.add_argument("--keep", type=Path, help="leave everything in this folder")
    parser.add_argument("--out", type=Path, default=OUT / "recording_round_trip.json")
    options = parser.parse_args()
    with ExitStack() as stack:
        folder = work_folder(options.keep, "trip", stack)
        try:
            world = RecordedWorld(folder, stack)
        except MissingPartError as missing:
            print(f"Error: {missing}", file=sys.stderr)
            return 1
        figures: dict[str, Any] = {"run": record(world, options.seconds, options.away)}
        figures["sources"] = {source: compared(world, source, folder) for source in SOURCES}
        missed = report(figures)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(figures | {"missed": missed}, indent=2) + "\n")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
