"""Makes .venv-tflite-runtime in the repository root: galago-edge on the other TFLite runtime.

    .venv/bin/python tests/setup/tflite_runtime_env.py

tflite-runtime 2.14, the last one, wants NumPy 1 and Python 3.11 at most, so it cannot share the main
environment. Does nothing when the environment is there already; `make test` calls this before pytest.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
ENVIRONMENT = ROOT / ".venv-tflite-runtime"
READY = ENVIRONMENT / "ready.txt"
"""Written last, so that a half-made environment is made again."""
REQUIREMENTS = [
    "tflite-runtime==2.14.0",
    "numpy<2",
    "opencv-python-headless<4.12",
    "click>=8.1",
    "cryptography>=42",
    "msgspec>=0.18",
]


def interpreter() -> str | None:
    """Return a Python that tflite-runtime has wheels for."""
    if sys.version_info[:2] == (3, 11):
        return sys.executable
    return shutil.which("python3.11")


def main() -> int:
    wanted = "\n".join([str(ROOT), *REQUIREMENTS, "tests/support", ""])
    if READY.is_file() and READY.read_text() == wanted:
        return 0
    python = interpreter()
    if python is None:
        print("tflite-runtime has no wheel for this Python: its tests need a python3.11 in PATH")
        return 0
    subprocess.run([python, "-m", "venv", "--clear", str(ENVIRONMENT)], check=True)
    pip = [str(ENVIRONMENT / "bin" / "python"), "-m", "pip", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "install", *REQUIREMENTS], check=True)
    for folder in ("edge", "tests/support"):
        subprocess.run([*pip, "install", "--no-deps", "--editable", str(ROOT / folder)], check=True)
    READY.write_text(wanted)
    return 0


if __name__ == "__main__":
    sys.exit(main())
