"""The two TFLite runtimes on the same int8 models, in turn, one thread each.

    .venv/bin/python benchmarks/runtimes.py

``tflite-runtime`` runs in the environment that tests/setup/tflite_runtime_env.py makes. Both run through
``galago_edge.engine``, each in a process that stays; blocks of calls alternate, so that a busy machine hurts
both alike. Prints medians of the blocks' CPU time for each call and their ratio (docs/adr/0002).
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from pathlib import Path

import models

HERE = Path(__file__).parent
ROOT = HERE.parent
OLD_PYTHON = ROOT / ".venv-tflite-runtime" / "bin" / "python"
ROUNDS = 15
CALLS = {"mobilenet_v2_224": 4, "mobilenet_v1_025_96": 40}

WORKER = """
import sys, time
from galago_edge.engine import Engine, runtime
engine = Engine(open(sys.argv[1], "rb").read())
engine.input_view()[...] = 100
for _ in range(3):
    engine.invoke()
print(runtime().package, runtime().version, flush=True)
for line in sys.stdin:
    calls = int(line)
    start = time.thread_time_ns()
    for _ in range(calls):
        engine.invoke()
    print((time.thread_time_ns() - start) / calls, flush=True)
"""


class Worker:
    """One runtime with one model, in a process of its own."""

    def __init__(self, python: Path | str, model: Path) -> None:
        command = [str(python), "-c", WORKER, str(model)]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )
        self.runtime = self._line()

    def _line(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            sys.exit("a runtime's process ended early")
        return line.strip()

    def block(self, calls: int) -> float:
        """Return the nanoseconds of CPU time that one call took in the mean."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{calls}\n")
        return float(self._line())

    def close(self) -> None:
        """End the process."""
        self._process.communicate()


def main() -> None:
    """Measure, print a table, write benchmarks/out/runtimes.json."""
    subprocess.run([sys.executable, str(ROOT / "tests/setup/tflite_runtime_env.py")], check=True)
    rows = []
    for name, calls in CALLS.items():
        path = models.path_of(name)
        if not path.is_file():
            subprocess.run([sys.executable, str(HERE / "models.py")], check=True)
        workers = [Worker(sys.executable, path), Worker(OLD_PYTHON, path)]
        times: list[list[float]] = [[], []]
        for _ in range(ROUNDS):
            for worker, found in zip(workers, times, strict=True):
                found.append(worker.block(calls))
        new, old = (statistics.median(found) / 1e6 for found in times)
        rows.append(
            {"model": name, "runtimes": [w.runtime for w in workers], "ms": [new, old], "ratio": old / new}
        )
        for worker in workers:
            worker.close()
        new_name, old_name = (worker.runtime for worker in workers)
        print(f"{name:22} {new_name} {new:8.3f} ms   {old_name} {old:8.3f} ms   {old / new:5.1f} x")
    (HERE / "out" / "runtimes.json").write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
