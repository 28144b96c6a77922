"""What an hour costs in which hardly anything happens, with and without the gates, and whether events differ.

    .venv/bin/python -m campaigns.quiet_hour [--minutes 60]

A camera (640 x 480, 5 frames a second, MobileNetV2-224) looks at a hall with noise and slow daylight: now and
then somebody walks through, a lamp goes on, it is dark for a while. A microphone (16 kHz, 10 decisions a
second, DS-CNN) hears noise, people who talk, doors, and an alarm. Lamp, darkness and alarm are events. Both
are made on the fly, the same for every pass, and go through the same ``DecidingStream`` as live ones, as fast
as it takes them.

CPU time is that of ``DecidingStream.push`` in its thread: gate, preprocessing, model, decision, records.
Taking and decoding pictures is not in it; it costs the same either way. The gated hour is walked through
twice: its records must be the same to the last byte. Ends with exit code 1 when events or records differ.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from msgspec import UNSET, UnsetType

from campaigns import OUT, ROOT
from galago_edge.bundle import open_bundle
from galago_edge.contract.manifest import Gate, LevelGate, MotionGate
from galago_edge.contract.modality import Modality
from galago_edge.contract.records import EventRecord, encode_record
from galago_edge.contract.streams import NS_PER_S, AudioBlock, Frame, Item, samples_to_ns
from galago_edge.engine import runtime
from galago_edge.pipeline import DecidingStream, load
from galago_edge.preprocess.image import use_one_thread
from test_kit import make_bundle

FPS = 5
RATE_HZ = 16_000
BLOCK = RATE_HZ // 10
SLOTS = 6
"""The hour is six parts; the same happens in each, but lamp and darkness take turns."""
BANK = 8
GATES: dict[str, Gate] = {"camera": MotionGate(), "microphone": LevelGate()}
"""As a bundle has them that says no more than their kind."""


@dataclass(frozen=True, slots=True)
class Pass:
    """One walk through the hour."""

    windows: int
    run: int
    """Windows on which the model was run."""
    cpu_s: float
    events: tuple[tuple[str, int, int], ...]
    """Label, start and end in stream time."""
    records: bytes


def hall(seconds: int, height: int = 480, width: int = 640) -> Iterator[Item]:
    """Yield the camera's frames."""
    import cv2

    rng = np.random.default_rng(3)
    texture = cv2.resize(rng.integers(90, 150, (12, 16, 3), dtype=np.uint8), (width, height))
    bank = [np.clip(texture + rng.normal(0, 3, texture.shape), 0, 255).astype(np.uint8) for _ in range(BANK)]
    slot = seconds / SLOTS
    lit, away, there = min(30.0, slot / 4), 0.5 * slot, 0.2 * slot
    crossing = min(5.0, slot / 6)
    for index in range(seconds * FPS):
        now = index / FPS
        number, within = divmod(now, slot)
        light = round(8 * np.sin(2 * np.pi * now / 3_600))
        if away <= within < away + lit:
            light += 100 if int(number) % 2 == 0 else -100
        pixels = cv2.add(bank[index % BANK], np.full(4, light, np.float64)).astype(np.uint8, copy=False)
        if there <= within < there + crossing:
            left = round((within - there) / crossing * width)
            pixels[height // 3 :, left : left + width // 10] = 40
        yield Frame(pixels, index, index * NS_PER_S // FPS)


def room(seconds: int, noise: float = 26.0) -> Iterator[Item]:
    """Yield the microphone's blocks; ``noise`` is its RMS, -62 dBFS unless given."""
    rng = np.random.default_rng(4)
    slot = seconds / SLOTS
    for second in range(seconds):
        time_s = second + np.arange(RATE_HZ) / RATE_HZ
        within = time_s % slot
        sound = rng.normal(0, noise, RATE_HZ)
        talking = (within >= 0.15 * slot) & (within < 0.15 * slot + min(40.0, slot / 10))
        door = (within >= 0.35 * slot) & (within < 0.35 * slot + 0.2)
        alarm = (within >= 0.6 * slot) & (within < 0.6 * slot + min(12.0, slot / 4))
        if talking.any():
            syllables = np.maximum(0, np.sin(2 * np.pi * 4 * time_s)) * np.sin(2 * np.pi * 220 * time_s)
            sound += 2_500 * syllables * talking
        if door.any():
            sound += 9_000 * np.sin(2 * np.pi * 90 * time_s) * door
        if alarm.any():
            beeps = alarm & (time_s % 1.0 < 0.7)
            sound += sum(5_000 * np.sin(2 * np.pi * hz * time_s) for hz in (2_600, 4_100, 6_000)) * beeps
        samples = np.rint(np.clip(sound, -32_768, 32_767)).astype(np.int16)
        for start in range(0, RATE_HZ, BLOCK):
            first = second * RATE_HZ + start
            yield AudioBlock(samples[start : start + BLOCK], first, samples_to_ns(first, RATE_HZ), RATE_HZ)


def walk(bundle: Path, items: Iterable[Item]) -> Pass:
    """Push everything through a new stream and measure it."""
    stream = DecidingStream("hour", load(open_bundle(bundle)))
    lines: list[bytes] = []
    events: list[tuple[str, int, int]] = []
    spent = 0
    for item in items:
        before = time.thread_time_ns()
        records = stream.push(item)
        spent += time.thread_time_ns() - before
        lines += map(encode_record, records)
        events += [(got.label, got.start_ns, got.end_ns) for got in records if isinstance(got, EventRecord)]
    run = stream.tally.windows - stream.tally.skipped
    return Pass(stream.tally.windows, run, spent / NS_PER_S, tuple(events), b"".join(lines))


def compare(
    name: Modality,
    bundle: Callable[[Gate | UnsetType], Path],
    items: Callable[[], Iterable[Item]],
) -> dict[str, Any]:
    """Walk once without a gate and twice with it."""
    plain = walk(bundle(UNSET), items())
    gated = walk(bundle(GATES[name]), items())
    again = walk(bundle(GATES[name]), items())
    return {
        "windows": plain.windows,
        "run": gated.run,
        "cpu_s": round(plain.cpu_s, 3),
        "cpu_gated_s": round(min(gated.cpu_s, again.cpu_s), 3),
        "events": len(plain.events),
        "events_gated": len(gated.events),
        "same_events": plain.events == gated.events,
        "same_replay": gated.records == again.records,
        "first_difference": next(
            ([*pair] for pair in itertools.zip_longest(plain.events, gated.events) if pair[0] != pair[1]),
            None,
        ),
    }


def table(results: dict[str, Any], seconds: int) -> str:
    """Return what a person reads."""
    lines = [
        f"{'source':<12}{'gate':<8}{'windows':>9}{'model run':>11}"
        f"{'CPU s':>9}{'of one core':>13}{'events':>8}"
    ]
    for name, found in results.items():
        rows = (
            ("none", found["windows"], found["cpu_s"], found["events"]),
            (
                GATES[name].version.partition("/")[0],
                found["run"],
                found["cpu_gated_s"],
                found["events_gated"],
            ),
        )
        for gate, run, cpu_s, events in rows:
            share = f"{100 * cpu_s / seconds:.3f} %"
            lines.append(
                f"{name:<12}{gate:<8}{found['windows']:>9}{run:>11}{cpu_s:>9.2f}{share:>13}{events:>8}"
            )
        same = "the same events" if found["same_events"] else f"OTHER EVENTS: {found['first_difference']}"
        replay = "a replay gives the same bytes" if found["same_replay"] else "A REPLAY DIFFERS"
        saved = found["cpu_s"] / max(found["cpu_gated_s"], 1e-9)
        lines.append(f"{'':<12}{saved:.1f} times less CPU time; {same}; {replay}")
    return "\n".join(lines)


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=int, default=60)
    parser.add_argument("--out", type=Path, default=OUT / "quiet_hour.json")
    options = parser.parse_args()
    subprocess.run(
        [sys.executable, "-m", "campaigns.quiet_models"], check=True, stderr=subprocess.DEVNULL, cwd=ROOT
    )
    from campaigns import quiet_models

    use_one_thread()
    seconds = 60 * options.minutes
    results = {}
    with tempfile.TemporaryDirectory() as folder:

        def bundle(name: Modality, gate: Gate | UnsetType) -> Path:
            return make_bundle(
                Path(folder) / f"{name}.galago",
                quiet_models.path_of(name).read_bytes(),
                quiet_models.LABELS[name],
                preprocess=quiet_models.SPECS[name],
                modality=name,
                gate=gate,
            )

        results["camera"] = compare("camera", lambda gate: bundle("camera", gate), lambda: hall(seconds))
        results["microphone"] = compare(
            "microphone", lambda gate: bundle("microphone", gate), lambda: room(seconds)
        )
    engine = runtime()
    report = {
        "machine": platform.machine(),
        "cores": os.cpu_count(),
        "load_before": os.getloadavg()[0],
        "runtime": f"{engine.package} {engine.version}",
        "minutes": options.minutes,
        "sources": results,
    }
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(report, indent=2) + "\n")
    print(f"{options.minutes} minutes of stream time, replayed at speed; one thread")
    print(table(results, seconds))
    return 0 if all(found["same_events"] and found["same_replay"] for found in results.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
