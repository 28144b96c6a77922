"""Lines on standard error that are held back: sorted, none lost, also where there is no standard error."""

from __future__ import annotations

import subprocess
import sys

_SCRIPT = """
import os, sys
from galago_edge.host.native_stderr import hold_stderr
if sys.argv[1] == "closed":
    os.close(2)
for turn in range(2):
    with hold_stderr(lambda line: line.startswith(b"wanted")) as lines:
        os.write(2, b"wanted 1\\nother\\nwanted 2\\n")
    print(lines)
try:
    os.fstat(2)
    print("open")
except OSError:
    print("closed")
"""


def _ran(how: str) -> tuple[list[str], str]:
    done = subprocess.run(
        [sys.executable, "-c", _SCRIPT, how], capture_output=True, text=True, timeout=60, check=True
    )
    return done.stdout.splitlines(), done.stderr


def test_wanted_lines_are_given_and_others_passed_on() -> None:
    told, passed_on = _ran("open")
    assert told == [*[r"[b'wanted 1\n', b'wanted 2\n']"] * 2, "open"] and passed_on == "other\n" * 2


def test_without_standard_error_wanted_lines_are_given_all_the_same() -> None:
    assert _ran("closed")[0] == [*[r"[b'wanted 1\n', b'wanted 2\n']"] * 2, "closed"]
