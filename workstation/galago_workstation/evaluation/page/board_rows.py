"""What each board of the catalogue makes of a run's model: whether it runs there, and what it takes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from msgspec import UNSET

from galago_converters.conversion_record import CONVERTED_FOLDER, INT8_FILE
from galago_converters.inspection import report
from galago_converters.multiply_adds import ELEMENTWISE, multiply_adds
from galago_devices import names, profile
from galago_edge.bundle.compatibility import unsupported_ops
from galago_edge.contract.errors import disk_error
from galago_edge.pipeline.isolated_load import board_memory_bytes
from galago_workstation.evaluation.evaluation_record import Evaluation

HEADS = ("board", "runs it", "memory that a model may take", "of that, this one")


def board_rows(run: Path, found: Evaluation) -> tuple[tuple[str, ...], ...]:
    """Return rows of texts, the heads first; none where the run holds no int8 model.

    Args:
        run: The run folder.
        found: Its evaluation.

    Raises:
        BundleError: MODEL_BAD; the file is no TFLite model.
        DeviceError: PLUGIN_BAD; another distribution's board cannot be read.
        LinkError: The file cannot be read.
    """
    model = _model(run)
    return () if model is None else (HEADS, *_rows(model, found))


def cost_note(run: Path, found: Evaluation) -> str:
    """Return what one answer costs, and where that was measured; empty without an int8 model.

    Raises:
        BundleError: MODEL_BAD.
        LinkError: The file cannot be read.
    """
    model = _model(run)
    if model is None:
        return ""
    counted, milliseconds = multiply_adds(model), found.tflite_int8.p50_us / 1e3
    # what is done element by element costs little beside products with weights; anything else is named
    without = sorted({one.operator for one in counted.uncounted if one.why != ELEMENTWISE})
    return (
        f"{counted.total / 1e6:.2f} million multiply-adds an answer"
        f"{' without ' + ', '.join(without) if without else ''}, a file of {len(model) / 1e3:.0f} kB; "
        f"{milliseconds:.2f} ms on {found.cpu}. No board was measured: memory is that of the engine on this "
        "machine, and how long an answer takes there is not known, nor what is free on its disk"
    )


def _model(run: Path) -> bytes | None:
    try:
        return (run / CONVERTED_FOLDER / INT8_FILE).read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise disk_error(error, f"read {run / CONVERTED_FOLDER / INT8_FILE}") from error


def _rows(model: bytes, found: Evaluation) -> Iterator[tuple[str, ...]]:
    operators = report(model).operators
    needed = found.rss_peak_bytes if found.engine_heap_bytes is UNSET else found.engine_heap_bytes
    for name in names():
        board = profile(name)
        most = board_memory_bytes(board)
        why = list(unsupported_ops(operators, board.runtime))
        if needed > most:
            why.append("it takes more memory than a model may")
        yield (
            board.title,
            "no: " + "; ".join(why) if why else "yes",
            f"{most / 1e6:.0f} MB",
            f"{needed / 1e6:.1f} MB ({100 * needed / most:.2g} %)",
        )
