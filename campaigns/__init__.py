"""Campaigns: faults, crashes, fuzzing and long runs, of which ``make test`` runs a small piece each.

Run one as ``python -m campaigns.NAME`` in the repository's root; ``make`` has a target for each.
"""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
DATA = ROOT / "tests" / "data"
"""The tests' models."""
OUT = Path(__file__).resolve().parent / "out"
"""Where results go when nobody names another place."""
