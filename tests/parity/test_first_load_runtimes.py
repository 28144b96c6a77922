"""Bad models end the same way on either TFLite runtime, whatever each says or does about them."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]
REASONS = ("LOAD_CRASH", "MEMORY", "TOO_SLOW", "GOLDEN_FAIL")


def test_on_tflite_runtime_too_a_bad_bundle_leaves_the_old_one(
    tflite_runtime_python: Path, tmp_path: Path
) -> None:
    """tests/system/test_bad_bundles.py is the same on the other runtime."""
    out = tmp_path / "rows.json"
    command = [
        str(tflite_runtime_python),
        "-m",
        "campaigns.bad_bundles",
        "--only",
        ",".join(REASONS),
        "--out",
        str(out),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300, cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr
    assert {row["reason"] for row in json.loads(out.read_text())} == set(REASONS)
