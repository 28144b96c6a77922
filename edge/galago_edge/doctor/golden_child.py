"""Lets an installed bundle answer its golden samples.

``python -m galago_edge.doctor.golden_child ROOT NAME``: in a process of its own, because a runtime that does
not fit this machine may crash. The last line on standard output is a sentence; exit 1 when an answer is
wrong.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from galago_edge.children.lifeline import die_with_parent
from galago_edge.contract.errors import GalagoError
from galago_edge.pipeline.golden_run import run_golden
from galago_edge.store import Store


def main(root: str, name: str) -> int:
    """Run the golden samples of the active bundle ``name``; return the exit code."""
    store = Store(Path(root))
    start_ns = time.monotonic_ns()
    try:
        results = run_golden(store.active(name))
    except GalagoError as error:
        sys.stderr.write(f"{error.line}\n")
        return 1
    worst = max(result.largest_difference for result in results)
    seconds = (time.monotonic_ns() - start_ns) / 1e9
    answered = f"{len(results)} golden samples answered, at most {worst} quantization steps off"
    sys.stdout.write(f"{answered}, loaded and run in {seconds:.2f} s\n")
    return 0


if __name__ == "__main__":
    die_with_parent()
    sys.exit(main(*sys.argv[1:]))
