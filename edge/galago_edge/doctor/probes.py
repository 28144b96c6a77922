"""Python code tried in a child, which may crash or hang without taking the doctor along."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass

from galago_edge.children.child import Child
from galago_edge.children.output import Output

_LINE = 300
_LONGEST_ANSWER = 65_536
_EXCEPTION = re.compile(r"^[A-Za-z_.]+(Error|Exception): ")
_LIFELINE = "from galago_edge.children.lifeline import die_with_parent\ndie_with_parent()\n"


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """What became of a child, as a finding says it."""

    answer: str
    """Its last line on standard output."""
    fault: str
    """Why it did not end well, in one line; empty when it did."""
    said: str
    """Everything it wrote to standard error."""


def run_python(code: str, *arguments: str, timeout_s: float = 30.0) -> ProbeResult:
    """Run ``code`` with ``sys.argv[1:] = arguments`` in this interpreter's environment."""
    return _run(("-c", _LIFELINE + code), arguments, timeout_s)


def run_module(module: str, *arguments: str, timeout_s: float = 60.0) -> ProbeResult:
    """Run ``python -m module``, a module that dies with its parent."""
    return _run(("-m", module), arguments, timeout_s)


def ask_module(module: str, order: bytes, *, timeout_s: float) -> ProbeResult:
    """Run ``python -m module FD``, which reads ``order`` from the descriptor FD: it may hold secrets.

    The answer is the last line whatever its length.
    """
    with Output("galago-order") as given:
        os.pwrite(given.fileno(), order, 0)
        return _run(("-m", module), (), timeout_s, shared=(given.fileno(),), longest=_LONGEST_ANSWER)


def _run(
    program: Sequence[str],
    arguments: Sequence[str],
    timeout_s: float,
    *,
    shared: Sequence[int] = (),
    longest: int = _LINE,
) -> ProbeResult:
    try:
        with (
            Output("galago-stdout") as stdout,
            Output("galago-stderr") as stderr,
            Child(
                program,
                arguments,
                shared=shared,
                stdout=stdout.fileno(),
                stderr=stderr.fileno(),
                own_session=False,  # Ctrl-C is for the doctor and for all that it tries just then
            ) as child,
        ):
            ending = child.wait(timeout_s)
            if ending is None:
                return ProbeResult("", f"no answer for {timeout_s:g} s", "")
            answer, said = _last_line(stdout.text(), longest), stderr.text()
    except OSError as error:
        return ProbeResult("", f"no process can be started: {error.strerror or error}", "")
    if ending.signal is not None:
        return ProbeResult(answer, f"crashed with {ending.signal}", said)
    if ending.exit_code:
        fault = _EXCEPTION.sub("", _last_line(said)) or f"exit code {ending.exit_code}"
        return ProbeResult(answer, fault, said)
    return ProbeResult(answer, "", said)


def _last_line(text: str, longest: int = _LINE) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:longest] if lines else ""
