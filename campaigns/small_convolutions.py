"""Trains small convolutions at many sizes of batch: which kill their process, and what oneDNN saves.

    .venv/bin/python -m campaigns.small_convolutions [--filters 4,8,12] [--batches 6,7,15] [--kinds resnet]

Each cell of the grid (network, filters, batch) trains some steps and asks for some answers, with oneDNN and
without, in processes of their own that check their heap wherever glibc's checking malloc is there: a write
behind a block then ends the process at once, where it may otherwise go on for hours. A cell of the grid is
``6`` or ``11``, the signal it died of, or the time of a step without oneDNN as a multiple of that with it.
The exit code is 1 when a batch that the product trains with (``trained_batch``) has died.
"""

from __future__ import annotations

import argparse
import ctypes.util
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from galago_edge.children.ending import Ending

FILTERS = (4, 5, 6, 8, 10, 12, 13, 15, 16, 24)
BATCHES = (1, 2, 3, 5, 6, 7, 8, 13, 14, 15, 16, 30, 31, 32, 63, 64, 65)
KINDS = ("resnet", "ds_cnn")
"""Networks of whole convolutions, and of depthwise ones between convolutions of one pixel."""
SHAPES = {"resnet": (16, 16, 3), "ds_cnn": (32, 16)}
STEPS = 8
_CHECKING = "libc_malloc_debug.so.0"
_BEGIN, _DONE = "begin", "done"


@dataclass(frozen=True, slots=True)
class Cell:
    """One training."""

    kind: str
    filters: int
    batch: int

    def __str__(self) -> str:
        return f"{self.kind}:{self.filters}:{self.batch}"


