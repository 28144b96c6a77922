"""Python code in a process of its own, which may crash or hang without taking the doctor along."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from dataclasses import dataclass

_LINE = 300
_EXCEPTION = re.compile(r"^[A-Za-z_.]+(Error|Exception): ")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a child."""

    answer: str
    """Its last line on standard output."""
    fault: str
    """Why it did not end well, in one line; empty when it did."""
    said: str
    """Everything it wrote to standard error."""


def run_python(code: str, *arguments: str, timeout_s: float = 30.0) -> Outcome:
    """Run ``code`` with ``sys.argv[1:] = arguments`` in this interpreter's environment."""
    return _run(["-c", code, *arguments], timeout_s)


def run_module(module: str, *arguments: str, timeout_s: float = 60.0) -> Outcome:
    """Run ``python -m module``."""
    return _run(["-m", module, *arguments], timeout_s)


def _run(arguments: list[str], timeout_s: float) -> Outcome:
    try:
        done = subprocess.run(
            [sys.executable, "-P", *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=timeout_s,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return Outcome("", f"no answer for {timeout_s:g} s", "")
    except OSError as error:
        return Outcome("", f"no process can be started: {error.strerror or error}", "")
    said = done.stderr.decode(errors="replace")
    answer = _last_line(done.stdout.decode(errors="replace"))
    if done.returncode < 0:
        return Outcome(answer, f"crashed with {_signal_name(-done.returncode)}", said)
    if done.returncode:
        return Outcome(answer, _EXCEPTION.sub("", _last_line(said)) or f"exit code {done.returncode}", said)
    return Outcome(answer, "", said)


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:_LINE] if lines else ""


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
