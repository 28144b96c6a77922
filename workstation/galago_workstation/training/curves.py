"""metrics.csv and the picture of it."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Epoch:
    """One line of metrics.csv."""

    epoch: int
    """From 1."""
    loss: float
    accuracy: float
    validation_loss: float
    validation_accuracy: float
    validation_balanced: float
    """Mean of the recalls of all labels."""
    learning_rate: float
    """At the end of the epoch."""
    seconds: float
    augment_change: float
    """Mean absolute difference that augmentation made, in input codes."""
    augment_fresh: float
    """Share of watched samples that were changed in another way than in the epoch before."""
    stream_recall: float | None = None
    """Of what is in the validation recordings; None where they were not judged."""
    stream_false_alarms_per_hour: float | None = None


def write_metrics(path: Path, epochs: Iterable[Epoch]) -> None:
    """Write one line per epoch, the names of the columns first: of those that some epoch has a value of."""
    rows = [asdict(epoch) for epoch in epochs]
    names = [field.name for field in fields(Epoch) if any(row[field.name] is not None for row in rows)]
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, names, lineterminator="\n")
        writer.writeheader()
        for row in rows:
            writer.writerow({name: _short(row[name]) for name in names})


def read_metrics(path: Path) -> list[Epoch]:
    """Return the epochs that :func:`write_metrics` wrote, with six digits of each value.

    Raises:
        OSError: The file cannot be read.
        ValueError: It is damaged.
    """
    with path.open(encoding="utf-8", newline="") as file:
        try:
            return [_epoch(row) for row in csv.DictReader(file)]
        except (KeyError, TypeError) as error:
            raise ValueError(f"{path} has not the columns of metrics.csv: {error}") from None


def _epoch(row: dict[str, str]) -> Epoch:
    values = {name: float(text) for name, text in row.items() if text}  # empty: not judged
    return Epoch(**{**values, "epoch": int(row["epoch"])})  # type: ignore[arg-type]  # an int where it is one


def _short(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def draw_curves(path: Path, epochs: Sequence[Epoch], best_epoch: int, title: str) -> None:
    """Draw loss and accuracy over the epochs as a PNG."""
    from matplotlib.figure import Figure  # a Figure of its own draws with Agg and leaves pyplot alone

    figure = Figure(figsize=(9.0, 3.8), layout="constrained")
    numbers = [epoch.epoch for epoch in epochs]
    for axes, name in zip(figure.subplots(1, 2), ("loss", "accuracy"), strict=True):
        axes.plot(numbers, [getattr(epoch, name) for epoch in epochs], label="training", marker=".")
        axes.plot(
            numbers,
            [getattr(epoch, f"validation_{name}") for epoch in epochs],
            label="validation",
            marker=".",
        )
        axes.axvline(best_epoch, color="0.6", linestyle=":", label="kept")
        axes.set(xlabel="epoch", title=name)
        axes.grid(alpha=0.3)
    figure.axes[1].legend()
    figure.suptitle(title)
    figure.savefig(path, dpi=100)
