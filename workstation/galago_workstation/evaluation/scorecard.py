"""How an evaluation looks to people: the table on the terminal and the picture of the confusions."""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np

from galago_edge.contract.printable import on_one_line
from galago_workstation.evaluation.evaluation_record import Evaluation, Variant

_NAMED = 40  # classes whose names and counts are still readable in the picture


Row = tuple[str, str, str, str]
"""What it is, and the figures of the three forms."""


def rows(found: Evaluation) -> list[Row]:
    """Return the evaluation as the rows of a table, the heads first."""
    recalls = [
        (f"recall {on_one_line(name)}", _recall(name)) for name in found.labels if name in found.keras.recall
    ]
    figures: list[tuple[str, Callable[[Variant], str]]] = [
        ("accuracy", lambda v: _percent(v.accuracy)),
        *recalls,
        ("disagreements (flips)", lambda v: str(v.flips)),
        ("size", lambda v: f"{v.bytes / 1000:.1f} kB"),
        ("latency p50", lambda v: _milliseconds(v.p50_us)),
        ("latency p99", lambda v: _milliseconds(v.p99_us)),
    ]
    return [
        (f"{found.test_samples} test samples", "Keras float", "TFLite float", "TFLite int8"),
        *(
            (title, text(found.keras), text(found.tflite_float), text(found.tflite_int8))
            for title, text in figures
        ),
    ]


def table(found: Evaluation) -> list[str]:
    """Return the evaluation as the lines of a table: a column per form of the model, a row per figure.

    A label is part of its line whatever it holds; who writes the lines makes them fit for a terminal.
    """
    cells = rows(found)
    widths = [max(len(row[column]) for row in cells) for column in range(4)]
    lines = [
        "  ".join(
            [
                row[0].ljust(widths[0]),
                *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)),
            ]
        )
        for row in cells
    ]
    return [*lines, conditions(found)]


def conditions(found: Evaluation) -> str:
    """Return what the latency was measured on, and how much memory it took."""
    return (
        f"latency of one inference on {found.cpu}, TFLite on {found.threads} thread ({found.runtime}),"
        f" Keras on all; peak memory of the int8 process {found.rss_peak_bytes / 1e6:.0f} MB"
    )


def _recall(name: str) -> Callable[[Variant], str]:
    return lambda variant: _percent(variant.recall[name])


def _percent(share: float) -> str:
    return f"{100 * share:.2f} %"


def _milliseconds(us: int) -> str:
    return f"{us / 1000:.2f} ms"


def drawable(name: str) -> str:
    """Return a label as matplotlib's own font can draw it: characters that it lacks, and ``$``, escaped.

    >>> drawable("собака 犬")
    'собака \\\\u72ac'
    """
    from matplotlib.font_manager import FontProperties, findfont, get_font

    font = get_font(findfont(FontProperties()))
    shown = "".join(
        sign if font.get_char_index(ord(sign)) else ascii(sign)[1:-1] for sign in on_one_line(name)
    )
    return shown.replace("$", r"\$")  # between two of them stands mathematics


def confusion_png(found: Evaluation) -> bytes:
    """Draw the int8 model's confusions: true label down, given label across, colour by share of the row."""
    from matplotlib.figure import Figure  # a Figure of its own draws with Agg and leaves pyplot alone

    counts = np.array(found.tflite_int8.confusion, float)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    side = min(4.0 + 0.45 * len(found.labels), 14.0)
    figure = Figure(figsize=(side, side), layout="constrained")
    axes = figure.subplots()
    axes.imshow(shares, cmap="Blues", vmin=0.0, vmax=1.0)
    axes.set(
        xlabel="given",
        ylabel="true",
        title=f"int8 on {found.test_samples} test samples: {_percent(found.tflite_int8.accuracy)}",
    )
    if len(found.labels) <= _NAMED:
        names = [drawable(name) for name in found.labels]
        axes.set_xticks(range(len(names)), names, rotation=90)
        axes.set_yticks(range(len(names)), names)
        for (row, column), count in np.ndenumerate(counts):
            if count:
                color = "white" if shares[row, column] > 0.5 else "black"
                axes.text(column, row, f"{count:.0f}", ha="center", va="center", fontsize=7, color=color)
    with io.BytesIO() as file:
        figure.savefig(file, format="png", dpi=100)
        return file.getvalue()
