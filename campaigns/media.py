"""What replay says to recordings as the field brings them: whole, late, with holes, damaged, cut, misnamed.

    .venv/bin/python -m campaigns.media [--only NAME,NAME...] [--minutes 180] [--keep DIR]

Each file is made by ffmpeg, and damaged where its name says so; how many pictures or samples it holds and
when, ffprobe and ffmpeg say, or how it was made. ``galago replay`` decides it twice, in a process
each. Right is: every picture at its own time, every sound to its last window, a gap where something is
missing, exit code 1 where something is wrong, the same bytes twice, and the same logits as the whole file
wherever both were decided. Then replays of a long sound and a long video, whose memory must not grow.

Ends with exit code 1 when anything is wrong. The table goes to campaigns/out/media.json too.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from campaigns import DATA, OUT, ROOT
from campaigns.media_files import (
    Kit,
    MediaCase,
    cases,
    ffmpeg_samples,
    ffprobe_times,
    long_sound,
    long_video,
)
from galago_edge.contract.modality import Modality
from galago_edge.contract.streams import NS_PER_S
from test_kit import TINY_AUDIO, make_bundle

LABELS = {"camera": ("dark", "usual", "bright"), "microphone": ("quiet", "low", "high")}
MODELS = {"camera": "tiny_image.tflite", "microphone": "tiny_audio.tflite"}
TICK_S = 0.0011
"""Matroska and FLV count milliseconds."""
SAMPLES_OFF = 2
"""Converters of rates round the last sample up or down."""
_MEASURED = """
import atexit, runpy, sys
from pathlib import Path

def tell():
    lines = Path("/proc/self/status").read_text().splitlines()
    print(next(line for line in lines if line.startswith("VmHWM")), file=sys.stderr)

atexit.register(tell)
runpy.run_module("galago_edge", run_name="__main__", alter_sys=True)
"""
"""A command that tells the peak of its memory at its end; the system's figure for a child that was started
by a large process holds that one's memory too."""
MEMORY_MB = 24.0
"""So much more a replay of a long recording may hold than one of a minute."""


@dataclass(slots=True)
class Replayed:
    """What one ``galago replay`` said."""

    exit: int
    error: str
    data: bytes
    peak_mb: float
    records: list[dict[str, Any]] = field(default_factory=list)

    def of(self, kind: str) -> list[dict[str, Any]]:
        """Return the records of one kind."""
        return [record for record in self.records if record["kind"] == kind]

    def states(self) -> set[str]:
        """Return what was told of the source."""
        return {record["state"] for record in self.of("state") if record["subject"] == "source"}


def replayed(source: str, bundle: Path, out: Path) -> Replayed:
    """Run ``galago replay`` on ``source``."""
    command = [sys.executable, "-c", _MEASURED, "replay", source, "--bundle", str(bundle)]
    done = subprocess.run(
        [*command, "--scores", "--out", str(out)], capture_output=True, check=False, cwd=ROOT
    )
    said, _, peak_kib = done.stderr.decode("utf-8", "replace").rpartition("VmHWM:")
    data = out.read_bytes() if out.exists() else b""
    records = [json.loads(line) for line in data.splitlines()]
    return Replayed(done.returncode, said, data, float(peak_kib.split()[0]) / 1024, records)


def bundles(folder: Path) -> dict[Modality, Path]:
    """Make a bundle for each modality, with the tests' tiny models; each picture is a window."""
    made: dict[Modality, Path] = {}
    for modality in ("camera", "microphone"):
        model = (DATA / MODELS[modality]).read_bytes()
        made[modality] = make_bundle(
            folder / f"{modality}.galago", model, LABELS[modality], modality=modality, name=modality
        )
    return made


