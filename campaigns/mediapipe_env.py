"""Makes .venv-mediapipe: the peer in an environment of its own, for it brings its own OpenCV.

    .venv/bin/python -m campaigns.mediapipe_env

Prints the Python to use; tests of exported models and the benchmark of decisions ask it. Where mediapipe
cannot be installed, says why and prints nothing else; the benchmark runs without it then and says so.
"""

from __future__ import annotations

import subprocess
import sys

from campaigns import ROOT

ENVIRONMENT = ROOT / ".venv-mediapipe"
READY = ENVIRONMENT / "ready.txt"
"""Written last, so that a half-made environment is made again."""


def mediapipe_python() -> str | None:
    """Return the Python of the environment, made first if need be; None where that fails."""
    python = ENVIRONMENT / "bin" / "python"
    if READY.is_file():
        return str(python)
    made = subprocess.run([sys.executable, "-m", "venv", "--clear", str(ENVIRONMENT)], check=False)
    if made.returncode:
        return None
    pip = [str(python), "-m", "pip", "--quiet", "--disable-pip-version-check", "install", "mediapipe"]
    if subprocess.run(pip, check=False).returncode:
        return None
    READY.write_text("mediapipe\n")
    return str(python)


if __name__ == "__main__":
    found = mediapipe_python()
    print(found or "mediapipe cannot be installed here", file=sys.stdout if found else sys.stderr)