@dataclass(frozen=True, slots=True)
class Outcome:
    """How it went."""

    signal: str | None
    """What its process died of."""
    step_ms: float = 0.0
    """Median, processor time."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--filters", type=_numbers, default=FILTERS)
    parser.add_argument("--batches", type=_numbers, default=BATCHES)
    parser.add_argument("--kinds", type=lambda text: tuple(text.split(",")), default=KINDS)
    parser.add_argument("--child", nargs="+", type=cell_of, help=argparse.SUPPRESS)
    options = parser.parse_args()
    cells = [
        Cell(kind, filters, batch)
        for kind in options.kinds
        for filters in options.filters
        for batch in options.batches
    ]
    if options.child:
        train_cells(options.child)
        return 0
    from galago_workstation.data.batches import trained_batch

    print(f"heap checked: {'yes' if heap_checked() else f'no, there is no {_CHECKING}'}", flush=True)
    with_it = outcomes(cells, onednn=True)
    without = outcomes(cells, onednn=False)
    for kind in options.kinds:
        print(f"\n{kind}\nfilters  batch {' '.join(f'{batch:>5}' for batch in options.batches)}")
        for filters in options.filters:
            row = [Cell(kind, filters, batch) for batch in options.batches]
            shown = " ".join(f"{_shown(with_it[cell], without[cell]):>5}" for cell in row)
            print(f"{filters:>7}        {shown}")
    reached = [
        cell
        for cell in cells
        if cell.batch == trained_batch(cell.batch, cell.batch + 1) and with_it[cell].signal
    ]
    print(
        f"\n{len(cells)} cells; died with oneDNN: {_dead(with_it)}, without: {_dead(without)}, "
        f"of the batches that Galago trains with: {len(reached)}"
    )
    return 1 if reached else 0


def outcomes(cells: Sequence[Cell], *, onednn: bool) -> dict[Cell, Outcome]:
    """Train all cells; a process that dies is replaced, and goes on with the next cell."""
    found: dict[Cell, Outcome] = {}
    left = list(cells)
    while left:
        begun, ending, said = _run(left, found, onednn=onednn)
        if ending.exit_code == 0:
            break
        if ending.signal is None or begun is None:
            raise SystemExit(f"the process that trains {ending}: {said[-2_000:]}")
        print(f"{begun}, oneDNN {'on' if onednn else 'off'}: {ending.signal}", file=sys.stderr, flush=True)
        found[begun] = Outcome(ending.signal)
        left = left[left.index(begun) + 1 :]
    return found


def _run(
    cells: Sequence[Cell], found: dict[Cell, Outcome], *, onednn: bool
) -> tuple[Cell | None, Ending, str]:
    """Train cells in one process; return the last one begun, how it ended and its complaints."""
    begun = None
    with tempfile.TemporaryFile("w+") as stderr:
        orders = [f"{cell.kind}:{cell.filters}:{cell.batch}" for cell in cells]
        with subprocess.Popen(
            [sys.executable, "-m", "campaigns.small_convolutions", "--child", *orders],
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
            env=_environment(onednn=onednn),
        ) as child:
            assert child.stdout is not None
            for line in child.stdout:
                what, *rest = line.split()
                if what == _BEGIN:
                    begun = cell_of(rest[0])
                elif what == _DONE:
                    found[cell_of(rest[0])] = Outcome(None, float(rest[1]))
        stderr.seek(0)
        return begun, Ending.of(child.returncode), stderr.read()


def train_cells(cells: Sequence[Cell]) -> None:
    """Train one cell after the other in this process, and print how each went."""
    import tensorflow as tf  # not by import_tensorflow: what the product does about it is not asked here

    tf.config.experimental.enable_op_determinism()
    for cell in cells:
        print(_BEGIN, cell, flush=True)
        milliseconds = train_cell(tf, cell)
        print(_DONE, cell, f"{milliseconds:.3f}", flush=True)


def train_cell(tf: Any, cell: Cell) -> float:
    """Train and return the median time of a step, in milliseconds of the processor."""
    import time

    import numpy as np
    from msgspec import convert

    from galago_workstation.training.network_kind import build_network, find_network

    tf.keras.utils.set_random_seed(1)
    kind = find_network(cell.kind)
    assert kind is not None
    shape = SHAPES[cell.kind]
    network = build_network(
        convert({"kind": cell.kind, "filters": cell.filters}, kind.options), shape, 3, seed=1
    )
    network.compile("adam", tf.keras.losses.CategoricalCrossentropy(from_logits=True), jit_compile=False)
    random = np.random.default_rng(1)
    inputs = tf.constant(random.random((cell.batch, *shape), dtype=np.float32) * 255)
    targets = tf.one_hot(random.integers(0, 3, cell.batch), 3)
    times = []
    for _ in range(STEPS):
        began = time.process_time()
        network.train_on_batch(inputs, targets)
        times.append(time.process_time() - began)
    network.predict_on_batch(inputs)
    return 1e3 * float(np.median(times[1:]))  # the first one builds the graph


def heap_checked() -> bool:
    """Return whether a write behind a block of memory ends the process."""
    return ctypes.util.find_library("c_malloc_debug") is not None


def cell_of(text: str) -> Cell:
    """Return the cell of ``resnet:8:15``."""
    kind, filters, batch = text.split(":")
    return Cell(kind, int(filters), int(batch))


def _environment(*, onednn: bool) -> dict[str, str]:
    environment = {
        **os.environ,
        "TF_ENABLE_ONEDNN_OPTS": str(int(onednn)),
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "KERAS_BACKEND": "tensorflow",
    }
    if heap_checked():
        environment |= {"LD_PRELOAD": _CHECKING, "GLIBC_TUNABLES": "glibc.malloc.check=3"}
    return environment


def _shown(with_it: Outcome, without: Outcome) -> str:
    for outcome, mark in ((with_it, ""), (without, "!")):
        if outcome.signal is not None:
            return mark + {"SIGABRT": "6", "SIGSEGV": "11"}.get(outcome.signal, outcome.signal)
    return f"{without.step_ms / with_it.step_ms:.2f}"


def _dead(of: dict[Cell, Outcome]) -> int:
    return sum(outcome.signal is not None for outcome in of.values())


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(number) for number in text.split(","))


if __name__ == "__main__":
    sys.exit(main())