def windows_of(samples: int) -> int:
    """Return how many windows of the microphone's bundle fit into so many samples at its rate."""
    hop = TINY_AUDIO.hop_frames * TINY_AUDIO.frame_hop_samples
    return max(0, (samples - TINY_AUDIO.window_samples) // hop + 1)


def faults(case: MediaCase, path: Path, got: Replayed, again: Replayed, like: Replayed | None) -> list[str]:
    """Return everything that is not as it should be, in words."""
    wrong = []
    if "Traceback" in got.error:
        wrong.append("a traceback")
    if got.data != again.data or got.exit != again.exit:
        wrong.append("the second replay gave other bytes")
    if got.exit != case.exit:
        wrong.append(f"exit {got.exit}, expected {case.exit}: {got.error.strip()[-200:]}")
    if case.reason and case.reason not in got.error:
        wrong.append(f"no {case.reason} on standard error")
    if missing := set(case.states) - got.states():
        wrong.append(f"no state {', '.join(sorted(missing))}")
    check = _picture_faults if case.modality == "camera" else _sound_faults
    return [*wrong, *check(case, path, got), *_gap_faults(case, got), *_logit_faults(case, got, like)]


def _picture_faults(case: MediaCase, path: Path, got: Replayed) -> list[str]:
    scores = got.of("scores")
    probed = ffprobe_times(path) if case.frames is None else np.array([])
    expected = len(probed) if case.frames is None else case.frames
    low, high = (round(share * expected) for share in case.decided)
    if not low <= len(scores) <= high:
        return [f"{len(scores)} of {expected} pictures decided, expected {low} to {high}"]
    if case.decided != (1.0, 1.0) or not expected:
        return []
    due = probed if case.at_s is None else np.array([case.at_s(number) for number in range(expected)])
    at = np.array([record["start_ns"] / NS_PER_S for record in scores])
    off = np.abs(at - due)
    if off.max() > TICK_S:
        worst = int(off.argmax())
        return [f"picture {worst} at {at[worst]:.3f} s, expected {due[worst]:.3f} s"]
    return []


def _sound_faults(case: MediaCase, path: Path, got: Replayed) -> list[str]:
    samples = ffmpeg_samples(path) if case.samples is None else case.samples
    at_rate = samples * TINY_AUDIO.sample_rate_hz // case.rate_hz
    most, least = (
        windows_of(at_rate + SAMPLES_OFF),
        windows_of(at_rate - SAMPLES_OFF - case.fewer * TINY_AUDIO.sample_rate_hz // case.rate_hz),
    )
    found = len(got.of("scores"))
    if not least <= found <= most:
        return [f"{found} windows decided, expected {least} to {most} ({samples} samples)"]
    return []


def _gap_faults(case: MediaCase, got: Replayed) -> list[str]:
    gaps = [(gap["cause"], gap["from_ns"] / NS_PER_S, gap["to_ns"] / NS_PER_S) for gap in got.of("gap")]
    wrong = [f"no gap {cause}" for cause in case.some_gaps if cause not in {gap[0] for gap in gaps}]
    if any(to < begin for _, begin, to in gaps):
        wrong.append("a gap that ends before it begins")
    if case.some_gaps:
        return wrong
    if len(gaps) != len(case.gaps):
        return [*wrong, f"gaps {gaps}, expected {len(case.gaps)}"]
    for (cause, begin, end), due in zip(gaps, case.gaps, strict=True):
        near = abs(begin - due.from_s) <= due.tolerance_s and abs(end - due.to_s) <= due.tolerance_s
        if cause != due.cause or not near:
            wrong.append(
                f"gap {cause} {begin:.2f}-{end:.2f} s, expected {due.cause} {due.from_s}-{due.to_s} s"
            )
    return wrong


def _logit_faults(case: MediaCase, got: Replayed, like: Replayed | None) -> list[str]:
    """Compare the logits of windows that stand at one index in both."""
    if like is None or like is got:
        return []
    due = {record["start_index"]: record["logits"] for record in like.of("scores")}
    common = [record for record in got.of("scores") if record["start_index"] in due]
    other = [record["start_index"] for record in common if record["logits"] != due[record["start_index"]]]
    if len(other) > case.unnoticed * len(common):
        return [
            f"{len(other)} of {len(common)} windows have other logits than the whole file's, first {other[0]}"
        ]
    return [] if common or not got.of("scores") else ["no window is where the whole file has one"]


def row(case: MediaCase, path: Path, got: Replayed, wrong: Sequence[str]) -> dict[str, Any]:
    """Return what the table shows of one file."""
    scores = got.of("scores")
    held = ffprobe_times(path) if case.modality == "camera" and path.is_file() else None
    samples = case.samples
    if case.modality == "microphone" and samples is None:
        samples = ffmpeg_samples(path)
    return {
        "name": case.name,
        "modality": case.modality,
        "held": case.frames if held is None else len(held),
        "samples": samples,
        "decided": len(scores),
        "first_s": scores[0]["start_ns"] / NS_PER_S if scores else None,
        "last_s": scores[-1]["end_ns"] / NS_PER_S if scores else None,
        "gaps": [
            f"{gap['cause']} {gap['from_ns'] / NS_PER_S:.2f}-{gap['to_ns'] / NS_PER_S:.2f}"
            for gap in got.of("gap")
        ],
        "states": sorted(got.states()),
        "exit": got.exit,
        "said": got.error.strip().splitlines()[:1],
        "wrong": list(wrong),
    }


def table(rows: Iterable[dict[str, Any]]) -> str:
    """Return what a person reads."""
    lines = [
        f"{'file':<26}{'holds':>8}{'decided':>9}{'first s':>9}{'last s':>9}{'exit':>5}  gaps; what is told"
    ]
    for one in rows:
        holds = one["held"] if one["samples"] is None else one["samples"]
        first, last = ("" if one[key] is None else f"{one[key]:.2f}" for key in ("first_s", "last_s"))
        gaps = one["gaps"] if len(one["gaps"]) <= 2 else [f"{len(one['gaps'])} gaps", one["gaps"][0], "..."]
        told = "; ".join([*gaps, *one["states"]])
        lines.append(
            f"{one['name']:<26}{holds!s:>8}{one['decided']:>9}{first:>9}{last:>9}{one['exit']:>5}  {told}"
        )
        lines += [f"    WRONG: {fault}" for fault in one["wrong"]]
    return "\n".join(lines)


def run(folder: Path, only: Sequence[str] = (), jobs: int = 2) -> list[dict[str, Any]]:
    """Make and replay the cases; return the table's rows."""
    every = cases()
    wanted = [every[name] for name in only] or list(every.values())
    needed = list(dict.fromkeys([*(every[case.like] for case in wanted if case.like), *wanted]))
    kit, bundle = Kit(folder / "files"), bundles(folder)
    kit.folder.mkdir(exist_ok=True)
    paths = {case.name: case.make(kit) for case in needed}

    def both(case: MediaCase) -> tuple[Replayed, Replayed]:
        first, second = (
            replayed(
                f"{paths[case.name]}{case.options}", bundle[case.modality], folder / f"{case.name}.{n}.jsonl"
            )
            for n in (1, 2)
        )
        return first, second

    with ThreadPoolExecutor(jobs) as pool:
        got = dict(zip((case.name for case in needed), pool.map(both, needed), strict=True))
    rows = []
    for case in wanted:
        first, second = got[case.name]
        like = got[case.like][0] if case.like else None
        wrong = faults(case, paths[case.name], first, second, like)
        rows.append(row(case, paths[case.name], first, wrong))
    return rows


def memory(folder: Path, minutes: int) -> list[dict[str, Any]]:
    """Replay a minute and many of sound, and a minute and an hour at most of video; return the peaks."""
    kit, bundle = Kit(folder / "files"), bundles(folder)
    kit.folder.mkdir(exist_ok=True)
    found = []
    plans = (("microphone", long_sound, minutes), ("camera", long_video, min(60, minutes)))
    for modality, make, length in plans:
        short, long = (
            replayed(str(make(kit, seconds)), bundle[modality], folder / f"long{seconds}.jsonl")
            for seconds in (60, 60 * length)
        )
        grown = long.peak_mb - short.peak_mb
        found.append(
            {
                "modality": modality,
                "minutes": length,
                "windows": len(long.of("scores")),
                "short_mb": round(short.peak_mb, 1),
                "long_mb": round(long.peak_mb, 1),
                "ok": grown <= MEMORY_MB and short.exit == long.exit == 0 and bool(long.records),
            }
        )
    return found


def main() -> int:
    """Make, replay, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", default="", help="Names of cases, separated by commas.")
    parser.add_argument("--minutes", type=int, default=180, help="Length of the long sound; 0 for none.")
    parser.add_argument("--keep", type=Path, help="Make the files there and leave them.")
    parser.add_argument("--out", type=Path, default=OUT / "media.json")
    options = parser.parse_args()
    folder = options.keep or Path(tempfile.mkdtemp(prefix="galago-media-"))
    folder.mkdir(parents=True, exist_ok=True)
    try:
        rows = run(folder, [name for name in options.only.split(",") if name])
        print(table(rows))
        grown = memory(folder, options.minutes) if options.minutes else []
    finally:
        if options.keep is None:
            shutil.rmtree(folder)
    for one in grown:
        print(
            f"{one['minutes']} minutes for a {one['modality']}: {one['windows']} windows, "
            f"{one['long_mb']} MB at most, {one['short_mb']} MB for one minute"
            + ("" if one["ok"] else "  WRONG: it grows or fails")
        )
    bad = sum(bool(one["wrong"]) for one in rows) + sum(not one["ok"] for one in grown)
    print(f"{len(rows)} files, each replayed twice; {bad} wrong")
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps({"files": rows, "memory": grown}, indent=2) + "\n")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
