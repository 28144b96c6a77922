"""The exact polyphase filter beside soxr HQ: what it lets through, what it keeps out, and its speed.

Tones in float64 go through both filters (ours without its rounding to 16 bits). Pass band: the highest
frequency up to which the level stays within 0.1 dB, and the largest deviation up to 90 % of half the lower
rate. Stop band: the lowest frequency from which every tone is 100 dB down, and the loudest remainder of a
tone above half the lower rate (which folds back when the rate falls). Speed: CPU time of this thread for
int16 samples in chunks, in turns; the median of the ratios.

    python benchmarks/resampling.py [--seconds 20] [--rounds 15] [--out benchmarks/out/resampling.json]
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # both on one thread

import numpy as np
import numpy.typing as npt
import scipy.signal
import soxr

from galago_edge.sources.polyphase_filter import PolyphaseResampler, coefficients, ratio

RATES = ((48_000, 16_000), (44_100, 16_000), (32_000, 16_000), (22_050, 16_000), (8_000, 16_000))
OUT = Path(__file__).with_name("out") / "resampling.json"
Floats = npt.NDArray[np.float64]
Filter = Callable[[Floats, int, int], Floats]


def ours(samples: Floats, source_hz: int, rate_hz: int) -> Floats:
    """Filter in float64 with our coefficients."""
    up, down = ratio(source_hz, rate_hz)
    taps = coefficients(up, down) / float(1 << 30)
    result: Floats = scipy.signal.resample_poly(samples, up, down, window=taps / up)
    return result


def theirs(samples: Floats, source_hz: int, rate_hz: int) -> Floats:
    """Filter by soxr HQ."""
    result: Floats = soxr.resample(samples, source_hz, rate_hz, quality="HQ")
    return result


def level_db(filtered: Filter, source_hz: int, rate_hz: int, hz: float, *, fold: bool) -> float:
    """Return the level of a tone behind the filter against the one before it, away from both ends.

    The tone itself, or with ``fold`` everything that comes out.
    """
    at = np.arange(source_hz) / source_hz
    out = filtered(np.sin(2 * np.pi * hz * at + 0.3), source_hz, rate_hz)
    middle = out[len(out) // 4 : len(out) * 3 // 4]
    if fold:
        return float(10 * np.log10(2 * np.mean(middle**2) + 1e-30))
    times = np.arange(len(out))[len(out) // 4 : len(out) * 3 // 4] / rate_hz
    basis = np.stack([np.sin(2 * np.pi * hz * times), np.cos(2 * np.pi * hz * times)], axis=1)
    amplitude = np.linalg.norm(np.linalg.lstsq(basis, middle, rcond=None)[0])
    return float(20 * np.log10(amplitude))


def quality(filtered: Filter, source_hz: int, rate_hz: int) -> dict[str, float]:
    """Return the figures of one filter; frequencies as a share of half the lower rate."""
    half = min(source_hz, rate_hz) / 2
    shares = np.arange(0.05, 0.995, 0.005)
    passed = [level_db(filtered, source_hz, rate_hz, share * half, fold=False) for share in shares]
    good = [share for share, level in zip(shares, passed, strict=True) if abs(level) > 0.1]
    figures = {
        "ripple_db": max(abs(level) for share, level in zip(shares, passed, strict=True) if share <= 0.9),
        "pass_to": round(float(good[0]) if good else 1.0, 3),
    }
    if rate_hz < source_hz:
        outside = np.arange(0.96, min(1.5, 0.99 * source_hz / rate_hz), 0.005)
        kept = [level_db(filtered, source_hz, rate_hz, share * half, fold=True) for share in outside]
        loud = [share for share, level in zip(outside, kept, strict=True) if level > -100]
        figures["stop_from"] = round(float(loud[-1] + 0.005) if loud else 0.96, 3)
        figures["stop_db"] = -max(level for share, level in zip(outside, kept, strict=True) if share >= 1.005)
    return figures


def speed(source_hz: int, rate_hz: int, chunk_ms: int, seconds: int, rounds: int) -> dict[str, float]:
    """Return ms of CPU time for a second of sound, ours and soxr's, and how much faster soxr is."""
    noise = np.random.default_rng(0).integers(-20_000, 20_000, seconds * source_hz).astype(np.int16)
    size = source_hz * chunk_ms // 1000

    def walk(convert: Callable[[npt.NDArray[np.int16], bool], object]) -> float:
        start = time.thread_time()
        for at in range(0, len(noise), size):
            convert(noise[at : at + size], at + size >= len(noise))
        return 1000 * (time.thread_time() - start) / seconds

    def one() -> float:
        filter = PolyphaseResampler(source_hz, rate_hz)
        return walk(lambda samples, last: filter.convert(samples, last=last))

    def other() -> float:
        stream = soxr.ResampleStream(source_hz, rate_hz, 1, dtype="float64", quality="HQ")

        def convert(samples: npt.NDArray[np.int16], last: bool) -> object:
            result = stream.resample_chunk(samples.astype(np.float64), last=last)
            return np.rint(result).clip(-32_768, 32_767).astype(np.int16)

        return walk(convert)

    one(), other()  # tables, caches
    pairs = [(one(), other()) for _ in range(rounds)]
    return {
        "ours_ms": statistics.median(a for a, _ in pairs),
        "soxr_ms": statistics.median(b for _, b in pairs),
        "ratio": statistics.median(a / b for a, b in pairs),
    }


def main() -> None:
    """Measure, print a table, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--seconds", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--out", type=Path, default=OUT)
    given = parser.parse_args()
    rows: list[dict[str, Any]] = []
    for source_hz, rate_hz in RATES:
        row: dict[str, Any] = {"from_hz": source_hz, "to_hz": rate_hz}
        row["ours"], row["soxr"] = quality(ours, source_hz, rate_hz), quality(theirs, source_hz, rate_hz)
        for chunk_ms in (1000, 40):
            row[f"chunks_of_{chunk_ms}_ms"] = speed(source_hz, rate_hz, chunk_ms, given.seconds, given.rounds)
        rows.append(row)
        print(json.dumps(row))
    given.out.parent.mkdir(exist_ok=True)
    given.out.write_text(
        json.dumps({"soxr": soxr.__version__, "rows": rows}, indent=1) + "\n", encoding="utf-8"
    )


if __name__ == "__main__":
    main()
