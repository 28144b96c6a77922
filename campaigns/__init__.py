"""Campaigns: faults, crashes, fuzzing and long runs, of which ``make test`` runs a small piece each.

Run one as ``python -m campaigns.NAME`` in the repository's root; ``make`` has a target for each.
"""

import tempfile
from contextlib import ExitStack
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
DATA = ROOT / "tests" / "data"
"""The tests' models."""
OUT = Path(__file__).resolve().parent / "out"
"""Where results go when nobody names another place."""


def work_folder(keep: Path | None, name: str, stack: ExitStack) -> Path:
    """Return the folder to work in: ``keep``, made if it is not there, or one that goes with ``stack``."""
    folder = keep
    if folder is None:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix=f"galago-{name}-")))
    folder.mkdir(parents=True, exist_ok=True)
    return folder.resolve()
